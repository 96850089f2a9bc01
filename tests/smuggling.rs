//! Desync in tables: exact bytes in, what the backend may see, what the client must get. The names are those of the
//! literature: CL.TE, TE.CL and TE.TE say whose framing front and back believe, CL.0 and 0.CL which of them sees no body.
//! One gateway serves a whole table, so that a desync of one row would show in the rows after it.

use lb_testkit::{Backend, Gateway, PATIENCE, eventually};

use crate::support::{gateway, rule};

#[rustfmt::skip]
mod tables;

/// What an attacker wants the backend to take for a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n";

/// The statuses in an answer, in order.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

/// Each is refused with one of these statuses, its connection is closed, and the backend hears nothing of it.
#[track_caller]
fn refused(rows: impl IntoIterator<Item = impl AsRef<[u8]>>, allowed: &[u16]) {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut count = 0;
    for row in rows {
        let (row, heard) = (row.as_ref(), backend.bytes_received());
        let answer = statuses(&gateway.raw([row, NEXT.as_bytes()].concat()));
        assert!(
            matches!(answer[..], [status] if allowed.contains(&status)),
            "{answer:?} to {}",
            row.escape_ascii()
        );
        assert_eq!(backend.bytes_received(), heard, "the backend heard of {}", row.escape_ascii());
        assert_eq!(gateway.get("/").status, 200, "others are served as before");
        count += 1;
    }
    assert_eq!(backend.hits(), count);
}

/// Every spelling of `Transfer-Encoding: chunked` that some server takes for one and some other does not.
fn obfuscated_codings() -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for name in tables::CODING_NAMES {
        lines.push(format!("{name}: chunked"));
    }
    for value in tables::CODINGS {
        lines.push(format!("Transfer-Encoding: {value}"));
    }
    for pair in [
        ("chunked", "chunked"),
        ("chunked", "identity"),
        ("identity", "chunked"),
        ("chunked", "cow"),
        ("cow", "chunked"),
        ("", "chunked"),
        ("chunked", ""),
        ("gzip", "chunked"),
    ] {
        lines.push(format!("Transfer-Encoding: {}\r\ntransfer-encoding: {}", pair.0, pair.1));
        lines.push(format!("Transfer-Encoding: {}\r\nX: y\r\nTRANSFER-ENCODING: {}", pair.0, pair.1));
    }
    lines
}

#[test]
fn te_te_no_obfuscated_coding_passes() {
    let requests = obfuscated_codings()
        .into_iter()
        .map(|line| format!("POST / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n0\r\n\r\n{SMUGGLED}"));
    refused(requests, &[400, 501]);
}

#[test]
fn cl_te_and_te_cl_no_request_with_both_framings_passes() {
    let mut codings = obfuscated_codings();
    let white = ["chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked\t", "chunked \t "];
    codings.extend(white.map(|value| format!("transfer-encoding:{value}")));
    let requests = codings.iter().flat_map(|coding| {
        ["0", "4", "40"].into_iter().flat_map(move |length| {
            let pair = [format!("Content-Length: {length}"), coding.clone()];
            let body = format!("0\r\n\r\n{SMUGGLED}");
            let request = move |lines: String| format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{body}");
            [request(pair.join("\r\n")), request(format!("{}\r\n{}", pair[1], pair[0]))]
        })
    });
    refused(requests, &[400, 501]);
}

#[test]
fn no_content_length_passes_that_two_servers_read_differently() {
    let single = tables::LENGTHS.iter().map(|value| format!("Content-Length: {value}"));
    let named = tables::LENGTH_NAMES.iter().map(|name| format!("{name}: 4"));
    let pairs =
        [("4", "4"), ("4", "5"), ("0", "4"), ("4", "0"), ("4", ""), ("", "4"), ("4", "04"), ("4", "+4")];
    let double = pairs.map(|(one, two)| format!("Content-Length: {one}\r\ncontent-length: {two}"));
    let lines = single.chain(named).chain(double);
    refused(
        lines.map(|line| format!("POST / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\nabcd{SMUGGLED}")),
        &[400, 413],
    );
}

