//! The monitor from outside: what requests, probes and time do to a balancer.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use lb_core::{Backend, BackendOptions, PickContext, StrategyConfig, Weight};

use super::*;
use crate::config::{BreakerConfig, HealthConfig, PassiveConfig, ProbeConfig};
use crate::view::HealthState;

mod model;

const EJECTION: Duration = Duration::from_secs(30);
const RECOVERY: Duration = Duration::from_secs(60);

fn backends(count: usize) -> Vec<Arc<Backend>> {
    ["a", "b", "c"][..count].iter().map(|name| Arc::new(Backend::new(BackendOptions::named(*name)))).collect()
}

fn balancer(backends: &[Arc<Backend>]) -> Arc<Balancer> {
    Arc::new(Balancer::new(StrategyConfig::named("round_robin"), backends.to_vec()).unwrap())
}

fn watch(backends: &[Arc<Backend>], config: &HealthConfig) -> Arc<HealthMonitor> {
    let configs = vec![watched(config); backends.len()];
    HealthMonitor::new("app", balancer(backends), configs, UpstreamOptions::default()).unwrap()
}

fn watched(config: &HealthConfig) -> Watched {
    let addresses: Arc<crate::probe::Addresses> = Arc::new(Arc::default);
    let target = crate::probe::ProbeTarget {
        authority: "a".into(),
        base_path: String::new(),
        addresses,
        secure: None,
        preamble: Vec::new(),
    };
    Watched { config: config.clone(), target: Some(target) }
}

fn with_breaker() -> HealthConfig {
    HealthConfig { passive: None, breaker: Some(BreakerConfig::default()), probe: None }
}

fn with_probe() -> HealthConfig {
    HealthConfig { probe: Some(ProbeConfig::http("/")), ..Default::default() }
}

fn fail(monitor: &HealthMonitor, position: usize, times: usize, now: Instant) {
    (0..times).for_each(|_| monitor.failed(position, FailureKind::Reset, now));
}

fn state(monitor: &HealthMonitor, position: usize) -> (HealthState, Circuit) {
    let view = monitor.view(position, &Clock::read()).unwrap();
    (view.state, view.circuit)
}

/// Keeps what it is told.
#[derive(Default)]
struct Kept(Mutex<Vec<(String, Change)>>);

impl EventSink for Kept {
    fn changed(&self, event: &HealthEvent) {
        self.0.lock().unwrap().push((event.backend.clone(), event.change));
    }
}

fn listen(monitor: &HealthMonitor) -> Arc<Kept> {
    let kept = Arc::new(Kept::default());
    monitor.enforce(Patron { wake: Arc::default(), sink: Some(Arc::clone(&kept) as Arc<dyn EventSink>) });
    kept
}

#[test]
fn five_failures_in_a_row_eject_and_thirty_seconds_bring_back() {
    let backends = backends(3);
    let (monitor, now) = (watch(&backends, &HealthConfig::default()), Instant::now());
    fail(&monitor, 1, 4, now);
    monitor.succeeded(1, now);
    fail(&monitor, 1, 4, now);
    assert_eq!(monitor.balancer().eligible(), 3);
    fail(&monitor, 1, 1, now);
    assert_eq!((monitor.balancer().eligible(), backends[1].is_healthy()), (2, false));

    let view = monitor.view(1, &Clock { now, wall: std::time::SystemTime::UNIX_EPOCH }).unwrap();
    assert_eq!(view.state, HealthState::Ejected);
    assert_eq!(view.ejected_until, Some(std::time::SystemTime::UNIX_EPOCH + EJECTION));
    assert_eq!(view.error.unwrap(), "5 requests in a row failed, the last by a broken connection");

    assert_eq!(monitor.next_tick(), Some(now + EJECTION));
    monitor.tick(now + EJECTION - Duration::from_nanos(1));
    assert_eq!(monitor.balancer().eligible(), 2);
    monitor.tick(now + EJECTION);
    assert_eq!((monitor.balancer().eligible(), monitor.next_tick()), (3, None));
    assert_eq!(monitor.view(1, &Clock::read()).unwrap().error, None);
}

