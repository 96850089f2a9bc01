//! TLS that is passed on, or ended, by the name that its client asks for.

use std::time::Duration;

use lb_testkit::{Authority, Backend, Gateway, PATIENCE};

use super::clients::s_client;
use super::{connect, failed, gateway, tcp, url};

/// A backend that says its name once it has heard so much, and how much that was.
fn hearing(name: &'static str, length: usize) -> Backend {
    Backend::scripted(move |conn| {
        if let Ok(heard) = conn.read_exact(length) {
            conn.send(format!("{name}{}", heard[0]));
        }
    })
}

/// The beginning of TLS (RFC 8446 §4.1.2) by a client that asks for this name, in records of so many bytes at most.
fn hello(name: Option<&str>, padding: usize, record: usize) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &sized(body)].concat();
    let server_name = name.map(|name| {
        let entry = [&[0][..], &sized(name.as_bytes())].concat();
        extension(0, &sized(&entry))
    });
    let extensions = [
        extension(21, &vec![0; padding]),
        extension(13, &sized(&[4, 3, 8, 4])),
        extension(43, &[2, 3, 4]),
        extension(10, &sized(&[0, 29])),
        server_name.unwrap_or_default(),
    ]
    .concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &sized(&[0x13, 1]), &[1, 0], &sized(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    message.chunks(record).flat_map(|piece| [&[22, 3, 1][..], &sized(piece)].concat()).collect()
}

/// Who answers these bytes, sent in pieces of so many; none where the connection is closed.
#[track_caller]
fn answer(gateway: &Gateway, bytes: &[u8], piece: usize) -> Option<String> {
    let mut client = connect(gateway);
    for piece in bytes.chunks(piece) {
        if client.try_send(piece).is_err() {
            return None;
        }
        if piece.len() < bytes.len() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let said = client.read_to_close();
    (!said.is_empty()).then(|| String::from_utf8(said).unwrap())
}

fn routed(more: &str, backends: [&Backend; 3]) -> String {
    let [a, b, c] = backends.map(|backend| format!("backends = [\"{}\"]\n", url(backend)));
    tcp(
        &format!(
            "sni = [{{ hosts = [\"a.example.com\", \"*.a.example.com\"], upstream = \"a\" }}, {{ hosts = [\"b.example.com\"], upstream = \"b\" }}]\n{more}"
        ),
        &format!("{c}[upstreams.a]\n{a}[upstreams.b]\n{b}"),
    )
}

#[test]
fn a_connection_goes_where_its_name_leads_whatever_it_comes_in() {
    let length = 200;
    let [a, b, c] = ["a", "b", "c"].map(|name| hearing(name, length));
    let with_default = gateway(&routed("upstream = \"db\"", [&a, &b, &c]));
    let without = gateway(&routed("", [&a, &b, &c]));
    for (name, leads_to) in [
        (Some("a.example.com"), "a"),
        (Some("A.Example.COM"), "a"),
        (Some("x.y.a.example.com"), "a"),
        (Some("b.example.com"), "b"),
        (Some("x.b.example.com"), "c"),
        (Some("a.example.com.evil.test"), "c"),
        (None, "c"),
    ] {
        for (padding, record, piece) in
            [(200, 1 << 14, 1 << 16), (200, 50, 1 << 16), (9000, 700, 4000), (200, 1 << 14, 9), (200, 20, 11)]
        {
            let bytes = hello(name, padding, record);
            // What has been looked at goes on as it came, from its first byte.
            let expected = format!("{leads_to}22");
            assert_eq!(
                answer(&with_default, &bytes, piece),
                Some(expected.clone()),
                "{name:?} {record} {piece}"
            );
            let expected = (leads_to != "c").then_some(expected);
            assert_eq!(answer(&without, &bytes, piece), expected, "{name:?} {record} {piece}");
        }
    }
    assert_eq!(failed(&with_default, "no_rule"), 0);
    assert_eq!(failed(&without, "no_rule"), 15);
}

#[test]
fn what_is_no_tls_goes_to_the_default_at_once_and_silence_in_its_time() {
    let [a, b] = ["a", "b"].map(|name| hearing(name, 8));
    let speaking = Backend::scripted(|conn| conn.send("c speaks first"));
    let plain = hearing("c", 8);
    let config = "upstream = \"db\"\nhello_timeout = \"300ms\"";
    let first = gateway(&routed(config, [&a, &b, &speaking]));
    assert_eq!(answer(&first, b"", 1), Some("c speaks first".to_owned()), "a client that says nothing");
    let second = gateway(&routed("upstream = \"db\"\nhello_timeout = \"60s\"", [&a, &b, &plain]));
    // Not one byte more than it takes to know is waited for.
    for (bytes, expected) in [
        (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], "c0"),
        (b"*1\r\n$4\r\n", "c42"),
        (b"GET / HT", "c71"),
        (&[22, 3, 1, 0, 4, 2, 0, 0], "c22"),
    ] {
        let bytes = [bytes, b"\0"].concat();
        assert_eq!(answer(&second, &bytes, 1 << 10).as_deref(), Some(expected), "{bytes:?}");
    }
}