/// What is wrong stands behind a good head, so that the backend may have heard the head, but never a whole request.
#[test]
fn no_chunk_passes_that_two_servers_read_differently() {
    let of_size = tables::CHUNK_SIZES.iter().map(|size| format!("{size}\r\nabcd\r\n0\r\n\r\n"));
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for body in of_size.chain(tables::CHUNKED_BODIES.iter().map(|body| (*body).to_owned())) {
        let head = "POST /half HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = statuses(&gateway.raw(format!("{head}{body}{SMUGGLED}")));
        // Nothing at all is said where the backend's answer had begun.
        assert!(matches!(answer[..], [400] | []), "{answer:?} to {body:?}");
        assert_eq!(gateway.get("/good").status, 200, "others are served as before");
    }
    let targets = backend.requests().into_iter().map(|request| request.target);
    assert!(targets.into_iter().all(|target| target == "/good"), "a half request looked whole");
}

#[test]
fn no_line_end_but_crlf_and_no_control_passes() {
    let mut rows: Vec<Vec<u8>> = Vec::new();
    // Each control byte in each place of a head.
    for byte in (0..=31).chain([127]) {
        let byte = char::from(byte);
        if byte != '\t' {
            rows.push(format!("GET / HTTP/1.1\r\nHost: x\r\nX: a{byte}b\r\n\r\n").into());
        }
        rows.push(format!("GET / HTTP/1.1\r\nHost: x\r\nX{byte}Y: a\r\n\r\n").into());
        rows.push(format!("GET /a{byte}b HTTP/1.1\r\nHost: x\r\n\r\n").into());
        rows.push(format!("GET / HTTP/1.1\r\nHost: x{byte}y\r\n\r\n").into());
        rows.push(format!("GE{byte}T / HTTP/1.1\r\nHost: x\r\n\r\n").into());
        rows.push(format!("GET / HTTP/1.1{byte}\r\nHost: x\r\n\r\n").into());
    }
    for text in tables::HEADS {
        rows.push(text.as_bytes().to_vec());
    }
    refused(rows, &[400, 501, 505]);
}

#[test]
fn no_host_and_no_target_passes_that_two_servers_read_differently() {
    let mut rows: Vec<String> =
        tables::HOSTS.iter().map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).collect();
    rows.extend(
        [
            "Host: a\r\nHost: a",
            "Host: a\r\nhost: b",
            "HOST: a\r\nX: y\r\nHost: b",
            "X: y",
            "Host: a\r\nHost:",
            "Host:\r\nHost: a",
        ]
        .map(|lines| format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n")),
    );
    rows.extend(tables::TARGETS.iter().map(|target| format!("GET {target} HTTP/1.1\r\nHost: b\r\n\r\n")));
    refused(rows, &[400]);
}

/// A request that passes: the backend sees it so, and nothing else.
struct Passes {
    what: &'static str,
    request: String,
    target: &'static str,
    body: &'static str,
    /// Fields that the backend sees with these values, once each.
    present: &'static [(&'static str, &'static str)],
    absent: &'static [&'static str],
}

impl Passes {
    fn new(what: &'static str, request: impl Into<String>) -> Self {
        Self { what, request: request.into(), target: "/a", body: "", present: &[], absent: &[] }
    }

