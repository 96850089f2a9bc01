//! The gateway from outside: the built binary as a child process, real sockets, real backends. One file an area.
//!
//! Compiled by `bin/gatewayd` (its `[[test]]` entry), so that `CARGO_BIN_EXE_gatewayd` is there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is how a test reports, in its helpers too"
)]

mod accounts;
mod admin_tls;
mod api;
mod balancing;
mod breaker;
mod browser;
mod canary;
mod config_cli;
mod dashboard;
mod defects;
mod demo;
mod differential;
mod discovery;
mod dump;
mod dump_reader;
mod edits;
mod exam;
mod explain;
mod failure;
mod faults;
mod forward_proxy;
mod forwarding;
mod health;
mod hedging;
mod hostile_backends;
mod hostile_clients;
mod hostile_probes;
mod http1;
mod http1_refused;
mod http2;
mod http3;
mod import;
mod limits;
mod live;
mod log_level;
mod mirror;
mod monitoring;
mod operating;
mod overload;
mod proxy_protocol;
mod queueing;
mod real_servers;
mod reload;
mod retries;
mod routing;
mod seeds;
mod smuggling;
mod split;
mod status;
mod support;
mod takeover;
mod tcp;
mod tls;
mod tls_backends;
mod tls_files;
mod tls_ocsp;
mod tls_sessions;
mod tracing;
mod unread_log;
mod upgrades;
mod why;
mod wrong_edits;