#[test]
fn a_hello_without_end_is_bounded() {
    let [a, b, c] = ["a", "b", "c"].map(|name| hearing(name, 40_000));
    let gateway = gateway(&routed("upstream = \"db\"\nhello_timeout = \"60s\"", [&a, &b, &c]));
    // It says that much more is to come, and never gets to its name.
    let endless: Vec<u8> = [22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]
        .into_iter()
        .chain(std::iter::repeat_n(0, 0x4000 - 4))
        .collect();
    let more: Vec<u8> = [22, 3, 1, 0x40, 0].into_iter().chain(std::iter::repeat_n(0, 0x4000)).collect();
    let bytes = [endless, more.clone(), more].concat();
    assert_eq!(answer(&gateway, &bytes, bytes.len()), Some("c22".to_owned()));
    let mut slow = connect(&gateway);
    slow.send([22, 3]);
    assert!(!slow.closes_within(Duration::from_millis(200)), "it has its time");
    drop(slow);
    lb_testkit::eventually("and leaves nothing", PATIENCE, || {
        super::metric(&gateway, "gatewayd_connections_active{listener=\"db\"}") == 0
    });
}

#[test]
fn where_tls_ends_here_a_connection_goes_where_its_name_leads() {
    let [a, b, c] =
        ["a", "b", "c"].map(|name| Backend::scripted(move |conn| conn.send(format!("to {name}"))));
    let directory = tempfile::TempDir::new().unwrap();
    let pair = Authority::new("test root").issue(&["a.example.com"]).write(directory.path(), "server");
    let with_default = gateway(&routed(&format!("upstream = \"db\"\ntls = {{ {pair} }}"), [&a, &b, &c]));
    let without = gateway(&routed(&format!("tls = {{ {pair} }}"), [&a, &b, &c]));
    for (name, leads_to) in [
        (Some("a.example.com"), "a"),
        (Some("x.A.Example.com"), "a"),
        (Some("b.example.com"), "b"),
        (Some("z.example.com"), "c"),
        (None, "c"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let name = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
            let arguments = [&name[..], &["-quiet", version]].concat();
            let said = s_client(with_default.address_of("listen2"), &arguments, "");
            assert!(said.contains(&format!("to {leads_to}")), "{name:?}: {said}");
            let said = s_client(without.address_of("listen2"), &arguments, "");
            assert_eq!(said.contains(&format!("to {leads_to}")), leads_to != "c", "{name:?}: {said}");
        }
    }
    let handshakes =
        super::metric(&with_default, "gatewayd_tls_handshakes_total{listener=\"db\",kind=\"full\"}");
    assert_eq!(handshakes, 10);
    // What is no TLS is told apart as ever.
    let mut client = lb_testkit::Client::connect(with_default.address_of("listen2"));
    client.send("GET / HTTP/1.1\r\n\r\n");
    assert!(client.read_to_close().starts_with(b"HTTP/1.1 400"));
}
