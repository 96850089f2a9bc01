//! Everything known of the health of one upstream's backends, and what follows from it for its balancer.
//!
//! Requests report here from every worker. As long as nothing is wrong with a backend, [`HealthMonitor::admit`] and
//! [`HealthMonitor::succeeded`] are one relaxed load each and [`HealthMonitor::failed`] one atomic add; only a failure that
//! may change something, and what concerns a backend that is taken out, takes the upstream's lock. Nothing is rebuilt on the
//! caller's thread: the [`Supervisor`](crate::Supervisor) does that, woken at each change. (Without one the monitor does it
//! itself, at once.)

mod handover;
mod rotation;

use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use crossbeam_utils::CachePadded;
use lb_core::Balancer;
use tokio::sync::Notify;

use self::handover::Retired;
use crate::attempt::{Attempt, Trial};
use crate::clock::Clock;
use crate::config::{HealthConfigError, UpstreamOptions};
use crate::event::{Change, EventSink, FailureKind, HealthEvent};
use crate::machine::breaker::{Admission, Circuit, Epoch, TrialEnd};
use crate::machine::streak::{Counted, Streak};
use crate::probe::{Kept, Watched};
use crate::view::{HealthState, HealthView};
use crate::vitals::{Standing, Vitals};

/// Watches the backends of one upstream. Positions are those of its balancer's backends.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use lb_core::{Backend, BackendOptions, Balancer, PickContext, StrategyConfig};
/// use lb_health::{FailureKind, HealthMonitor, UpstreamOptions, Watched};
///
/// let backends = ["a", "b"].map(|name| Arc::new(Backend::new(BackendOptions::named(name))));
/// let balancer = Arc::new(Balancer::new(StrategyConfig::named("round_robin"), backends.into())?);
/// let monitor =
///     HealthMonitor::new("app", Arc::clone(&balancer), vec![Watched::default(); 2], UpstreamOptions::default())?;
///
/// for _ in 0..5 {
///     let now = Instant::now();
///     let mut attempt = monitor.admit(0, now).expect("no breaker is configured");
///     attempt.failed(&monitor, 0, FailureKind::Connect, now);
/// }
/// assert_eq!(balancer.eligible(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HealthMonitor {
    upstream: Arc<str>,
    balancer: Arc<Balancer>,
    watched: Box<[Watched]>,
    kept: Box<[Kept]>,
    options: UpstreamOptions,
    streaks: Box<[CachePadded<Streak>]>,
    state: Mutex<State>,
    /// Something has changed and is not settled yet.
    dirty: AtomicBool,
    patron: OnceLock<Patron>,
}

/// Behind the lock.
#[derive(Debug)]
struct State {
    vitals: Box<[Vitals]>,
    /// Changes not told yet, in their order.
    untold: Vec<HealthEvent>,
    /// When the balancer has to be brought up to date though nothing has changed: slow start goes on.
    rebuild_at: Option<Instant>,
    /// Set once another monitor has taken over.
    retired: Option<Retired>,
}

/// Whoever settles changes.
pub(crate) struct Patron {
    pub(crate) wake: Arc<Notify>,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
}

impl std::fmt::Debug for Patron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patron").finish_non_exhaustive()
    }
}

