//! Backends and a strategy, put together: applies eligibility, priority groups, limits and what was tried, so that a strategy
//! is only the choice.
//!
//! Cost of [`Balancer::acquire`]: one load of the current selection (no shared write), one pick, one atomic on the chosen
//! backend's line and a reference count. Where the choice is full or tried, up to three more picks, and then one pass over
//! the set: O(1) while there is room, O(n) only where nearly everything is full. Nothing is allocated. Rebuilding costs what
//! the strategy's own build does, on the caller's thread, while picks go on with the old selection.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::Backend;
use crate::config::StrategyConfig;
use crate::context::PickContext;
use crate::eligibility::{BalancerOptions, Eligibility};
use crate::key::KeySource;
use crate::lease::Lease;
use crate::number::modulo;
use crate::selection::Selection;
use crate::strategy::{self, Options, StrategyError, StrategyInfo};
use crate::swap::Swap;
use crate::turn::Turn;

/// How often a strategy is asked again before the balancer looks for room itself: a rotation passes the turn on, a keyed
/// strategy names its next choice, and both keep their shares that way.
const MORE_PICKS: u32 = 3;

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// No backend is healthy, undrained and of a weight above 0. Waiting does not help.
    #[error("no backend is eligible")]
    NoneEligible,
    /// Every eligible backend that was not tried is at its limit. Waiting for a place may help.
    #[error("every eligible backend is at its limit")]
    AllFull,
    /// Every eligible backend was tried by this request already.
    #[error("every eligible backend was tried")]
    AllTried,
}

/// Chooses among backends by a strategy and hands out leases.
///
/// ```
/// use std::{sync::Arc, time::Instant};
/// use lb_core::{Backend, BackendOptions, Balancer, PickContext, StrategyConfig};
/// let backends = ["a", "b"].map(|name| Arc::new(Backend::new(BackendOptions::named(name))));
/// let balancer = Balancer::new(StrategyConfig::named("round_robin"), backends.into())?;
/// let lease = balancer.acquire(&PickContext::new(Instant::now()))?;
/// assert_eq!((lease.backend().name(), lease.backend().active()), ("a", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Balancer {
    info: &'static StrategyInfo,
    config: StrategyConfig,
    options: Options,
    configured: Box<[Arc<Backend>]>,
    /// What picks are made from, and what says who is in it.
    selection: Swap<Selection, Eligibility>,
    /// Order of rotations; outlives every selection.
    turn: Arc<Turn>,
    /// Where the next search for room begins.
    search: Turn,
}

impl Balancer {
    /// A balancer over `backends`, whose order is the configured one. An empty list is allowed and never eligible.
    ///
    /// # Errors
    /// An unknown strategy, or an option it does not take.
    pub fn new(config: StrategyConfig, backends: Vec<Arc<Backend>>) -> Result<Self, StrategyError> {
        Self::with_options(config, backends, BalancerOptions::default())
    }

    /// The same with slow start, a panic threshold or a subset.
    ///
    /// # Errors
    /// An unknown strategy, or an option it does not take.
    pub fn with_options(
        config: StrategyConfig,
        backends: Vec<Arc<Backend>>,
        options: BalancerOptions,
    ) -> Result<Self, StrategyError> {
        Self::with_row(strategy::find(&config.name)?, config, backends, options)
    }

    /// The same with a row of the caller's own, that need not be in [`strategy::ALL`].
    ///
    /// # Errors
    /// An option that the row does not take.
    pub fn with_row(
        info: &'static StrategyInfo,
        config: StrategyConfig,
        backends: Vec<Arc<Backend>>,
        options: BalancerOptions,
    ) -> Result<Self, StrategyError> {
        let eligibility = Eligibility::new(options, backends.len());
        Self::build(info, config, backends, eligibility, Arc::default(), None)
    }

    /// The balancer after a reload: another strategy, other backends, other options. The order of rotations goes on, and so does
    /// everything that is kept with the backends that are in both; those that are new start slowly, where slow start is asked
    /// for. This balancer and its leases stay valid.
    ///
    /// # Errors
    /// An unknown strategy, or an option it does not take.
    pub fn reconfigured(
        &self,
        config: StrategyConfig,
        backends: Vec<Arc<Backend>>,
        options: BalancerOptions,
        now: Instant,
    ) -> Result<Self, StrategyError> {
        let info = strategy::find(&config.name)?;
        let eligibility = self.selection.state().after(options, &self.configured, &backends, now);
        Self::build(info, config, backends, eligibility, Arc::clone(&self.turn), Some(now))
    }

    fn build(
        info: &'static StrategyInfo,
        config: StrategyConfig,
        backends: Vec<Arc<Backend>>,
        mut eligibility: Eligibility,
        turn: Arc<Turn>,
        now: Option<Instant>,
    ) -> Result<Self, StrategyError> {
        let options = Options::parse(info, &config)?;
        let configured = backends.into_boxed_slice();
        let (set, _) = eligibility.select(&configured, now.unwrap_or_else(Instant::now));
        let selection = Swap::new(Selection::build(info, &options, &turn, set), eligibility);
        Ok(Self { info, config, options, configured, selection, turn, search: Turn::default() })
    }

