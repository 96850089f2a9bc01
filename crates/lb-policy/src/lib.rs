//! What may pass a gateway and how it is changed: one file a policy.
//!
//! A policy sees the request head before a backend is picked and the response head before it is sent, and may
//! filter the response body. It is built once, when a configuration is taken up, and called by every worker at
//! once, so it keeps its state behind `&self`.
//!
//! Adding one: a file in `policy/` with the type, its config and a row, and that row's line in [`policy::ALL`].
//! The data path knows the trait alone.

mod headers;
pub mod policy;

pub use headers::HeadersConfig;
pub use policy::{
    BodyFilter, ClientInfo, FaultConfig, FilterError, Policy, PolicyConfig, PolicyInfo, Refusal,
    RequestParts, ResponseParts, Verdict,
};
