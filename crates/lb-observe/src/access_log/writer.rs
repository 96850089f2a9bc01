//! Formats entries and writes their lines.

use std::io::Write;

use super::Dropped;
use super::entry::Entry;
use super::field::Field;
use super::json::Clock;
use crate::write_behind::Sink;

/// Lines are written together up to about this many bytes.
const BATCH_BYTES: usize = 64 << 10;

pub(super) struct Writer<W> {
    fields: Vec<Field>,
    output: W,
    dropped: Dropped,
    clock: Clock,
    batch: Vec<u8>,
    batched: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(fields: Vec<Field>, output: W, dropped: Dropped) -> Self {
        let batch = Vec::with_capacity(BATCH_BYTES);
        Self { fields, output, dropped, clock: Clock::default(), batch, batched: 0 }
    }
}

impl<W: Write + Send + 'static> Sink<Entry> for Writer<W> {
    fn take(&mut self, entry: Entry) {
        entry.write_line(&self.fields, &mut self.clock, &mut self.batch);
        self.batched += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.batched == 0 {
            return;
        }
        let written = self.output.write_all(&self.batch).and_then(|()| self.output.flush());
        if written.is_err() {
            // There is nowhere to say so: the counter does.
            self.dropped.add(self.batched);
        }
        self.batch.clear();
        self.batched = 0;
    }
}
