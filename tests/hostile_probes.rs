//! Health endpoints that attack whoever asks them: answers without end, in drops, for somebody else. Each is bounded in time
//! and bytes, counts as a failure, and is one line in the log however often it is asked.

use std::time::{Duration, Instant};

use lb_testkit::{Backend, Conn, Gateway, PATIENCE, eventually};
use serde_json::Value;

use crate::health::answer;
use crate::support::{backend_status, gateway};

/// What is said of an endpoint's failure, and what it does.
type Endpoint = (&'static str, fn(&mut Conn));

/// Answers `/health` as the script does, and everything else with 200.
fn endpoint(script: fn(&mut Conn)) -> Backend {
    Backend::scripted(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/health" {
                return script(conn);
            }
            conn.reply(answer(200, "served"));
        }
    })
}

/// The gateway's lines about one backend's health.
fn lines(gateway: &Gateway, backend: &Backend) -> Vec<Value> {
    let log = gateway.log().into_iter();
    log.filter(|line| line["backend"] == backend.url() && line["healthy"].is_boolean()).collect()
}

fn probes(backend: &Backend) -> usize {
    backend.requests().iter().filter(|request| request.target == "/health").count()
}

/// Has all endpoints judged as bad for these reasons, and asked again and again, each beside a good backend.
#[track_caller]
fn are_failures(times: &str, endpoints: &[Endpoint]) {
    let backends: Vec<Backend> = endpoints.iter().map(|(_, script)| endpoint(*script)).collect();
    let good = Backend::echo("good");
    let upstreams = backends.iter().enumerate().map(|(number, backend)| {
        format!(
            "[[rules]]\nname = \"r{number}\"\npath_prefix = \"/r{number}/\"\nbackends = [\"{}\", \"{}\"]\n\
             health_check = {{ path = \"/health\", {times}, unhealthy_threshold = 2 }}\n",
            backend.url(),
            good.url()
        )
    });
    let config: String = upstreams.collect();
    let gateway = gateway(&format!("{}{config}", crate::support::STATUS_LISTENER));
    for (number, backend) in backends.iter().enumerate() {
        let words = endpoints[number].0;
        eventually(&format!("it is out ({words})"), PATIENCE, || !lines(&gateway, backend).is_empty());
        let before = probes(backend);
        eventually(&format!("it is asked again ({words})"), PATIENCE, || probes(backend) > before + 3);
        let lines = lines(&gateway, backend);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let error = lines[0]["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{error:?} instead of {words:?}");
        assert_eq!((&lines[0]["component"], &lines[0]["healthy"]), (&"proxy".into(), &false.into()));
        let upstream = format!("r{number}");
        assert_eq!(backend_status(&gateway, &upstream, &backend.url())["healthy"], false, "{words}");
        assert_eq!(gateway.get(&format!("/r{number}/")).backend(), "good");
        // Scripts that rest do not notice at once that they have been left.
        let left = backend.open_connections().saturating_sub(backend.connections_closed_by_peer());
        assert!(left <= 2, "{words}: {left} are open");
    }
    assert_eq!(lines(&gateway, &good).len(), 0);
}

fn endless_chunks(conn: &mut Conn) {
    conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    while conn.try_send(&chunk).is_ok() {}
}

fn endless_without_length(conn: &mut Conn) {
    conn.try_send("HTTP/1.1 200 OK\r\n\r\n").ok();
    while conn.try_send([b'x'; 0x4000]).is_ok() {}
}

fn endless_head(conn: &mut Conn) {
    conn.try_send("HTTP/1.1 200 OK\r\n").ok();
    while conn.try_send(format!("X-More: {}\r\n", "x".repeat(0x4000))).is_ok() {}
}

fn megabytes(conn: &mut Conn) {
    conn.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 50 << 20)).ok();
    while conn.try_send([b'x'; 0x4000]).is_ok() {}
}

fn interim_without_end(conn: &mut Conn) {
    while conn.try_send("HTTP/1.1 102 Processing\r\n\r\n".repeat(100)).is_ok() {}
}

