//! What the gateway says it would do with a request, from a file and live; and the other commands that only look.

mod listeners;

use lb_testkit::{Backend, Gateway, PATIENCE, eventually, fetch};
use serde_json::{Value, json};

use crate::support::{cli, launch, rule};

const CONFIG: &str = r#"trusted_proxies = ["10.0.0.0/8"]
[upstreams.app]
load_balancing = "ip_hash"
backends = ["http://127.0.0.1:9001/base", { url = "http://127.0.0.1:9002", weight = 0 }]

[[rules]]
name = "beta"
host = "api.example.com"
headers = { X-Beta = "1" }
upstream = "app"

[[rules]]
name = "api"
host = "api.example.com"
path_prefix = "/api"
methods = ["GET"]
strip_prefix = "/api"
upstream = "app"
host_header = "backend"
request_headers = { set = { X-Proxy = "gatewayd" }, remove = ["X-Secret"] }

[[rules]]
name = "old"
path_prefix = "/old"
redirect = { to = "https://new.example.com" }
"#;

/// The answer to a question about [`CONFIG`], with its exit status.
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

fn ask_json(arguments: &[&str]) -> Value {
    let (code, said) = ask(&[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn the_rule_is_named_with_its_line_and_the_others_with_what_they_missed() {
    let url = "http://api.example.com/api/./users?x=1";
    let answer = ask_json(&["GET", url, "-H", "X-Secret: 1", "-H", "Connection: close"]);
    assert_eq!((&answer["answer"], &answer["path"]), (&json!("rule api"), &json!("/api/users")));
    let rules = answer["rules"].as_array().unwrap();
    let told: Vec<_> = rules.iter().map(|rule| (&rule["name"], &rule["outcome"])).collect();
    assert_eq!(
        told,
        [
            (&json!("beta"), &json!("missed")),
            (&json!("api"), &json!("takes")),
            (&json!("old"), &json!("missed")),
        ]
    );
    assert_eq!(rules[0]["why"], "no header `x-beta: 1`");
    let line = 1 + CONFIG.lines().position(|line| line == "name = \"api\"").unwrap();
    let place = rules[1]["place"].as_str().unwrap();
    assert!(place.contains(&format!("gatewayd.toml:{}:", line - 1)), "{place}");

    let request = &answer["request"];
    assert_eq!((&request["target"], &request["host"]), (&json!("/base/users?x=1"), &json!("127.0.0.1:9001")));
    let has = |list: &str, name: &str| request[list].as_array().unwrap().iter().any(|field| field[0] == name);
    assert!(has("added", "x-proxy") && has("added", "x-forwarded-for"), "{request}");
    assert!(has("removed", "x-secret") && has("removed", "connection"), "{request}");

    let upstream = &answer["upstream"];
    assert_eq!(
        (&upstream["strategy"], &upstream["choice"]),
        (&json!("ip_hash"), &json!("http://127.0.0.1:9001/base"))
    );
    assert_eq!(upstream["candidates"][1]["why"], "its weight is 0");
    assert_eq!(answer["policies"][0]["name"], "request_headers");

    let (_, text) = ask(&["GET", url]);
    for words in [
        "rule api",
        "beta (",
        "missed: no header",
        "forwarded GET /base/users?x=1",
        "✗ http://127.0.0.1:9002",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn the_client_is_said_with_how_it_was_derived() {
    let field = ["-H", "X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.1.1"];
    let url = "http://api.example.com/api";
    let client =
        |from: &str| ask_json(&[&["GET", url, "--from", from], &field[..]].concat())["client"].clone();
    let behind = client("10.0.0.9");
    assert_eq!((&behind["peer"], &behind["address"]), (&json!("10.0.0.9"), &json!("203.0.113.7")));
    assert!(behind["why"].as_str().unwrap().contains("rightmost"), "{behind}");
    assert_eq!(client("198.51.100.1")["address"], "198.51.100.1");
}

#[test]
fn the_scheme_is_that_of_the_url_or_else_of_the_listeners() {
    let explained = |tls: &str, url: &str| {
        let launch = launch();
        let file = launch.directory().join("gatewayd.toml").display().to_string();
        let listener = format!("[[listeners]]\naddress = \"127.0.0.1:1\"\n{tls}\n");
        let config = format!("{listener}[[rules]]\nbackends = [\"127.0.0.1:9001\"]\n");
        let arguments = ["explain", "-c", &file, "GET", url, "--json"];
        let output = launch.config_file("gatewayd.toml", &config).args(&arguments).run();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let tls = "tls = \"self-signed\"";
    for (tls, url, scheme) in [
        ("", "/x", "http"),
        (tls, "/x", "https"),
        ("", "https://example.com/x", "https"),
        (tls, "http://example.com/x", "http"),
    ] {
        let explained = explained(tls, url);
        assert_eq!(explained["scheme"], scheme, "{tls} {url}");
        let added = explained["request"]["added"].as_array().unwrap();
        assert!(added.contains(&json!(["x-forwarded-proto", scheme])), "{tls} {url}: {added:?}");
    }
    assert_eq!(ask(&["GET", "gopher://example.com/x"]).0, Some(64));
}

#[test]
fn what_makes_no_sense_on_the_command_line_is_a_usage_error() {
    for (arguments, words) in [
        (&["explain", "GET"][..], "GET of which URL? gatewayd explain GET http://example.com/"),
        (&["explain", "GET", "/", "-H", "nonsense"], "is no header"),
        (&["explain", "GET", "/", "--sni", "x.example"], "`sni` is asked of TCP listeners"),
        (&["switch", "web", "next", "--expires", "-1s"], "a time ahead is meant"),
        (&["switch", "web", "next", "--expires", "soon"], "such as 10m"),
        (&["log-level", "debug", "--for", "-1s"], "a time ahead is meant"),
        (&["upgrade", "--timeout", "-1s"], "a time ahead is meant"),
    ] {
        let output = cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && said.contains(words), "{arguments:?}: {said}");
        assert!(!said.contains("'-- -1"), "{said}");
    }
}

#[test]
fn requests_that_no_rule_takes_are_explained_too() {
    for (method, url, words) in [
        ("GET", "http://other.example/x", "404 no_rule"),
        ("POST", "http://api.example.com/api/x", "405 method_not_allowed"),
        ("GET", "http://api.example.com/api/%2e%2e%5c", "400 bad_request"),
        ("GET", "http://bad_host:x/", "400 bad_request"),
    ] {
        let answer = ask_json(&[method, url]);
        assert!(answer["answer"].as_str().unwrap().starts_with(words), "{method} {url}: {answer}");
        assert!(answer["upstream"].is_null());
    }
    let redirect = ask_json(&["GET", "http://x.example/old/page?a=1"]);
    assert_eq!(redirect["redirect"], "https://new.example.com/old/page?a=1");
    assert_eq!(ask(&["G T", "/x"]).0, Some(64));
    assert_eq!(ask(&["GET", "/x", "-H", "no colon"]).0, Some(64));
}

#[test]
fn a_running_gateway_explains_how_things_stand() {
    let (mut down, up) = (Backend::echo("down"), Backend::echo("up"));
    let probes = "health_check = { path = \"/\", interval = \"100ms\", timeout = \"100ms\" }";
    let rules = rule(&format!("name = \"r\"\n{probes}"), &[&down, &up]);
    let gateway: Gateway = launch().config(&format!("[admin]\naddress = \"{{admin}}\"\n{rules}")).start();
    let admin = gateway.address_of("admin").to_string();
    let asked = || {
        let output = cli(&["explain", "GET", "/x", "--live", "--admin", &admin, "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(asked()["answer"], "rule r");
    down.stop();
    eventually("it says who is down, and why", PATIENCE, || {
        let why = asked()["upstream"]["candidates"][0]["why"].clone();
        why.as_str().is_some_and(|why| why.starts_with("it is unhealthy: "))
    });
    assert_eq!(up.requests().iter().filter(|request| request.target == "/x").count(), 0, "nothing is sent");
    let text = cli(&["explain", "GET", "/x", "--live", "--admin", &admin]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("gatewayd.toml:"), "{text:?}");
    let address = gateway.address_of("admin");
    let get = |query: &str| fetch(address, "GET", &format!("/api/explain?{query}"), &[("Host", &admin)]);
    assert_eq!(get("url=/x&from=203.0.113.7").json()["client"]["address"], "203.0.113.7");
    assert_eq!(get("url=/x&frm=1").status, 400);
    assert_eq!(fetch(address, "GET", "/api/explain?url=/x", &[("Host", "evil.example")]).status, 403);
}

#[test]
fn every_value_in_effect_is_shown_with_its_source_and_no_secret() {
    let launch = launch();
    let file = launch.directory().join("gatewayd.toml").display().to_string();
    let config = "merge_slashes = false\n[admin]\naddress = \"127.0.0.1:1\"\ntoken = \"hush-hush\"\n[[rules]]\nbackends = [\"127.0.0.1:9001\"]\n";
    let output = launch
        .config_file("gatewayd.toml", config)
        .env("GATEWAYD_SERVER__WORKERS", "3")
        .args(&["config", "show", &file, "--strategy", "random", "--json"])
        .run();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !text.contains("hush"), "{output:?}");
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    for (path, value, source) in [
        ("load_balancing", "random", "flag --strategy"),
        ("server.workers", "3", "environment variable GATEWAYD_SERVER__WORKERS"),
        ("merge_slashes", "false", "gatewayd.toml:1:"),
        ("rules[0].backends[0]", "127.0.0.1:9001", "gatewayd.toml:6:"),
        ("underscores_in_headers", "false", "default"),
        ("server.shutdown_timeout", "30s", "default"),
        ("server.drain_delay", "0s", "default"),
    ] {
        let row =
            rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("no {path} in {text}"));
        assert_eq!(row["value"], value, "{path}");
        assert!(row["source"].as_str().unwrap().contains(source), "{row}");
    }
    assert_eq!(rows.iter().filter(|row| row["path"] == "merge_slashes").count(), 1);
}

#[test]
fn editors_get_a_schema() {
    let output = cli(&["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rule = &schema["properties"]["rules"]["items"]["properties"];
    assert_eq!(rule["path_prefix"]["type"], "string", "{rule}");
    assert!(rule["backends"]["items"]["anyOf"].as_array().is_some_and(|forms| forms.len() == 2), "{rule}");
}

#[test]
fn shells_and_man_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = cli(&["completions", shell]);
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("explain"),
            "{shell}"
        );
    }
    assert!(String::from_utf8_lossy(&cli(&["man"]).stdout).starts_with(".ie"));
}

#[test]
fn what_the_gateway_answers_itself_is_explained_as_it_is_answered() {
    let a = Backend::echo("a");
    let gateway = launch()
        .config(&format!(
            "[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nstatus_endpoints = true\n\
             [admin]\naddress = \"{{admin}}\"\n{}",
            rule("name = \"r\"", &[&a])
        ))
        .start();
    let admin = gateway.address_of("admin").to_string();
    let explained = |method: &str, path: &str| {
        let output = cli(&["explain", method, path, "--admin", &admin]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        explained("GET", "/health").starts_with("rule r; at web it is the page /health, ahead of the rules")
    );
    assert!(explained("GET", "/healthy").starts_with("rule r\n"));
    assert!(explained("OPTIONS", "*").starts_with("204: "), "{}", explained("OPTIONS", "*"));
    // So it is.
    assert_eq!(gateway.get("/health").json()["status"], "ok");
    assert_eq!(gateway.get("/healthy").backend(), "a");
    assert_eq!(gateway.fetch("OPTIONS", "*", &[]).status, 204);
}
