//! What streams say, and what they read.

use std::task::{Context, Poll};

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, header};
use lb_h1::{Fields, KnownName};

use super::out::{FULL, MOST_FRAMES};
use super::stream::Stream;
use super::{Core, Promise, Role, Stage, StreamRef};
use crate::fault::{Fault, Reason};
use crate::frame::{Head, flag, kind};
use crate::head::Response;
use crate::hpack::Encoder;

/// How much a stream may send at once while others wait.
pub(super) const TURN: usize = 16 << 10;

/// A request's head as it is to be sent.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a Method,
    pub(crate) is_secure: bool,
    pub(crate) authority: &'a [u8],
    pub(crate) path: &'a [u8],
    /// What the stream is to become (RFC 8441).
    pub(crate) protocol: Option<&'a [u8]>,
    pub(crate) headers: &'a Fields,
    pub(crate) length: Option<u64>,
    /// Whether trailers are welcome.
    pub(crate) te_trailers: bool,
    pub(crate) is_grpc: bool,
}

/// An answer's head as it is to be sent.
pub(crate) struct Tell<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a Fields,
    pub(crate) length: Option<u64>,
    pub(crate) date: Option<&'a [u8]>,
    /// Whether it is told the client of an extended CONNECT.
    pub(crate) is_to_connect: bool,
}

impl Ask<'_> {
    fn write(&self, encoder: &mut Encoder, block: &mut Vec<u8>) {
        match self.protocol {
            Some(_) => encoder.method(&Method::CONNECT, block),
            None => encoder.method(self.method, block),
        }
        encoder.scheme(self.is_secure, block);
        encoder.authority(self.authority, block);
        encoder.path(self.path, self.is_grpc, block);
        if let Some(protocol) = self.protocol {
            encoder.protocol(protocol, block);
        }
        for (known, name, value) in self.headers.passed() {
            let is_told = known.is_some_and(|known| {
                known == header::HOST || self.protocol.is_some() && known == header::SEC_WEBSOCKET_KEY
            });
            if !is_told {
                encoder.field(known, name, value, block);
            }
        }
        write_length(encoder, self.length, block);
        if self.te_trailers {
            encoder.field(KnownName::find(b"te"), b"te", b"trailers", block);
        }
    }
}

impl Tell<'_> {
    fn write(&self, encoder: &mut Encoder, block: &mut Vec<u8>) {
        encoder.status(self.status, block);
        let mut has_date = false;
        for (known, name, value) in self.headers.passed() {
            if let Some(known) = known {
                has_date |= known == header::DATE;
                if self.is_to_connect && known == header::SEC_WEBSOCKET_ACCEPT {
                    continue;
                }
            }
            encoder.field(known, name, value, block);
        }
        if let Some(date) = self.date.filter(|_| !has_date) {
            encoder.field(KnownName::find(b"date"), b"date", date, block);
        }
        write_length(encoder, self.length, block);
    }
}

fn write_length(encoder: &mut Encoder, length: Option<u64>, block: &mut Vec<u8>) {
    if let Some(length) = length {
        let mut digits = itoa::Buffer::new();
        let (name, value) = (b"content-length", digits.format(length).as_bytes());
        encoder.field(KnownName::find(name), name, value, block);
    }
}

