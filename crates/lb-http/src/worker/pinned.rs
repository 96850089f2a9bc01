//! The configuration in force, as the exchanges of one worker hold it.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use super::Shared;
use crate::snapshot::Snapshot;

/// A snapshot held by one worker's exchanges; counted without atomics.
pub(crate) type Pinned = Rc<PinnedSnapshot>;

/// A snapshot and its version.
pub(crate) struct PinnedSnapshot {
    pub(super) version: u64,
    snapshot: Arc<Snapshot>,
}

impl Deref for PinnedSnapshot {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// The one in force, which has this version.
pub(super) fn pin(shared: &Shared, version: u64) -> Pinned {
    Rc::new(PinnedSnapshot { version, snapshot: shared.snapshot.load_full() })
}
