//! An answer on its way from a backend to the client, while the rest of the request may still be going the other
//! way. Back-pressure: nothing more is read from the backend before the client has taken what there is.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::body::{Passage, PassageError};
use crate::config::Timeouts;
use crate::conversation::{Conversation, Gone};
use crate::pace::Pace;
use crate::splice::Splice;
use crate::transport::{BATCH, TURN, Transport};
use crate::upload::{Progress, Upload, UploadError};
use crate::upstream::Connection;
use crate::watch::Phase;

/// The code of an answer whose client stood still, or took too little.
pub(crate) const CLIENT_STALLED: &str = "client_stalled";

/// How an answer's body ended.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// Whole.
    Whole,
    /// The backend broke off; the client must not take the part for the whole.
    Broken(String),
    /// The backend sent nothing for the idle deadline, or took nothing of the request.
    Stalled,
    /// It had to be cut, through no fault of the backend: a client that stands still or sends no proper body, a
    /// filter that gave up.
    Cut { code: &'static str, reason: String },
    /// The client left.
    ClientGone,
}

/// Sends the head that stands in the outbox and then the body, until its end. Dropping it breaks both off.
pub(crate) async fn relay(
    conversation: &mut Conversation,
    backend: &mut Connection,
    passage: &mut Passage,
    upload: &mut Upload,
    timeouts: Timeouts,
) -> Relayed {
    let idle = timeouts.idle;
    let pace = timeouts.min_rate.map(|rate| Pace::download(rate, idle, Instant::now()));
    let (backend, splice) = (&mut backend.transport, Splice::default());
    let passes_trailers = passage.is_sized() && backend.passes_trailers_to(&conversation.transport);
    let mut relay =
        Relay { conversation, backend, passage, upload, splice, idle, pace, began: false, passes_trailers };
    std::future::poll_fn(|cx| relay.poll(cx)).await
}

struct Relay<'a> {
    conversation: &'a mut Conversation,
    backend: &'a mut Transport,
    passage: &'a mut Passage,
    upload: &'a mut Upload,
    splice: Splice,
    idle: Duration,
    pace: Option<Pace>,
    began: bool,
    /// Whether trailers may pass behind a body whose length was told.
    passes_trailers: bool,
}

impl Relay<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Relayed> {
        let polled = self.advance(cx);
        if polled.is_pending()
            && let Some(pace) = &mut self.pace
        {
            let pending = self.conversation.pending() + self.splice.held();
            let moved = self.passage.bytes().saturating_sub(pending as u64);
            pace.look(moved, pending > 0, &self.conversation.client.watch, Phase::Relay);
        }
        polled
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Relayed> {
        if self.conversation.client.watch.is_expired() {
            return Poll::Ready(self.late(cx));
        }
        if self.passes_trailers {
            self.conversation.transport.hold(self.backend.may_bring_trailers());
        }
        // What came with the head goes out with it.
        if let Err(error) = self.drain() {
            return Poll::Ready(broken(&error));
        }
        for _ in 0..TURN {
            let is_ended = self.passage.is_ended();
            if is_ended || self.conversation.outbox.len() >= BATCH || !self.splice.is_empty() {
                match self.poll_send(cx) {
                    Poll::Ready(Ok(())) if is_ended => return self.poll_finish(cx),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Relayed::ClientGone),
                    Poll::Pending => return self.poll_client(cx),
                }
            }
            match self.poll_backend(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(relayed)) => return Poll::Ready(relayed),
                // Nothing will join what is pending.
                Poll::Pending => match self.conversation.poll_flush(cx) {
                    Poll::Ready(Err(Gone)) => return Poll::Ready(Relayed::ClientGone),
                    Poll::Ready(Ok(())) | Poll::Pending => return self.poll_client(cx),
                },
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// All of the body has gone: its end may be to come, with trailers or without.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Relayed> {
        if self.passes_trailers {
            let Poll::Ready(trailers) = self.backend.poll_trailers(cx) else { return self.poll_client(cx) };
            if self.conversation.transport.finish(cx, trailers).is_err() {
                return Poll::Ready(Relayed::ClientGone);
            }
        }
        Poll::Ready(Relayed::Whole)
    }

    /// Time is up. An answer that has gone but for its end is whole without trailers.
    fn late(&mut self, cx: &Context<'_>) -> Relayed {
        let is_gone = self.passage.is_ended() && self.conversation.pending() == 0 && self.splice.is_empty();
        if is_gone && self.passes_trailers && self.conversation.transport.finish(cx, None).is_ok() {
            return Relayed::Whole;
        }
        self.stalled()
    }

    /// Whose fault it is that nothing moves.
    fn stalled(&self) -> Relayed {
        if self.conversation.client.watch.is_at_end() {
            let reason = "the deadline that the request has set is over".to_owned();
            return Relayed::Cut { code: "upstream_timeout", reason };
        }
        let is_sent = self.conversation.pending() == 0 && self.splice.is_empty();
        if is_sent && !self.upload.waits_for_client() {
            return Relayed::Stalled;
        }
        let reason = "the client stood still for idle_timeout, or took less than min_rate".to_owned();
        Relayed::Cut { code: CLIENT_STALLED, reason }
    }

