//! Makes lines of records and writes them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_observe::write_behind::Sink;

use crate::dump::{Drops, Message};
use crate::files::{Files, FilesConfig};
use crate::line::Lines;

/// A disk that has taken everything for so long is well again; on a full one a short line may still find room.
const CALM: Duration = Duration::from_secs(10);
/// Lines are written together up to about this many bytes.
const BATCH_BYTES: usize = 256 << 10;

/// What lines are written to: [`Files`], or something slower in a test.
pub(crate) trait Output: Send + 'static {
    /// Whether so many bytes more still belong into the file at hand.
    fn fits(&self, bytes: usize) -> bool;
    /// Appends whole lines.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Other bounds from now on.
    fn reconfigure(&mut self, config: FilesConfig);
}

impl Output for Files {
    fn fits(&self, bytes: usize) -> bool {
        self.fits(bytes)
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.append(lines)
    }

    fn reconfigure(&mut self, config: FilesConfig) {
        self.reconfigure(config);
    }
}

pub(crate) struct Writer<O> {
    lines: Lines,
    batch: Batch<O>,
}

/// Lines that are written together.
struct Batch<O> {
    output: O,
    lines: Vec<u8>,
    count: u64,
    drops: Arc<Drops>,
    /// The last write that failed, while that has been said and its end has not.
    failed_at: Option<Instant>,
}

impl<O: Output> Writer<O> {
    pub(crate) fn new(output: O, drops: Arc<Drops>) -> Self {
        let lines = Vec::with_capacity(BATCH_BYTES);
        let batch = Batch { output, lines, count: 0, drops, failed_at: None };
        Self { lines: Lines::default(), batch }
    }
}

impl<O: Output> Sink for Writer<O> {
    type Batch = Vec<Message>;

    fn write(&mut self, batches: &mut [Vec<Message>]) {
        for message in batches.iter_mut().flat_map(|batch| batch.drain(..)) {
            match message {
                Message::Entry(record) => self.batch.push(self.lines.line(&record)),
                Message::Files(config) => {
                    self.batch.write();
                    self.batch.output.reconfigure(config);
                }
            }
        }
        self.batch.write();
    }
}

impl<O: Output> Batch<O> {
    fn push(&mut self, line: &[u8]) {
        if self.lines.len() >= BATCH_BYTES || !self.output.fits(self.lines.len() + line.len()) {
            self.write();
        }
        self.lines.extend_from_slice(line);
        self.count += 1;
    }

    /// Writes, or drops and counts. Says when dropping begins and when it ends.
    fn write(&mut self) {
        if self.count == 0 {
            return;
        }
        match self.output.append(&self.lines) {
            Ok(()) => {
                if self.failed_at.is_some_and(|failed_at| failed_at.elapsed() > CALM) {
                    self.failed_at = None;
                    tracing::info!(dropped = self.drops.count(), "the traffic dump is written again");
                }
            }
            Err(error) => {
                self.drops.add(self.count);
                if self.failed_at.replace(Instant::now()).is_none() {
                    tracing::error!(
                        %error,
                        "the traffic dump cannot be written: entries are dropped and counted until it can"
                    );
                }
            }
        }
        self.lines.clear();
        self.count = 0;
    }
}
