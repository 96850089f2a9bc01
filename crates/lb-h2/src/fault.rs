//! Errors of HTTP/2 as those of a connection.

use std::io;

/// As the reader or writer of a connection would see it.
pub(crate) fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    let kind = match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => io::ErrorKind::ConnectionRefused,
        _ if error.is_go_away() => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, error)
}

/// A stream that has been ended by its peer.
pub(crate) fn reset(reason: h2::Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, h2::Error::from(reason))
}

/// Whether the peer vouches for not having looked at the request, so that it may be sent again whatever its method: a stream
/// refused (RFC 9113 §8.7).
#[must_use]
pub fn is_unprocessed(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<h2::Error>());
    inner.is_some_and(|error| error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}
