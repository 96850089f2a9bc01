//! The supervisor at work.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};

use super::{Shared, Supervisor};
use crate::clock::Clock;
use crate::machine::later;
use crate::monitor::HealthMonitor;
use crate::probe::{ProbeError, probe};
use crate::saved::{SavedState, StateError};

/// From a change to its being written.
const SAVE_DELAY: Duration = Duration::from_secs(1);
/// From one complaint about this machine to the next.
const COMPLAINT_GAP: Duration = Duration::from_secs(10);
/// Probes that are due within this time begin together, on one wake-up; less for short intervals.
const TOGETHER: Duration = Duration::from_millis(25);
/// An upstream rests so many times as long as settling it took, so that even thousands of changes a second cost little.
const REST: u32 = 10;

/// Everything the task has in hand.
pub(super) struct Run {
    supervisor: Supervisor,
    generation: u64,
    slots: Vec<Slot>,
    due: BinaryHeap<Reverse<Due>>,
    /// Numbers the entries of `due`, so that of two at one time the first made comes first.
    entries: u64,
    /// Probes that are due but have no place yet.
    waiting: VecDeque<Job>,
    probes: JoinSet<Result<(), ProbeError>>,
    under_way: HashMap<Id, Job>,
    saving: JoinSet<Result<(), StateError>>,
    save_planned: bool,
    /// Whether the last write failed, to say so once.
    unsaved: bool,
    /// From where `TOGETHER` is counted.
    began: Instant,
    /// When it was last said that this machine cannot probe.
    complained: Option<Instant>,
    random: fastrand::Rng,
}

/// An upstream in force.
struct Slot {
    monitor: Arc<HealthMonitor>,
    /// The earliest tick planned.
    tick: Option<Instant>,
    /// Not to be settled before this.
    rest: Instant,
    settle_planned: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    entry: u64,
    work: Work,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Probe { slot: usize, position: usize },
    Tick { slot: usize },
    Settle { slot: usize },
    Save,
}

/// A probe from the moment it is due.
struct Job {
    monitor: Arc<HealthMonitor>,
    generation: u64,
    slot: usize,
    position: usize,
    started: Instant,
    first: bool,
}

type Finished = Result<(Id, Result<(), ProbeError>), JoinError>;

