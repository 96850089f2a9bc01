//! The laws every row of `strategy::ALL` is held to, whatever it does: a new row is tested by being in the table.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong fails")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::key::{of_address, of_bytes};
use lb_core::strategy::ALL;
use lb_core::{
    AcquireError, Backend, BackendOptions, Balancer, Lease, Outcome, PickContext, StrategyConfig,
    StrategyInfo, Weight,
};

fn backends(weights: &[f64]) -> Vec<Arc<Backend>> {
    let backend = |(n, weight): (usize, &f64)| {
        let weight = Weight::try_from(*weight).unwrap();
        Arc::new(Backend::new(BackendOptions {
            weight,
            ..BackendOptions::named(format!("http://10.0.0.{n}:8080"))
        }))
    };
    weights.iter().enumerate().map(backend).collect()
}

fn balancer(info: &StrategyInfo, backends: &[Arc<Backend>]) -> Balancer {
    Balancer::new(StrategyConfig::named(info.name), backends.to_vec()).unwrap()
}

/// The request of the `n`th client.
fn request(n: u32) -> PickContext<'static> {
    PickContext::keyed(of_address(std::net::IpAddr::V4((0x0a00_0000 + n).into())), Instant::now())
}

fn position(balancer: &Balancer, n: u32) -> usize {
    balancer.acquire(&request(n)).unwrap().position()
}

#[test]
fn an_empty_set_gives_nothing() {
    for info in ALL {
        let empty = balancer(info, &[]);
        assert_eq!(empty.acquire(&request(1)).unwrap_err(), AcquireError::NoneEligible, "{}", info.name);
        let drained = backends(&[0.0, 1.0]);
        drained[1].set_healthy(false);
        let drained = balancer(info, &drained);
        assert_eq!(drained.acquire(&request(1)).unwrap_err(), AcquireError::NoneEligible, "{}", info.name);
    }
}

#[test]
fn picks_are_in_range_whatever_the_weights() {
    let strange: &[&[f64]] = &[
        &[1.0],
        &[1.0; 3],
        &[1e308, 1e308, 1e308],
        &[1e300, 1e-300],
        &[f64::MIN_POSITIVE, 5e-324],
        &[0.1, 0.2, 0.3, 0.123_456_789],
        &[1.0, 4_000_000_000.0, 3.0],
        &[0.0, 1.0, 0.0, 2.0],
    ];
    for info in ALL {
        for weights in strange {
            let all = backends(weights);
            let balancer = balancer(info, &all);
            for n in 0..200 {
                let lease = balancer.acquire(&request(n)).unwrap();
                lease.record(Outcome { latency: Some(Duration::from_millis(n.into())), ok: n % 5 != 0 });
                assert!(weights[lease.position()] > 0.0, "{} {weights:?}", info.name);
                assert!(Arc::ptr_eq(lease.backend(), &all[lease.position()]), "{}", info.name);
            }
        }
    }
}

#[test]
fn weights_are_held_where_the_row_says_so() {
    let weights = [3.0, 2.0, 1.0, 2.0];
    for info in ALL.iter().filter(|info| info.weighted) {
        let balancer = balancer(info, &backends(&weights));
        let mut counts = [0.0; 4];
        for n in 0..80_000 {
            counts[position(&balancer, n)] += 1.0;
        }
        for (count, weight) in counts.iter().zip(weights) {
            let (share, expected) = (count / 80_000.0, weight / 8.0);
            assert!((share - expected).abs() < 0.02, "{}: {share} for {expected}", info.name);
        }
    }
}

