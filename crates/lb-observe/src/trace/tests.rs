//! Traces as an exchange sees them.

use super::*;
use crate::Registry;

const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(fields: &[(&'static str, &str)]) -> Fields {
    let mut headers = Fields::default();
    for (name, value) in fields {
        headers.append(&HeaderName::from_static(name), &value.parse().unwrap());
    }
    headers
}

fn backend() -> Arc<BackendStats> {
    Registry::default().backend("app", "http://10.0.0.1:80", 1)
}

#[test]
fn the_callers_decision_stands_whatever_is_sampled_here() {
    for (flags, sample) in [("01", 0.0), ("00", 1.0)] {
        let trace = Trace::begin(&headers(&[("traceparent", &format!("{}{flags}", &GIVEN[..53]))]), sample);
        assert_eq!(trace.is_sampled(), flags == "01");
        assert_eq!(trace.id().to_string(), GIVEN[3..35]);
        assert_eq!(trace.parent().unwrap().to_string(), GIVEN[36..52]);
    }
}

#[test]
fn none_and_all_are_exact() {
    for _ in 0..1000 {
        assert!(!Trace::begin(&Fields::default(), 0.0).is_sampled());
        assert!(Trace::begin(&Fields::default(), 1.0).is_sampled());
    }
}

#[test]
fn a_parent_that_is_there_twice_is_none_and_its_state_goes() {
    let mut fields = headers(&[("traceparent", GIVEN), ("traceparent", GIVEN), ("tracestate", "a=1")]);
    let mut trace = Trace::begin(&fields, 1.0);
    assert_eq!(trace.parent(), None);
    assert_ne!(trace.id().to_string(), GIVEN[3..35]);
    trace.begin_attempt(&mut fields, &backend(), None, Duration::ZERO, false);
    assert_eq!(fields.get_all(&TRACEPARENT).count(), 1);
    assert!(!fields.contains(&TRACESTATE));
}

#[test]
fn a_state_goes_on_as_it_came_unless_it_is_malformed() {
    for (state, kept) in [("a=1,b@c=2", true), ("A=1", false)] {
        let mut fields = headers(&[("traceparent", GIVEN), ("tracestate", state), ("tracestate", "d=3")]);
        let mut trace = Trace::begin(&fields, 0.0);
        trace.begin_attempt(&mut fields, &backend(), None, Duration::ZERO, false);
        let name = TRACESTATE;
        let passed: Vec<_> = fields.get_all(&name).collect();
        assert_eq!(passed, if kept { vec![state.as_bytes(), b"d=3"] } else { vec![] });
        assert_eq!(trace.state(), if kept { "a=1,b@c=2,d=3" } else { "" });
    }
}

#[test]
fn each_attempt_is_told_its_own_span() {
    let mut fields = headers(&[("traceparent", GIVEN)]);
    let mut trace = Trace::begin(&fields, 0.0);
    for attempt in 0..3 {
        trace.begin_attempt(&mut fields, &backend(), None, Duration::ZERO, false);
        let span = trace.attempts()[attempt].id;
        let told = format!("00-{}-{span}-01", trace.id());
        assert_eq!(fields.get(&TRACEPARENT), Some(told.as_bytes()));
    }
}

#[test]
fn an_attempt_that_is_not_sampled_is_passed_on_and_not_kept() {
    let mut fields = Fields::default();
    let mut trace = Trace::begin(&fields, 0.0);
    trace.begin_attempt(&mut fields, &backend(), None, Duration::ZERO, false);
    trace.failed("connect_failed");
    assert!(trace.attempts().is_empty());
    assert!(fields.get(&TRACEPARENT).unwrap().ends_with(b"-00"));
}

#[test]
fn of_two_at_once_one_is_overtaken() {
    let at = Duration::from_millis;
    for second_wins in [false, true] {
        let mut fields = Fields::default();
        let mut trace = Trace::begin(&fields, 1.0);
        trace.begin_attempt(&mut fields, &backend(), None, at(0), false);
        trace.begin_attempt(&mut fields, &backend(), Some("hedge"), at(5), true);
        match second_wins {
            true => trace.overtook(at(9)),
            false => trace.beside_ended(None, at(9)),
        }
        trace.answered(StatusCode::OK);
        trace.ended(at(12));
        let seen: Vec<_> = trace
            .attempts()
            .iter()
            .map(|attempt| (attempt.overtaken, attempt.status.is_some(), attempt.ended))
            .collect();
        let (lost, won) = ((true, false, Some(at(9))), (false, true, Some(at(12))));
        assert_eq!(seen, if second_wins { [lost, won] } else { [won, lost] });
    }
}