impl Core {
    /// Sends a head, in as many frames as it takes.
    fn put_block(&mut self, id: u32, is_ended: bool, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        self.encoder.begin(&mut block);
        write(&mut self.encoder, &mut block);
        let end = if is_ended { flag::END_STREAM } else { 0 };
        let mut pieces = block.chunks(self.theirs.max_frame).peekable();
        let mut head = (kind::HEADERS, end);
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
            self.out.frame(head.0, head.1 | last, id, piece);
            head = (kind::CONTINUATION, 0);
        }
        if block.capacity() <= TURN {
            self.block = block;
        }
    }

    /// Why a stream takes nothing to send any more.
    fn refusal(stream: &Stream) -> Option<Fault> {
        match &stream.fault {
            Some(fault) => Some(fault.clone()),
            None if stream.is_send_ended => {
                Some(Fault::Io(std::io::ErrorKind::BrokenPipe, "the stream has been ended".to_owned()))
            }
            None => None,
        }
    }

    /// How much of a body can be sent now.
    fn room(&mut self, key: usize, wanted: usize, cx: &Context<'_>) -> Poll<Result<usize, Fault>> {
        let Some(stream) = self.streams.get_mut(key) else { return Poll::Ready(Err(gone())) };
        if let Some(fault) = Self::refusal(stream) {
            return Poll::Ready(Err(fault));
        }
        let window = stream.send_window.min(self.send_window).max(0);
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        let turn = if self.queue.is_empty() { usize::MAX } else { TURN };
        let room = window.min(FULL.saturating_sub(self.out.len())).min(wanted).min(turn);
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        stream.await_room(cx);
        // One whose own window is shut waits for that alone.
        if stream.send_window > 0 && !std::mem::replace(&mut stream.is_queued, true) {
            self.queue.push_back(key);
        }
        Poll::Pending
    }

    fn spend_window(&mut self, key: usize, count: usize, is_ended: bool) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.send_window -= count;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.send_window -= count;
            stream.is_send_ended |= is_ended;
        }
        self.settle(key);
    }

    /// Bytes of DATA that have come are room for others at once, before anyone has read of them: some streams whose bodies nobody takes
    /// would shut the window that all share. What they hold is bounded by their own. The peer is told of it when it is worth a frame.
    pub(super) fn release(&mut self, count: i64) {
        self.unreleased += count;
        if self.unreleased > 0 && self.unreleased >= self.ours.connection_window / 2 && !self.is_over() {
            let more = std::mem::take(&mut self.unreleased);
            self.recv_window += more;
            self.put_window_update(0, more);
        }
    }

    /// Bytes of a stream that have been read are room for more of it. Its window grows then, as far as those of all streams may: what
    /// nobody reads stays small.
    fn release_stream(&mut self, key: usize, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.unreleased += count;
        let window = self.ours.first_window + stream.growth;
        let is_worth_it = stream.unreleased > 0 && stream.unreleased >= window / 2;
        let is_enough = |left: u64| u64::try_from(stream.recv_window).is_ok_and(|window| left <= window);
        let is_wanted = !stream.expected.is_some_and(is_enough);
        if is_worth_it && is_wanted && !stream.is_recv_ended && stream.fault.is_none() {
            let growth = (self.ours.window - window).clamp(0, self.spare.max(0));
            self.spare -= growth;
            stream.growth += growth;
            let (id, more) = (stream.id, std::mem::take(&mut stream.unreleased) + growth);
            stream.recv_window += more;
            self.put_window_update(id, more);
        }
    }

    /// Nobody holds the stream any more.
    pub(super) fn forget(&mut self, key: usize) {
        let Some(stream) = self.streams.get(key) else { return };
        if self.role == Role::Client && stream.is_all_but_ended() && !self.is_over() {
            return self.leave(key);
        }
        if !stream.is_over() {
            // A client whose request was answered ahead of its end need not send the rest (RFC 9113 §8.1).
            let is_answered = self.role == Role::Server && stream.is_send_ended;
            self.reset(key, if is_answered { Reason::NO_ERROR } else { Reason::CANCEL });
        }
        let Some(stream) = self.streams.try_remove(key) else { return };
        self.keys.remove(&stream.id);
        self.spare += stream.growth;
        if stream.is_counted && !self.is_over() {
            self.open = self.open.saturating_sub(1);
        }
        if stream.is_queued {
            self.queue.retain(|queued| *queued != key);
        }
    }
}

fn gone() -> Fault {
    Fault::Io(std::io::ErrorKind::BrokenPipe, "the stream is gone".to_owned())
}

/// Opens a stream with a request, where the peer takes it.
pub(crate) fn open(promise: &Promise, ask: &Ask<'_>, is_ended: bool) -> Result<StreamRef, Fault> {
    let shared = promise.0.shared();
    let mut core = shared.core.borrow_mut();
    if !core.may_open() || core.open >= core.theirs.max_streams {
        let fault = match &core.stage {
            Stage::Over(fault) => fault.clone(),
            _ => Fault::Unprocessed(Reason::NO_ERROR),
        };
        return Err(Fault::Unsent(Box::new(fault)));
    }
    let id = core.next_own;
    core.next_own += 2;
    // Our settings are ahead of it on the way.
    let mut stream = Stream::new(id, core.ours.first_window, core.theirs.window);
    stream.begins_at = core.out.place();
    stream.is_send_ended = is_ended;
    stream.is_head = *ask.method == Method::HEAD;
    stream.may_switch = ask.protocol.is_some();
    let key = core.streams.insert(stream);
    core.keys.insert(id, key);
    core.open += 1;
    core.put_block(id, is_ended, |encoder, block| ask.write(encoder, block));
    drop(core);
    shared.wake_driver();
    Ok(StreamRef { shared: std::rc::Rc::clone(shared), key })
}

