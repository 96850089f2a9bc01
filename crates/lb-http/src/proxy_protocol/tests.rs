//! Headers read and written: each as the specification has it, and every way in which they are not.

use proptest::prelude::*;

use super::*;

fn ends(source: &str, destination: &str) -> Ends {
    Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn binary_header(version: u8, family: u8, length: u16, body: &[u8]) -> Vec<u8> {
    [&SIGNATURE[..], &[version, family], &length.to_be_bytes(), body].concat()
}

const BODY: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x1f, 0x90, 0, 80];

#[test]
fn lines_of_version_1_say_what_they_say() {
    let four = ends("192.0.2.1:8080", "192.0.2.2:80");
    let six = ends("[2001:db8::1]:0", "[2001:db8::2]:65535");
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 8080 80\r\n", Some(four)),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n", Some(six)),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    ] {
        let bytes = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(bytes.as_bytes()), Ok(Some((line.len(), expected))), "{line}");
        for length in 0..line.len() {
            assert_eq!(parse(&bytes.as_bytes()[..length]), Ok(None), "{length} bytes of {line}");
        }
    }
}

#[test]
fn lines_that_say_anything_else_are_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    for (line, expected) in [
        ("GET / HTTP/1.1\r\n", HeaderError::Missing),
        ("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n", HeaderError::Missing),
        ("PROXY\r\n", HeaderError::Missing),
        ("PROXY \r\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", HeaderError::Line),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", HeaderError::Line),
        ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", HeaderError::Line),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
        ("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
        ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::Line),
        (&long, HeaderError::Endless),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(expected), "{line}");
    }
    let fits = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(parse(fits.as_bytes()), Ok(Some((107, None))));
    assert_eq!(parse(&[b"PROXY UNKNOWN ", &[b'x'; 92][..]].concat()), Ok(None));
    assert_eq!(parse(&[b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat()), Err(HeaderError::Endless));
    assert_eq!(parse(b"PROXY TCP4 \xff 192.0.2.2 1 2\r\n"), Err(HeaderError::Line));
}

#[test]
fn headers_of_version_2_say_what_they_say() {
    let four = ends("192.0.2.1:8080", "192.0.2.2:80");
    let with_additions = [&BODY[..], &[0x04, 0, 2, 9, 9, 0x20, 0, 0]].concat();
    let unix = [7; 216];
    for (header, expected) in [
        (binary_header(0x21, 0x11, 12, &BODY), Some(four)),
        (binary_header(0x21, 0x11, 20, &with_additions), Some(four)),
        (binary_header(0x20, 0x11, 12, &BODY), None),
        (binary_header(0x20, 0x00, 0, &[]), None),
        (binary_header(0x21, 0x00, 3, &[1, 2, 3]), None),
        (binary_header(0x21, 0x12, 12, &BODY), None),
        (binary_header(0x21, 0x31, 216, &unix), None),
    ] {
        let bytes = [&header[..], b"rest"].concat();
        assert_eq!(parse(&bytes), Ok(Some((header.len(), expected))), "{header:?}");
        for length in 0..header.len() {
            assert_eq!(parse(&bytes[..length]), Ok(None), "{length} bytes of {header:?}");
        }
    }
}

#[test]
fn headers_of_version_2_that_contradict_themselves_are_refused() {
    let overrun = [&BODY[..], &[0x04, 0, 3, 9, 9]].concat();
    let cut = [&BODY[..], &[0x04, 0]].concat();
    for (header, expected) in [
        (binary_header(0x11, 0x11, 12, &BODY), HeaderError::Unknown),
        (binary_header(0x22, 0x11, 12, &BODY), HeaderError::Unknown),
        (binary_header(0x21, 0x41, 12, &BODY), HeaderError::Unknown),
        (binary_header(0x21, 0x13, 12, &BODY), HeaderError::Unknown),
        (binary_header(0x21, 0x11, 11, &BODY), HeaderError::Short),
        (binary_header(0x21, 0x21, 12, &BODY), HeaderError::Short),
        (binary_header(0x21, 0x11, 17, &overrun), HeaderError::Short),
        (binary_header(0x21, 0x11, 14, &cut), HeaderError::Short),
        // Without waiting for it.
        (binary_header(0x21, 0x11, 65535, &BODY), HeaderError::TooLong),
        (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), HeaderError::Missing),
    ] {
        assert_eq!(parse(&header), Err(expected), "{header:?}");
    }
}

#[test]
fn two_families_are_written_as_one() {
    let mixed = ends("192.0.2.1:1", "[2001:db8::2]:2");
    assert_eq!(header(ProxyVersion::V1, mixed), b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n");
    let mapped = ends("[::ffff:192.0.2.1]:1", "192.0.2.2:2");
    assert_eq!(header(ProxyVersion::V1, mapped), b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        source: [u8; 16], destination: [u8; 16], from: u16, to: u16, is_six: bool, text: bool
    ) {
        let address = |octets: [u8; 16]| -> IpAddr {
            let [a, b, c, d, ..] = octets;
            if is_six { Ipv6Addr::from(octets).into() } else { Ipv4Addr::new(a, b, c, d).into() }
        };
        let ends = Ends { source: (address(source), from).into(), destination: (address(destination), to).into() };
        let version = if text { ProxyVersion::V1 } else { ProxyVersion::V2 };
        let written = header(version, ends);
        prop_assert_eq!(parse(&written), Ok(Some((written.len(), Some(ends)))));
        let own = own(version);
        prop_assert_eq!(parse(&own), Ok(Some((own.len(), None))));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, version: u8, family: u8, length: u16) {
        let _ = parse(&bytes);
        let _ = parse(&[TEXT, &bytes].concat());
        let _ = parse(&binary_header(version, family, length, &bytes));
    }
}
