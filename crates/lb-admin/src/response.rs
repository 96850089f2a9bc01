//! Answers with the fields that every status page has.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};
use serde::Serialize;

pub(crate) const JSON: &str = "application/json";
pub(crate) const HTML: &str = "text/html; charset=utf-8";
pub(crate) const CSS: &str = "text/css; charset=utf-8";
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Pages load from and talk to their own origin alone, and stand in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An answer that is true only now.
pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(CONTENT_LENGTH, length);
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if content_type == HTML {
        fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    response
}

/// JSON, on one line with its end, so that it reads well in a terminal.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    new(status, JSON, body)
}

/// Says that another `Accept` would have been answered in another form.
pub(crate) fn negotiated(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

/// The refusal of a method that a page does not take (RFC 9110 §15.5.6), as a problem document (RFC 9457).
pub(crate) fn method_not_allowed(method: &Method) -> Response<Bytes> {
    let problem = serde_json::json!({
        "type": "about:blank",
        "title": "Method Not Allowed",
        "status": 405,
        "detail": format!("this page answers GET and HEAD, not {method}"),
        "code": "method_not_allowed",
    });
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = new(StatusCode::METHOD_NOT_ALLOWED, "application/problem+json", body);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// The same answer without its body; the length stays that of the body (RFC 9110 §9.3.2).
pub(crate) fn without_body(response: Response<Bytes>) -> Response<Bytes> {
    response.map(|_| Bytes::new())
}
