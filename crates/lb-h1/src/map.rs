//! Heads for protocols whose heads are no text: what a reader would make of the head that
//! [`encode_request_head`](crate::encode_request_head) or [`encode_response_head`](crate::encode_response_head) writes, beside the
//! fields that [pass](Fields::passed).

use http::header;
use http::{Method, StatusCode};

use crate::authority::Authority;
use crate::encode::RequestLine;
use crate::error::RequestError;
use crate::fields::Fields;
use crate::framing::{BodyFraming, ResponseFraming};
use crate::response::{body_framing, is_bodiless};
use crate::target::Shape;

/// What a request says beside its target and the fields that pass: its Host, and the length to announce.
///
/// # Errors
/// Where the reader would refuse it: its target, and a Host that is missing, malformed or there twice.
pub fn request_parts<'a>(
    line: RequestLine<'_>,
    headers: &'a Fields,
    framing: BodyFraming,
) -> Result<(&'a [u8], Option<u64>), RequestError> {
    Shape::parse(line.target, line.method.as_str().as_bytes())?;
    let mut hosts = headers.get_all(&header::HOST);
    let host = hosts.next().ok_or(RequestError::HostMissing)?;
    Authority::parse(host).map_err(|fault| RequestError::Host { fault })?;
    if hosts.next().is_some() {
        return Err(RequestError::HostTwice);
    }
    let length = match framing {
        BodyFraming::None => matches!(*line.method, Method::POST | Method::PUT | Method::PATCH).then_some(0),
        BodyFraming::Length(length) => Some(length),
        BodyFraming::Chunked => None,
    };
    Ok((host, length))
}

/// What a response says beside the fields that pass: the length to announce, and what follows its head where `method` was asked.
#[must_use]
pub fn response_parts(
    (status, method): (StatusCode, &Method),
    framing: ResponseFraming,
) -> (Option<u64>, ResponseFraming) {
    let may_announce = status == StatusCode::NOT_MODIFIED || !is_bodiless(status);
    let declared = match framing {
        ResponseFraming::Length(length) if may_announce => BodyFraming::Length(length),
        ResponseFraming::Chunked if may_announce => BodyFraming::Chunked,
        _ => BodyFraming::None,
    };
    let length = match declared {
        BodyFraming::Length(length) => Some(length),
        BodyFraming::None | BodyFraming::Chunked => None,
    };
    (length, body_framing(status, method, declared))
}
