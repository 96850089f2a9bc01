//! What figures read before: the ends of the last two steps for all that is counted, and ten minutes of every upstream.
//!
//! A step costs a reading of all figures, whether or not anybody looks: about a millisecond for a thousand backends every
//! five seconds. Latencies of single backends and rules are remembered only while somebody looks at them, save for the
//! first few hundred, so that where there are no more, a page has them when it opens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_observe::histogram::Summary;

use super::frame::{self, Frame};
use super::history::History;
use super::window::{Counts, Percentiles, Rates, Reading, Window};

/// From one point of a history to the next.
pub const STEP: Duration = Duration::from_secs(5);
/// Upstreams of which a history is kept, by place; the others show what is now.
pub(super) const MAX_UPSTREAMS: usize = 1000;
/// Backends, and rules, whose latencies are remembered whether or not anybody looks.
const ALWAYS_WATCHED: usize = 256;
/// How long latencies are remembered of what nobody looks at any more.
const UNWATCHED: Duration = Duration::from_secs(15);

/// Everything that is remembered.
#[derive(Default)]
pub(super) struct Memory {
    /// The number of the last step; the first is 1.
    step: u64,
    totals: Option<Aggregate>,
    upstreams: HashMap<String, Aggregate>,
    tracked: HashMap<usize, Tracked>,
}

/// An upstream, or the whole.
struct Aggregate {
    window: Window<Reading>,
    history: History,
    step: u64,
}

/// One backend or rule.
struct Tracked {
    counts: Window<Counts>,
    latency: Option<Watched>,
    step: u64,
}

/// Latencies of what somebody looks at.
struct Watched {
    window: Window<Summary>,
    /// What was told last, for whoever looks at the same moment.
    told: (Instant, Percentiles),
}

impl Memory {
    /// A step ends with this frame.
    pub(super) fn step(&mut self, frame: &Frame) {
        self.step += 1;
        let step = self.step;
        let totals = self.totals.get_or_insert_with(|| Aggregate::new(frame.made, &frame.totals));
        totals.roll(step, frame.made, &frame.totals, frame.active());
        for (upstream, (reading, _)) in frame.view.upstreams.iter().zip(&frame.upstreams).take(MAX_UPSTREAMS)
        {
            if !self.upstreams.contains_key(&upstream.name) {
                self.upstreams.insert(upstream.name.clone(), Aggregate::new(frame.made, reading));
            }
            if let Some(aggregate) = self.upstreams.get_mut(&upstream.name) {
                aggregate.roll(step, frame.made, reading, frame::active(upstream));
            }
        }
        self.upstreams.retain(|_, upstream| upstream.step == step);
        let of_upstreams = frame.view.upstreams.iter().zip(&frame.upstreams);
        let backends = of_upstreams.flat_map(|(upstream, (_, counts))| upstream.backends.iter().zip(counts));
        for (index, (backend, counts)) in backends.enumerate() {
            let stats = &backend.stats;
            let latency = (index < ALWAYS_WATCHED).then(|| summary(|latency| stats.add_latency(latency)));
            self.track(key(stats), frame.made, *counts, latency);
        }
        for (index, (stats, counts)) in frame.rules.iter().flatten().enumerate() {
            let latency = (index < ALWAYS_WATCHED).then(|| summary(|latency| stats.add_duration(latency)));
            self.track(key(stats), frame.made, *counts, latency);
        }
        self.tracked.retain(|_, tracked| tracked.step == step);
    }

    fn track(&mut self, key: usize, now: Instant, counts: Counts, latency: Option<Summary>) {
        let tracked = self.tracked.entry(key).or_insert_with(|| Tracked::new(now, counts));
        if tracked.counts.step_began() < now {
            tracked.counts.roll(now, counts);
        }
        tracked.step = self.step;
        match (&mut tracked.latency, latency) {
            (Some(watched), Some(latency)) => watched.roll(now, latency),
            (none @ None, Some(latency)) => *none = Some(Watched::new(now, latency)),
            (watched, None) => {
                watched.take_if(|watched| now.saturating_duration_since(watched.told.0) > UNWATCHED);
            }
        }
    }

