//! What the backend is told about the client, what the client is told about the backend, and what neither is.

use lb_testkit::{Backend, Port};

use crate::support::{echoed, gateway, rule};

#[test]
fn a_backend_learns_who_asked_how_and_for_whom() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let response = gateway.fetch("GET", "/", &[("Host", "shop.example:8080")]);
    assert_eq!(echoed(&response, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed(&response, "x-forwarded-proto"), ["http"]);
    assert_eq!(echoed(&response, "x-forwarded-host"), ["shop.example:8080"]);
    assert_eq!(echoed(&response, "x-real-ip"), ["127.0.0.1"]);
}

#[test]
fn what_strangers_say_about_themselves_is_replaced() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let forged = [
        ("X-Forwarded-For", "203.0.113.1"),
        ("x-forwarded-for", "203.0.113.2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Real-IP", "203.0.113.3"),
        ("Forwarded", "for=203.0.113.4;host=evil.example"),
        ("X-Forwarded-Port", "203"),
        ("x-forwarded-prefix", "/evil"),
        ("X-FORWARDED-SERVER", "evil.example"),
        ("X-Forwarded-Uri", "/evil"),
        ("X-Forwarded-Tls-Client-Cert", "evil"),
    ];
    let response = gateway.fetch("GET", "/", &forged);
    assert_eq!(echoed(&response, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed(&response, "x-forwarded-proto"), ["http"]);
    assert_eq!(echoed(&response, "x-forwarded-host"), ["gateway.localhost"]);
    assert_eq!(echoed(&response, "x-real-ip"), ["127.0.0.1"]);
    assert!(!response.text().contains("203.0.113") && !response.text().contains("evil"), "{response:?}");
    for name in ["x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server"] {
        assert!(echoed(&response, name).is_empty(), "{name}");
    }
}

