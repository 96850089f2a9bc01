//! How a body passes from one connection to the other: decoded, perhaps filtered, framed anew. Shared by uploads
//! and answers.
//!
//! Cost: bytes of a body with a known length are looked at by nobody; they go as they came.

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use lb_dump::Tee;
use lb_h1::{
    BodyDecoder, BodyError, BodyLimits, CHUNK_END, Decoded, LAST_CHUNK, ResponseFraming, chunk_head,
    encode_trailers,
};
use lb_policy::{BodyFilter, FilterError};

use crate::mirror::Digest;

/// One body in one direction.
pub(crate) struct Passage {
    decoder: BodyDecoder,
    /// Whether it is written in chunks.
    is_chunked: bool,
    filter: Option<Box<dyn BodyFilter>>,
    /// Takes down what passes, for the traffic dump.
    tee: Option<Tee>,
    /// Hashes what comes, to be compared.
    digest: Option<Box<Digest>>,
    bytes: u64,
    is_ended: bool,
}

/// Why a body cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassageError {
    /// What was sent is no body, or not the whole of one.
    #[error(transparent)]
    Framing(#[from] BodyError),
    /// A policy's filter gave up.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Passage {
    /// A body that comes framed like this and goes on in chunks or not.
    pub(crate) fn new(
        framing: ResponseFraming,
        is_chunked: bool,
        filter: Option<Box<dyn BodyFilter>>,
    ) -> Self {
        let is_empty = matches!(framing, ResponseFraming::None | ResponseFraming::Length(0));
        let decoder = BodyDecoder::for_response(framing, BodyLimits::default());
        Self {
            decoder,
            is_chunked,
            is_ended: is_empty && filter.is_none(),
            filter,
            tee: None,
            digest: None,
            bytes: 0,
        }
    }

    /// Lets what passes from now on be taken down.
    pub(crate) fn tee(&mut self, tee: Option<Tee>) {
        self.tee = tee;
    }

    /// Lets what comes from now on be hashed, as it is before any filter.
    pub(crate) fn hash(&mut self) {
        self.digest = Some(Box::default());
    }

    /// The hash so far, where there is one.
    pub(crate) fn digest(&self) -> Option<u64> {
        self.digest.as_ref().map(|digest| digest.value())
    }

    /// Whether the whole body has been taken over, its end included.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether there is something of it that goes on with the length that it came with: trailers behind it still vouch for it.
    pub(crate) fn is_sized(&self) -> bool {
        !self.is_chunked && self.filter.is_none() && self.decoder.remaining().is_some_and(|left| left > 0)
    }

    /// Bytes of the body that were passed on.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes may pass without being looked at: none where they must be decoded, framed or shown to anyone.
    pub(crate) fn unseen(&self) -> u64 {
        if self.is_chunked || self.filter.is_some() || self.tee.is_some() || self.digest.is_some() {
            return 0;
        }
        self.decoder.remaining().unwrap_or(0)
    }

    /// So many bytes have passed without being looked at.
    pub(crate) fn pass_unseen(&mut self, count: usize) {
        self.decoder.skip(count as u64);
        self.bytes += count as u64;
        self.is_ended = self.decoder.is_complete();
    }

    /// How much of a piece can be sent as it is; `None` where it must be decoded. All that came before it must have
    /// been passed on.
    pub(crate) fn direct(&mut self, piece: &[u8]) -> Option<usize> {
        if self.filter.is_some() {
            return None;
        }
        if self.is_chunked {
            return self.direct_chunks(piece);
        }
        let remaining = self.decoder.remaining()?;
        let count = usize::try_from(remaining).unwrap_or(usize::MAX).min(piece.len());
        self.decoder.skip(count as u64);
        if let Some(tee) = &self.tee {
            tee.push(piece.get(..count).unwrap_or_default());
        }
        if let Some(digest) = &mut self.digest {
            digest.add(piece.get(..count).unwrap_or_default());
        }
        self.bytes += count as u64;
        self.is_ended = self.decoder.is_complete();
        Some(count)
    }

    /// Chunks that go on as chunks keep their framing, which has been looked at all the same.
    fn direct_chunks(&mut self, piece: &[u8]) -> Option<usize> {
        if self.tee.is_some() || self.digest.is_some() {
            return None;
        }
        let (count, data) = self.decoder.pass_chunks(piece)?;
        self.bytes += data as u64;
        self.is_ended = self.decoder.is_complete();
        (count > 0).then_some(count)
    }

    /// Moves what the inbox has of the body to `out`. True where something was moved or the end was found.
    pub(crate) fn drain(&mut self, inbox: &mut BytesMut, out: &mut BytesMut) -> Result<bool, PassageError> {
        if self.is_ended {
            return Ok(false);
        }
        if let Some(count) = self.direct(inbox) {
            out.extend_from_slice(inbox.get(..count).unwrap_or_default());
            inbox.advance(count);
            return Ok(count > 0);
        }
        let decoded = self.decoder.decode(inbox)?;
        if let (Some(digest), Decoded::Data(data)) = (&mut self.digest, &decoded) {
            digest.add(data);
        }
        match decoded {
            Decoded::NeedMore => return Ok(false),
            Decoded::Data(data) => match &mut self.filter {
                Some(filter) => {
                    let data = filter.push(data)?;
                    self.append(&data, out);
                }
                None => self.append(&data, out),
            },
            // Trailers of a body that was changed would vouch for one that no longer exists.
            Decoded::Trailers(trailers) => self.finish(out, self.filter.is_none().then_some(&trailers))?,
            Decoded::End => self.finish(out, None)?,
        }
        Ok(true)
    }

    /// The sender has closed: the end of a body without a length, and the loss of any other.
    pub(crate) fn close(&mut self, out: &mut BytesMut) -> Result<(), PassageError> {
        self.decoder.close()?;
        self.finish(out, None)
    }

    fn append(&mut self, data: &[u8], out: &mut BytesMut) {
        if data.is_empty() {
            return;
        }
        self.bytes += data.len() as u64;
        if let Some(tee) = &self.tee {
            tee.push(data);
        }
        if self.is_chunked {
            out.extend_from_slice(chunk_head(data.len()).as_ref());
            out.extend_from_slice(data);
            out.extend_from_slice(CHUNK_END);
        } else {
            out.extend_from_slice(data);
        }
    }

    fn finish(&mut self, out: &mut BytesMut, trailers: Option<&HeaderMap>) -> Result<(), PassageError> {
        if self.is_ended {
            return Ok(());
        }
        if let Some(mut filter) = self.filter.take() {
            let rest = filter.finish()?;
            self.append(&rest, out);
        }
        self.is_ended = true;
        match trailers {
            _ if !self.is_chunked => {}
            Some(trailers) => encode_trailers(out, trailers),
            None => out.extend_from_slice(LAST_CHUNK),
        }
        Ok(())
    }
}

