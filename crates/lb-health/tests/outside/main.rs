//! The crate from outside: real sockets, or a clock that stands still. One file an area.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is how a test reports, in its helpers too"
)]

mod common;
mod keeping;
mod log;
mod probes;
mod state;
mod supervisor;
