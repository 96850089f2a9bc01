//! Which backends are eligible: thresholds, ejection, breakers, probes.
//!
//! A [`HealthMonitor`] watches the backends of one upstream and keeps its `lb_core::Balancer` up to date. Three things speak
//! for or against a backend, each by its own machine, each optional:
//!
//! * **Probes** ([`ProbeConfig`]): so many good or bad ones in a row make it healthy or unhealthy.
//! * **Its requests** ([`PassiveConfig`]): so many failures in a row eject it for a while, unless it is the last.
//! * **Its circuit breaker** ([`BreakerConfig`]): so many failures in a row cut it off, even if it is the last; after a while
//!   exactly so many trial calls decide.
//!
//! The machines are pure: time comes in with each call. Requests never wait for a lock while nothing is wrong. One
//! [`Supervisor`] probes, ends ejections in time, rebuilds balancers and keeps the state file.

mod attempt;
mod clock;
mod config;
mod event;
mod expect;
mod machine;
mod monitor;
mod probe;
mod saved;
mod supervisor;
mod view;
mod vitals;
pub mod whole;

pub use self::attempt::Attempt;
pub use self::clock::Clock;
pub use self::config::{
    BreakerConfig, HealthConfig, HealthConfigError, PassiveConfig, ProbeConfig, ProbeKind, UpstreamOptions,
};
pub use self::event::{Change, EventSink, FailureKind, HealthEvent};
pub use self::expect::{StatusSet, StatusSetError};
pub use self::machine::breaker::Circuit;
pub use self::monitor::HealthMonitor;
pub use self::probe::{
    Addresses, ProbeProtocol, ProbeStream, ProbeTarget, Secure, Securing, Watched, is_local,
};
pub use self::saved::{SavedState, StateError};
pub use self::supervisor::{Supervisor, SupervisorOptions};
pub use self::view::{HealthState, HealthView};

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
