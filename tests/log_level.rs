//! Which lines are logged: changed while the gateway runs, and what debug says of each request.

use lb_testkit::{Backend, Client, Gateway, PATIENCE, Port, Response, eventually};
use serde_json::Value;

use crate::support::{cli, launch, rule};

fn operated(admin: &str, rules: &str) -> Gateway {
    launch().config(&format!("[admin]\naddress = \"{{admin}}\"\n{admin}\n{rules}")).start()
}

fn ask(gateway: &Gateway, method: &str, body: &str, field: &str) -> Response {
    let admin = gateway.address_of("admin");
    let mut client = Client::connect(admin);
    let length = body.len();
    client.send(format!(
        "{method} /api/log-level HTTP/1.1\r\nHost: {admin}\r\n{field}Content-Length: {length}\r\n\r\n{body}"
    ));
    client.response()
}

fn set(gateway: &Gateway, body: &str) -> Response {
    ask(gateway, "POST", body, "")
}

fn present(gateway: &Gateway) -> Value {
    ask(gateway, "GET", "", "").json()
}

/// Lines about decisions.
fn decisions(gateway: &Gateway, message: &str) -> Vec<Value> {
    gateway.log().into_iter().filter(|line| line["message"] == message).collect()
}

#[test]
fn a_level_is_changed_and_changed_back() {
    let backend = Backend::echo("a");
    let gateway = operated("", &rule("name = \"r\"", &[&backend]));
    assert_eq!(present(&gateway)["level"], "info");
    gateway.get("/");
    assert!(decisions(&gateway, "rule matched").is_empty());

    let answer = set(&gateway, r#"{"level":"lb_http=debug"}"#);
    assert_eq!((answer.status, &answer.json()["level"]), (200, &Value::from("info,lb_http=debug")));
    assert_eq!(present(&gateway)["level"], "info,lb_http=debug");
    gateway.get("/");
    gateway.log_line("it says more", |line| line["message"] == "rule matched");
    gateway.log_line("who changed it is said", |line| {
        line["action"] == "log-level"
            && line["directives"] == "info,lb_http=debug"
            && line["before"] == "info"
    });

    assert_eq!(set(&gateway, r#"{"level":"info"}"#).status, 200);
    let said = decisions(&gateway, "rule matched").len();
    gateway.get("/");
    gateway.get("/");
    assert_eq!(decisions(&gateway, "rule matched").len(), said);
}

#[test]
fn a_level_for_a_while_ends_by_itself() {
    let backend = Backend::echo("a");
    let gateway = operated("", &rule("", &[&backend]));
    assert_eq!(set(&gateway, r#"{"level":"warn"}"#).status, 200);
    let answer = set(&gateway, r#"{"level":"debug","for":"300ms"}"#).json();
    assert_eq!((&answer["level"], &answer["then"]), (&Value::from("debug"), &Value::from("warn")));
    assert!(answer["until"].is_string());
    eventually("it is as before", PATIENCE, || present(&gateway)["level"] == "warn");
    assert_eq!(present(&gateway)["until"], Value::Null);

    // What is changed for good meanwhile stays.
    assert_eq!(set(&gateway, r#"{"level":"debug","for":1}"#).status, 200);
    assert_eq!(set(&gateway, r#"{"level":"error"}"#).status, 200);
    assert_eq!(set(&gateway, r#"{"level":"trace","for":"200ms"}"#).status, 200);
    eventually("it is as was said last", PATIENCE, || present(&gateway)["level"] == "error");
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let backend = Backend::echo("a");
    let gateway = operated("", &rule("", &[&backend]));
    for (body, words) in [
        ("", "the body must be JSON"),
        (r#"{"level":"inof"}"#, "`inof` is no level"),
        (r#"{"level":"lb_heath=debug"}"#, "there is no crate `lb_heath`"),
        (r#"{"level":""}"#, "no level is written"),
        (r#"{"level":"debug","for":"soon"}"#, "`for` must be a duration"),
        (r#"{"level":"debug","for":0}"#, "more than nothing"),
        (r#"{"level":"debug","for":"1y"}"#, "at most 7 days"),
        (r#"{"level":"debug","until":"10m"}"#, "unknown field"),
    ] {
        let answer = set(&gateway, body);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.status, 400, "{body}");
        assert!(detail.contains(words), "{body}: {detail}");
    }
    let answer = ask(&gateway, "PUT", r#"{"level":"debug"}"#, "");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST")));
    assert_eq!(present(&gateway)["level"], "info");
}

#[test]
fn with_a_token_the_level_is_changed_by_it_alone() {
    let backend = Backend::echo("a");
    let gateway = operated("token = \"s3cret\"", &rule("", &[&backend]));
    let body = r#"{"level":"debug"}"#;
    assert_eq!(set(&gateway, body).status, 401);
    assert_eq!(ask(&gateway, "POST", body, "Authorization: Bearer wrong\r\n").status, 401);
    assert_eq!(present(&gateway)["level"], "info");
    assert_eq!(ask(&gateway, "POST", body, "Authorization: Bearer s3cret\r\n").status, 200);
    assert_eq!(present(&gateway)["level"], "debug");
}

#[test]
fn the_command_shows_and_changes_it() {
    let backend = Backend::echo("a");
    let gateway = operated("", &rule("", &[&backend]));
    let admin = gateway.address_of("admin").to_string();
    let command = |arguments: &[&str]| {
        let output = cli(&[&["log-level"], arguments, &["--admin", &admin]].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
    };
    assert_eq!(command(&[]), (true, "info".to_owned()));
    assert_eq!(command(&["lb_health=debug"]), (true, "info,lb_health=debug".to_owned()));
    let (done, said) = command(&["debug", "--for", "10m"]);
    assert!(
        done && said.starts_with("debug until ") && said.ends_with("then info,lb_health=debug"),
        "{said}"
    );
    assert!(command(&["--json"]).1.contains("\"then\":\"info,lb_health=debug\""));
    let (done, said) = command(&["inof"]);
    assert!(!done && said.contains("`inof` is no level"), "{said}");
}

#[test]
fn the_environment_sets_the_level_and_a_slip_in_it_is_said() {
    let backend = Backend::echo("a");
    let config = rule("", &[&backend]);
    let debug = launch().env("GATEWAYD_LOG", "warn,lb_http=debug").config(&config).start();
    debug.get("/");
    debug.log_line("decisions", |line| line["message"] == "backend chosen");
    let slip = launch().env("GATEWAYD_LOG", "inof").config(&config).start();
    slip.log_line("the slip", |line| {
        line["level"] == "WARN"
            && line["error"].as_str().is_some_and(|error| error.contains("`inof` is no level"))
    });
}

#[test]
fn debug_says_which_rule_and_backend_and_why() {
    let gone = Port::free();
    let (bad, good) = (
        Backend::fixed("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        Backend::echo("good"),
    );
    let config = format!(
        "[[rules]]\nname = \"posts\"\npath_prefix = \"/api\"\nmethods = [\"POST\"]\nbackends = [\"127.0.0.1:1\"]\n\
         [[rules]]\nname = \"api\"\npath_prefix = \"/api\"\npassive = false\nretries = {{ on = [\"503\"] }}\n\
         backends = [\"http://{}\", \"{}\", \"{}\", {{ url = \"http://127.0.0.1:2\", weight = 0 }}]\n",
        gone.address(),
        bad.url(),
        good.url()
    );
    let gateway = launch().env("GATEWAYD_LOG", "lb_http=debug").config(&config).start();
    let answer = gateway.fetch("GET", "/api/users", &[("X-Request-Id", "r-1")]);
    assert_eq!(answer.backend(), "good");

    let matched = gateway.log_line("the rule", |line| line["message"] == "rule matched");
    assert_eq!((&matched["rule"], &matched["request_id"]), (&Value::from("api"), &Value::from("r-1")));
    assert_eq!(matched["because"], "the path is `/api` or below it");
    assert_eq!(matched["passed_over"], "posts: the method is not `POST`");

    let chosen = decisions(&gateway, "backend chosen");
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        chosen.iter().map(|line| (text(line, "backend"), text(line, "retry_reason"))).collect::<Vec<_>>(),
        [
            (format!("http://{}", gone.address()), String::new()),
            (bad.url(), "connect".to_owned()),
            (good.url(), "status".to_owned()),
        ]
    );
    assert!(text(&chosen[0], "candidates").contains(&good.url()), "{}", chosen[0]);
    assert_eq!(text(&chosen[0], "left_out"), "http://127.0.0.1:2 (weight 0)");
    assert!(text(&chosen[2], "left_out").contains(&format!("{} (tried)", bad.url())), "{}", chosen[2]);
    assert_eq!(
        (&chosen[2]["attempt"], &chosen[2]["strategy"]),
        (&Value::from(3), &Value::from("round_robin"))
    );

    let failed = decisions(&gateway, "attempt failed, trying elsewhere");
    assert_eq!((failed.len(), &failed[0]["code"]), (1, &Value::from("connect_failed")));
    let discarded = decisions(&gateway, "answer discarded, trying elsewhere");
    assert_eq!((discarded.len(), &discarded[0]["status"]), (1, &Value::from(503)));

    assert_eq!(gateway.get("/elsewhere").status, 404);
    let none = gateway.log_line("no rule", |line| line["message"] == "no rule matched");
    assert!(text(&none, "passed_over").contains("api: the path is not"), "{none}");
    gateway.log_line("the refusal", |line| line["message"] == "request refused" && line["code"] == "no_rule");
}

#[test]
fn debug_says_why_nobody_was_chosen() {
    let backend = Backend::echo("a");
    let rules = format!("[[rules]]\nbackends = [{{ url = \"{}\", weight = 0 }}]\n", backend.url());
    let gateway = launch().env("GATEWAYD_LOG", "debug").config(&rules).start();
    assert_eq!(gateway.get("/").status, 503);
    let line = gateway.log_line("nobody", |line| line["message"] == "no backend chosen");
    assert_eq!(line["left_out"], format!("{} (weight 0)", backend.url()));
}
