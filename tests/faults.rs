//! Failure stays invisible: each scenario of the fault bench, short, and held to what does not depend on the machine's
//! speed. No request is lost or answered wrongly, no POST arrives twice, every counter is zero afterwards.
//!
//! `cargo xtask bench faults` plays the same scenarios long, and measures.

use std::process::Command;

use lb_faults::{Scale, scenario};

/// Play a scenario, and show its account where a goal is missed.
#[track_caller]
fn play(name: &str) {
    let scenario = scenario::find(name).unwrap();
    let report = scenario.run(env!("CARGO_BIN_EXE_gatewayd"), backend, &Scale::SHORT);
    assert!(report.unmet(false).is_empty(), "{report:#?}");
}

/// This program once more, as a backend.
fn backend() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::a_process_for_a_backend", "--ignored", "--nocapture"]);
    command
}

#[test]
#[ignore = "no test: what the tests beside it start as backends"]
fn a_process_for_a_backend() {
    lb_faults::backend::serve_if_asked();
}

#[test]
fn killing_one_of_three_backends_fails_no_get() {
    play("kill");
}

#[test]
fn restarting_one_of_three_backends_fails_no_get_and_it_serves_again() {
    play("restart");
}

#[test]
fn a_backend_that_comes_and_goes_fails_no_get() {
    play("flap");
}

#[test]
fn freezing_one_of_three_backends_fails_no_get() {
    play("freeze");
}

#[test]
fn a_backend_that_turns_slow_fails_no_get() {
    play("slow");
}

#[test]
fn a_backend_that_turns_silent_fails_no_get() {
    play("silent");
}

#[test]
fn a_backend_that_resets_fails_no_get() {
    play("reset");
}

#[test]
fn a_backend_that_resets_in_its_head_fails_no_get() {
    play("reset-mid-head");
}

#[test]
fn an_answer_that_is_reset_in_its_body_is_never_taken_for_whole() {
    play("reset-mid-body");
}

#[test]
fn bursts_of_500_fail_no_get_where_they_are_retried() {
    play("bursts");
}

#[test]
fn retries_add_little_to_a_total_outage() {
    play("outage");
}

#[test]
fn a_second_backend_is_asked_for_gets_alone() {
    play("hedging");
}

#[test]
fn draining_a_backend_under_load_fails_nothing() {
    play("drain");
}

#[test]
fn replacing_the_gateway_under_load_fails_nothing() {
    play("upgrade");
}

#[test]
fn replacing_the_gateway_under_http2_fails_nothing() {
    play("upgrade-h2c");
    play("upgrade-h2");
}

#[test]
fn clients_that_abort_crawl_and_hang_up_harm_nobody() {
    play("clients");
}

#[test]
fn clients_that_would_stay_for_ever_are_given_up_and_counted() {
    play("crawlers");
}

#[test]
fn an_overload_exceeds_no_backends_limit() {
    play("overload");
}

#[test]
fn what_an_overload_sheds_is_told_so() {
    play("shedding");
}

#[test]
fn chaos_loses_nothing_and_leaves_no_counter_behind() {
    play("chaos");
}
