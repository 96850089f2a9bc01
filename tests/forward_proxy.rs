//! A listener that connects its clients to other servers: by CONNECT and in absolute form, with curl and with exact bytes.

use std::process::Command;
use std::time::Duration;

use lb_testkit::{Authority, Backend, Client, Gateway, PATIENCE, Port, Response, eventually};

use crate::support::{echoed, echoed_target, gateway, launch, rule};

/// A forward proxy with these keys, and this after it.
fn proxy(keys: &str, more: &str) -> String {
    format!(
        "access_log = true\n[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nstatus_endpoints = true\nforward_proxy = {{ {keys} }}\n{more}"
    )
}

/// What lets tests reach servers of this machine.
const NEAR: &str = "allow_networks = [\"127.0.0.0/8\"], allow_ports = [\"1-65535\"]";

/// The answer to a CONNECT, and what stands behind it where there is a connection.
#[track_caller]
fn connect(gateway: &Gateway, authority: &str, fields: &str) -> (Response, Client) {
    let mut client = gateway.client();
    client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n"));
    let mut answer = client.response_head("CONNECT").unwrap();
    if answer.status != 200 {
        answer.body = client.read_body(answer.framing).unwrap().0;
    }
    (answer, client)
}

/// The answer to a GET in absolute form.
#[track_caller]
fn ask(gateway: &Gateway, authority: &str, fields: &str) -> Response {
    let mut client = gateway.client();
    client.send(format!("GET http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n"));
    client.response()
}

fn code(response: &Response) -> (u16, String) {
    let code = response.json()["code"].as_str().unwrap_or_default().to_owned();
    (response.status, code)
}

fn forbidden() -> (u16, String) {
    (403, "forbidden".to_owned())
}

#[track_caller]
fn curl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(arguments)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn curl_reaches_http_and_https_through_it() {
    let origin = Backend::echo("a");
    let directory = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("test root");
    let ca = directory.path().join("ca.pem");
    authority.write(&ca);
    let pair = authority.issue(&["localhost", "127.0.0.1"]).write(directory.path(), "origin");
    let secure = gateway(&format!(
        "[[listeners]]\naddress = \"{{listen}}\"\ntls = {{ {pair} }}\n{}",
        rule("", &[&origin])
    ));
    let proxy = gateway(&proxy(NEAR, ""));
    let through = format!("http://{}", proxy.address());
    let plain = format!("{}/some/path?q=1", origin.url());
    let (done, said) =
        curl(&["-x", &through, "-H", "X-Own: kept", "-H", "Proxy-Connection: keep-alive", &plain]);
    assert!(done, "{said}");
    let request = &origin.requests()[0];
    assert_eq!(request.target, "/some/path?q=1", "in origin form");
    let fields = |name: &str| request.headers(name);
    assert_eq!(fields("host"), [origin.address().to_string()]);
    assert_eq!(fields("x-own"), ["kept"]);
    for name in
        ["connection", "proxy-connection", "proxy-authorization", "x-forwarded-for", "via", "forwarded"]
    {
        assert!(fields(name).is_empty(), "{name}: {:?}", fields(name));
    }
    let port = secure.address().port();
    for host in ["127.0.0.1", "localhost"] {
        let target = format!("https://{host}:{port}/by/tls");
        let (done, said) = curl(&["-x", &through, "--cacert", &ca.display().to_string(), &target]);
        assert!(done && said.contains("/by/tls"), "{said}");
    }
    let line = proxy.log_line("a tunnel is logged", |line| line["method"] == "CONNECT");
    assert_eq!((&line["path"], &line["status_code"]), (&format!("127.0.0.1:{port}").into(), &200.into()));
    let upload = directory.path().join("upload");
    std::fs::write(&upload, "x".repeat(300_000)).unwrap();
    let upload = format!("@{}", upload.display());
    let (done, said) = curl(&["-x", &through, "--data-binary", &upload, &format!("{}/upload", origin.url())]);
    assert!(done, "{said}");
    assert_eq!(origin.requests().last().unwrap().body.len(), 300_000);
}