#[test]
fn one_that_came_back_needs_five_failures_again() {
    let (monitor, now) = (watch(&backends(2), &HealthConfig::default()), Instant::now());
    fail(&monitor, 0, 5, now);
    // Still under way when it was taken out.
    fail(&monitor, 0, 100, now);
    monitor.tick(now + EJECTION);
    fail(&monitor, 0, 4, now + EJECTION);
    assert_eq!(monitor.balancer().eligible(), 2);
    fail(&monitor, 0, 1, now + EJECTION);
    assert_eq!(monitor.balancer().eligible(), 1);
}

#[test]
fn the_last_eligible_backend_is_never_ejected() {
    let (monitor, now) = (watch(&backends(3), &HealthConfig::default()), Instant::now());
    for position in 0..3 {
        fail(&monitor, position, 1000, now);
    }
    assert_eq!(state(&monitor, 2).0, HealthState::Healthy);
    // When others are back it can be spared.
    monitor.tick(now + EJECTION);
    fail(&monitor, 2, 5, now + EJECTION);
    assert_eq!(state(&monitor, 2).0, HealthState::Ejected);
}

#[test]
fn a_drained_or_weightless_backend_is_no_spare_and_a_backup_is() {
    let now = Instant::now();
    let make_useless: [fn(&Backend); 2] =
        [|backend| backend.set_draining(true), |backend| backend.set_weight(Weight::ZERO)];
    for make_useless in make_useless {
        let backends = backends(2);
        make_useless(&backends[1]);
        let monitor = watch(&backends, &HealthConfig::default());
        fail(&monitor, 0, 5, now);
        assert_eq!(state(&monitor, 0).0, HealthState::Healthy);
    }
    let backends = backends(2);
    backends[1].set_priority(1);
    let monitor = watch(&backends, &HealthConfig::default());
    fail(&monitor, 0, 5, now);
    assert_eq!(state(&monitor, 0).0, HealthState::Ejected);
    let lease = monitor.balancer().acquire(&PickContext::new(now)).unwrap();
    assert_eq!(lease.backend().name(), "b");
}

#[test]
fn an_ejected_backend_serves_after_all_once_its_spare_is_gone() {
    let now = Instant::now();
    let backends = backends(2);
    let monitor = watch(&backends, &HealthConfig::default());
    fail(&monitor, 0, 5, now);
    backends[1].set_draining(true);
    monitor.refresh();
    assert_eq!(monitor.balancer().acquire(&PickContext::new(now)).unwrap().backend().name(), "a");
    assert_eq!(state(&monitor, 0).0, HealthState::Ejected);
    backends[1].set_draining(false);
    monitor.refresh();
    assert_eq!((backends[0].is_healthy(), monitor.balancer().eligible()), (false, 1));
}

#[test]
fn once_the_last_backend_fails_too_the_ejected_ones_are_asked_again() {
    let now = Instant::now();
    let backends = backends(3);
    let monitor = watch(&backends, &HealthConfig::default());
    let kept = listen(&monitor);
    let used = || {
        monitor.settle(now);
        [0, 1, 2].map(|position: usize| backends[position].is_healthy())
    };
    fail(&monitor, 0, 5, now);
    fail(&monitor, 1, 5, now);
    fail(&monitor, 2, 4, now);
    assert_eq!(used(), [false, false, true]);
    fail(&monitor, 2, 1, now);
    assert_eq!(used(), [true; 3]);
    // That goes on, and says nothing, as long as all fail.
    (0..3).for_each(|position| fail(&monitor, position, 1000, now));
    assert_eq!(used(), [true; 3]);
    assert_eq!(kept.0.lock().unwrap().len(), 2);

    // Who answers is back; the last one is a backend like any other then.
    monitor.succeeded(1, now);
    assert_eq!(used(), [false, true, true]);
    fail(&monitor, 2, 5, now);
    assert_eq!(used(), [false, true, false]);
    assert_eq!(monitor.next_tick(), Some(now + EJECTION));
}

#[test]
fn a_last_backend_that_works_again_leaves_the_ejected_ones_out() {
    let now = Instant::now();
    let backends = backends(2);
    let monitor = watch(&backends, &HealthConfig::default());
    fail(&monitor, 0, 5, now);
    fail(&monitor, 1, 5, now);
    assert_eq!(monitor.balancer().eligible(), 2);
    monitor.succeeded(1, now);
    assert_eq!((backends[0].is_healthy(), monitor.balancer().eligible()), (false, 1));
    // Its row has begun anew.
    fail(&monitor, 1, 4, now);
    assert_eq!(monitor.balancer().eligible(), 1);
}

