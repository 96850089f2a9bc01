//! One backend: its settings, its state and its counters. Shared by `Arc`, so that all of it survives a reload that keeps the
//! backend.
//!
//! Cost: what every request writes lies on one cache line a backend, what every request reads on another, so picking costs
//! two lines whichever backends the other threads are busy with.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::board::Cell;
use crate::latency::{self, Averaging, Estimator};
use crate::lease::Outcome;
use crate::moment::{self, Moment};
use crate::places::Places;
use crate::weight::Weight;

/// What a backend is configured with.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendOptions {
    /// The URL or address as configured: the backend's identity in its upstream, and what keyed strategies hash.
    pub name: String,
    /// Its share of the traffic; 0 means no new requests.
    pub weight: Weight,
    /// Requests in flight at most, over the whole process; `None` is no limit.
    pub max_connections: Option<NonZeroU32>,
    /// 0 is primary, 1 backup; a group is used only while no group of a lower number has an eligible backend.
    pub priority: u8,
}

impl BackendOptions {
    /// Weight 1, no limit, primary.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), weight: Weight::ONE, max_connections: None, priority: 0 }
    }
}

/// One backend, its settings, state and counters. Readers never wait; every figure is exact, though figures read one after
/// the other may be of different moments.
///
/// A change of weight, health, draining or priority takes effect with the owner's next
/// [`Balancer::rebuild`](crate::Balancer::rebuild), a change of `max_connections` at once.
///
/// ```
/// use lb_core::{Backend, BackendOptions, Weight};
/// let backend = Backend::new(BackendOptions { weight: Weight::from(3), ..BackendOptions::named("http://10.0.0.1:8080") });
/// backend.set_draining(true);
/// assert!(!backend.is_eligible());
/// ```
#[derive(Debug)]
pub struct Backend {
    name: Box<str>,
    settings: CachePadded<Settings>,
    counters: CachePadded<Counters>,
    estimator: CachePadded<Estimator>,
    cell: Cell,
}

/// How long a latency is remembered where no strategy says otherwise.
const DECAY: Duration = Duration::from_secs(10);

/// Read by every request, written by the control side.
#[derive(Debug)]
struct Settings {
    weight: AtomicU64,
    /// 0 is no limit.
    max_connections: AtomicU32,
    priority: AtomicU8,
    healthy: AtomicBool,
    draining: AtomicBool,
}

/// Written by every request. `Relaxed` throughout: each is a figure of its own that orders nothing else, and a single
/// atomic's modifications are totally ordered even so.
#[derive(Debug)]
struct Counters {
    places: Places,
    total: AtomicU64,
    failed: AtomicU64,
    last_request: AtomicU64,
}

impl Backend {
    /// A healthy backend that has served nothing yet.
    pub fn new(options: BackendOptions) -> Self {
        moment::start();
        let backend = Self {
            name: options.name.into(),
            settings: CachePadded::new(Settings {
                weight: AtomicU64::new(options.weight.to_bits()),
                max_connections: AtomicU32::new(0),
                priority: AtomicU8::new(options.priority),
                healthy: AtomicBool::new(true),
                draining: AtomicBool::new(false),
            }),
            counters: CachePadded::new(Counters {
                places: Places::new(),
                total: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                last_request: AtomicU64::new(moment::NEVER),
            }),
            estimator: CachePadded::new(Estimator::new(DECAY)),
            cell: Cell::claim(latency::NO_SAMPLE.to_bits()),
        };
        backend.set_max_connections(options.max_connections);
        backend
    }

    /// The URL or address as configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its share of the traffic, as last set.
    pub fn weight(&self) -> Weight {
        Weight::from_bits(self.settings.weight.load(Relaxed))
    }

    /// Changes its share of the traffic.
    pub fn set_weight(&self, weight: Weight) {
        self.settings.weight.store(weight.to_bits(), Relaxed);
    }

