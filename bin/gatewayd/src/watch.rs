//! The changes of the configuration file, and of the files that it names for values, for `run --watch`.
//!
//! Looked at rather than listened to: two system calls a second for a file see every way in which it gets another content (written
//! in place, renamed over as editors do, a symbolic link anywhere on its path switched as Kubernetes does), on every file
//! system, also over networks and through mounts that tell nobody, and cost no thread and none of the user's inotify
//! watches. A change is taken up when it has been the same for two looks, so that a file which is being written is left alone; one that
//! has become shorter where it stands, as one that is written in place begins, has to rest for a second.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lb_discovery::{Mark, mark, rest};

use crate::reload::{Cause, Reloading, Source};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(500);

/// A configuration's file and those that it names for values, as they were at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    files: Vec<PathBuf>,
    marks: Vec<Mark>,
}

impl Seen {
    /// Reads which files there are, and looks at them. Takes its time.
    pub(crate) fn of(source: &Source) -> Self {
        let marked_first = mark(&source.path);
        let mut files = vec![source.path.clone()];
        files.extend(source.value_files());
        let mut seen = Self { marks: Vec::new(), files }.again();
        if let Some(first) = seen.marks.first_mut() {
            // A change while it was being read is seen by the next look.
            *first = marked_first;
        }
        seen
    }

    /// Another look at the same files.
    fn again(&self) -> Self {
        Self { files: self.files.clone(), marks: self.files.iter().map(|file| mark(file)).collect() }
    }

    /// How long files that were as these, and are now as those, have to stay so before they are taken up.
    fn rest(&self, seen: &Self) -> Duration {
        let rests = self.marks.iter().zip(&seen.marks).map(|(known, seen)| rest(*known, *seen));
        rests.max().unwrap_or_default()
    }
}

/// Reloads at each change of the files since they were as `known`, for as long as it is polled.
pub(crate) async fn watch(reloading: Arc<Reloading>, source: Source, mut known: Seen) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let mut seen = known.again();
        if seen == known {
            continue;
        }
        loop {
            tokio::time::sleep(known.rest(&seen)).await;
            let again = known.again();
            if again == seen {
                break;
            }
            seen = again;
        }
        if seen != known {
            // The configuration may name others now.
            let source = source.clone();
            known = tokio::task::spawn_blocking(move || Seen::of(&source)).await.unwrap_or(seen);
            // What is wrong with it has been said.
            drop(reloading.reload(Cause::File).await);
        }
    }
}
