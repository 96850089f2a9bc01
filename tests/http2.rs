//! HTTP/2 with clients: curl and h2load as they come, and clients that speak it by the frame.

mod backends;
mod bounds;
pub(crate) mod frames;
pub(crate) mod grpc;
mod hostile;
mod negotiated;
mod shared;
mod silence;
mod trailers;
mod tunnels;
mod websocket;

use std::process::Command;

use lb_testkit::{Backend, Gate, Gateway, PATIENCE, eventually};
use serde_json::Value;

use self::frames::{CANCEL, Frame, GET, GOAWAY, HEADERS, PING, Peer, RST_STREAM};
use crate::reload::reload;
use crate::support::{STATUS_LISTENER, gateway, launch, rule};
use crate::takeover::upgraded;

/// What curl prints by prior knowledge; it must succeed.
#[track_caller]
pub(crate) fn curl(gateway: &Gateway, path: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--http2-prior-knowledge"]).args(arguments);
    let output = command.arg(format!("http://{}{path}", gateway.address())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The values of a field as the backend saw it.
fn seen(echo: &Value, name: &str) -> Vec<String> {
    let fields = echo["headers"].as_array().cloned().unwrap_or_default();
    let named = fields.iter().filter(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn curl_is_served_by_prior_knowledge_beside_http_1() {
    let backend = Backend::echo("b");
    let gateway = gateway(&rule("", &[&backend]));
    let text = curl(&gateway, "/a?x=1", &["-H", "X-Odd: 1", "-b", "a=1; b=2", "-w", "\n%{http_version}"]);
    let (body, version) = text.rsplit_once('\n').unwrap();
    assert_eq!(version, "2");
    let echo: Value = serde_json::from_str(body).unwrap();
    assert_eq!(echo["target"], "/a?x=1");
    assert_eq!(seen(&echo, "host"), [gateway.address().to_string()]);
    assert_eq!(seen(&echo, "x-odd"), ["1"]);
    assert_eq!(seen(&echo, "cookie"), ["a=1; b=2"]);
    assert_eq!(seen(&echo, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&echo, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(gateway.get("/a").status, 200, "HTTP/1.1 goes on");
}

#[test]
fn bodies_pass_both_ways_with_a_length_and_without() {
    let backend = Backend::echo("b");
    let gateway = gateway(&rule("", &[&backend]));
    let file = gateway.directory().join("body");
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    std::fs::write(&file, &body).unwrap();
    let name = file.to_str().unwrap();
    curl(&gateway, "/length", &["-X", "POST", "--data-binary", &format!("@{name}")]);
    let stream =
        format!("cat '{name}' | curl -sS --http2-prior-knowledge -T - http://{}/chunked", gateway.address());
    assert!(Command::new("bash").args(["-c", &stream]).output().unwrap().status.success());
    let requests = backend.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.body == body), "a body has changed");
    assert_eq!(requests[1].head.first("transfer-encoding"), Some("chunked"));
}

#[test]
fn a_large_answer_arrives_whole_however_it_is_framed() {
    let body = "0123456789abcdef".repeat(200_000);
    let length = Backend::fixed(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let chunked = Backend::fixed(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    let gateway = gateway(&format!("{}{}", rule("path = \"/length\"", &[&length]), rule("", &[&chunked])));
    for path in ["/length", "/chunked"] {
        assert!(curl(&gateway, path, &[]) == body, "{path}");
    }
    assert_eq!(curl(&gateway, "/length", &["-I", "-o", "/dev/null", "-w", "%{http_code}"]), "200");
}

#[test]
fn answers_of_the_gateways_own_are_the_same() {
    let backend = Backend::echo("b");
    let gateway = gateway(&rule("path = \"/only\"", &[&backend]));
    let problem: Value = serde_json::from_str(&curl(&gateway, "/other", &[])).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&"no_rule".into(), &404.into()));
}

#[test]
fn trailers_pass_from_a_backend_of_http_1() {
    let backend = Backend::fixed(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let gateway = gateway(&rule("", &[&backend]));
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &GET, true);
    peer.until("the head", |frame| frame.kind == HEADERS && !frame.ends_stream());
    let trailers = peer.until("trailers", |frame| frame.kind == HEADERS);
    assert!(trailers.ends_stream());
}

#[test]
fn h2load_has_no_failure() {
    let backends = [Backend::echo("a"), Backend::echo("b")];
    let gateway = gateway(&rule("", &backends.each_ref()));
    let output = Command::new("h2load")
        .args(["-n", "4000", "-c", "4", "-m", "16", &format!("http://{}/", gateway.address())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert_eq!(backends.iter().map(Backend::hits).sum::<usize>(), 4000);
}

#[test]
fn a_stream_that_its_client_resets_is_broken_off_and_logged_as_such() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let gateway = gateway(&format!("[access_log]\nenabled = true\n{}", rule("", &[&backend])));
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &GET, true);
    eventually("the request is there", PATIENCE, || gate.waiting() == 1);
    peer.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    gateway.log_line("it is logged", |line| line["status_code"] == 499);
    // As long as its script waits, the backend holds its end open.
    eventually("its connection is closed", PATIENCE, || backend.connections_closed_by_peer() == 1);
    gate.open();
    peer.serves(3);
}

#[test]
fn one_stream_that_waits_holds_up_no_other() {
    let gate = Gate::new();
    let (held, free) = (Backend::held("held", &gate), Backend::echo("free"));
    let gateway = gateway(&format!("{}{}", rule("path = \"/held\"", &[&held]), rule("", &[&free])));
    let mut peer = Peer::connect(gateway.address());
    let mut slow = GET;
    slow[3].1 = "/held";
    peer.headers(1, &slow, true);
    eventually("the first is held", PATIENCE, || gate.waiting() == 1);
    peer.serves(3);
    gate.open();
    peer.until("the first", |frame| frame.stream == 1 && frame.kind == HEADERS);
}

#[test]
fn a_drain_says_goodbye_and_lets_finish_what_was_begun() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let mut gateway = gateway(&rule("", &[&backend]));
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &GET, true);
    eventually("the request is there", PATIENCE, || gate.waiting() == 1);
    gateway.sigterm();
    let first = peer.until("the first goodbye", |frame| frame.kind == GOAWAY);
    assert_eq!(first.payload[..4], (u32::MAX >> 1).to_be_bytes(), "it is a warning only (RFC 9113 §6.8)");
    gate.open();
    let mut is_answered = false;
    while let Some(frame) = peer.read() {
        if frame.kind == PING && frame.flags == 0 {
            peer.send(PING, 1, 0, &frame.payload);
        }
        is_answered |= frame.stream == 1 && frame.ends_stream();
    }
    assert!(is_answered, "the connection ended ahead of the answer");
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn whatever_ends_a_connection_its_client_is_warned_first_and_what_it_sent_meanwhile_is_served() {
    const LAST: u32 = u32::MAX >> 1;
    for cause in ["SIGTERM", "another process", "no listener"] {
        let gate = Gate::new();
        let (held, free) = (Backend::held("held", &gate), Backend::echo("free"));
        let rules = format!("{}{}", rule("path = \"/held\"", &[&held]), rule("", &[&free]));
        let usual = format!(
            "[admin]\naddress = \"{{admin}}\"\n[[listeners]]\nname = \"stays\"\naddress = \"{{listen}}\"\n{rules}"
        );
        let more = format!("{usual}[[listeners]]\nname = \"goes\"\naddress = \"{{listen2}}\"\n");
        let gateway = launch().config(&more).start();
        let mut peer = Peer::connect(gateway.address_of("listen2"));
        let mut slow = GET;
        slow[3].1 = "/held";
        peer.headers(1, &slow, true);
        eventually("the first is held", PATIENCE, || gate.waiting() == 1);
        let mut successor = None;
        match cause {
            "SIGTERM" => gateway.signal("TERM"),
            "another process" => successor = Some(upgraded(&gateway)),
            _ => {
                gateway.write_config(&usual);
                let (code, said) = reload(&gateway, &[]);
                assert_eq!(code, 0, "{said}");
            }
        }
        let last = |frame: &Frame| u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
        let warning = peer.until("a warning", |frame| frame.kind == GOAWAY);
        assert_eq!((last(&warning), warning.reason()), (LAST, 0), "{cause}");
        let ping = peer.until("a ping", |frame| frame.kind == PING && frame.flags == 0);
        // Sent before the warning was read.
        peer.headers(3, &GET, true);
        let mut is_served = false;
        while !is_served {
            let frame = peer.read().unwrap_or_else(|| panic!("{cause}: the connection ended"));
            assert_ne!(frame.kind, GOAWAY, "{cause}: the client has not heard of the first one yet");
            is_served = frame.stream == 3 && frame.ends_stream();
        }
        peer.send(PING, 1, 0, &ping.payload);
        let goodbye = peer.until("goodbye", |frame| frame.kind == GOAWAY);
        assert_eq!((last(&goodbye), goodbye.reason()), (3, 0), "{cause}");
        gate.open();
        let answer = peer.until("the first one's answer", |frame| frame.stream == 1 && frame.ends_stream());
        assert!(answer.ends_stream());
        while peer.read().is_some() {}
        drop(successor);
    }
}

#[test]
fn an_idle_connection_is_told_to_go_when_another_process_takes_over() {
    let backend = Backend::echo("b");
    let config = format!("[admin]\naddress = \"{{admin}}\"\n{}", rule("", &[&backend]));
    let mut gateway = gateway(&config);
    let mut peer = Peer::connect(gateway.address());
    peer.serves(1);
    let _successor = upgraded(&gateway);
    peer.until("goodbye", |frame| frame.kind == GOAWAY);
    while let Some(frame) = peer.read() {
        if frame.kind == PING && frame.flags == 0 {
            peer.send(PING, 1, 0, &frame.payload);
        }
    }
    drop(peer);
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let backend = Backend::echo("b");
    let listener = "[[listeners]]\naddress = \"{listen}\"\nkeep_alive_timeout = \"300ms\"\n";
    let gateway = gateway(&format!("{listener}{}", rule("", &[&backend])));
    let mut peer = Peer::connect(gateway.address());
    peer.serves(1);
    peer.until("goodbye", |frame| frame.kind == GOAWAY);
    while peer.read().is_some() {}
}

#[test]
fn it_can_be_turned_off() {
    let backend = Backend::echo("b");
    let listener = "[[listeners]]\naddress = \"{listen}\"\nhttp2 = false\n";
    let gateway = gateway(&format!("{listener}{}", rule("", &[&backend])));
    let answer = gateway.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 400") || answer.starts_with(b"HTTP/1.1 505"), "{answer:?}");
}

#[test]
fn it_begins_a_connection_and_never_follows_http_1() {
    let backend = Backend::echo("b");
    let gateway = gateway(&rule("", &[&backend]));
    let answer = gateway.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let text = String::from_utf8_lossy(&answer);
    assert!(
        text.starts_with("HTTP/1.1 200") && text.contains("HTTP/1.1 505") | text.contains("HTTP/1.1 400"),
        "{text}"
    );
}

#[test]
fn clients_by_tls_choose_it_by_alpn() {
    let backend = Backend::echo("b");
    let listener = |more: &str| {
        format!(
            "[[listeners]]\naddress = \"{{listen}}\"\ntls = \"self-signed\"\n{more}{}",
            rule("", &[&backend])
        )
    };
    for (more, asked, spoken) in
        [("", "--http2", "2"), ("", "--http1.1", "1.1"), ("http2 = false\n", "--http2", "1.1")]
    {
        let gateway = launch().config(&listener(more)).start();
        let url = format!("https://{}/", gateway.address());
        let output = Command::new("curl")
            .args(["-sSk", "--max-time", "20", asked, "-w", "\n%{http_version}", &url])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, version) = text.rsplit_once('\n').unwrap_or_default();
        assert_eq!(version, spoken, "{more} {asked}: {}", String::from_utf8_lossy(&output.stderr));
        let echo: Value = serde_json::from_str(body).unwrap();
        assert_eq!(seen(&echo, "x-forwarded-proto"), ["https"]);
    }
}

#[test]
fn a_head_that_is_too_long_is_refused_with_the_words_of_http_1_and_recorded() {
    let backend = Backend::echo("a");
    let gateway =
        gateway(&format!("{STATUS_LISTENER}[access_log]\nenabled = true\n{}", rule("", &[&backend])));
    let long = format!("x-long: {}", "x".repeat(40_000));
    let mut told = ["--http1.1", "--http2-prior-knowledge"].map(|version| {
        let answer = curl(&gateway, "/", &[version, "-i", "-H", &long]);
        assert!(answer.contains("application/problem+json"), "{version}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()
    });
    for told in &mut told {
        let id = told["request_id"].take();
        assert!(id.as_str().is_some_and(|id| !id.is_empty()));
        let line = gateway.log_line("the refusal", |line| line["request_id"] == id);
        assert_eq!(line["status_code"], 431, "{line}");
    }
    assert_eq!(told[0], told[1]);
    assert_eq!((&told[1]["status"], &told[1]["code"]), (&431.into(), &"headers_too_large".into()));
    // Many short fields count with what each costs beside its bytes.
    let crumbs: Vec<String> = (0..1000).flat_map(|_| ["-H".to_owned(), "x-a: b".to_owned()]).collect();
    let crumbs: Vec<&str> = crumbs.iter().map(String::as_str).collect();
    assert!(curl(&gateway, "/", &crumbs).contains("headers_too_large"));
    let metrics = curl(&gateway, "/metrics", &[]);
    let refused =
        metrics.lines().find(|line| line.starts_with("gatewayd_requests_total") && line.contains("4xx"));
    assert!(refused.is_some_and(|line| line.ends_with(" 3")), "{refused:?}: {metrics}");
    assert_eq!(backend.hits(), 0);
}
