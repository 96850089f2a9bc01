//! How a source of discovery does: told by whoever follows it, shown by status pages, counted here.

use std::time::SystemTime;

/// A place where backends of an upstream are listed that come and go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Whose backends it lists.
    pub upstream: String,
    /// `file`, `dns`, …
    pub kind: &'static str,
    /// Where, as configurations write it.
    pub place: String,
    /// How many it lists, by its last good answer.
    pub members: usize,
    /// When that came.
    pub updated: Option<SystemTime>,
    /// When one came that was another than the one before.
    pub changed: Option<SystemTime>,
    /// Why there is no newer one.
    pub error: Option<String>,
    /// What was left out of it.
    pub notice: Option<String>,
    /// Good answers so far.
    pub answers: u64,
    /// Others so far.
    pub failures: u64,
}

impl SourceState {
    /// Whether its last answer was a good one.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.error.is_none() && self.updated.is_some()
    }
}