impl HealthMonitor {
    /// A monitor to which every backend is healthy; it changes nothing until something is reported or it is put in force.
    ///
    /// # Errors
    /// A configuration that makes no sense, or not one for each backend.
    pub fn new(
        upstream: impl Into<Arc<str>>,
        balancer: Arc<Balancer>,
        watched: Vec<Watched>,
        options: UpstreamOptions,
    ) -> Result<Arc<Self>, HealthConfigError> {
        let (members, backends) = (watched.len(), balancer.backends().len());
        if members != backends {
            return Err(HealthConfigError::Members { members, backends });
        }
        options.check()?;
        watched.iter().try_for_each(Watched::check)?;
        let now = Instant::now();
        let vitals = watched.iter().map(|watched| Vitals::new(&watched.config, now)).collect();
        Ok(Arc::new(Self {
            upstream: upstream.into(),
            balancer,
            streaks: watched.iter().map(|_| CachePadded::default()).collect(),
            kept: watched.iter().map(|_| Kept::default()).collect(),
            watched: watched.into(),
            options,
            state: Mutex::new(State { vitals, untold: Vec::new(), rebuild_at: None, retired: None }),
            dirty: AtomicBool::new(false),
            patron: OnceLock::new(),
        }))
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// The balancer that is kept up to date.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// A backend and the connection on which it is probed.
    pub(crate) fn to_probe(&self, position: usize) -> Option<(&Watched, &Kept)> {
        self.watched.get(position).zip(self.kept.get(position))
    }

    /// What each backend is configured with.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Asks whether a request may go to the backend it was given a lease for. `None` where an open or half-open circuit keeps
    /// it out: give the lease back, mark the position as tried and acquire anew; it counts as no attempt. A backend whose circuit
    /// is open leaves the selection soon, one that is half-open stays in it.
    pub fn admit(self: &Arc<Self>, position: usize, now: Instant) -> Option<Attempt> {
        match self.streaks.get(position).is_some_and(|streak| streak.is_held()) {
            false => Some(Attempt::plain()),
            true => self.admit_held(position, now),
        }
    }

    /// The backend answered a request, and not with a 5xx.
    pub fn succeeded(&self, position: usize, now: Instant) {
        if let Some(streak) = self.streaks.get(position)
            && streak.succeeded() == Counted::Held
        {
            self.attend(position, None, Counted::Held, now);
        }
    }

    /// The backend failed a request. A client that left, a 4xx or a refusal of our own is no failure of the backend.
    pub fn failed(&self, position: usize, kind: FailureKind, now: Instant) {
        let (Some(streak), Some(watched)) = (self.streaks.get(position), self.watched.get(position)) else {
            return;
        };
        match streak.failed() {
            Counted::Streak(number) if !watched.config.may_change_at(number) => {}
            counted => self.attend(position, Some(kind), counted, now),
        }
    }

    /// A probe of the backend has ended, for this reason where it was bad.
    pub fn probed(&self, position: usize, result: Result<(), String>, now: Instant) {
        let mut state = self.lock();
        if let Some(retired) = &state.retired {
            let successor = retired.successor(position);
            drop(state);
            if let Some((monitor, at)) = successor {
                monitor.probed(at, result, now);
            }
            return;
        }
        self.update(&mut state, position, |vitals| vitals.probed(result, now));
        drop(state);
        self.call();
    }

    /// Ends the ejections and recovery times that are over by now, and lets a slow start go on.
    pub fn tick(&self, now: Instant) {
        let mut state = self.lock();
        if state.retired.is_some() {
            return;
        }
        let due = |vitals: &Vitals| vitals.due().is_some_and(|due| due <= now);
        let positions: Vec<usize> =
            state.vitals.iter().enumerate().filter(|(_, vitals)| due(vitals)).map(|(at, _)| at).collect();
        for position in positions {
            self.update(&mut state, position, |vitals| vitals.tick(now));
        }
        if state.rebuild_at.is_some_and(|at| at <= now) {
            state.rebuild_at = None;
            self.dirty.store(true, Release);
        }
        drop(state);
        self.call();
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_tick(&self) -> Option<Instant> {
        let state = self.lock();
        match state.retired {
            Some(_) => None,
            None => state.vitals.iter().filter_map(Vitals::due).chain(state.rebuild_at).min(),
        }
    }

    /// When the backend was last probed.
    pub(crate) fn last_probe(&self, position: usize) -> Option<Instant> {
        self.lock().vitals.get(position).and_then(Vitals::last_probe)
    }

    /// How a backend stands.
    pub fn view(&self, position: usize, clock: &Clock) -> Option<HealthView> {
        self.lock().vitals.get(position).map(|vitals| HealthView::of(vitals, clock))
    }

    /// How each backend stands, in brief and in the balancer's order.
    pub fn standings(&self) -> Vec<(HealthState, Circuit)> {
        self.lock().vitals.iter().map(|vitals| HealthView::brief(vitals.standing())).collect()
    }

    /// How a backend stands, in brief; nothing where that is being changed, for who does not wait.
    pub fn try_standing(&self, position: usize) -> Option<(HealthState, Circuit)> {
        let state = self.state.try_lock().ok()?;
        state.vitals.get(position).map(|vitals| HealthView::brief(vitals.standing()))
    }

    /// How each backend stands, in the balancer's order.
    pub fn views(&self, clock: &Clock) -> Vec<HealthView> {
        self.lock().vitals.iter().map(|vitals| HealthView::of(vitals, clock)).collect()
    }

    pub(crate) fn finish(
        &self,
        position: usize,
        epoch: Epoch,
        end: TrialEnd,
        failure: Option<FailureKind>,
        now: Instant,
    ) {
        let mut state = self.lock();
        // A monitor that took over begins trials anew, so what this one's came to is nothing to it.
        if state.retired.is_none() {
            self.update(&mut state, position, |vitals| vitals.finish(epoch, end, failure, now));
        }
        drop(state);
        self.call();
    }

    #[cold]
    fn admit_held(self: &Arc<Self>, position: usize, now: Instant) -> Option<Attempt> {
        let mut state = self.lock();
        if let Some(retired) = &state.retired {
            let successor = retired.successor(position);
            drop(state);
            return successor.map_or_else(|| Some(Attempt::plain()), |(monitor, at)| monitor.admit(at, now));
        }
        let admission = self.update(&mut state, position, |vitals| vitals.admit(now))?;
        drop(state);
        self.call();
        match admission {
            Admission::Pass => Some(Attempt::plain()),
            Admission::Trial(epoch) => {
                Some(Attempt::trial(Trial { monitor: Arc::clone(self), position, epoch }))
            }
            Admission::Refused => None,
        }
    }

    /// What is more than counting.
    #[cold]
    fn attend(&self, position: usize, failure: Option<FailureKind>, counted: Counted, now: Instant) {
        let mut state = self.lock();
        if let Some(retired) = &state.retired {
            let successor = retired.successor(position);
            drop(state);
            if let Some((monitor, at)) = successor {
                match failure {
                    Some(kind) => monitor.failed(at, kind, now),
                    None => monitor.succeeded(at, now),
                }
            }
            return;
        }
        match (counted, failure) {
            (Counted::Streak(streak), Some(kind)) => self.count(&mut state, position, streak, kind, now),
            // What was under way when the backend was taken out says nothing new.
            (Counted::Held, Some(kind)) => {
                if let Some(streak) = state.vitals.get_mut(position).and_then(Vitals::count_failure) {
                    self.count(&mut state, position, streak, kind, now);
                }
            }
            (Counted::Held, None) => {
                let deserted = self.is_deserted(&state);
                self.update(&mut state, position, |vitals| vitals.succeeded_held(deserted, now));
            }
            (Counted::Streak(_), None) => {}
        }
        drop(state);
        self.call();
    }

    /// The `streak`th request in a row has failed.
    fn count(&self, state: &mut State, position: usize, streak: u64, kind: FailureKind, now: Instant) {
        if self.watched.get(position).is_some_and(|watched| watched.config.may_change_at(streak)) {
            let spare = self.has_spare(state, position);
            let is_new = self.streaks.get(position).is_some_and(|streak| streak.is_new());
            self.update(state, position, |vitals| {
                if !is_new {
                    vitals.proven();
                }
                vitals.failed(streak, kind, spare, now);
            });
        }
    }

    /// The one place where a backend's state changes: keeps its streak, the events and the mark in step with it.
    fn update<R>(
        &self,
        state: &mut State,
        position: usize,
        change: impl FnOnce(&mut Vitals) -> R,
    ) -> Option<R> {
        let vitals = state.vitals.get_mut(position)?;
        let before = vitals.standing();
        let result = change(vitals);
        let after = vitals.standing();
        if before != after {
            if let Some(streak) = self.streaks.get(position) {
                match (before.is_held(), after.is_held()) {
                    (false, true) => streak.hold(),
                    (true, false) => streak.release(vitals.streak()),
                    _ => {}
                }
            }
            let error = vitals.error().map(str::to_owned);
            state.untold.extend(self.events(position, before, after, error.as_deref()));
            self.dirty.store(true, Release);
        }
        Some(result)
    }

    fn events(
        &self,
        position: usize,
        before: Standing,
        after: Standing,
        error: Option<&str>,
    ) -> impl Iterator<Item = HealthEvent> {
        let health = match (before.is_healthy(), after.is_healthy()) {
            (true, false) => Some(Change::Unhealthy),
            (false, true) => Some(Change::Recovered),
            _ => None,
        };
        let circuit = (before.circuit != after.circuit).then_some(match after.circuit {
            Circuit::Open => Change::CircuitOpened,
            Circuit::HalfOpen => Change::CircuitHalfOpened,
            Circuit::Closed => Change::CircuitClosed,
        });
        let backend =
            self.balancer.backends().get(position).map(|backend| backend.name()).unwrap_or_default();
        [health, circuit].into_iter().flatten().map(move |change| {
            let went_wrong = matches!(change, Change::Unhealthy | Change::CircuitOpened);
            HealthEvent {
                upstream: Arc::clone(&self.upstream),
                backend: backend.to_owned(),
                change,
                healthy: after.is_healthy(),
                error: error.filter(|_| went_wrong).map(str::to_owned),
            }
        })
    }

    /// Has what changed settled: by the supervisor, soon, or here and now where there is none.
    fn call(&self) {
        if !self.is_dirty() {
            return;
        }
        match self.patron.get() {
            Some(patron) => patron.wake.notify_one(),
            None => {
                self.settle(Instant::now());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Acquire)
    }
}

#[cfg(test)]
mod tests;
