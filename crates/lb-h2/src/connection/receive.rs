//! Frames as they come.

use bytes::BytesMut;

use super::heads::Block;
use super::{Core, FAREWELL, Heard, Role, Stage};
use crate::PREFACE;
use crate::fault::{Fault, Reason};
use crate::frame::{HEAD, Head, LAST_STREAM, MAX_WINDOW, flag, kind, number};

/// Where in the flow of frames the reader stands.
#[derive(Debug)]
pub(super) struct Reading {
    /// How much of the preface is still to come.
    preface: usize,
    /// A frame that has not come whole.
    partial: BytesMut,
    /// A body's frame that is passed on as it comes.
    data: Option<Data>,
    /// A head that is not whole: only its rest may follow.
    pub(super) block: Option<Block>,
    /// Whether the first frame has come, which must be SETTINGS.
    has_begun: bool,
}

#[derive(Debug, Clone, Copy)]
struct Data {
    stream: u32,
    /// None where nobody wants it.
    key: Option<usize>,
    left: usize,
    is_last: bool,
}

impl Reading {
    pub(super) fn new(has_preface: bool) -> Self {
        Self {
            preface: if has_preface { PREFACE.len() } else { 0 },
            partial: BytesMut::new(),
            data: None,
            block: None,
            has_begun: false,
        }
    }
}

/// Takes up to so many bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    taken
}

impl Core {
    /// Takes bytes that have been read.
    pub(super) fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Reason> {
        self.heard = self.heard.max(Heard::Something);
        while !bytes.is_empty() {
            if self.reading.preface > 0 {
                self.receive_preface(&mut bytes)?;
            } else if let Some(data) = self.reading.data {
                let piece = take(&mut bytes, data.left);
                self.receive_body(data, piece)?;
            } else if self.reading.partial.is_empty() {
                self.receive_whole(&mut bytes)?;
            } else {
                self.receive_partial(&mut bytes)?;
            }
        }
        Ok(())
    }

    fn receive_preface(&mut self, bytes: &mut &[u8]) -> Result<(), Reason> {
        let piece = take(bytes, self.reading.preface);
        let start = PREFACE.len() - self.reading.preface;
        self.reading.preface -= piece.len();
        if PREFACE.get(start..start + piece.len()) == Some(piece) {
            Ok(())
        } else {
            Err(Reason::PROTOCOL_ERROR)
        }
    }

    /// A frame that stands in what has been read, or the beginning of one.
    fn receive_whole(&mut self, bytes: &mut &[u8]) -> Result<(), Reason> {
        let Some(head) = bytes.first_chunk().map(Head::read) else {
            self.reading.partial.extend_from_slice(take(bytes, HEAD));
            return Ok(());
        };
        self.judge(head)?;
        if is_streamed(head) {
            take(bytes, HEAD);
            return self.receive_data(head, 0);
        }
        let length = HEAD + head.length as usize;
        match bytes.get(HEAD..length) {
            Some(payload) => {
                *bytes = bytes.get(length..).unwrap_or_default();
                self.receive_frame(head, payload)
            }
            None => {
                self.reading.partial.extend_from_slice(take(bytes, length));
                Ok(())
            }
        }
    }

    /// More of a frame that has not come whole.
    fn receive_partial(&mut self, bytes: &mut &[u8]) -> Result<(), Reason> {
        if self.reading.partial.len() < HEAD {
            let missing = HEAD - self.reading.partial.len();
            self.reading.partial.extend_from_slice(take(bytes, missing));
            let Some(head) = self.reading.partial.first_chunk().map(Head::read) else { return Ok(()) };
            self.judge(head)?;
            if is_streamed(head) {
                self.reading.partial.clear();
                return self.receive_data(head, 0);
            }
        }
        let Some(head) = self.reading.partial.first_chunk().map(Head::read) else { return Ok(()) };
        let length = HEAD + head.length as usize;
        let missing = length.saturating_sub(self.reading.partial.len());
        self.reading.partial.extend_from_slice(take(bytes, missing));
        if self.reading.partial.len() < length {
            return Ok(());
        }
        let frame = std::mem::take(&mut self.reading.partial);
        self.receive_frame(head, frame.get(HEAD..).unwrap_or_default())
    }

