//! The simulator agrees with queueing theory: before that, none of its figures means anything. Short runs; `cargo xtask bench
//! lb-quality` has the long ones.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it found, and stops at the first error"
)]

use lb_sim::theory::{Check, mean_time};

const SEED: u64 = 20_240;

fn agrees(check: Check) {
    let (found, expected) = (check.simulate(SEED).unwrap(), mean_time(check.choices, check.load));
    println!("{check:?}, seeds from {SEED}: {:.3} ± {:.3} for {expected:.3}", found.mean, found.half_width);
    assert!(found.holds(expected), "{check:?}: {found:?} does not hold {expected}");
    // An interval so wide that it holds anything would prove nothing.
    assert!(found.half_width < 0.12 * expected, "{check:?}: {found:?} says too little");
}

#[test]
fn one_choice_is_the_queue_of_the_textbook() {
    agrees(Check { choices: 1, load: 0.9, servers: 500, runs: 8, requests: 100_000 });
}

#[test]
fn two_and_three_choices_at_nine_tenths_of_capacity_are_as_mitzenmacher_has_them() {
    for choices in [2, 3] {
        agrees(Check { choices, load: 0.9, servers: 500, runs: 8, requests: 60_000 });
    }
}

#[test]
fn two_and_three_choices_close_to_capacity_are_as_mitzenmacher_has_them() {
    for choices in [2, 3] {
        agrees(Check { choices, load: 0.99, servers: 2_000, runs: 8, requests: 100_000 });
    }
}
