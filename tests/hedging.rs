//! Hedged requests: a second backend is asked where the first takes long.

use std::time::{Duration, Instant};

use lb_testkit::{Backend, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, backend_status, gateway, rule};

#[test]
fn a_backend_that_takes_long_is_outrun_and_let_go() {
    let (silent, good) = (Backend::silent(), Backend::echo("good"));
    let lines = "name = \"r\"\npassive = false\ntimeout = \"60s\"\nhedge = { after = \"50ms\" }";
    let gateway = gateway(&format!("{STATUS_LISTENER}{}", rule(lines, &[&silent, &good])));
    let start = Instant::now();
    let mut client = gateway.client();
    for _ in 0..8 {
        assert_eq!(client.get("/").backend(), "good");
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert!(silent.hits() >= 4, "it was asked: {}", silent.hits());
    eventually("the losers' connections are closed", PATIENCE, || silent.open_connections() == 0);
    for backend in [&silent, &good] {
        assert_eq!(backend_status(&gateway, "r", &backend.url())["active_connections"], 0);
    }
}

#[test]
fn quick_answers_are_not_hedged_and_neither_are_other_requests() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let slow =
        [Backend::slow("c", Duration::from_millis(300)), Backend::slow("d", Duration::from_millis(300))];
    let gateway = gateway(&format!(
        "{}{}",
        rule("path_prefix = \"/quick\"\nhedge = { after = \"10s\" }", &[&a, &b]),
        rule("hedge = { after = \"10ms\" }", &[&slow[0], &slow[1]])
    ));
    for _ in 0..10 {
        assert_eq!(gateway.get("/quick").status, 200);
    }
    assert_eq!(a.hits() + b.hits(), 10);
    assert_eq!(gateway.fetch("POST", "/", &[("Content-Length", "0")]).status, 200);
    let mut client = gateway.client();
    client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().json()["body"], "hi");
    assert_eq!(slow[0].hits() + slow[1].hits(), 2, "neither was sent twice");
}

#[test]
fn hedges_keep_to_the_budget() {
    let slow = [Backend::slow("a", Duration::from_millis(20)), Backend::slow("b", Duration::from_millis(20))];
    let gateway = gateway(&rule("hedge = { after = \"1ms\" }", &[&slow[0], &slow[1]]));
    let start = Instant::now();
    let mut client = gateway.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 200);
    }
    let seen = slow[0].hits() + slow[1].hits();
    let allowed = 200 + 40 + 10 + usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(seen <= allowed, "{seen} of {allowed}");
    assert!(seen > 200, "some were hedged");
}

#[test]
fn where_the_first_fails_after_all_the_second_is_heard() {
    let dying = Backend::scripted(|conn| {
        conn.request();
        std::thread::sleep(Duration::from_millis(200));
        conn.reset();
    });
    let slow = Backend::slow("slow", Duration::from_millis(600));
    let lines = "name = \"r\"\npassive = false\nhedge = { after = \"50ms\" }\nretries = { attempts = 0 }";
    let gateway = gateway(&format!("{STATUS_LISTENER}{}", rule(lines, &[&dying, &slow])));
    for _ in 0..4 {
        assert_eq!(gateway.get("/").backend(), "slow");
    }
    eventually("every place is given back", PATIENCE, || {
        [&dying, &slow]
            .iter()
            .all(|backend| backend_status(&gateway, "r", &backend.url())["active_connections"] == 0)
    });
}

#[test]
fn a_client_that_leaves_ends_both() {
    let silent = [Backend::silent(), Backend::silent()];
    let gateway =
        gateway(&rule("timeout = \"60s\"\nhedge = { after = \"20ms\" }", &[&silent[0], &silent[1]]));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("both are asked", PATIENCE, || silent.iter().all(|backend| backend.open_connections() == 1));
    drop(client);
    eventually("both are let go", PATIENCE, || silent.iter().all(|backend| backend.open_connections() == 0));
}

#[test]
fn a_second_backend_that_fails_is_judged_although_the_first_answers() {
    let (slow, mut other) = (Backend::slow("slow", Duration::from_millis(300)), Backend::echo("other"));
    let lines = "name = \"r\"\nhedge = { after = \"50ms\" }\nload_balancing = { strategy = \"rendezvous\", key = \"header:X-Key\" }";
    let gateway = gateway(&format!("{STATUS_LISTENER}{}", rule(lines, &[&slow, &other])));
    // A key that leads to the slow one first.
    let key = (0..100).map(|key| key.to_string()).find(|key| {
        let before = slow.hits();
        gateway.fetch("GET", "/", &[("X-Key", key)]);
        slow.hits() > before
    });
    let key = key.unwrap();
    other.stop();
    let told = |field: &str| backend_status(&gateway, "r", &other.url())[field].clone();
    for _ in 0..5 {
        assert_eq!(gateway.fetch("GET", "/", &[("X-Key", &key)]).backend(), "slow");
    }
    assert_eq!(told("failed_requests"), 5);
    eventually("it is kept out", PATIENCE, || told("healthy") == false);
}