    /// What can be said of a frame by its head.
    fn judge(&mut self, head: Head) -> Result<(), Reason> {
        if matches!(head.kind, kind::DATA | kind::HEADERS) {
            self.heard = Heard::Messages;
        }
        if head.length > self.ours.max_frame {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if !std::mem::replace(&mut self.reading.has_begun, true)
            && (head.kind != kind::SETTINGS || head.has(flag::ACK))
        {
            return Err(Reason::PROTOCOL_ERROR);
        }
        match &self.reading.block {
            Some(block) if head.kind != kind::CONTINUATION || head.stream != block.stream => {
                Err(Reason::PROTOCOL_ERROR)
            }
            None if head.kind == kind::CONTINUATION => Err(Reason::PROTOCOL_ERROR),
            _ => Ok(()),
        }
    }

    fn receive_frame(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        match head.kind {
            kind::DATA => {
                let (payload, padding) = unpad(head, payload)?;
                self.receive_data(
                    Head { length: payload.len().try_into().unwrap_or_default(), ..head },
                    padding,
                )?;
                match self.reading.data {
                    Some(data) => self.receive_body(data, payload),
                    None => Ok(()),
                }
            }
            kind::HEADERS => self.receive_headers(head, payload),
            kind::PRIORITY => self.receive_priority(head, payload),
            kind::RST_STREAM => self.receive_reset(head, payload),
            kind::SETTINGS => self.receive_settings(head, payload),
            // We never say that we take any.
            kind::PUSH_PROMISE => Err(Reason::PROTOCOL_ERROR),
            kind::PING => self.receive_ping(head, payload),
            kind::GOAWAY => self.receive_go_away(head, payload),
            kind::WINDOW_UPDATE => self.receive_window_update(head, payload),
            kind::CONTINUATION => self.receive_continuation(head, payload),
            // What nobody knows is passed over (RFC 9113 §4.1).
            _ => Ok(()),
        }
    }

    /// Whether a stream of this number has never been opened.
    fn is_idle(&self, stream: u32) -> bool {
        let is_own = (stream % 2 == 1) == (self.role == Role::Client);
        if is_own { stream >= self.next_own } else { stream > self.last_peer }
    }

    /// A frame of a stream that is over: its last ones may have been under way when it was reset.
    pub(super) fn receive_late(&mut self, stream: u32) -> Result<(), Reason> {
        if stream == 0 || self.is_idle(stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        // Of a server that leaves it may belong to a stream that came too late (RFC 9113 §6.8). And a backend answers what was asked and
        // given up since: there may be much of it, and it is no fault.
        if self.stage == Stage::Leaving || self.role == Role::Client {
            return Ok(());
        }
        let was_reset = self.keys.contains_key(&stream) || self.reset.contains(&stream);
        if was_reset { Ok(()) } else { Err(Reason::STREAM_CLOSED) }
    }

    /// The beginning of a body's frame, with so much padding.
    fn receive_data(&mut self, head: Head, padding: usize) -> Result<(), Reason> {
        let (length, padding) = (i64::from(head.length), i64::try_from(padding).unwrap_or(i64::MAX));
        let total = length + padding;
        self.recv_window -= total;
        if self.recv_window < 0 {
            return Err(Reason::FLOW_CONTROL_ERROR);
        }
        let is_last = head.has(flag::END_STREAM);
        if head.length == 0 && !is_last {
            self.forbearance.spend()?;
        }
        let key = self.keys.get(&head.stream).copied();
        let stream = key.and_then(|key| self.streams.get_mut(key));
        let wanted = match stream {
            Some(stream) if !stream.is_recv_ended && stream.fault.is_none() => {
                stream.recv_window -= total;
                let is_too_much = stream.expected.is_some_and(|left| u64::from(head.length) > left)
                    || stream.is_left && head.length > 0;
                if stream.recv_window < 0 {
                    Some(Err(Reason::FLOW_CONTROL_ERROR))
                } else if is_too_much || self.role == Role::Client && !stream.has_head {
                    Some(Err(Reason::PROTOCOL_ERROR))
                } else {
                    stream.unreleased += padding;
                    Some(Ok(()))
                }
            }
            Some(stream) if stream.fault.is_none() => Some(Err(Reason::STREAM_CLOSED)),
            _ => None,
        };
        let key = match wanted {
            Some(Ok(())) => key,
            Some(Err(reason)) => {
                self.refuse(key, reason)?;
                None
            }
            None => {
                self.receive_late(head.stream)?;
                None
            }
        };
        self.release(total);
        let data = Data { stream: head.stream, key, left: head.length as usize, is_last };
        self.reading.data = Some(data);
        if data.left == 0 { self.receive_body(data, &[]) } else { Ok(()) }
    }

    /// Some of a body.
    fn receive_body(&mut self, data: Data, piece: &[u8]) -> Result<(), Reason> {
        let left = data.left - piece.len();
        self.reading.data = (left > 0).then_some(Data { left, ..data });
        let Some(key) = data.key else { return Ok(()) };
        // The stream may have gone since the frame began, and another one have its place.
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.id == data.stream) else {
            return Ok(());
        };
        stream.body.extend_from_slice(piece);
        if let Some(expected) = &mut stream.expected {
            *expected = expected.saturating_sub(piece.len() as u64);
        }
        if left == 0 && data.is_last {
            return self.receive_end(key);
        }
        stream.wake_for_input();
        Ok(())
    }

    /// The peer has said all.
    pub(super) fn receive_end(&mut self, key: usize) -> Result<(), Reason> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.expected.is_some_and(|left| left > 0) {
            return self.refuse(Some(key), Reason::PROTOCOL_ERROR);
        }
        stream.is_recv_ended = true;
        stream.wake_for_input();
        self.settle(key);
        Ok(())
    }

