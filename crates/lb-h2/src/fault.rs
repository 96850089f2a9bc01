//! Errors of HTTP/2 as those of a connection.

use std::fmt;
use std::io;

/// Why a stream or a connection was ended (RFC 9113 §7).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub u32);

/// Each number and its name.
macro_rules! reasons {
    ($($number:literal $name:ident $words:literal;)*) => {
        impl Reason {
            $(#[doc = $words] pub const $name: Self = Self($number);)*

            fn name(self) -> Option<(&'static str, &'static str)> {
                match self.0 {
                    $($number => Some((stringify!($name), $words)),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    0 NO_ERROR "not a result of an error";
    1 PROTOCOL_ERROR "unspecific protocol error detected";
    2 INTERNAL_ERROR "unexpected internal error encountered";
    3 FLOW_CONTROL_ERROR "flow-control protocol violated";
    4 SETTINGS_TIMEOUT "settings ACK not received in timely manner";
    5 STREAM_CLOSED "received frame when stream half-closed";
    6 FRAME_SIZE_ERROR "frame with invalid size";
    7 REFUSED_STREAM "refused stream before processing any application logic";
    8 CANCEL "stream no longer needed";
    9 COMPRESSION_ERROR "unable to maintain the header compression context";
    10 CONNECT_ERROR "connection established in response to a CONNECT request was reset or abnormally closed";
    11 ENHANCE_YOUR_CALM "detected excessive load generating behavior";
    12 INADEQUATE_SECURITY "security properties do not meet minimum requirements";
    13 HTTP_1_1_REQUIRED "endpoint requires HTTP/1.1";
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "Reason({})", self.0),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some((name, words)) => write!(f, "{words} ({name})"),
            None => write!(f, "error {}, which no document names", self.0),
        }
    }
}

/// How a stream ended ahead of its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// RST_STREAM came.
    #[error("stream error received: {0}")]
    ResetByPeer(Reason),
    /// It was reset from here.
    #[error("stream error sent: {0}")]
    Reset(Reason),
    /// GOAWAY came, and named an earlier stream as the last.
    #[error("connection error received: {0}; the stream was not processed")]
    Unprocessed(Reason),
    /// The connection was over before the request went out on it.
    #[error("not sent: {0}")]
    Unsent(Box<Self>),
    /// GOAWAY was sent: the peer broke the rules, or is to go.
    #[error("connection error detected: {0}")]
    Connection(Reason),
    /// The connection ended beneath it.
    #[error("{}", .1)]
    Io(io::ErrorKind, String),
}

impl Fault {
    /// As the reader or writer of a connection sees it.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::ResetByPeer(Reason::REFUSED_STREAM) => io::ErrorKind::ConnectionRefused,
            Self::ResetByPeer(_) | Self::Reset(_) => io::ErrorKind::ConnectionReset,
            Self::Unprocessed(_) | Self::Connection(_) | Self::Unsent(_) => io::ErrorKind::ConnectionAborted,
            Self::Io(kind, _) => *kind,
        };
        io::Error::new(kind, self)
    }
}

/// Whether the request may be sent again whatever its method: the peer vouches for not having looked at it, by refusing its
/// stream or by a GOAWAY that names an earlier one as the last (RFC 9113 §6.8, §8.7), or it never left.
#[must_use]
pub fn is_unprocessed(error: &io::Error) -> bool {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
    matches!(
        fault,
        Some(Fault::Unsent(_) | Fault::Unprocessed(_) | Fault::ResetByPeer(Reason::REFUSED_STREAM))
    )
}
