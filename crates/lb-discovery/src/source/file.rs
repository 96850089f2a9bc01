//! Members in a file, which is looked at twice a second.
//!
//! A change is taken up when two looks see the same, so that a file which is being written is left alone. One that is empty,
//! cannot be read, or holds something else than a list of backends changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use crate::config::FileConfig;
use crate::discovery::ReadDocument;
use crate::feed::Feed;
use crate::look::{Mark, mark, rest};
use crate::member::Member;
use crate::source::{Source, SourceError};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(500);
/// Bytes of a file at most.
const LARGEST: u64 = 16 << 20;

pub(crate) struct File {
    path: PathBuf,
    read: ReadDocument,
}

impl File {
    pub(crate) fn new(config: &FileConfig, read: ReadDocument) -> Self {
        Self { path: config.path.clone(), read }
    }

    async fn tell(&self, feed: &Feed) {
        let (path, read) = (self.path.clone(), self.read);
        let members = tokio::task::spawn_blocking(move || members(&path, read)).await;
        match members.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(members) => feed.members(members, None),
            Err(reason) => feed.failed(&SourceError::Failed(reason)),
        }
    }
}

#[async_trait]
impl Source for File {
    async fn follow(&self, feed: &Feed) -> SourceError {
        let mut known = mark(&self.path);
        self.tell(feed).await;
        loop {
            tokio::time::sleep(INTERVAL).await;
            known = next(&self.path, known).await;
            self.tell(feed).await;
        }
    }
}

/// Waits for a mark other than this one, until it has been the same for two looks.
async fn next(path: &Path, known: Mark) -> Mark {
    loop {
        let mut seen = mark(path);
        while seen != known {
            tokio::time::sleep(rest(known, seen)).await;
            let again = mark(path);
            if again == seen {
                return seen;
            }
            seen = again;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn members(path: &Path, read: ReadDocument) -> Result<Vec<Member>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if text.trim().is_empty() {
        return Err("it is empty; `[]` says that there are no backends".to_owned());
    }
    Member::of_document(&read(path, &text)?).map_err(|error| error.to_string())
}
