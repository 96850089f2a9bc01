//! What is current, and how it is changed: readers take it whole and never wait; changes come one after the other, and the later one
//! sees all that was there before it began.
//!
//! Lock and current value come from `super::sync`, so that a model checker can put its own in their place: `tests/model_swap.rs`
//! runs this very file.

use std::sync::Arc;

use super::sync::{Current, Mutex, MutexGuard, lock};

/// A current value, and the state that only those who change it see.
#[derive(Debug)]
pub(crate) struct Swap<T, S> {
    current: Current<T>,
    state: Mutex<S>,
}

impl<T, S> Swap<T, S> {
    pub(crate) fn new(first: T, state: S) -> Self {
        Self { current: Current::from_pointee(first), state: Mutex::new(state) }
    }

    /// The current value; it stays whole for as long as it is held, whatever comes after it.
    #[inline]
    pub(crate) fn current(&self) -> &Current<T> {
        &self.current
    }

    /// The state, with nobody changing anything meanwhile.
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        lock(&self.state)
    }

    /// Makes the next value, if `next` says there is one. Whoever reads states and builds from them does so in here: of two changes
    /// at once the one that is published last has then seen what the other had.
    pub(crate) fn change<R>(&self, next: impl FnOnce(&mut S, &T) -> (Option<T>, R)) -> R {
        let mut state = self.state();
        let (value, told) = next(&mut state, &self.current.load());
        if let Some(value) = value {
            self.current.store(Arc::new(value));
        }
        told
    }
}
