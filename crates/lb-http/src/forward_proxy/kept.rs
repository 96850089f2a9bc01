//! Connections to other servers that are kept for the next request to the same address. Whether that may be connected to has been looked at
//! anew by then: what is kept saves the way there, and no check.
//!
//! They stand by address and port alone, so names that lead there share them; a request is told from others by its Host. One worker's own, few to
//! an address, and for a short time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::upstream::Connection;

/// Connections that a worker keeps, to one address and in all.
const TO_ONE: usize = 4;
const IN_ALL: usize = 128;
/// How long one is kept at most: what servers of the public internet do themselves is about that.
const IDLE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Default)]
pub(crate) struct Kept {
    idle: RefCell<HashMap<SocketAddr, Vec<(Connection, Instant)>>>,
    count: Cell<usize>,
}

impl Kept {
    /// The one that was used last and is still alive.
    pub(crate) fn take(&self, address: SocketAddr) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(&address)?;
        let mut found = None;
        while let (None, Some((mut connection, _))) = (&found, kept.pop()) {
            self.count.set(self.count.get().saturating_sub(1));
            found = connection.is_alive().then_some(connection);
        }
        if kept.is_empty() {
            idle.remove(&address);
        }
        found
    }

    /// Keeps one, unless there are as many as there may be.
    pub(crate) fn put(&self, address: SocketAddr, mut connection: Connection, now: Instant) {
        if connection.is_personal() || !connection.transport.inbox.is_empty() || self.count.get() >= IN_ALL {
            return;
        }
        connection.mark_reused();
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(address).or_default();
        if kept.len() >= TO_ONE {
            kept.remove(0);
        } else {
            self.count.set(self.count.get() + 1);
        }
        kept.push((connection, now));
    }

    /// Closes those that have been idle for too long, or that their server has closed. Called once a second.
    pub(crate) fn sweep(&self, now: Instant, timeout: Duration) {
        let timeout = timeout.min(IDLE);
        let mut count = 0;
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain_mut(|(connection, since)| {
                now.duration_since(*since) < timeout && connection.is_alive()
            });
            count += kept.len();
            !kept.is_empty()
        });
        self.count.set(count);
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.count.set(0);
    }
}
