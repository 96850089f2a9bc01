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

/// The connection was over before the request went out on it.
#[derive(Debug, thiserror::Error)]
#[error("not sent: {0}")]
struct Unsent(h2::Error);

/// As the writer of a request sees it that never left.
pub(crate) fn unsent(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, Unsent(error))
}

/// Whether the request may be sent again whatever its method: the peer vouches for not having looked at it, by refusing its
/// stream or by a GOAWAY that names an earlier one as the last (RFC 9113 §6.8, §8.7), or it never left.
#[must_use]
pub fn is_unprocessed(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    if inner.is::<Unsent>() {
        return true;
    }
    inner.downcast_ref::<h2::Error>().is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // `h2` tells a peer's GOAWAY to those streams alone that lie above the last one.
        is_refused || error.is_go_away() && error.is_remote()
    })
}
