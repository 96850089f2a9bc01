//! The examples of RFC 7541, Appendix C, and that what one side packs the other unpacks.

use http::{Method, StatusCode};
use lb_h1::KnownName;

use super::{Decoder, Encoder, Malformed, TABLE_SIZE};

type Fields = Vec<(String, String)>;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Malformed> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    decoder.read(block, |line| {
        assert_eq!(line.known.map(KnownName::as_str), KnownName::find(line.name).map(KnownName::as_str));
        fields.push((text(line.name), text(line.value)));
    })?;
    Ok(fields)
}

fn fields(list: &[(&str, &str)]) -> Fields {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// C.3 as it stands, C.4 in the Huffman code.
#[test]
fn requests_of_one_connection_are_read_as_in_rfc_7541() {
    let rows: [[&str; 3]; 2] = [
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ];
    for blocks in rows {
        let mut decoder = Decoder::default();
        let [first, second, third] = blocks.map(|block| read(&mut decoder, &unhex(block)).unwrap());
        let authority = (":authority", "www.example.com");
        assert_eq!(first, fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), authority]));
        assert_eq!(
            second,
            fields(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                authority,
                ("cache-control", "no-cache")
            ])
        );
        assert_eq!(
            third,
            fields(&[
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                authority,
                ("custom-key", "custom-value")
            ])
        );
    }
}

/// C.6, with a table of 256 bytes, from which fields have to go.
#[test]
fn answers_of_one_connection_are_read_as_in_rfc_7541() {
    let mut decoder = Decoder::default();
    // The table's size, which the example's settings have set.
    assert_eq!(read(&mut decoder, &unhex("3fe101")), Ok(vec![]));
    let first = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3";
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let (private, location) = (("cache-control", "private"), ("location", "https://www.example.com"));
    assert_eq!(
        read(&mut decoder, &unhex(first)).unwrap(),
        fields(&[(":status", "302"), private, date, location])
    );
    assert_eq!(
        read(&mut decoder, &unhex("4883640effc1c0bf")).unwrap(),
        fields(&[(":status", "307"), private, date, location])
    );
    let third = "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007";
    assert_eq!(
        read(&mut decoder, &unhex(third)).unwrap(),
        fields(&[
            (":status", "200"),
            private,
            ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
            location,
            ("content-encoding", "gzip"),
            ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
        ])
    );
}

#[test]
fn blocks_that_break_the_rules_are_refused() {
    for (block, why) in [
        ("80", "no field has the number 0"),
        ("be", "nor this, in an empty table"),
        ("ff8080808001", "an integer that is longer than any that is needed"),
        ("ff", "an integer that is not whole"),
        ("4005612d", "a string that is not whole"),
        ("3fe21f", "a table larger than was said"),
        ("8220", "a size behind a field"),
        ("40", "a literal without its strings"),
    ] {
        assert_eq!(read(&mut Decoder::default(), &unhex(block)), Err(Malformed), "{why}");
    }
}

#[test]
fn names_and_values_that_cannot_be_are_told() {
    for (name, value, is_valid) in [
        ("x-a", "b", true),
        (":path", "/", true),
        ("X-A", "b", false),
        ("x a", "b", false),
        ("x:a", "b", false),
        ("", "b", false),
        (":", "b", false),
        ("x-a", "b\r\nc: d", false),
        ("x-a", "b\0", false),
        ("x-a", "b\tc", true),
    ] {
        let mut block = vec![0x40];
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
        // Once as it comes, and once out of the table.
        block.push(0x80 | 62);
        let mut shown = Vec::new();
        Decoder::default().read(&block, |line| shown.push(line.is_valid)).unwrap();
        assert_eq!(shown, [is_valid; 2], "{name:?}: {value:?}");
    }
}

#[test]
fn whatever_comes_is_read_or_refused() {
    for _ in 0..20_000 {
        let mut decoder = Decoder::default();
        let block: Vec<u8> = (0..fastrand::usize(..40)).map(|_| fastrand::u8(..)).collect();
        let _ = decoder.read(&block, |_| {});
        assert!(decoder.size() <= TABLE_SIZE);
    }
}

fn any_field() -> (String, String) {
    let name = match fastrand::u32(..8) {
        0 => "x-request-id".to_owned(),
        1 => "cookie".to_owned(),
        2 => "content-type".to_owned(),
        3 => "user-agent".to_owned(),
        _ => format!("x-{}", fastrand::u32(..60)),
    };
    let length = if fastrand::u32(..40) == 0 { fastrand::usize(..5000) } else { fastrand::usize(..40) };
    let value = if fastrand::bool() {
        "v".repeat(fastrand::usize(..4))
    } else {
        (0..length).map(|_| char::from(fastrand::u8(b' '..=b'~'))).collect()
    };
    (name, value)
}

#[test]
fn what_is_packed_is_unpacked_the_same_while_the_tables_size_changes() {
    for _ in 0..60 {
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let known: Vec<(String, String)> = (0..20).map(|_| any_field()).collect();
        for _ in 0..100 {
            (0..fastrand::usize(..3)).for_each(|_| encoder.resize(fastrand::usize(..6000)));
            let list: Vec<(String, String)> = (0..fastrand::usize(..12))
                .map(|_| if fastrand::bool() { known[fastrand::usize(..20)].clone() } else { any_field() })
                .collect();
            let mut block = Vec::new();
            encoder.begin(&mut block);
            let status = StatusCode::from_u16(fastrand::u16(200..599)).unwrap();
            encoder.status(status, &mut block);
            let method = ["GET", "POST", "PUT", "ODD"][fastrand::usize(..4)];
            encoder.method(&Method::from_bytes(method.as_bytes()).unwrap(), &mut block);
            encoder.authority(b"a.example", &mut block);
            let path = if fastrand::bool() { "/" } else { "/a/b" };
            encoder.path(path.as_bytes(), fastrand::bool(), &mut block);
            let mut wanted = fields(&[
                (":status", status.as_str()),
                (":method", method),
                (":authority", "a.example"),
                (":path", path),
            ]);
            for (name, value) in &list {
                encoder.field(
                    KnownName::find(name.as_bytes()),
                    name.as_bytes(),
                    value.as_bytes(),
                    &mut block,
                );
            }
            wanted.extend(list);
            assert_eq!(read(&mut decoder, &block).unwrap(), wanted);
        }
    }
}

#[test]
fn what_comes_again_is_a_number_and_secrets_never_are() {
    let mut encoder = Encoder::default();
    let mut lengths =
        [("user-agent", "curl/8.5.0"), ("authorization", "Basic dXNlcjpwYXNz")].map(|(name, value)| {
            (0..4)
                .map(|_| {
                    let mut block = Vec::new();
                    encoder.field(
                        KnownName::find(name.as_bytes()),
                        name.as_bytes(),
                        value.as_bytes(),
                        &mut block,
                    );
                    assert!(
                        name != "authorization" || block[0] & 0xf0 == 0x10,
                        "it says that it is a secret"
                    );
                    block.len()
                })
                .collect::<Vec<_>>()
        });
    let [agent, secret] = &mut lengths;
    assert_eq!(agent[2..], [1, 1], "{agent:?}");
    assert_eq!(secret[0], secret[3]);
    let mut capitals = Vec::new();
    encoder.field(None, b"X-Odd", b"1", &mut capitals);
    assert_eq!(read(&mut Decoder::default(), &capitals).unwrap(), fields(&[("x-odd", "1")]));
}
