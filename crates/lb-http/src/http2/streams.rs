//! The streams of one connection: how many there are, and how many the client has thrown away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// Over what time resets are counted.
const MEMORY: Duration = Duration::from_secs(60);

/// What the connection's task and its streams share.
pub(crate) struct Streams {
    open: Cell<u32>,
    /// Resets that are still borne; what was used comes back over [`MEMORY`].
    left: Cell<f64>,
    max_resets: u32,
    counted_at: Cell<Instant>,
    is_restless: Cell<bool>,
    connection: RefCell<Option<Waker>>,
}

/// One open stream.
pub(crate) struct Tenant(Rc<Streams>);

impl Streams {
    pub(crate) fn new(max_resets: u32, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(0),
            left: Cell::new(f64::from(max_resets)),
            max_resets,
            counted_at: Cell::new(now),
            is_restless: Cell::new(false),
            connection: RefCell::default(),
        })
    }

    pub(crate) fn enter(self: &Rc<Self>) -> Tenant {
        self.open.set(self.open.get().saturating_add(1));
        Tenant(Rc::clone(self))
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.get()
    }

    pub(crate) fn are_open(&self) -> bool {
        self.open.get() > 0
    }

    /// Remembers whom to wake when the last stream ends.
    pub(crate) fn wake_by(&self, waker: &Waker) {
        let mut connection = self.connection.borrow_mut();
        match &mut *connection {
            Some(known) => known.clone_from(waker),
            None => *connection = Some(waker.clone()),
        }
    }

    /// Ready once the first stream has begun or the last one has ended, or too many have been thrown away.
    pub(crate) async fn changed(&self, were_open: bool) {
        std::future::poll_fn(|cx| {
            self.wake_by(cx.waker());
            let has_changed = self.is_restless() || self.are_open() != were_open;
            if has_changed { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The client has thrown a stream away, or sent none worth the name.
    pub(crate) fn count_reset(&self, now: Instant) {
        let (max, since) = (f64::from(self.max_resets), now.saturating_duration_since(self.counted_at.get()));
        let come_back = max * since.as_secs_f64() / MEMORY.as_secs_f64();
        let left = (self.left.get() + come_back).min(max) - 1.0;
        self.left.set(left);
        self.counted_at.set(now);
        if left < 0.0 {
            self.is_restless.set(true);
            self.wake();
        }
    }

    /// Whether the client has thrown too many streams away.
    pub(crate) fn is_restless(&self) -> bool {
        self.is_restless.get()
    }

    fn wake(&self) {
        if let Some(connection) = &*self.connection.borrow() {
            connection.wake_by_ref();
        }
    }
}

impl Tenant {
    /// The client has reset it before it was answered.
    pub(crate) fn was_reset(&self) {
        self.0.count_reset(Instant::now());
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let open = self.0.open.get().saturating_sub(1);
        self.0.open.set(open);
        if open == 0 {
            self.0.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_borne_up_to_a_number_that_comes_back_with_time() {
        let start = Instant::now();
        let streams = Streams::new(60, start);
        (0..60).for_each(|_| streams.count_reset(start));
        assert!(!streams.is_restless());
        streams.count_reset(start + Duration::from_secs(1));
        assert!(!streams.is_restless(), "one a second comes back");
        streams.count_reset(start + Duration::from_secs(1));
        assert!(streams.is_restless());
    }

    #[test]
    fn streams_are_open_until_the_last_one_ends() {
        let streams = Streams::new(1, Instant::now());
        let (one, two) = (streams.enter(), streams.enter());
        drop(one);
        assert!(streams.are_open());
        drop(two);
        assert!(!streams.are_open());
    }
}
