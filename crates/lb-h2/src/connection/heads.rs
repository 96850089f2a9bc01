//! Heads as they come: of requests, of answers, and behind a body.

use bytes::BytesMut;
use http::StatusCode;

use super::receive::unpad;
use super::stream::Stream;
use super::{Core, Role, Stage};
use crate::fault::Reason;
use crate::frame::{FIRST_WINDOW, Head, flag};
use crate::head::{Refused, RequestReader, ResponseReader, TrailerReader};
use crate::hpack::Malformed;

/// Pieces that a head may come in.
const MAX_CONTINUATIONS: u32 = 64;
/// So many times the largest head that is served, a head's packed bytes are gathered, so that it can be refused by an answer; and so
/// many bytes more.
const HEADS_GATHERED: usize = 2;
const SPARE_BYTES: usize = 16 << 10;
/// Answers ahead of the one that counts, which wait to be looked at.
const MOST_HEADS: usize = 64;

/// A head that is not whole.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    is_ended: bool,
    bytes: BytesMut,
    pieces: u32,
}

impl Core {
    pub(super) fn receive_headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream == 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let (mut payload, _) = unpad(head, payload)?;
        if head.has(flag::PRIORITY) {
            // Nobody orders by it any more (RFC 9113 §5.3.2).
            payload = payload.get(5..).ok_or(Reason::FRAME_SIZE_ERROR)?;
        }
        let is_ended = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.receive_block(head.stream, is_ended, payload);
        }
        self.reading.block =
            Some(Block { stream: head.stream, is_ended, bytes: BytesMut::from(payload), pieces: 0 });
        Ok(())
    }

    pub(super) fn receive_continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        let Some(block) = &mut self.reading.block else { return Err(Reason::PROTOCOL_ERROR) };
        block.bytes.extend_from_slice(payload);
        block.pieces += 1;
        let most = self.ours.max_head.saturating_mul(HEADS_GATHERED).saturating_add(SPARE_BYTES);
        if block.bytes.len() > most || block.pieces > MAX_CONTINUATIONS {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        if !head.has(flag::END_HEADERS) {
            return Ok(());
        }
        let Some(block) = self.reading.block.take() else { return Err(Reason::PROTOCOL_ERROR) };
        self.receive_block(block.stream, block.is_ended, &block.bytes)
    }

    /// A whole head.
    fn receive_block(&mut self, id: u32, is_ended: bool, block: &[u8]) -> Result<(), Reason> {
        let key = self.keys.get(&id).copied();
        let is_live = key
            .and_then(|key| self.streams.get(key))
            .is_some_and(|stream| stream.fault.is_none() && !stream.is_recv_ended);
        match (key.filter(|_| is_live), self.role) {
            (Some(key), Role::Client) if !self.has_head(key) => self.receive_response(key, is_ended, block),
            (Some(key), _) => self.receive_trailers(key, is_ended, block),
            (None, Role::Server) if key.is_none() && id % 2 == 1 && id > self.last_peer => {
                self.receive_request(id, is_ended, block)
            }
            (None, _) => {
                // Whatever becomes of it, the table is kept in step.
                self.decoder.read(block, |_| {}).map_err(uncompressed)?;
                if self.role == Role::Server {
                    self.forbearance.spend()?;
                }
                match key.and_then(|key| self.streams.get(key)) {
                    // It has said all, and goes on (RFC 9113 §5.1).
                    Some(stream) if stream.fault.is_none() => self.refuse(key, Reason::STREAM_CLOSED),
                    _ => self.receive_late(id),
                }
            }
        }
    }

    fn has_head(&self, key: usize) -> bool {
        self.streams.get(key).is_some_and(|stream| stream.has_head)
    }

    /// A new stream.
    fn receive_request(&mut self, id: u32, is_ended: bool, block: &[u8]) -> Result<(), Reason> {
        let mut reader = RequestReader::new(&mut self.scratch, self.ours.max_head);
        self.decoder.read(block, |line| reader.take(line)).map_err(uncompressed)?;
        let request = reader.finish(is_ended);
        self.last_peer = id;
        if self.stage == Stage::Leaving {
            // The peer knows that it comes too late.
            return Ok(());
        }
        if self.open >= self.ours.max_streams {
            self.put_reset(id, Reason::REFUSED_STREAM);
            return self.forbearance.spend();
        }
        let Ok(request) = request else {
            self.put_reset(id, Reason::PROTOCOL_ERROR);
            self.strays += 1;
            return self.forbearance.spend();
        };
        // A smaller window than the first is not known to the peer before it has read of it.
        let least = if self.is_known { 0 } else { FIRST_WINDOW };
        let mut stream = Stream::new(id, self.ours.first_window.max(least), self.theirs.window);
        stream.is_recv_ended = is_ended;
        stream.expected = request.length;
        let key = self.streams.insert(stream);
        self.keys.insert(id, key);
        self.open += 1;
        self.accepted.push_back((key, request));
        Ok(())
    }

    /// An answer's head, or one ahead of it.
    fn receive_response(&mut self, key: usize, is_ended: bool, block: &[u8]) -> Result<(), Reason> {
        let may_switch = self.streams.get(key).is_some_and(|stream| stream.may_switch);
        let mut reader = ResponseReader::new(self.ours.max_head, may_switch);
        self.decoder.read(block, |line| reader.take(line)).map_err(uncompressed)?;
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let response = match reader.finish() {
            Ok(response) if !(response.status.is_informational() && is_ended) => response,
            _ => return self.refuse(Some(key), Reason::PROTOCOL_ERROR),
        };
        if response.status.is_informational() {
            if stream.heads.len() >= MOST_HEADS {
                return self.refuse(Some(key), Reason::ENHANCE_YOUR_CALM);
            }
        } else {
            stream.has_head = true;
            stream.is_head |= matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            stream.expected = response.length.filter(|_| !stream.is_head);
        }
        stream.heads.push_back(response);
        if is_ended {
            return self.receive_end(key);
        }
        stream.wake_for_input();
        Ok(())
    }

    fn receive_trailers(&mut self, key: usize, is_ended: bool, block: &[u8]) -> Result<(), Reason> {
        let mut reader = TrailerReader::new(self.ours.max_head);
        self.decoder.read(block, |line| reader.take(line)).map_err(uncompressed)?;
        match (reader.finish(), self.streams.get_mut(key)) {
            (Ok(trailers), Some(stream)) if is_ended => {
                stream.trailers = Some(trailers);
                self.receive_end(key)
            }
            (Ok(_) | Err(Refused), _) => self.refuse(Some(key), Reason::PROTOCOL_ERROR),
        }
    }
}

fn uncompressed(_: Malformed) -> Reason {
    Reason::COMPRESSION_ERROR
}