impl StreamRef {
    fn with<T>(&self, call: impl FnOnce(&mut Core, usize) -> T) -> T {
        call(&mut self.shared.core.borrow_mut(), self.key)
    }

    fn say<T>(&self, call: impl FnOnce(&mut Core, usize) -> T) -> T {
        let result = self.with(call);
        self.shared.wake_driver();
        result
    }

    /// Sends an answer's head, or one ahead of it.
    pub(crate) fn tell(&self, tell: &Tell<'_>, is_ended: bool) -> Result<(), Fault> {
        self.say(|core, key| {
            let stream = core.streams.get_mut(key).ok_or_else(gone)?;
            if let Some(fault) = Core::refusal(stream) {
                return Err(fault);
            }
            stream.is_send_ended |= is_ended;
            let id = stream.id;
            core.put_block(id, is_ended, |encoder, block| tell.write(encoder, block));
            core.settle(key);
            Ok(())
        })
    }

    /// Sends a trailer section, which ends the stream.
    pub(crate) fn tell_trailers(&self, trailers: &HeaderMap) -> Result<(), Fault> {
        self.say(|core, key| {
            let stream = core.streams.get_mut(key).ok_or_else(gone)?;
            if let Some(fault) = Core::refusal(stream) {
                return Err(fault);
            }
            stream.is_send_ended = true;
            let id = stream.id;
            if trailers.is_empty() {
                core.out.frame(kind::DATA, flag::END_STREAM, id, &[]);
            } else {
                core.put_block(id, true, |encoder, block| {
                    for (name, value) in trailers {
                        let name = name.as_str().as_bytes();
                        encoder.field(KnownName::find(name), name, value.as_bytes(), block);
                    }
                });
            }
            core.settle(key);
            Ok(())
        })
    }

    /// Sends as much of a body as there is room for, and says how much that was; `is_last` where nothing follows all of it.
    pub(crate) fn poll_send(
        &self,
        cx: &Context<'_>,
        body: &[u8],
        is_last: bool,
    ) -> Poll<Result<usize, Fault>> {
        let sent = self.with(|core, key| {
            let room = if body.is_empty() { 0 } else { std::task::ready!(core.room(key, body.len(), cx))? };
            let Some(stream) = core.streams.get(key) else { return Poll::Ready(Err(gone())) };
            if let Some(fault) = Core::refusal(stream) {
                return Poll::Ready(Err(fault));
            }
            let id = stream.id;
            let is_ended = is_last && room == body.len();
            let piece = body.get(..room).unwrap_or_default();
            let mut frames = piece.chunks(core.theirs.max_frame).peekable();
            while let Some(frame) = frames.next() {
                let is_end = is_ended && frames.peek().is_none();
                core.out.frame(kind::DATA, if is_end { flag::END_STREAM } else { 0 }, id, frame);
            }
            if piece.is_empty() {
                core.out.frame(kind::DATA, if is_ended { flag::END_STREAM } else { 0 }, id, &[]);
            }
            core.spend_window(key, room, is_ended);
            Poll::Ready(Ok(room))
        });
        if sent.is_ready() {
            self.shared.wake_driver();
        }
        sent
    }