    /// Takes a place at the backend the strategy chooses, or at another where that one is full or tried.
    ///
    /// # Errors
    /// There is no place, and why.
    pub fn acquire(&self, request: &PickContext<'_>) -> Result<Lease, AcquireError> {
        let selection = self.selection.current().load();
        for more in 0..=MORE_PICKS {
            let request = PickContext { attempt: request.attempt.wrapping_add(more), ..*request };
            let Some(index) = selection.strategy.pick(&selection.set, &request) else { break };
            if let Ok(lease) = take(&selection, index, &request) {
                return Ok(lease);
            }
        }
        self.find_room(&selection, request)
    }

    /// Makes the selection anew from the backends' present state. The owner calls it after changing health, weight, draining
    /// or priority; where nothing changed, nothing is swapped. Tells when to call it again though nothing changes: while a
    /// backend starts slowly.
    pub fn rebuild(&self) -> Option<Instant> {
        self.rebuild_at(Instant::now())
    }

    /// The same for callers with a clock of their own.
    pub fn rebuild_at(&self, now: Instant) -> Option<Instant> {
        self.selection.change(|eligibility, current| {
            let (set, again) = eligibility.select(&self.configured, now);
            let changed = !set.same(&current.set);
            (changed.then(|| Selection::build(self.info, &self.options, &self.turn, set)), again)
        })
    }

    /// What it does beside its strategy.
    pub fn options(&self) -> BalancerOptions {
        self.selection.state().options()
    }

    /// The strategy's row.
    pub fn strategy(&self) -> &'static StrategyInfo {
        self.info
    }

    /// The strategy and its options as they were asked for.
    pub fn config(&self) -> &StrategyConfig {
        &self.config
    }

    /// Where the key of a request comes from, for the strategies that use one.
    pub fn key_source(&self) -> &KeySource {
        self.options.key()
    }

    /// Every backend in the configured order, eligible or not.
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.configured
    }

    /// How many backends the current selection chooses among.
    pub fn eligible(&self) -> usize {
        self.selection.current().load().set.len()
    }

    /// Whether the current selection has the backend at this position among all that are configured.
    pub fn selects(&self, position: usize) -> bool {
        let selection = self.selection.current().load();
        (0..selection.set.len()).any(|index| selection.set.position(index) == Some(position))
    }

    /// Looks at every eligible backend once, each request from another place and in far steps, so that what overflows from
    /// one backend does not all fall on its neighbour. Keyed requests begin at a place of their key, and so stay together.
    #[cold]
    fn find_room(
        &self,
        selection: &Arc<Selection>,
        request: &PickContext<'_>,
    ) -> Result<Lease, AcquireError> {
        let set = &selection.set;
        let start = if self.info.keyed { request.hash() >> 1 } else { self.search.next() };
        let start = modulo(start, set.len()) as u64;
        let mut reason = AcquireError::NoneEligible;
        for visit in 0..set.len() as u64 {
            let index = modulo(start + visit.wrapping_mul(set.step()), set.len());
            match take(selection, index, request) {
                Ok(lease) => return Ok(lease),
                Err(AcquireError::AllFull) => reason = AcquireError::AllFull,
                Err(_) if reason == AcquireError::NoneEligible => reason = AcquireError::AllTried,
                Err(_) => {}
            }
        }
        Err(reason)
    }
}

/// A lease on this member, or whether it was tried or is full. An index outside the set is taken as tried: only a faulty
/// strategy gives one, and the search then goes on without it.
fn take(selection: &Arc<Selection>, index: usize, request: &PickContext<'_>) -> Result<Lease, AcquireError> {
    match selection.set.position(index) {
        Some(position) if !request.tried.contains(&position) => {
            Lease::take(selection, index, request.now).ok_or(AcquireError::AllFull)
        }
        _ => Err(AcquireError::AllTried),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::backend::BackendOptions;

    #[test]
    fn a_place_is_given_back_once_however_the_request_ends() {
        for strategy in ["round_robin", "least_connections"] {
            let backend = Arc::new(Backend::new(BackendOptions::named("a")));
            let balancer =
                Balancer::new(StrategyConfig::named(strategy), vec![Arc::clone(&backend)]).unwrap();
            let take = || balancer.acquire(&PickContext::new(Instant::now())).unwrap();
            let mirrored = || backend.cell().count().load(Relaxed);
            let lease = take();
            lease.failed();
            assert_eq!((backend.active(), backend.failed()), (1, 1));
            assert_eq!(mirrored(), u32::from(strategy == "least_connections"));
            drop(lease);
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _lease = take();
                panic!("a handler went wrong");
            }));
            assert!(panicked.is_err());
            assert_eq!((backend.active(), mirrored(), backend.total()), (0, 0, 2));
        }
    }
}
