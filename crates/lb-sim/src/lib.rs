//! How well strategies balance: a discrete-event simulator that drives `lb-core` itself, not a copy of it. Time is virtual and
//! chance is seeded, so a run depends on nothing but its scenario and seed, and a busy machine changes no figure.
//!
//! A [`Scenario`] says what the servers are, how requests come and which strategy chooses; [`run`] plays it and tells of each
//! [`Answer`]. [`theory`] holds the simulator to queueing theory, and is to be looked at before any other figure is believed;
//! [`published`] has the situations whose results others have published.
//!
//! ```
//! use std::time::Duration;
//! use lb_core::StrategyConfig;
//! use lb_sim::{Latencies, Load, Scenario, Server, Time};
//!
//! let fast = Server::delay(Time::exponential(Duration::from_millis(1)));
//! let slow = Server::delay(Time::exponential(Duration::from_millis(20)));
//! let p99 = |strategy| {
//!     let servers = vec![fast.clone(), fast.clone(), fast.clone(), slow.clone()];
//!     let load = Load::Open { per_second: 1_000.0 };
//!     let scenario = Scenario::new(StrategyConfig::named(strategy), servers, load);
//!     Latencies::of(&scenario, 42).map(|latencies| latencies.percentile(99.0))
//! };
//! assert!(p99("peak_ewma")? < p99("round_robin")? / 4);
//! # Ok::<(), lb_sim::SimulationError>(())
//! ```

mod answers;
mod interval;
pub mod published;
mod replicate;
mod run;
mod scenario;
mod server;
pub mod theory;
mod time;
mod two_choices;

pub use answers::Latencies;
pub use interval::Interval;
pub use replicate::replicate;
pub use run::{Answer, SimulationError, run};
pub use scenario::{Load, Scenario, Server, Service, Spare};
pub use time::Time;
pub use two_choices::TWO_CHOICES;

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
