//! Every way in which an exchange ends without a backend's answer, and the one place that makes an answer of it:
//! a problem document (RFC 9457) whose `detail` a person can act on and which never names a backend.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use lb_h1::RequestError;
use lb_health::FailureKind;
use lb_policy::Refusal;

use crate::upstream::{ConnectError, SendError};

/// Why there is no answer of a backend.
#[derive(Debug)]
pub(crate) enum Reject {
    /// What was sent is no acceptable request head.
    Head(RequestError),
    /// The request breaks a rule of HTTP; the sentence says which.
    BadRequest(Cow<'static, str>),
    /// The body did not come within its deadline.
    RequestTimeout,
    /// No rule takes the request.
    NoRule,
    /// A rule would, with another method; these are allowed.
    MethodNotAllowed(HeaderValue),
    /// A policy turned it away.
    Refused(Box<Refusal>),
    /// No backend of the upstream is eligible.
    NoBackend,
    /// Every backend, or what else is bounded, is at its limit; which bound kept it waiting no longer.
    Overloaded(&'static str),
    /// As many requests of the rule are under way as may be.
    Shed,
    /// No connection to a backend could be made.
    Connect(ConnectError),
    /// A backend took the request and gave no usable answer.
    Send(SendError),
    /// A backend has answered well and not switched, and its client would take that for a switch.
    NotSwitched,
    /// No response head within the deadline.
    UpstreamTimeout,
    /// A policy has held the request for all of its time: no backend was asked.
    Held,
    /// The deadline that the request itself has brought is over.
    Deadline,
    /// The client left first; nobody will read the answer.
    ClientGone,
}

/// What the client is told, in the contract's words.
struct Row {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
}

impl Reject {
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::BadRequest(detail.into())
    }

    /// The `code` of the problem document.
    pub(crate) fn code(&self) -> &'static str {
        self.row().code
    }

    /// What it says of the backend's health; nothing where that is not to blame.
    pub(crate) fn blames(&self) -> Option<FailureKind> {
        match self {
            Self::Connect(ConnectError::Timeout { .. }) | Self::UpstreamTimeout => Some(FailureKind::Timeout),
            // Whoever asks for something else is served; and it is not the backend that is short of something.
            Self::Connect(ConnectError::NoConnect { .. } | ConnectError::Local { .. }) => None,
            Self::Connect(_) => Some(FailureKind::Connect),
            Self::Send(_) => Some(FailureKind::Reset),
            _ => None,
        }
    }

