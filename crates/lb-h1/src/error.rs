//! What is wrong with a message, said so that whoever sent it can mend it, and the status that follows.
//!
//! After any of these the connection is closed: where the next message would start is no longer known.

use std::fmt;

use http::StatusCode;
use thiserror::Error;

use crate::authority::AuthorityFault;

/// A piece of hostile input made fit to print: escaped, and cut after 40 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(Box<str>);

impl Shown {
    const MAX_BYTES: usize = 40;

    #[cold]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let cut = bytes.get(..Self::MAX_BYTES);
        let text = cut.unwrap_or(bytes).escape_ascii().to_string();
        Self(if cut.is_some_and(|cut| cut.len() < bytes.len()) { text + "…" } else { text }.into())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What can be wrong with the lines of any head, of a request, a response or a trailer section.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeadError {
    /// LF without CR ahead of it.
    #[error("a line ends in LF alone; lines end in CR LF")]
    BareLineFeed,
    /// More bytes than the limit before the empty line.
    #[error("the header section is longer than {limit} bytes")]
    TooLarge {
        /// The limit in force.
        limit: usize,
    },
    /// More field lines than the limit.
    #[error("the header section has more than {limit} fields")]
    TooManyFields {
        /// The limit in force.
        limit: usize,
    },
    /// A line that starts with white space: `obs-fold` (RFC 9112 section 5.2), or space ahead of a name.
    #[error("a header line starts with white space; folded header lines are obsolete and refused")]
    FoldedLine,
    /// A line without `:`.
    #[error("the header line {line} has no colon")]
    MissingColon {
        /// The line.
        line: Shown,
    },
    /// White space between a name and its colon (RFC 9112 section 5.1).
    #[error("there is white space between the header name {name} and its colon")]
    SpaceBeforeColon {
        /// The name with the space.
        name: Shown,
    },
    /// A name that is empty or holds a byte that is not allowed in one.
    #[error("{name} is not a header name")]
    FieldName {
        /// The name.
        name: Shown,
    },
    /// A value with NUL, bare CR or another control byte.
    #[error("the value of the header {name} holds a control byte")]
    FieldValue {
        /// The name.
        name: Shown,
    },
    /// `Content-Length` that is not a plain decimal number below 2^63.
    #[error("Content-Length {value} is not a plain decimal number")]
    ContentLength {
        /// The value.
        value: Shown,
    },
    /// `Content-Length` more than once.
    #[error("there is more than one Content-Length")]
    ContentLengthTwice,
    /// Both framings at once, the classic of request smuggling (RFC 9112 section 6.1).
    #[error("the message has both Content-Length and Transfer-Encoding")]
    ContentLengthAndTransferEncoding,
    /// `Transfer-Encoding` that is no list of coding names, or has `chunked` in the wrong place.
    #[error("Transfer-Encoding {value} is malformed; only \"chunked\" is understood")]
    TransferEncoding {
        /// The value.
        value: Shown,
    },
    /// `Transfer-Encoding` more than once.
    #[error("there is more than one Transfer-Encoding")]
    TransferEncodingTwice,
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding {value} is not implemented; only \"chunked\" is")]
    UnknownTransferCoding {
        /// The value.
        value: Shown,
    },
    /// `Transfer-Encoding` in a message of HTTP/1.0, which does not know it (RFC 9112 section 6.1).
    #[error("an HTTP/1.0 message has Transfer-Encoding")]
    TransferEncodingInHttp10,
    /// `Connection` names a field on which framing or routing rests.
    #[error("Connection names {name}, which is not the connection's own")]
    ConnectionNames {
        /// The field.
        name: Shown,
    },
}

