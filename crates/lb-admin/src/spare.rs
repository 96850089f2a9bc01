//! Memory of long texts, used again.
//!
//! The metrics of a thousand backends are megabytes. Taken from the system anew for each scrape and given back after it, they
//! cost several times what writing the text does.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Longer texts give their memory back.
pub(crate) const MAX_KEPT: usize = 16 << 20;

/// The memory of the longest text of late.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    kept: Arc<Mutex<String>>,
    longest: AtomicUsize,
}

/// A text that leaves its memory where it came from.
struct Lent {
    text: String,
    home: Arc<Mutex<String>>,
}

impl Spare {
    /// The memory, or none while another text is in it.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut lock(&self.kept))
    }

    /// The most memory that a text has had so far, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest.load(Relaxed)
    }

    /// The text as a body; its memory comes back with the body's end.
    pub(crate) fn lend(&self, text: String) -> Bytes {
        self.longest.fetch_max(text.capacity(), Relaxed);
        Bytes::from_owner(Lent { text, home: Arc::clone(&self.kept) })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = lock(&self.home);
        if (kept.capacity() + 1..=MAX_KEPT).contains(&self.text.capacity()) {
            std::mem::swap(&mut *kept, &mut self.text);
        }
    }
}

fn lock(kept: &Mutex<String>) -> MutexGuard<'_, String> {
    // What is in it is cleared before it is used.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_with_the_end_of_the_body_and_the_longest_stays() {
        let spare = Spare::default();
        let (short, long) = (spare.lend("a".repeat(100)), spare.lend("b".repeat(1000)));
        assert_eq!(spare.take().capacity(), 0, "both texts are still read");
        let part = long.slice(..10);
        drop(long);
        assert_eq!(spare.take().capacity(), 0, "a part of it is still read");
        drop(short);
        assert_eq!(&part[..], b"bbbbbbbbbb");
        drop(part);
        assert_eq!(spare.take().capacity(), 1000);
        drop(spare.lend("c".repeat(MAX_KEPT + 1)));
        assert_eq!(spare.take().capacity(), 0, "too long to be kept");
    }
}