#[test]
fn what_else_is_said_to_be_forwarded_is_a_trusted_proxys_or_a_rules_to_say() {
    let backend = Backend::echo("a");
    let said = [("X-Forwarded-Port", "444"), ("X-Forwarded-Prefix", "/shop"), ("X-Forwarded-Server", "edge")];
    let trusting = gateway(&format!("trusted_proxies = [\"127.0.0.1/32\"]\n{}", rule("", &[&backend])));
    let response = trusting.fetch("GET", "/", &said);
    for (name, value) in said {
        assert_eq!(echoed(&response, name), [value]);
    }
    let setting = gateway(&rule("request_headers = { set = { X-Forwarded-Port = \"8443\" } }", &[&backend]));
    assert_eq!(echoed(&setting.fetch("GET", "/", &said), "x-forwarded-port"), ["8443"]);
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_appended_to() {
    let backend = Backend::echo("a");
    let config = rule("", &[&backend]);
    let gateway = gateway(&format!("trusted_proxies = [\"127.0.0.1/32\"]\n{config}"));
    let said = [
        ("X-Forwarded-For", "198.51.100.9, 203.0.113.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "shop.example"),
    ];
    let response = gateway.fetch("GET", "/", &said);
    let list = echoed(&response, "x-forwarded-for").join(", ");
    assert_eq!(list, "198.51.100.9, 203.0.113.1, 127.0.0.1");
    assert_eq!(echoed(&response, "x-forwarded-proto"), ["https"]);
    assert_eq!(echoed(&response, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(echoed(&response, "x-real-ip"), ["203.0.113.1"], "the rightmost untrusted address");
}

#[test]
fn the_host_is_preserved_or_the_backends_or_a_literal() {
    let backend = Backend::echo("a");
    for (key, expected) in [
        ("", "shop.example:81".to_owned()),
        ("host_header = \"preserve\"", "shop.example:81".to_owned()),
        ("host_header = \"backend\"", backend.address().to_string()),
        ("host_header = \"inner.example\"", "inner.example".to_owned()),
    ] {
        let gateway = gateway(&rule(key, &[&backend]));
        let response = gateway.fetch("GET", "/", &[("Host", "shop.example:81")]);
        assert_eq!(echoed(&response, "host"), [expected], "{key}");
        assert_eq!(echoed(&response, "x-forwarded-host"), ["shop.example:81"], "{key}");
    }
}

#[test]
fn a_request_id_is_kept_where_it_is_fit_and_made_where_it_is_not() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let id = |sent: Option<&str>| -> String {
        let fields: Vec<_> = sent.iter().map(|id| ("X-Request-Id", *id)).collect();
        let response = gateway.fetch("GET", "/", &fields);
        let ids = echoed(&response, "x-request-id");
        assert_eq!(response.headers("x-request-id"), ids, "client and backend see the same, once");
        ids[0].clone()
    };
    let (first, second) = (id(None), id(None));
    assert!(!first.is_empty() && first != second);
    assert_eq!(id(Some("order-42/x")), "order-42/x");
    let longest = "x".repeat(128);
    assert_eq!(id(Some(&longest)), longest);
    for unfit in ["x".repeat(129), "a b".to_owned(), "h\u{e9}".to_owned(), String::new()] {
        assert_ne!(id(Some(&unfit)), unfit, "replaced: {unfit:?}");
    }
}

#[test]
fn our_own_answers_carry_the_request_id_too() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("path_prefix = \"/a\"", &[&backend]));
    let response = gateway.fetch("GET", "/none", &[("X-Request-Id", "mine-1")]);
    assert_eq!(response.header("x-request-id"), Some("mine-1"));
    assert_eq!(response.problem(), "no_rule");
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let response = gateway.fetch(
        "GET",
        "/",
        &[
            ("Connection", "keep-alive, X-Private, x-LOWER"),
            ("connection", "x-third"),
            ("X-PRIVATE", "1"),
            ("X-Lower", "2"),
            ("X-Third", "3"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "gzip;q=0.5"),
            ("Upgrade", "foo/2"),
            ("X-Public", "4"),
        ],
    );
    for name in ["x-private", "x-lower", "x-third", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(echoed(&response, name), Vec::<String>::new(), "{name}");
    }
    assert!(echoed(&response, "connection").iter().all(|value| !value.to_lowercase().contains("x-")));
    assert_eq!(echoed(&response, "x-public"), ["4"]);
}

#[test]
fn fields_that_matter_survive_being_named_by_connection() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("request_headers = { set = { X-Tenant = \"t1\" } }", &[&backend]));
    let named = "close, X-Forwarded-For, x-real-ip, X-Request-ID, x-TENANT, X-Forwarded-Proto";
    let response = gateway.fetch("GET", "/", &[("Connection", named), ("X-Tenant", "forged")]);
    assert_eq!(echoed(&response, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed(&response, "x-forwarded-proto"), ["http"]);
    assert_eq!(echoed(&response, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(echoed(&response, "x-request-id").len(), 1);
    assert_eq!(echoed(&response, "x-tenant"), ["t1"]);
}

#[test]
fn a_connection_field_cannot_take_away_what_frames_or_routes() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for named in ["Host", "hOST", "Content-Length", "Transfer-Encoding"] {
        let mut client = gateway.client();
        let framing =
            if named == "Transfer-Encoding" { "Transfer-Encoding: chunked" } else { "Content-Length: 2" };
        let body = if named == "Transfer-Encoding" { "2\r\nok\r\n0\r\n\r\n" } else { "ok" };
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: {named}\r\n{framing}\r\n\r\n{body}"));
        let response = client.response();
        // To refuse what makes no sense is as right as to ignore it (RFC 9110 §7.6.1).
        if response.status != 400 {
            assert_eq!(echoed(&response, "host"), ["x"], "{named}");
            assert_eq!(response.json()["body"], "ok", "{named}");
        }
    }
}

#[test]
fn hop_by_hop_fields_of_a_response_stay_on_their_hop_too() {
    let backend = Backend::fixed(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nX-Outer: 2\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    let response = client.get("/");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    for name in ["x-inner", "keep-alive", "proxy-connection"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("x-outer"), Some("2"));
    assert_eq!(client.get("/").status, 200, "the client's connection is its own affair");
}

#[test]
fn a_backends_close_does_not_close_the_clients_connection() {
    let backend = Backend::once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.status, response.header("connection")), (200, None));
    }
    assert_eq!(backend.accepted(), 3);
}

