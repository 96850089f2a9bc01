//! An HTTP/1.1 codec without I/O: bytes in, heads and body pieces out, and back again.
//!
//! One place decides where a message ends, for requests and for responses alike, because a gateway that
//! frames a message otherwise than the server behind it is how requests are smuggled. What two parsers
//! could read differently is refused rather than repaired; the few leniencies that real backends need
//! stand in [`response`](parse_response), each with its reason. RFC 9112 is the grammar, RFC 9110 the
//! meaning.
//!
//! Cost: a head is scanned once for line ends, then read line by line. Its fields are places in one copy of its
//! bytes ([`Fields`]), so that a usual head allocates that, the list of places and its target, and nothing else. Nothing here waits, so nothing is lost when a future
//! that calls it is dropped: what was not consumed is still in the caller's buffer.
//!
//! ```
//! use bytes::BytesMut;
//! use lb_h1::{BodyDecoder, BodyLimits, Decoded, HeadLimits, ParseState, parse_request};
//!
//! let mut buf = BytesMut::from(
//!     "POST /orders?dry=1 HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n\
//!      5\r\nhello\r\n0\r\n\r\n",
//! );
//! let head = parse_request(&mut buf, &HeadLimits::default(), &mut ParseState::default())?.expect("complete");
//! assert_eq!(head.target.path(), b"/orders");
//! assert_eq!(head.target.query(), Some(&b"dry=1"[..]));
//!
//! let mut body = BodyDecoder::for_request(head.framing, BodyLimits::default());
//! assert_eq!(body.decode(&mut buf)?, Decoded::Data("hello".into()));
//! assert_eq!(body.decode(&mut buf)?, Decoded::End);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authority;
mod body;
mod bytes_class;
mod connection;
mod date;
mod draft;
mod encode;
mod error;
mod field;
mod fields;
mod framing;
mod limits;
mod map;
mod names;
mod request;
mod response;
mod scan;
mod target;

pub use authority::{Authority, AuthorityFault};
pub use body::{BodyDecoder, Decoded};
pub use connection::{ConnectionOptions, HopByHop, Upgrade, drop_underscore_names};
pub use date::{Date, DateCache};
pub use draft::Draft;
pub use encode::{
    CHUNK_END, CONTINUE, ChunkHead, ConnectionHeader, EncodeError, FieldLines, LAST_CHUNK, RequestLine,
    ResponseLine, chunk_head, encode_request_head, encode_response_head, encode_trailers, write_trailer,
};
pub use error::{BodyError, HeadError, RequestError, ResponseError, Shown};
pub use field::fields_as_sent;
pub use fields::Fields;
pub use framing::{BodyFraming, ResponseFraming};
pub use limits::{BodyLimits, HeadLimits};
pub use map::{request_parts, response_parts};
pub use names::KnownName;
pub use request::{RequestHead, parse_request};
pub use response::{Asked, ResponseHead, parse_response};
pub use scan::ParseState;
pub use target::{Target, TargetForm};
