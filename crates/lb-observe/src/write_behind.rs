//! What is recorded now and written later, by a thread of its own.
//!
//! A worker puts an item into its own batch, whose bound is the batch's; one that is full, because what is written to is
//! slower than the traffic or stands still, takes nothing more: recording never delays a request. The thread exchanges
//! full batches for empty ones every few milliseconds while there is traffic, so that workers need not wake it for
//! every item. A batch's lock is held for the copy of an item, or for that exchange; workers do not share them, and
//! their memory is used again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Shards;

/// How long the thread sleeps between two looks while there is traffic.
const BREATH: Duration = Duration::from_millis(5);
/// After so long without an item it waits to be woken instead.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// How long a queue that goes away waits for its last items to be written.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Items that wait together.
pub trait Batch: Default + Send + 'static {
    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool;

    /// Takes everything out of it and keeps its memory.
    fn clear(&mut self);
}

impl<T: Send + 'static> Batch for Vec<T> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    fn clear(&mut self) {
        Self::clear(self);
    }
}

/// Where items end. Called on the writing thread alone, so it may block.
pub trait Sink: Send + 'static {
    /// What items wait in.
    type Batch: Batch;

    /// Writes what has come since the last time, a batch a worker; what is left in them is thrown away. Something is in
    /// one of them.
    fn write(&mut self, batches: &mut [Self::Batch]);
}

/// The way to a [`Sink`]. Dropping it writes what waits, for at most two seconds; [`flush`](Self::flush) does so before.
///
/// ```
/// use lb_observe::write_behind::{Sink, WriteBehind};
/// use std::{sync::mpsc, time::Duration};
///
/// struct Sum(mpsc::Sender<u32>);
/// impl Sink for Sum {
///     type Batch = Vec<u32>;
///     fn write(&mut self, batches: &mut [Vec<u32>]) {
///         batches.iter().flatten().for_each(|number| self.0.send(*number).unwrap());
///     }
/// }
/// let (told, numbers) = mpsc::channel();
/// let queue = WriteBehind::start("sum", 1, Sum(told))?;
/// queue.with(0, |batch| batch.push(2));
/// queue.with(0, |batch| batch.push(3));
/// assert!(queue.flush(Duration::from_secs(5)));
/// assert_eq!(numbers.try_iter().sum::<u32>(), 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteBehind<B> {
    shared: Arc<Shared<B>>,
    thread: JoinHandle<()>,
}

/// What workers and the thread share.
#[derive(Debug)]
struct Shared<B> {
    batches: Shards<Mutex<B>>,
    /// The thread waits to be woken.
    is_asleep: AtomicBool,
    progress: Mutex<Progress>,
    flushed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Flushes asked for, and of these the ones that are done.
    asked: u64,
    done: u64,
    /// The way to the thread has gone.
    is_over: bool,
}

impl<B: Batch> WriteBehind<B> {
    /// Starts the writing thread. So many workers have a batch of their own; others share that of the first.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(thread: &str, workers: usize, sink: impl Sink<Batch = B>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            batches: Shards::new(workers),
            is_asleep: AtomicBool::new(false),
            progress: Mutex::default(),
            flushed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(thread.to_owned()).spawn(move || theirs.run(sink))?;
        Ok(Self { shared, thread })
    }
}

impl<B> WriteBehind<B> {
    /// Puts something into the batch of a worker, where there is room for it by `add`'s own judgement: whoever writes may
    /// be slow. Waits for nothing but a copy.
    pub fn with<R>(&self, worker: usize, add: impl FnOnce(&mut B) -> R) -> R {
        let added = add(&mut lock(self.shared.batches.shard(worker)));
        // Who looked at the batch before this found the flag set before it locked: the lock hands it on.
        if self.shared.is_asleep.load(Relaxed) && self.shared.is_asleep.swap(false, Relaxed) {
            self.thread.thread().unpark();
        }
        added
    }

