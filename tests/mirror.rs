//! Copies of requests for another upstream: what of a request arrives there, what does not, and that nobody who asked
//! notices anything of it.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use lb_testkit::{Backend, Gate, Gateway, PATIENCE, Request, eventually, fetch};

use crate::http2::curl;
use crate::http3;
use crate::support::{cli, launch, rule, tally, urls};

fn config(app: &Backend, shadow: &str, mirror: &str) -> String {
    format!(
        "[admin]\naddress = \"{{admin}}\"\n[upstreams.app]\nbackends = [{}]\n[upstreams.shadow]\nbackends = [{shadow}]\n\
         [[rules]]\nname = \"web\"\nupstream = \"app\"\n{mirror}\n",
        urls(&[app])
    )
}

fn mirrored(app: &Backend, shadow: &Backend, options: &str) -> Gateway {
    let mirror = format!("mirror = {{ upstream = \"shadow\"{options} }}");
    launch().config(&config(app, &urls(&[shadow]), &mirror)).start()
}

/// A figure of the mirror; 0 where there is none.
fn figure(gateway: &Gateway, name: &str, result: &str) -> u64 {
    let text = fetch(gateway.address_of("admin"), "GET", "/metrics", &[]).text();
    let labels = format!("{name}{{rule=\"web\",upstream=\"shadow\",result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&labels)).map_or(0, |value| value.parse().unwrap())
}

/// What became of requests, by number.
fn requests(gateway: &Gateway, result: &str) -> u64 {
    figure(gateway, "gatewayd_mirror_requests_total", result)
}

fn compared(gateway: &Gateway, result: &str) -> u64 {
    figure(gateway, "gatewayd_mirror_compared_total", result)
}

/// Wait for so many.
#[track_caller]
fn comes_to(gateway: &Gateway, result: &str, count: u64) {
    eventually(&format!("{count} {result}"), PATIENCE, || requests(gateway, result) == count);
}

/// Send a request and have the body of its answer, from the echo that is asked first.
#[track_caller]
fn post(gateway: &Gateway, target: &str, fields: &str, body: &str) -> serde_json::Value {
    let mut client = gateway.client();
    client.send(format!("POST {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n{body}"));
    let response = client.try_response("POST").unwrap();
    assert_eq!((response.status, response.backend().as_str()), (200, "app"));
    response.json()
}

/// What of a request does not depend on the connection it came on.
fn told(request: &Request) -> (String, String, Vec<u8>, Vec<(String, String)>) {
    let ends_here = |name: &str| name.eq_ignore_ascii_case("connection");
    let fields = request.head.fields.iter().filter(|(name, _)| !ends_here(name)).cloned();
    (request.method.clone(), request.target.clone(), request.body.clone(), fields.collect())
}

#[test]
fn copies_are_what_the_first_backend_got_and_nobody_notices() {
    let (app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let gateway = mirrored(&app, &shadow, "");
    assert_eq!(gateway.fetch("GET", "/a%20b?x=1", &[("X-Mark", "1")]).backend(), "app");
    assert_eq!(gateway.fetch("HEAD", "/head", &[]).status, 200);
    assert_eq!(gateway.fetch("DELETE", "/gone", &[]).backend(), "app");
    assert_eq!(post(&gateway, "/p", "Content-Length: 5\r\n", "hello")["body"], "hello");
    let chunked = "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n";
    assert_eq!(
        post(&gateway, "/c", chunked, "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 7\r\n\r\n")["body"],
        "abcde"
    );
    let expecting = "Content-Length: 2\r\nExpect: 100-continue\r\n";
    let mut client = gateway.client();
    client.send(format!("POST /e HTTP/1.1\r\nHost: shop.test\r\n{expecting}\r\n"));
    assert_eq!(client.response_head("POST").unwrap().status, 100);
    client.send("ok");
    assert_eq!(client.try_response("POST").unwrap().json()["body"], "ok");
    let json: serde_json::Value =
        serde_json::from_str(&curl(&gateway, "/h2", &["--data-binary", "by two"])).unwrap();
    assert_eq!((&json["backend"], &json["body"]), (&"app".into(), &"by two".into()));
    comes_to(&gateway, "answered", 7);
    let in_order = |backend: &Backend| {
        let mut all: Vec<_> = backend.requests().iter().map(told).collect();
        all.sort();
        all
    };
    assert_eq!(in_order(&app), in_order(&shadow));
    assert!(shadow.requests().iter().all(|request| request.header("connection") == Some("close")));
    let chunked = shadow.requests().into_iter().find(|request| request.target == "/c").unwrap();
    assert_eq!(chunked.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

/// What the record of an exchange tells of its copy.
fn copy_of(gateway: &Gateway, id: &str, outcome: &str) -> serde_json::Value {
    let mut told = serde_json::Value::Null;
    let path = format!("/api/why/{id}");
    eventually(&format!("the copy is {outcome}"), PATIENCE, || {
        let host = gateway.address_of("admin").to_string();
        let answer = fetch(gateway.address_of("admin"), "GET", &path, &[("Host", &host)]);
        if answer.status == 200 {
            told = answer.json()["exchanges"][0]["mirror"].clone();
        }
        told["outcome"] == outcome
    });
    told
}

#[test]
fn records_tell_what_became_of_copies() {
    let gate = Gate::new();
    let (app, shadow) = (Backend::echo("app"), Backend::held("shadow", &gate));
    let options = ", max_pending = 1, max_body = 4, compare = true, methods = [\"GET\", \"POST\"]";
    let gateway = mirrored(&app, &shadow, options);
    let ask = |method: &str, id: &str| gateway.fetch(method, "/", &[("X-Request-Id", id)]).status;
    assert_eq!(ask("GET", "held"), 200);
    assert_eq!(copy_of(&gateway, "held", "under_way")["upstream"], "shadow");
    assert_eq!(ask("GET", "one-too-many"), 200);
    let why = |id: &str| copy_of(&gateway, id, "not_sent")["why"].as_str().unwrap().to_owned();
    assert!(why("one-too-many").contains("max_pending"));
    gate.open();
    let answered = copy_of(&gateway, "held", "answered");
    assert_eq!((&answered["status"], &answered["backend"]), (&200.into(), &shadow.url().into()));
    // They say their names.
    assert_eq!(answered["compared"], "other_body");
    assert!(answered["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(ask("DELETE", "other-method"), 200);
    assert!(why("other-method").contains("methods"));
    post(&gateway, "/", "X-Request-Id: large\r\nContent-Length: 5\r\n", "12345");
    assert!(why("large").contains("max_body"));
    post(&gateway, "/", "X-Request-Id: chunks\r\nTransfer-Encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n");
    assert!(why("chunks").contains("max_body"));
    let admin = gateway.address_of("admin").to_string();
    let text = |id: &str| String::from_utf8_lossy(&cli(&["why", id, "--admin", &admin]).stdout).into_owned();
    let line = format!("mirror    a copy to shadow, {}: answered 200, ", shadow.url());
    assert!(text("held").contains(&line), "{}", text("held"));
    assert!(text("large").contains("mirror    no copy to shadow: its body is larger"), "{}", text("large"));
    drop(shadow);
    assert_eq!(ask("GET", "nobody"), 200);
    let failed = copy_of(&gateway, "nobody", "failed");
    assert!(failed["why"].as_str().unwrap().contains("refused"), "{failed}");
}

#[test]
fn clients_of_http_3_have_copies_too() {
    let (app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let rules = config(&app, &urls(&[&shadow]), "mirror = { upstream = \"shadow\", compare = true }");
    let gateway = http3::start(&rules);
    let script = "
async def main():
    async with connected() as client:
        got = await client.answer(client.open('PUT', '/h3', body=b'by three'))
        assert got.status == 200 and b'\"app\"' in got.body, (got.heads, got.body)
        assert (await client.get('/h3')).status == 200
run(main)
";
    http3::run(&gateway, script);
    comes_to(&gateway, "answered", 2);
    let seen = shadow.requests();
    let mut seen: Vec<_> =
        seen.iter().map(|it| (it.method.as_str(), it.target.as_str(), it.text())).collect();
    seen.sort();
    assert_eq!(seen, [("GET", "/h3", String::new()), ("PUT", "/h3", "by three".to_owned())]);
    // They say their names.
    assert_eq!(compared(&gateway, "other_body"), 2);
}

#[test]
fn copies_go_by_tls_and_where_the_strategy_has_them() {
    let (app, left, right) = (Backend::echo("app"), Backend::echo("left"), Backend::echo("right"));
    let listener = "[[listeners]]\nname = \"tls\"\naddress = \"{listen}\"\ntls = \"self-signed\"\n";
    let front = |backend| launch().config(&format!("{listener}{}", rule("", &[backend]))).start();
    let (by_left, by_right) = (front(&left), front(&right));
    let shadows = format!("\"https://{}\", \"https://{}\"", by_left.address(), by_right.address());
    let strategy = "load_balancing = { strategy = \"rendezvous\", key = \"header:X-User\" }\ntls = { insecure_skip_verify = true }\n";
    let config = config(&app, &shadows, "mirror = { upstream = \"shadow\" }");
    let gateway = launch().config(&config.replacen("[[rules]]", &format!("{strategy}[[rules]]"), 1)).start();
    for round in 1..=3 {
        for user in 0..16 {
            let user = user.to_string();
            assert_eq!(gateway.fetch("GET", "/", &[("X-User", &user)]).backend(), "app");
        }
        comes_to(&gateway, "answered", 16 * round);
    }
    let users = |backend: &Backend| {
        let requests = backend.requests();
        tally(requests.iter().filter_map(|request| request.header("x-user").map(str::to_owned)))
    };
    let (left, right) = (users(&left), users(&right));
    assert!(!left.is_empty() && !right.is_empty() && left.len() + right.len() == 16, "{left:?} {right:?}");
    assert!(left.values().chain(right.values()).all(|count| *count == 3), "{left:?} {right:?}");
}

#[test]
fn a_share_some_methods_and_no_upgrade() {
    let (app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let gateway = mirrored(&app, &shadow, ", percent = 0");
    (0..50).for_each(|_| assert_eq!(gateway.get("/").backend(), "app"));
    drop(gateway);
    assert_eq!((app.hits(), shadow.hits()), (50, 0));

    let gateway = mirrored(&app, &shadow, ", percent = 50, max_pending = 1000");
    (0..400).for_each(|_| assert_eq!(gateway.get("/").backend(), "app"));
    eventually("all are over", PATIENCE, || requests(&gateway, "answered") == shadow.hits() as u64);
    assert!((130..=270).contains(&shadow.hits()), "{} of 400", shadow.hits());
    drop(gateway);

    let shadow = Backend::echo("shadow");
    let gateway = mirrored(&app, &shadow, ", methods = [\"GET\", \"PUT\"]");
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "other")];
    assert_eq!(gateway.fetch("GET", "/upgrade", &upgrade).status, 200);
    for method in ["DELETE", "HEAD", "GET", "OPTIONS", "PUT"] {
        assert_eq!(gateway.fetch(method, "/", &[]).status, 200);
    }
    comes_to(&gateway, "answered", 2);
    let mut seen: Vec<_> =
        shadow.requests().iter().map(|it| format!("{} {}", it.method, it.target)).collect();
    seen.sort();
    assert_eq!(seen, ["GET /", "PUT /"]);
}

#[test]
fn a_body_that_is_too_large_is_not_copied_and_reaches_its_backend_whole() {
    let (app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let gateway = mirrored(&app, &shadow, ", max_body = \"1KiB\"");
    let (fits, large) = ("x".repeat(1024), "y".repeat(200_000));
    post(&gateway, "/fits", "Content-Length: 1024\r\n", &fits);
    comes_to(&gateway, "answered", 1);
    assert_eq!(post(&gateway, "/", "Content-Length: 200000\r\n", &large)["body"], large);
    let chunks = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    assert_eq!(post(&gateway, "/", "Transfer-Encoding: chunked\r\n", &chunks)["body"], large);
    comes_to(&gateway, "too_large", 2);
    // One that breaks off has no copy either.
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    eventually("it has begun", PATIENCE, || app.in_flight() == 1 || app.accepted() > 1);
    drop(client);
    comes_to(&gateway, "dropped", 1);
    assert_eq!((shadow.hits(), shadow.requests()[0].text()), (1, fits));
}

#[test]
fn one_that_stands_still_delays_nobody_and_what_is_too_much_is_dropped() {
    let gate = Gate::new();
    let (app, shadow) = (Backend::echo("app"), Backend::held("shadow", &gate));
    let gateway = mirrored(&app, &shadow, ", max_pending = 3, timeout = \"60s\"");
    // All are answered while no copy is.
    let mut client = gateway.client();
    (0..20).for_each(|_| assert_eq!(client.get("/").backend(), "app"));
    eventually("three are under way", PATIENCE, || gate.waiting() == 3);
    comes_to(&gateway, "dropped", 17);
    assert_eq!((shadow.hits(), requests(&gateway, "answered")), (3, 0));
    // The bound outlives a reload, and a place that is given back can be had again.
    gateway.signal("HUP");
    gateway.log_line("it is read", |line| line["message"] == "configuration reloaded");
    assert_eq!(client.get("/").backend(), "app");
    comes_to(&gateway, "dropped", 18);
    gate.admit(1);
    comes_to(&gateway, "answered", 1);
    assert_eq!(client.get("/").backend(), "app");
    eventually("another is under way", PATIENCE, || shadow.hits() == 4);
    gate.open();
    comes_to(&gateway, "answered", 4);
}

#[test]
fn places_at_the_mirrors_backends_are_kept_and_given_back() {
    let gate = Gate::new();
    let (app, shadow) = (Backend::echo("app"), Backend::held("shadow", &gate));
    let shadows = format!("{{ url = \"{}\", max_connections = 2 }}", shadow.url());
    let gateway = launch().config(&config(&app, &shadows, "mirror = { upstream = \"shadow\" }")).start();
    (0..5).for_each(|_| assert_eq!(gateway.get("/").backend(), "app"));
    comes_to(&gateway, "failed", 3);
    eventually("two are under way", PATIENCE, || gate.waiting() == 2);
    gate.open();
    comes_to(&gateway, "answered", 2);
    (0..2).for_each(|_| assert_eq!(gateway.get("/").backend(), "app"));
    comes_to(&gateway, "answered", 4);
    assert_eq!((shadow.peak(), requests(&gateway, "failed")), (2, 3));
}

#[test]
fn one_that_is_dead_hangs_or_talks_nonsense_is_counted_and_does_no_harm() {
    let app = Backend::echo("app");
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let mirror = "mirror = { upstream = \"shadow\", compare = true, timeout = \"300ms\" }";
    let mut others: Vec<(String, Option<Backend>)> = vec![(format!("http://{address}"), None)];
    let misbehaving = [
        Backend::silent(),
        Backend::garbage(),
        Backend::reset_mid_head(),
        Backend::endless_head(),
        Backend::once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        Backend::scripted(|conn| {
            // A body without end.
            conn.request();
            conn.try_send("HTTP/1.1 200 OK\r\n\r\n").ok();
            while conn.try_send([b'x'; 1000]).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }),
    ];
    others.extend(misbehaving.into_iter().map(|backend| (backend.url(), Some(backend))));
    for (url, _backend) in &others {
        let gateway = launch().config(&config(&app, &format!("\"{url}\""), mirror)).start();
        let mut client = gateway.client();
        (0..5).for_each(|_| assert_eq!(client.get("/").backend(), "app"));
        post(&gateway, "/", "Content-Length: 5\r\n", "hello");
        comes_to(&gateway, "failed", 6);
        assert_eq!((requests(&gateway, "answered"), compared(&gateway, "alike")), (0, 0));
    }
}

#[test]
fn a_primary_that_fails_has_its_copy_all_the_same() {
    let (mut app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let gateway = mirrored(&app, &shadow, ", compare = true");
    app.stop();
    assert_eq!(gateway.get("/").status, 502);
    comes_to(&gateway, "answered", 1);
    let all: u64 = ["alike", "other_status", "other_body"].iter().map(|it| compared(&gateway, it)).sum();
    assert_eq!(all, 0);
}

#[test]
fn answers_are_compared_by_status_and_body_however_they_are_framed() {
    let body = "z".repeat(100_000);
    let answer = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let chunked = {
        let (one, two) = body.split_at(33_333);
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
            one.len(),
            two.len()
        )
    };
    let primary = answer("200 OK", &body);
    for (primary, shadow, result) in [
        (&primary, primary.clone(), "alike"),
        (&primary, chunked.clone(), "alike"),
        (&chunked, primary.clone(), "alike"),
        (&primary, answer("201 Created", &body), "other_status"),
        (&primary, answer("200 OK", &body.replacen('z', "a", 1)), "other_body"),
        (&chunked, answer("200 OK", ""), "other_body"),
    ] {
        let (app, shadow) = (Backend::fixed(primary.clone()), Backend::fixed(shadow));
        let gateway = mirrored(&app, &shadow, ", compare = true");
        for _ in 0..3 {
            let response = gateway.get("/");
            assert_eq!((response.status, response.text() == body), (200, true));
        }
        eventually(result, PATIENCE, || compared(&gateway, result) == 3);
        let all: u64 = ["alike", "other_status", "other_body"].iter().map(|it| compared(&gateway, it)).sum();
        assert_eq!((all, requests(&gateway, "answered")), (3, 3));
        let rule = fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json()["rules"][0].clone();
        let told = &rule["mirror"];
        assert_eq!(
            (&told["upstream"], &told["answered"], &told["compared"]),
            (&"shadow".into(), &3.into(), &3.into())
        );
        let rate = if result == "alike" { 0.0 } else { 1.0 };
        assert_eq!(told["mismatch_rate"], rate, "{rule}");
    }
}

#[test]
fn explaining_says_where_copies_go_and_sends_none() {
    let (app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let gateway = mirrored(&app, &shadow, ", percent = 25, methods = [\"GET\"], compare = true");
    let admin = gateway.address_of("admin").to_string();
    let explain = |method: &str, more: &[&str]| {
        let output = cli(&[&["explain", method, "/", "--live", "--admin", &admin][..], more].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    let told = explain("GET", &[]);
    assert!(told.contains("mirror    25.0000 % copied to shadow, its answer compared"), "{told}");
    let told = explain("POST", &[]);
    assert!(told.contains("mirror    no copy to shadow: only GET is copied"), "{told}");
    let told: serde_json::Value = serde_json::from_str(&explain("GET", &["--json"])).unwrap();
    assert_eq!(told["mirror"], serde_json::json!({ "upstream": "shadow", "share": 0.25, "compare": true }));
    assert_eq!((app.hits(), shadow.hits()), (0, 0));
}

#[test]
fn a_reload_brings_a_mirror_and_takes_it_away() {
    let (app, shadow) = (Backend::echo("app"), Backend::echo("shadow"));
    let with = config(&app, &urls(&[&shadow]), "mirror = { upstream = \"shadow\" }");
    let without = config(&app, &urls(&[&shadow]), "");
    let gateway = launch().config(&without).start();
    let apply = |config: &str| {
        gateway.write_config(config);
        let output = cli(&["reload", "--admin", &gateway.address_of("admin").to_string()]);
        assert!(output.status.success(), "{output:?}");
    };
    assert_eq!(gateway.get("/before").backend(), "app");
    apply(&with);
    assert_eq!(gateway.get("/with").backend(), "app");
    comes_to(&gateway, "answered", 1);
    apply(&without);
    assert_eq!(gateway.get("/after").backend(), "app");
    apply(&with);
    assert_eq!(gateway.get("/again").backend(), "app");
    comes_to(&gateway, "answered", 2);
    let targets: Vec<_> = shadow.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/with", "/again"]);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    for (mirror, words) in [
        ("{ upstream = \"shadwo\" }", "there is no upstream"),
        ("{ percent = 5 }", "names no upstream"),
        ("{ upstream = \"shadow\", percent = 101 }", "no percentage"),
        ("{ upstream = \"shadow\", max_pending = 0 }", "max_pending"),
        ("{ upstream = \"shadow\", methods = [\"G T\"] }", "is no method"),
        ("{ upstream = \"shadow\", copies = 2 }", "copies"),
        ("{ upstream = \"two\" }", "does not speak"),
        ("{ upstream = \"shadow\" }\nredirect = \"https\"", "this rule redirects"),
    ] {
        let text = format!(
            "[upstreams.app]\nbackends = [\"127.0.0.1:9001\"]\n[upstreams.shadow]\nbackends = [\"127.0.0.1:9002\"]\n\
             [upstreams.two]\nbackends = [{{ url = \"127.0.0.1:9003\", protocol = \"h2c\" }}]\n\
             [[rules]]\nupstream = \"app\"\nmirror = {mirror}\n[[rules]]\npath_prefix = \"/two\"\nupstream = \"two\"\n"
        );
        let launch = launch();
        let file = launch.directory().join("x.toml").display().to_string();
        let output = launch.config_file("x.toml", &text).args(&["check", &file]).run();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(78) && said.contains(words), "{mirror}: {said}");
    }
}