impl HeadError {
    /// 431, 501 or 400.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::TooManyFields { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnknownTransferCoding { .. } => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why a request head is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// What any head can have wrong.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// `PRI * HTTP/2.0`: the client speaks HTTP/2 by prior knowledge (RFC 9113 section 3.4). Nothing of the
    /// preface has been consumed, so that an HTTP/2 engine can take over with the same buffer.
    #[error("the client speaks HTTP/2 on a port for HTTP/1.1")]
    Http2Preface,
    /// A TLS handshake record.
    #[error("the client speaks TLS on a port without TLS; use http:// instead of https://")]
    Tls,
    /// Empty lines ahead of the request line, more than the limit.
    #[error("there are more than {limit} empty lines ahead of the request line")]
    EmptyLines {
        /// The limit in force.
        limit: u8,
    },
    /// CR without LF ahead of the request line.
    #[error("the request starts with CR without LF")]
    BareCarriageReturn,
    /// A method that is no token, or has lower-case letters.
    #[error("{method} is not a request method; methods are upper-case words")]
    Method {
        /// The method.
        method: Shown,
    },
    /// No space within the first bytes.
    #[error("the request method is longer than {limit} bytes")]
    MethodTooLong {
        /// The limit in force.
        limit: usize,
    },
    /// Not `METHOD TARGET VERSION` with one space between.
    #[error("the request line is not METHOD, one space, TARGET, one space, VERSION")]
    RequestLine,
    /// The request line is longer than the limit.
    #[error("the request line is longer than {limit} bytes")]
    RequestLineTooLong {
        /// The limit in force.
        limit: usize,
    },
    /// The target holds `#`, white space, a control byte, a byte past ASCII, or one that must be encoded.
    #[error("the request target {target} holds a character that is not allowed there unencoded")]
    TargetByte {
        /// The target.
        target: Shown,
    },
    /// A target in none of the forms that the method allows.
    #[error("the request target {target} is neither a path nor an http:// address")]
    TargetForm {
        /// The target.
        target: Shown,
    },
    /// `*` with a method other than OPTIONS.
    #[error("the request target * goes with OPTIONS alone")]
    AsteriskForm,
    /// CONNECT without `host:port`.
    #[error("the target of CONNECT is host:port")]
    AuthorityForm,
    /// The authority of an absolute target is wrong.
    #[error("the authority of the request target {fault}")]
    TargetAuthority {
        /// What is wrong with it.
        fault: AuthorityFault,
    },
    /// The last word of the request line is no HTTP version.
    #[error("{version} is not an HTTP version; the request line ends in HTTP/1.1")]
    Version {
        /// That word.
        version: Shown,
    },
    /// A well-formed version other than 1.0 and 1.1.
    #[error("{version} is not supported; use HTTP/1.1")]
    UnsupportedVersion {
        /// The version.
        version: Shown,
    },
    /// HTTP/1.1 without Host.
    #[error("there is no Host header")]
    HostMissing,
    /// Host more than once.
    #[error("there is more than one Host header")]
    HostTwice,
    /// The value of Host is wrong.
    #[error("the Host header {fault}")]
    Host {
        /// What is wrong with it.
        fault: AuthorityFault,
    },
    /// An absolute target names another authority than Host does.
    #[error("the request target and the Host header name different hosts")]
    HostMismatch,
    /// `Expect` other than `100-continue`.
    #[error("the expectation {value} cannot be met; only 100-continue can")]
    Expectation {
        /// The value.
        value: Shown,
    },
    /// TRACE with a body (RFC 9110 section 9.3.8).
    #[error("TRACE carries no body")]
    TraceBody,
}

impl RequestError {
    /// The status to answer with before the connection is closed.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Head(head) => head.status(),
            Self::RequestLineTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::UnsupportedVersion { .. } | Self::Http2Preface => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation { .. } => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The `code` of the problem document.
    pub fn code(&self) -> &'static str {
        problem_code(self.status())
    }
}

/// Why a backend's response head is refused. The client gets 502 and the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// What any head can have wrong.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Not `HTTP/1.x NNN reason`.
    #[error("{line} is not an HTTP/1 status line")]
    StatusLine {
        /// The line.
        line: Shown,
    },
    /// The status line is longer than the limit.
    #[error("the status line is longer than {limit} bytes")]
    StatusLineTooLong {
        /// The limit in force.
        limit: usize,
    },
    /// 101 although no upgrade was asked for, or not to that protocol, or without saying to which (RFC 9110 sections 7.8
    /// and 15.2.2).
    #[error("the backend switched to a protocol that it was not asked for")]
    UnaskedUpgrade,
}

/// Why a body cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// A chunk starts with something other than hexadecimal digits.
    #[error("the chunk size is not a plain hexadecimal number")]
    ChunkSize,
    /// A chunk size of 2^63 or more, or of more than 16 digits.
    #[error("the chunk size is too large")]
    ChunkSizeOverflow,
    /// A chunk extension that is not `;name`, `;name=token` or `;name="text"`.
    #[error("a chunk extension is malformed")]
    ChunkExtension,
    /// More bytes of chunk extensions than the limit.
    #[error("the chunk extensions are longer than {limit} bytes together")]
    ChunkExtensionsTooLong {
        /// The limit in force.
        limit: u32,
    },
    /// The data of a chunk is not followed by CR LF.
    #[error("a chunk does not end in CR LF where its size says it does")]
    ChunkEnd,
    /// Something in the trailer section.
    #[error("in the trailers: {0}")]
    Trailers(#[from] HeadError),
    /// The peer closed before the end.
    #[error("the connection was closed before the body was complete")]
    Truncated,
}

impl BodyError {
    /// The status to answer with where this was a request's body: 431 for long trailers, else 400.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Trailers(head) => head.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The `code` of the problem document.
    pub fn code(&self) -> &'static str {
        problem_code(self.status())
    }
}

fn problem_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "headers_too_large",
        StatusCode::URI_TOO_LONG => "uri_too_long",
        StatusCode::NOT_IMPLEMENTED => "not_implemented",
        StatusCode::EXPECTATION_FAILED => "expectation_failed",
        _ => "bad_request",
    }
}