#[test]
fn a_breaker_cuts_off_even_the_last_backend_and_trials_decide() {
    let (monitor, now) = (watch(&backends(1), &with_breaker()), Instant::now());
    let kept = listen(&monitor);
    fail(&monitor, 0, 5, now);
    monitor.settle(now);
    assert_eq!((monitor.balancer().eligible(), state(&monitor, 0).1), (0, Circuit::Open));
    assert!(monitor.admit(0, now).is_none());

    let now = now + RECOVERY;
    monitor.tick(now);
    monitor.settle(now);
    assert_eq!((monitor.balancer().eligible(), state(&monitor, 0).1), (1, Circuit::HalfOpen));
    let mut trials: Vec<Attempt> = (0..3).map(|_| monitor.admit(0, now).unwrap()).collect();
    assert!(trials.iter().all(Attempt::is_trial));
    assert!(monitor.admit(0, now).is_none());
    // Nothing was rebuilt for it, so nothing will have to be when it closes.
    assert!(!monitor.settle(now));

    trials[0].succeeded(&monitor, 0, now);
    trials[1].succeeded(&monitor, 0, now);
    assert_eq!(state(&monitor, 0).1, Circuit::HalfOpen);
    trials[2].succeeded(&monitor, 0, now);
    monitor.settle(now);
    assert_eq!((monitor.balancer().eligible(), state(&monitor, 0).1), (1, Circuit::Closed));
    assert!(!monitor.admit(0, now).unwrap().is_trial());
    // The row of failures is over.
    fail(&monitor, 0, 4, now);
    assert_eq!(state(&monitor, 0).1, Circuit::Closed);
    let told: Vec<Change> = kept.0.lock().unwrap().iter().map(|(_, change)| *change).collect();
    assert_eq!(told, [Change::CircuitOpened, Change::CircuitHalfOpened, Change::CircuitClosed]);
}

#[test]
fn one_bad_trial_opens_the_circuit_again_and_a_dropped_one_is_made_anew() {
    let (monitor, now) = (watch(&backends(2), &with_breaker()), Instant::now());
    fail(&monitor, 0, 5, now);
    let now = now + RECOVERY;
    for _ in 0..10 {
        drop(monitor.admit(0, now).unwrap());
    }
    assert_eq!(monitor.balancer().eligible(), 2);
    let mut trial = monitor.admit(0, now).unwrap();
    trial.failed(&monitor, 0, FailureKind::Status(503), now);
    let view = monitor.view(0, &Clock { now, ..Clock::read() }).unwrap();
    assert_eq!(
        (view.circuit, view.error.unwrap().as_str()),
        (Circuit::Open, "a trial call failed by status 503")
    );
    assert_eq!(monitor.next_tick(), Some(now + RECOVERY));
}

#[test]
fn since_is_when_the_circuit_became_what_it_is() {
    let (monitor, start) = (watch(&backends(2), &with_breaker()), Instant::now());
    let clock = Clock { now: start, ..Clock::read() };
    let since = || monitor.view(0, &clock).unwrap().since;
    fail(&monitor, 0, 5, start);
    assert_eq!(since(), clock.wall_of(start));
    let trial_at = start + RECOVERY;
    let mut trial = monitor.admit(0, trial_at).unwrap();
    assert_eq!(since(), clock.wall_of(trial_at), "half-open");
    let reopened_at = trial_at + Duration::from_secs(1);
    trial.failed(&monitor, 0, FailureKind::Reset, reopened_at);
    assert_eq!(since(), clock.wall_of(reopened_at), "open again");
    let trial_at = reopened_at + RECOVERY;
    let mut trials: Vec<Attempt> = (0..3).map(|_| monitor.admit(0, trial_at).unwrap()).collect();
    let closed_at = trial_at + Duration::from_secs(2);
    trials.iter_mut().for_each(|trial| trial.succeeded(&monitor, 0, closed_at));
    assert_eq!(since(), clock.wall_of(closed_at), "closed");
}

