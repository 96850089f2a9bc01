//! Recent errors as their reader sees them.

use http::StatusCode;

use super::*;
use crate::Registry;

fn at(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(1_700_000_000.0 + seconds)
}

fn failed(code: &'static str, seconds: f64) -> Exchange<'static> {
    let (status, code) = (StatusCode::BAD_GATEWAY, Some(code));
    Exchange { status, code, ended_at: at(seconds), ..Exchange::new(0) }
}

#[test]
fn what_went_well_and_who_left_is_not_kept() {
    let recent = RecentErrors::new(1);
    let not_found = Exchange { status: StatusCode::NOT_FOUND, ..Exchange::new(0) };
    let left = Exchange {
        status: StatusCode::from_u16(499).unwrap(),
        code: Some("client_gone"),
        ..Exchange::new(0)
    };
    for exchange in [Exchange::new(0), not_found, left] {
        recent.record(&exchange);
    }
    assert_eq!(recent.latest(10), []);
}

#[test]
fn an_error_says_where_and_why() {
    let registry = Registry::default();
    let (rule, backend) = (registry.rule("api", 1), registry.backend("app", "http://10.0.0.1:80", 1));
    let recent = RecentErrors::new(1);
    recent.record(&Exchange {
        rule: Some(&rule),
        upstream: Some("app"),
        backend: Some(&backend),
        status: StatusCode::BAD_GATEWAY,
        code: Some("connect_failed"),
        error: Some("backend http://10.0.0.1:80: cannot connect: Connection refused"),
        request_id: "id-1",
        method: "GET",
        path: "/a",
        attempts: 3,
        ended_at: at(0.0),
        ..Exchange::new(0)
    });
    let expected = RecentError {
        time: at(0.0),
        times: 1,
        rule: Some("api".to_owned()),
        upstream: Some("app".to_owned()),
        backend: Some("http://10.0.0.1:80".to_owned()),
        status: 502,
        code: Some("connect_failed"),
        request_id: "id-1".to_owned(),
        method: "GET".to_owned(),
        path: "/a".to_owned(),
        reason: "Backend http://10.0.0.1:80: cannot connect: Connection refused, after 3 attempts."
            .to_owned(),
    };
    assert_eq!(recent.latest(10), [expected]);
}

#[test]
fn every_failure_has_a_sentence() {
    let of_backend = Exchange { status: StatusCode::SERVICE_UNAVAILABLE, ..Exchange::new(0) };
    assert_eq!(reason::of(&of_backend), "The backend answered 503 Service Unavailable.");
    assert_eq!(reason::of(&failed("no_backend", 0.0)), "No backend of the upstream takes requests.");
    assert_eq!(reason::of(&failed("something_new", 0.0)), "Something_new.");
}

#[test]
fn a_storm_of_one_kind_is_one_entry_a_second() {
    let recent = RecentErrors::new(1);
    for hundredth in 0..250 {
        recent.record(&failed("upstream_reset", f64::from(hundredth) / 100.0));
        recent.record(&failed("connect_failed", f64::from(hundredth) / 100.0));
    }
    let errors = recent.latest(100);
    let times: Vec<u64> = errors.iter().map(|error| error.times).collect();
    assert_eq!(times, [50, 50, 100, 100, 100, 100]);
}

#[test]
fn neither_clients_nor_time_make_it_grow() {
    let recent = RecentErrors::new(2);
    let long = "/ä".repeat(4_000);
    for second in 0..1_000_u32 {
        for (worker, status) in
            [(0, StatusCode::BAD_GATEWAY), (1, StatusCode::BAD_GATEWAY), (0, StatusCode::NOT_FOUND)]
        {
            let ended_at = at(f64::from(second));
            let code = Some("no_rule");
            recent.record(&Exchange { status, code, path: &long, ended_at, ..Exchange::new(worker) });
        }
    }
    let errors = recent.latest(usize::MAX);
    assert_eq!(errors.len(), 3 * KEPT);
    assert!(errors.iter().all(|error| error.path.len() <= MAX_TEXT + '…'.len_utf8()));
    assert_eq!(errors[0].time, at(999.0));
    assert_eq!(recent.latest(5).len(), 5);
}
