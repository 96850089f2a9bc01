//! What a request is about, checked strictly before anything is decided by it (RFC 9110 §7.2, RFC 9112 §3).
//!
//! The path that is matched is the path that is forwarded, and the Host that is matched is the Host that is
//! forwarded: what two parsers could read differently is refused here.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request};
use lb_router::authority;
use lb_router::target::normalize_path;

use crate::fields::{self, Seen};
use crate::reject::Reject;

/// A request's target in the one form that is matched and forwarded.
pub(crate) struct Target<'a> {
    /// The host without its port, where one is known.
    pub(crate) host: Option<&'a str>,
    /// The normalised path.
    pub(crate) path: Cow<'a, str>,
    /// The query without its question mark, as received.
    pub(crate) query: Option<&'a str>,
}

/// Refuses what must not be forwarded, and puts the head into the form in which it will be.
pub(crate) fn admit(head: &mut request::Parts, seen: Seen, underscores_pass: bool) -> Result<(), Reject> {
    if head.method == Method::CONNECT {
        return Err(Reject::MethodNotAllowed(HeaderValue::from_static(
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        )));
    }
    check_framing(head, seen)?;
    if seen.expect {
        check_expectation(head)?;
    }
    if head.uri.authority().is_some() {
        absorb_authority(head, seen)?;
    } else if seen.hosts == 0 && head.version >= Version::HTTP_11 {
        return Err(Reject::bad_request("an HTTP/1.1 request needs a Host field"));
    }
    if seen.hosts > 1 {
        return Err(Reject::bad_request("there is more than one Host field"));
    }
    if seen.underscore && !underscores_pass {
        fields::remove_underscored(&mut head.headers);
    }
    Ok(())
}

/// Framing that hyper lets through and that another parser could read differently.
fn check_framing(head: &request::Parts, seen: Seen) -> Result<(), Reject> {
    if seen.transfer_encoding {
        if head.version < Version::HTTP_11 {
            return Err(Reject::bad_request("HTTP/1.0 knows no Transfer-Encoding"));
        }
        if seen.content_lengths > 0 {
            return Err(Reject::bad_request("Content-Length and Transfer-Encoding contradict each other"));
        }
        if !fields::is_plain_chunked(&head.headers) {
            return Err(Reject::NotImplemented);
        }
    }
    let plain = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    match seen.content_lengths {
        0 => Ok(()),
        1 if head.headers.get(header::CONTENT_LENGTH).is_some_and(plain) => Ok(()),
        1 => Err(Reject::bad_request("Content-Length is not a number")),
        _ => Err(Reject::bad_request("there is more than one Content-Length field")),
    }
}

/// `100-continue` is answered here, when the body is first asked for; the backend never sees it.
fn check_expectation(head: &mut request::Parts) -> Result<(), Reject> {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    let all_known = head.headers.get_all(header::EXPECT).iter().all(known);
    head.headers.remove(header::EXPECT);
    if all_known || head.version < Version::HTTP_11 { Ok(()) } else { Err(Reject::ExpectationFailed) }
}

/// Absolute-form: the authority in the target must be the Host (RFC 9112 §3.2.2 lets it win; two that differ are
/// refused, since the backend might let the other one win). The target becomes origin-form.
fn absorb_authority(head: &mut request::Parts, seen: Seen) -> Result<(), Reject> {
    if !matches!(head.uri.scheme_str(), Some("http" | "https")) {
        return Err(Reject::bad_request("the request target's scheme is neither http nor https"));
    }
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    if authority.contains('@') {
        return Err(Reject::bad_request("the request target holds user information"));
    }
    let host = head.headers.get(header::HOST).map(HeaderValue::as_bytes);
    if seen.hosts == 0 && head.version >= Version::HTTP_11 {
        return Err(Reject::bad_request("an HTTP/1.1 request needs a Host field"));
    }
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(authority.as_bytes())) {
        return Err(Reject::bad_request("the request target and Host name different hosts"));
    }
    let value = HeaderValue::from_str(&authority)
        .map_err(|_| Reject::bad_request("the request target's host is not valid"))?;
    head.headers.insert(header::HOST, value);
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    head.uri = Uri::from(path);
    Ok(())
}