#[test]
fn what_is_not_of_the_public_internet_is_denied_however_it_is_spelt() {
    let origin = Backend::echo("a");
    let port = origin.address().port();
    let gateway = gateway(&proxy("allow_ports = [\"1-65535\"]", ""));
    for host in [
        "127.0.0.1",
        "127.8.8.8",
        "localhost",
        "LOCALHOST",
        "127.0.0.1.",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "168.63.129.16",
    ] {
        let authority = format!("{host}:{port}");
        let (refused, _) = connect(&gateway, &authority, "");
        assert_eq!(code(&refused), forbidden(), "CONNECT {authority}");
        assert_eq!(code(&ask(&gateway, &authority, "")), forbidden(), "GET {authority}");
    }
    for host in ["2130706433", "0x7f000001", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "0x7f.1"] {
        let authority = format!("{host}:{port}");
        let (refused, _) = connect(&gateway, &authority, "");
        assert_eq!(code(&refused), (400, "bad_request".to_owned()), "CONNECT {authority}");
        assert_eq!(code(&ask(&gateway, &authority, "")), (400, "bad_request".to_owned()), "GET {authority}");
    }
    for target in
        ["example.com@127.0.0.1", "user:pw@example.com", "example.com,127.0.0.1", "[::1%25lo]", "[::1", ""]
    {
        let authority = format!("{target}:{port}");
        assert_eq!(connect(&gateway, &authority, "").0.status, 400, "CONNECT {authority}");
        assert_eq!(ask(&gateway, &authority, "").status, 400, "GET {authority}");
    }
    // Whether that name is known depends on the machine.
    assert!(matches!(ask(&gateway, &format!("localhost.:{port}"), "").status, 403 | 503));
    // Neither Host nor another field leads elsewhere.
    let mut client = gateway.client();
    client.send(format!("GET http://1.1.1.1:{port}/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"));
    assert_eq!(client.response().status, 400);
    assert_eq!(origin.accepted(), 0, "nothing has got there");
}

#[test]
fn a_name_is_not_enough_where_it_leads_to_what_is_denied() {
    let origin = Backend::echo("a");
    let port = origin.address().port();
    let by_name = gateway(&proxy("allow_hosts = [\"localhost\"], allow_ports = [\"1-65535\"]", ""));
    assert_eq!(code(&ask(&by_name, &format!("localhost:{port}"), "")), forbidden());
    assert_eq!(code(&ask(&by_name, "example.com", "")), forbidden());
    let both = format!("allow_hosts = [\"localhost\", \"*.test\"], deny_hosts = [\"127.0.0.1\"], {NEAR}");
    let both = gateway(&proxy(&both, ""));
    assert_eq!(ask(&both, &format!("localhost:{port}"), "").status, 200);
    assert_eq!(ask(&both, &format!("LocalHost:{port}"), "").status, 200);
    assert_eq!(code(&ask(&both, &format!("127.0.0.1:{port}"), "")), forbidden());
    let denied = gateway(&proxy(&format!("deny_networks = [\"127.0.0.1/32\"], {NEAR}"), ""));
    assert_eq!(code(&ask(&denied, &format!("localhost:{port}"), "")), forbidden());
    assert_eq!(origin.hits(), 2);
}

#[test]
fn ports_are_those_of_http_unless_others_are_allowed() {
    let origin = Backend::echo("a");
    let authority = origin.address().to_string();
    let port = origin.address().port();
    let usual = gateway(&proxy("allow_networks = [\"127.0.0.0/8\"]", ""));
    assert_eq!(code(&ask(&usual, &authority, "")), forbidden());
    assert_eq!(code(&connect(&usual, &authority, "").0), forbidden());
    let one =
        gateway(&proxy(&format!("allow_networks = [\"127.0.0.0/8\"], allow_ports = [443, {port}]"), ""));
    assert_eq!(ask(&one, &authority, "").status, 200);
    let no = gateway(&proxy(&format!("{NEAR}, deny_ports = [{port}]"), ""));
    assert_eq!(code(&ask(&no, &authority, "")), forbidden());
}

