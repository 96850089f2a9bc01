//! What happened, told once and kept cheaply: the exchange record and its recorders.
//!
//! The data path hands every finished [`Exchange`] to each [`Recorder`], exactly once. Three stand here:
//! [`Figures`] adds it to the counters and histograms of its rule and backend, [`AccessLog`] writes one JSON
//! line about it, [`RecentErrors`] keeps it for a while if it failed. [`DecisionLog`] keeps what was decided on its way. None looks anything up by label: the handles ([`RuleStats`], [`BackendStats`]) are taken
//! from the [`Registry`] when a configuration is put in force, and travel with it.
//!
//! Reading is the other side: [`prometheus::render`] and [`json::report`] merge the workers' shards, with the
//! [`live`] state that no counter holds, into the two forms of `/metrics`.
//!
//! Cost on the hot path: one relaxed atomic add a figure into the worker's own cache lines; no lock, no
//! allocation after a histogram's first sample in a range, no clock read.
//!
//! ```
//! use lb_observe::{Exchange, Figures, Recorder, Registry};
//! use std::time::Duration;
//!
//! let registry = Registry::default();
//! let rule = registry.rule("api", 2);
//! let figures = Figures::new(&registry, 2);
//! figures.record(&Exchange {
//!     rule: Some(&rule),
//!     duration: Duration::from_millis(3),
//!     ..Exchange::new(1)
//! });
//! assert_eq!(rule.totals().requests.total(), 1);
//! ```

pub mod access_log;
mod balance;
pub mod control;
pub mod decision;
mod exchange;
mod figures;
pub mod histogram;
pub mod json;
pub mod json_text;
pub mod live;
pub mod prometheus;
mod rate;
mod recent;
mod registry;
mod shards;
mod source;
pub mod stats;
pub mod trace;
pub mod write_behind;

pub use access_log::{AccessLog, AccessLogConfig};
pub use balance::Balance;
pub use decision::{Decision, DecisionLog, Trail};
pub use exchange::{Exchange, Protocol, Recorder};
pub use figures::{Figures, NO_RULE};
pub use histogram::Histogram;
pub use recent::{RecentError, RecentErrors};
pub use registry::Registry;
pub use shards::Shards;
pub use source::SourceState;
pub use stats::{
    BackendStats, ConnectionFailure, FailureKind, HandshakeFailure, ListenerStats, MirrorStats, PolicyStats,
    PreambleFailure, RuleStats, SplitStats, TlsTotals, UpstreamStats,
};
pub use trace::Trace;
