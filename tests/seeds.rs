//! The command lines that the tutorials of Servex, Go Cats and Backworks print, run as they stand, with the output
//! that the tutorials promise.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use lb_testkit::{Backend, Gateway, Launch, PATIENCE};

use crate::demo::{Demo, documented_ports};
use crate::support::{launch, tally};

/// What these lines print in bash.
#[track_caller]
fn bash(lines: &str) -> String {
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", lines])
        .stdin(Stdio::null())
        .output()
        .expect("bash and timeout are there");
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The backends that answered, in order, from what curl printed.
#[track_caller]
fn backends(printed: &str) -> Vec<String> {
    serde_json::Deserializer::from_str(printed)
        .into_iter::<serde_json::Value>()
        .map(|answer| {
            let answer = answer.unwrap_or_else(|error| panic!("{error}: {printed}"));
            answer["backend"].as_str().unwrap_or_else(|| panic!("no backend in {answer}")).to_owned()
        })
        .collect()
}

#[test]
fn weighted_round_robin_shows_the_tutorials_3_2_1() {
    let _demo = Demo::start();
    let lines = "for i in {1..6}; do\n    curl http://localhost:8080/api/v1/test$i\ndone";
    for round in 0..3 {
        let seen = backends(&bash(lines));
        let [a, b, c] = [&seen[0], &seen[3], &seen[5]];
        assert_eq!(seen, [a, a, a, b, b, c].map(Clone::clone), "requests 1-3, 4-5, 6 in round {round}");
        assert!(a != b && b != c && a != c, "{seen:?}");
    }
}

#[test]
fn least_connections_answers_concurrent_requests() {
    let _demo = Demo::start();
    let lines = "curl http://localhost:8080/api/v2/users &\ncurl http://localhost:8080/api/v2/posts &\n\
                 curl http://localhost:8080/api/v2/comments &\nwait";
    let seen = backends(&bash(lines));
    assert!(seen.len() == 3 && tally(seen.clone()).len() <= 2, "{seen:?}");
}

#[test]
fn session_affinity_shows_one_backend() {
    let _demo = Demo::start();
    let lines = "for i in {1..5}; do\n    curl http://localhost:8080/auth/session$i\ndone";
    let seen = tally(backends(&bash(lines)));
    assert!(seen.len() == 1 && seen.values().all(|&count| count == 5), "{seen:?}");
}

#[test]
fn random_selection_shows_a_spread() {
    let _demo = Demo::start();
    let lines = "for i in {1..10}; do\n    curl http://localhost:8080/static/file$i.css\ndone";
    let seen = tally(backends(&format!("{}{}{}", bash(lines), bash(lines), bash(lines))));
    assert!(seen.len() == 3 && seen.values().sum::<usize>() == 30, "{seen:?}");
}

#[test]
fn the_four_rules_rewrite_and_filter_as_the_tutorial_configures_them() {
    let _demo = Demo::start();
    let path = |lines: &str| -> String {
        let answer: serde_json::Value = serde_json::from_str(&bash(lines)).unwrap();
        answer["path"].as_str().unwrap().to_owned()
    };
    assert_eq!(path("curl -s http://localhost:8080/api/v1/users"), "/users");
    assert_eq!(path("curl -s http://localhost:8080/api/v2/users"), "/v2/users");
    assert_eq!(path("curl -s -X POST http://localhost:8080/auth/login"), "/login");
    assert_eq!(path("curl -s http://localhost:8080/static/a.css"), "/a.css");
    let status = "curl -s -o /dev/null -w '%{http_code}' -X DELETE http://localhost:8080/static/a.css";
    assert_eq!(bash(status), "405");
}

#[test]
fn status_commands_of_the_tutorials_answer_with_live_figures() {
    let _demo = Demo::start();
    bash("for i in {1..6}; do curl -s http://localhost:8080/api/v1/test$i > /dev/null; done");
    let json = |lines: &str| -> serde_json::Value {
        let printed = bash(lines);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    };
    let status = json("curl http://localhost:8080/proxy-status");
    assert_eq!((&status["proxy_enabled"], &status["rules_count"]), (&true.into(), &4.into()), "{status}");
    let strategies = json("curl http://localhost:8080/strategies");
    for name in ["weighted_round_robin", "least_connections", "ip_hash", "random"] {
        assert!(strategies["load_balancing_strategies"][name]["endpoint"].is_string(), "{strategies}");
    }
    assert_eq!(json("curl http://localhost:8080/health")["status"], "ok");
    assert!(bash("curl http://localhost:8080/metrics").contains("gatewayd_requests_total"));
    assert!(json("curl -s http://localhost:8080/ping")["total_requests"].as_u64() >= Some(6));
    let by_jq = bash("curl -s http://localhost:8080/proxy-status | jq '[.upstreams[].backends[]] | length'");
    assert_eq!(by_jq.trim(), "10", "ten backends");
}

#[test]
fn the_demo_alone_is_what_gatewayd_runs_where_nothing_is_configured() {
    let _ports = documented_ports(&[8080, 8081]);
    let mut gateway = launch().spawn();
    lb_testkit::eventually("it listens", PATIENCE, || std::net::TcpStream::connect(Demo::address()).is_ok());
    let page = lb_testkit::fetch(Demo::address(), "GET", "/", &[("Accept", "text/html")]);
    assert!(page.text().contains("data-card=\"weighted_round_robin\""), "{}", page.text());
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn the_demo_logs_every_request() {
    let demo = Demo::start();
    bash("curl -s http://localhost:8080/api/v1/logged");
    let line = demo.gateway.log_line("its line", |line| line["msg"] == "proxy request");
    assert_eq!((&line["method"], &line["status_code"]), (&"GET".into(), &200.into()), "{line}");
    assert_eq!(line["load_balancing"], "weighted_round_robin", "{line}");
}

/// Go Cats' compose file: its port, its two backends.
fn cats(more: impl FnOnce(Launch) -> Launch) -> (Gateway, [Backend; 2]) {
    let backends = [Backend::echo("1"), Backend::echo("2")];
    let (first, second) = (backends[0].url(), backends[1].url());
    let arguments = ["proxy", "--listen", "127.0.0.1:4443", "--to", &first, "--to", &second];
    let gateway = more(launch().args(&arguments)).spawn();
    lb_testkit::eventually("it listens", PATIENCE, || std::net::TcpStream::connect("127.0.0.1:4443").is_ok());
    (gateway, backends)
}

#[test]
fn a_hundred_requests_by_hand_are_shared_evenly() {
    let _ports = documented_ports(&[4443]);
    let (_gateway, [first, second]) = cats(|launch| launch);
    bash("for i in {1..100}; do curl -s http://localhost:4443/ > /dev/null; done");
    assert_eq!([first.hits(), second.hits()], [50, 50]);
}

#[test]
fn the_strategy_is_chosen_by_environment_as_go_cats_has_it() {
    let _ports = documented_ports(&[4443]);
    let (_gateway, [first, second]) = cats(|launch| launch.env("LB_STRATEGY", "iphash"));
    bash("for i in {1..20}; do curl -s http://localhost:4443/ > /dev/null; done");
    let mut hits = [first.hits(), second.hits()];
    hits.sort_unstable();
    assert_eq!(hits, [0, 20]);
}

#[test]
fn request_ids_of_backworks_trial_come_back() {
    let _ports = documented_ports(&[4443]);
    let (_gateway, _backends) = cats(|launch| launch);
    let lines = "for i in {1..10}; do\n  curl -s -D - -o /dev/null -H \"X-Request-ID: $i\" http://localhost:4443/api/users\ndone";
    let printed = bash(lines).to_lowercase();
    let ids: BTreeMap<String, usize> = tally(
        printed.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).map(|id| id.trim().to_owned()),
    );
    assert_eq!(ids.len(), 10, "{printed}");
    assert!((1..=10).all(|id| ids.contains_key(&id.to_string())), "{ids:?}");
}