#[test]
fn who_does_not_say_who_they_are_gets_nothing() {
    let origin = Backend::echo("a");
    let launch = launch();
    std::fs::write(launch.directory().join("password"), "s3cret\n").unwrap();
    let users = "users = [{ name = \"alice\", password = \"file:{dir}/password\" }, \
         { name = \"bob\", password = \"sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8\" }, \
         { name = \"carol\", password = \"$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\" }, \
         { name = \"dave\", password = \"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\" }]";
    let gateway = launch.config(&proxy(&format!("{NEAR}, {users}"), "")).start();
    let authority = origin.address().to_string();
    for fields in [
        "",
        "Proxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n",
        "Proxy-Authorization: Basic Ym9iOnMzY3JldA==\r\n",
        "Proxy-Authorization: Basic Y2Fyb2w6cGFzc3dvcmQ=\r\n",
        "Proxy-Authorization: Basic bm9ib2R5OnMzY3JldA==\r\n",
        "Proxy-Authorization: Bearer s3cret\r\n",
        "Proxy-Authorization: Basic !!!\r\n",
        "Authorization: Basic YWxpY2U6czNjcmV0\r\n",
    ] {
        for refused in [ask(&gateway, &authority, fields), connect(&gateway, &authority, fields).0] {
            assert_eq!(code(&refused), (407, "unauthorized".to_owned()), "{fields}");
            assert!(refused.header("proxy-authenticate").unwrap().starts_with("Basic realm="), "{fields}");
        }
    }
    assert_eq!(origin.accepted(), 0);
    let through = format!("http://{}", gateway.address());
    for user in ["alice:s3cret", "bob:password", "carol:s3cret", "dave:password", "carol:s3cret"] {
        for target in [&["-p"][..], &[]] {
            let (done, said) =
                curl(&[&["-x", &through, "--proxy-user", user, &origin.url()][..], target].concat());
            assert!(done, "{said}");
        }
    }
    assert_eq!(origin.hits(), 10);
    assert!(origin.requests().iter().all(|request| request.headers("proxy-authorization").is_empty()));
    // What is said to the other server is its own.
    let credentials = "Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\nAuthorization: Basic b3RoZXI6b25l\r\n";
    assert_eq!(echoed(&ask(&gateway, &authority, credentials), "Authorization"), ["Basic b3RoZXI6b25l"]);
}

#[test]
fn without_it_connect_is_no_method_and_absolute_form_is_for_the_rules() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let (refused, _) = connect(&gateway, &backend.address().to_string(), "");
    assert_eq!(code(&refused), (405, "method_not_allowed".to_owned()));
    assert_eq!(echoed_target(&ask(&gateway, "any.test", "")), "/x");
    let off = launch().config(&proxy(&format!("enabled = false, {NEAR}"), &rule("", &[&backend]))).start();
    assert_eq!(connect(&off, &backend.address().to_string(), "").0.status, 405);
}

