//! Frames on their way out of a connection, gathered until it has no more to say at once.
//!
//! Streams that are answered together would else cost a system call each, and by TLS a record each. Room for them is lent by the
//! thread, little to who has little to say.

use std::cell::RefCell;

use crate::frame::{HEAD, Head};

/// How much may wait before streams have to wait with their bodies.
pub(crate) const FULL: usize = 72 << 10;
/// Room that is lent to who has heads and short bodies to say.
const SMALL: usize = 8 << 10;
/// Room that is lent to others, with some for heads and what the connection itself has to say.
const LARGE: usize = 80 << 10;
/// How many of each a thread keeps.
const SMALL_KEPT: usize = 64;
const LARGE_KEPT: usize = 4;

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// Room that connections have left. What was left last is in the core's cache, and is lent first.
#[derive(Default)]
struct Spare {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Spare {
    /// Room for so many bytes, all of it initialised.
    fn take(&mut self, least: usize) -> Vec<u8> {
        let (kept, size) = match least {
            0..=SMALL => (&mut self.small, SMALL),
            _ => (&mut self.large, LARGE.max(least.next_multiple_of(LARGE))),
        };
        match kept.pop() {
            Some(room) if room.len() >= size => room,
            _ => vec![0; size],
        }
    }

    /// Takes room back. What was needed once for much is not kept.
    fn give(&mut self, room: Vec<u8>) {
        let (kept, most) = match room.len() {
            SMALL => (&mut self.small, SMALL_KEPT),
            LARGE => (&mut self.large, LARGE_KEPT),
            _ => return,
        };
        if kept.len() < most {
            kept.push(room);
        }
    }
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// All of it initialised.
    room: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes that have been sent since the connection began.
    gone: u64,
}

impl Out {
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be sent next.
    pub(crate) fn pending(&self) -> &[u8] {
        self.room.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes have been sent since the connection began.
    pub(crate) fn gone(&self) -> u64 {
        self.gone
    }

    /// The place of the byte that is added next among all of the connection's.
    pub(crate) fn place(&self) -> u64 {
        self.gone + self.len() as u64
    }

    /// So much of it has been sent.
    pub(crate) fn sent(&mut self, count: usize) {
        let count = count.min(self.len());
        self.start += count;
        self.gone += count as u64;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            let room = std::mem::take(&mut self.room);
            SPARE.with_borrow_mut(|spare| spare.give(room));
        }
    }

    /// Adds these bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let end = self.end + bytes.len();
        if let Some(room) = self.room.get_mut(self.end..end) {
            room.copy_from_slice(bytes);
            self.end = end;
        }
    }

    /// Adds a frame.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.put(&Head { length, kind, flags, stream }.bytes());
        self.put(payload);
    }

    /// Room for so many more bytes.
    fn reserve(&mut self, more: usize) {
        if self.end + more <= self.room.len() {
            return;
        }
        let pending = self.len();
        if pending + more <= self.room.len() {
            self.room.copy_within(self.start..self.end, 0);
        } else {
            let mut larger = SPARE.with_borrow_mut(|spare| spare.take(pending + more));
            if let (Some(to), Some(from)) = (larger.get_mut(..pending), self.room.get(self.start..self.end)) {
                to.copy_from_slice(from);
            }
            let room = std::mem::replace(&mut self.room, larger);
            SPARE.with_borrow_mut(|spare| spare.give(room));
        }
        (self.start, self.end) = (0, pending);
    }
}

/// The pieces of a body that is read straight into DATA frames: their heads are written once it is known how much came.
pub(crate) const MOST_FRAMES: usize = 5;

impl Out {
    /// Room for a body of at most `limit` bytes in frames of at most `largest`, each behind room for its head.
    pub(crate) fn frames_to_fill(&mut self, limit: usize, largest: usize) -> impl Iterator<Item = &mut [u8]> {
        let count = limit.div_ceil(largest).min(MOST_FRAMES);
        self.reserve(limit + count * HEAD);
        let room = self.room.get_mut(self.end..).unwrap_or_default();
        let mut left = limit;
        room.chunks_mut(largest + HEAD).take(count).filter_map(move |chunk| {
            let length = left.min(largest);
            left -= length;
            chunk.get_mut(HEAD..HEAD + length)
        })
    }

    /// So much of that room has been filled with a stream's data.
    pub(crate) fn frames_filled(&mut self, mut count: usize, largest: usize, head: Head, end_flag: u8) {
        while count > 0 {
            let length = count.min(largest);
            count -= length;
            let flags = head.flags | if count == 0 { end_flag } else { 0 };
            let head = Head { length: u32::try_from(length).unwrap_or_default(), flags, ..head };
            if let Some(room) = self.room.get_mut(self.end..self.end + HEAD) {
                room.copy_from_slice(&head.bytes());
            }
            self.end += HEAD + length;
        }
    }
}