/// Throws away what has arrived of a body that nobody wants. True where that is all of it.
pub(crate) fn discard(framing: ResponseFraming, inbox: &mut BytesMut) -> bool {
    let mut passage = Passage::new(framing, false, None);
    let mut nowhere = BytesMut::new();
    while let Ok(true) = passage.drain(inbox, &mut nowhere) {
        nowhere.clear();
    }
    passage.is_ended()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn passed(framing: ResponseFraming, is_chunked: bool, input: &str) -> (String, bool, String) {
        let mut passage = Passage::new(framing, is_chunked, None);
        let (mut inbox, mut out) = (BytesMut::from(input), BytesMut::new());
        while passage.drain(&mut inbox, &mut out).unwrap() {}
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(&out), passage.is_ended(), text(&inbox))
    }

    #[test]
    fn a_length_passes_as_it_is_and_leaves_the_next_message() {
        let (out, ended, rest) = passed(ResponseFraming::Length(5), false, "helloGET /");
        assert_eq!((out.as_str(), ended, rest.as_str()), ("hello", true, "GET /"));
    }

    #[test]
    fn chunks_are_framed_anew_and_trailers_follow() {
        let input = "5;ext=1\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n";
        let (out, ended, _) = passed(ResponseFraming::Chunked, true, input);
        assert_eq!((out.as_str(), ended), ("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n", true));
        let (out, ended, _) = passed(ResponseFraming::Chunked, false, input);
        assert_eq!((out.as_str(), ended), ("hello", true));
    }

    #[test]
    fn a_body_until_close_ends_with_it_and_no_other_does() {
        let mut out = BytesMut::new();
        let mut open = Passage::new(ResponseFraming::UntilClose, true, None);
        open.drain(&mut BytesMut::from("hi"), &mut out).unwrap();
        open.close(&mut out).unwrap();
        assert_eq!(out, "2\r\nhi\r\n0\r\n\r\n");
        assert!(Passage::new(ResponseFraming::Length(3), false, None).close(&mut out).is_err());
    }

    #[derive(Debug)]
    struct Twice;

    impl BodyFilter for Twice {
        fn push(&mut self, piece: Bytes) -> Result<Bytes, FilterError> {
            Ok([&piece[..], &piece[..]].concat().into())
        }
        fn finish(&mut self) -> Result<Bytes, FilterError> {
            Ok(Bytes::from_static(b"!"))
        }
    }

    #[test]
    fn a_filter_changes_pieces_and_has_the_last_word() {
        let mut passage = Passage::new(ResponseFraming::Length(2), true, Some(Box::new(Twice)));
        let (mut inbox, mut out) = (BytesMut::from("hi"), BytesMut::new());
        while passage.drain(&mut inbox, &mut out).unwrap() {}
        assert_eq!(out, "4\r\nhihi\r\n1\r\n!\r\n0\r\n\r\n");
        assert!(passage.is_ended());
    }
}