#[test]
fn requests_in_origin_form_are_for_the_rules_and_pages_of_the_listener() {
    let (origin, backend) = (Backend::echo("origin"), Backend::echo("backend"));
    let gateway = gateway(&proxy(NEAR, &rule("", &[&backend])));
    assert_eq!(gateway.get("/y").backend(), "backend");
    assert_eq!(gateway.get("/health").status, 200);
    let authority = origin.address().to_string();
    // One connection may ask for both.
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(format!("GET http://{authority}/z HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        assert_eq!(client.response().backend(), "origin");
        assert_eq!(client.get("/w").backend(), "backend");
    }
    // HTTP/2 is not offered: it would lead past the proxy.
    let mut client = gateway.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(client.read_to_close().starts_with(b"HTTP/1.1 "));
}

#[test]
fn a_tunnel_carries_bytes_both_ways_to_each_sides_end() {
    let origin = Backend::scripted(|conn| {
        let heard = conn.read_to_close();
        conn.send(heard.iter().rev().copied().collect::<Vec<u8>>());
    });
    let gateway = gateway(&proxy(NEAR, ""));
    let authority = origin.address().to_string();
    let mut client = gateway.client();
    // What follows at once is for the other side already.
    client.send(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\nabc"));
    let head = client.response_head("CONNECT").unwrap();
    assert_eq!(head.status, 200);
    assert!(head.header("x-request-id").is_some());
    assert!(head.header("content-length").or(head.header("transfer-encoding")).is_none(), "it has no body");
    client.send("defg");
    client.finish();
    assert_eq!(client.read_to_close(), b"gfedcba");
}

#[test]
fn tunnels_are_bounded_in_number_and_in_silence() {
    let origin = Backend::scripted(lb_testkit::Conn::wait_for_close);
    let config = format!("{NEAR}, max_connections = 2, tunnel_timeout = \"600ms\"");
    let gateway = gateway(&proxy(&config, ""));
    let authority = origin.address().to_string();
    let open = |_| connect(&gateway, &authority, "");
    let mut held: Vec<_> = (0..2).map(open).collect();
    assert!(held.iter().all(|(head, _)| head.status == 200));
    let active = || {
        let metrics = gateway.get("/metrics").text();
        let series = "gatewayd_forward_connections_active{listener=\"web\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap().to_owned()
    };
    assert_eq!(active(), "2");
    assert_eq!(code(&connect(&gateway, &authority, "").0), (503, "overloaded".to_owned()));
    assert_eq!(code(&ask(&gateway, &authority, "")), (503, "overloaded".to_owned()));
    drop(held.remove(0));
    eventually("there is room", PATIENCE, || active() == "1");
    let (_, mut silent) = held.remove(0);
    assert!(silent.closes_within(PATIENCE));
    eventually("all are given back", PATIENCE, || active() == "0");
    assert_eq!(connect(&gateway, &authority, "").0.status, 200);
}

#[test]
fn servers_that_cannot_be_had_are_told_apart() {
    let dead = Port::free();
    let gateway = gateway(&proxy(&format!("{NEAR}, connect_timeout = \"5s\""), ""));
    let refused = connect(&gateway, &dead.address().to_string(), "").0;
    assert_eq!(code(&refused), (502, "connect_failed".to_owned()));
    assert_eq!(code(&ask(&gateway, "no-such-name.invalid", "")), (503, "no_backend".to_owned()));
    let (refused, _) = connect(&gateway, &dead.address().to_string(), "Content-Length: 3\r\n");
    assert_eq!(refused.status, 400);
    let mut client = gateway.client();
    let authority = dead.address();
    client.send(format!("GET https://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
    assert_eq!(client.response().status, 400, "https is asked for by CONNECT");
    let resets = Backend::scripted(|conn| {
        conn.read_some(1).ok();
        conn.reset();
    });
    assert_eq!(code(&ask(&gateway, &resets.address().to_string(), "")), (502, "upstream_reset".to_owned()));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(gateway.get("/health").status, 200);
}

#[test]
fn a_password_that_was_right_is_not_looked_at_again_and_wrong_ones_cannot_keep_others_out() {
    let origin = Backend::echo("a");
    // 2¹² rounds take tenths of a second.
    let hashed = "$2y$12$abcdefghijklmnopqrstuuIkD3QUGeSzQARHziTZIsG4D8yrNpG.S";
    let users = format!("users = [{{ name = \"alice\", password = \"{hashed}\" }}]");
    let gateway = gateway(&proxy(&format!("{NEAR}, {users}"), ""));
    let authority = origin.address().to_string();
    let right = "Proxy-Authorization: Basic YWxpY2U6czNjcmV0\r\n";
    assert_eq!(ask(&gateway, &authority, right).status, 200);
    let wrong: Vec<_> = (0..6)
        .map(|_| {
            let mut client = gateway.client();
            client.send(format!(
                "GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nProxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n\r\n"
            ));
            client
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(ask(&gateway, &authority, right).status, 200);
    }
    for mut client in wrong {
        assert_eq!(client.response().status, 407);
    }
    assert_eq!(origin.hits(), 51);
}

/// A forward proxy with one worker.
fn of_one_worker(keys: &str) -> Gateway {
    gateway(&format!("[server]\nworkers = 1\n{}", proxy(keys, "").replacen("access_log = true\n", "", 1)))
}

#[test]
fn connections_to_other_servers_are_kept_and_looked_at_anew_for_each_request() {
    let origin = Backend::echo("a");
    let port = origin.address().port();
    let gateway = of_one_worker(&format!("{NEAR}, deny_hosts = [\"denied.test\"]"));
    for host in ["127.0.0.1", "127.0.0.1", "localhost"] {
        assert_eq!(ask(&gateway, &format!("{host}:{port}"), "").status, 200);
    }
    assert_eq!((origin.hits(), origin.accepted()), (3, 1), "one connection for all, whoever asks");
    assert_eq!(code(&ask(&gateway, &format!("denied.test:{port}"), "")), forbidden());
    let file = gateway.directory().join("gatewayd.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("deny_hosts", "deny_networks = [\"127.0.0.0/8\"], deny_hosts"))
        .unwrap();
    gateway.signal("HUP");
    eventually("the address is denied, kept or not", PATIENCE, || {
        code(&ask(&gateway, &format!("127.0.0.1:{port}"), "")) == forbidden()
    });
}

#[test]
fn a_kept_connection_that_its_server_has_left_is_replaced() {
    // It closes as soon as the next request has come.
    let origin = Backend::scripted(|conn| {
        conn.read_some(1).ok();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        conn.read_some(1).ok();
    });
    let gateway = of_one_worker(NEAR);
    let authority = origin.address().to_string();
    for _ in 0..3 {
        assert_eq!(ask(&gateway, &authority, "").status, 200);
    }
    assert_eq!(origin.accepted(), 3);
}

#[test]
fn what_may_not_be_asked_twice_or_is_bound_to_its_connection_has_one_of_its_own() {
    let origin = Backend::echo("a");
    let gateway = of_one_worker(NEAR);
    let authority = origin.address().to_string();
    assert_eq!(ask(&gateway, &authority, "").status, 200);
    let mut client = gateway.client();
    client.send(format!(
        "POST http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nContent-Length: 3\r\n\r\nabc"
    ));
    assert_eq!(client.response().status, 200);
    assert_eq!(origin.accepted(), 2);
    for fields in ["Authorization: Negotiate YII=\r\n", "Authorization: NTLM TlRM\r\n"] {
        assert_eq!(ask(&gateway, &authority, fields).status, 200);
        assert_eq!(origin.requests().last().unwrap().headers("connection"), ["close"]);
    }
    assert_eq!(origin.accepted(), 4);
}

#[test]
fn what_a_reload_takes_away_is_gone_for_clients_that_stay() {
    let (origin, backend) = (Backend::echo("origin"), Backend::echo("backend"));
    let authority = origin.address().to_string();
    let gateway = of_one_worker(NEAR);
    let put_in_force = |keys: &str| {
        let text = proxy(keys, &rule("", &[&backend])).replacen("access_log = true\n", "", 1);
        gateway.write_config(&format!("[server]\nworkers = 1\n{text}"));
        gateway.signal("HUP");
    };
    let mut stays = gateway.client();
    let mut asked = || {
        stays.send(format!("GET http://{authority}/x HTTP/1.1\r\nHost: {authority}\r\n\r\n"));
        stays.response()
    };
    assert_eq!(asked().backend(), "origin");
    put_in_force(&format!("{NEAR}, deny_networks = [\"127.0.0.0/8\"]"));
    eventually("it is denied", PATIENCE, || code(&asked()) == forbidden());
    put_in_force(&format!("{NEAR}, users = [{{ name = \"a\", password = \"${{HOME}}\" }}]"));
    eventually("he has to say who he is", PATIENCE, || asked().status == 407);
    put_in_force(NEAR);
    eventually("he has not", PATIENCE, || asked().status == 200);
    put_in_force(&format!("enabled = false, {NEAR}"));
    eventually("it is for the rules", PATIENCE, || asked().backend() == "backend");
    assert_eq!(stays.get("/w").backend(), "backend", "it is one connection");
}

#[test]
fn a_host_that_is_denied_by_its_address_is_so_in_every_spelling() {
    let origin = Backend::echo("origin");
    let port = origin.address().port();
    for (denied, hosts) in [
        ("127.0.0.1", ["127.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]),
        ("::FFFF:7f00:1", ["127.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[0:0:0:0:0:FFFF:7F00:1]"]),
    ] {
        let gateway = of_one_worker(&format!("{NEAR}, deny_hosts = [\"{denied}\"]"));
        assert_eq!(ask(&gateway, &format!("127.0.0.2:{port}"), "").status, 502, "nobody is there");
        for host in hosts {
            assert_eq!(code(&ask(&gateway, &format!("{host}:{port}"), "")), forbidden(), "{denied} {host}");
            assert_eq!(connect(&gateway, &format!("{host}:{port}"), "").0.status, 403, "{denied} {host}");
        }
    }
    assert_eq!(origin.accepted(), 0);
}
