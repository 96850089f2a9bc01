//! What holds for any weights, any order of events and any strategy, tried with generated ones.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that goes wrong fails")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::strategy::ALL;
use lb_core::{
    AcquireError, Backend, BackendOptions, Balancer, Lease, Outcome, PickContext, StrategyConfig, Weight,
};
use proptest::prelude::*;

/// What may happen to a balancer.
#[derive(Debug, Clone)]
enum Event {
    Acquire {
        key: u64,
        tried: Vec<usize>,
        attempt: u32,
    },
    Record {
        lease: usize,
        micros: u64,
        ok: bool,
    },
    Drop {
        lease: usize,
    },
    Set {
        backend: usize,
        healthy: bool,
        draining: bool,
        weight: f64,
        limit: u32,
        priority: u8,
    },
    Rebuild,
    /// Clocks stand, run and jump back.
    Clock {
        millis: i64,
    },
}

fn events(backends: usize) -> impl Strategy<Value = Vec<Event>> {
    let weight = prop_oneof![Just(0.0), 0.1..5.0, Just(1e308), Just(5e-324)];
    let event = prop_oneof![
        8 => (any::<u64>(), prop::collection::vec(0..backends, 0..3), 0..4_u32)
            .prop_map(|(key, tried, attempt)| Event::Acquire { key, tried, attempt }),
        4 => (any::<usize>(), any::<u64>(), any::<bool>())
            .prop_map(|(lease, micros, ok)| Event::Record { lease, micros, ok }),
        4 => any::<usize>().prop_map(|lease| Event::Drop { lease }),
        2 => (0..backends, any::<bool>(), any::<bool>(), weight, 0..4_u32, 0..3_u8).prop_map(
            |(backend, healthy, draining, weight, limit, priority)| {
                Event::Set { backend, healthy, draining, weight, limit, priority }
            }
        ),
        2 => Just(Event::Rebuild),
        2 => (-10_000..100_000_i64).prop_map(|millis| Event::Clock { millis }),
    ];
    prop::collection::vec(event, 1..120)
}

/// Plays the events against every row and holds it to a model of what must be.
fn play(count: usize, events: &[Event]) {
    for info in ALL {
        let named = |n| Arc::new(Backend::new(BackendOptions::named(format!("http://10.0.0.{n}"))));
        let all: Vec<Arc<Backend>> = (0..count).map(named).collect();
        let balancer = Balancer::new(StrategyConfig::named(info.name), all.clone()).unwrap();
        let mut eligible: Vec<usize> = (0..count).collect();
        let mut held: Vec<Lease> = Vec::new();
        let mut now = Instant::now() + Duration::from_secs(1_000_000);
        for event in events {
            match event {
                Event::Acquire { key, tried, attempt } => {
                    let before: Vec<u32> = all.iter().map(|backend| backend.active()).collect();
                    let open = |position: usize| {
                        all[position].max_connections().is_none_or(|limit| before[position] < limit.get())
                    };
                    let untried = || eligible.iter().copied().filter(|position| !tried.contains(position));
                    match balancer.acquire(&PickContext {
                        key: *key,
                        now: now.into(),
                        tried,
                        attempt: *attempt,
                    }) {
                        Ok(lease) => {
                            let position = lease.position();
                            prop_assert_is(eligible.contains(&position), info.name, event);
                            prop_assert_is(!tried.contains(&position) && open(position), info.name, event);
                            prop_assert_is(all[position].active() == before[position] + 1, info.name, event);
                            held.push(lease);
                        }
                        Err(AcquireError::NoneEligible) => {
                            prop_assert_is(eligible.is_empty(), info.name, event);
                        }
                        Err(AcquireError::AllTried) => {
                            prop_assert_is(untried().next().is_none(), info.name, event);
                        }
                        Err(AcquireError::AllFull) => {
                            prop_assert_is(
                                untried().next().is_some() && !untried().any(open),
                                info.name,
                                event,
                            );
                        }
                    }
                }
                Event::Record { lease, micros, ok } if !held.is_empty() => {
                    let latency = (micros % 3 != 0).then(|| Duration::from_micros(*micros));
                    held[lease % held.len()].record(Outcome { latency, ok: *ok });
                }
                Event::Drop { lease } if !held.is_empty() => drop(held.swap_remove(lease % held.len())),
                Event::Set { backend, healthy, draining, weight, limit, priority } => {
                    let backend = &all[*backend];
                    backend.set_healthy(*healthy);
                    backend.set_draining(*draining);
                    backend.set_weight(Weight::try_from(*weight).unwrap());
                    backend.set_max_connections(NonZeroU32::new(*limit));
                    backend.set_priority(*priority);
                }
                Event::Rebuild => {
                    balancer.rebuild();
                    let able = || (0..count).filter(|position| all[*position].is_eligible());
                    let group = able().map(|position| all[position].priority()).min();
                    eligible = able().filter(|position| Some(all[*position].priority()) == group).collect();
                }
                Event::Clock { millis } => {
                    let by = Duration::from_millis(millis.unsigned_abs());
                    now = if *millis < 0 { now - by } else { now + by };
                }
                Event::Record { .. } | Event::Drop { .. } => {}
            }
        }
        let counts = |position| held.iter().filter(|lease| lease.position() == position).count();
        assert!(
            (0..count).all(|position| all[position].active() as usize == counts(position)),
            "{}",
            info.name
        );
        held.clear();
        assert!(all.iter().all(|backend| backend.active() == 0), "{}", info.name);
    }
}