#[test]
fn repeated_fields_keep_their_number_and_order() {
    let backend = Backend::scripted(|conn| {
        while let Some(request) = conn.request() {
            let cookies = request.headers("x-list").join("|");
            conn.reply(format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Seen: {cookies}\r\nSet-Cookie: c=3\r\n\
                 Content-Length: 0\r\n\r\n"
            ));
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let response = gateway.fetch("GET", "/", &[("X-List", "1"), ("X-Other", "x"), ("X-List", "2")]);
    assert_eq!(response.headers("set-cookie"), ["a=1", "b=2", "c=3"]);
    let seen = response.header("x-seen");
    assert!(seen == Some("1|2") || seen == Some("1, 2"), "{seen:?}");
}

#[test]
fn names_with_underscores_are_dropped_unless_allowed() {
    let backend = Backend::echo("a");
    let config = rule("", &[&backend]);
    let fields = [("X_Forwarded_For", "203.0.113.1"), ("User_Id", "1"), ("User-Id", "2")];
    let strict = gateway(&config).fetch("GET", "/", &fields);
    assert_eq!(echoed(&strict, "user_id"), Vec::<String>::new());
    assert_eq!(echoed(&strict, "x_forwarded_for"), Vec::<String>::new());
    assert_eq!(echoed(&strict, "user-id"), ["2"]);
    let lax = gateway(&format!("underscores_in_headers = true\n{config}")).fetch("GET", "/", &fields);
    assert_eq!(echoed(&lax, "user_id"), ["1"]);
}

#[test]
fn request_headers_are_set_added_removed_and_renamed() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule(
        "request_headers = { set = { X-Proxy-Version = \"1.0\" }, add = { X-List = \"ours\" }, \
         remove = [\"X-Secret\"], rename = { X-Old = \"X-New\" } }",
        &[&backend],
    ));
    let response = gateway.fetch(
        "GET",
        "/",
        &[("x-proxy-version", "theirs"), ("X-List", "theirs"), ("X-Secret", "1"), ("x-old", "2")],
    );
    assert_eq!(echoed(&response, "x-proxy-version"), ["1.0"]);
    assert_eq!(echoed(&response, "x-list"), ["theirs", "ours"]);
    assert_eq!(echoed(&response, "x-secret"), Vec::<String>::new());
    assert_eq!(echoed(&response, "x-old"), Vec::<String>::new());
    assert_eq!(echoed(&response, "x-new"), ["2"]);
}

#[test]
fn response_headers_are_changed_and_each_is_there_once() {
    let backend = Backend::fixed(
        "HTTP/1.1 200 OK\r\nX-Proxied-By: inner\r\nServer: inner\r\nX-Old: 1\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = gateway(&rule(
        "response_headers = { set = { X-Proxied-By = \"gatewayd\" }, remove = [\"server\"], \
         rename = { X-Old = \"X-New\" } }",
        &[&backend],
    ));
    let response = gateway.get("/");
    assert_eq!(response.headers("x-proxied-by"), ["gatewayd"]);
    assert_eq!((response.header("server"), response.header("x-old")), (None, None));
    assert_eq!(response.headers("x-new"), ["1"]);
}

#[test]
fn no_answer_of_ours_names_a_backend() {
    let down = Port::free();
    let address = down.address();
    let gateway = gateway(&format!("[[rules]]\nbackends = [\"http://{address}\"]\n"));
    let response = gateway.get("/");
    assert_eq!((response.status, response.problem().as_str()), (502, "connect_failed"));
    let whole = format!("{}{}", String::from_utf8_lossy(&response.head.raw), response.text());
    assert!(!whole.contains(&address.port().to_string()) && !whole.contains("127.0.0.1"), "{whole}");
}
