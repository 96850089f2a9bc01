//! What end-to-end tests are made of: a gateway as a child process, backends that do exactly what they are told and
//! record exactly what they saw, and a client that sends exact bytes and reads strictly.
//!
//! Everything blocks and runs on plain threads: a test reads from top to bottom, and nothing it measures shares a runtime
//! with what measures it. Every wait has a deadline ([`PATIENCE`]), so that a hanging gateway is a failed test.
//!
//! ```
//! use lb_testkit::{Backend, Client};
//!
//! let backend = Backend::echo("a");
//! let mut client = Client::connect(backend.address());
//! client.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
//! let response = client.response();
//! assert_eq!((response.status, response.backend().as_str()), (200, "a"));
//! assert_eq!(backend.requests()[0].target, "/hello");
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is how a test reports"
)]

mod backend;
mod client;
mod gate;
mod gateway;
mod http2;
mod jammed;
mod load;
mod message;
mod pki;
mod ports;
mod process;
mod ready_made;
mod wait;
mod websocket;
mod wire;

pub use backend::{Backend, Conn};
pub use client::{Client, fetch};
pub use gate::Gate;
pub use gateway::{Gateway, Launch};
pub use http2::Http2;
pub use jammed::Jammed;
pub use load::{Asked, Load};
pub use message::{Fields, Framing, Head, Request, Response};
pub use pki::{Authority, Issued, Validity};
pub use ports::Port;
pub use process::Process;
pub use wait::{PATIENCE, eventually};
pub use websocket::WEBSOCKET_DIALOGUE;
pub use wire::Wire;