fn prop_assert_is(holds: bool, strategy: &str, event: &Event) {
    assert!(holds, "{strategy}: {event:?}");
}

/// The whole turns of weights in their least form.
fn turns(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().fold(0, |a, b| {
        let (mut a, mut b) = (a, *b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    weights.iter().map(|weight| weight / divisor).collect()
}

fn weighted(order: &str, weights: &[u32], scale: f64) -> Balancer {
    let backend = |(n, weight): (usize, &u32)| {
        let weight = Weight::try_from(f64::from(*weight) / scale).unwrap();
        Arc::new(Backend::new(BackendOptions { weight, ..BackendOptions::named(format!("{n}")) }))
    };
    let config = StrategyConfig::named("weighted_round_robin").with("order", order);
    Balancer::new(config, weights.iter().enumerate().map(backend).collect()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_strategy_stays_sound_whatever_happens((count, events) in (1..7_usize).prop_flat_map(|n| (Just(n), events(n)))) {
        play(count, &events);
    }

    #[test]
    fn large_sets_stay_sound_too(events in events(24)) {
        play(24, &events);
    }

    #[test]
    fn weighted_shares_are_exact_in_every_period(
        weights in prop::collection::vec(1..60_u32, 1..12),
        scale in prop_oneof![Just(1.0), Just(10.0), Just(1000.0)],
        order in prop_oneof![Just("smooth"), Just("block")],
        offset in 0..50_usize,
    ) {
        let (balancer, turns) = (weighted(order, &weights, scale), turns(&weights));
        let pick = || balancer.acquire(&PickContext::new(Instant::now())).unwrap().position();
        (0..offset).for_each(|_| { pick(); });
        let period: u32 = turns.iter().sum();
        let mut counts = vec![0; weights.len()];
        (0..period).for_each(|_| counts[pick()] += 1);
        prop_assert_eq!(counts, turns);
    }

    #[test]
    fn a_smooth_cycle_never_leaves_its_shares_far_behind(weights in prop::collection::vec(1..40_u32, 2..10)) {
        let balancer = weighted("smooth", &weights, 1.0);
        let sum = f64::from(weights.iter().sum::<u32>());
        let mut counts = vec![0.0_f64; weights.len()];
        for turn in 1..=200_u32 {
            counts[balancer.acquire(&PickContext::new(Instant::now())).unwrap().position()] += 1.0;
            for (count, weight) in counts.iter().zip(&weights) {
                let due = f64::from(turn) * f64::from(*weight) / sum;
                // Within a class of equal weights turns may lag by one more.
                prop_assert!((count - due).abs() < 2.5, "{:?} after {}: {} for {}", weights, turn, count, due);
            }
        }
    }

    #[test]
    fn keyed_strategies_move_only_the_keys_of_a_lost_backend_where_they_say_so(
        weights in prop::collection::vec(1..9_u32, 2..12),
        lost in any::<prop::sample::Index>(),
    ) {
        for name in ["ip_hash", "rendezvous", "ring_hash"] {
            let all: Vec<_> = weights.iter().enumerate().map(|(n, weight)| {
                let weight = Weight::from(*weight);
                Arc::new(Backend::new(BackendOptions { weight, ..BackendOptions::named(format!("{n}")) }))
            }).collect();
            let balancer = Balancer::new(StrategyConfig::named(name), all.clone()).unwrap();
            let home = |key| balancer.acquire(&PickContext::keyed(key, Instant::now())).unwrap().position();
            let before: Vec<usize> = (0..300).map(home).collect();
            let lost = lost.index(all.len());
            all[lost].set_healthy(false);
            balancer.rebuild();
            for (key, before) in (0..300).zip(before) {
                prop_assert!(before == lost || home(key) == before, "{} moved {}", name, key);
            }
        }
    }
}
