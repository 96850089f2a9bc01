//! `gatewayd why`: what was decided of a request that has been, told by its id.

use lb_testkit::{Backend, Gate, Gateway, PATIENCE, eventually};
use serde_json::{Value, json};

use crate::support::{cli, launch, rule};

fn watched(root: &str, rest: &str) -> Gateway {
    launch().config(&format!("{root}\n[admin]\naddress = \"{{admin}}\"\n{rest}")).start()
}

fn why(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let admin = gateway.address_of("admin").to_string();
    let output = cli(&[&["why", "--admin", &admin], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The newest exchange of an id.
fn record(gateway: &Gateway, id: &str) -> Value {
    records(gateway, id, 1).remove(0)
}

/// As many exchanges of an id, newest first. A record is kept once its client has had the last byte.
fn records(gateway: &Gateway, id: &str, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    eventually("records are kept", PATIENCE, || {
        let (code, said) = why(gateway, &[id, "--json"]);
        let document: Value =
            if code == Some(0) { serde_json::from_str(&said).unwrap() } else { Value::Null };
        found = document["exchanges"].as_array().cloned().unwrap_or_default();
        found.len() == count
    });
    found
}

#[test]
fn a_request_that_went_elsewhere_is_told_from_client_to_answer() {
    let mut dead = Backend::echo("dead");
    dead.stop();
    let live = Backend::echo("live");
    let lines = "name = \"shop\"\npath_prefix = \"/shop\"\nload_balancing = \"round_robin\"";
    let gateway = watched("trusted_proxies = [\"127.0.0.1/32\"]", &rule(lines, &[&dead, &live]));
    let answer = gateway.fetch("GET", "/shop/cart?x=1", &[("X-Forwarded-For", "203.0.113.7")]);
    assert_eq!(answer.backend(), "live");
    let id = answer.header("x-request-id").unwrap().to_owned();

    let told = record(&gateway, &id);
    assert_eq!(
        (&told["method"], &told["path"], &told["status"]),
        (&json!("GET"), &json!("/shop/cart"), &json!(200))
    );
    assert_eq!(
        (&told["client"]["address"], &told["client"]["peer"]),
        (&json!("203.0.113.7"), &json!("127.0.0.1"))
    );
    assert!(told["client"]["why"].as_str().unwrap().contains("rightmost"), "{told}");
    assert_eq!(told["rule"], "shop");
    assert!(told["rule_place"].as_str().unwrap().contains("gatewayd.toml:"), "{told}");
    assert_eq!(
        (&told["upstream"]["name"], &told["upstream"]["strategy"]),
        (&json!("shop"), &json!("round_robin"))
    );
    assert_eq!(told["upstream"]["candidates"][1]["url"], live.url());
    let attempts = told["attempts"].as_array().unwrap();
    let short = |place: usize| {
        let attempt = &attempts[place];
        [&attempt["backend"], &attempt["outcome"], &attempt["reason"], &attempt["error"]].map(Value::clone)
    };
    assert_eq!(attempts.len(), 2, "{told}");
    assert_eq!(short(0), [json!(dead.url()), json!("failed"), Value::Null, json!("connect_failed")]);
    assert_eq!(short(1), [json!(live.url()), json!("answered"), json!("connect"), Value::Null]);
    assert_eq!((&attempts[1]["status"], &attempts[1]["connection"]), (&json!(200), &json!("new")));
    let times: Vec<f64> = ["began_ms", "sent_ms", "head_ms", "ended_ms"]
        .map(|name| attempts[1][name].as_f64().unwrap())
        .to_vec();
    assert!(times.is_sorted() && *times.last().unwrap() <= told["duration_ms"].as_f64().unwrap(), "{told}");

    let (_, text) = why(&gateway, &[&id]);
    for words in [
        "GET /shop/cart for",
        "answered 200",
        "203.0.113.7, http, by way of 127.0.0.1",
        "rule      shop (",
        "failed at",
        "connect_failed",
        "tried since the one before failed: connect",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn the_clients_own_id_is_found_however_it_is_spelt() {
    let backend = Backend::echo("a");
    let gateway = watched("", &rule("name = \"r\"", &[&backend]));
    let id = "a/b?c=%41&d";
    gateway.fetch("GET", "/first", &[("X-Request-Id", id)]);
    // In the order in which they end, which two workers may see otherwise than their client.
    records(&gateway, id, 1);
    gateway.fetch("GET", "/second", &[("X-Request-Id", id)]);
    let exchanges = records(&gateway, id, 2);
    let paths: Vec<_> = exchanges.iter().map(|it| &it["path"]).collect();
    assert_eq!(paths, ["/second", "/first"]);
    assert_eq!(exchanges[1]["attempts"][0]["connection"], "new");
}

#[test]
fn an_unknown_id_is_told_how_far_back_the_records_reach_and_trouble_outlives_the_rest() {
    let backend = Backend::echo("a");
    let lines = "name = \"r\"\npath_prefix = \"/r\"";
    let gateway = watched("[server]\nworkers = 1", &rule(lines, &[&backend]));
    let (code, said) = why(&gateway, &["nobody"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no record of \"nobody\"") && said.contains("since the start"), "{said}");
    let mut client = gateway.client();
    assert_eq!(client.request("GET", "/nowhere", &[("X-Request-Id", "lost")]).status, 404);
    client.request("GET", "/r", &[("X-Request-Id", "early")]);
    assert_eq!(record(&gateway, "early")["status"], 200);
    for _ in 0..1024 {
        assert_eq!(client.get("/r").status, 200);
    }
    let lost = record(&gateway, "lost");
    assert_eq!(
        (&lost["code"], &lost["rule"], &lost["attempts"]),
        (&json!("no_rule"), &Value::Null, &json!([]))
    );
    let (code, said) = why(&gateway, &["early"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("reach back to 20") && said.contains("went wrong to the start"), "{said}");
}

#[test]
fn who_waits_for_a_place_is_split_or_finds_nobody_is_told_so() {
    let gate = Gate::new();
    let (held, next) = (Backend::held("held", &gate), Backend::echo("next"));
    let config = format!(
        "[upstreams.app]\nbackends = [{{ url = \"{}\", max_connections = 1 }}]\nqueue = {{ timeout = \"20s\" }}\n\
         [upstreams.next]\nbackends = [{{ url = \"{}\", weight = 0 }}]\n[[rules]]\nname = \"r\"\nsplit_header = \"X-Part\"\n\
         split = [{{ upstream = \"app\" }}, {{ upstream = \"next\", weight = 0 }}]\n",
        held.url(),
        next.url()
    );
    let gateway = watched("", &config);
    let admin = gateway.address_of("admin").to_string();
    assert!(cli(&["log-level", "lb_http=debug", "--admin", &admin]).status.success());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| gateway.fetch("GET", "/", &[("X-Request-Id", "first")]));
        eventually("it is in flight", PATIENCE, || gate.waiting() == 1);
        let second = scope.spawn(|| gateway.fetch("GET", "/", &[("X-Request-Id", "second")]));
        gateway.log_line("the other one waits", |line| {
            line["message"] == "rule matched" && line["request_id"] == "second"
        });
        gate.open();
        assert_eq!((first.join().unwrap().status, second.join().unwrap().status), (200, 200));
    });
    let second = record(&gateway, "second");
    assert_eq!(
        (&second["split"], &second["attempts"][0]["waited"]),
        (&json!("in turn, by weight"), &json!(true))
    );
    assert_eq!(second["upstream"]["candidates"][0]["why"], "it was at its max_connections");
    assert_eq!(record(&gateway, "first")["attempts"][0]["waited"], false);

    let none = gateway.fetch("GET", "/", &[("X-Request-Id", "none"), ("X-Part", "next")]);
    assert_eq!(none.status, 503);
    let none = record(&gateway, "none");
    assert_eq!((&none["split"], &none["code"]), (&json!("the request named it"), &json!("no_backend")));
    let upstream = &none["upstream"];
    assert_eq!((&upstream["name"], &upstream["eligible"]), (&json!("next"), &json!(0)));
    assert_eq!(upstream["candidates"][0]["why"], "its weight was 0");
}

#[test]
fn a_retry_that_is_not_made_says_which_bound_kept_it() {
    let broken = Backend::fixed("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let lines = "name = \"r\"\nretries = { attempts = 1, on = [\"503\"], budget = 1.0 }";
    let gateway = watched("", &rule(lines, &[&broken]));
    assert_eq!(gateway.fetch("GET", "/", &[("X-Request-Id", "x")]).status, 503);
    let told = record(&gateway, "x");
    assert_eq!(
        (&told["attempts"][0]["status"], &told["given_up"]),
        (&json!(503), &json!("no other backend can take it"))
    );
}

#[test]
fn a_record_is_for_who_may_make_changes() {
    let backend = Backend::echo("a");
    let gateway = launch()
        .config(&format!(
            "[admin]\naddress = \"{{admin}}\"\ntoken = \"s3cret\"\n{}",
            rule("name = \"r\"", &[&backend])
        ))
        .start();
    gateway.fetch("GET", "/", &[("X-Request-Id", "x")]);
    let (code, said) = why(&gateway, &["x"]);
    assert!(code == Some(1) && said.contains("401"), "{said}");
    eventually("who may is told", PATIENCE, || {
        let (code, said) = why(&gateway, &["x", "--token", "s3cret"]);
        code == Some(0) && said.contains("rule      r")
    });
}

#[test]
fn who_is_turned_away_is_told_by_which_bound() {
    let gate = Gate::new();
    let (held, failing) = (
        Backend::held("held", &gate),
        Backend::scripted(|conn| {
            while conn.request().is_some() {
                conn.reply("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
            }
        }),
    );
    let config = format!(
        "[upstreams.app]\nbackends = [{{ url = \"{held}\", max_connections = 1 }}]\nqueue = {{ max_pending = 1, timeout = \"100ms\" }}\n\
         [upstreams.one]\nbackends = [\"{held}\"]\n\
         [upstreams.broken]\nbackends = [\"{failing}\"]\ncircuit_breaker = {{ failure_threshold = 1, recovery_timeout = \"60s\" }}\n\
         [upstreams.out]\nbackends = [\"{failing}\", \"http://127.0.0.1:1\"]\nretries = {{ attempts = 0 }}\n\
         passive = {{ consecutive_failures = 1, ejection_time = \"60s\" }}\n\
         [[rules]]\nname = \"queue\"\npath = \"/queue\"\nupstream = \"app\"\n\
         [[rules]]\nname = \"bound\"\npath = \"/bound\"\nupstream = \"one\"\nconcurrency = {{ max = 1 }}\n\
         [[rules]]\nname = \"broken\"\npath = \"/broken\"\nupstream = \"broken\"\n\
         [[rules]]\nname = \"out\"\npath = \"/out\"\nupstream = \"out\"\n\
         [[rules]]\nname = \"fault\"\npath = \"/fault\"\nupstream = \"one\"\nfault = {{ abort = {{ status = 503, percent = 100 }} }}\n",
        held = held.url(),
        failing = failing.url(),
    );
    let gateway = watched("", &config);
    let ask = |path: &str, id: &str| gateway.fetch("GET", path, &[("X-Request-Id", id)]).status;
    std::thread::scope(|scope| {
        let (ask, gate) = (&ask, &gate);
        scope.spawn(move || ask("/queue", "holds"));
        scope.spawn(move || ask("/bound", "holds"));
        eventually("both are in flight", PATIENCE, || gate.waiting() == 2);
        assert_eq!(ask("/queue", "waits"), 503);
        let waiting = scope.spawn(move || ask("/queue", "queued"));
        eventually("one of two is turned away at once", PATIENCE, || {
            ask("/queue", "full") == 503 && {
                let reason = record_of(&gateway, "full");
                reason.contains("queue.max_pending") || {
                    // The one before had waited its time; the next is early enough.
                    scope.spawn(move || ask("/queue", "queued"));
                    false
                }
            }
        });
        assert_eq!(ask("/bound", "shed"), 503);
        waiting.join().unwrap();
        gate.open();
    });
    for (id, words) in [("waits", "queue.timeout"), ("full", "queue.max_pending"), ("shed", "`concurrency`")]
    {
        let (code, said) = why(&gateway, &[id]);
        assert!(code == Some(0) && said.contains("reason ") && said.contains(words), "{id}: {said}");
    }
    assert_eq!((ask("/fault", "fault"), ask("/broken", "breaks"), ask("/broken", "open")), (503, 500, 503));
    assert!(why(&gateway, &["fault"]).1.contains("has a fault injected"), "{}", why(&gateway, &["fault"]).1);
    let open = record(&gateway, "open");
    assert_eq!(open["upstream"]["candidates"][0]["why"], "its circuit was open", "{open}");
    let admin = gateway.address_of("admin").to_string();
    let said = String::from_utf8(cli(&["status", "--admin", &admin]).stdout).unwrap();
    let line = said.lines().skip_while(|line| *line != "broken").nth(1).unwrap();
    assert!(line.contains("circuit open"), "{said}");
    eventually("one is out for a while", PATIENCE, || {
        ask("/out", "out");
        let why = record_of(&gateway, "out");
        why.contains("ejected for a while")
    });
}

/// The newest exchange of an id, as text.
fn record_of(gateway: &Gateway, id: &str) -> String {
    eventually("it is kept", PATIENCE, || why(gateway, &[id]).0 == Some(0));
    why(gateway, &[id]).1
}
