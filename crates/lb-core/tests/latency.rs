//! What the strategies that learn latencies do with slow, changing, new and failing backends: simulated, in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that goes wrong fails"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::{Backend, BackendOptions, Balancer, Lease, Outcome, PickContext, StrategyConfig};

const LEARNING: &[&str] = &["least_response_time", "peak_ewma"];

const SECOND: u64 = 1_000_000;

/// A closed loop of clients, each sending its next request as soon as the last was answered; times in µs.
struct World {
    balancer: Balancer,
    start: Instant,
    now: u64,
    clients: usize,
    /// By time of answer; the number makes the order total.
    answers: BinaryHeap<Reverse<(u64, usize)>>,
    held: Vec<Option<(Lease, Outcome)>>,
}

impl World {
    fn new(strategy: &str, backends: usize, clients: usize) -> Self {
        fastrand::seed(42);
        let all =
            (0..backends).map(|n| Arc::new(Backend::new(BackendOptions::named(format!("{n}"))))).collect();
        let balancer = Balancer::new(StrategyConfig::named(strategy), all).unwrap();
        let held = (0..clients).map(|_| None).collect();
        Self { balancer, start: Instant::now(), now: 0, clients, answers: BinaryHeap::new(), held }
    }

    /// Runs for a while with the given latency a backend, `None` for a backend that refuses at once; requests a backend.
    fn run(&mut self, seconds: u64, latencies: &[Option<u64>]) -> Vec<u64> {
        let before: Vec<u64> = self.balancer.backends().iter().map(|backend| backend.total()).collect();
        let end = self.now + seconds * SECOND;
        if self.answers.is_empty() {
            (0..self.clients).for_each(|client| self.send(client, latencies));
        }
        while let Some(Reverse((time, client))) = self.answers.pop() {
            self.now = time;
            if let Some((lease, outcome)) = self.held[client].take() {
                lease.record(outcome);
            }
            self.send(client, latencies);
            if time >= end {
                break;
            }
        }
        self.balancer
            .backends()
            .iter()
            .zip(before)
            .map(|(backend, before)| backend.total() - before)
            .collect()
    }

    fn send(&mut self, client: usize, latencies: &[Option<u64>]) {
        let now = self.start + Duration::from_micros(self.now);
        let lease = self.balancer.acquire(&PickContext::keyed(client as u64, now)).unwrap();
        // Spread a little, as real ones are.
        let jitter = 0.8 + 0.4 * fastrand::f64();
        let latency = (latencies[lease.position()].unwrap_or(100) as f64 * jitter) as u64;
        let outcome = Outcome {
            latency: Some(Duration::from_micros(latency)),
            ok: latencies[lease.position()].is_some(),
        };
        self.answers.push(Reverse((self.now + latency, client)));
        self.held[client] = Some((lease, outcome));
    }
}

fn share(counts: &[u64], index: usize) -> f64 {
    counts[index] as f64 / counts.iter().sum::<u64>() as f64
}

#[test]
fn the_faster_backend_gets_nearly_everything_and_the_slower_is_not_forgotten() {
    for strategy in LEARNING {
        for clients in [1, 4, 16] {
            let mut world = World::new(strategy, 2, clients);
            let counts = world.run(60, &[Some(50_000), Some(5_000)]);
            assert!(share(&counts, 1) > 0.9, "{strategy} with {clients} clients: {counts:?}");
            assert!(counts[0] >= 1, "{strategy} with {clients} clients: {counts:?}");
        }
    }
}

#[test]
fn they_adapt_within_seconds_when_fast_and_slow_change_places() {
    for strategy in LEARNING {
        for clients in [1, 16] {
            let mut world = World::new(strategy, 2, clients);
            world.run(60, &[Some(50_000), Some(5_000)]);
            world.run(8, &[Some(5_000), Some(50_000)]);
            let counts = world.run(20, &[Some(5_000), Some(50_000)]);
            assert!(share(&counts, 0) > 0.9, "{strategy} with {clients} clients: {counts:?}");
        }
    }
}

