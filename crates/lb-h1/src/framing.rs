//! Where a body ends: Content-Length and Transfer-Encoding, gathered field by field and judged at the end
//! of the head (RFC 9112 section 6).

use http::Version;

use crate::bytes_class::{is_token, trim_ows};
use crate::error::{HeadError, Shown};

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// Neither Content-Length nor Transfer-Encoding: there is no body.
    None,
    /// Content-Length, in bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// How what follows a response head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body, by the status or the request's method, whatever the fields say.
    None,
    /// Content-Length, in bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// Neither: the body ends when the connection does.
    UntilClose,
    /// Not HTTP any more: 101, or success for CONNECT.
    Tunnel,
}

impl From<BodyFraming> for ResponseFraming {
    fn from(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::None => Self::None,
            BodyFraming::Length(length) => Self::Length(length),
            BodyFraming::Chunked => Self::Chunked,
        }
    }
}

/// What to do about a Content-Length that is said twice with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    Refuse,
    Accept,
}

/// The framing fields seen so far.
#[derive(Debug, Default)]
pub(crate) struct FramingFields {
    length: Option<u64>,
    coding: Option<Coding>,
}

#[derive(Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Unknown(Shown),
}

/// The greatest length that is believed: many parsers keep it in a signed number of 64 bits.
const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

impl FramingFields {
    /// One Content-Length line of a request, or of a response.
    pub(crate) fn content_length(&mut self, value: &[u8], repeated: Repeated) -> Result<(), HeadError> {
        let malformed = || HeadError::ContentLength { value: Shown::new(value) };
        match repeated {
            Repeated::Refuse => {
                // Leading zeros are within the grammar, but some parsers read an octal number there.
                if matches!(value, [b'0', _, ..]) {
                    return Err(malformed());
                }
                let length = read_length(value).ok_or_else(malformed)?;
                self.set_length(length, repeated)
            }
            Repeated::Accept => {
                if value.is_empty() {
                    return Err(malformed());
                }
                // RFC 9110 section 8.6: one number repeated, in one line or several, may be taken as one.
                value.split(|&byte| byte == b',').try_for_each(|element| {
                    let element = trim_ows(element);
                    self.set_length(read_length(element).ok_or_else(malformed)?, repeated)
                })
            }
        }
    }

    fn set_length(&mut self, length: u64, repeated: Repeated) -> Result<(), HeadError> {
        match self.length {
            Some(earlier) if repeated == Repeated::Refuse || earlier != length => {
                Err(HeadError::ContentLengthTwice)
            }
            _ => {
                self.length = Some(length);
                Ok(())
            }
        }
    }

    /// One Transfer-Encoding line.
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.coding.is_some() {
            return Err(HeadError::TransferEncodingTwice);
        }
        self.coding = Some(if value.eq_ignore_ascii_case(b"chunked") {
            Coding::Chunked
        } else {
            unknown_coding(value)?
        });
        Ok(())
    }

    /// What the fields together say. `Length` and `Chunked` exclude each other.
    pub(crate) fn judge(self, version: Version) -> Result<BodyFraming, HeadError> {
        match (self.coding, self.length) {
            (None, None) => Ok(BodyFraming::None),
            (None, Some(length)) => Ok(BodyFraming::Length(length)),
            (Some(_), Some(_)) => Err(HeadError::ContentLengthAndTransferEncoding),
            (Some(_), None) if version == Version::HTTP_10 => Err(HeadError::TransferEncodingInHttp10),
            (Some(Coding::Unknown(value)), None) => Err(HeadError::UnknownTransferCoding { value }),
            (Some(Coding::Chunked), None) => Ok(BodyFraming::Chunked),
        }
    }
}

/// Plain decimal digits below 2^63.
fn read_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let length = digits.iter().try_fold(0u64, |length, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })?;
    (length <= MAX_LENGTH).then_some(length)
}