#[test]
fn what_was_under_way_when_the_circuit_opened_decides_no_trial() {
    let (monitor, now) = (watch(&backends(1), &with_breaker()), Instant::now());
    let mut earlier = monitor.admit(0, now).unwrap();
    fail(&monitor, 0, 5, now);
    monitor.tick(now + RECOVERY);
    earlier.failed(&monitor, 0, FailureKind::Timeout, now + RECOVERY);
    assert_eq!(state(&monitor, 0).1, Circuit::HalfOpen);
}

#[test]
fn of_many_threads_exactly_three_get_a_trial() {
    for _ in 0..50 {
        let (monitor, now) = (watch(&backends(1), &with_breaker()), Instant::now());
        fail(&monitor, 0, 5, now);
        let trials = AtomicU32::new(0);
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    if let Some(mut trial) = monitor.admit(0, now + RECOVERY) {
                        trials.fetch_add(1, Relaxed);
                        trial.succeeded(&monitor, 0, now + RECOVERY);
                    }
                });
            }
        });
        // Once three were good the rest pass as in any closed circuit, so at least three did.
        assert!((3..=8).contains(&trials.load(Relaxed)));
        assert_eq!(state(&monitor, 0).1, Circuit::Closed);
        let (monitor, trials) = (watch(&backends(1), &with_breaker()), AtomicU32::new(0));
        fail(&monitor, 0, 5, now);
        let out = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Some(trial) = monitor.admit(0, now + RECOVERY) {
                        trials.fetch_add(1, Relaxed);
                        out.lock().unwrap().push(trial);
                    }
                });
            }
        });
        assert_eq!(trials.load(Relaxed), 3);
    }
}

#[test]
fn three_bad_probes_take_out_and_two_good_ones_bring_back_each_told_once() {
    let backends = backends(2);
    let (monitor, now) = (watch(&backends, &with_probe()), Instant::now());
    let kept = listen(&monitor);
    let probe = |good: bool| {
        let result = if good { Ok(()) } else { Err("status 500".to_owned()) };
        monitor.probed(0, result, now);
        monitor.settle(now);
        backends[0].is_healthy()
    };
    assert_eq!(
        [false, false, true, false, false, false, false].map(probe),
        [true, true, true, true, true, false, false]
    );
    assert_eq!(monitor.view(0, &Clock::read()).unwrap().error.as_deref(), Some("status 500"));
    assert_eq!([true, false, true, true, true].map(probe), [false, false, false, true, true]);
    let told = kept.0.lock().unwrap().clone();
    assert_eq!(told, [("a".to_owned(), Change::Unhealthy), ("a".to_owned(), Change::Recovered)]);
}

#[test]
fn probes_take_out_the_last_backend_too() {
    let (monitor, now) = (watch(&backends(1), &with_probe()), Instant::now());
    (0..3).for_each(|_| monitor.probed(0, Err("refused".to_owned()), now));
    assert_eq!(monitor.balancer().eligible(), 0);
}

#[test]
fn in_panic_all_are_used_unless_a_breaker_or_a_whole_group_of_backups_speaks_against_it() {
    let now = Instant::now();
    let config = HealthConfig { breaker: Some(BreakerConfig::default()), passive: None, ..with_probe() };
    let panicky = |backends: &[Arc<Backend>]| {
        let options = UpstreamOptions { panic_threshold: Some(0.5) };
        HealthMonitor::new("app", balancer(backends), vec![watched(&config); 3], options).unwrap()
    };
    let down = |monitor: &HealthMonitor, position| {
        (0..3).for_each(|_| monitor.probed(position, Err("refused".to_owned()), now));
        monitor.balancer().eligible()
    };
    let monitor = panicky(&backends(3));
    assert_eq!([0, 1].map(|position| down(&monitor, position)), [2, 3]);
    fail(&monitor, 1, 5, now);
    assert_eq!(monitor.balancer().eligible(), 2);

    let backends = backends(3);
    backends[2].set_priority(1);
    let monitor = panicky(&backends);
    // One primary, then the backup.
    assert_eq!([0, 1].map(|position| down(&monitor, position)), [1, 1]);
    assert_eq!(monitor.balancer().acquire(&PickContext::new(now)).unwrap().backend().name(), "c");
}

