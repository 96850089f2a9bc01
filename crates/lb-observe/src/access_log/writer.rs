//! Formats entries and writes their lines.

use std::io::Write;

use super::Dropped;
use super::entry::{Column, Reader, Told, Waiting};
use super::field::Field;
use crate::json_text::Clock;
use crate::write_behind::{Batch as _, Sink};

/// Lines are written together up to about this many bytes.
const BATCH_BYTES: usize = 64 << 10;

pub(super) struct Writer<W> {
    columns: Vec<Column>,
    output: W,
    dropped: Dropped,
    clock: Clock,
    batch: Vec<u8>,
    batched: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(fields: Vec<Field>, output: W, dropped: Dropped) -> Self {
        let columns = fields.into_iter().map(Column::from).collect();
        let batch = Vec::with_capacity(BATCH_BYTES);
        Self { columns, output, dropped, clock: Clock::default(), batch, batched: 0 }
    }

    fn push(&mut self, told: &Told<'_>) {
        told.write_line(&self.columns, &mut self.clock, &mut self.batch);
        self.batched += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
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

impl<W: Write + Send + 'static> Sink for Writer<W> {
    type Batch = Waiting;

    fn write(&mut self, batches: &mut [Waiting]) {
        let mut readers: Vec<Reader<'_>> =
            batches.iter().filter(|batch| !batch.is_empty()).map(Waiting::read).collect();
        match readers.as_mut_slice() {
            [reader] => reader.for_each(|told| self.push(&told)),
            // What ended first is written first, whichever worker had it.
            readers => {
                while let Some(told) = first(readers) {
                    self.push(&told);
                }
            }
        }
        self.flush();
    }
}

/// The entry that ended first.
fn first<'a>(readers: &mut [Reader<'a>]) -> Option<Told<'a>> {
    let ended = readers.iter_mut().filter_map(|reader| Some((reader.next_ended_at()?, reader)));
    ended.min_by_key(|(ended_at, _)| *ended_at)?.1.next()
}