    #[track_caller]
    fn check(&self, gateway: &Gateway, backend: &Backend) {
        let before = backend.hits();
        let mut client = gateway.client();
        client.send(format!("{}{NEXT}", self.request));
        let mut targets = Vec::new();
        while targets.len() < 2 {
            let response = client.response();
            if response.status != 100 {
                assert_eq!(response.status, 200, "{}: {}", self.what, response.text());
                targets.push(response.json()["target"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(targets, [self.target, "/next"], "{}", self.what);
        let seen = &backend.requests()[before..];
        assert_eq!(seen.len(), 2, "{}: {seen:?}", self.what);
        assert_eq!(seen[0].text(), self.body, "{}", self.what);
        assert!(seen[0].trailers.is_empty(), "{}: {:?}", self.what, seen[0].trailers);
        for (name, value) in self.present {
            assert_eq!(seen[0].headers(name), [*value], "{}: {name}", self.what);
        }
        for name in self.absent {
            assert_eq!(seen[0].header(name), None, "{}: {name}", self.what);
        }
    }
}

#[test]
fn what_passes_is_seen_by_the_backend_as_one_request() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let length = SMUGGLED.len();
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n");
    let post = |lines: &str| format!("POST /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let get = |lines: &str| format!("GET /a HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let rows = [
        Passes {
            body: SMUGGLED,
            ..Passes::new(
                "0.CL: a body behind GET",
                format!("{}{SMUGGLED}", get(&format!("Content-Length: {length}\r\n"))),
            )
        },
        Passes { body: SMUGGLED, ..Passes::new("0.CL: a chunked body behind GET", get(&chunked)) },
        Passes {
            body: SMUGGLED,
            ..Passes::new(
                "CL.0: a request in a body",
                format!("{}{SMUGGLED}", post(&format!("Content-Length: {length}\r\n"))),
            )
        },
        Passes {
            body: SMUGGLED,
            present: &[("transfer-encoding", "chunked")],
            absent: &["content-length"],
            ..Passes::new("a request in a chunk", post(&chunked))
        },
        Passes {
            body: "abcd",
            absent: &["expect"],
            ..Passes::new(
                "an expectation that is not waited for",
                format!("{}abcd", post("Content-Length: 4\r\nExpect: 100-continue\r\n")),
            )
        },
        Passes {
            absent: &["expect"],
            ..Passes::new("an expectation without a body", get("Expect: 100-continue\r\n"))
        },
        Passes {
            body: "abcd",
            ..Passes::new(
                "white space around a length",
                format!("{}abcd", post("Content-Length: \t4 \t\r\n")),
            )
        },
        Passes {
            body: "abcd",
            ..Passes::new(
                "white space around a coding",
                post("Transfer-Encoding:\t chunked \r\n\r\n4\r\nabcd\r\n0\r\n"),
            )
        },
        Passes {
            body: "abcd",
            ..Passes::new(
                "chunk extensions",
                post("Transfer-Encoding: chunked\r\n\r\n4;a;b=c;d=\"e; f\"\r\nabcd\r\n0;x\r\n"),
            )
        },
        Passes {
            absent: &["upgrade", "http2-settings", "connection"],
            ..Passes::new(
                "h2c",
                get(
                    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
                ),
            )
        },
        Passes {
            absent: &["upgrade", "http2-settings"],
            ..Passes::new(
                "h2c, hidden",
                get("connection: X, uPGRADE\r\nUPGRADE: foo, H2C\r\nHttp2-Settings: AAMAAABk\r\n"),
            )
        },
        Passes {
            absent: &["http2-settings"],
            ..Passes::new("settings alone", get("HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"))
        },
        Passes {
            body: "abcd",
            absent: &["upgrade", "http2-settings"],
            ..Passes::new(
                "h2c with a body",
                format!("{}abcd", post("Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 4\r\n")),
            )
        },
        Passes {
            absent: &["te", "keep-alive", "proxy-connection", "connection"],
            ..Passes::new(
                "what ends at a hop",
                get(
                    "TE: chunked;q=1\r\nKeep-Alive: 9\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive\r\n",
                ),
            )
        },
        Passes {
            present: &[
                ("x-forwarded-for", "127.0.0.1"),
                ("x-real-ip", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("host", "x"),
            ],
            ..Passes::new(
                "fields of ours named by Connection",
                get(
                    "Connection: X-FORWARDED-FOR, x-real-ip, X-Forwarded-PROTO, x-request-id, forwarded, x-hop\r\nX-Real-IP: 6.6.6.6\r\n",
                ),
            )
        },
        Passes {
            body: "abcd",
            absent: &[
                "content_length",
                "transfer_encoding",
                "x_forwarded_for",
                "http_host",
                "x_request_id",
                "_",
                "a_",
            ],
            ..Passes::new(
                "underscore aliases",
                format!(
                    "{}abcd",
                    post(
                        "Content_Length: 0\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 6.6.6.6\r\nHttp_Host: y\r\nX_Request_Id: 1\r\n_: 1\r\nA_: 1\r\nContent-Length: 4\r\n"
                    )
                ),
            )
        },
        Passes {
            body: "abcd",
            absent: &["authorization", "cookie", "content-type", "content-encoding", "expect", "range"],
            ..Passes::new(
                "trailers that matter",
                post(
                    "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nContent-Length: 9\r\nHost: evil\r\nAuthorization: x\r\nCookie: a=b\r\n\
                 X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nContent-Type: x\r\nContent-Encoding: gzip\r\n\
                 Expect: 100-continue\r\nTE: trailers\r\nConnection: close\r\nUpgrade: h2c\r\nX_Y: 1\r\nX-Request-Id: 1\r\nRange: bytes=0-1\r\n\
                 Set-Cookie: a=b\r\nProxy-Authorization: x\r\nTransfer-Encoding: chunked\r\n",
                ),
            )
        },
        Passes {
            target: "/a?b",
            present: &[("host", "x")],
            ..Passes::new("absolute form", "GET http://X:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n")
        },
        Passes {
            target: "/a",
            ..Passes::new("one empty line ahead", "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        },
    ];
    for row in &rows {
        row.check(&gateway, &backend);
    }
}

#[test]
fn naming_what_frames_or_routes_in_connection_is_refused() {
    let names = ["Content-Length", "content-length, close", "Transfer-Encoding", "Host", "keep-alive, hOST"];
    refused(
        names.map(|name| {
            format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: {name}\r\nContent-Length: 4\r\n\r\nabcd")
        }),
        &[400],
    );
}

#[test]
fn nothing_behind_an_error_is_answered_or_forwarded() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for bad in [
        "GET /bad HTTP/1.1\r\n\r\n",
        "POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /bad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "BAD\r\n\r\n",
    ] {
        let before = backend.hits();
        let answer = gateway.raw(format!("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n{bad}{SMUGGLED}{NEXT}"));
        assert_eq!(statuses(&answer), [200, 400], "{bad:?}");
        let seen: Vec<String> =
            backend.requests()[before..].iter().map(|request| request.target.clone()).collect();
        assert_eq!(seen, ["/1"], "{bad:?}");
    }
}

#[test]
fn a_body_behind_an_answer_of_our_own_is_never_taken_for_a_request() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("path_prefix = \"/a\"", &[&backend]));
    let length = SMUGGLED.len();
    for (framing, whole) in [
        (format!("Content-Length: {length}\r\n\r\n{SMUGGLED}"), true),
        (format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"), true),
        (format!("Content-Length: 1000000\r\n\r\n{SMUGGLED}"), false),
        (format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n"), false),
    ] {
        let mut client = gateway.client();
        client.send(format!("POST /none HTTP/1.1\r\nHost: x\r\n{framing}"));
        let response = client.response();
        assert_eq!(response.status, 404);
        // Where all of the body is there, the connection may go on; where it is not, what follows cannot be told from it.
        if response.header("connection") != Some("close") {
            assert!(whole, "{framing}");
            client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(client.response().json()["target"], "/a");
        } else {
            client.try_send(SMUGGLED).ok();
            assert!(client.closes_within(PATIENCE), "{framing}");
        }
    }
    assert!(backend.requests().iter().all(|request| request.target == "/a"));
}

#[test]
fn a_backend_that_answers_before_it_has_the_body_is_not_used_again() {
    // It takes what is left of the body for its next request.
    let backend = Backend::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            let body = request.target.clone();
            conn.record(request);
            if !conn.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())) {
                return;
            }
        }
    });
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&backend])));
    for framing in [
        format!("Content-Length: {}\r\n\r\n", SMUGGLED.len()),
        "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
    ] {
        let mut client = gateway.client();
        client.send(format!("POST /early HTTP/1.1\r\nHost: x\r\n{framing}"));
        assert_eq!(client.response().text(), "/early");
        client.try_send(SMUGGLED).ok();
        assert!(client.closes_within(PATIENCE));
        eventually("the backend's connection is closed", PATIENCE, || backend.open_connections() == 0);
        assert_eq!(gateway.get("/innocent").text(), "/innocent");
        backend.close_connections();
        eventually("the backend is left", PATIENCE, || backend.open_connections() == 0);
    }
    assert!(backend.requests().iter().all(|request| request.target != "/smuggled"));
}

#[test]
fn no_answer_is_split_by_what_a_client_sends() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!(
        "[[rules]]\npath_prefix = \"/old\"\nredirect = {{ to = \"https://new.example\", status = 308 }}\n{}",
        rule("", &[&backend])
    ));
    for target in
        ["/old/%0d%0aSet-Cookie:%20a=b", "/old?%0d%0a%0d%0aHTTP/1.1%20200", "/old/%E5%98%8A%E5%98%8DX"]
    {
        let response = gateway.get(target);
        assert!([308, 400].contains(&response.status), "{target}: {response:?}");
        assert_eq!(response.header("set-cookie"), None);
        assert!(response.header("location").is_none_or(str::is_ascii));
    }
    for id in ["a b", "\u{e9}", "", &"x".repeat(129)] {
        let response = gateway.fetch("GET", "/none", &[("X-Request-Id", id)]);
        assert_ne!(response.header("x-request-id"), Some(id), "{id:?}");
    }
}
