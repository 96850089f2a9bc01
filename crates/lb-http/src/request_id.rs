//! Request ids: kept from the client where they are harmless, made here otherwise.

use std::cell::RefCell;

use bytes::Bytes;
use http::HeaderValue;

/// The longest id taken over from a client, in bytes.
const MAX_LENGTH: usize = 128;

/// A worker's source of ids: 128 random bits as 32 hexadecimal digits.
///
/// Random rather than counted, so that ids neither collide between processes nor tell how busy this one is. Not
/// a secret: whoever has seen many could foretell the next.
#[derive(Debug)]
pub(crate) struct RequestIds(RefCell<fastrand::Rng>);

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(fastrand::Rng::new()))
    }

    /// A new id. Costs one allocation, of the 32 bytes.
    pub(crate) fn next(&self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut random = self.0.borrow_mut().u128(..);
        let mut text = [0; 32];
        for byte in &mut text {
            #[expect(clippy::indexing_slicing, reason = "four bits index sixteen digits")]
            let digit = DIGITS[(random & 15) as usize];
            *byte = digit;
            random >>= 4;
        }
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

/// Whether a client's id is kept: 1 to 128 visible ASCII characters.
pub(crate) fn is_acceptable(id: &[u8]) -> bool {
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_hexadecimal_digits_and_differ() {
        let ids = RequestIds::new();
        let (one, two) = (ids.next(), ids.next());
        assert_eq!(one.len(), 32);
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
        assert_ne!(one, two);
        assert!(is_acceptable(one.as_bytes()));
    }

    #[test]
    fn only_short_visible_ascii_is_kept() {
        for (id, kept) in [("a", true), ("", false), ("a b", false), ("\u{e9}", false)] {
            assert_eq!(is_acceptable(id.as_bytes()), kept, "{id:?}");
        }
        assert!(is_acceptable(&[b'x'; 128]));
        assert!(!is_acceptable(&[b'x'; 129]));
    }
}