#[test]
fn no_backend_starves_however_slow() {
    for strategy in LEARNING {
        let mut world = World::new(strategy, 12, 8);
        let mut latencies = vec![Some(2_000); 12];
        latencies[3] = Some(400_000);
        world.run(60, &latencies);
        for minute in 0..5 {
            let counts = world.run(60, &latencies);
            assert!(counts.iter().all(|count| *count > 0), "{strategy}, minute {minute}: {counts:?}");
            assert!(share(&counts, 3) < 0.01, "{strategy}: {counts:?}");
        }
    }
}

#[test]
fn a_backend_that_refuses_at_once_does_not_look_fast() {
    for strategy in LEARNING {
        let mut world = World::new(strategy, 3, 8);
        let counts = world.run(60, &[Some(20_000), None, Some(20_000)]);
        assert!(share(&counts, 1) < 0.01, "{strategy}: {counts:?}");
        let counts = world.run(120, &[Some(20_000); 3]);
        assert!(share(&counts, 1) > 0.1, "{strategy}: it came back and got {counts:?}");
    }
}

#[test]
fn one_slow_backend_of_four_takes_few_requests() {
    for strategy in LEARNING {
        let mut world = World::new(strategy, 4, 20);
        let counts = world.run(60, &[Some(10_000), Some(10_000), Some(10_000), Some(100_000)]);
        // p99 stays that of the healthy ones.
        assert!(share(&counts, 3) < 0.02, "{strategy}: {counts:?}");
        assert!((0..3).all(|index| share(&counts, index) > 0.28), "{strategy}: {counts:?}");
    }
}

#[test]
fn a_backend_that_comes_back_gets_trial_requests_one_at_a_time() {
    for strategy in LEARNING {
        let mut world = World::new(strategy, 3, 12);
        world.run(30, &[Some(5_000); 3]);
        let fresh = Arc::clone(&world.balancer.backends()[2]);
        fresh.set_healthy(false);
        world.balancer.rebuild();
        world.run(300, &[Some(5_000); 3]);
        fresh.set_healthy(true);
        world.balancer.rebuild();
        // It hangs now: the first answer is still out, and nobody else may be sent there meanwhile.
        world.run(1, &[Some(5_000), Some(5_000), Some(100 * SECOND)]);
        assert!(fresh.active() <= 1, "{strategy}: {} hang", fresh.active());
    }
}

#[test]
fn prequal_avoids_slow_backends_while_others_have_room() {
    for count in [10_usize, 60] {
        let mut world = World::new("prequal", count, count);
        let mut latencies = vec![Some(5_000); count];
        (0..count).step_by(5).for_each(|slow| latencies[slow] = Some(100_000));
        world.run(30, &latencies);
        let counts = world.run(120, &latencies);
        let slow: u64 = counts.iter().step_by(5).sum();
        // Least connections would give them a share by what they can serve: 1.2 %.
        assert!(
            (slow as f64) < 0.012 * counts.iter().sum::<u64>() as f64,
            "of {count}: {slow} of {counts:?}"
        );
        assert!(counts.iter().all(|count| *count > 0), "of {count}: {counts:?}");
    }
}

#[test]
fn prequal_holds_what_is_in_flight_even_when_all_are_alike() {
    // Latency decides among the cold, and what little it differs is chance: the more so the more backends are read whole, as nothing
    // but latency then parts thirteen of sixteen. The pool's draws are more even, and so a law for sixteen cannot be as tight.
    for (count, within) in [(3, 0.2), (16, 0.4), (17, 0.2), (100, 0.25)] {
        for seed in 1..=4 {
            let mut world = World::new("prequal", count, count * 4);
            fastrand::seed(seed);
            world.run(20, &vec![Some(10_000); count]);
            let counts = world.run(60, &vec![Some(10_000); count]);
            let mean = counts.iter().sum::<u64>() as f64 / count as f64;
            let off = |count: &u64| (*count as f64 / mean - 1.0).abs();
            assert!(counts.iter().all(|count| off(count) < within), "of {count}, seed {seed}: {counts:?}");
        }
    }
}
