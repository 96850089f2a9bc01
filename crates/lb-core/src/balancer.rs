//! Backends and a strategy, put together: applies eligibility, priority groups, limits and what was tried, so that a strategy
//! is only the choice.
//!
//! Cost of [`Balancer::acquire`]: one load of the current selection (no shared write), one pick, one atomic on the chosen
//! backend's line and a reference count. Where the choice is full or tried, up to three more picks, and then one pass over
//! the set: O(1) while there is room, O(n) only where nearly everything is full. Nothing is allocated. Rebuilding costs what
//! the strategy's own build does, on the caller's thread, while picks go on with the old selection.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::backend::Backend;
use crate::config::StrategyConfig;
use crate::context::PickContext;
use crate::key::KeySource;
use crate::lease::Lease;
use crate::number::modulo;
use crate::selection::Selection;
use crate::set::BackendSet;
use crate::strategy::{self, Options, StrategyError, StrategyInfo};
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
    selection: ArcSwap<Selection>,
    /// Order of rotations; outlives every selection.
    turn: Arc<Turn>,
    /// Where the next search for room begins.
    search: Turn,
    /// Held while rebuilding, so that of two rebuilds the later one sees the later state.
    rebuilding: Mutex<()>,
}

impl Balancer {
    /// A balancer over `backends`, whose order is the configured one. An empty list is allowed and never eligible.
    ///
    /// # Errors
    /// An unknown strategy, or an option it does not take.
    pub fn new(config: StrategyConfig, backends: Vec<Arc<Backend>>) -> Result<Self, StrategyError> {
        let info = strategy::find(&config.name)?;
        Self::with_row(info, config, backends)
    }

    /// The same with a row of the caller's own, that need not be in [`strategy::ALL`].
    ///
    /// # Errors
    /// An option that the row does not take.
    pub fn with_row(
        info: &'static StrategyInfo,
        config: StrategyConfig,
        backends: Vec<Arc<Backend>>,
    ) -> Result<Self, StrategyError> {
        let options = Options::parse(info, &config)?;
        let turn = Arc::new(Turn::default());
        let configured = backends.into_boxed_slice();
        let selection = Selection::build(info, &options, &turn, eligible(&configured));
        Ok(Self {
            info,
            config,
            options,
            configured,
            selection: ArcSwap::from_pointee(selection),
            turn,
            search: Turn::default(),
            rebuilding: Mutex::new(()),
        })
    }

    /// Takes a place at the backend the strategy chooses, or at another where that one is full or tried.
    ///
    /// # Errors
    /// There is no place, and why.
    pub fn acquire(&self, request: &PickContext<'_>) -> Result<Lease, AcquireError> {
        let selection = self.selection.load();
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
    /// or priority; where nothing changed, nothing is swapped.
    pub fn rebuild(&self) {
        let _one_at_a_time = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let set = eligible(&self.configured);
        if !set.same(&self.selection.load().set) {
            self.selection.store(Arc::new(Selection::build(self.info, &self.options, &self.turn, set)));
        }
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
        self.selection.load().set.len()
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

/// The members of the first priority group that has an eligible one.
fn eligible(configured: &[Arc<Backend>]) -> BackendSet {
    let group =
        configured.iter().filter(|backend| backend.is_eligible()).map(|backend| backend.priority()).min();
    BackendSet::of(configured, |backend| backend.is_eligible() && Some(backend.priority()) == group)
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
