//! Long bodies on their way from socket to socket inside the kernel: pages change hands in a pipe (splice(2)), and
//! nobody copies them or looks at them.
//!
//! Cost: one call to take and one to give, as reading and writing have, without the two copies. A pipe is held only
//! while something is in it, so that what waits for its source owns none; the others are kept by the worker, up to a
//! bound. Dropping a [`Splice`] drops what is in its pipe: the exchange that it belonged to is over then.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::transport::Transport;

/// How much must be left of a body for this to cost less than copying.
const WORTH_IT: u64 = 32 << 10;
/// What a pipe holds; a power of two.
const CAPACITY: usize = 256 << 10;
/// Empty pipes that a worker keeps for the next body.
const MAX_IDLE: usize = 64;

/// Whether so much at once promises more of it, of a stream whose length nobody knows.
pub(crate) fn is_bulk(count: usize) -> bool {
    count as u64 >= WORTH_IT
}

/// One worker's pipes.
pub(crate) struct Pipes {
    idle: RefCell<Vec<Pipe>>,
    open: Rc<Cell<usize>>,
    /// Beyond that bodies are copied.
    most: usize,
}

/// A pipe, counted while it is open.
struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    open: Rc<Cell<usize>>,
}

impl Pipes {
    /// Room for so many pipes, each of which has two descriptors.
    pub(crate) fn new(most: usize) -> Self {
        Self { idle: RefCell::default(), open: Rc::default(), most }
    }

    /// An empty pipe; `None` where there are enough, or the system gives no more.
    fn take(&self) -> Option<Pipe> {
        self.idle.borrow_mut().pop().or_else(|| self.open())
    }

    fn open(&self) -> Option<Pipe> {
        if self.open.get() >= self.most {
            return None;
        }
        let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // All pipes of a user have a bound together, behind which they are too small to be of use.
        fcntl_setpipe_size(&input, CAPACITY).ok()?;
        self.open.set(self.open.get() + 1);
        Some(Pipe { output, input, open: Rc::clone(&self.open) })
    }

    fn put(&self, pipe: Pipe) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(pipe);
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

/// What of one body is on its way through the kernel.
#[derive(Default)]
pub(crate) struct Splice {
    /// There while something is in it.
    pipe: Option<Pipe>,
    held: usize,
    /// The system does not do it with these sockets.
    is_unfit: bool,
}

impl Splice {
    /// Whether nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Whether the rest of a body, of which so much may pass unseen, had better go this way.
    pub(crate) fn suits(&self, unseen: u64) -> bool {
        unseen >= WORTH_IT && !self.is_unfit
    }

    /// Takes up to `limit` bytes of what has arrived, while nothing is on its way; 0 is the end. `None` where it
    /// cannot be done and the body must be copied.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        source: &Transport,
        limit: u64,
    ) -> Poll<io::Result<Option<usize>>> {
        let Some(pipe) = pipes.take() else {
            self.is_unfit = true;
            return Poll::Ready(Ok(None));
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(CAPACITY);
        let taken = source.poll_splice_to(cx, &pipe.input, limit);
        match taken {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.held = count;
                self.pipe = Some(pipe);
                return Poll::Ready(Ok(Some(count)));
            }
            _ => pipes.put(pipe),
        }
        match ready!(taken) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.is_unfit = true;
                Poll::Ready(Ok(None))
            }
            taken => Poll::Ready(taken.map(Some)),
        }
    }

    /// Gives on everything that was taken.
    pub(crate) fn poll_give(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &Pipes,
        sink: &Transport,
    ) -> Poll<io::Result<()>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(())) };
        while self.held > 0 {
            let count = ready!(sink.poll_splice_from(cx, &pipe.output, self.held))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held = self.held.saturating_sub(count);
        }
        self.pipe.take().into_iter().for_each(|pipe| pipes.put(pipe));
        Poll::Ready(Ok(()))
    }

    /// How much is on its way.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}
