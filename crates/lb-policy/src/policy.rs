//! The trait every policy implements, its verdicts, and the registry of those there are.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use lb_h1::Fields;

mod fault;
mod request_headers;
mod response_headers;

pub use fault::{Fault, FaultConfig, Share, abort_status};
pub use request_headers::RequestHeaders;
pub use response_headers::ResponseHeaders;

use crate::HeadersConfig;

/// Called by a worker for every exchange of a rule that lists it: twice, once per head, in the order of the
/// configuration for requests and in reverse for responses.
pub trait Policy: Debug + Send + Sync {
    /// Looks at the request before a backend is picked; may change its fields.
    fn on_request<'a>(&'a self, head: RequestParts<'a>, client: &'a ClientInfo) -> Verdict<'a> {
        let _ = (head, client);
        Verdict::Continue
    }

    /// Looks at the response head, the backend's or one of the gateway's own; may change it.
    fn on_response(&self, head: ResponseParts<'_>) {
        let _ = head;
    }

    /// A filter for this response's body, decided by its head; `None` costs nothing.
    fn body_filter(&self, head: ResponseParts<'_>) -> Option<Box<dyn BodyFilter>> {
        let _ = head;
        None
    }
}

/// What of a request a policy sees.
#[derive(Debug)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query as they were received.
    pub uri: &'a Uri,
    /// The fields, which it may change.
    pub headers: &'a mut Fields,
}

/// What of a response a policy sees.
#[derive(Debug)]
pub struct ResponseParts<'a> {
    /// The status.
    pub status: StatusCode,
    /// The fields, which it may change.
    pub headers: &'a mut Fields,
}

/// Who asks, as the gateway worked it out from the connection and its trusted proxies.
#[derive(Debug, Clone, Copy)]
pub struct ClientInfo {
    /// The client's address: the rightmost one that no trusted proxy vouches for.
    pub address: IpAddr,
    /// Whether the client's side of the connection is encrypted.
    pub secure: bool,
}

/// What a policy makes of a request.
pub enum Verdict<'a> {
    /// Goes on to the next policy.
    Continue,
    /// Goes on, and holds this until the last byte of the response has gone (a permit, returned by `Drop`).
    Hold(Box<dyn Any>),
    /// Is refused; the gateway answers with a problem document.
    Refuse(Box<Refusal>),
    /// Is answered here, without a backend (a preflight, a redirect).
    Answer(Box<http::Response<Bytes>>),
    /// Is held up for so long, within its own deadline; then it is this.
    Delay(Duration, Box<Verdict<'a>>),
    /// Is not known yet: the exchange waits for this, within its own deadline. The head stays with the
    /// future until then.
    Wait(Pin<Box<dyn Future<Output = Verdict<'a>> + 'a>>),
}

/// Why a request is refused, in the words of the problem document (RFC 9457).
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// A stable word for programs, such as `rate_limited`.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
    /// Further fields of the answer, such as `Retry-After`.
    pub headers: HeaderMap,
}

/// Changes a response body while it streams. Every call works on what it is given and keeps a bounded state.
pub trait BodyFilter: Debug {
    /// Takes a piece and gives what can be sent of it by now, possibly nothing.
    ///
    /// # Errors
    /// [`FilterError`] where the body cannot be carried on; the client's connection is then cut.
    fn push(&mut self, piece: Bytes) -> Result<Bytes, FilterError>;

    /// The body has ended: gives what is left.
    ///
    /// # Errors
    /// As for [`BodyFilter::push`].
    fn finish(&mut self) -> Result<Bytes, FilterError>;
}

/// A body that a filter cannot carry on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("body filter {policy}: {reason}")]
pub struct FilterError {
    /// The policy's name.
    pub policy: &'static str,
    /// What happened.
    pub reason: String,
}

/// One policy as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyConfig {
    /// Changes the request head.
    RequestHeaders(HeadersConfig),
    /// Changes the response head.
    ResponseHeaders(HeadersConfig),
    /// Delays or fails requests on purpose.
    Fault(FaultConfig),
}

impl PolicyConfig {
    /// Whether it may turn a request away; those that cannot have no figures of it.
    #[must_use]
    pub fn can_refuse(&self) -> bool {
        match self {
            Self::RequestHeaders(_) | Self::ResponseHeaders(_) => false,
            Self::Fault(_) => true,
        }
    }

    /// The policy's row in [`ALL`].
    #[must_use]
    pub fn info(&self) -> &'static PolicyInfo {
        match self {
            Self::RequestHeaders(_) => &request_headers::INFO,
            Self::ResponseHeaders(_) => &response_headers::INFO,
            Self::Fault(_) => &fault::INFO,
        }
    }

    /// The policy itself.
    #[must_use]
    pub fn build(&self) -> Box<dyn Policy> {
        match self {
            Self::RequestHeaders(config) => Box::new(RequestHeaders::new(config.clone())),
            Self::ResponseHeaders(config) => Box::new(ResponseHeaders::new(config.clone())),
            Self::Fault(config) => Box::new(Fault::new(config.clone())),
        }
    }
}

/// A row of the registry: what the configuration and the reference call a policy.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInfo {
    /// The configuration key.
    pub name: &'static str,
    /// One sentence for the reference page.
    pub summary: &'static str,
}

/// Every policy there is, in the order in which a rule's policies run.
pub const ALL: &[&PolicyInfo] = &[&request_headers::INFO, &response_headers::INFO, &fault::INFO];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_config_leads_to_its_row() {
        let configs = [
            PolicyConfig::RequestHeaders(HeadersConfig::default()),
            PolicyConfig::ResponseHeaders(HeadersConfig::default()),
            PolicyConfig::Fault(FaultConfig::default()),
        ];
        assert_eq!(configs.len(), ALL.len());
        for (config, row) in configs.iter().zip(ALL) {
            assert_eq!(config.info().name, row.name);
            let _ = config.build();
        }
    }
}
