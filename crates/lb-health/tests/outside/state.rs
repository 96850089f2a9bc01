//! The state file: what it keeps, and what becomes of a bad one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{answer, decisive, monitor, status, until, watched};
use lb_health::{
    BreakerConfig, Circuit, Clock, FailureKind, HealthConfig, HealthMonitor, HealthState, PassiveConfig,
    ProbeConfig, SavedState, StateError, Supervisor, SupervisorOptions, Watched,
};

fn keeping(file: &Path) -> Supervisor {
    Supervisor::new(SupervisorOptions { state_file: Some(file.to_owned()), ..Default::default() })
}

fn fail(monitor: &HealthMonitor, position: usize) {
    (0..5).for_each(|_| monitor.failed(position, FailureKind::Reset, Instant::now()));
}

#[tokio::test]
async fn a_backend_that_was_dead_is_out_from_the_start_and_back_with_the_first_good_probe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatewayd.state");
    let well = answer(|_| status(200)).await;
    let member = || {
        // Two good ones would be needed, an hour apart.
        let probe =
            ProbeConfig { healthy_threshold: 2.try_into().unwrap(), ..decisive(ProbeConfig::http("/")) };
        vec![("a", watched(probe, &[well]))]
    };
    let before = monitor("app", member());
    before.probed(0, Err("status 500".to_owned()), Instant::now());
    let supervisor = keeping(&file);
    supervisor.enforce(vec![before]);
    supervisor.save().unwrap();

    let after = monitor("app", member());
    let supervisor = keeping(&file);
    supervisor.enforce(vec![Arc::clone(&after)]);
    let view = after.view(0, &Clock::read()).unwrap();
    assert_eq!((after.balancer().eligible(), view.error.as_deref()), (0, Some("status 500")));
    let running = tokio::spawn(supervisor.run());
    until("it is back", || after.balancer().eligible() == 1).await;
    // And the file follows.
    until("the file has nothing bad", || SavedState::read(&file, &Clock::read()).unwrap().is_empty()).await;
    running.abort();
}

#[test]
fn ejections_and_open_circuits_are_kept_for_the_rest_of_their_time() {
    let breaker = HealthConfig { passive: None, breaker: Some(BreakerConfig::default()), probe: None };
    let members =
        || vec![("a", Watched::default()), ("b", Watched::from(breaker.clone())), ("c", Watched::default())];
    let before = monitor("app", members());
    fail(&before, 0);
    fail(&before, 1);
    let clock = Clock::read();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    SavedState::of(&[before], &clock).write(&file).unwrap();

    let supervisor = keeping(&file);
    let after = monitor("app", members());
    supervisor.enforce(vec![Arc::clone(&after), monitor("other", members())]);
    let views = after.views(&clock);
    assert_eq!(
        (views[0].state, views[1].circuit, after.balancer().eligible()),
        (HealthState::Ejected, Circuit::Open, 1)
    );
    let left = |moment: Option<std::time::SystemTime>| moment.unwrap().duration_since(clock.wall).unwrap();
    assert!((25..=30).contains(&left(views[0].ejected_until).as_secs()));
    assert!((55..=60).contains(&left(views[1].open_until).as_secs()));
    assert!(supervisor.monitors()[1].views(&clock).iter().all(|view| view.healthy));
}

#[test]
fn what_cannot_recover_or_is_not_there_any_more_is_not_restored() {
    let probed = || watched(ProbeConfig::http("/"), &[]);
    let before = monitor("app", vec![("a", probed()), ("b", probed()), ("gone", probed())]);
    for position in 0..3 {
        (0..3).for_each(|_| before.probed(position, Err(String::new()), Instant::now()));
    }
    let clock = Clock::read();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    SavedState::of(&[before], &clock).write(&file).unwrap();
    let after = monitor("app", vec![("a", Watched::default()), ("b", probed())]);
    keeping(&file).enforce(vec![Arc::clone(&after)]);
    // Nobody probes a now, so nobody could find it well again.
    assert_eq!(after.views(&clock).iter().map(|view| view.healthy).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_clock_that_was_wrong_keeps_nobody_out_for_longer_than_configured() {
    let brief = PassiveConfig { ejection_time: Duration::from_secs(1), ..Default::default() };
    let members = |passive: PassiveConfig| {
        let member = Watched::from(HealthConfig { passive: Some(passive), ..Default::default() });
        vec![("a", member), ("b", Watched::default())]
    };
    let before = monitor(
        "app",
        members(PassiveConfig { ejection_time: Duration::from_secs(1 << 30), ..Default::default() }),
    );
    fail(&before, 0);
    let clock = Clock::read();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    SavedState::of(&[before], &clock).write(&file).unwrap();
    let after = monitor("app", members(brief));
    keeping(&file).enforce(vec![Arc::clone(&after)]);
    assert!(after.next_tick().unwrap() <= Instant::now() + Duration::from_secs(1));
}

#[test]
fn a_broken_foreign_or_old_file_is_ignored_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    let clock = Clock::read();
    SavedState::of(&[], &clock).write(&file).unwrap();
    let good = std::fs::read_to_string(&file).unwrap();
    let later = Clock { wall: clock.wall + Duration::from_secs(2 * 3600), ..clock };
    assert!(matches!(SavedState::read(&file, &later), Err(StateError::Old(_))));
    for (text, words) in [
        ("", "no state file"),
        ("{", "no state file"),
        ("[]", "no state file"),
        ("{\"version\": 1}", "no state file"),
        (&good[..good.len() / 2], "no state file"),
        (&good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = SavedState::read(&file, &clock).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
        let monitor = monitor("app", vec![("a", Watched::default())]);
        let supervisor = keeping(&file);
        supervisor.enforce(vec![monitor]);
        supervisor.save().unwrap();
        assert!(SavedState::read(&file, &clock).unwrap().is_empty());
    }
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind_and_the_gateway_alone() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no").join("such").join("folder");
    let supervisor = keeping(&nowhere);
    supervisor.enforce(vec![monitor("app", vec![("a", Watched::default())])]);
    assert!(matches!(supervisor.save(), Err(StateError::Io(_))));
    // Beside the file there is no half of another.
    let file = folder.path().join("state");
    SavedState::of(&supervisor.monitors(), &Clock::read()).write(&file).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["state"]);
}