/// Tells a well-formed list of other codings (501) from what only a smuggler or a broken client sends:
/// `chunked` with parameters, twice, or ahead of another coding, and what is no list of tokens at all.
#[cold]
fn unknown_coding(value: &[u8]) -> Result<Coding, HeadError> {
    let mut chunked_so_far = false;
    for element in value.split(|&byte| byte == b',') {
        // A coding name, and after `;` its parameters, which nobody here reads.
        let name = trim_ows(element.split(|&byte| byte == b';').next().unwrap_or_default());
        let has_parameters = name.len() < trim_ows(element).len();
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        if !is_token(name) || chunked_so_far || (is_chunked && has_parameters) {
            return Err(HeadError::TransferEncoding { value: Shown::new(value) });
        }
        chunked_so_far = is_chunked;
    }
    Ok(Coding::Unknown(Shown::new(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_length(values: &[&str]) -> Result<BodyFraming, HeadError> {
        let mut fields = FramingFields::default();
        for value in values {
            fields.content_length(value.as_bytes(), Repeated::Refuse)?;
        }
        fields.judge(Version::HTTP_11)
    }

    fn response_length(values: &[&str]) -> Result<BodyFraming, HeadError> {
        let mut fields = FramingFields::default();
        for value in values {
            fields.content_length(value.as_bytes(), Repeated::Accept)?;
        }
        fields.judge(Version::HTTP_11)
    }

    fn coding(values: &[&str]) -> Result<BodyFraming, HeadError> {
        let mut fields = FramingFields::default();
        for value in values {
            fields.transfer_encoding(value.as_bytes())?;
        }
        fields.judge(Version::HTTP_11)
    }

    #[test]
    fn a_length_is_plain_decimal_digits() {
        assert_eq!(request_length(&["0"]), Ok(BodyFraming::Length(0)));
        assert_eq!(request_length(&["5"]), Ok(BodyFraming::Length(5)));
        assert_eq!(request_length(&["9223372036854775807"]), Ok(BodyFraming::Length(MAX_LENGTH)));
        for value in [
            "",
            "+5",
            "-1",
            "-0",
            "0x5",
            "0o5",
            "5 ",
            "1 0",
            "1_0",
            "5,5",
            "5, 5",
            "5;",
            "٥",
            "00",
            "005",
            "5.0",
            "1e3",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999",
        ] {
            assert!(matches!(request_length(&[value]), Err(HeadError::ContentLength { .. })), "{value:?}");
        }
    }

    #[test]
    fn a_request_says_its_length_once() {
        assert_eq!(request_length(&["5", "5"]), Err(HeadError::ContentLengthTwice));
        assert_eq!(request_length(&["5", "6"]), Err(HeadError::ContentLengthTwice));
    }

    #[test]
    fn a_response_may_repeat_the_same_length() {
        assert_eq!(response_length(&["5", "5"]), Ok(BodyFraming::Length(5)));
        assert_eq!(response_length(&["5, 5", "005"]), Ok(BodyFraming::Length(5)));
        assert_eq!(response_length(&["5, 6"]), Err(HeadError::ContentLengthTwice));
        assert_eq!(response_length(&["5", "6"]), Err(HeadError::ContentLengthTwice));
        for value in ["", ",", "5,", "-1", "5, x", "+5"] {
            assert!(matches!(response_length(&[value]), Err(HeadError::ContentLength { .. })), "{value:?}");
        }
    }

    #[test]
    fn chunked_is_the_only_coding() {
        for value in ["chunked", "Chunked", "CHUNKED"] {
            assert_eq!(coding(&[value]), Ok(BodyFraming::Chunked), "{value}");
        }
        for value in ["gzip", "identity", "xchunked", "gzip, chunked", "chunkedx", "gzip;level=9"] {
            assert!(matches!(coding(&[value]), Err(HeadError::UnknownTransferCoding { .. })), "{value:?}");
        }
        for value in [
            "",
            ",",
            ", chunked",
            "chunked,",
            "chunked, chunked",
            "chunked, gzip",
            "chunked;a=b",
            "chunked ;",
            "chunked foo",
            "\"chunked\"",
            "'chunked' x",
            "chunked\u{b}",
            "chun ked",
            "gzip,, chunked",
            "=",
        ] {
            assert!(matches!(coding(&[value]), Err(HeadError::TransferEncoding { .. })), "{value:?}");
        }
        assert_eq!(coding(&["chunked", "chunked"]), Err(HeadError::TransferEncodingTwice));
        assert_eq!(coding(&["gzip", "chunked"]), Err(HeadError::TransferEncodingTwice));
    }

    #[test]
    fn both_framings_at_once_are_refused_whatever_they_say() {
        for value in ["chunked", "gzip"] {
            let mut fields = FramingFields::default();
            fields.transfer_encoding(value.as_bytes()).unwrap();
            fields.content_length(b"5", Repeated::Refuse).unwrap();
            assert_eq!(fields.judge(Version::HTTP_11), Err(HeadError::ContentLengthAndTransferEncoding));
        }
    }

    #[test]
    fn http_1_0_has_no_transfer_encoding() {
        let mut fields = FramingFields::default();
        fields.transfer_encoding(b"chunked").unwrap();
        assert_eq!(fields.judge(Version::HTTP_10), Err(HeadError::TransferEncodingInHttp10));
    }
}