    /// Has `read` fill DATA frames with as much of a body as there is room for, at most `limit` bytes of it, which is all there is: the
    /// stream ends with them where `ends`. 0 where nothing was read, which is the end of whatever is read from.
    pub(crate) fn poll_fill<E>(
        &self,
        cx: &mut Context<'_>,
        (limit, ends): (usize, bool),
        read: impl FnOnce(&mut Context<'_>, &mut [std::io::IoSliceMut<'_>]) -> Poll<Result<usize, E>>,
    ) -> Poll<Result<Result<usize, E>, Fault>> {
        let filled = self.with(|core, key| {
            let room = std::task::ready!(core.room(key, limit, cx))?;
            let Some(id) = core.streams.get(key).map(|stream| stream.id) else {
                return Poll::Ready(Err(gone()));
            };
            let largest = core.theirs.max_frame.min(TURN);
            let mut pieces: [std::io::IoSliceMut<'_>; MOST_FRAMES] =
                std::array::from_fn(|_| std::io::IoSliceMut::new(&mut []));
            let mut count = 0;
            for (slot, piece) in pieces.iter_mut().zip(core.out.frames_to_fill(room, largest)) {
                *slot = std::io::IoSliceMut::new(piece);
                count += 1;
            }
            let read = read(cx, pieces.get_mut(..count).unwrap_or_default());
            let Poll::Ready(Ok(came @ 1..)) = read else {
                // Nothing of the room was used: it is for others.
                core.out.sent(0);
                core.wake_queue();
                return read.map(Ok);
            };
            let is_ended = ends && came == limit;
            let head = Head { length: 0, kind: kind::DATA, flags: 0, stream: id };
            core.out.frames_filled(came, largest, head, if is_ended { flag::END_STREAM } else { 0 });
            core.spend_window(key, came, is_ended);
            Poll::Ready(Ok(Ok(came)))
        });
        if matches!(filled, Poll::Ready(Ok(Ok(1..)))) {
            self.shared.wake_driver();
        }
        filled
    }

    /// Ready once the stream is broken off or nothing will be heard of the peer any more.
    pub(crate) fn poll_fault(&self, cx: &Context<'_>) -> Poll<Fault> {
        self.with(|core, key| {
            let Some(stream) = core.streams.get_mut(key) else { return Poll::Ready(gone()) };
            match &stream.fault {
                Some(fault) => Poll::Ready(fault.clone()),
                None => {
                    stream.await_input(cx);
                    Poll::Pending
                }
            }
        })
    }

    /// Why the stream was broken off, where it was.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.with(|core, key| core.streams.get(key).and_then(|stream| stream.fault.clone()))
    }

    /// Reads the body; 0 is its end, behind which trailers may stand.
    pub(crate) fn poll_body(&self, cx: &Context<'_>, out: &mut [u8]) -> Poll<Result<usize, Fault>> {
        let mut is_due = false;
        let read = self.with(|core, key| {
            let Some(stream) = core.streams.get_mut(key) else { return Poll::Ready(Err(gone())) };
            if stream.body.is_empty() {
                if stream.is_recv_ended {
                    return Poll::Ready(Ok(0));
                }
                if let Some(fault) = &stream.fault {
                    return Poll::Ready(Err(fault.clone()));
                }
                stream.await_input(cx);
                return Poll::Pending;
            }
            let count = stream.body.len().min(out.len());
            out.get_mut(..count).unwrap_or_default().copy_from_slice(&stream.body.split_to(count));
            let before = core.out.len();
            core.release_stream(key, count);
            is_due = core.out.len() > before;
            Poll::Ready(Ok(count))
        });
        if is_due {
            self.shared.wake_driver();
        }
        read
    }

    /// How much of the body is here.
    pub(crate) fn body_len(&self) -> usize {
        self.with(|core, key| core.streams.get(key).map_or(0, |stream| stream.body.len()))
    }

    /// Whether nothing of a body is here or will come.
    pub(crate) fn has_all(&self) -> bool {
        self.with(|core, key| {
            core.streams.get(key).is_some_and(|stream| {
                stream.is_recv_ended && stream.body.is_empty() && stream.trailers.is_none()
            })
        })
    }

    /// Whether the peer's end, or trailers ahead of it, are still to be heard.
    pub(crate) fn is_end_due(&self) -> bool {
        self.with(|core, key| {
            core.streams.get(key).is_some_and(|stream| !stream.is_recv_ended || stream.trailers.is_some())
        })
    }

    /// Waits for the peer's end, of a body that has been read: with the trailers ahead of it, where some have come.
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<Option<BytesMut>> {
        self.with(|core, key| {
            let Some(stream) = core.streams.get_mut(key) else { return Poll::Ready(None) };
            if stream.is_recv_ended || stream.fault.is_some() {
                return Poll::Ready(stream.trailers.take());
            }
            stream.await_input(cx);
            Poll::Pending
        })
    }

    /// The last chunk and the trailers in it, where some have come.
    pub(crate) fn take_trailers(&self) -> Option<BytesMut> {
        self.with(|core, key| core.streams.get_mut(key)?.trailers.take())
    }

    /// The next head of an answer.
    pub(crate) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<(Response, bool), Fault>> {
        self.with(|core, key| {
            let Some(stream) = core.streams.get_mut(key) else { return Poll::Ready(Err(gone())) };
            if let Some(response) = stream.heads.pop_front() {
                let is_ended = stream.is_recv_ended && stream.body.is_empty() && stream.trailers.is_none();
                return Poll::Ready(Ok((response, is_ended)));
            }
            if let Some(fault) = &stream.fault {
                return Poll::Ready(Err(fault.clone()));
            }
            stream.await_input(cx);
            Poll::Pending
        })
    }

    /// Ends the stream in the middle.
    pub(crate) fn reset(&self, reason: Reason) {
        self.say(|core, key| core.reset(key, reason));
    }
}