    /// Whether it is this machine that is short of something.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Connect(ConnectError::Local { .. }))
    }

    /// Whether the connection's framing or trust is lost, so that nothing more may be read from it.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::Head(_) | Self::BadRequest(_) | Self::RequestTimeout | Self::ClientGone)
    }

    /// What the operator reads, where it says more than the code does.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Self::Connect(error) => Some(error.to_string()),
            Self::Send(error) => Some(error.to_string()),
            Self::Head(error) => Some(error.to_string()),
            Self::BadRequest(detail) => Some(detail.to_string()),
            Self::Refused(refusal) => Some(refusal.detail.clone()),
            Self::Overloaded(bound) => Some((*bound).to_owned()),
            Self::Shed => {
                Some("as many requests of the rule were under way as may be (`concurrency`)".to_owned())
            }
            Self::Held => Some("a policy held the request for all of the rule's timeout".to_owned()),
            _ => None,
        }
    }

    /// The status that it comes to.
    pub(crate) fn status(&self) -> StatusCode {
        self.row().status
    }

    /// What a person reads.
    pub(crate) fn detail(&self) -> Cow<'static, str> {
        self.row().detail
    }

    /// The answer.
    pub(crate) fn response(&self, request_id: &HeaderValue) -> Response<Bytes> {
        let Row { status, code, detail } = self.row();
        let title = status.canonical_reason().unwrap_or("Error");
        let document = serde_json::json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
            "request_id": request_id.to_str().unwrap_or_default(),
        });
        let mut response = Response::new(Bytes::from(document.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::MethodNotAllowed(allow) => drop(headers.insert(header::ALLOW, allow.clone())),
            Self::NoBackend
            | Self::Overloaded(_)
            | Self::Shed
            | Self::Connect(ConnectError::Local { .. }) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Refused(refusal) => headers.extend(refusal.headers.clone()),
            _ => {}
        }
        response
    }

    /// The one table from causes to statuses.
    fn row(&self) -> Row {
        let row = |status, code, detail| Row { status, code, detail: Cow::Borrowed(detail) };
        match self {
            Self::Head(error) => {
                Row { status: error.status(), code: error.code(), detail: Cow::Owned(error.to_string()) }
            }
            Self::BadRequest(detail) => {
                Row { status: StatusCode::BAD_REQUEST, code: "bad_request", detail: detail.clone() }
            }
            Self::RequestTimeout => {
                row(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request did not arrive in time")
            }
            Self::NoRule => row(StatusCode::NOT_FOUND, "no_rule", "no rule matches this request"),
            Self::MethodNotAllowed(_) => row(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this method is not allowed here; Allow lists those that are",
            ),
            Self::Refused(refusal) => {
                Row { status: refusal.status, code: refusal.code, detail: Cow::Owned(refusal.detail.clone()) }
            }
            Self::NoBackend => row(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_backend",
                "no server behind this gateway can take the request now",
            ),
            Self::Overloaded(_) => row(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "every server behind this gateway is at its limit of requests",
            ),
            Self::Shed => row(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "as many requests are under way here as can be answered in time",
            ),
            Self::Connect(ConnectError::Timeout { .. }) => row(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "the server behind this gateway did not accept a connection in time",
            ),
            Self::Connect(ConnectError::Unresolved { .. }) => row(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_backend",
                "no server behind this gateway can be found now",
            ),
            Self::Connect(ConnectError::Tls { .. }) => row(
                StatusCode::BAD_GATEWAY,
                "connect_failed",
                "no trustworthy connection to the server behind this gateway could be made",
            ),
            Self::Connect(ConnectError::Local { .. }) => row(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "this gateway has no connection left for another request",
            ),
            Self::Connect(ConnectError::Io { .. }) => row(
                StatusCode::BAD_GATEWAY,
                "connect_failed",
                "the server behind this gateway refused the connection",
            ),
            Self::Send(_) => row(
                StatusCode::BAD_GATEWAY,
                "upstream_reset",
                "the server behind this gateway gave no valid answer",
            ),
            Self::NotSwitched | Self::Connect(ConnectError::NoConnect { .. }) => row(
                StatusCode::BAD_GATEWAY,
                "upstream_reset",
                "the server behind this gateway does not speak this protocol here",
            ),
            Self::UpstreamTimeout => row(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "the server behind this gateway did not answer in time",
            ),
            Self::Held => row(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "the request was held here for as long as it may take",
            ),
            Self::Deadline => row(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "there was no answer within the deadline that the request has set",
            ),
            Self::ClientGone => row(client_closed_request(), "client_gone", "the client left first"),
        }
    }
}

/// 499, nginx's status for a client that left before it was answered: for logs and metrics alone.
pub(crate) fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_document_survives_any_request_id_and_names_no_backend() {
        let id = HeaderValue::from_static(r#"a"b\c"#);
        let error = ConnectError::Io {
            backend: "http://10.0.0.1:80".into(),
            source: std::io::Error::from(std::io::ErrorKind::ConnectionRefused),
        };
        let response = Reject::Connect(error).response(&id);
        assert_eq!(response.status(), 502);
        assert!(!response.body().windows(8).any(|window| window == b"10.0.0.1"));
        let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(document["code"], "connect_failed");
        assert_eq!(document["request_id"], r#"a"b\c"#);
        assert_eq!(document["status"], 502);
    }

    #[test]
    fn what_is_over_for_now_says_when_to_come_back() {
        let response = Reject::NoBackend.response(&HeaderValue::from_static("x"));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
