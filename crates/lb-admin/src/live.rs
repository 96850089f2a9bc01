//! What happens now, for those who watch: dashboard and `gatewayd top`.
//!
//! A [`Board`] reads every figure at most about once a second, however many watch, and remembers ten minutes of each
//! upstream so that a page has its charts when it opens. A [`Viewer`] is sent the part it asks for, so that ten thousand
//! backends weigh no more than one page of them. While nobody watches, a reading every five seconds is all there is.

mod changes;
mod event;
mod frame;
mod history;
mod memory;
mod query;
mod selection;
mod shape;
mod window;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use lb_observe::{RecentErrors, Registry};

pub use changes::RecentChanges;
use event::{Seen, Sources};
use frame::Frame;
use memory::Memory;
pub use memory::STEP;
use query::Query;
use shape::{Change, Failure};

use crate::view::StatusSource;

/// Viewers at once.
pub const MAX_VIEWERS: usize = 64;
/// How old a reading may be that is shown.
const FRESH: Duration = Duration::from_millis(800);
/// Failures and changes shown.
const LATEST: usize = 50;

/// Everything that those who watch are shown.
pub struct Board {
    source: Arc<dyn StatusSource>,
    registry: Arc<Registry>,
    errors: Arc<RecentErrors>,
    changes: Arc<RecentChanges>,
    viewers: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    memory: Memory,
    current: Option<Current>,
}

impl State {
    fn drop_stale(&mut self, now: Instant) {
        self.current.take_if(|current| now.saturating_duration_since(current.frame.made) >= FRESH);
    }
}

/// What all viewers of one second are shown parts of.
struct Current {
    frame: Frame,
    errors: Vec<Failure>,
    changes: Vec<Change>,
}

impl Board {
    /// Shows what these tell.
    pub fn new(
        source: Arc<dyn StatusSource>,
        registry: Arc<Registry>,
        errors: Arc<RecentErrors>,
        changes: Arc<RecentChanges>,
    ) -> Self {
        Self { source, registry, errors, changes, viewers: AtomicUsize::new(0), state: Mutex::default() }
    }

    /// Remembers how things stand. To be called each [`STEP`], watched or not.
    pub fn step(&self, now: Instant) {
        let frame = Frame::read(self.source.view(), &self.registry, now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.memory.step(&frame);
        // What was shown last must not keep figures of what is configured no more.
        state.drop_stale(now);
    }

    /// Someone begins to watch what a query string asks for; `None` where too many watch already.
    pub fn view(self: &Arc<Self>, query: &str) -> Option<Viewer> {
        let admit = |viewers| (viewers < MAX_VIEWERS).then_some(viewers + 1);
        self.viewers.fetch_update(Relaxed, Relaxed, admit).ok()?;
        Some(Viewer { board: Arc::clone(self), query: Query::read(query), seen: Seen::default() })
    }

    fn event(&self, query: &Query, seen: &mut Seen, now: Instant) -> Vec<u8> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.drop_stale(now);
        let State { memory, current } = &mut *state;
        let Current { frame, errors, changes } = current.get_or_insert_with(|| self.read(now));
        let sources = Sources {
            frame,
            memory,
            changes: &self.changes,
            latest_errors: errors,
            latest_changes: changes,
            time_ms: shape::unix_ms(SystemTime::now()),
        };
        sources.event(query, seen)
    }

    fn read(&self, now: Instant) -> Current {
        Current {
            frame: Frame::read(self.source.view(), &self.registry, now),
            errors: self.errors.latest(LATEST).into_iter().map(Failure::from).collect(),
            changes: self.changes.latest(LATEST).into_iter().map(Change::from).collect(),
        }
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("viewers", &self.viewers).finish_non_exhaustive()
    }
}

/// One who watches. Counts as such until dropped.
#[derive(Debug)]
pub struct Viewer {
    board: Arc<Board>,
    query: Query,
    seen: Seen,
}

impl Viewer {
    /// How things stand now, as JSON. The first time with ten minutes of history, later with what has been added to it.
    pub fn look(&mut self, now: Instant) -> Vec<u8> {
        self.board.event(&self.query, &mut self.seen, now)
    }

    /// The same as a server-sent event.
    pub fn event(&mut self, now: Instant) -> Bytes {
        let json = self.look(now);
        let mut event = Vec::with_capacity(json.len() + 8);
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&json);
        event.extend_from_slice(b"\n\n");
        event.into()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.board.viewers.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
