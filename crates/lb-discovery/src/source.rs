//! Places where members are listed, one file each.

pub(crate) mod dns;
pub(crate) mod docker;
pub(crate) mod etcd;
pub(crate) mod file;
pub(crate) mod registered;

use async_trait::async_trait;

use crate::feed::Feed;

/// Follows one place where members are listed.
///
/// Called by the task that [`Discovery`](crate::Discovery) keeps for it: once at the start, and after each time that it has
/// returned, with a pause that grows until it has told of members again. Its future is dropped when the source is configured no
/// more.
#[async_trait]
pub trait Source: Send + Sync {
    /// Tells `feed` each set of members, for as long as all goes well; why it did not. Every wait on others has a deadline.
    async fn follow(&self, feed: &Feed) -> SourceError;
}

/// Why a source has no members to tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Whoever was asked did not answer, or with nothing that can be read. The last good set stays.
    #[error("{0}")]
    Failed(String),
    /// The answer is that there is nobody. The last good set stays for a time.
    #[error("{0}")]
    Nobody(String),
}
