//! What a request is about, in the one form that is matched and forwarded: the path that a rule saw is the path
//! that the backend gets, and so is the Host.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{InvalidUri, PathAndQuery};
use http::{Method, Uri};
use lb_h1::{Authority, Fields, RequestHead, TargetForm};
use lb_router::HeaderFields;
use lb_router::target::normalize_path;

use crate::reject::Reject;

/// What was asked for.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) uri: Uri,
    /// The authority, as the target or Host has it.
    pub(crate) host: Option<Host>,
    /// What of it the client has written in the request line.
    pub(crate) form: TargetForm,
}

/// Most hosts need no allocation.
type Host = smallvec::SmallVec<[u8; 40]>;

impl Asked {
    /// For bytes that never became a request.
    pub(crate) fn nothing() -> Self {
        Self { method: Method::GET, uri: Uri::from_static("/"), host: None, form: TargetForm::Origin }
    }

    /// Reads a head. What its target says of the host stands in Host from then on.
    pub(crate) fn of(head: &mut RequestHead) -> Result<Self, Reject> {
        if let Some(authority) = head.target.authority()
            && !head.headers.contains(&header::HOST)
        {
            // HTTP/1.0 may name the host in the target alone. With both, the codec has seen that they agree.
            let host = HeaderValue::from_bytes(authority)
                .map_err(|_| Reject::bad_request("the request target's host is not valid"))?;
            head.headers.insert(&header::HOST, &host);
        }
        let form = head.target.form();
        let uri = match form {
            // CONNECT has neither path nor query, and is refused before either is asked for.
            TargetForm::Authority => Uri::from_static("/"),
            _ => origin_form(std::mem::take(&mut head.target).into_path_and_query())
                .map_err(|error| Reject::bad_request(format!("the request target is not valid: {error}")))?,
        };
        let host = head.headers.get(&header::HOST).map(Host::from);
        Ok(Self { method: head.method.clone(), uri, host, form })
    }
}

/// A request's fields as rules ask for them.
#[derive(Debug)]
pub(crate) struct Matched<'a>(pub(crate) &'a Fields);

impl HeaderFields for Matched<'_> {
    fn has(&self, name: &HeaderName, value: &[u8]) -> bool {
        self.0.get_all(name).any(|present| present == value)
    }
}

/// A request's target.
pub(crate) struct Target<'a> {
    /// The host without its port, where one is known.
    pub(crate) host: Option<&'a str>,
    /// The normalised path.
    pub(crate) path: Cow<'a, str>,
    /// The query without its question mark, as received.
    pub(crate) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Reads host, path and query. Allocates only where the path is not in normal form yet.
    pub(crate) fn read(
        uri: &'a Uri,
        authority: Option<&'a [u8]>,
        merge_slashes: bool,
    ) -> Result<Self, Reject> {
        let host = authority
            .map(|authority| Authority::parse(authority).map(|authority| authority.host()))
            .transpose()
            .map_err(|fault| Reject::bad_request(format!("the Host field {fault}")))?
            .and_then(|host| std::str::from_utf8(host).ok());
        let path = normalize_path(uri.path(), merge_slashes)
            .map_err(|error| Reject::bad_request(error.to_string()))?;
        Ok(Self { host, path, query: uri.query() })
    }
}

/// The request target that a backend is sent: its base path, the rewritten path, the query as received.
pub(crate) fn forwarded<'a>(uri: &'a Uri, base_path: &str, path: &str) -> Cow<'a, [u8]> {
    let received = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if base_path.is_empty() && path == uri.path() {
        return Cow::Borrowed(received.as_bytes());
    }
    let query = uri.query();
    let mut text = Vec::with_capacity(base_path.len() + path.len() + 1 + query.map_or(0, str::len));
    text.extend_from_slice(base_path.as_bytes());
    text.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        text.push(b'?');
        text.extend_from_slice(query.as_bytes());
    }
    Cow::Owned(text)
}

fn origin_form(target: Bytes) -> Result<Uri, InvalidUri> {
    PathAndQuery::from_maybe_shared(target).map(Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_left_alone_unless_it_changes() {
        let uri: Uri = "/a/b?x=1&x=2".parse().unwrap();
        assert_eq!(*forwarded(&uri, "", "/a/b"), *b"/a/b?x=1&x=2");
        assert_eq!(*forwarded(&uri, "", "/b"), *b"/b?x=1&x=2");
        assert_eq!(*forwarded(&uri, "/base", "/a/b"), *b"/base/a/b?x=1&x=2");
    }

    #[test]
    fn host_and_path_are_read_in_their_one_form() {
        let uri: Uri = "/a/./b?x=1".parse().unwrap();
        let target = Target::read(&uri, Some(b"example.com:8080"), true).unwrap();
        assert_eq!((target.host, &*target.path, target.query), (Some("example.com"), "/a/b", Some("x=1")));
    }
}
