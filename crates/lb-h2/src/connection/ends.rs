//! How streams end, and what is remembered of them then.

use super::{Core, Role};
use crate::fault::{Fault, Reason};
use crate::frame::kind;

/// Streams that were reset from here and are remembered, whose frames are still under way, beside those that may be open.
const REMEMBERED: usize = 256;
/// Streams to a backend that nobody holds any more and whose end is awaited, and no more than half of those that it takes. Beyond that
/// the oldest is reset.
const MOST_LEFT: u32 = 64;

impl Core {
    /// Streams that are over count no more.
    pub(super) fn settle(&mut self, key: usize) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| stream.is_over()) else { return };
        let (id, is_left) = (stream.id, stream.is_left);
        if std::mem::take(&mut stream.is_counted) {
            self.open = self.open.saturating_sub(1);
        }
        if is_left {
            self.streams.try_remove(key);
            self.keys.remove(&id);
            self.left.retain(|left| *left != key);
        }
    }

    /// Awaits the backend's end of an exchange that is over for everyone else: a reset would tell it that its answer was unwanted, and
    /// servers break off with those that reset too much.
    pub(super) fn leave(&mut self, key: usize) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.leave();
            self.left.push_back(key);
        }
        let most = MOST_LEFT.min(self.theirs.max_streams / 2);
        if self.left.len() > usize::try_from(most).unwrap_or(usize::MAX)
            && let Some(&oldest) = self.left.front()
        {
            self.reset(oldest, Reason::CANCEL);
        }
    }

    /// Resets a stream, for a fault of the peer's or because nobody wants it any more.
    pub(super) fn reset(&mut self, key: usize, reason: Reason) {
        let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.is_over()) else { return };
        let id = stream.id;
        stream.fault = Some(Fault::Reset(reason));
        stream.wake_for_both();
        self.settle(key);
        self.put_reset(id, reason);
    }

    pub(super) fn put_reset(&mut self, id: u32, reason: Reason) {
        if self.is_over() {
            return;
        }
        self.out.frame(kind::RST_STREAM, 0, id, &reason.0.to_be_bytes());
        if self.role == Role::Client {
            return;
        }
        let most = usize::try_from(self.ours.max_streams).unwrap_or(usize::MAX).saturating_add(REMEMBERED);
        if self.reset_in_order.len() >= most
            && let Some(oldest) = self.reset_in_order.pop_front()
        {
            self.reset.remove(&oldest);
        }
        self.reset_in_order.push_back(id);
        self.reset.insert(id);
    }
}
