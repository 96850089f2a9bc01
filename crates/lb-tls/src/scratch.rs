//! One thread's buffers for ciphertext: what has just been received, and what is about to be sent. A worker is a thread, so
//! ten thousand connections share them, and each owns only what is pending.

use std::cell::RefCell;

/// Room for what one read brings, behind the rest of the one before: a record of 16 KiB, or a handshake message of 64 KiB.
pub(crate) const RECEIVED: usize = 136 << 10;
/// Plaintext that is sealed at a time: four full records.
pub(crate) const BATCH: usize = 64 << 10;
/// Room for that, for what records add, and for what waited before it.
const SEALED: usize = BATCH + (16 << 10);

pub(crate) struct Scratch {
    pub(crate) received: Box<[u8]>,
    pub(crate) sealed: Box<[u8]>,
}

thread_local! {
    // Made when the thread sees its first TLS: one without any pays nothing.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        received: vec![0; RECEIVED].into_boxed_slice(),
        sealed: vec![0; SEALED].into_boxed_slice(),
    });
}

/// Lends this thread's buffers. Not to be called within itself.
pub(crate) fn with<R>(use_them: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(use_them)
}
