//! Independent runs, on as many threads as there are processors.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Results of `work` for the seeds from `first` on, in their order, whatever thread made them.
///
/// # Errors
/// The error of the first seed that has one.
pub fn replicate<T: Send, E: Send>(
    first: u64,
    count: u64,
    work: impl Fn(u64) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicU64::new(0);
    let results = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = work(first + number);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_their_seeds() {
        assert_eq!(replicate(5, 40, Ok::<u64, ()>), Ok((5..45).collect()));
        assert_eq!(replicate(0, 9, |seed| if seed > 3 { Err(seed) } else { Ok(()) }), Err(4));
    }
}
