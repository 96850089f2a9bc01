//! The dump of one directory as the data path sees it: a bounded queue that never makes anyone wait.
//!
//! Entries beyond either bound, of number and of bytes, are dropped and counted (`gatewayd_dump_dropped_total`).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lb_observe::control::DumpDropped;
use lb_observe::write_behind::WriteBehind;

use crate::budget::{Budget, Reservation};
use crate::capture::Record;
use crate::files::{Files, FilesConfig};
use crate::writer::{self, Writer};

/// Entries that may wait to be written.
const MAX_ENTRIES: usize = 8192;
/// Bytes that running exchanges and waiting entries may hold.
const MAX_BYTES: usize = 64 << 20;

/// Where entries for one directory go. Dropping it writes what waits, for at most two seconds.
#[derive(Debug)]
pub struct Dump {
    queue: WriteBehind<Vec<Message>>,
    /// Entries that may wait to be written.
    max_entries: usize,
    budget: Arc<Budget>,
    drops: Arc<Drops>,
}

/// Entries that were lost, counted here and in the metrics.
#[derive(Debug)]
pub(crate) struct Drops {
    entries: AtomicU64,
    metric: DumpDropped,
}

/// What the writer is told.
#[derive(Debug)]
pub(crate) enum Message {
    Entry(Box<Record>),
    /// A new configuration has other bounds for the same directory.
    Files(FilesConfig),
}

/// The dumps of a process, by directory: kept across configurations, so that one directory has one writer.
#[derive(Debug, Default)]
pub struct Dumps {
    open: Mutex<BTreeMap<PathBuf, (FilesConfig, Arc<Dump>)>>,
}

impl Dumps {
    /// The dump of this directory, whose files are opened where that has not been done yet.
    ///
    /// # Errors
    /// The directory cannot be written to, or the system refuses another thread.
    pub fn open(&self, config: &FilesConfig) -> io::Result<Arc<Dump>> {
        let directory = std::path::absolute(&config.directory)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, dump)) = open.get_mut(&directory) {
            if known != config && dump.offer(Message::Files(config.clone())).is_ok() {
                *known = config.clone();
            }
            return Ok(Arc::clone(dump));
        }
        let dump = Arc::new(Dump::start(Files::open(config.clone())?)?);
        open.insert(directory, (config.clone(), Arc::clone(&dump)));
        Ok(dump)
    }

    /// Closes the dumps that no configuration uses any more.
    pub fn sweep(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, dump)| Arc::strong_count(dump) > 1);
    }

    /// Waits until every entry so far has been written; false where that takes longer.
    pub fn flush(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        let open: Vec<Arc<Dump>> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().map(|(_, dump)| Arc::clone(dump)).collect()
        };
        open.iter().all(|dump| dump.flush(end.saturating_duration_since(Instant::now())))
    }
}

impl Dump {
    /// Starts the writing thread.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(files: Files) -> io::Result<Self> {
        Self::start_with(files, MAX_ENTRIES, MAX_BYTES)
    }

    pub(crate) fn start_with(
        files: impl writer::Output,
        max_entries: usize,
        max_bytes: usize,
    ) -> io::Result<Self> {
        let drops = Arc::new(Drops { entries: AtomicU64::new(0), metric: DumpDropped::new() });
        let queue = WriteBehind::start("dump", 1, Writer::new(files, Arc::clone(&drops)))?;
        Ok(Self { queue, max_entries, budget: Budget::new(max_bytes), drops })
    }

    /// Waits until every entry so far has been written; false where that takes longer.
    pub fn flush(&self, deadline: Duration) -> bool {
        self.queue.flush(deadline)
    }

    /// Entries that were dropped since there was no room for them, or that could not be written.
    pub fn dropped_entries(&self) -> u64 {
        self.drops.count()
    }

    pub(crate) fn reserve(&self) -> Reservation {
        self.budget.reserve()
    }

    pub(crate) fn submit(&self, record: Box<Record>) {
        if self.offer(Message::Entry(record)).is_err() {
            self.dropped(1);
        }
    }

    /// Puts a message into the queue, or gives it back where that is full.
    fn offer(&self, message: Message) -> Result<(), Message> {
        self.queue.with(0, |waiting| match waiting.len() < self.max_entries {
            true => {
                waiting.push(message);
                Ok(())
            }
            false => Err(message),
        })
    }

    pub(crate) fn dropped(&self, entries: u64) {
        self.drops.add(entries);
    }
}

impl Drops {
    pub(crate) fn count(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    pub(crate) fn add(&self, entries: u64) {
        self.entries.fetch_add(entries, Relaxed);
        self.metric.add(entries);
    }
}

#[cfg(test)]
mod tests;
