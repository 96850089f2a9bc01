//! A rule's requests shared out between upstreams: exact shares, clients that stay where they are, requests that name their part.

use std::collections::BTreeMap;

use lb_testkit::{Backend, Gateway, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, assert_tally, cli, gateway, launch, tally, urls};

/// `app` and `next`, each of one backend, behind one rule.
fn config(backends: &[&Backend; 2], split: &str) -> String {
    let [app, next] = backends.map(|backend| urls(&[backend]));
    format!(
        "{STATUS_LISTENER}[upstreams.app]\nbackends = [{app}]\n[upstreams.next]\nbackends = [{next}]\n\
         [[rules]]\nname = \"canary\"\n{split}\n"
    )
}

fn shares(app: f64, next: f64) -> String {
    format!("split = [{{ upstream = \"app\", weight = {app} }}, {{ upstream = \"next\", weight = {next} }}]")
}

fn ask(gateway: &Gateway, fields: &[(&str, &str)]) -> String {
    gateway.fetch("GET", "/", fields).json()["backend"].as_str().unwrap().to_owned()
}

/// What the metrics say of the parts.
fn counted(gateway: &Gateway) -> BTreeMap<String, u64> {
    let metrics = gateway.get("/metrics").text();
    let series = "gatewayd_split_requests_total{rule=\"canary\",upstream=\"";
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(series)?.split_once("\"} "));
    lines.map(|(upstream, count)| (upstream.to_owned(), count.parse().unwrap())).collect()
}

#[test]
fn of_every_hundred_requests_exactly_so_many_go_to_each() {
    let backends = [Backend::echo("app"), Backend::echo("next")];
    let backends = [&backends[0], &backends[1]];
    let gateway = gateway(&config(&backends, &shares(90.0, 10.0)));
    for _ in 0..3 {
        assert_tally((0..100).map(|_| ask(&gateway, &[])), &[("app", 90), ("next", 10)]);
    }
    // In parallel, on all workers, it is the same in all.
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for _ in 0..100 {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
    assert_eq!((backends[0].hits(), backends[1].hits()), (270 + 900, 30 + 100));
    assert_eq!(counted(&gateway), BTreeMap::from([("app".to_owned(), 1170), ("next".to_owned(), 130)]));
}

#[test]
fn a_client_stays_on_its_part_by_its_key() {
    let backends = [Backend::echo("app"), Backend::echo("next")];
    let backends = [&backends[0], &backends[1]];
    let split = format!("{}\nsplit_by = \"cookie:user\"", shares(80.0, 20.0));
    let gateway = gateway(&config(&backends, &split));
    let ask_all = || -> Vec<String> {
        (0..1000).map(|user| ask(&gateway, &[("Cookie", &format!("user=u{user}"))])).collect()
    };
    let first = ask_all();
    let next = tally(first.iter().cloned())["next"];
    assert!((150..=250).contains(&next), "{next} of 1000 users");
    assert_eq!(ask_all(), first);
    // A larger part takes clients over and gives none away.
    let split = format!("{}\nsplit_by = \"cookie:user\"", shares(50.0, 50.0));
    gateway.write_config(&config(&backends, &split));
    gateway.signal("HUP");
    gateway.log_line("it is in force", |line| line["component"] == "reload");
    let after = ask_all();
    assert!(first.iter().zip(&after).all(|(first, after)| first == "app" || after == "next"));
    let next = tally(after)["next"];
    assert!((420..=580).contains(&next), "{next} of 1000 users");
}

#[test]
fn a_request_may_name_its_part_and_a_part_without_weight_gets_only_those() {
    let backends = [Backend::echo("app"), Backend::echo("next")];
    let backends = [&backends[0], &backends[1]];
    let split = format!("{}\nsplit_header = \"X-Canary\"", shares(1.0, 0.0));
    let gateway = gateway(&config(&backends, &split));
    assert_tally((0..50).map(|_| ask(&gateway, &[])), &[("app", 50)]);
    assert_tally((0..5).map(|_| ask(&gateway, &[("X-Canary", "next")])), &[("next", 5)]);
    assert_tally((0..5).map(|_| ask(&gateway, &[("X-Canary", "unknown")])), &[("app", 5)]);
}

#[test]
fn a_reload_changes_shares_and_a_failing_part_is_retried_within_it() {
    let backends = [Backend::echo("app"), Backend::echo("next")];
    let backends = [&backends[0], &backends[1]];
    let gateway = gateway(&config(&backends, &shares(1.0, 0.0)));
    assert_eq!(ask(&gateway, &[]), "app");
    gateway.write_config(&config(&backends, &shares(0.0, 1.0)));
    gateway.signal("HUP");
    eventually("all of it has moved", PATIENCE, || ask(&gateway, &[]) == "next");
    assert_tally((0..50).map(|_| ask(&gateway, &[])), &[("next", 50)]);
    let line = gateway.log_line("the plan names it", |line| line["component"] == "reload");
    assert!(line["plan"].as_str().unwrap().contains("rules ~1 (canary)"), "{line}");
}

#[test]
fn explain_tells_the_parts_and_which_one_a_key_leads_to() {
    let backends = [Backend::echo("app"), Backend::echo("next")];
    let backends = [&backends[0], &backends[1]];
    let split = format!("{}\nsplit_by = \"cookie:user\"\nsplit_header = \"X-Canary\"", shares(75.0, 25.0));
    let gateway = gateway(&config(&backends, &split));
    let file = gateway.config_file().display().to_string();
    for user in 0..20 {
        let cookie = format!("Cookie: user=u{user}");
        let went = ask(&gateway, &[("Cookie", &format!("user=u{user}"))]);
        let output = cli(&["explain", "-c", &file, "GET", "/", "-H", &cookie]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("split     to {went}: by cookie:user")), "{went}: {said}");
        assert!(
            said.contains("app  weight 75, 75.0000 %") && said.contains(&format!("upstream  {went},")),
            "{said}"
        );
    }
    let output = cli(&["explain", "-c", &file, "GET", "/", "-H", "X-Canary: next"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("split     to next: the request names it in x-canary"), "{said}");
}

#[test]
fn explaining_uses_up_nobodys_turn() {
    let backends = [Backend::echo("app"), Backend::echo("next")];
    let backends = [&backends[0], &backends[1]];
    let split = format!("{}\nsplit_header = \"X-Canary\"", shares(1.0, 1.0));
    let gateway =
        launch().config(&format!("[admin]\naddress = \"{{admin}}\"\n{}", config(&backends, &split))).start();
    let admin = gateway.address_of("admin").to_string();
    let first = ask(&gateway, &[]);
    // One that names no part waits for its turn like any other.
    let output = cli(&["explain", "GET", "/", "--live", "--admin", &admin, "-H", "X-Canary: nobody"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("in turn, by weight"), "{said}");
    assert_ne!(ask(&gateway, &[]), first);
}
