//! The count of places under every interleaving of a few threads (loom): the limit is never passed, nobody is refused while
//! there is room, and all is given back. Loom knows its own atomics only, so the source file is compiled here with these.

use std::num::NonZeroU32;

use loom::sync::Arc;
use loom::thread;

#[path = "../src/places.rs"]
mod places;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
}

use places::Places;

#[test]
fn two_places_for_three_threads_are_never_taken_thrice_and_always_by_two() {
    loom::model(|| {
        let places = Arc::new(Places::new());
        let take = |places: &Places| {
            let taken = places.reserve(NonZeroU32::new(2));
            assert!(places.taken() <= 2);
            taken
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let places = Arc::clone(&places);
                thread::spawn(move || take(&places))
            })
            .collect();
        let mut winners = u32::from(take(&places));
        for other in others {
            winners += u32::from(other.join().unwrap());
        }
        assert_eq!((winners, places.taken()), (2, 2));
    });
}

#[test]
fn a_place_given_back_is_free_for_another_and_the_count_returns_to_zero() {
    loom::model(|| {
        let places = Arc::new(Places::new());
        let others: Vec<_> = (0..2)
            .map(|_| {
                let places = Arc::clone(&places);
                thread::spawn(move || {
                    if places.reserve(NonZeroU32::new(1)) {
                        assert_eq!(places.taken(), 1);
                        places.release();
                    }
                })
            })
            .collect();
        for other in others {
            other.join().unwrap();
        }
        assert!(places.reserve(NonZeroU32::new(1)));
        places.release();
        assert_eq!(places.taken(), 0);
    });
}

#[test]
fn a_limit_that_comes_while_places_are_taken_holds_for_the_next() {
    loom::model(|| {
        let places = Arc::new(Places::new());
        let other = {
            let places = Arc::clone(&places);
            thread::spawn(move || assert!(places.reserve(None)))
        };
        let limited = places.reserve(NonZeroU32::new(1));
        other.join().unwrap();
        assert_eq!(places.taken(), 1 + u32::from(limited));
        assert!(!places.reserve(NonZeroU32::new(1)));
    });
}