    /// Requests in flight at most; `None` is no limit.
    pub fn max_connections(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.settings.max_connections.load(Relaxed))
    }

    /// Changes the limit. Requests above a lowered one stay, new ones wait until there is room again.
    pub fn set_max_connections(&self, limit: Option<NonZeroU32>) {
        self.settings.max_connections.store(limit.map_or(0, NonZeroU32::get), Relaxed);
    }

    /// Its group: 0 primary, 1 backup.
    pub fn priority(&self) -> u8 {
        self.settings.priority.load(Relaxed)
    }

    /// Moves it to another group.
    pub fn set_priority(&self, priority: u8) {
        self.settings.priority.store(priority, Relaxed);
    }

    /// Whether whoever watches its health thinks well of it; true at first.
    pub fn is_healthy(&self) -> bool {
        self.settings.healthy.load(Relaxed)
    }

    /// Tells what was found of its health.
    pub fn set_healthy(&self, healthy: bool) {
        self.settings.healthy.store(healthy, Relaxed);
    }

    /// Whether it finishes what it has and takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.settings.draining.load(Relaxed)
    }

    /// Whether it is offered new requests, where it is healthy: it does not drain, and has a weight.
    pub fn takes_new(&self) -> bool {
        !self.is_draining() && !self.weight().is_zero()
    }

    /// Starts or ends draining.
    pub fn set_draining(&self, draining: bool) {
        self.settings.draining.store(draining, Relaxed);
    }

    /// Whether it may be offered new requests: healthy, not draining, of a weight above 0. The limit is not part of it.
    pub fn is_eligible(&self) -> bool {
        self.is_healthy() && self.takes_new()
    }

    /// Requests in flight: leases out.
    pub fn active(&self) -> u32 {
        self.counters.places.taken()
    }

    /// Requests ever given to it, over all attempts.
    pub fn total(&self) -> u64 {
        self.counters.total.load(Relaxed)
    }

    /// Those of them that failed.
    pub fn failed(&self) -> u64 {
        self.counters.failed.load(Relaxed)
    }

    /// When it was last given a request.
    pub fn last_request(&self) -> Option<Instant> {
        moment::instant(self.counters.last_request.load(Relaxed))
    }

    /// The same in milliseconds since 1970, by the wall clock as it stood when the process started.
    pub fn last_request_unix_ms(&self) -> Option<u64> {
        moment::unix_ms(self.counters.last_request.load(Relaxed))
    }

    /// What the strategies that [learn](Self::learn) take for its latency; it falls while no sample comes. `None` without one.
    pub fn latency(&self, now: impl Into<Moment>) -> Option<Duration> {
        let nanos = self.estimator.value(self.kept(), now.into().nanos())?;
        Duration::try_from_secs_f64(nanos / 1e9).ok()
    }

    /// Takes an outcome into the latency estimate: for strategies, from [`Strategy::learn`](crate::Strategy::learn). A failure
    /// counts as a second, as twice the estimate or as what it took, whichever is most; one without a latency still counts.
    pub fn learn(&self, outcome: &Outcome, averaging: Averaging, now: Moment) {
        let now = now.nanos();
        match (outcome.ok, outcome.latency) {
            (false, latency) => self.estimator.failure(self.cell.latency(), latency, now),
            (true, Some(latency)) => self.estimator.sample(self.cell.latency(), latency, averaging, now),
            (true, None) => {}
        }
    }

    /// Sets how long latencies are remembered (10 s at first); a change forgets what was learnt.
    pub fn set_decay(&self, decay: Duration) {
        self.estimator.set_decay(decay, self.cell.latency());
    }

    /// To be called when an idle backend was chosen: where its estimate is old, this request is a trial, and no other shall
    /// follow on the strength of that estimate before it is answered.
    pub(crate) fn begin_trial(&self, now: Moment) {
        self.estimator.forget_if_stale(self.cell.latency(), now.nanos());
    }

    /// When it was last given a request, in nanoseconds as `moment` counts them.
    pub(crate) fn last_request_nanos(&self) -> u64 {
        self.counters.last_request.load(Relaxed)
    }

    /// What the latency estimate keeps: input to [`Scale::score`](latency::Scale::score).
    pub(crate) fn kept(&self) -> f64 {
        self.cell.kept()
    }

    /// Requests in flight that were taken through balancers whose strategy asks for counts side by side.
    pub(crate) fn mirrored(&self) -> u32 {
        self.cell.count().load(Relaxed)
    }

    pub(crate) fn cell(&self) -> &Cell {
        &self.cell
    }

    /// Takes one of the `max_connections` places; false where none is free.
    pub(crate) fn reserve(&self, now: Moment) -> bool {
        if !self.counters.places.reserve(self.max_connections()) {
            return false;
        }
        self.counters.total.fetch_add(1, Relaxed);
        self.counters.last_request.store(now.nanos(), Relaxed);
        true
    }

    /// Gives a place back: only a lease calls it, once.
    pub(crate) fn release(&self) {
        self.counters.places.release();
    }

    pub(crate) fn count_failure(&self) {
        self.counters.failed.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eligible_means_healthy_and_not_draining_and_of_some_weight() {
        let backend = Backend::new(BackendOptions::named("a"));
        assert!(backend.is_eligible());
        backend.set_healthy(false);
        assert!(!backend.is_eligible());
        backend.set_healthy(true);
        backend.set_draining(true);
        assert!(!backend.is_eligible());
        backend.set_draining(false);
        backend.set_weight(Weight::ZERO);
        assert!(!backend.is_eligible());
        backend.set_weight(Weight::try_from(0.1).unwrap());
        assert!(backend.is_eligible());
    }

    #[test]
    fn the_limit_holds_and_may_change_under_way() {
        let backend = Backend::new(BackendOptions {
            max_connections: NonZeroU32::new(2),
            ..BackendOptions::named("a")
        });
        let now = Moment::from(Instant::now());
        assert!(backend.reserve(now) && backend.reserve(now) && !backend.reserve(now));
        backend.set_max_connections(NonZeroU32::new(1));
        backend.release();
        assert!(!backend.reserve(now));
        backend.set_max_connections(None);
        assert!(backend.reserve(now) && backend.reserve(now));
        assert_eq!((backend.active(), backend.total()), (3, 4));
    }

    #[test]
    fn it_remembers_when_it_was_last_asked() {
        let backend = Backend::new(BackendOptions::named("a"));
        assert_eq!(backend.last_request_unix_ms(), None);
        let now = Instant::now();
        assert!(backend.reserve(now.into()));
        assert_eq!(backend.last_request(), Some(now));
        assert!(backend.last_request_unix_ms().unwrap() > 1_500_000_000_000);
    }
}
