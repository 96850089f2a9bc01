//! Slow start, panic threshold and subsets, in virtual time.

use super::*;
use crate::backend::BackendOptions;

const SECOND: Duration = Duration::from_secs(1);

fn backends(count: usize) -> Vec<Arc<Backend>> {
    (0..count).map(|n| Arc::new(Backend::new(BackendOptions::named(format!("{n}"))))).collect()
}

fn slowly() -> BalancerOptions {
    BalancerOptions { slow_start: Some(10 * SECOND), ..BalancerOptions::default() }
}

fn weights(set: &BackendSet) -> Vec<f64> {
    set.weights().iter().map(|weight| weight.get()).collect()
}

fn positions(set: &BackendSet) -> Vec<usize> {
    (0..set.len()).filter_map(|index| set.position(index)).collect()
}

#[test]
fn at_start_everyone_is_warm() {
    let all = backends(2);
    let (set, again) = Eligibility::new(slowly(), 2).select(&all, Instant::now());
    assert_eq!((weights(&set), again), (vec![1.0, 1.0], None));
}

#[test]
fn a_backend_that_returns_has_a_tenth_more_each_tenth_of_the_time() {
    let (all, start) = (backends(2), Instant::now());
    let mut eligibility = Eligibility::new(slowly(), 2);
    all[1].set_healthy(false);
    assert_eq!(positions(&eligibility.select(&all, start).0), [0]);
    all[1].set_healthy(true);
    let mut now = start + SECOND;
    for tenths in 1..=10 {
        let (set, again) = eligibility.select(&all, now);
        assert_eq!(weights(&set), [1.0, f64::from(tenths) / 10.0]);
        now = again.unwrap();
        assert_eq!(now, start + SECOND + tenths * SECOND);
    }
    let (set, again) = eligibility.select(&all, now);
    assert_eq!((weights(&set), again), (vec![1.0, 1.0], None));
}

#[test]
fn one_that_goes_while_it_warms_up_begins_anew() {
    let (all, start) = (backends(2), Instant::now());
    let mut eligibility = Eligibility::new(slowly(), 2);
    for (second, healthy) in [(0, false), (1, true), (5, false), (6, true)] {
        all[1].set_healthy(healthy);
        eligibility.select(&all, start + second * SECOND);
    }
    assert_eq!(weights(&eligibility.select(&all, start + 8 * SECOND).0), [1.0, 0.3]);
}

#[test]
fn a_backend_added_by_a_reload_starts_slowly_and_the_others_keep_their_state() {
    let (all, start) = (backends(3), Instant::now());
    let mut before = Eligibility::new(slowly(), 2);
    all[1].set_healthy(false);
    before.select(&all[..2], start);
    all[1].set_healthy(true);
    before.select(&all[..2], start);
    let mut after = before.after(slowly(), &all[..2], &all, start + 5 * SECOND);
    assert_eq!(weights(&after.select(&all, start + 5 * SECOND).0), [1.0, 0.6, 0.1]);
}

#[test]
fn below_the_panic_threshold_health_is_not_believed() {
    let all = backends(4);
    let options = BalancerOptions { panic_threshold: Some(0.5), ..BalancerOptions::default() };
    let mut eligibility = Eligibility::new(options, 4);
    let mut select = || positions(&eligibility.select(&all, Instant::now()).0);
    all[0].set_healthy(false);
    all[1].set_healthy(false);
    assert_eq!(select(), [2, 3]);
    all[2].set_healthy(false);
    assert_eq!(select(), [0, 1, 2, 3]);
    // Draining is a person's word, and is believed.
    all[0].set_draining(true);
    assert_eq!(select(), [1, 2, 3]);
    all[3].set_healthy(false);
    assert_eq!(select(), [1, 2, 3]);
    for backend in &all {
        backend.set_draining(true);
    }
    assert_eq!(select(), [0; 0]);
}

#[test]
fn healthy_backups_are_used_before_panic_sets_in() {
    let all = backends(4);
    all[2].set_priority(1);
    all[3].set_priority(1);
    let options = BalancerOptions { panic_threshold: Some(0.5), ..BalancerOptions::default() };
    let mut eligibility = Eligibility::new(options, 4);
    all[0].set_healthy(false);
    all[1].set_healthy(false);
    assert_eq!(positions(&eligibility.select(&all, Instant::now()).0), [2, 3]);
}

#[test]
fn without_a_threshold_nobody_unhealthy_is_used() {
    let all = backends(1);
    all[0].set_healthy(false);
    assert!(Eligibility::new(BalancerOptions::default(), 1).select(&all, Instant::now()).0.is_empty());
}

#[test]
fn subsets_give_every_backend_the_same_number_of_clients() {
    let all = backends(30);
    let mut clients = [0; 30];
    for client in 0..60 {
        let subset = Some(Subset { client, size: NonZeroUsize::new(5).unwrap() });
        let mut eligibility = Eligibility::new(BalancerOptions { subset, ..BalancerOptions::default() }, 30);
        let members = positions(&eligibility.select(&all, Instant::now()).0);
        assert_eq!(members.len(), 5);
        members.into_iter().for_each(|position| clients[position] += 1);
    }
    // Six clients are a round and use each backend once.
    assert_eq!(clients, [10; 30]);
}

#[test]
fn a_subset_stays_while_one_of_it_lives_and_then_all_are_used() {
    let all = backends(12);
    let subset = Some(Subset { client: 7, size: NonZeroUsize::new(3).unwrap() });
    let mut eligibility = Eligibility::new(BalancerOptions { subset, ..BalancerOptions::default() }, 12);
    let mut select = || positions(&eligibility.select(&all, Instant::now()).0);
    let members = select();
    all[members[0]].set_healthy(false);
    assert_eq!(select(), members[1..]);
    all[members[1]].set_healthy(false);
    all[members[2]].set_healthy(false);
    assert_eq!(select().len(), 9);
}
