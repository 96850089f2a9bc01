//! What a backend received, in a file that outlives its being killed: one line an event, written at once.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::time::micros;

/// A backend's side.
pub(crate) struct Ledger {
    file: File,
    in_hand: Cell<usize>,
    peak: Cell<usize>,
}

impl Ledger {
    /// Go on with a file, or begin one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Self { file, in_hand: Cell::new(0), peak: Cell::new(0) })
    }

    /// A request's head has come. It is in hand until the guard is dropped.
    pub(crate) fn received(&self, id: u64, method: &str) -> InHand<'_> {
        let now = self.in_hand.get() + 1;
        self.in_hand.set(now);
        self.peak.set(self.peak.get().max(now));
        self.write(&format!("{} {id} {method} {now}\n", micros()));
        InHand(self)
    }

    /// A body came that is not the request's own.
    pub(crate) fn wrong_body(&self, id: u64) {
        self.write(&format!("{} {id} WRONG 0\n", micros()));
    }

    fn write(&self, line: &str) {
        // One write a line: whatever else happens, lines are whole.
        (&self.file).write_all(line.as_bytes()).ok();
    }
}

/// A request that a backend has in hand.
pub(crate) struct InHand<'a>(&'a Ledger);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_hand.set(self.0.in_hand.get() - 1);
    }
}

/// One request as one backend received it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    pub(crate) id: u64,
    pub(crate) method: String,
    /// How many the backend had in hand then, this one included.
    pub(crate) in_hand: usize,
}

/// Everything that a backend has written so far.
pub(crate) fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let entry = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [at, id, method, in_hand] = words[..] else { return None };
        Some(Entry {
            at: at.parse().ok()?,
            id: id.parse().ok()?,
            method: method.to_owned(),
            in_hand: in_hand.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}