    /// Requests a second of late, and the share that failed.
    pub(super) fn rates<T>(&self, stats: &Arc<T>, now: Instant, counts: Counts) -> Rates {
        let tracked = self.tracked.get(&key(stats));
        tracked.map_or_else(Rates::default, |tracked| {
            let (then, before) = tracked.counts.start();
            Rates::between((then, *before), (now, counts))
        })
    }

    /// Percentiles of late; none at the first look, which begins to remember.
    pub(super) fn latency<T>(
        &mut self,
        stats: &Arc<T>,
        now: Instant,
        read: impl FnOnce(&mut Summary),
    ) -> Percentiles {
        let Some(tracked) = self.tracked.get_mut(&key(stats)) else { return Percentiles::default() };
        if let Some(watched) = &tracked.latency
            && watched.told.0 == now
        {
            return watched.told.1;
        }
        let latency = summary(read);
        let watched = tracked.latency.get_or_insert_with(|| Watched::new(now, latency.clone()));
        watched.told = (now, Percentiles::of(&latency.since(watched.window.start().1)));
        watched.roll(now, latency);
        watched.told.1
    }

    /// The whole of late.
    pub(super) fn totals(&self, frame: &Frame) -> (Rates, Percentiles) {
        self.totals.as_ref().map_or_else(Default::default, |totals| totals.now(frame.made, &frame.totals))
    }

    /// One upstream of late.
    pub(super) fn upstream(&self, name: &str, now: Instant, reading: &Reading) -> (Rates, Percentiles) {
        self.upstreams.get(name).map_or_else(Default::default, |upstream| upstream.now(now, reading))
    }

    /// The whole's history.
    pub(super) fn history(&self) -> Option<&History> {
        self.totals.as_ref().map(|totals| &totals.history)
    }

    /// An upstream's history.
    pub(super) fn history_of(&self, upstream: &str) -> Option<&History> {
        self.upstreams.get(upstream).map(|upstream| &upstream.history)
    }

    /// The number of the last step.
    pub(super) fn last_step(&self) -> u64 {
        self.step
    }
}

impl Aggregate {
    fn new(now: Instant, reading: &Reading) -> Self {
        Self { window: Window::new(now, reading.clone()), history: History::default(), step: 0 }
    }

    fn roll(&mut self, step: u64, now: Instant, reading: &Reading, active: u64) {
        self.step = step;
        let (began, before) = self.window.step_start();
        if began < now {
            let (rates, latency) = between(began, before, now, reading);
            self.history.push(step, rates, latency, active);
            self.window.roll(now, reading.clone());
        }
    }

    fn now(&self, now: Instant, reading: &Reading) -> (Rates, Percentiles) {
        let (then, before) = self.window.start();
        between(then, before, now, reading)
    }
}

impl Watched {
    fn new(now: Instant, latency: Summary) -> Self {
        Self { window: Window::new(now, latency), told: (now, Percentiles::default()) }
    }

    /// Ends the step under way, once it is long enough; timers are a little early at times.
    fn roll(&mut self, now: Instant, latency: Summary) {
        if now.saturating_duration_since(self.window.step_began()) >= STEP.mul_f64(0.9) {
            self.window.roll(now, latency);
        }
    }
}

impl Tracked {
    fn new(now: Instant, counts: Counts) -> Self {
        Self { counts: Window::new(now, counts), latency: None, step: 0 }
    }
}

fn between(then: Instant, before: &Reading, now: Instant, reading: &Reading) -> (Rates, Percentiles) {
    let rates = Rates::between((then, before.counts), (now, reading.counts));
    (rates, Percentiles::of(&reading.latency.since(&before.latency)))
}

fn summary(read: impl FnOnce(&mut Summary)) -> Summary {
    let mut summary = Summary::default();
    read(&mut summary);
    summary
}

/// What figures are told apart by: where they are. Those that are gone are forgotten with the next step.
fn key<T>(stats: &Arc<T>) -> usize {
    Arc::as_ptr(stats).addr()
}