    /// Waits until everything so far has been written; false where that takes longer.
    pub fn flush(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let mut progress = lock(&self.shared.progress);
        progress.asked += 1;
        let mine = progress.asked;
        self.thread.thread().unpark();
        while progress.done < mine {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.thread.is_finished() {
                return false;
            }
            let waited = self.shared.flushed.wait_timeout(progress, left);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl<B> Drop for WriteBehind<B> {
    fn drop(&mut self) {
        // The thread ends when it sees that; one that is stuck in a write is left behind.
        let _all_written = self.flush(LAST_WRITE);
        lock(&self.shared.progress).is_over = true;
        self.thread.thread().unpark();
    }
}

impl<B: Batch> Shared<B> {
    /// Runs until nothing more can come and everything is written.
    fn run(&self, mut sink: impl Sink<Batch = B>) {
        let mut batches: Vec<B> = self.batches.iter().map(|_| B::default()).collect();
        let mut idle_since = None;
        loop {
            let before = *lock(&self.progress);
            if self.take(&mut batches) {
                sink.write(&mut batches);
                batches.iter_mut().for_each(B::clear);
                idle_since = None;
            }
            self.is_done(before.asked);
            if before.is_over {
                return;
            }
            if idle_since.get_or_insert_with(Instant::now).elapsed() < IDLE_AFTER {
                std::thread::park_timeout(BREATH);
                continue;
            }
            // Whoever puts something in now either is seen, or sees the flag; to be woken before the sleep ends it.
            self.is_asleep.store(true, Relaxed);
            if self.batches.iter().all(|batch| lock(batch).is_empty()) {
                std::thread::park();
            }
            self.is_asleep.store(false, Relaxed);
        }
    }

    /// Exchanges the workers' batches for empty ones; whether there is something in them.
    fn take(&self, batches: &mut [B]) -> bool {
        for (theirs, empty) in self.batches.iter().zip(batches.iter_mut()) {
            std::mem::swap(&mut *lock(theirs), empty);
        }
        batches.iter().any(|batch| !batch.is_empty())
    }

    fn is_done(&self, flushes: u64) {
        let mut progress = lock(&self.progress);
        if progress.done < flushes {
            progress.done = flushes;
            self.flushed.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done in it: an item is whole or was never put in.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    struct Told(Sender<u32>);

    impl Sink for Told {
        type Batch = Vec<u32>;

        fn write(&mut self, batches: &mut [Vec<u32>]) {
            batches.iter().flatten().for_each(|item| self.0.send(*item).unwrap());
        }
    }

    fn start(workers: usize) -> (WriteBehind<Vec<u32>>, Receiver<u32>) {
        let (told, items) = channel();
        (WriteBehind::start("test", workers, Told(told)).unwrap(), items)
    }

    #[test]
    fn an_item_is_written_without_being_asked_for_also_after_a_rest() {
        let (queue, items) = start(1);
        queue.with(0, |batch| batch.push(1));
        assert_eq!(items.recv_timeout(SOON), Ok(1));
        while !queue.shared.is_asleep.load(Relaxed) {
            std::thread::sleep(BREATH);
        }
        queue.with(0, |batch| batch.push(2));
        assert_eq!(items.recv_timeout(SOON), Ok(2));
    }

    #[test]
    fn each_worker_has_its_batch_and_nothing_is_lost_between_them() {
        let (queue, items) = start(3);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let queue = &queue;
                scope
                    .spawn(move || (0..10_000).for_each(|item| queue.with(worker, |batch| batch.push(item))));
            }
        });
        assert!(queue.flush(SOON));
        assert_eq!(items.try_iter().count(), 40_000);
    }

    #[test]
    fn what_waits_is_written_when_the_queue_goes() {
        let (queue, items) = start(2);
        queue.with(1, |batch| batch.push(7));
        drop(queue);
        assert_eq!(items.iter().collect::<Vec<_>>(), [7], "and the thread ends");
    }

    #[test]
    fn a_flush_of_a_writer_that_stands_still_ends_with_its_deadline() {
        struct Stuck(Receiver<()>);
        impl Sink for Stuck {
            type Batch = Vec<u32>;
            fn write(&mut self, _: &mut [Vec<u32>]) {
                let _let_go = self.0.recv();
            }
        }
        let (go, told) = channel();
        let queue = WriteBehind::start("test", 1, Stuck(told)).unwrap();
        queue.with(0, |batch| batch.push(1));
        assert!(!queue.flush(BREATH));
        drop(go);
        assert!(queue.flush(SOON));
    }
}