#[test]
fn without_weights_everyone_gets_as_much() {
    for info in ALL {
        let balancer = balancer(info, &backends(&[1.0; 5]));
        let mut counts = [0_u32; 5];
        for n in 0..50_000 {
            counts[position(&balancer, n)] += 1;
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{}: {counts:?}", info.name);
    }
}

#[test]
fn the_same_key_has_the_same_backend_in_every_balancer() {
    for info in ALL.iter().filter(|info| info.keyed) {
        let (one, other) = (balancer(info, &backends(&[1.0; 7])), balancer(info, &backends(&[1.0; 7])));
        for n in 0..1_000 {
            let first = position(&one, n);
            assert!((0..3).all(|_| position(&one, n) == first), "{}", info.name);
            assert_eq!(position(&other, n), first, "{}", info.name);
        }
    }
}

#[test]
fn removing_one_of_n_moves_its_keys_and_few_others_and_they_return() {
    const CLIENTS: u32 = 10_000;
    for info in ALL.iter().filter(|info| info.keyed) {
        for count in [3_usize, 10, 50] {
            let all = backends(&vec![1.0; count]);
            let balancer = balancer(info, &all);
            let homes: Vec<usize> = (0..CLIENTS).map(|n| position(&balancer, n)).collect();
            all[1].set_healthy(false);
            balancer.rebuild();
            let moved =
                (0..CLIENTS).zip(&homes).filter(|(n, home)| position(&balancer, *n) != **home).count();
            let allowed = (1.0 / count as f64 + 0.03) * f64::from(CLIENTS);
            assert!((moved as f64) < allowed, "{} of {count}: {moved} moved", info.name);
            all[1].set_healthy(true);
            balancer.rebuild();
            assert!(
                (0..CLIENTS).zip(&homes).all(|(n, home)| position(&balancer, n) == *home),
                "{}",
                info.name
            );
        }
    }
}

#[test]
fn what_was_tried_is_not_offered_again() {
    for info in ALL {
        let balancer = balancer(info, &backends(&[1.0, 5.0, 2.0]));
        for n in 0..500 {
            let mut tried = Vec::new();
            for attempt in 0..3 {
                let request = PickContext { tried: &tried, attempt, ..request(n) };
                let position = balancer.acquire(&request).unwrap().position();
                assert!(!tried.contains(&position), "{}", info.name);
                tried.push(position);
            }
            let fourth = PickContext { tried: &tried, attempt: 3, ..request(n) };
            assert_eq!(balancer.acquire(&fourth).unwrap_err(), AcquireError::AllTried, "{}", info.name);
        }
    }
}

#[test]
fn a_full_backend_is_passed_over_and_all_full_is_told_apart() {
    for info in ALL {
        let all = backends(&[1.0; 4]);
        for backend in &all {
            backend.set_max_connections(NonZeroU32::new(3));
        }
        let balancer = balancer(info, &all);
        let held: Vec<Lease> = (0..12).map(|n| balancer.acquire(&request(n)).unwrap()).collect();
        assert!(all.iter().all(|backend| backend.active() == 3), "{}", info.name);
        assert_eq!(balancer.acquire(&request(12)).unwrap_err(), AcquireError::AllFull, "{}", info.name);
        drop(held);
        assert!(all.iter().all(|backend| backend.active() == 0), "{}", info.name);
    }
}

#[test]
fn what_overflows_from_a_full_backend_is_shared_by_the_others() {
    for info in ALL {
        let all = backends(&[1.0; 5]);
        all[2].set_max_connections(NonZeroU32::new(1));
        let balancer = balancer(info, &all);
        let _held =
            (0..100).map(|n| balancer.acquire(&request(n)).unwrap()).find(|lease| lease.position() == 2);
        let mut counts = [0_u32; 5];
        for n in 1_000..41_000 {
            counts[position(&balancer, n)] += 1;
        }
        assert_eq!(counts[2], 0, "{}", info.name);
        let others = [counts[0], counts[1], counts[3], counts[4]];
        assert!(others.iter().all(|count| (8_500..11_500).contains(count)), "{}: {others:?}", info.name);
    }
}

#[test]
fn backups_serve_only_while_no_primary_can_and_hand_back() {
    for info in ALL {
        let all = backends(&[1.0, 1.0, 1.0]);
        all[2].set_priority(1);
        let balancer = balancer(info, &all);
        assert!((0..200).all(|n| position(&balancer, n) != 2), "{}", info.name);
        all[0].set_healthy(false);
        balancer.rebuild();
        assert!((0..200).all(|n| position(&balancer, n) == 1), "{}", info.name);
        all[1].set_draining(true);
        balancer.rebuild();
        assert!((0..200).all(|n| position(&balancer, n) == 2), "{}", info.name);
        all[0].set_healthy(true);
        balancer.rebuild();
        assert!((0..200).all(|n| position(&balancer, n) == 0), "{}", info.name);
    }
}

#[test]
fn a_weight_changed_at_run_time_changes_the_shares() {
    for info in ALL.iter().filter(|info| info.weighted) {
        let all = backends(&[1.0, 1.0]);
        let balancer = balancer(info, &all);
        all[1].set_weight(Weight::from(9));
        balancer.rebuild();
        let second: usize = (0..20_000).map(|n| position(&balancer, n)).sum();
        assert!((17_500..18_500).contains(&second), "{}: {second}", info.name);
        all[1].set_weight(Weight::ZERO);
        balancer.rebuild();
        assert!((0..200).all(|n| position(&balancer, n) == 0), "{}", info.name);
    }
}

#[test]
fn a_backend_added_twice_is_two_backends() {
    for info in ALL {
        let twins: Vec<_> =
            (0..2).map(|_| Arc::new(Backend::new(BackendOptions::named("http://a")))).collect();
        let balancer = balancer(info, &twins);
        let mut counts = HashMap::new();
        for n in 0..10_000 {
            *counts.entry(position(&balancer, n)).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| (4_000..6_000).contains(count)), "{}: {counts:?}", info.name);
    }
}

