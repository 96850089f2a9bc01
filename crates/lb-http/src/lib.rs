//! The forwarding engine: accept, parse, route, pick, forward, relay, record.
//!
//! Start reading in `exchange.rs`, where a request's life stands in one screen; `worker.rs` and `serve.rs` are
//! what happens before it, `forward.rs`, `attempt.rs` and `relay.rs` what it calls.

mod admission;
mod answer;
mod attempt;
mod background;
mod body;
mod budget;
mod choice;
mod client;
pub mod config;
pub mod control;
mod conversation;
mod decisions;
mod descriptors;
mod exchange;
mod explain;
mod fields;
mod forward;
mod forward_proxy;
mod forwarded;
mod gateway;
mod grpc;
mod handshake;
mod hedge;
mod http2;
mod http3;
mod inherit;
mod limiter;
mod listen;
mod listeners;
mod mirror;
mod multiplex;
mod pace;
mod plan;
mod pool;
mod proxy_protocol;
mod queue;
mod reject;
mod relay;
mod reload;
mod request_id;
mod resolve;
mod rollback;
mod send;
mod serve;
mod slots;
mod snapshot;
mod socket;
mod splice;
mod split;
mod target;
mod tcp;
mod ticket;
mod tls;
mod transport;
mod tunnel;
mod upload;
mod upstream;
mod watch;
mod worker;

pub use background::{in_background, in_background_since};
pub use explain::{
    Arrival, Candidate, CheckAnswer, ClientAnswer, ConnectionExplained, Explained, Explanation, Forwarded,
    ListenerAnswer, NameAnswer, PolicyAnswer, ProxiedExplained, Question, RuleAnswer, UpstreamAnswer,
    explain,
};
pub use gateway::{
    Attachments, BackendChange, BackendView, Gateway, GatewayView, LocalPages, StartError, Tally,
    UpstreamView, validate,
};
pub use inherit::{Inherited, InheritedKeys, InheritedPackets, InheritedRollback, InheritedSocket};
pub use listen::ListenError;
pub use mirror::MirrorAnswer;
pub use plan::{Changes, Plan, Restart, UpstreamChange};
pub use reload::Reloader;
pub use rollback::Rollback;
pub use snapshot::BuildError;
pub use split::{ArmAnswer, SplitAnswer};
pub use tls::TlsSetupError;
