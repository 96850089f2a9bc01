//! The order of picks as clients see it: exact for the whole process, whatever thread asks.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong fails")]

use std::sync::Arc;
use std::time::Instant;

use lb_core::{
    Backend, BackendOptions, Balancer, BalancerOptions, Lease, PickContext, StrategyConfig, Weight,
};

fn balancer(strategy: StrategyConfig, weights: &[f64]) -> (Balancer, Vec<Arc<Backend>>) {
    let all: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(n, weight)| {
            let weight = Weight::try_from(*weight).unwrap();
            Arc::new(Backend::new(BackendOptions {
                weight,
                ..BackendOptions::named(format!("http://10.0.0.{n}"))
            }))
        })
        .collect();
    (Balancer::new(strategy, all.clone()).unwrap(), all)
}

fn take(balancer: &Balancer) -> Lease {
    balancer.acquire(&PickContext::new(Instant::now())).unwrap()
}

fn positions(balancer: &Balancer, count: usize) -> Vec<usize> {
    (0..count).map(|_| take(balancer).position()).collect()
}

/// Picks on eight threads at once, counted by backend.
fn counts_of_threads(balancer: &Balancer, all: &[Arc<Backend>], each: usize) -> Vec<u64> {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..each).for_each(|_| drop(take(balancer))));
        }
    });
    all.iter().map(|backend| backend.total()).collect()
}

#[test]
fn round_robin_goes_one_two_three_one() {
    let (balancer, _) = balancer(StrategyConfig::default(), &[1.0, 9.0, 1.0]);
    assert_eq!(positions(&balancer, 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn round_robin_is_exact_over_threads() {
    let (balancer, all) = balancer(StrategyConfig::named("rr"), &[1.0; 3]);
    assert_eq!(counts_of_threads(&balancer, &all, 3_000), [8_000; 3]);
}

#[test]
fn every_six_requests_to_three_two_one_are_three_two_one_over_threads() {
    for order in ["smooth", "block"] {
        let strategy = StrategyConfig::named("weighted_round_robin").with("order", order);
        let (balancer, all) = balancer(strategy, &[3.0, 2.0, 1.0]);
        for round in 1..=100 {
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| take(&balancer));
                }
            });
            let counts: Vec<u64> = all.iter().map(|backend| backend.total()).collect();
            assert_eq!(counts, [3 * round, 2 * round, round], "{order}");
        }
    }
}

#[test]
fn weighted_round_robin_is_smooth_unless_asked_for_blocks() {
    let (smooth, _) = balancer(StrategyConfig::named("wrr"), &[3.0, 2.0, 1.0]);
    assert_eq!(positions(&smooth, 6), [0, 1, 0, 2, 1, 0]);
    let (blocks, _) = balancer(StrategyConfig::named("wrr").with("order", "block"), &[3.0, 2.0, 1.0]);
    assert_eq!(positions(&blocks, 12), [0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 1, 2]);
    let (fractions, _) = balancer(StrategyConfig::named("wrr"), &[1.0, 2.0, 1.0]);
    assert_eq!(positions(&fractions, 8), [0, 1, 2, 1, 0, 1, 2, 1]);
}

#[test]
fn a_rebuild_goes_on_where_the_order_was() {
    let (balancer, all) = balancer(StrategyConfig::default(), &[1.0; 3]);
    assert_eq!(positions(&balancer, 2), [0, 1]);
    balancer.rebuild();
    assert_eq!(positions(&balancer, 2), [2, 0]);
    all[1].set_healthy(false);
    balancer.rebuild();
    assert_eq!(positions(&balancer, 4), [0, 2, 0, 2]);
}

#[test]
fn least_connections_goes_where_fewest_are_in_flight() {
    let (balancer, all) = balancer(StrategyConfig::named("least_connections"), &[1.0; 3]);
    // Hold until the counts are 5, 2 and 8, by keeping the others out meanwhile.
    let mut held = Vec::new();
    for (position, count) in [(0, 5), (1, 2), (2, 8)] {
        for (other, backend) in all.iter().enumerate() {
            backend.set_healthy(other == position);
        }
        balancer.rebuild();
        held.extend((0..count).map(|_| take(&balancer)));
    }
    all.iter().for_each(|backend| backend.set_healthy(true));
    balancer.rebuild();
    assert_eq!(all.iter().map(|backend| backend.active()).collect::<Vec<_>>(), [5, 2, 8]);
    assert_eq!(positions(&balancer, 3), [1, 1, 1]);
}

#[test]
fn least_connections_serves_an_idle_upstream_in_turns_and_by_weight() {
    let (balancer, all) = balancer(StrategyConfig::named("lc"), &[1.0, 1.0, 2.0]);
    positions(&balancer, 400);
    assert_eq!(all.iter().map(|backend| backend.total()).collect::<Vec<_>>(), [100, 100, 200]);
}

#[test]
fn least_connections_holds_requests_in_proportion_to_weight() {
    let (balancer, all) = balancer(StrategyConfig::named("lc"), &[3.0, 1.0]);
    let _held: Vec<Lease> = (0..40).map(|_| take(&balancer)).collect();
    assert_eq!(all.iter().map(|backend| backend.active()).collect::<Vec<_>>(), [30, 10]);
}

/// Of two backends one fails each request, which then goes to the other: it must not get the first choice of all.
#[test]
fn second_choices_take_no_turns_from_first_ones() {
    for (name, weights) in
        [("rr", &[1.0, 1.0][..]), ("wrr", &[2.0, 1.0, 1.0]), ("lc", &[1.0, 1.0]), ("rr", &[1.0; 4])]
    {
        let (balancer, all) = balancer(StrategyConfig::named(name), weights);
        let (mut first, mut second) = (vec![0; all.len()], vec![0; all.len()]);
        let requests = 840;
        for _ in 0..requests {
            let lease = take(&balancer);
            first[lease.position()] += 1;
            if lease.position() == 0 {
                let again = PickContext { tried: &[0], attempt: 1, ..PickContext::new(Instant::now()) };
                drop(lease);
                second[balancer.acquire(&again).unwrap().position()] += 1;
            }
        }
        let sum: f64 = weights.iter().sum();
        for (count, weight) in first.iter().zip(weights) {
            assert_eq!(f64::from(*count), f64::from(requests) * weight / sum, "{name}: {first:?}");
        }
        // Nor does all of it fall on one neighbour.
        let others = sum - weights[0];
        for (count, weight) in second.iter().zip(weights).skip(1) {
            let share = f64::from(first[0]) * weight / others;
            assert!((f64::from(*count) - share).abs() <= 2.0, "{name}: {second:?}");
        }
    }
}

#[test]
fn a_reload_goes_on_where_the_order_was_and_keeps_what_is_in_flight() {
    let (before, all) = balancer(StrategyConfig::default(), &[1.0; 3]);
    assert_eq!(positions(&before, 2), [0, 1]);
    let held = take(&before);
    let config = StrategyConfig::named("least_connections");
    let after = before.reconfigured(config, all.clone(), BalancerOptions::default(), Instant::now()).unwrap();
    assert_eq!(after.strategy().name, "least_connections");
    assert_eq!((held.position(), all[2].active()), (2, 1));
    assert_eq!(positions(&after, 3), [0, 1, 2]);
    drop(held);
    assert_eq!(all[2].active(), 0);
}
