//! Formats entries and writes their lines.

use std::io::{self, Write};

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
    /// What was written last ends within a line.
    is_torn: bool,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(fields: Vec<Field>, output: W, dropped: Dropped) -> Self {
        let columns = fields.into_iter().map(Column::from).collect();
        let batch = Vec::with_capacity(BATCH_BYTES);
        Self { columns, output, dropped, clock: Clock::default(), batch, batched: 0, is_torn: false }
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
        let lost = self.write();
        if lost > 0 {
            // There is nowhere to say so: the counter does.
            self.dropped.add(lost);
        }
        self.batch.clear();
        self.batched = 0;
    }

    /// Writes as much of the batch as can be; how many lines are lost. What comes later does not go on a line that was torn.
    fn write(&mut self) -> u64 {
        if self.is_torn {
            if self.output.write_all(b"\n").is_err() {
                return self.batched;
            }
            self.is_torn = false;
        }
        let mut rest = &self.batch[..];
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(count @ 1..) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        let written = self.batch.get(..self.batch.len() - rest.len()).unwrap_or_default();
        self.is_torn = written.last().is_some_and(|last| *last != b'\n');
        let whole = written.iter().filter(|byte| **byte == b'\n').count() as u64;
        let _ = self.output.flush();
        self.batched.saturating_sub(whole)
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