/// Reads host, path and query. Borrows from both, and allocates only where the path is not in normal form yet.
pub(crate) fn target<'a>(
    uri: &'a Uri,
    host: Option<&'a HeaderValue>,
    merge_slashes: bool,
) -> Result<Target<'a>, Reject> {
    let host = host
        .map(|host| authority::parse_host(host.as_bytes()))
        .transpose()
        .map_err(|error| Reject::bad_request(error.to_string()))?
        .map(|authority| authority.host);
    let path =
        normalize_path(uri.path(), merge_slashes).map_err(|error| Reject::bad_request(error.to_string()))?;
    Ok(Target { host, path, query: uri.query() })
}

/// The request target that a backend is sent: its base path, the rewritten path, the query as received. `None`
/// where that is the target as it came.
pub(crate) fn forwarded_uri(
    uri: &Uri,
    base_path: &str,
    path: &str,
) -> Result<Option<Uri>, http::uri::InvalidUri> {
    if base_path.is_empty() && path == uri.path() {
        return Ok(None);
    }
    let query = uri.query();
    let mut text = String::with_capacity(base_path.len() + path.len() + 1 + query.map_or(0, str::len));
    text.push_str(base_path);
    text.push_str(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)).map(|path| Some(Uri::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str, fields: &[(&'static str, &str)]) -> request::Parts {
        let mut builder = http::Request::builder().uri(target);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn admitted(target: &str, fields: &[(&'static str, &str)]) -> Result<request::Parts, &'static str> {
        let mut head = head(target, fields);
        let seen = fields::scan(&head.headers);
        admit(&mut head, seen, false).map(|()| head).map_err(|reject| reject.code())
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        let host = ("host", "a.example");
        for (target, fields, verdict) in [
            ("/", vec![host], Ok(())),
            ("/", vec![], Err("bad_request")),
            ("/", vec![host, ("host", "b.example")], Err("bad_request")),
            ("/", vec![host, ("content-length", "5")], Ok(())),
            ("/", vec![host, ("content-length", "+5")], Err("bad_request")),
            ("/", vec![host, ("content-length", "5, 5")], Err("bad_request")),
            ("/", vec![host, ("content-length", "5"), ("content-length", "5")], Err("bad_request")),
            ("/", vec![host, ("content-length", "5"), ("transfer-encoding", "chunked")], Err("bad_request")),
            ("/", vec![host, ("transfer-encoding", "chunked")], Ok(())),
            ("/", vec![host, ("transfer-encoding", "gzip, chunked")], Err("not_implemented")),
            ("/", vec![host, ("expect", "100-Continue")], Ok(())),
            ("/", vec![host, ("expect", "x")], Err("expectation_failed")),
            ("http://a.example/x", vec![host], Ok(())),
            ("http://A.example/x", vec![host], Ok(())),
            ("http://b.example/x", vec![host], Err("bad_request")),
            ("http://u@a.example/x", vec![host], Err("bad_request")),
            ("ftp://a.example/x", vec![host], Err("bad_request")),
        ] {
            assert_eq!(admitted(target, &fields).map(drop), verdict, "{target} {fields:?}");
        }
    }

    #[test]
    fn absolute_form_becomes_origin_form() {
        let head = admitted("http://a.example/x?y=1", &[("host", "a.example")]).unwrap();
        assert_eq!(head.uri, "/x?y=1");
        assert_eq!(admitted("http://a.example", &[("host", "a.example")]).unwrap().uri, "/");
    }

    #[test]
    fn the_target_is_left_alone_unless_it_changes() {
        let uri: Uri = "/a/b?x=1&x=2".parse().unwrap();
        assert_eq!(forwarded_uri(&uri, "", "/a/b").unwrap(), None);
        assert_eq!(forwarded_uri(&uri, "", "/b").unwrap().unwrap(), "/b?x=1&x=2");
        assert_eq!(forwarded_uri(&uri, "/base", "/a/b").unwrap().unwrap(), "/base/a/b?x=1&x=2");
    }
}
