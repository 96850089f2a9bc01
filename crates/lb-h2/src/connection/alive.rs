//! Whether the peer is still there (RFC 9113 §6.7).

use super::Connection;
use crate::frame::kind;

/// The opaque data of a PING that asks for a sign of life.
const QUESTION: [u8; 8] = *b"are you?";

/// What has come of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// Something, and be it the answer to a PING.
    Something,
    /// A frame of a message: fields or data.
    Messages,
}

impl Connection {
    /// What has come since this was asked last.
    #[must_use]
    pub fn take_heard(&self) -> Heard {
        std::mem::replace(&mut self.0.core.borrow_mut().heard, Heard::Nothing)
    }

    /// Asks for a sign of life, by a PING. Its answer is heard as anything else is.
    pub fn ping(&self) {
        let mut core = self.0.core.borrow_mut();
        if !core.is_over() {
            core.out.frame(kind::PING, 0, 0, &QUESTION);
        }
    }
}
