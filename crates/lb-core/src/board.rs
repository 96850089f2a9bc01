//! Figures of many backends laid side by side, for the strategies that look at all of them: a scan then reads sixteen counts
//! a cache line where it would read one line a backend.
//!
//! Side by side also means that threads busy with different backends write the same lines, so the board mirrors the backends'
//! own counters, and only for balancers whose strategy asks for it. A backend keeps its cell as long as it lives: leases taken
//! through one balancer are seen by the next.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::number::lesser;

/// Cells a chunk: 12 KiB.
const CELLS: usize = 1024;

/// Where the next backend's cell is. Backends made one after the other lie one after the other, which is what an upstream's are.
static NEXT: Mutex<Option<Cell>> = Mutex::new(None);

#[derive(Debug)]
struct Chunk {
    counts: [AtomicU32; CELLS],
    latencies: [AtomicU64; CELLS],
}

/// One backend's place on the board. Cells are not used again: a chunk goes when the last of its backends has gone.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    chunk: Arc<Chunk>,
    index: usize,
}

/// Neighbouring cells.
#[derive(Debug)]
pub(crate) struct Run {
    first: Cell,
    len: usize,
}

#[expect(
    clippy::indexing_slicing,
    reason = "a cell's index is below CELLS by construction, and a run's end at most CELLS"
)]
impl Cell {
    /// The next free cell, its latency set to `latency`.
    pub(crate) fn claim(latency: u64) -> Self {
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = next.take().filter(|cell| cell.index < CELLS).unwrap_or_else(|| Self {
            chunk: Arc::new(Chunk {
                counts: [const { AtomicU32::new(0) }; CELLS],
                latencies: [const { AtomicU64::new(0) }; CELLS],
            }),
            index: 0,
        });
        *next = Some(Self { chunk: Arc::clone(&cell.chunk), index: cell.index + 1 });
        cell.latency().store(latency, Relaxed);
        cell
    }

    /// Requests in flight, as far as they were taken through a balancer that mirrors them.
    pub(crate) fn count(&self) -> &AtomicU32 {
        &self.chunk.counts[self.index]
    }

    /// What the latency estimate keeps of itself.
    pub(crate) fn latency(&self) -> &AtomicU64 {
        &self.chunk.latencies[self.index]
    }

    /// The same as the number it stands for: input to [`Scale::score`](crate::latency::Scale::score).
    pub(crate) fn kept(&self) -> f64 {
        f64::from_bits(self.latency().load(Relaxed))
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "a run's cells are those of existing backends, so it ends within the chunk"
)]
impl Run {
    /// The cells in order, as few runs as can be.
    pub(crate) fn of<'a>(cells: impl Iterator<Item = &'a Cell>) -> Box<[Self]> {
        let mut runs: Vec<Self> = Vec::new();
        for cell in cells {
            match runs.last_mut() {
                Some(run) if run.goes_on_with(cell) => run.len += 1,
                _ => runs.push(Self { first: cell.clone(), len: 1 }),
            }
        }
        runs.into()
    }

    pub(crate) fn counts(&self) -> &[AtomicU32] {
        &self.first.chunk.counts[self.first.index..self.first.index + self.len]
    }

    pub(crate) fn latencies(&self) -> &[AtomicU64] {
        &self.first.chunk.latencies[self.first.index..self.first.index + self.len]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The least load of these, and its place here; see [`BackendSet::least`](crate::BackendSet).
    #[inline]
    pub(crate) fn least(&self, own: &[f64], load: &impl Fn(u32, u64, f64) -> f64) -> (f64, usize) {
        let (counts, kept) = (self.counts(), self.latencies());
        let load = |count: &AtomicU32, kept: &AtomicU64, own: &f64| {
            load(count.load(Relaxed), kept.load(Relaxed), *own)
        };
        let (mut least, mut place, mut next) = (f64::INFINITY, 0, 0);
        // By fours: one running minimum would wait for itself at every step.
        let fours = counts.as_chunks::<4>().0.iter().zip(kept.as_chunks::<4>().0).zip(own.as_chunks::<4>().0);
        for (([a, b, c, d], [e, f, g, h]), [i, j, k, l]) in fours {
            let four = lesser(lesser(load(a, e, i), load(b, f, j)), lesser(load(c, g, k), load(d, h, l)));
            if four < least {
                (least, place) = (four, next);
            }
            next += 4;
        }
        // Whose it is of the four, and the last few, which are less than four.
        let each = counts.iter().zip(kept).zip(own).enumerate();
        let near = each.clone().skip(place).take(if next == 0 { 0 } else { 4 });
        for (index, ((count, kept), own)) in near {
            if load(count, kept, own) <= least {
                place = index;
                break;
            }
        }
        for (index, ((count, kept), own)) in each.skip(next) {
            let load = load(count, kept, own);
            if load < least {
                (least, place) = (load, index);
            }
        }
        (least, place)
    }

    fn goes_on_with(&self, cell: &Cell) -> bool {
        Arc::ptr_eq(&self.first.chunk, &cell.chunk) && self.first.index + self.len == cell.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_hold_the_cells_in_order_over_gaps_and_chunks() {
        let cells: Vec<Cell> = (0..3 * CELLS).map(|_| Cell::claim(0)).collect();
        let kept: Vec<&Cell> =
            cells.iter().enumerate().filter(|(n, _)| n % 100 != 0).map(|(_, cell)| cell).collect();
        for (number, cell) in (0..).zip(&kept) {
            cell.count().store(number, Relaxed);
            cell.latency().store(u64::from(number) * 2, Relaxed);
        }
        let runs = Run::of(kept.iter().copied());
        let counts: Vec<u32> = runs.iter().flat_map(Run::counts).map(|count| count.load(Relaxed)).collect();
        assert!(counts.iter().copied().eq(0..u32::try_from(kept.len()).unwrap()));
        let latencies = runs.iter().flat_map(Run::latencies).map(|latency| latency.load(Relaxed));
        assert!(latencies.eq(counts.iter().map(|count| u64::from(*count) * 2)));
    }
}
