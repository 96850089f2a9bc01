//! What happens now, as programs follow it: the admin address's stream of events, and `gatewayd top`.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use lb_testkit::{Backend, Gateway, PATIENCE};
use serde_json::Value;

use crate::support::{cli, gateway, rule};

fn watched(backends: &[&Backend]) -> Gateway {
    gateway(&format!(
        "{}[admin]\naddress = \"{{admin}}\"\n",
        rule("name = \"app\"\npath_prefix = \"/app\"", backends)
    ))
}

/// A connection on which events come, after its head.
fn follow(admin: SocketAddr, query: &str) -> (String, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/live?{query} HTTP/1.0\r\nHost: {admin}\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    (head, reader)
}

fn event(reader: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream has ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[test]
fn events_tell_what_was_sent_and_go_on() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = watched(&[&a, &b]);
    let (head, mut events) = follow(gateway.address_of("admin"), "");
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/event-stream"), "{head}");
    let before = event(&mut events);
    assert_eq!(
        (&before["totals"]["requests"], &before["upstreams"]["shown"][0]["name"]),
        (&0.into(), &"app".into())
    );
    for _ in 0..30 {
        assert_eq!(gateway.get("/app").status, 200);
    }
    gateway.get("/none");
    let after = loop {
        let event = event(&mut events);
        if event["totals"]["requests"] == 31 {
            break event;
        }
    };
    let upstream = &after["upstreams"]["shown"][0];
    assert_eq!((&upstream["requests"], &upstream["failed"]), (&30.into(), &0.into()));
    assert_eq!(upstream["backends"]["shown"][0]["requests"], 15);
    assert!(after["totals"]["requests_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(after["errors"][0]["code"], "no_rule");
}

#[test]
fn those_who_watch_are_bounded_and_make_room_when_they_leave() {
    let a = Backend::echo("a");
    let gateway = watched(&[&a]);
    let admin = gateway.address_of("admin");
    let viewers: Vec<_> = (0..64).map(|_| follow(admin, "")).collect();
    assert!(viewers.iter().all(|(head, _)| head.starts_with("HTTP/1.0 200")));
    assert!(follow(admin, "").0.starts_with("HTTP/1.0 503"));
    drop(viewers);
    lb_testkit::eventually("there is room again", PATIENCE, || {
        follow(admin, "").0.starts_with("HTTP/1.0 200")
    });
}

#[test]
fn top_prints_what_was_sent() {
    let (a, broken) = (Backend::echo("a"), Backend::reset_mid_head());
    let gateway = gateway(&format!(
        "{}{}[admin]\naddress = \"{{admin}}\"\n",
        rule("name = \"app\"\npath_prefix = \"/app\"", &[&a]),
        rule("name = \"broken\"\npath_prefix = \"/broken\"", &[&broken]),
    ));
    for _ in 0..20 {
        gateway.get("/app");
    }
    gateway.get("/broken");
    let admin = gateway.address_of("admin").to_string();
    let printed = cli(&["top", "--once", "--json", "--admin", &admin]);
    assert!(printed.status.success(), "{printed:?}");
    let json: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((&json["totals"]["requests"], &json["totals"]["failed"]), (&21.into(), &1.into()));
    assert_eq!(json["backends"]["shown"][0]["requests"], 20);

    let printed = cli(&["top", "--once", "--admin", &format!("http://{admin}/"), "--find", "broken"]);
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("2 of 2 backends up") && text.contains(&broken.url()), "{text}");
    assert!(!text.contains(&a.url()), "{text}");
}

#[test]
fn top_gives_the_terminal_back_however_it_is_ended() {
    let a = Backend::echo("a");
    let gateway = watched(&[&a]);
    let admin = gateway.address_of("admin").to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/live/terminal.py");
    for how in ["TERM", "HUP", "INT", "key:q"] {
        let top = [script, how, env!("CARGO_BIN_EXE_gatewayd"), "top", "--admin", &admin];
        let output = Command::new("python3").args(top).output().expect("python3 is installed");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        for fact in ["taken", "raw", "left", "cursor", "restored"] {
            assert_eq!(told[fact], true, "{how}: {fact}: {told}");
        }
        assert_eq!(told["status"], 0, "{how}: {told}");
    }
}

#[test]
fn top_says_why_it_cannot() {
    let nobody = lb_testkit::Port::free().address().to_string();
    for (arguments, part) in [
        (vec!["top", "--once", "--admin", &nobody], "no gateway at"),
        (vec!["top", "--admin", &nobody], "standard output is no terminal"),
    ] {
        let failed = cli(&arguments);
        let text = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(1), "{text}");
        assert!(text.contains(part), "{text}");
    }
}