#[test]
fn nothing_locks_while_nothing_is_wrong() {
    let monitor =
        watch(&backends(2), &HealthConfig { breaker: Some(BreakerConfig::default()), ..with_probe() });
    let guard = monitor.lock();
    let (done, end) = std::sync::mpsc::channel();
    let other = Arc::clone(&monitor);
    let thread = std::thread::spawn(move || {
        let now = Instant::now();
        for _ in 0..3 {
            let mut attempt = other.admit(0, now).unwrap();
            attempt.failed(&other, 0, FailureKind::Reset, now);
            other.succeeded(0, now);
        }
        done.send(()).unwrap();
    });
    assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(()));
    drop(guard);
    thread.join().unwrap();
}

#[test]
fn a_new_configuration_goes_on_where_the_old_one_stood() {
    let now = Instant::now();
    let backends = backends(3);
    let both = HealthConfig {
        probe: Some(ProbeConfig::http("/")),
        passive: Some(PassiveConfig::default()),
        breaker: None,
    };
    let old = watch(&backends, &both);
    (0..3).for_each(|_| old.probed(0, Err("refused".to_owned()), now));
    fail(&old, 1, 5, now);
    fail(&old, 2, 4, now);

    // Kept in another order: c, a, and b, which is no longer the very same object.
    let again = Arc::new(Backend::new(BackendOptions::named("b")));
    let order = [Arc::clone(&backends[2]), Arc::clone(&backends[0]), again];
    let new = watch(&order, &both);
    new.take_over(&old, now);
    new.settle(now);
    assert_eq!(state(&new, 1).0, HealthState::Unhealthy);
    assert_eq!(state(&new, 2).0, HealthState::Ejected);
    assert_eq!(order.each_ref().map(|backend| backend.is_healthy()), [true, false, false]);

    // What the old one is told now goes to the new one: b's ejection ends there, and c's fifth failure is no ejection as
    // nobody else is left.
    old.tick(now + EJECTION);
    assert_eq!(state(&new, 2).0, HealthState::Ejected);
    old.failed(2, FailureKind::Reset, now);
    assert!(new.lock().vitals[0].standing().failing);
    old.succeeded(2, now);
    assert!(!new.lock().vitals[0].standing().failing);
    assert_eq!(new.streaks[0].count(), 0);
    assert!(old.admit(0, now).is_some());
    // And one generation further.
    let newest = watch(&order, &both);
    newest.take_over(&new, now);
    fail(&old, 2, 3, now);
    assert_eq!(newest.streaks[0].count(), 3);
}

#[test]
fn a_newcomer_that_refuses_is_out_for_as_long_as_it_is_known_and_who_has_served_for_its_whole_time() {
    let backends = backends(3);
    let begun = Instant::now();
    let (first, later) = (watch(&backends, &HealthConfig::default()), begun + Duration::from_secs(4));
    first.succeeded(1, begun);
    let monitor = watch(&backends, &HealthConfig::default());
    monitor.take_over(&first, begun);
    let refused = |position: usize| {
        (0..5).for_each(|_| monitor.failed(position, FailureKind::Connect, later));
        monitor.lock().vitals[position].ejected_until().unwrap() - later
    };
    assert!((3.9..4.1).contains(&refused(0).as_secs_f64()));
    assert_eq!(refused(1), EJECTION);
}

#[test]
fn an_open_circuit_stays_open_over_a_reload_and_half_open_begins_its_trials_anew() {
    let now = Instant::now();
    let backends = backends(1);
    let old = watch(&backends, &with_breaker());
    fail(&old, 0, 5, now);
    let new = watch(&backends, &with_breaker());
    new.take_over(&old, now);
    new.settle(now);
    assert!(new.admit(0, now).is_none() && old.admit(0, now).is_none());
    assert_eq!(new.balancer().eligible(), 0);

    let now = now + RECOVERY;
    let mut earlier: Vec<Attempt> = (0..2).map(|_| new.admit(0, now).unwrap()).collect();
    let newest = watch(&backends, &with_breaker());
    newest.take_over(&new, now);
    newest.settle(now);
    let mut trials: Vec<Attempt> = (0..3).map(|_| newest.admit(0, now).unwrap()).collect();
    // Trials of the configuration before decide nothing any more.
    earlier.iter_mut().for_each(|trial| trial.failed(&new, 0, FailureKind::Reset, now));
    trials.iter_mut().for_each(|trial| trial.succeeded(&newest, 0, now));
    assert_eq!(state(&newest, 0).1, Circuit::Closed);
}

