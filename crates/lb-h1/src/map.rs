//! Heads as maps of fields, for protocols whose heads are no text: what a reader would make of the head that
//! [`encode_request_head`](crate::encode_request_head) or [`encode_response_head`](crate::encode_response_head) writes.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::authority::Authority;
use crate::date::Date;
use crate::encode::RequestLine;
use crate::error::RequestError;
use crate::fields::Fields;
use crate::framing::{BodyFraming, ResponseFraming};
use crate::response::{body_framing, is_bodiless};
use crate::target::{Shape, Target};

/// A request's target and fields, Host among them and framing as a length alone.
///
/// # Errors
/// Where the reader would refuse it: its target, and a Host that is missing, malformed or there twice.
pub fn request_map(
    line: RequestLine<'_>,
    headers: &Fields,
    framing: BodyFraming,
) -> Result<(Target, HeaderMap), RequestError> {
    let shape = Shape::parse(line.target, line.method.as_str().as_bytes())?;
    let target = Target::new(Bytes::copy_from_slice(line.target), shape);
    let mut hosts = headers.get_all(&header::HOST);
    let host = hosts.next().ok_or(RequestError::HostMissing)?;
    Authority::parse(host).map_err(|fault| RequestError::Host { fault })?;
    if hosts.next().is_some() {
        return Err(RequestError::HostTwice);
    }
    let mut map = headers.to_passed_map();
    match framing {
        BodyFraming::None if !matches!(*line.method, Method::POST | Method::PUT | Method::PATCH) => {}
        BodyFraming::None => set_length(&mut map, 0),
        BodyFraming::Length(length) => set_length(&mut map, length),
        BodyFraming::Chunked => {}
    }
    Ok((target, map))
}

/// A response's fields, framing as a length alone, and what follows them, where `method` was asked.
pub fn response_map(
    (status, method): (StatusCode, &Method),
    headers: &Fields,
    framing: ResponseFraming,
    date: Option<&Date>,
) -> (HeaderMap, ResponseFraming) {
    let mut map = headers.to_passed_map();
    if let Some(date) = date
        && !status.is_informational()
        && !map.contains_key(header::DATE)
        && let Ok(mut date) = HeaderValue::from_bytes(date)
    {
        date.set_sensitive(true);
        map.insert(header::DATE, date);
    }
    let may_announce = status == StatusCode::NOT_MODIFIED || !is_bodiless(status);
    let declared = match framing {
        ResponseFraming::Length(length) if may_announce => {
            set_length(&mut map, length);
            BodyFraming::Length(length)
        }
        ResponseFraming::Chunked if may_announce => BodyFraming::Chunked,
        _ => BodyFraming::None,
    };
    (map, body_framing(status, method, declared))
}

fn set_length(map: &mut HeaderMap, length: u64) {
    map.insert(header::CONTENT_LENGTH, length.into());
}
