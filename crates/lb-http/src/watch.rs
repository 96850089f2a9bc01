//! Every deadline of a client connection, in one place and at almost no cost a request.
//!
//! A connection does one thing at a time: it waits for a request, reads a head, waits for a backend, relays a
//! body. So it needs one deadline at a time. Whoever starts a phase stores that phase's deadline in a cell; the
//! connection's task keeps a single timer and moves it only when the deadline has come nearer than the timer, or
//! when the timer fires early. A busy keep-alive connection touches the timer once in `keep_alive_timeout`,
//! however many requests it carries.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// What a client connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// TLS is being agreed on.
    Handshake,
    /// Between requests; may be closed at any time.
    Idle,
    /// Some bytes of a head have come.
    Head,
    /// A backend is being connected to.
    Connect,
    /// The request body is being sent on.
    Upload,
    /// The whole request has gone; the response head is awaited.
    Wait,
    /// The response body is being relayed.
    Relay,
    /// The connection speaks another protocol.
    Tunnel,
    /// Everything has been said; the client may still be talking.
    Linger,
}

/// The phase of a connection and when it must end. Shared, by reference count, within one worker's thread.
#[derive(Debug)]
pub(crate) struct Watch {
    phase: Cell<Phase>,
    limit: Cell<Duration>,
    deadline: Cell<Instant>,
    progress: Cell<bool>,
    expired: Cell<bool>,
    /// When everything must be over, whatever the phase.
    end: Cell<Option<Instant>>,
}

impl Watch {
    /// A connection that has just been accepted.
    pub(crate) fn new(now: Instant, idle: Duration) -> Self {
        Self {
            phase: Cell::new(Phase::Idle),
            limit: Cell::new(idle),
            deadline: Cell::new(later(now, idle)),
            progress: Cell::new(false),
            expired: Cell::new(false),
            end: Cell::new(None),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.get()
    }

    /// Begins a phase that must end within `limit`.
    pub(crate) fn begin(&self, phase: Phase, now: Instant, limit: Duration) {
        self.limit.set(limit);
        self.begin_until(phase, later(now, limit));
    }

    /// Begins a phase that must end by then.
    pub(crate) fn begin_until(&self, phase: Phase, deadline: Instant) {
        self.phase.set(phase);
        self.deadline.set(self.bounded(deadline));
        self.progress.set(false);
        self.expired.set(false);
    }

    /// No phase lasts longer than this from now on; `None` lifts it.
    pub(crate) fn end_by(&self, end: Option<Instant>) {
        self.end.set(end);
        self.deadline.set(self.bounded(self.deadline.get()));
    }

    /// Whether everything must be over.
    pub(crate) fn is_at_end(&self) -> bool {
        self.end.get().is_some_and(|end| Instant::now() >= end)
    }

    fn bounded(&self, deadline: Instant) -> Instant {
        self.end.get().map_or(deadline, |end| end.min(deadline))
    }

    /// A slow client took some of what it is sent: the phase may last its limit once more.
    pub(crate) fn progressed(&self) {
        self.progress.set(true);
    }

    /// Whether the deadline has passed, unless progress has earned another one.
    fn is_over(&self, now: Instant) -> bool {
        if now >= self.deadline.get() && self.progress.take() {
            self.deadline.set(self.bounded(later(now, self.limit.get())));
        }
        now >= self.deadline.get()
    }

    /// The deadline has passed: tells whoever waits in this phase.
    pub(crate) fn expire(&self) {
        self.expired.set(true);
    }

    /// Whether the present phase ran out of time.
    pub(crate) fn is_expired(&self) -> bool {
        self.expired.get()
    }
}

/// `now + limit`, or as far away as the clock goes.
pub(crate) fn later(now: Instant, limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    now.checked_add(limit.min(FAR)).unwrap_or(now)
}

/// The present phase of the connection ran out of time.
#[derive(Debug)]
pub(crate) struct Expired;

/// Waits for a future until the watch says that time is up. Dropping it drops the future.
pub(crate) async fn within_deadline<F: Future>(watch: &Watch, future: F) -> Result<F::Output, Expired> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if watch.is_expired() {
            return Poll::Ready(Err(Expired));
        }
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// The connection's one timer.
///
/// Dropping it at any time is safe. `poll` is ready once for every deadline that has passed.
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(crate) fn new(watch: &Watch) -> Self {
        Self(Box::pin(tokio::time::sleep_until(watch.deadline().into())))
    }

    /// Ready when the watch's deadline has passed; to be polled last, after everything that may move it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<()> {
        let deadline = watch.deadline().into();
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        while self.0.as_mut().poll(cx).is_ready() {
            if watch.is_over(tokio::time::Instant::now().into_std()) {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(watch.deadline().into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_timer_follows_a_deadline_that_moves_both_ways() {
        let start = tokio::time::Instant::now();
        let watch = Watch::new(start.into_std(), Duration::from_secs(10));
        let mut timer = Timer::new(&watch);
        watch.begin(Phase::Wait, start.into_std(), Duration::from_secs(20));
        std::future::poll_fn(|cx| timer.poll(cx, &watch)).await;
        assert_eq!(start.elapsed().as_secs(), 20);

        let now = tokio::time::Instant::now().into_std();
        watch.begin(Phase::Idle, now, Duration::from_secs(75));
        assert!(futures_pending(&mut timer, &watch));
        watch.begin(Phase::Connect, now, Duration::from_secs(3));
        std::future::poll_fn(|cx| timer.poll(cx, &watch)).await;
        assert_eq!(start.elapsed().as_secs(), 23);
    }

    fn futures_pending(timer: &mut Timer, watch: &Watch) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        timer.poll(&mut cx, watch).is_pending()
    }

    #[test]
    fn a_limit_beyond_the_clock_is_merely_far_away() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > now);
    }
}
