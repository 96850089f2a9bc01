//! What becomes of connections to TCP listeners, and of requests to forward proxies.

use lb_testkit::fetch;
use serde_json::{Value, json};

use crate::support::{cli, launch};

const CONFIG: &str = r#"[[listeners]]
name = "redis"
address = "127.0.0.1:6379"
protocol = "tcp"
upstream = "cache"

[[listeners]]
name = "db"
address = "0.0.0.0:5432"
protocol = "tcp"
proxy_protocol = { from = ["10.0.0.0/8"] }
sni = [
  { hosts = ["a.example.com", "*.a.example.com"], upstream = "cache" },
  { hosts = ["*.example.com"], upstream = "gone" },
]

[[listeners]]
name = "web"
address = "127.0.0.1:8080"

[[listeners]]
name = "way-out"
address = "127.0.0.1:3128"

[listeners.forward_proxy]
allow_hosts = ["*.example.com", "10.1.1.1"]
deny_hosts = ["secret.example.com"]
allow_ports = [443, "8000-8999"]
allow_networks = ["10.0.0.0/8"]
deny_networks = ["10.9.0.0/16"]
users = [{ name = "ann", password = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" }]

[upstreams.cache]
load_balancing = "ip_hash"
backends = ["tcp://10.0.0.1:6379", "tcp://10.0.0.2:6379"]

[upstreams.gone]
backends = [{ url = "tcp://10.0.0.3:1", weight = 0 }]

[[rules]]
backends = ["127.0.0.1:9001"]
"#;

/// The answer of [`CONFIG`], with its exit status.
fn ask(arguments: &[&str]) -> (Option<i32>, String) {
    let launch = launch();
    let file = launch.directory().join("gatewayd.toml").display().to_string();
    let output = launch
        .config_file("gatewayd.toml", CONFIG)
        .args(&[&["explain", "-c", &file], arguments].concat())
        .run();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[track_caller]
fn ask_json(arguments: &[&str]) -> Value {
    let (code, said) = ask(&[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

/// Where a line of [`CONFIG`] stands that begins so.
fn line(beginning: &str) -> String {
    let index = CONFIG.lines().position(|line| line.trim_start().starts_with(beginning)).unwrap();
    format!("gatewayd.toml:{}:", index + 1)
}

#[track_caller]
fn stands_at(place: &Value, beginning: &str) {
    assert!(place.as_str().is_some_and(|place| place.contains(&line(beginning))), "{place}, not {beginning}");
}

#[test]
fn a_connection_is_told_its_listener_upstream_and_candidates() {
    for to in ["tcp://127.0.0.1:6379", "tcp://redis", "tcp://localhost:6379/"] {
        let answer = ask_json(&[to, "--from", "203.0.113.7"]);
        assert_eq!(answer["answer"], "upstream cache", "{to}");
        assert_eq!(
            (&answer["listener"]["name"], &answer["listener"]["key"]),
            (&json!("redis"), &json!("listeners[0]"))
        );
        stands_at(&answer["listener"]["place"], "[[listeners]]");
        assert_eq!(answer["client"]["address"], "203.0.113.7");
        let upstream = &answer["upstream"];
        assert_eq!((&upstream["strategy"], &upstream["key"]), (&json!("ip_hash"), &json!("address")));
        let choice = upstream["choice"].as_str().unwrap();
        assert!(choice.starts_with("tcp://10.0.0."), "{choice}");
        assert_eq!(upstream["candidates"].as_array().unwrap().len(), 2);
    }
    let (_, text) = ask(&["tcp://redis"]);
    for words in [
        "upstream cache\n",
        "listener  redis, 127.0.0.1:6379 (",
        "passed on as it comes",
        "by address it goes to",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn names_lead_where_they_lead_connections_and_the_proxy_header_says_who_comes() {
    let believed = ["--from", "10.0.0.9", "--proxied-for", "203.0.113.7"];
    let asked = |name: &str| ask_json(&[&["tcp://192.0.2.1:5432", "--sni", name], &believed[..]].concat());
    let answer = asked("X.A.example.com");
    assert_eq!(answer["answer"], "upstream cache");
    let outcomes: Vec<_> =
        answer["names"].as_array().unwrap().iter().map(|name| name["outcome"].clone()).collect();
    assert_eq!(outcomes, ["takes", "comes_later"]);
    stands_at(&answer["names"][0]["place"], "{ hosts = [\"a.example.com\"");
    assert_eq!(
        (&answer["client"]["peer"], &answer["client"]["address"]),
        (&json!("10.0.0.9"), &json!("203.0.113.7"))
    );

    let answer = asked("b.example.com");
    assert_eq!(answer["answer"], "upstream gone, but no backend could take it: the connection is closed");
    assert_eq!(answer["upstream"]["candidates"][0]["why"], "its weight is 0");
    assert!(
        asked("b.example.org")["answer"].as_str().unwrap().starts_with("closed: no `sni` has b.example.org")
    );
    let nameless = ask_json(&["tcp://db", "--from", "10.0.0.9"]);
    assert!(nameless["answer"].as_str().unwrap().starts_with("closed: it asks for no name"));
    let stranger = ask_json(&["tcp://db", "--from", "203.0.113.7"]);
    assert!(stranger["answer"].as_str().unwrap().contains("none of `proxy_protocol.from`"), "{stranger}");
}

#[test]
fn what_is_no_tcp_listener_is_said_with_those_there_are() {
    let nobody = ask_json(&["tcp://127.0.0.1:1"]);
    assert!(
        nobody["answer"].as_str().unwrap().contains("`redis` (127.0.0.1:6379), `db` (0.0.0.0:5432)"),
        "{nobody}"
    );
    assert!(ask_json(&["tcp://web"])["answer"].as_str().unwrap().contains("speaks HTTP"));
    assert_eq!(ask(&["GET", "/x", "--sni", "a"]).0, Some(64));
    assert_eq!(ask(&["GET"]).0, Some(64));
}

#[test]
fn a_forward_proxy_is_explained_by_the_entry_that_decides() {
    /// The status that an answer begins with, who decided last, and where that stands.
    fn decided(arguments: &[&str]) -> (String, String, Value) {
        let answer = ask_json(arguments);
        let last = answer["checks"].as_array().and_then(|checks| checks.last()).cloned().unwrap_or_default();
        let word = answer["answer"].as_str().unwrap().split([':', ',', ' ']).next().unwrap().to_owned();
        (word, last["key"].as_str().unwrap_or_default().to_owned(), last["place"].clone())
    }
    for (arguments, word, key, place) in [
        (&["CONNECT", "a.example.com:443"][..], "allowed", "allow_ports[0]", "allow_ports"),
        (&["CONNECT", "a.example.com:8443"], "allowed", "allow_ports[1]", "allow_ports"),
        (&["CONNECT", "SECRET.example.com:443"], "403", "deny_hosts[0]", "deny_hosts"),
        (&["CONNECT", "a.example.org:443"], "403", "allow_hosts", "allow_hosts"),
        (&["CONNECT", "a.example.com:22"], "403", "allow_ports", "allow_ports"),
        (&["CONNECT", "10.1.1.1:443"], "allowed", "allow_networks[0]", "allow_networks"),
        (&["CONNECT", "10.9.1.1:443"], "403", "deny_networks[0]", "deny_networks"),
        (
            &["CONNECT", "a.example.com:443", "--leads-to", "10.9.1.1"],
            "403",
            "deny_networks[0]",
            "deny_networks",
        ),
        (
            &["CONNECT", "a.example.com:443", "--leads-to", "127.0.0.1"],
            "403",
            "allow_networks",
            "allow_networks",
        ),
        (
            &["CONNECT", "a.example.com:443", "--leads-to", "127.0.0.1", "--leads-to", "10.1.1.1"],
            "allowed",
            "allow_networks[0]",
            "allow_networks",
        ),
        (&["-x", "GET", "http://a.example.com:8080/x"], "allowed", "allow_ports[1]", "allow_ports"),
        (&["-x", "http://a.example.com/x"], "403", "allow_ports", "allow_ports"),
    ] {
        let (said, decider, stands) = decided(arguments);
        assert_eq!(
            (&*said, &*decider),
            (word, &*format!("listeners[3].forward_proxy.{key}")),
            "{arguments:?}"
        );
        stands_at(&stands, place);
    }
    assert_eq!(decided(&["-x", "GET", "https://a.example.com/"]).0, "400");
    assert_eq!(decided(&["CONNECT", "127.1:443"]).0, "400");
    assert_eq!(decided(&["CONNECT", "a.example.com:443", "--listener", "web"]).0, "405");
    let (_, text) = ask(&["CONNECT", "a.example.com:443"]);
    for words in
        ["allowed so far", "listener  way-out", "? user (", "✓ host (", "is looked up for each request"]
    {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    assert_eq!(ask(&["-x", "GET", "/path"]).0, Some(64));
}

#[test]
fn a_forward_proxy_says_who_is_let_in() {
    let asked = |more: &[&str]| {
        let answer = ask_json(&[&["CONNECT", "10.1.1.1:443"], more].concat());
        let user = answer["checks"][0].clone();
        assert_eq!(user["subject"], "user", "{answer}");
        (answer["answer"].as_str().unwrap().to_owned(), user)
    };
    let allowed = "allowed to those with a password: it is connected to 10.1.1.1:443";
    let (answer, user) = asked(&[]);
    assert_eq!((&*answer, &user["outcome"]), (allowed, &json!("asked")));
    assert!(user["why"].as_str().unwrap().starts_with("by Proxy-Authorization ann is let in"), "{user}");

    // "ann:" and "bob:pw".
    for (more, name) in [
        (["--proxy-user", "ann"], "ann"),
        (["--proxy-user", "bob"], "bob"),
        (["--header", "Proxy-Authorization: Basic YW5uOg=="], "ann"),
        (["--header", "Proxy-Authorization: Basic Ym9iOnB3"], "bob"),
        (["--header", "Proxy-Authorization: Bearer x"], ""),
    ] {
        let (answer, user) = asked(&more);
        let said = user["why"].as_str().unwrap();
        match name {
            "ann" => {
                assert_eq!((&*answer, &user["outcome"]), (allowed, &json!("asked")), "{more:?}");
                assert!(said.starts_with("ann is let in by password"), "{user}");
                stands_at(&user["place"], "users");
            }
            name => {
                assert!(
                    answer.starts_with("407 unauthorized") && user["outcome"] == "denied",
                    "{answer} {user}"
                );
                let words = if name.is_empty() { "is not `Basic`" } else { "no user \"bob\"; ann is let in" };
                assert!(said.contains(words), "{user}");
            }
        }
    }
    assert_eq!(ask(&["GET", "/x", "--proxy-user", "ann"]).0, Some(64));
}

#[test]
fn a_running_gateway_explains_its_connections() {
    let config = "[[listeners]]\nname = \"db\"\naddress = \"{listen}\"\nprotocol = \"tcp\"\nupstream = \"u\"\n\
                  [[listeners]]\nname = \"out\"\naddress = \"{listen2}\"\nforward_proxy = {}\n\
                  [upstreams.u]\nbackends = [\"tcp://127.0.0.1:9\"]\n[admin]\naddress = \"{admin}\"\n";
    let gateway = launch().config(config).start();
    let admin = gateway.address_of("admin").to_string();
    let to = format!("tcp://{}", gateway.address_of("listen"));
    let output = cli(&["explain", &to, "--live", "--admin", &admin]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("upstream u\n") && said.contains("gatewayd.toml:"), "{output:?}");
    let get = |query: &str| {
        fetch(gateway.address_of("admin"), "GET", &format!("/api/explain?{query}"), &[("Host", &admin)])
    };
    let answer = get("method=CONNECT&url=10.0.0.1:443").json();
    assert_eq!(answer["answer"], "403 forbidden: this proxy does not connect to the address of this host");
    assert_eq!(get("url=http://example.com/&proxy=true&leads_to=1.1.1.1").json()["port"], 80);
    assert_eq!(get("url=tcp://db&sni=x").json()["upstream"]["name"], "u");
    assert_eq!(get("url=/x&leads_to=1.1.1.1").status, 400);
}
