//! HTTP/2 without I/O, its streams seen as HTTP/1.1 messages (RFC 9113).
//!
//! A [`Connection`] takes the bytes that its driver reads and gives those to be written; frames, compression of heads, windows and the
//! states of streams are its own. A stream looks like what one HTTP/1.1 connection would carry, in both directions: a
//! [`ServerStream`] gives a request and takes an answer, a [`ClientStream`] takes a request and gives an answer. So everything that
//! the gateway does with a message (rules, policies, retries, limits, records) exists once, for every version of HTTP, and the strict
//! rules for heads and framing in `lb-h1` hold for HTTP/2 as well.
//!
//! A head passes as it is: as it is unpacked its lines are put together, and judged one by one ([`lb_h1::Draft`]); and fields are packed
//! where they stand. One that breaks a rule is given in bytes, and whoever reads them tells which; what is given in bytes is taken, too.
//!
//! Cost: a head is copied once each way, and the bytes of a body are copied once on each side; those of a body with a length that are
//! read straight into its frames ([`ServerStream::poll_fill`]) are not. A body with a length has no framing in between; any other is
//! framed in chunks. At most [`PIECE`] bytes of a body wait in a stream to be sent.
//!
//! Nothing waits by itself. Dropping a stream that is not over resets it.

mod client;
mod connection;
mod fault;
mod frame;
mod head;
mod hpack;
mod incoming;
mod limits;
mod maps;
mod outgoing;
mod server;
mod upgrade;

pub use client::ClientStream;
pub use connection::{Accepted, Connection, Ended, Heard};
pub use fault::{Reason, is_unprocessed};
pub use head::{BodyLine, Refused};
pub use limits::{BackendLimits, Http2Limits, Pings};
pub use maps::{names_a_connection, response, response_to_connect, write_request};
pub use outgoing::{PIECE, Trailers};
pub use server::{Opening, ServerStream};

/// What every client begins an HTTP/2 connection with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
