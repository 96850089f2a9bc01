//! Load balancing for anything that has backends: strategies, backend sets and in-flight leases, with no I/O, no clock and no
//! runtime.
//!
//! A [`Balancer`] holds the backends and a strategy, and hands out a [`Lease`] a request. Strategies see only eligible
//! backends and are only the choice; limits, health, draining, priorities and retries are the balancer's. Picking takes no lock
//! and allocates nothing; what changes is built aside and swapped in whole.
//!
//! There is no `unsafe` in it, and the compiler is told to allow none: what Miri looks for cannot be here. What threads may do to
//! each other in safe code, the models (`tests/model*.rs`, loom) try in every interleaving.

#![forbid(unsafe_code)]

mod backend;
mod balancer;
mod board;
mod config;
mod context;
mod eligibility;
pub mod key;
mod latency;
mod lease;
mod moment;
mod number;
mod places;
mod selection;
mod set;
pub mod strategy;
mod swap;
mod turn;
mod weight;

/// Where `places` and `swap` have from what threads meet at; their models have others.
mod sync {
    use std::sync::PoisonError;
    pub(crate) use std::sync::atomic::{AtomicU32, Ordering};
    pub(crate) use std::sync::{Mutex, MutexGuard};

    pub(crate) use arc_swap::ArcSwap as Current;

    /// What a panic left behind is whole: states are set one by one, and all of them by the next change.
    pub(crate) fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub use backend::{Backend, BackendOptions};
pub use balancer::{AcquireError, Balancer};
pub use config::{OptionValue, StrategyConfig};
pub use context::PickContext;
pub use eligibility::{BalancerOptions, Subset};
pub use key::{KeySource, KeySourceError};
pub use latency::Averaging;
pub use lease::{Lease, Outcome};
pub use moment::{Moment, epoch};
pub use set::BackendSet;
pub use strategy::{Strategy, StrategyError, StrategyInfo};
pub use turn::Turn;
pub use weight::{Weight, WeightError};

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
