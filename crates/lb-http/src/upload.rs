//! A request body on its way from the client to a backend, piece by piece: nothing is read before it can be sent.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use lb_dump::Tee;
use lb_h1::{BodyFraming, CONTINUE};
use lb_h2::Trailers;

use crate::body::{Passage, PassageError};
use crate::mirror::{BodyCopy, Copied};
use crate::splice::Splice;
use crate::transport::{BATCH, TURN, Transport};
use crate::worker::Worker;

/// One request's body.
pub(crate) struct Upload {
    framing: BodyFraming,
    passage: Passage,
    /// The client waits for 100 before it sends anything.
    expects_continue: bool,
    pending: BytesMut,
    kept: Kept,
    /// What stood behind a body whose length was told.
    trailers: Option<Trailers>,
    /// What goes out is copied here, for a request that is mirrored.
    copy: Option<Box<BodyCopy>>,
    splice: Splice,
    stage: Stage,
}

/// What has been taken from the client so far, framed as it goes out: another backend may need it too.
enum Kept {
    /// Nothing was taken.
    Untouched,
    /// All of it; not to grow above the limit.
    Whole { bytes: BytesMut, limit: usize },
    /// Some of it is gone.
    Gone,
}

/// What the body is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client's next piece.
    Client,
    /// The backend's taking what there is.
    Backend,
    /// Nothing: all of it has gone.
    Done,
    /// Nothing: the backend takes no more, though its answer may still be there.
    Refused,
}

/// Why a body cannot go on.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The client closed or broke its connection.
    ClientGone,
    /// What the client sends is no body.
    Malformed(PassageError),
}

/// How a body fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Pieces went; more are to come.
    Some,
    /// Nothing can be done at present.
    None,
    /// Over, by its end or by the backend's refusal.
    Over,
}

impl Upload {
    pub(crate) fn new(framing: BodyFraming, expects_continue: bool) -> Self {
        let passage = Passage::new(framing.into(), framing == BodyFraming::Chunked, None);
        let stage = if passage.is_ended() { Stage::Done } else { Stage::Client };
        Self {
            framing,
            passage,
            expects_continue,
            pending: BytesMut::new(),
            kept: Kept::Untouched,
            trailers: None,
            copy: None,
            splice: Splice::default(),
            stage,
        }
    }

    /// Keeps what is taken of a body up to this size, so that it can be sent more than once. Costs a body that has
    /// none nothing.
    pub(crate) fn keep(&mut self, limit: usize) {
        let fits = match self.framing {
            BodyFraming::None => false,
            BodyFraming::Length(length) => length <= limit as u64,
            BodyFraming::Chunked => true,
        };
        if fits && !self.passage.is_ended() {
            self.kept = Kept::Whole { bytes: BytesMut::new(), limit };
        }
    }

    /// Has what goes out copied, up to this size. To be called before any of it has passed.
    pub(crate) fn copy(&mut self, limit: usize) {
        self.copy = Some(Box::new(BodyCopy::new(limit)));
    }

    /// The copy.
    pub(crate) fn take_copy(&mut self) -> Option<Copied> {
        Some(self.copy.take()?.finish(self.passage.is_ended()))
    }

    /// No other backend will be asked: what was kept is let go.
    pub(crate) fn settle(&mut self) {
        if let Kept::Whole { .. } = self.kept {
            self.kept = Kept::Gone;
        }
    }

    /// Whether another backend can have all of it.
    pub(crate) fn can_begin_anew(&self) -> bool {
        !matches!(self.kept, Kept::Gone)
    }

