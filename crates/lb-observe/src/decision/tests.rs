//! Rings that keep the last, tell the troubled from the others, and never have a writer wait.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::{DecisionLog, Seen, Step, Trail, WhyNot};
use crate::Exchange;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

fn moment(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn keep(log: &DecisionLog, trail: &mut Trail, exchange: &Exchange<'_>) {
    log.keep(exchange, trail, Some(("app", "round_robin")), |place| ["http://a", "http://b"][place]);
}

#[test]
fn a_record_tells_attempts_and_candidates_by_name() {
    let log = DecisionLog::new(2);
    let mut trail = Trail::default();
    trail.begin(PEER, true);
    trail.seen.push(Seen { backend: 0, why_not: None, weight: 1.0, active: 3, latency: None });
    trail.seen.push(Seen {
        backend: 1,
        why_not: Some(WhyNot::Full),
        weight: 2.0,
        active: 9,
        latency: Some(Duration::from_micros(1500)),
    });
    trail.offered = Some((1, 2));
    trail.begin_step(Step { backend: 0, began: Duration::from_millis(1), ..Step::default() }, false);
    trail.failed("connect_failed");
    trail.ended(Duration::from_millis(2));
    let again = Step { backend: 1, reason: Some("connect"), ..Step::default() };
    trail.begin_step(again, false);
    trail.current().unwrap().status = Some(StatusCode::OK);
    let exchange = Exchange {
        request_id: "abc",
        path: "/x",
        attempts: 2,
        ended_at: moment(5),
        duration: Duration::from_millis(7),
        ..Exchange::new(1)
    };
    keep(&log, &mut trail, &exchange);
    let found = log.find("abc");
    let decision = &found.decisions[0];
    let upstream = decision.upstream.as_ref().unwrap();
    assert_eq!((&*upstream.name, upstream.eligible, upstream.backends), ("app", Some(1), Some(2)));
    assert_eq!(upstream.candidates[1].why, Some("it was at its max_connections"));
    let attempts: Vec<_> = decision.attempts.iter().map(|it| (&*it.backend, it.outcome, it.reason)).collect();
    assert_eq!(attempts, [("http://a", "failed", None), ("http://b", "answered", Some("connect"))]);
    assert_eq!(decision.attempts[1].ended, Duration::from_millis(7));
    let json = serde_json::to_value(decision).unwrap();
    assert_eq!(json["attempts"][0]["began_ms"], 1.0);
    assert_eq!(json["upstream"]["candidates"][1]["latency_ms"], 1.5);
    assert_eq!(json["ended_at"], "1970-01-01T00:00:05.000Z");
}

#[test]
fn the_last_are_kept_and_the_troubled_apart() {
    let log = DecisionLog::new(1);
    let mut trail = Trail::default();
    let mut end = |id: &str, second: u64, status: StatusCode| {
        trail.begin(PEER, false);
        keep(
            &log,
            &mut trail,
            &Exchange { request_id: id, status, ended_at: moment(second), ..Exchange::new(0) },
        );
    };
    end("bad", 1, StatusCode::BAD_GATEWAY);
    for number in 0..1024 + 10 {
        end(&format!("good-{number}"), 2 + number, StatusCode::OK);
    }
    let found = log.find("bad");
    assert_eq!(found.decisions.len(), 1);
    assert_eq!((found.reach.kept, found.reach.since), (1025, Some(moment(12))));
    assert_eq!(found.reach.troubled_since, None);
    assert!(log.find("good-9").decisions.is_empty());
    assert_eq!(log.find("good-10").decisions[0].path, "");
}

#[test]
fn an_id_that_came_twice_is_told_twice_newest_first() {
    let log = DecisionLog::new(2);
    let mut trail = Trail::default();
    for (worker, path) in [(0, "/first"), (1, "/second")] {
        trail.begin(PEER, false);
        let ended_at = moment(worker as u64);
        keep(&log, &mut trail, &Exchange { request_id: "x", path, ended_at, ..Exchange::new(worker) });
    }
    let paths: Vec<String> = log.find("x").decisions.into_iter().map(|it| it.path).collect();
    assert_eq!(paths, ["/second", "/first"]);
}

#[test]
fn long_texts_are_cut_where_a_character_ends() {
    let log = DecisionLog::new(1);
    let path = "/ä".repeat(1000);
    keep(&log, &mut Trail::default(), &Exchange { request_id: "x", path: &path, ..Exchange::new(0) });
    assert_eq!(log.find("x").decisions[0].path.len(), 511);
}
