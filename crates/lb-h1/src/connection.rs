//! The Connection field and what goes with it: what belongs to one connection and must not reach the next.
//!
//! The encoders never write such a field, so that the data path needs no removal but of the fields that Connection
//! names.

use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};

use crate::bytes_class::list;
use crate::error::{HeadError, Shown};
use crate::fields::Fields;
use crate::names;

/// What the Connection lines of a message say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`.
    pub close: bool,
    /// `keep-alive`.
    pub keep_alive: bool,
    /// `upgrade`.
    pub upgrade: bool,
    /// Something else, which may be the name of a field.
    pub names_fields: bool,
}

impl ConnectionOptions {
    /// Adds one Connection line.
    ///
    /// ```
    /// let mut options = lb_h1::ConnectionOptions::default();
    /// options.read(b"Keep-Alive, X-Secret");
    /// assert!(options.keep_alive && options.names_fields && !options.close);
    /// ```
    pub fn read(&mut self, value: &[u8]) {
        if value == b"keep-alive" {
            self.keep_alive = true;
            return;
        }
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !option.eq_ignore_ascii_case(b"te") {
                self.names_fields = true;
            }
        }
    }
}

/// Which hop-by-hop fields a head came with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HopByHop {
    /// Any of Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade, HTTP2-Settings and Expect.
    pub present: bool,
    /// `TE: trailers`: the sender is willing to receive trailers. gRPC wants this passed on.
    pub te_trailers: bool,
}

/// What a request asks the connection to become (RFC 9110 section 7.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upgrade {
    /// `websocket` alone.
    WebSocket,
    /// Anything with `h2c` in it. Never to be passed on: a backend that takes it up speaks past every rule
    /// of the gateway. Ignoring it is what RFC 9113 section 3.1 expects.
    H2c,
    /// Another protocol, or a list, as sent.
    Other(HeaderValue),
}

impl Upgrade {
    /// What the Upgrade lines ask for: the first of them, unless one asks for h2c.
    pub(crate) fn of(headers: &Fields) -> Option<Self> {
        let mut lines = headers.get_all(&UPGRADE).filter_map(Self::read);
        let first = lines.next()?;
        Some(if lines.any(|other| other == Self::H2c) { Self::H2c } else { first })
    }

    /// What an Upgrade field of this value asks for; nothing where it is empty.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.eq_ignore_ascii_case(b"websocket") {
            Some(Self::WebSocket)
        } else if list(bytes).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c")) {
            Some(Self::H2c)
        } else {
            list(bytes).next().and_then(|_| HeaderValue::from_bytes(bytes).ok()).map(Self::Other)
        }
    }

    /// Whether `answer` is one of the protocols that this asks for. Versions are part of a protocol's name.
    pub fn offers(&self, answer: &Self) -> bool {
        *self != Self::H2c
            && list(self.protocol()).any(|offered| offered.eq_ignore_ascii_case(answer.protocol()))
    }

    /// The protocol as it is written in an Upgrade field.
    pub fn protocol(&self) -> &[u8] {
        match self {
            Self::WebSocket => b"websocket",
            Self::H2c => b"h2c",
            Self::Other(value) => value.as_bytes(),
        }
    }
}

/// Removes the fields that Connection names.
///
/// Those that say where a message ends or goes (`Host`, `Content-Length`, `Transfer-Encoding`) are an
/// error: only an attacker lists them. Those that say where it came from (`X-Forwarded-*`,
/// `Forwarded`, `X-Real-IP`, `X-Request-Id`, `Via`, the trace context) stay, so that nobody makes the
/// gateway forget them. Done while a head is read, so what is set later survives in any case.
pub(crate) fn remove_named_fields(headers: &mut Fields) -> Result<(), HeadError> {
    let mut named: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(&CONNECTION) {
        for option in list(value) {
            match names::find(option) {
                Some(known) if known.is_framing() => {
                    return Err(HeadError::ConnectionNames { name: Shown::new(option) });
                }
                // The hop's own fields are left out when a head is written; until then rules may match them.
                Some(known) if known.is_forwarding() || known.is_hop_by_hop() => {}
                Some(known) => named.push(known.name.clone()),
                // What is no token names no field.
                None => named.extend(HeaderName::from_bytes(option)),
            }
        }
    }
    for name in named {
        headers.remove(&name);
    }
    Ok(())
}

/// Removes the fields whose name holds `_`. Many servers read `Content_Length` as `Content-Length` (CGI
/// makes one variable of both), which lets a client say behind the gateway what it may not say to it.
pub fn drop_underscore_names(headers: &mut Fields) {
    headers.retain_names(|name| !name.contains(&b'_'));
}

/// Whether a TE line lists `trailers` (RFC 9110 section 10.1.4).
pub(crate) fn asks_for_trailers(value: &[u8]) -> bool {
    list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}