/// An hour is given to each, so that it is their size that ends them, and at once.
#[test]
fn answers_without_end_are_failures_by_their_size() {
    let endpoints: [Endpoint; 5] = [
        ("larger than 64 KiB", endless_chunks),
        ("larger than 64 KiB", endless_without_length),
        ("larger than 64 KiB", endless_head),
        ("larger than 64 KiB", megabytes),
        ("larger than 64 KiB", interim_without_end),
    ];
    let backends = endpoints.map(|(_, script)| endpoint(script));
    let rules = backends.iter().enumerate().map(|(number, backend)| {
        format!(
            "[[rules]]\nname = \"r{number}\"\npath_prefix = \"/r{number}/\"\nbackends = [\"{}\"]\n\
             health_check = {{ path = \"/health\", interval = \"1h\", timeout = \"1h\", unhealthy_threshold = 1 }}\n",
            backend.url()
        )
    });
    let gateway = gateway(&rules.collect::<String>());
    let start = Instant::now();
    for (backend, (words, _)) in backends.iter().zip(&endpoints) {
        eventually("it is out", PATIENCE * 2, || !lines(&gateway, backend).is_empty());
        let lines = lines(&gateway, backend);
        assert!(lines[0]["error"].as_str().is_some_and(|error| error.contains(words)), "{lines:?}");
        eventually("it is let go", PATIENCE, || backend.open_connections() == 0);
    }
    assert!(start.elapsed() < Duration::from_secs(600));
    are_failures("interval = \"250ms\"", &endpoints);
}

#[test]
fn what_comes_in_drops_or_not_at_all_is_a_failure_in_time() {
    are_failures(
        "interval = \"400ms\", timeout = \"200ms\"",
        &[
            ("no answer within 200ms", |conn| {
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
                    std::thread::sleep(Duration::from_secs(1));
                    if conn.try_send([*byte]).is_err() {
                        return;
                    }
                }
            }),
            ("no answer within 200ms", |conn| {
                conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").ok();
                while conn.try_send("x").is_ok() {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }),
            ("no answer within 200ms", Conn::wait_for_close),
        ],
    );
}

#[test]
fn what_breaks_off_is_a_failure() {
    are_failures(
        "interval = \"250ms\"",
        &[
            ("ended in the middle of the answer", |conn| drop(conn.try_send("HTTP/1.1 200 OK\r\nConte"))),
            ("ended in the middle of the answer", |conn| {
                drop(conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"));
            }),
            ("ended in the middle of the answer", |conn| {
                drop(conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"));
            }),
            ("ended in the middle of the answer", |_| {}),
            ("the connection broke", Conn::reset),
            ("no answer to a probe", |conn| drop(conn.try_send("220 mail.example ESMTP\r\n"))),
            ("no answer to a probe", |conn| {
                drop(conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n"));
            }),
        ],
    );
}

/// A redirect is an answer like others, and nobody is asked in the name of the backend.
#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = Backend::echo("elsewhere");
    let target = elsewhere.url();
    let redirecting = Backend::scripted(move |conn| {
        while let Some(request) = conn.request() {
            conn.reply(match request.target.as_str() {
                "/health" => format!(
                    "HTTP/1.1 302 Found\r\nHost: {target}\r\nLocation: {target}/ok\r\nContent-Length: 0\r\n\r\n"
                ),
                _ => answer(200, "served"),
            });
        }
    });
    let gateway = gateway(&format!(
        "[[rules]]\nbackends = [\"{}\"]\n\
         health_check = {{ path = \"/health\", interval = \"250ms\", unhealthy_threshold = 2 }}\n",
        redirecting.url()
    ));
    eventually("it is out", PATIENCE, || !lines(&gateway, &redirecting).is_empty());
    let before = probes(&redirecting);
    eventually("it is asked again", PATIENCE, || probes(&redirecting) > before + 3);
    let lines = lines(&gateway, &redirecting);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["error"], "status 302, expected 200-299");
    assert_eq!((elsewhere.accepted(), redirecting.hits()), (0, probes(&redirecting)), "nobody else is asked");
}

/// A server of many names, which is well under the one that it is configured with.
#[test]
fn a_probe_asks_for_the_host_that_is_written() {
    let named = || {
        Backend::scripted(|conn| {
            while let Some(request) = conn.request() {
                let is_right = request.header("host") == Some("app.internal");
                conn.reply(answer(if is_right { 200 } else { 421 }, ""));
            }
        })
    };
    let (right, wrong) = (named(), named());
    let gateway = gateway(&format!(
        "[[rules]]\nname = \"right\"\npath = \"/right\"\nbackends = [\"{}\"]\n\
         health_check = {{ path = \"/health\", host = \"app.internal\", interval = \"100ms\" }}\n\
         [[rules]]\nname = \"wrong\"\nbackends = [\"{}\"]\nhealth_check = {{ path = \"/health\", interval = \"100ms\" }}\n",
        right.url(),
        wrong.url()
    ));
    eventually("the other name is found wrong", PATIENCE, || !lines(&gateway, &wrong).is_empty());
    assert_eq!(lines(&gateway, &wrong)[0]["error"], "status 421, expected 200-299");
    eventually("it was asked as often", PATIENCE, || right.hits() > 5);
    assert_eq!(lines(&gateway, &right).len(), 0);
}
