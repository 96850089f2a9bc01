//! The supervisor by a clock that stands still: when it probes, when ejections end, what a reload keeps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{monitor, supervisor};
use lb_health::{
    BreakerConfig, Change, Circuit, Clock, FailureKind, HealthConfig, HealthState, ProbeConfig, ProbeTarget,
    Watched,
};
use tokio::time::Instant;

/// When each backend was probed. Their names lead nowhere, so no probe waits for the network.
#[derive(Default)]
struct Diary(Mutex<BTreeMap<usize, Vec<Instant>>>);

fn recorded(diary: &Arc<Diary>, number: usize, interval: Duration) -> Watched {
    let diary = Arc::clone(diary);
    let addresses = move || {
        diary.0.lock().unwrap().entry(number).or_default().push(Instant::now());
        Arc::default()
    };
    let probe = ProbeConfig { interval, timeout: interval, ..ProbeConfig::http("/health") };
    Watched {
        config: HealthConfig { probe: Some(probe), ..Default::default() },
        target: Some(ProbeTarget {
            authority: "a".into(),
            base_path: String::new(),
            addresses: Arc::new(addresses),
            secure: None,
            preamble: Vec::new(),
        }),
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("http://backend-{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn thousands_of_probes_begin_at_once_and_then_spread_over_the_interval() {
    const COUNT: usize = 2000;
    let interval = Duration::from_secs(10);
    let diary = Arc::new(Diary::default());
    let names = names(COUNT);
    let members =
        names.iter().enumerate().map(|(number, name)| (&**name, recorded(&diary, number, interval)));
    let (supervisor, _) = supervisor();
    supervisor.enforce(vec![monitor("app", members.collect())]);
    let start = Instant::now();
    let running = tokio::spawn(supervisor.run());
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.abort();

    let diary = diary.0.lock().unwrap();
    assert_eq!(diary.len(), COUNT);
    let mut seconds = BTreeMap::<u64, usize>::new();
    for times in diary.values() {
        assert!(times[0] - start < Duration::from_millis(100), "the first is at once");
        for (before, after) in times.iter().zip(&times[1..]) {
            assert!(*after - *before <= interval + Duration::from_millis(50));
        }
        for (before, after) in times[1..].iter().zip(&times[2..]) {
            assert!(*after - *before >= interval.mul_f64(0.89));
        }
        for time in times {
            *seconds.entry((*time - start).as_secs()).or_default() += 1;
        }
    }
    // About 210 a second from the second probes on, never twice as many, and half as many where a round ends.
    assert!(seconds.range(1..59).all(|(_, probes)| (40..400).contains(probes)), "{seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn three_bad_probes_take_a_backend_out_within_three_intervals() {
    let diary = Arc::new(Diary::default());
    let monitor = monitor("app", vec![("b", recorded(&diary, 0, Duration::from_secs(10)))]);
    let (supervisor, kept) = supervisor();
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert_eq!((kept.changes().len(), monitor.balancer().eligible()), (1, 0));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(kept.changes().len(), 1, "what does not change is told once");
    assert_eq!(kept.errors(), ["its name has no address at present"]);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_ejected_backend_without_any_probe_comes_back_by_itself() {
    let (supervisor, kept) = supervisor();
    let monitor = monitor("app", vec![("a", Watched::default()), ("b", Watched::default())]);
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    for round in 1..=3 {
        // From a worker's thread, as requests are.
        let (worker, now) = (Arc::clone(&monitor), Instant::now().into_std());
        let reported =
            std::thread::spawn(move || (0..5).for_each(|_| worker.failed(1, FailureKind::Reset, now)));
        reported.join().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(monitor.balancer().eligible(), 1);
        tokio::time::sleep(Duration::from_millis(28_900)).await;
        assert_eq!(monitor.balancer().eligible(), 1);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(monitor.balancer().eligible(), 2);
        assert_eq!(kept.changes().len(), 2 * round);
    }
    assert_eq!(kept.changes()[..2], [("b".into(), Change::Unhealthy), ("b".into(), Change::Recovered)]);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_turns_half_open_in_time_and_closes_without_a_gap() {
    let config = HealthConfig { passive: None, breaker: Some(BreakerConfig::default()), probe: None };
    let monitor = monitor("app", vec![("a", config.into())]);
    let (supervisor, kept) = supervisor();
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    (0..5).for_each(|_| monitor.failed(0, FailureKind::Status(500), Instant::now().into_std()));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(monitor.balancer().eligible(), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(monitor.balancer().eligible(), 1);
    let admit = || monitor.admit(0, Instant::now().into_std());
    let mut trials: Vec<_> = (0..3).map(|_| admit().unwrap()).collect();
    assert!(admit().is_none());
    // The client of one left: another trial takes its place.
    trials.pop();
    trials.push(admit().unwrap());
    assert!(admit().is_none());
    trials.iter_mut().for_each(|trial| trial.succeeded(&monitor, 0, Instant::now().into_std()));
    // At once, before the supervisor has had a turn.
    assert_eq!(monitor.view(0, &Clock::read()).unwrap().circuit, Circuit::Closed);
    assert!(monitor.balancer().eligible() == 1 && admit().is_some());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(monitor.balancer().eligible(), 1);
    assert_eq!(
        kept.changes().into_iter().map(|(_, change)| change).collect::<Vec<_>>(),
        [Change::CircuitOpened, Change::CircuitHalfOpened, Change::CircuitClosed]
    );
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_known_and_the_times_of_probes() {
    let interval = Duration::from_secs(10);
    let (diary, old, new) = (Arc::new(Diary::default()), names(3), names(2));
    let (supervisor, _) = supervisor();
    let first = monitor(
        "app",
        old.iter().enumerate().map(|(at, name)| (&**name, recorded(&diary, at, interval))).collect(),
    );
    supervisor.enforce(vec![first]);
    let running = tokio::spawn(supervisor.clone().run());
    tokio::time::sleep(Duration::from_secs(25)).await;
    let probes = |number: usize| diary.0.lock().unwrap().get(&number).map_or(0, Vec::len);
    let before = [0, 1, 2].map(probes);
    // Many reloads in a row.
    let mut second = None;
    for _ in 0..100 {
        let members = new.iter().enumerate().map(|(at, name)| (&**name, recorded(&diary, at, interval)));
        let monitor = monitor("app", members.collect());
        supervisor.enforce(vec![Arc::clone(&monitor)]);
        assert_eq!(monitor.balancer().eligible(), 0);
        second = Some(monitor);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let views = second.unwrap().views(&Clock::read());
    assert!(views.iter().all(|view| view.state == HealthState::Unhealthy && view.error.is_some()));
    let after = [0, 1, 2].map(probes);
    assert!(before.iter().zip(after).all(|(before, after)| after <= before + 1), "{before:?} {after:?}");
    // The third backend is gone, the others go on.
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(probes(2), after[2]);
    assert!((after[0] + 3..=after[0] + 5).contains(&probes(0)));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_hundred_upstreams_that_fail_at_once_are_each_told_once() {
    let (supervisor, kept) = supervisor();
    let pair = || vec![("a", Watched::default()), ("b", Watched::default())];
    let monitors: Vec<_> = (0..100).map(|number| monitor(&format!("up-{number}"), pair())).collect();
    supervisor.enforce(monitors.clone());
    let running = tokio::spawn(supervisor.run());
    for monitor in &monitors {
        (0..50).for_each(|_| monitor.failed(0, FailureKind::Connect, Instant::now().into_std()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(kept.changes().len(), 100);
    assert!(monitors.iter().all(|monitor| monitor.balancer().eligible() == 1));
    running.abort();
}
