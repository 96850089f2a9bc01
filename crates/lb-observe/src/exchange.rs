//! One request and its response, as told to recorders when it has ended.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use http::StatusCode;

use crate::{BackendStats, RuleStats, Trace};

/// What was spoken with a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP, of any version.
    #[default]
    Http,
    /// Nothing that is known: the connection was passed on as it was, and is the exchange.
    Tcp,
}

impl Protocol {
    /// As logs have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// Everything there is to tell about one exchange.
///
/// Made on the stack by the data path, borrowing from it. Requests that no rule took, that a policy turned away
/// or that could not be parsed are exchanges too, with the fields that were never reached left as
/// [`new`](Self::new) has them.
#[derive(Debug, Clone)]
pub struct Exchange<'a> {
    /// The worker that served it, from 0: the shard it is counted in.
    pub worker: usize,
    /// The listener that the client connected to.
    pub listener: &'a str,
    /// What was spoken.
    pub protocol: Protocol,
    /// The rule that took it.
    pub rule: Option<&'a RuleStats>,
    /// The upstream it was for, also where no backend of it could be had.
    pub upstream: Option<&'a str>,
    /// The backend of the last attempt.
    pub backend: Option<&'a BackendStats>,
    /// The name of the strategy that chose it.
    pub strategy: Option<&'a str>,
    /// `http` or `https`, by the client's connection.
    pub scheme: &'static str,
    /// As received; empty where the request line could not be parsed.
    pub method: &'a str,
    /// The path as received, before any rewriting and without its query.
    pub path: &'a str,
    /// The Host, as received.
    pub host: &'a str,
    /// What the client was answered; 499 where it left before that.
    pub status: StatusCode,
    /// The `code` of the problem document, where the answer was ours; a backend's failure after the head had
    /// been relayed is named here too.
    pub code: Option<&'static str>,
    /// What went wrong, in words for the operator; may name addresses, unlike what clients are shown.
    pub error: Option<&'a str>,
    /// The value of `X-Request-Id`.
    pub request_id: &'a str,
    /// The trace it is part of, where there is tracing.
    pub trace: Option<&'a Trace>,
    /// The client's address, behind trusted proxies.
    pub client_ip: IpAddr,
    /// Bytes of the request body that were read.
    pub bytes_in: u64,
    /// Bytes of the response body that were sent.
    pub bytes_out: u64,
    /// Attempts at backends; 0 where none was tried.
    pub attempts: u32,
    /// When it ended. A coarse clock will do.
    pub ended_at: SystemTime,
    /// From the request's first byte to the answer's last.
    pub duration: Duration,
    /// From sending the last attempt to its response head, where one came.
    pub upstream_latency: Option<Duration>,
    /// Requests in flight to the backend when this one was sent, itself included.
    pub backend_active: u32,
    /// Whether the backend was held healthy.
    pub backend_healthy: bool,
    /// Either side broke off before the answer was complete.
    pub aborted: bool,
}

impl Exchange<'_> {
    /// An exchange of a worker of which nothing is known yet, for `..Exchange::new(worker)`.
    pub fn new(worker: usize) -> Self {
        Self {
            worker,
            listener: "",
            protocol: Protocol::Http,
            rule: None,
            upstream: None,
            backend: None,
            strategy: None,
            scheme: "http",
            method: "",
            path: "",
            host: "",
            status: StatusCode::OK,
            code: None,
            error: None,
            request_id: "",
            trace: None,
            client_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            bytes_in: 0,
            bytes_out: 0,
            attempts: 0,
            ended_at: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            upstream_latency: None,
            backend_active: 0,
            backend_healthy: false,
            aborted: false,
        }
    }
}

/// Learns of every exchange.
///
/// Called once per exchange, on the worker's thread, when the last byte has gone or was given up. Must neither
/// block nor fail: what cannot be kept is dropped and counted.
pub trait Recorder: Send + Sync {
    /// Takes what it needs of an exchange that has ended.
    fn record(&self, exchange: &Exchange<'_>);
}