#[test]
fn the_very_same_backend_listed_twice_counts_as_one_and_keeps_its_limit() {
    for info in ALL {
        let one = Arc::clone(&backends(&[1.0])[0]);
        one.set_max_connections(NonZeroU32::new(40));
        let balancer = balancer(info, &[Arc::clone(&one), Arc::clone(&one)]);
        let held: Vec<Lease> = (0..40).map(|n| balancer.acquire(&request(n)).unwrap()).collect();
        assert_eq!(one.active(), 40, "{}", info.name);
        assert_eq!(balancer.acquire(&request(40)).unwrap_err(), AcquireError::AllFull, "{}", info.name);
        drop(held);
        assert_eq!(one.active(), 0, "{}", info.name);
    }
}

#[test]
fn every_row_builds_over_100_000_backends() {
    let all = backends(&vec![1.0; 100_000]);
    for info in ALL {
        let balancer = balancer(info, &all);
        for n in 0..10 {
            assert!(position(&balancer, n) < all.len(), "{}", info.name);
        }
    }
}

#[test]
fn no_weight_but_a_finite_one_from_zero_up_reaches_a_strategy() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE] {
        assert!(Weight::try_from(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_clock_that_stands_still_or_jumps_either_way_never_keeps_a_request_from_a_backend() {
    let start = Instant::now() + Duration::from_secs(1_000_000);
    let day = Duration::from_secs(86_400);
    for info in ALL {
        let all = backends(&[1.0; 20]);
        let balancer = balancer(info, &all);
        for now in [start, start, start + day, start - day, start + 1_000 * day, start] {
            let mut held = Vec::new();
            for n in 0..400 {
                let lease = balancer.acquire(&PickContext { now: now.into(), ..request(n) }).unwrap();
                lease.record(Outcome { latency: Some(Duration::from_millis(5)), ok: n % 7 != 0 });
                held.push(lease);
            }
            let told = all.iter().filter_map(|backend| backend.latency(now));
            assert!(told.into_iter().all(|latency| latency > Duration::ZERO), "{}", info.name);
        }
        assert!(all.iter().all(|backend| backend.active() == 0), "{}", info.name);
    }
}

#[test]
fn picks_stay_sound_while_the_set_is_rebuilt_under_them() {
    for info in ALL {
        let all = backends(&[1.0; 20]);
        let balancer = balancer(info, &all);
        for n in 0..150 {
            // Half of them come and go; a lease outlives the selection it was chosen by.
            let lease = balancer.acquire(&request(n)).unwrap();
            all[n as usize % 10].set_healthy(n % 3 == 0);
            balancer.rebuild();
            lease.record(Outcome { latency: Some(Duration::from_millis(1)), ok: true });
            let next = balancer.acquire(&request(n)).unwrap();
            assert!(next.backend().is_healthy(), "{}", info.name);
        }
        assert!(all.iter().all(|backend| backend.active() == 0), "{}", info.name);
    }
}

#[test]
fn options_are_checked_by_name_and_value() {
    for info in ALL {
        let bad = StrategyConfig::named(info.name).with("colour", "blue");
        let told = lb_core::strategy::validate(&bad).unwrap_err().to_string();
        assert!(told.contains("colour") && told.contains(info.name), "{told}");
        assert!(info.options.iter().all(|option| told.contains(option.name)), "{told}");
        for option in info.options {
            for nonsense in
                [lb_core::OptionValue::Bool(true), "\u{0}".into(), f64::NAN.into(), i64::MIN.into()]
            {
                let bad = StrategyConfig::named(info.name).with(option.name, nonsense);
                let told = lb_core::strategy::validate(&bad).unwrap_err().to_string();
                assert!(told.contains(option.name) && told.contains(&option.kind.accepts()), "{told}");
            }
            let good = StrategyConfig::named(info.name).with(option.name, option.kind.default_value());
            assert_eq!(lb_core::strategy::validate(&good).unwrap().name, info.name);
            assert!(
                lb_core::strategy::validate(&good.with(option.name, option.kind.default_value())).is_err()
            );
        }
    }
}

#[test]
fn a_key_of_any_source_is_only_a_number_to_a_strategy() {
    for info in ALL.iter().filter(|info| info.keyed) {
        let config = StrategyConfig::named(info.name).with("key", "header:X-User");
        let balancer = Balancer::new(config, backends(&[1.0; 5])).unwrap();
        assert_eq!(balancer.key_source().to_string(), "header:X-User");
        let ask = |user: &str| {
            balancer
                .acquire(&PickContext::keyed(of_bytes(user.as_bytes()), Instant::now()))
                .unwrap()
                .position()
        };
        assert_eq!(ask("alice"), ask("alice"));
    }
}
