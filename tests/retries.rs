//! Retries: what is tried elsewhere, what never is, and how much of it there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Gateway, Jammed, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, backend_status, gateway, rule, tally};

/// Answers everything with this status, and keeps its connections.
fn answering(status: &str) -> Backend {
    Backend::fixed(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nnope"))
}

/// Never ejected, so that each request meets it again.
const STAYS: &str = "passive = false\n";

fn put(gateway: &Gateway, body: &str) -> lb_testkit::Response {
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    client.response()
}

#[test]
fn a_status_that_is_named_is_tried_elsewhere() {
    let (bad, good) = (answering("503 Service Unavailable"), Backend::echo("good"));
    let gateway = gateway(&rule(&format!("{STAYS}retries = {{ on = [\"503\"] }}"), &[&bad, &good]));
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").backend(), "good");
    }
    assert_eq!(good.hits(), 10);
    assert!(bad.hits() >= 5, "{}", bad.hits());
    assert!(bad.accepted() <= 2, "its answers were whole, so its connections go on: {}", bad.accepted());
}

#[test]
fn a_status_that_is_not_named_is_the_answer() {
    let (bad, good) = (answering("500 Internal Server Error"), Backend::echo("good"));
    let gateway = gateway(&rule(&format!("{STAYS}retries = {{ on = [\"502\", \"503\"] }}"), &[&bad, &good]));
    assert_eq!((0..4).filter(|_| gateway.get("/").status == 500).count(), 2);
}

#[test]
fn where_every_backend_answers_so_the_last_answer_is_passed_on() {
    let backends = ["502 Bad Gateway", "503 Service Unavailable"].map(answering);
    let lines = format!("{STAYS}retries = {{ on = [\"5xx\"], attempts = 5 }}");
    let gateway = gateway(&rule(&lines, &[&backends[0], &backends[1]]));
    let response = gateway.get("/");
    assert_eq!((response.status, response.text().as_str()), (503, "nope"), "the second one's");
    assert_eq!((backends[0].hits(), backends[1].hits()), (1, 1));
}

#[test]
fn a_post_is_never_tried_elsewhere_for_its_status() {
    let (bad, good) = (answering("503 Service Unavailable"), Backend::echo("good"));
    let gateway = gateway(&rule(&format!("{STAYS}retries = {{ on = [\"5xx\"] }}"), &[&bad, &good]));
    let statuses = (0..6).map(|_| gateway.fetch("POST", "/", &[("Content-Length", "0")]).status.to_string());
    assert_eq!(tally(statuses), [("200".to_owned(), 3), ("503".to_owned(), 3)].into());
    assert_eq!(bad.hits() + good.hits(), 6);
}

