//! A gate that holds callers back until a test lets them pass.

use std::sync::{Arc, Condvar, Mutex};

use crate::PATIENCE;

/// Counts how many may pass; clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<Inner>, Condvar)>);

#[derive(Debug, Default)]
struct Inner {
    waiting: usize,
    passes: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wait for a pass and use it up.
    ///
    /// # Panics
    /// When none is given within [`PATIENCE`] times three (tests hold several callers, one after another).
    pub fn wait(&self) {
        let (lock, condition) = &*self.0;
        let mut inner = lock.lock().unwrap();
        inner.waiting += 1;
        let (mut inner, timeout) =
            condition.wait_timeout_while(inner, PATIENCE * 3, |inner| inner.passes == 0).unwrap();
        inner.waiting -= 1;
        assert!(!timeout.timed_out(), "nobody opened the gate");
        inner.passes -= 1;
    }

    /// Let `count` more callers pass, now or later.
    pub fn admit(&self, count: usize) {
        let (lock, condition) = &*self.0;
        let mut inner = lock.lock().unwrap();
        inner.passes = inner.passes.saturating_add(count);
        condition.notify_all();
    }

    /// Let everyone pass from now on.
    pub fn open(&self) {
        self.admit(usize::MAX / 2);
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().waiting
    }
}
