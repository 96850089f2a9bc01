//! Places for backends in the workers' pools: numbers that stay small however many backends come and go.
//!
//! A place is given to another backend once nothing knows the one before any more. A worker may learn of that later than of
//! the next backend, so each use of a place has a number too, and a connection is only ever taken by the backend it leads to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a backend's connections stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Counted from 0.
    pub(crate) place: usize,
    /// How many backends have had the place, this one included.
    pub(crate) turn: u32,
}

/// Gives out slots, to all configurations that follow one another.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Places ever given out.
    places: usize,
    /// To be given out again.
    free: Vec<Slot>,
}

/// A backend's slot, for as long as a configuration has the backend.
#[derive(Debug)]
pub(crate) struct SlotHolder {
    slots: Arc<Slots>,
    slot: Slot,
}

impl Slots {
    /// A slot that nobody has.
    pub(crate) fn take(self: &Arc<Self>) -> SlotHolder {
        let mut state = self.lock();
        let slot = state.free.pop().unwrap_or_else(|| {
            let place = state.places;
            state.places += 1;
            Slot { place, turn: 1 }
        });
        drop(state);
        SlotHolder { slots: Arc::clone(self), slot }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotHolder {
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }
}

impl Drop for SlotHolder {
    fn drop(&mut self) {
        let Slot { place, turn } = self.slot;
        // A place that has been used up is left.
        if let Some(turn) = turn.checked_add(1) {
            self.slots.lock().free.push(Slot { place, turn });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_out_again_and_is_another_slot_then() {
        let slots = Arc::new(Slots::default());
        let (first, second) = (slots.take(), slots.take());
        let gone = second.slot();
        assert_ne!(first.slot().place, gone.place);
        drop(second);
        let third = slots.take();
        assert_eq!(third.slot(), Slot { place: gone.place, turn: gone.turn + 1 });
        assert_eq!(slots.take().slot().place, 2);
        drop(first);
    }
}