    /// The peer has broken a rule that is a stream's.
    pub(super) fn refuse(&mut self, key: Option<usize>, reason: Reason) -> Result<(), Reason> {
        self.forbearance.spend()?;
        if let Some(key) = key {
            self.reset(key, reason);
            self.drop_if_not_accepted(key);
        }
        Ok(())
    }

    /// Forgets a stream that was over before it could be taken in.
    pub(super) fn drop_if_not_accepted(&mut self, key: usize) {
        let place = self.accepted.iter().position(|(accepted, _)| *accepted == key);
        if let Some(place) = place {
            self.accepted.remove(place);
            self.strays += 1;
            self.forget(key);
        }
    }

    fn receive_priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        match (head.stream, payload.len()) {
            (0, _) => Err(Reason::PROTOCOL_ERROR),
            (_, 5) => Ok(()),
            (stream, _) => match self.keys.get(&stream).copied() {
                Some(key) => self.refuse(Some(key), Reason::FRAME_SIZE_ERROR),
                None => Err(Reason::FRAME_SIZE_ERROR),
            },
        }
    }

    fn receive_reset(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        let reason = number(payload).filter(|_| payload.len() == 4).ok_or(Reason::FRAME_SIZE_ERROR)?;
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let Some(&key) = self.keys.get(&head.stream) else { return Ok(()) };
        if let Some(stream) = self.streams.get_mut(key)
            && stream.fault.is_none()
        {
            stream.fault = Some(Fault::ResetByPeer(Reason(reason)));
            if self.role == Role::Server {
                // It counts no more, so it may hold nothing either.
                stream.body = BytesMut::new();
            }
            stream.wake_for_both();
            self.settle_reset(key);
            self.drop_if_not_accepted(key);
        }
        Ok(())
    }

    /// A stream that the peer has reset counts no more, and waits for nothing.
    fn settle_reset(&mut self, key: usize) {
        self.settle(key);
        if let Some(stream) = self.streams.get_mut(key)
            && std::mem::take(&mut stream.is_queued)
        {
            self.queue.retain(|queued| *queued != key);
        }
    }

    fn receive_settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if head.has(flag::ACK) {
            self.is_known = true;
            return if payload.is_empty() { Ok(()) } else { Err(Reason::FRAME_SIZE_ERROR) };
        }
        if !payload.len().is_multiple_of(6) {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        self.forbearance.spend()?;
        let before = self.theirs;
        self.theirs.read(payload, self.role == Role::Server)?;
        if self.theirs.smallest_table < before.table_size {
            // What the peer has thrown away meanwhile is not to be named again (RFC 7541 §4.2).
            self.encoder.resize(self.theirs.smallest_table);
        }
        self.encoder.resize(self.theirs.table_size);
        self.theirs.smallest_table = self.theirs.table_size;
        let more = self.theirs.window - before.window;
        if more != 0 {
            for (_, stream) in &mut self.streams {
                stream.send_window += more;
                if stream.send_window > MAX_WINDOW {
                    return Err(Reason::FLOW_CONTROL_ERROR);
                }
                if more > 0 {
                    stream.wake_for_room();
                }
            }
        }
        self.out.frame(kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    fn receive_ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if payload.len() != 8 {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        if !head.has(flag::ACK) {
            self.out.frame(kind::PING, flag::ACK, 0, payload);
        } else if self.stage == Stage::Warned && payload == FAREWELL {
            // All that was under way when it was warned has come.
            self.stage = Stage::Leaving;
            self.announced = Some(self.last_peer);
            self.put_go_away(self.last_peer, Reason::NO_ERROR);
        }
        Ok(())
    }

    fn receive_go_away(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let (Some(last), Some(reason)) = (number(payload), payload.get(4..).and_then(number)) else {
            return Err(Reason::FRAME_SIZE_ERROR);
        };
        // A client that goes lets finish what it has asked for.
        if self.role == Role::Server {
            return Ok(());
        }
        self.stage = Stage::Leaving;
        let last = last & LAST_STREAM;
        let unprocessed: Vec<usize> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.id > last && !stream.is_over())
            .map(|(key, _)| key)
            .collect();
        for key in unprocessed {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.fault = Some(Fault::Unprocessed(Reason(reason)));
                stream.wake_for_both();
            }
            self.settle_reset(key);
        }
        Ok(())
    }

    fn receive_window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        let more = number(payload).filter(|_| payload.len() == 4).ok_or(Reason::FRAME_SIZE_ERROR)?;
        let more = i64::from(more & LAST_STREAM);
        if head.stream == 0 {
            if more == 0 {
                return Err(Reason::PROTOCOL_ERROR);
            }
            self.send_window += more;
            if self.send_window > MAX_WINDOW {
                return Err(Reason::FLOW_CONTROL_ERROR);
            }
            self.wake_queue();
            return Ok(());
        }
        if self.is_idle(head.stream) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        let Some(&key) = self.keys.get(&head.stream) else { return Ok(()) };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.fault.is_some() {
            return Ok(());
        }
        stream.send_window += more;
        if more == 0 {
            return self.refuse(Some(key), Reason::PROTOCOL_ERROR);
        }
        if stream.send_window > MAX_WINDOW {
            return self.refuse(Some(key), Reason::FLOW_CONTROL_ERROR);
        }
        if !stream.is_queued {
            stream.wake_for_room();
        }
        Ok(())
    }
}

/// Whether a frame is passed on as it comes, without being gathered.
fn is_streamed(head: Head) -> bool {
    head.kind == kind::DATA && !head.has(flag::PADDED) && head.stream != 0
}

/// A payload without its padding, and what that counts (RFC 9113 §6.1).
pub(super) fn unpad(head: Head, payload: &[u8]) -> Result<(&[u8], usize), Reason> {
    if head.stream == 0 {
        return Err(Reason::PROTOCOL_ERROR);
    }
    if !head.has(flag::PADDED) {
        return Ok((payload, 0));
    }
    let (&padding, rest) = payload.split_first().ok_or(Reason::FRAME_SIZE_ERROR)?;
    let length = rest.len().checked_sub(usize::from(padding)).ok_or(Reason::PROTOCOL_ERROR)?;
    Ok((rest.get(..length).unwrap_or_default(), usize::from(padding) + 1))
}