#[test]
fn with_a_breaker_beside_it_ejection_spares_nobody() {
    let passive = PassiveConfig { consecutive_failures: 2.try_into().unwrap(), ..Default::default() };
    let config =
        HealthConfig { passive: Some(passive), breaker: Some(BreakerConfig::default()), probe: None };
    let (monitor, now) = (watch(&backends(1), &config), Instant::now());
    fail(&monitor, 0, 2, now);
    assert_eq!(
        (state(&monitor, 0), monitor.balancer().eligible()),
        ((HealthState::Ejected, Circuit::Closed), 0)
    );
    // The row goes on after the ejection, so that the breaker opens at the fifth failure all the same.
    let now = now + EJECTION;
    monitor.tick(now);
    fail(&monitor, 0, 2, now);
    monitor.tick(now + EJECTION);
    fail(&monitor, 0, 1, now + EJECTION);
    assert_eq!(state(&monitor, 0), (HealthState::Healthy, Circuit::Open));
}

#[test]
fn where_the_same_failures_would_eject_and_open_the_circuit_the_circuit_alone_decides() {
    let config = HealthConfig { breaker: Some(BreakerConfig::default()), ..Default::default() };
    let (monitor, now) = (watch(&backends(2), &config), Instant::now());
    let kept = listen(&monitor);
    fail(&monitor, 0, 5, now);
    monitor.settle(now);
    assert_eq!(state(&monitor, 0), (HealthState::Healthy, Circuit::Open));
    assert_eq!(*kept.0.lock().unwrap(), [("a".to_owned(), Change::CircuitOpened)]);
    assert_eq!((monitor.balancer().eligible(), monitor.next_tick()), (1, Some(now + RECOVERY)));
}

#[test]
fn a_slow_start_goes_on_by_the_monitors_ticks() {
    let backends = backends(2);
    let options =
        lb_core::BalancerOptions { slow_start: Some(Duration::from_secs(10)), ..Default::default() };
    let strategy = StrategyConfig::named("weighted_round_robin");
    let balancer = Arc::new(Balancer::with_options(strategy, backends.clone(), options).unwrap());
    let members = vec![watched(&with_probe()); 2];
    let monitor =
        HealthMonitor::new("app", Arc::clone(&balancer), members, UpstreamOptions::default()).unwrap();
    let _kept = listen(&monitor);
    let mut now = Instant::now();
    (0..3).for_each(|_| monitor.probed(0, Err("refused".to_owned()), now));
    monitor.settle(now);
    assert_eq!(monitor.next_tick(), None);
    (0..2).for_each(|_| monitor.probed(0, Ok(()), now));
    monitor.settle(now);
    let mut steps = 0;
    while let Some(next) = monitor.next_tick() {
        (now, steps) = (next, steps + 1);
        monitor.tick(now);
        assert!(monitor.settle(now));
    }
    assert_eq!(steps, 10);
    let mut shares = [0; 2];
    for _ in 0..20 {
        shares[balancer.acquire(&PickContext::new(now)).unwrap().position()] += 1;
    }
    assert_eq!(shares, [10, 10]);
}

#[test]
fn what_a_new_configuration_has_not_is_forgotten() {
    let now = Instant::now();
    let backends = backends(2);
    let old = watch(&backends, &with_probe());
    (0..3).for_each(|_| old.probed(0, Err("refused".to_owned()), now));
    assert!(!backends[0].is_healthy());
    let new = watch(&backends, &HealthConfig::default());
    new.take_over(&old, now);
    new.settle(now);
    assert!(backends[0].is_healthy());
    assert_eq!(new.view(0, &Clock::read()).unwrap().error, None);
}

#[test]
fn a_configuration_for_each_backend_is_needed() {
    let error =
        HealthMonitor::new("app", balancer(&backends(2)), vec![], UpstreamOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "0 health configurations for 2 backends");
}
