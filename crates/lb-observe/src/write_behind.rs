//! What is recorded now and written later, by a thread of its own.
//!
//! A worker tries to put an item into a bounded queue; one that is full, because what is written to is slower than the
//! traffic or stands still, gives it back: recording never delays a request. The thread looks into the queue every few
//! milliseconds while there is traffic, so that workers need not wake it for every item.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// How long the thread sleeps between two looks into the queue while there is traffic.
const BREATH: Duration = Duration::from_millis(5);
/// After so long without an item it waits to be woken instead.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// How long a queue that goes away waits for its last items to be written.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// Where items end. Called on the writing thread alone, so it may block.
pub trait Sink<T>: Send + 'static {
    /// Takes an item, to be written together with others.
    fn take(&mut self, item: T);

    /// Writes all that was taken: nothing more waits in the queue. Called also where there is nothing.
    fn write(&mut self);
}

/// The way to a [`Sink`]. Dropping it writes what waits, for at most two seconds; [`flush`](Self::flush) does so before.
///
/// ```
/// use lb_observe::write_behind::{Sink, WriteBehind};
/// use std::{sync::mpsc, time::Duration};
///
/// struct Sum(u32, mpsc::Sender<u32>);
/// impl Sink<u32> for Sum {
///     fn take(&mut self, item: u32) { self.0 += item; }
///     fn write(&mut self) { let _nobody_listens = self.1.send(self.0); }
/// }
/// let (told, sums) = mpsc::channel();
/// let queue = WriteBehind::start("sum", 8, Sum(0, told))?;
/// assert!(queue.offer(2) && queue.offer(3));
/// assert!(queue.flush(Duration::from_secs(5)));
/// assert_eq!(sums.try_iter().last(), Some(5));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteBehind<T> {
    queue: SyncSender<Message<T>>,
}

#[derive(Debug)]
enum Message<T> {
    Item(T),
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

impl<T: Send + 'static> WriteBehind<T> {
    /// Starts the writing thread, for which at most `capacity` items wait.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(thread: &str, capacity: usize, sink: impl Sink<T>) -> io::Result<Self> {
        let (queue, messages) = sync_channel(capacity.max(1));
        std::thread::Builder::new().name(thread.to_owned()).spawn(move || run(&messages, sink))?;
        Ok(Self { queue })
    }
}

impl<T> WriteBehind<T> {
    /// Puts an item into the queue; false where it is full, and the item lost. Never waits.
    pub fn offer(&self, item: T) -> bool {
        self.queue.try_send(Message::Item(item)).is_ok()
    }

    /// Waits until every item so far has been written; false where that takes longer.
    pub fn flush(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let (done, flushed) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            message = match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(message)) if Instant::now() < end => message,
                Err(_) => return false,
            };
            std::thread::sleep(BREATH);
        }
        flushed.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl<T> Drop for WriteBehind<T> {
    fn drop(&mut self) {
        // The thread ends when the queue has gone; one that is stuck in a write is left behind.
        let _all_written = self.flush(LAST_WRITE);
    }
}

/// Runs until the queue has gone and everything in it is written.
fn run<T>(messages: &Receiver<Message<T>>, mut sink: impl Sink<T>) {
    let mut flushes = Vec::new();
    let mut idle_since = None;
    loop {
        let message = match messages.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => return sink.write(),
            Err(TryRecvError::Empty) => {
                sink.write();
                for done in flushes.drain(..) {
                    let _nobody_waits = SyncSender::<()>::try_send(&done, ());
                }
                if idle_since.get_or_insert_with(Instant::now).elapsed() < IDLE_AFTER {
                    std::thread::sleep(BREATH);
                    continue;
                }
                let Ok(message) = messages.recv() else { return };
                message
            }
        };
        idle_since = None;
        match message {
            Message::Item(item) => sink.take(item),
            Message::Flush(done) => flushes.push(done),
        }
    }
}
