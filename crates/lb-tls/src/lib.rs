//! TLS for listeners and backends, on rustls with aws-lc-rs.
//!
//! [`ServerTls`] and [`ClientTls`] are built from plain options, say which file is wrong where one is, and take changed files
//! up while they run. [`Session`] is one connection, driven from its owner's task. This is the only crate that names rustls.

mod certificate;
mod client;
mod error;
mod failure;
mod files;
mod hello;
mod names;
mod ocsp;
mod password;
mod quic;
mod roots;
mod scratch;
mod self_signed;
mod server;
mod session;
mod sink;
mod subject;
mod suites;
mod tickets;
mod verify;

pub use certificate::{CertificateFiles, FileError, FileProblem};
pub use client::{ClientOptions, ClientTls, Trust};
pub use error::TlsError;
pub use failure::{FailureKind, HandshakeError};
pub use files::Reload;
pub use hello::{Hello, HelloReader};
pub use password::{Mark, Password, PasswordError, Verified};
pub use quic::{QuicKeys, quic_certificate};
pub use server::{Certificates, ClientAuth, ServerKeys, ServerOptions, ServerTls};
pub use session::Session;
pub use sink::{Append, Sink};
pub use subject::subject;
pub use suites::{MinVersion, cipher_suites};
pub use verify::{Pin, PinError};
