//! The thread that formats and writes.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use super::field::Field;
use super::json::Clock;
use super::{Dropped, Message};

/// How long the thread sleeps between two looks into the queue while there is traffic.
pub(super) const BREATH: Duration = Duration::from_millis(5);

/// After so long without a line it waits to be woken instead.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Lines are written together up to about this many bytes.
const BATCH_BYTES: usize = 64 << 10;

pub(super) struct Writer<W> {
    entries: Receiver<Message>,
    fields: Vec<Field>,
    output: W,
    dropped: Dropped,
    clock: Clock,
    batch: Vec<u8>,
    batched: u64,
    flushes: Vec<SyncSender<()>>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(entries: Receiver<Message>, fields: Vec<Field>, output: W, dropped: Dropped) -> Self {
        let batch = Vec::with_capacity(BATCH_BYTES);
        Self {
            entries,
            fields,
            output,
            dropped,
            clock: Clock::default(),
            batch,
            batched: 0,
            flushes: Vec::new(),
        }
    }

    /// Runs until the log has gone and everything in the queue is written.
    pub(super) fn run(mut self) {
        let mut idle_since = None;
        loop {
            match self.entries.try_recv() {
                Ok(message) => {
                    self.take(message);
                    idle_since = None;
                }
                Err(TryRecvError::Disconnected) => return self.write(),
                Err(TryRecvError::Empty) => {
                    self.write();
                    if idle_since.get_or_insert_with(Instant::now).elapsed() < IDLE_AFTER {
                        std::thread::sleep(BREATH);
                        continue;
                    }
                    let Ok(message) = self.entries.recv() else { return };
                    self.take(message);
                    idle_since = None;
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Entry(entry) => {
                entry.write_line(&self.fields, &mut self.clock, &mut self.batch);
                self.batched += 1;
            }
            Message::Flush(done) => self.flushes.push(done),
        }
        if self.batch.len() >= BATCH_BYTES {
            self.write();
        }
    }

    /// Writes the batch and answers those who waited for it.
    fn write(&mut self) {
        let written = self.output.write_all(&self.batch).and_then(|()| self.output.flush());
        if written.is_err() {
            // There is nowhere to say so: the counter does.
            self.dropped.add(self.batched);
        }
        self.batch.clear();
        self.batched = 0;
        for done in self.flushes.drain(..) {
            let _nobody_waits = done.try_send(());
        }
    }
}