impl Run {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self {
            supervisor,
            generation: 0,
            slots: Vec::new(),
            due: BinaryHeap::new(),
            entries: 0,
            waiting: VecDeque::new(),
            probes: JoinSet::new(),
            under_way: HashMap::new(),
            saving: JoinSet::new(),
            save_planned: false,
            unsaved: false,
            began: now(),
            complained: None,
            random: fastrand::Rng::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.supervisor.shared);
        loop {
            let next = self.due.peek().map(|Reverse(due)| due.at);
            tokio::select! {
                () = shared.wake.notified() => self.look_around(),
                Some(finished) = self.probes.join_next_with_id() => self.finished(finished),
                Some(saved) = self.saving.join_next() => self.saved(saved),
                () = sleep_until(next) => {}
            }
            // All there is, before anything is settled.
            while let Some(finished) = self.probes.try_join_next_with_id() {
                self.finished(finished);
            }
            self.do_what_is_due(now());
            self.start_waiting(&shared);
        }
    }

    /// Something was put in force, or a request has changed something.
    fn look_around(&mut self) {
        let supervisor = self.supervisor.clone();
        let force = supervisor.force();
        if force.generation != self.generation {
            self.generation = force.generation;
            self.begin(&force.monitors);
        }
        drop(force);
        let now = now();
        let dirty = |slot: &Slot| slot.monitor.is_dirty();
        let dirty: Vec<usize> =
            self.slots.iter().enumerate().filter(|(_, slot)| dirty(slot)).map(|(index, _)| index).collect();
        for slot in dirty {
            self.settle(slot, now);
        }
    }

    /// Starts on a configuration. Probes under way go on; they report to whoever took over.
    fn begin(&mut self, monitors: &[Arc<HealthMonitor>]) {
        let now = now();
        self.due.clear();
        self.waiting.clear();
        self.slots.clear();
        for (slot, monitor) in monitors.iter().enumerate() {
            self.slots.push(Slot {
                monitor: Arc::clone(monitor),
                tick: None,
                rest: now,
                settle_planned: false,
            });
            for (position, watched) in monitor.watched().iter().enumerate() {
                let Some(probe) = &watched.config.probe else { continue };
                match monitor.last_probe(position) {
                    Some(last) => {
                        let wait = probe.interval.mul_f64(self.tenth_less());
                        self.plan_probe(later(last, wait), probe.interval, now, slot, position);
                    }
                    None => self.plan(now, Work::Probe { slot, position }),
                }
            }
            self.plan_tick(slot);
        }
        // What was put in force may differ from what is written.
        self.save_planned = false;
        self.plan_save(now);
    }

    fn do_what_is_due(&mut self, now: Instant) {
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.due.pop() else { return };
            match due.work {
                Work::Probe { slot, position } => self.queue_probe(slot, position, now),
                Work::Tick { slot } => self.tick(slot, due.at, now),
                Work::Settle { slot } => {
                    if let Some(slot) = self.slots.get_mut(slot) {
                        slot.settle_planned = false;
                    }
                    self.settle(slot, now);
                }
                Work::Save => self.save(),
            }
        }
    }

    fn queue_probe(&mut self, slot: usize, position: usize, now: Instant) {
        let Some(Slot { monitor, .. }) = self.slots.get(slot) else { return };
        let first = monitor.last_probe(position).is_none();
        let monitor = Arc::clone(monitor);
        let generation = self.generation;
        self.waiting.push_back(Job { monitor, generation, slot, position, started: now, first });
    }

    fn start_waiting(&mut self, shared: &Shared) {
        while self.probes.len() < shared.options.max_probes.get() {
            let Some(mut job) = self.waiting.pop_front() else { return };
            job.started = now();
            let (monitor, position) = (Arc::clone(&job.monitor), job.position);
            let handle = self.probes.spawn(async move {
                match monitor.to_probe(position) {
                    Some((watched, kept)) => probe(watched, kept).await,
                    None => Ok(()),
                }
            });
            self.under_way.insert(handle.id(), job);
        }
    }

    /// A probe has ended, if only by a panic, which says nothing of the backend.
    fn finished(&mut self, finished: Finished) {
        let (id, result) = match finished {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let id = error.id();
                (id, Err(ProbeError::Local(std::io::Error::other(error))))
            }
        };
        let Some(job) = self.under_way.remove(&id) else { return };
        let now = now();
        match result {
            Err(error @ ProbeError::Local(_)) => self.complain(&error, now),
            result => job.monitor.probed(job.position, result.map_err(|error| error.to_string()), now),
        }
        if job.generation != self.generation {
            return;
        }
        if job.monitor.is_dirty() {
            self.settle(job.slot, now);
        }
        let Some(probe) =
            job.monitor.watched().get(job.position).and_then(|watched| watched.config.probe.as_ref())
        else {
            return;
        };
        let part = if job.first { 0.1 + 0.9 * self.random.f64() } else { self.tenth_less() };
        let next = later(job.started, probe.interval.mul_f64(part));
        self.plan_probe(next, probe.interval, now, job.slot, job.position);
    }

    /// Once in a while: what this machine is short of, it is short of for every backend.
    fn complain(&mut self, error: &ProbeError, now: Instant) {
        if self.complained.is_none_or(|last| now >= later(last, COMPLAINT_GAP)) {
            self.complained = Some(now);
            tracing::warn!(%error, "backends cannot be probed at present, and keep the health they have");
        }
    }

    fn tick(&mut self, slot: usize, planned: Instant, now: Instant) {
        let Some(state) = self.slots.get_mut(slot) else { return };
        if state.tick == Some(planned) {
            state.tick = None;
        }
        state.monitor.tick(now);
        match state.monitor.is_dirty() {
            true => self.settle(slot, now),
            false => self.plan_tick(slot),
        }
    }

    fn settle(&mut self, slot: usize, now: Instant) {
        let Some(state) = self.slots.get_mut(slot) else { return };
        if state.settle_planned {
            return;
        }
        if now < state.rest {
            state.settle_planned = true;
            let at = state.rest;
            self.plan(at, Work::Settle { slot });
            return;
        }
        let began = Instant::now();
        let changed = state.monitor.settle(now);
        state.rest = later(now, began.elapsed().saturating_mul(REST));
        self.plan_tick(slot);
        if changed {
            self.plan_save(now);
        }
    }

    fn plan_tick(&mut self, slot: usize) {
        let Some(state) = self.slots.get_mut(slot) else { return };
        let Some(next) = state.monitor.next_tick() else { return };
        if state.tick.is_none_or(|planned| next < planned) {
            state.tick = Some(next);
            self.plan(next, Work::Tick { slot });
        }
    }

    fn plan_save(&mut self, now: Instant) {
        if self.supervisor.shared.options.state_file.is_some() && !self.save_planned {
            self.save_planned = true;
            self.plan(later(now, SAVE_DELAY), Work::Save);
        }
    }

    fn save(&mut self) {
        self.save_planned = false;
        let Some(file) = self.supervisor.shared.options.state_file.clone() else { return };
        if !self.saving.is_empty() {
            return self.plan_save(now());
        }
        let state = SavedState::of(&self.supervisor.monitors(), &Clock::read());
        self.saving.spawn_blocking(move || state.write(&file));
    }

    fn saved(&mut self, saved: Result<Result<(), StateError>, JoinError>) {
        let error = match saved {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error
            && !self.unsaved
        {
            tracing::error!(error, "the state file cannot be written; health will not survive a restart");
        }
        self.unsaved = error.is_some();
    }

    /// A little before its time, where others are then due too.
    fn plan_probe(&mut self, at: Instant, interval: Duration, now: Instant, slot: usize, position: usize) {
        let grain = TOGETHER.min(interval / 64).as_nanos().max(1);
        let past = at.saturating_duration_since(self.began).as_nanos() % grain;
        let at = at.checked_sub(Duration::from_nanos(u64::try_from(past).unwrap_or_default())).unwrap_or(at);
        self.plan(at.max(now), Work::Probe { slot, position });
    }

    fn plan(&mut self, at: Instant, work: Work) {
        self.entries += 1;
        self.due.push(Reverse(Due { at, entry: self.entries, work }));
    }

    fn tenth_less(&mut self) -> f64 {
        0.9 + 0.1 * self.random.f64()
    }
}

/// By the runtime's clock, which tests may hold still.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
