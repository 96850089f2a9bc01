//! The forwarding engine: accept, parse, route, pick, forward, relay, record.

pub mod config;
