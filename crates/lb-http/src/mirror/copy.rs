//! The body of a request that is mirrored, copied as it goes out.

use bytes::{Bytes, BytesMut};

/// What has been copied so far.
#[derive(Debug)]
pub(crate) struct BodyCopy {
    bytes: BytesMut,
    limit: usize,
    is_too_large: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Copied {
    /// All of it, framed as it went out.
    Whole(Bytes),
    /// There was more than may be copied.
    TooLarge,
    /// The primary exchange ended before it.
    Broken,
}

impl BodyCopy {
    /// Of a body up to this size.
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: BytesMut::new(), limit, is_too_large: false }
    }

    /// A piece goes out.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        if self.bytes.len() + piece.len() > self.limit {
            self.is_too_large = true;
            self.bytes = BytesMut::new();
        }
        if !self.is_too_large {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Whether there is something left to copy.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_too_large
    }

    /// No more comes; whether that is the end of the body.
    pub(crate) fn finish(self, is_complete: bool) -> Copied {
        match (self.is_too_large, is_complete) {
            (true, _) => Copied::TooLarge,
            (false, true) => Copied::Whole(self.bytes.freeze()),
            (false, false) => Copied::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_the_limit_it_is_whole_and_above_it_gone() {
        let mut copy = BodyCopy::new(4);
        copy.add(b"ab");
        copy.add(b"cd");
        assert!(copy.is_open());
        assert!(matches!(copy.finish(true), Copied::Whole(bytes) if bytes == "abcd"));
        let mut copy = BodyCopy::new(4);
        copy.add(b"abcde");
        copy.add(b"f");
        assert!(!copy.is_open());
        assert!(matches!(copy.finish(true), Copied::TooLarge));
        assert!(matches!(BodyCopy::new(4).finish(false), Copied::Broken));
        assert!(matches!(BodyCopy::new(0).finish(true), Copied::Whole(bytes) if bytes.is_empty()));
    }
}
