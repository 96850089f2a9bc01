//! What may be asked: of a request that rules are for, of one to a forward proxy, of a connection to a TCP listener.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use lb_h1::{HeadLimits, ParseState, RequestHead, parse_request};

use super::{HTTP, HTTPS};
use crate::reject::Reject;
use crate::target::Asked;

/// Something that is asked about.
#[derive(Debug, Clone)]
pub enum Question {
    /// See [`Question::request`].
    Request(RequestQuestion),
    /// See [`Question::proxied`].
    Proxied(ProxiedQuestion),
    /// See [`Question::connection`].
    Connection(ConnectionQuestion),
}

/// A request that rules are for.
#[derive(Debug, Clone)]
pub struct RequestQuestion {
    /// As a client would send it.
    head: Vec<u8>,
    pub(super) peer: IpAddr,
    /// As the URL has it, where it has one.
    pub(super) scheme: Option<&'static str>,
}

/// A request to a forward proxy.
#[derive(Debug, Clone)]
pub struct ProxiedQuestion {
    head: Vec<u8>,
    pub(super) arrival: Arrival,
    /// Where the name that is asked for leads; nothing where that is not said.
    pub(super) leads_to: Vec<IpAddr>,
    /// Who asks; nothing where the head says so.
    pub(super) user: Option<String>,
}

/// A connection to a TCP listener.
#[derive(Debug, Clone)]
pub struct ConnectionQuestion {
    pub(super) arrival: Arrival,
    /// The name that its TLS asks for.
    pub(super) name: Option<String>,
}

/// How something comes.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// To which listener: its name, or an address that leads to it. Without one, to the first that will do.
    pub listener: Option<String>,
    /// Who is connected.
    pub peer: IpAddr,
    /// Whom the connection's PROXY header names.
    pub proxied_for: Option<IpAddr>,
}

impl Question {
    /// A request as a command line has it: `url` may lack scheme and host. Without a scheme it is that of the listeners: `https`
    /// where all of them speak TLS. Whoever is connected is `from`.
    ///
    /// # Errors
    /// What is no valid request, in a sentence.
    pub fn request(
        method: &str,
        url: &str,
        fields: impl IntoIterator<Item = (String, String)>,
        from: IpAddr,
    ) -> Result<Self, String> {
        let (scheme, authority, path) = parts(url)?;
        let is_whole = path.starts_with('/') || path == "*";
        let path = if is_whole { path.to_owned() } else { format!("/{path}") };
        let path = PathAndQuery::from_maybe_shared(Bytes::from(path));
        let path = path.map_err(|error| format!("{url:?} is no URL: {error}"))?;
        let method = read_method(method)?;
        let (lines, has_host) = lines(fields, authority)?;
        // Only there a request may do without a host.
        let version = if has_host { "HTTP/1.1" } else { "HTTP/1.0" };
        let head = format!("{method} {path} {version}\r\n{lines}\r\n").into_bytes();
        Ok(Self::Request(RequestQuestion { head, peer: from.to_canonical(), scheme }))
    }

    /// A request as clients send it that have the gateway for their proxy: CONNECT with HOST:PORT, or any other method with a URL.
    ///
    /// # Errors
    /// What is no such request, in a sentence.
    pub fn proxied(
        method: &str,
        url: &str,
        fields: impl IntoIterator<Item = (String, String)>,
        arrival: Arrival,
        leads_to: Vec<IpAddr>,
        user: Option<String>,
    ) -> Result<Self, String> {
        let (scheme, authority, path) = parts(url)?;
        let method = read_method(method)?;
        let authority = authority.unwrap_or_else(|| url.split(['/', '?']).next().unwrap_or_default());
        if authority.is_empty()
            || authority.contains(|letter: char| letter.is_whitespace() || letter.is_control())
        {
            return Err(format!(
                "{url:?} names no host; a proxy is asked for `CONNECT example.com:443`, or for `GET http://example.com/`"
            ));
        }
        let target = match (method == Method::CONNECT, scheme) {
            (true, _) => authority.to_owned(),
            (false, Some(scheme)) => format!("{scheme}://{authority}{path}"),
            (false, None) => {
                return Err(format!("{url:?} has no scheme; a proxy is asked for a whole URL: http://{url}"));
            }
        };
        if target.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err(format!("{url:?} is no URL"));
        }
        let (lines, _) = lines(fields, Some(authority))?;
        let head = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n").into_bytes();
        Ok(Self::Proxied(ProxiedQuestion { head, arrival: arrival.canonical(), leads_to, user }))
    }

    /// A connection to a TCP listener; where its client begins with TLS, it may ask for a `name`.
    #[must_use]
    pub fn connection(arrival: Arrival, name: Option<String>) -> Self {
        Self::Connection(ConnectionQuestion { arrival: arrival.canonical(), name })
    }
}

impl Arrival {
    fn canonical(mut self) -> Self {
        self.peer = self.peer.to_canonical();
        self.proxied_for = self.proxied_for.map(|address| address.to_canonical());
        self
    }
}

impl RequestQuestion {
    pub(super) fn read(&self) -> Result<(RequestHead, Asked), Reject> {
        read(&self.head)
    }
}

impl ProxiedQuestion {
    pub(super) fn read(&self) -> Result<(RequestHead, Asked), Reject> {
        read(&self.head)
    }
}

/// Reads a head as it would be read from a connection.
fn read(head: &[u8]) -> Result<(RequestHead, Asked), Reject> {
    let mut bytes = BytesMut::from(head);
    let read = parse_request(&mut bytes, &HeadLimits::default(), &mut ParseState::default());
    let mut head = match read {
        Ok(Some(head)) => head,
        Ok(None) => return Err(Reject::bad_request("it is no whole request")),
        Err(error) => return Err(Reject::Head(error)),
    };
    let asked = Asked::of(&mut head)?;
    Ok((head, asked))
}

/// Scheme and authority, where a URL has them, and the rest.
fn parts(url: &str) -> Result<(Option<&'static str>, Option<&str>, &str), String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok((None, None, url)) };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Ok((Some(scheme_of(scheme)?), rest.get(..end), rest.get(end..).unwrap_or_default()))
}

/// The scheme of a URL that clients may ask a gateway for.
fn scheme_of(written: &str) -> Result<&'static str, String> {
    let known = [HTTP, HTTPS].into_iter().find(|known| written.eq_ignore_ascii_case(known));
    known.ok_or_else(|| format!("{written:?} is no scheme that the gateway speaks: http or https"))
}

fn read_method(method: &str) -> Result<Method, String> {
    Method::from_bytes(method.as_bytes()).map_err(|_| format!("{method:?} is no method"))
}

/// The fields as lines, and whether one of them is Host.
fn lines(
    fields: impl IntoIterator<Item = (String, String)>,
    authority: Option<&str>,
) -> Result<(String, bool), String> {
    let mut lines = String::new();
    let mut has_host = false;
    let authority = authority.map(|authority| ("host".to_owned(), authority.to_owned()));
    for (name, value) in fields.into_iter().chain(authority) {
        let is_valid = HeaderName::try_from(&name).is_ok() && HeaderValue::from_str(&value).is_ok();
        let is_host = name.eq_ignore_ascii_case("host");
        match (is_valid, is_host && has_host) {
            (false, _) => return Err(format!("{name:?} is no header field")),
            // What is written as a field speaks before the URL.
            (true, true) => {}
            (true, false) => lines.push_str(&format!("{name}: {value}\r\n")),
        }
        has_host |= is_host;
    }
    Ok((lines, has_host))
}
