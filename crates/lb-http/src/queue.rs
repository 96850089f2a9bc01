//! Requests that wait until a backend has a free place (`max_connections`), over the whole process.
//!
//! Cost: one relaxed load of a line that nobody writes, when a place is given back and nobody waits. Who waits is
//! woken in the order of arrival. Waking is a hint and not a promise: places also become free in ways that nobody
//! announces (a backend recovers, its limit is raised), so whoever waits also looks by itself from time to time.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::config::QueueConfig;

/// How often whoever waits looks for a place by itself.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// One upstream's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    config: QueueConfig,
    waiting: AtomicU32,
    freed: Notify,
}

/// A request's place in the queue, left by dropping it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    queue: &'a Queue,
    /// Whether nobody waited before.
    pub(crate) is_first: bool,
}

impl Queue {
    pub(crate) fn new(config: QueueConfig) -> Self {
        Self { config, waiting: AtomicU32::new(0), freed: Notify::new() }
    }

    /// Whether anyone waits, so that who comes now has to wait too.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Relaxed) == 0
    }

    /// How long a request may wait.
    pub(crate) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// Takes a place; `None` where too many wait already.
    pub(crate) fn join(&self) -> Option<Place<'_>> {
        let room = |waiting: u32| (waiting < self.config.max_pending).then(|| waiting + 1);
        let before = self.waiting.fetch_update(Relaxed, Relaxed, room).ok()?;
        Some(Place { queue: self, is_first: before == 0 })
    }

    /// A backend has a place again.
    pub(crate) fn freed(&self) {
        if !self.is_empty() {
            self.freed.notify_one();
        }
    }
}

impl Place<'_> {
    /// Ready when a place at a backend has been given back.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.queue.freed.notified()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(max_pending: u32) -> Queue {
        Queue::new(QueueConfig { max_pending, ..QueueConfig::default() })
    }

    #[test]
    fn no_more_wait_than_may_and_who_leaves_makes_room() {
        assert!(queue(0).join().is_none());
        let queue = queue(2);
        let first = queue.join().unwrap();
        let second = queue.join().unwrap();
        assert_eq!((first.is_first, second.is_first), (true, false));
        assert!(queue.join().is_none());
        drop(first);
        assert!(queue.join().is_some());
        drop(second);
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_place_given_back_wakes_the_one_who_came_first() {
        let queue = queue(2);
        let (first, second) = (queue.join().unwrap(), queue.join().unwrap());
        let (mut one, mut other) = (Box::pin(first.freed()), Box::pin(second.freed()));
        assert!(!one.as_mut().enable() && !other.as_mut().enable());
        queue.freed();
        one.await;
        assert!(!other.as_mut().enable());
    }
}
