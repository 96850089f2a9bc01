//! HTTP/2 streams, seen as HTTP/1.1 messages.
//!
//! The `h2` crate keeps frames, header compression, flow control and the states of streams. What stands here turns one
//! stream into what one HTTP/1.1 connection would carry, in both directions: a [`ServerStream`] gives a request
//! and takes an answer, a [`ClientStream`] takes a request and gives an answer. So everything that
//! the gateway does with a message (rules, policies, retries, limits, records) exists once, for every version of HTTP, and the strict
//! rules for heads and framing in `lb-h1` hold for HTTP/2 as well.
//!
//! A head passes as it is: its lines are judged one by one ([`lb_h1::Draft`]), and its fields become those of the other side without
//! being written and read in between. One that breaks a rule is given in bytes, and whoever reads them tells which; what is
//! given in bytes is taken, too.
//!
//! Cost: a head is copied once each way, and the bytes of a body are copied once on each side. A body with a length has no framing in between; any other is framed in chunks, at 10 bytes a DATA
//! frame. Nothing is queued here: a stream's data is taken as it is passed on, which is when its window opens again, and is sent
//! as far as the peer's window lets it. At most [`PIECE`] bytes of a body wait in a stream.
//!
//! Nothing waits by itself. Dropping a stream that is not over resets it.

mod client;
mod fault;
mod head;
mod incoming;
mod limits;
mod outgoing;
mod server;
mod upgrade;

pub use client::ClientStream;
pub use fault::is_unprocessed;
pub use head::{BodyLine, names_a_connection, response, response_to_connect, write_request};
pub use limits::{BackendLimits, Http2Limits, head_size};
pub use outgoing::PIECE;
pub use server::{Opening, Refused, ServerStream};

/// What every client begins an HTTP/2 connection with (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
