//! Requests that wait until a backend has a free place (`max_connections`), over the whole process.
//!
//! Cost: one relaxed load of a line that nobody writes, when a place is given back and nobody waits; a lock where anybody does. Who has
//! waited longest is called, and looks alone: a call that comes to nothing costs no turn. Calling is a hint and not a promise: places also
//! become free in ways that nobody announces (a backend recovers, its limit is raised), so whoever is first also looks by itself from
//! time to time, and whoever leaves calls the next.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::config::QueueConfig;

/// How often whoever is first looks for a place by itself.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// One upstream's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    config: QueueConfig,
    /// How many stand in the line, to be looked at without its lock.
    waiting: AtomicU32,
    line: Mutex<Line>,
}

/// Who waits, by number.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    is_called: bool,
    waker: Option<Waker>,
}

impl Line {
    /// Calls whoever stands first from this number on.
    fn call(&mut self, from: u64) {
        if let Some((_, waiter)) = self.waiters.range_mut(from..).next() {
            waiter.is_called = true;
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A request's place in the queue, left by dropping it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Queue {
    pub(crate) fn new(config: QueueConfig) -> Self {
        Self { config, waiting: AtomicU32::new(0), line: Mutex::default() }
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
        let mut line = self.line();
        let waiting = self.waiting.load(Relaxed);
        if waiting >= self.config.max_pending {
            return None;
        }
        self.waiting.store(waiting + 1, Relaxed);
        let number = line.next;
        line.next += 1;
        line.waiters.insert(number, Waiter::default());
        Some(Place { queue: self, number })
    }

    /// A backend has a place again.
    pub(crate) fn freed(&self) {
        if !self.is_empty() {
            self.line().call(0);
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // The line is right whatever became of the thread that held the lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Whether nobody has waited longer.
    pub(crate) fn is_first(&self) -> bool {
        self.queue.line().waiters.first_key_value().is_none_or(|(first, _)| *first == self.number)
    }

    /// Ready when this one is to look.
    pub(crate) fn poll_called(&self, cx: &Context<'_>) -> Poll<()> {
        let mut line = self.queue.line();
        let Some(waiter) = line.waiters.get_mut(&self.number) else { return Poll::Ready(()) };
        if std::mem::take(&mut waiter.is_called) {
            return Poll::Ready(());
        }
        match &mut waiter.waker {
            Some(known) => known.clone_from(cx.waker()),
            None => waiter.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// What is free is not for this one: the next looks too.
    pub(crate) fn pass_on(&self) {
        self.queue.line().call(self.number.saturating_add(1));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        line.waiters.remove(&self.number);
        self.queue.waiting.fetch_sub(1, Relaxed);
        // There may be more where this one found something, and what it was called for where it did not look.
        line.call(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(max_pending: u32) -> Queue {
        Queue::new(QueueConfig { max_pending, ..QueueConfig::default() })
    }

    fn is_called(place: &Place<'_>) -> bool {
        place.poll_called(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn no_more_wait_than_may_and_who_leaves_makes_room() {
        assert!(queue(0).join().is_none());
        let queue = queue(2);
        let first = queue.join().unwrap();
        let second = queue.join().unwrap();
        assert_eq!((first.is_first(), second.is_first()), (true, false));
        assert!(queue.join().is_none());
        drop(first);
        assert!(second.is_first() && queue.join().is_some());
        drop(second);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_came_first_is_called_and_a_call_for_nothing_costs_no_turn() {
        let queue = queue(3);
        let (first, second, third) = (queue.join().unwrap(), queue.join().unwrap(), queue.join().unwrap());
        for _ in 0..3 {
            queue.freed();
            assert_eq!((is_called(&first), is_called(&second), is_called(&third)), (true, false, false));
        }
        first.pass_on();
        assert_eq!((is_called(&first), is_called(&second), is_called(&third)), (false, true, false));
    }

    #[test]
    fn who_leaves_calls_the_next() {
        let queue = queue(3);
        let (first, second, third) = (queue.join().unwrap(), queue.join().unwrap(), queue.join().unwrap());
        queue.freed();
        drop(first);
        assert!(is_called(&second) && !is_called(&third));
        drop(second);
        assert!(is_called(&third));
    }
}
