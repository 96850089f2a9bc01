//! Who the backends of an upstream are at present, and when that changes.
//!
//! A [`Source`] follows one place where members are listed and tells its [`Feed`] each set of them. [`Discovery`] keeps a task
//! for each source that is configured. The last good answer stays while a source fails, every set has a bound, and what is
//! wrong is said once, when it begins.
//!
//! Architecture invariant: no source ends by itself, none holds up the start, and what a member means is not decided here.

mod backoff;
mod config;
mod discovery;
mod feed;
mod http;
mod look;
mod member;
mod source;

pub use config::{
    DnsConfig, DnsQuestion, DockerConfig, EtcdConfig, EtcdUser, FileConfig, Place, RegistrationConfig,
    Scheme, SourceConfig, UpstreamSources,
};
pub use discovery::{Discovery, KnownMembers, ReadDocument};
pub use feed::Feed;
pub use http::Peer;
pub use look::{Mark, mark, rest};
pub use member::{Member, MemberError};
pub use source::registered::{HeardOf, Registered, RegistrationCounts, Registrations, RegistrationsFull};
pub use source::{Source, SourceError};
