//! What gateways are known to do wrong about health, breakers, retries, limits and counters, and the one test here that
//! keeps this one from it. Each row was found in the source of some other gateway.

use std::path::Path;

/// What goes wrong, and the test that would fail if it did so here: `file::test`.
const HOMES: &[(&str, &str)] = &[
    (
        "a client that gives up in the middle of a head has its backend ejected",
        "health::twenty_curls_that_give_up_amid_a_head_leave_both_backends_in_rotation",
    ),
    (
        "an ejection never ends where nothing probes",
        "health::a_backend_ejected_without_any_probe_comes_back_by_itself",
    ),
    (
        "after everything has failed once, service never returns without a restart",
        "health::with_every_backend_failing_for_a_while_service_returns_without_a_restart",
    ),
    (
        "a failure is counted down twice, so that the failing backend looks idlest and its limit is passed",
        "balancing::counters_are_zero_after_clients_left_and_backends_failed",
    ),
    (
        "a client that cancels leaves its connection counted for ever",
        "health::a_client_that_leaves_at_any_moment_leaves_no_counter_behind",
    ),
    (
        "between the look at a limit and the taking of a place others take it too",
        "queueing::two_hundred_at_once_never_pass_a_limit_of_ten_and_all_are_served_in_turn",
    ),
    (
        "a full backend is an error although another has room",
        "queueing::what_overflows_goes_to_others_before_it_waits",
    ),
    (
        "a killed backend is an error although others are there",
        "faults::killing_one_of_three_backends_fails_no_get",
    ),
    (
        "a connect failure is an error although others are there, whatever the method",
        "failure::a_backend_that_does_not_accept_is_passed_over",
    ),
    ("events are held back until their stream ends", "limits::an_event_arrives_while_its_stream_is_open"),
    (
        "WebSocket fails, and its backend is called unhealthy for it",
        "upgrades::a_websocket_library_is_content",
    ),
    (
        "a WebSocket that breaks off has its backend called unhealthy",
        "upgrades::websockets_that_break_off_blame_no_backend_and_leave_no_counter",
    ),
    ("the deadline to the answer's head cuts streams", "limits::a_stream_outlives_the_deadline_to_its_head"),
    (
        "a rule's deadline longer than the global one never works",
        "limits::the_most_specific_deadline_to_the_response_head_counts",
    ),
    ("a backend that is slow is 502", "failure::a_backend_that_is_too_slow_is_504"),
    ("a backend that refuses is anything but 502", "failure::a_backend_that_is_down_is_502"),
    ("anybody's X-Forwarded-For chooses the backend", "balancing::a_forged_forwarded_for_moves_nobody"),
    (
        "the leftmost address counts, which the client wrote itself",
        "balancing::the_rightmost_untrusted_address_is_the_client",
    ),
    (
        "removing one backend moves clients of the others",
        "balancing::taking_a_backend_out_of_the_configuration_moves_only_its_own_clients",
    ),
    (
        "one backend's failure moves clients of the others",
        "balancing::ip_hash_spreads_clients_and_moves_only_those_of_a_dead_backend",
    ),
    (
        "a crafted address makes a hash negative, and an index with it",
        "balancing::addresses_that_are_none_break_nothing_even_from_a_trusted_proxy",
    ),
    (
        "the port is hashed with the address, so that each connection may change its backend",
        "balancing::ip_hash_keeps_a_client_on_one_backend_over_a_hundred_connections",
    ),
    ("ties of least_connections all go to the first", "balancing::idle_least_connections_rotates_its_ties"),
    (
        "two requests at once choose the same idlest backend",
        "balancing::a_burst_is_spread_over_idle_backends_without_two_taking_the_same_place",
    ),
    (
        "the first probe comes an interval late, twice, or at a path that is not the backend's own",
        "health::the_first_probe_comes_at_once_and_once_to_each_backend_at_the_path_that_is_its_own",
    ),
    (
        "probes leave connections behind, and go on after the end",
        "health::probes_leave_no_connections_behind_and_end_with_the_gateway",
    ),
    (
        "after a reload nobody probes what is new, and somebody still what is gone",
        "reload::a_removed_backend_finishes_what_it_has_and_then_nothing_of_it_is_left",
    ),
    ("one bad probe takes a backend out", "health::two_bad_probes_in_a_row_never_take_a_backend_out"),
    (
        "one good probe brings a backend back, so that it flaps",
        "health::the_third_bad_probe_takes_a_backend_out_and_one_good_one_does_not_bring_it_back",
    ),
    ("POST is sent again, and there are two orders", "failure::a_post_is_never_sent_twice"),
    (
        "a retry goes to the backend that has just failed",
        "retries::a_status_that_is_named_is_tried_elsewhere",
    ),
    ("retries multiply the load of an outage", "faults::retries_add_little_to_a_total_outage"),
    ("one breaker cuts off a whole pool", "breaker::each_backend_has_a_circuit_of_its_own"),
    (
        "a breaker counts the failures of a lifetime, and 4xx among them",
        "breaker::only_failures_in_a_row_open_a_circuit_and_4xx_are_none",
    ),
    (
        "a half-open breaker lets everything through, or never closes",
        "breaker::a_half_open_circuit_admits_exactly_its_trial_calls_and_closes_when_all_were_good",
    ),
    (
        "a breaker's locks are taken in two orders: a deadlock as it recovers under load",
        "breaker::circuits_open_and_recover_under_load_while_everything_is_read",
    ),
    (
        "a trial whose client leaves is never given back",
        "breaker::a_client_that_leaves_gives_its_trial_call_back",
    ),
];

#[test]
fn each_defect_known_from_elsewhere_has_a_test_that_is_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    for (defect, home) in HOMES {
        let (file, test) = home.split_once("::").unwrap();
        let text = std::fs::read_to_string(tests.join(format!("{file}.rs"))).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{defect}: no test {home}");
    }
}