#[test]
fn a_small_body_of_an_idempotent_method_is_sent_again() {
    let (bad, good) = (answering("503 Service Unavailable"), Backend::echo("good"));
    let lines = format!("{STAYS}retries = {{ on = [\"503\"], replay_body = \"1KiB\" }}");
    let gateway = gateway(&rule(&lines, &[&bad, &good]));
    for _ in 0..4 {
        let response = put(&gateway, "precious");
        assert_eq!((response.status, response.json()["body"].as_str()), (200, Some("precious")));
    }
    let mut client = gateway.client();
    let chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    for _ in 0..4 {
        client.send(format!("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!(client.response().json()["body"], "hello world");
    }
    let large = "x".repeat(2048);
    let statuses = (0..4).map(|_| put(&gateway, &large).status.to_string());
    assert_eq!(tally(statuses), [("200".to_owned(), 2), ("503".to_owned(), 2)].into(), "it was not kept");
}

#[test]
fn a_body_is_sent_again_after_a_reset() {
    let bad = Backend::scripted(|conn| {
        conn.request();
        conn.reset();
    });
    let good = Backend::echo("good");
    let gateway = gateway(&rule(STAYS, &[&bad, &good]));
    for _ in 0..6 {
        assert_eq!(put(&gateway, "precious").json()["body"], "precious");
    }
    assert!(bad.hits() >= 3, "{}", bad.hits());
}

#[test]
fn an_attempt_that_hears_nothing_is_broken_off_and_made_elsewhere() {
    let (silent, good) = (Backend::silent(), Backend::echo("good"));
    let lines = "timeout = \"60s\"\nretries = { attempt_timeout = \"300ms\" }";
    let gateway =
        gateway(&format!("{STATUS_LISTENER}{}", rule(&format!("name = \"r\"\n{lines}"), &[&silent, &good])));
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(gateway.get("/").backend(), "good");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    eventually("its connections are closed", PATIENCE, || silent.open_connections() == 0);
    assert_eq!(silent.hits(), 5, "then it is ejected");
    assert_eq!(backend_status(&gateway, "r", &silent.url())["state"], "ejected");
    for backend in [&silent, &good] {
        eventually("nothing is under way", PATIENCE, || {
            backend_status(&gateway, "r", &backend.url())["active_connections"] == 0
        });
    }
}

/// A stopped process whose queue of connections is full: connecting to it neither succeeds nor fails.
#[test]
fn an_attempts_deadline_holds_for_its_connection_too_and_for_any_method() {
    let (jammed, good) = (Jammed::new(), Backend::echo("good"));
    for hedge in ["", "hedge = { after = \"30s\" }"] {
        let gateway = gateway(&format!(
            "connect_timeout = \"60s\"\n[[rules]]\n{STAYS}{hedge}\ntimeout = \"4s\"\n\
             retries = {{ attempt_timeout = \"200ms\" }}\nbackends = [\"{}\", \"{}\"]\n",
            jammed.url(),
            good.url()
        ));
        for method in ["GET", "POST", "PUT", "POST"] {
            let response = gateway.fetch(method, "/", &[("Content-Length", "0")]);
            assert_eq!((response.status, response.backend().as_str()), (200, "good"), "{method}");
        }
    }
}

#[test]
fn all_attempts_together_have_the_time_of_the_request() {
    let backends = [Backend::silent(), Backend::silent(), Backend::silent(), Backend::silent()];
    let all: Vec<&Backend> = backends.iter().collect();
    let lines = "timeout = \"1s\"\nretries = { attempts = 100, attempt_timeout = \"400ms\" }";
    let gateway = gateway(&rule(lines, &all));
    let start = Instant::now();
    let response = gateway.get("/");
    assert_eq!((response.status, response.problem().as_str()), (504, "upstream_timeout"));
    assert!(start.elapsed() >= Duration::from_millis(800), "it was tried elsewhere: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(backends.iter().map(Backend::hits).sum::<usize>(), 3);
}

#[test]
fn a_post_has_the_time_of_one_attempt_and_one_backend() {
    let (silent, good) = (Backend::silent(), Backend::echo("good"));
    let lines = format!("{STAYS}timeout = \"60s\"\nretries = {{ attempt_timeout = \"300ms\" }}");
    let gateway = gateway(&rule(&lines, &[&silent, &good]));
    let mut statuses = Vec::new();
    for body in ["", "order", "", "order"] {
        let mut client = gateway.client();
        let start = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        let response = client.response();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        if response.status == 504 {
            assert_eq!(response.problem(), "upstream_timeout");
        }
        statuses.push(response.status.to_string());
    }
    assert_eq!(tally(statuses), [("200".to_owned(), 2), ("504".to_owned(), 2)].into());
    assert_eq!((silent.hits(), good.hits()), (2, 2), "none was sent twice");
    eventually("its connections are closed", PATIENCE, || silent.open_connections() == 0);
}

#[test]
fn an_upload_that_is_not_kept_may_take_longer_than_an_attempt() {
    let good = Backend::echo("good");
    let lines = "retries = { attempt_timeout = \"300ms\", replay_body = \"4B\" }";
    let gateway = gateway(&rule(lines, &[&good]));
    for method in ["POST", "PUT"] {
        let mut client = gateway.client();
        client.send(format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"));
        for piece in ["12345", "67890"] {
            std::thread::sleep(Duration::from_millis(600));
            client.send(piece);
        }
        assert_eq!(client.response().json()["body"], "1234567890", "{method}");
    }
}

#[test]
fn in_a_total_outage_retries_are_a_handful() {
    let backends = [(); 3].map(|()| answering("503 Service Unavailable"));
    let lines = format!("{STAYS}retries = {{ on = [\"503\"], attempts = 2 }}");
    let gateway = gateway(&rule(&lines, &[&backends[0], &backends[1], &backends[2]]));
    let requests = 500;
    let start = Instant::now();
    let mut client = gateway.client();
    for _ in 0..requests {
        assert_eq!(client.get("/").status, 503);
    }
    let retries = backends.iter().map(Backend::hits).sum::<usize>() - requests;
    let floor = 10 + usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!((10..=floor).contains(&retries), "{retries} retries of {requests} requests");
}

#[test]
fn where_a_part_is_answered_retries_are_a_fifth_of_it_and_a_handful() {
    let bad = [(); 2].map(|()| answering("503 Service Unavailable"));
    let good = Backend::echo("good");
    let lines = format!("{STAYS}retries = {{ on = [\"503\"], attempts = 2 }}");
    let gateway = gateway(&rule(&lines, &[&bad[0], &bad[1], &good]));
    let requests = 1500;
    let start = Instant::now();
    let mut client = gateway.client();
    let served = (0..requests).filter(|_| client.get("/").status == 200).count();
    let retries = bad.iter().chain([&good]).map(Backend::hits).sum::<usize>() - requests;
    let floor = 10 + usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(retries <= served / 5 + floor, "{retries} retries, {served} served of {requests}");
    assert!(retries > served / 10, "some were retried: {retries}, {served} served of {requests}");
}

#[test]
fn failed_connects_cost_nothing_of_the_budget_and_spare_no_method() {
    let mut down = [(); 4].map(|()| Backend::echo("down"));
    down.iter_mut().for_each(Backend::stop);
    let good = Backend::echo("good");
    let lines = format!("{STAYS}retries = {{ attempts = 1, budget = 0 }}");
    let gateway = gateway(&rule(&lines, &[&down[0], &down[1], &down[2], &down[3], &good]));
    let mut client = gateway.client();
    for number in 0..100 {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        assert_eq!(client.request(method, "/", &[("Content-Length", "0")]).backend(), "good");
    }
}

#[test]
fn without_attempts_nothing_is_retried() {
    let mut down = Backend::echo("down");
    down.stop();
    let good = Backend::echo("good");
    let gateway = gateway(&rule(&format!("{STAYS}retries = {{ attempts = 0 }}"), &[&down, &good]));
    let statuses = (0..4).map(|_| gateway.get("/").status.to_string());
    assert_eq!(tally(statuses), [("200".to_owned(), 2), ("502".to_owned(), 2)].into());
}

#[test]
fn a_backend_killed_under_load_costs_no_get() {
    let mut backends = ["a", "b", "c"].map(Backend::echo);
    let (stopped, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gateway = {
        let [a, b, c] = &backends;
        gateway(&format!(
            "{STATUS_LISTENER}{}",
            rule("name = \"r\"\npassive = { ejection_time = \"100ms\" }", &[a, b, c])
        ))
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (stopped, served, gateway) = (Arc::clone(&stopped), Arc::clone(&served), &gateway);
            scope.spawn(move || {
                let mut client = gateway.client();
                while stopped.load(SeqCst) == 0 {
                    let response = client.get("/");
                    assert_eq!(response.status, 200, "{}", response.text());
                    served.fetch_add(1, SeqCst);
                }
            });
        }
        let reach = |count| eventually("requests go on", PATIENCE, || served.load(SeqCst) >= count);
        reach(500);
        for round in 0..6 {
            backends[round % 3].stop();
            reach(served.load(SeqCst) + 200);
            backends[round % 3].start();
            let url = backends[round % 3].url();
            eventually("it is back", PATIENCE, || backend_status(&gateway, "r", &url)["state"] == "healthy");
            reach(served.load(SeqCst) + 200);
        }
        stopped.store(1, SeqCst);
    });
    for backend in &backends {
        assert_eq!(backend_status(&gateway, "r", &backend.url())["active_connections"], 0);
    }
}

#[test]
fn what_one_backend_did_is_not_told_of_the_next() {
    let (bad, silent) = (answering("503 Service Unavailable"), Backend::silent());
    let lines = format!("{STAYS}name = \"r\"\ntimeout = \"60s\"\nretries = {{ on = [\"503\"] }}");
    let log = "[access_log]\nfields = [\"status_code\", \"backend\", \"attempts\", \"upstream_ms\"]\n";
    let gateway = gateway(&format!("{log}{STATUS_LISTENER}{}", rule(&lines, &[&bad, &silent])));
    for count in 1..=2 {
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        eventually("the silent one is asked", PATIENCE, || silent.hits() == count);
        drop(client);
    }
    let line = gateway.log_line("one went from the one to the other", |line| line["attempts"] == 2);
    assert_eq!(line["backend"], silent.url());
    assert_eq!(line["status_code"], 499, "the client left ahead of any answer: {line}");
    assert!(line["upstream_ms"].is_null(), "the silent one has answered nothing: {line}");
    let status = backend_status(&gateway, "r", &silent.url());
    assert_eq!(status["failed_requests"], 0, "{status}");
    let metrics = gateway.get("/metrics").text();
    let answered = format!(
        "gatewayd_backend_request_duration_seconds_count{{upstream=\"r\",backend=\"{}\"}} ",
        silent.url()
    );
    assert!(metrics.contains(&format!("{answered}0\n")), "{metrics}");
}
