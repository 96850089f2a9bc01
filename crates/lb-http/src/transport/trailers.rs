//! Trailers behind a body whose length was told. HTTP/2 and HTTP/3 have them (RFC 9113 §8.1, RFC 9114 §4.1) and HTTP/1.1 does not, so they
//! pass aside of its bytes, from one stream to another.
//!
//! Cost: nothing where either side is a socket. Between streams the end waits for the sender's, which mostly comes with the last piece.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use lb_h2::Trailers;

use super::Transport;
use super::stream::Stream;

/// What passes aside of a pipe: the ends of the request's body and of the answer's.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) request: End,
    pub(crate) answer: End,
    /// Whether the answer's end is told by itself.
    is_held: Cell<bool>,
}

impl Ends {
    /// Whether the answer's end is still to be waited for once all of its body is here.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held.get()
    }
}

/// The end of a body, told by one side and waited for by the other.
#[derive(Debug, Default)]
pub(crate) struct End {
    is_told: Cell<bool>,
    trailers: RefCell<Option<Trailers>>,
    waiting: RefCell<Option<Waker>>,
}

impl End {
    /// Tells it, with these trailers; once.
    pub(crate) fn tell(&self, trailers: Option<Trailers>) {
        if !self.is_told.replace(true) {
            *self.trailers.borrow_mut() = trailers;
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Waits for it.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Trailers>> {
        if self.is_told.get() {
            return Poll::Ready(self.trailers.take());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether it, or trailers with it, are still to be heard.
    fn is_due(&self) -> bool {
        !self.is_told.get() || self.trailers.borrow().is_some()
    }
}

/// The stream's side of a pipe: dropped, the request has no more to come.
pub(crate) struct FarEnds(pub(crate) Rc<Ends>);

impl Drop for FarEnds {
    fn drop(&mut self) {
        self.0.request.tell(None);
    }
}

impl Transport {
    /// Whether such trailers have a way from here to `to`.
    pub(crate) fn passes_trailers_to(&self, to: &Self) -> bool {
        let is_stream = |it: &Self| !matches!(it.stream, Stream::Tcp(_));
        is_stream(self) && is_stream(to)
    }

    /// Whether some may still come.
    pub(crate) fn may_bring_trailers(&self) -> bool {
        match &self.stream {
            Stream::Served(stream) => stream.may_bring_trailers(),
            Stream::Asked(stream) => stream.may_bring_trailers(),
            Stream::Piped { ends, .. } => ends.request.is_due(),
            Stream::Tcp(_) => false,
        }
    }

    /// Waits for the sender's end.
    pub(crate) fn poll_trailers(&self, cx: &Context<'_>) -> Poll<Option<Trailers>> {
        match &self.stream {
            Stream::Served(stream) => stream.poll_trailers(cx),
            Stream::Asked(stream) => stream.poll_trailers(cx),
            Stream::Piped { ends, .. } => ends.request.poll(cx),
            Stream::Tcp(_) => Poll::Ready(None),
        }
    }

    /// Whether the end of what is written is told by [`finish`](Self::finish) alone.
    pub(crate) fn hold(&mut self, is_held: bool) {
        match &mut self.stream {
            Stream::Served(stream) => stream.hold(is_held),
            Stream::Asked(stream) => stream.hold(is_held),
            Stream::Piped { ends, .. } => ends.is_held.set(is_held),
            Stream::Tcp(_) => {}
        }
    }

    /// Tells the end, where it has not been told with the last piece.
    pub(crate) fn finish(&mut self, cx: &Context<'_>, trailers: Option<Trailers>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Served(stream) => stream.finish(cx, trailers),
            Stream::Asked(stream) => stream.finish(cx, trailers),
            Stream::Piped { ends, .. } => {
                ends.answer.tell(trailers);
                Ok(())
            }
            Stream::Tcp(_) => Ok(()),
        }
    }
}