    /// Moves what the backend's inbox has of the body to the outbox.
    fn drain(&mut self) -> Result<(), PassageError> {
        while self.passage.drain(&mut self.backend.inbox, &mut self.conversation.outbox)? {}
        Ok(())
    }

    /// Sends what is pending, and behind it what is on its way through the kernel.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.splice.is_empty() {
            return self.conversation.poll_flush(cx);
        }
        ready!(self.conversation.poll_flush_ahead(cx))?;
        let Conversation { client, transport, .. } = &mut *self.conversation;
        let before = self.splice.held();
        let given = self.splice.poll_give(cx, &client.worker.pipes, transport);
        if given.is_pending() && self.splice.held() < before {
            client.watch.progressed();
        }
        given.map_err(|_: io::Error| Gone)
    }

    /// Takes the next piece from the backend.
    fn poll_backend(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Relayed>> {
        let unseen = self.passage.unseen();
        if self.splice.suits(unseen) && self.backend.inbox.is_empty() && self.is_plain() {
            let pipes = &self.conversation.client.worker.pipes;
            let taken = ready!(self.splice.poll_take(cx, pipes, self.backend, unseen));
            if let Some(count) = taken.map_err(|error| Relayed::Broken(error.to_string()))? {
                return Poll::Ready(self.taken(count));
            }
        }
        let fills = unseen > 0
            && self.backend.inbox.is_empty()
            && self.backend.fills_frames_of(&self.conversation.transport);
        if fills {
            // What was read with the head goes ahead of it.
            ready!(self.conversation.poll_flush(cx)).map_err(|Gone| Relayed::ClientGone)?;
            if let Some(filled) = self.backend.poll_fill_frames(cx, &mut self.conversation.transport) {
                let count = ready!(filled)
                    .map_err(|_: io::Error| Relayed::ClientGone)?
                    .map_err(|error| Relayed::Broken(error.to_string()))?;
                return Poll::Ready(self.taken(count));
            }
        }
        self.poll_read(cx)
    }

    /// Whether both sides are in the clear.
    fn is_plain(&self) -> bool {
        self.backend.is_plain() && self.conversation.transport.is_plain()
    }

    /// Reads the next piece. What need not be decoded is offered to the client's socket at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Relayed>> {
        let client = Rc::clone(&self.conversation.client);
        let mut scratch = Conversation::scratch(&client);
        let count = ready!(self.backend.poll_read(cx, &mut scratch))
            .map_err(|error| Relayed::Broken(error.to_string()))?;
        self.came(count)?;
        let piece = scratch.get(..count).unwrap_or_default();
        let is_next = self.backend.inbox.is_empty();
        let direct = if is_next { self.passage.direct(piece).unwrap_or(0) } else { 0 };
        let (body, rest) = piece.split_at_checked(direct).unwrap_or((piece, &[]));
        self.backend.inbox.extend_from_slice(rest);
        if !body.is_empty() {
            let Conversation { transport, outbox, .. } = &mut *self.conversation;
            if transport.poll_write_after(cx, outbox, body).is_err() {
                return Poll::Ready(Err(Relayed::ClientGone));
            }
        }
        drop(scratch);
        Poll::Ready(self.drain().map_err(|error| broken(&error)))
    }

    /// So many bytes went into the pipe.
    fn taken(&mut self, count: usize) -> Result<(), Relayed> {
        self.passage.pass_unseen(count);
        self.came(count)
    }

    /// So many bytes have come; 0 is the end.
    fn came(&mut self, count: usize) -> Result<(), Relayed> {
        if count == 0 {
            return self.passage.close(&mut self.conversation.outbox).map_err(|error| broken(&error));
        }
        // The first piece comes with the head, whose time was taken.
        if std::mem::replace(&mut self.began, true) {
            self.conversation.client.watch.begin(Phase::Relay, Instant::now(), self.idle);
        }
        Ok(())
    }

    /// While nothing can be sent: moves the request on, or looks whether the client is still there.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Relayed> {
        if self.upload.is_over() {
            return self.conversation.poll_gone(cx).map(|Gone| Relayed::ClientGone);
        }
        let Conversation { client, transport, .. } = &mut *self.conversation;
        match self.upload.poll(cx, &client.worker, transport, self.backend) {
            Ok(Progress::None) => Poll::Pending,
            Ok(progress) => {
                client.watch.begin(Phase::Relay, Instant::now(), self.idle);
                if progress == Progress::Some {
                    return Poll::Pending;
                }
                // Nobody has asked yet to be told when the client leaves.
                self.conversation.poll_gone(cx).map(|Gone| Relayed::ClientGone)
            }
            Err(UploadError::ClientGone) => Poll::Ready(Relayed::ClientGone),
            Err(UploadError::Malformed(error)) => {
                Poll::Ready(Relayed::Cut { code: "bad_request", reason: format!("request body: {error}") })
            }
        }
    }
}

fn broken(error: &PassageError) -> Relayed {
    match error {
        PassageError::Framing(error) => Relayed::Broken(error.to_string()),
        PassageError::Filter(error) => Relayed::Cut { code: "filter_failed", reason: error.to_string() },
    }
}