    /// Whether it is sure from its head on that it can begin anew at any time.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self.kept {
            Kept::Untouched => self.passage.is_ended(),
            Kept::Whole { .. } => self.framing != BodyFraming::Chunked,
            Kept::Gone => false,
        }
    }

    /// Lets the body be taken down for the traffic dump. To be called before any of it has passed.
    pub(crate) fn tee(&mut self, tee: Option<Tee>) {
        self.passage.tee(tee);
    }

    pub(crate) fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether there is no body at all.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.framing, BodyFraming::None | BodyFraming::Length(0))
    }

    /// Whether all of it has been read from the client.
    pub(crate) fn is_complete(&self) -> bool {
        self.passage.is_ended()
    }

    /// Whether there is nothing left to send, the head included.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::Refused)
    }

    /// Whether all of it has gone to the backend, so that another request may follow it there.
    pub(crate) fn is_sent(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether it is the client that everyone waits for.
    pub(crate) fn waits_for_client(&self) -> bool {
        self.stage == Stage::Client
    }

    /// How many bytes of the body itself were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.passage.bytes()
    }

    /// Begins to send: the head first, and behind it what is already there of the body, so that both leave in one
    /// write.
    pub(crate) fn begin(&mut self, head: BytesMut, client: &mut Transport) -> Result<(), UploadError> {
        self.pending = head;
        if let Kept::Whole { bytes, .. } = &self.kept {
            self.pending.extend_from_slice(bytes);
        }
        self.stage = Stage::Backend;
        while self.pending.len() < BATCH && self.drain(client)? {}
        Ok(())
    }

    fn drain(&mut self, client: &mut Transport) -> Result<bool, UploadError> {
        if client.inbox.is_empty() {
            return Ok(false);
        }
        let before = self.pending.len();
        let moved =
            self.passage.drain(&mut client.inbox, &mut self.pending).map_err(UploadError::Malformed)?;
        let taken = self.pending.get(before..).unwrap_or_default();
        self.kept.add(taken);
        if let Some(copy) = &mut self.copy {
            copy.add(taken);
        }
        Ok(moved)
    }

    /// Throws away what has arrived of a body that nobody wants. True where that is all of it, so that the next
    /// request can be read.
    pub(crate) fn discard(&mut self, client: &mut Transport) -> bool {
        let mut nowhere = BytesMut::new();
        while let Ok(true) = self.passage.drain(&mut client.inbox, &mut nowhere) {
            nowhere.clear();
        }
        self.passage.is_ended()
    }

    /// Moves as much as can be moved without waiting. Registers for wake-ups with whichever side is waited for.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        client: &mut Transport,
        backend: &mut Transport,
    ) -> Result<Progress, UploadError> {
        let mut progress = Progress::None;
        let passes_trailers =
            matches!(self.framing, BodyFraming::Length(1..)) && client.passes_trailers_to(backend);
        if passes_trailers {
            backend.hold(self.trailers.is_some() || client.may_bring_trailers());
        }
        let mut steps = 0;
        while !self.is_over() {
            steps += 1;
            if steps > TURN {
                cx.waker().wake_by_ref();
                return Ok(progress);
            }
            let is_ended = self.passage.is_ended();
            if is_ended || self.pending.len() >= BATCH || !self.splice.is_empty() {
                self.stage = Stage::Backend;
                match self.poll_send(cx, worker, backend) {
                    Poll::Pending => return Ok(progress),
                    Poll::Ready(Err(_)) => self.stage = Stage::Refused,
                    Poll::Ready(Ok(())) if is_ended && passes_trailers => {
                        if self.poll_finish(cx, client, backend).is_pending() {
                            return Ok(progress);
                        }
                    }
                    Poll::Ready(Ok(())) if is_ended => self.stage = Stage::Done,
                    Poll::Ready(Ok(())) => {}
                }
                continue;
            }
            if self.drain(client)? {
                progress = Progress::Some;
                continue;
            }
            if std::mem::take(&mut self.expects_continue) && !sends_continue(cx, client) {
                return Err(UploadError::ClientGone);
            }
            match self.poll_client(cx, worker, client, backend)? {
                Poll::Ready(()) => progress = Progress::Some,
                // Nothing will join what is pending.
                Poll::Pending => {
                    self.stage = match backend.poll_flush(cx, &mut self.pending) {
                        Poll::Pending => Stage::Backend,
                        Poll::Ready(Err(_)) => Stage::Refused,
                        Poll::Ready(Ok(())) => Stage::Client,
                    };
                    return Ok(if self.is_over() { Progress::Over } else { progress });
                }
            }
        }
        Ok(Progress::Over)
    }

    /// All of the body has gone: its end may be to come, with trailers or without.
    fn poll_finish(&mut self, cx: &Context<'_>, client: &Transport, backend: &mut Transport) -> Poll<()> {
        if self.trailers.is_none() {
            self.stage = Stage::Client;
            self.trailers = ready!(client.poll_trailers(cx));
        }
        let finished = backend.finish(cx, self.trailers.clone());
        self.stage = if finished.is_ok() { Stage::Done } else { Stage::Refused };
        Poll::Ready(())
    }

    /// Sends what is pending, and behind it what is on its way through the kernel.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        backend: &mut Transport,
    ) -> Poll<io::Result<()>> {
        if self.splice.is_empty() {
            return backend.poll_flush(cx, &mut self.pending);
        }
        ready!(backend.poll_flush_ahead(cx, &mut self.pending))?;
        self.splice.poll_give(cx, &worker.pipes, backend)
    }

    /// Takes the next piece from the client.
    fn poll_client(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        client: &mut Transport,
        backend: &mut Transport,
    ) -> Result<Poll<()>, UploadError> {
        let unseen = self.passage.unseen();
        if self.may_go_unseen(unseen) && client.inbox.is_empty() && client.is_plain() && backend.is_plain() {
            match self.splice.poll_take(cx, &worker.pipes, client, unseen) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_) | Ok(Some(0))) => return Err(UploadError::ClientGone),
                Poll::Ready(Ok(Some(count))) => {
                    self.passage.pass_unseen(count);
                    self.kept = Kept::Gone;
                    return Ok(Poll::Ready(()));
                }
                Poll::Ready(Ok(None)) => {}
            }
        }
        let mut scratch = worker.scratch.borrow_mut();
        match client.poll_read(cx, &mut scratch) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(_) | Ok(0)) => Err(UploadError::ClientGone),
            Poll::Ready(Ok(count)) => {
                self.pass_on(cx, scratch.get(..count).unwrap_or_default(), client, backend);
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Whether the rest had better go through the kernel; not what must be kept.
    fn may_go_unseen(&self, unseen: u64) -> bool {
        let is_copied = self.copy.as_ref().is_some_and(|copy| copy.is_open());
        self.splice.suits(unseen) && !matches!(self.kept, Kept::Whole { .. }) && !is_copied
    }

    /// Sends bytes that have just been read straight on, where the framing allows; keeps the rest.
    fn pass_on(
        &mut self,
        cx: &mut Context<'_>,
        piece: &[u8],
        client: &mut Transport,
        backend: &mut Transport,
    ) {
        let direct = if client.inbox.is_empty() { self.passage.direct(piece).unwrap_or(0) } else { 0 };
        let (body, rest) = piece.split_at_checked(direct).unwrap_or((piece, &[]));
        client.inbox.extend_from_slice(rest);
        self.kept.add(body);
        if let Some(copy) = &mut self.copy {
            copy.add(body);
        }
        if !body.is_empty() && backend.poll_write_after(cx, &mut self.pending, body).is_err() {
            self.stage = Stage::Refused;
        }
    }
}

impl Kept {
    fn add(&mut self, taken: &[u8]) {
        match self {
            _ if taken.is_empty() => {}
            Self::Whole { bytes, limit } if bytes.len() + taken.len() <= *limit => {
                bytes.extend_from_slice(taken);
            }
            _ => *self = Self::Gone,
        }
    }
}

/// Tells the client to go on. A client whose socket has no room for 25 bytes is as good as gone.
fn sends_continue(cx: &mut Context<'_>, client: &mut Transport) -> bool {
    matches!(client.poll_write(cx, CONTINUE), Poll::Ready(Ok(sent)) if sent == CONTINUE.len())
}
