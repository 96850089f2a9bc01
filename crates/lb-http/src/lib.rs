//! The forwarding engine: accept, parse, route, pick, forward, relay, record.
//!
//! Start reading in `exchange.rs`, where a request's life stands in one screen; `worker.rs` and `serve.rs` are
//! what happens before it, `forward.rs` and `body.rs` what it calls.

mod body;
mod client;
pub mod config;
pub mod control;
mod exchange;
mod fields;
mod forward;
mod forwarded;
mod gateway;
mod io;
mod listen;
mod pool;
mod reject;
mod request;
mod request_id;
mod resolve;
mod serve;
mod snapshot;
mod ticket;
mod upstream;
mod watch;
mod worker;

pub use gateway::{Attachments, Gateway, GatewayView, LocalPages, StartError, UpstreamView, validate};
pub use listen::ListenError;
pub use snapshot::BuildError;
