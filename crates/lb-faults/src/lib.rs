//! What becomes of requests while backends fail: a gateway as a process, backends as processes that are killed, frozen,
//! slowed and made to misbehave, a load that keeps to its schedule whatever the answers do, and an account at the end
//! in which every request is found again.
//!
//! One harness for two users: the end-to-end tests run each scenario short and hold it to what must be exact,
//! `cargo xtask bench faults` runs it long and measures what takes time.
//!
//! - [`scenario::ALL`] has the scenarios, one row each.
//! - A request carries a number. Backends write down what they receive before they do anything with it, in files that
//!   outlive their being killed, so that the two sides can be held against each other.
//! - The load is an open loop: when a request is due depends on nothing but the schedule.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is how a harness for tests reports"
)]

pub mod backend;
mod behaviour;
mod conduct;
mod fleet;
mod ledger;
mod load;
mod message;
mod record;
mod report;
pub mod scenario;
mod stage;
mod time;

pub use behaviour::Behaviour;
pub use fleet::BackendCommand;
pub use report::{Goal, Report};
pub use scenario::{Scale, Scenario};
