//! Files that are watched while they are in use. Their state is asked for from time to time: it follows symbolic links and
//! renames, works on any file system, and costs a call a file.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What became of a look at the files.
#[derive(Debug)]
pub enum Reload {
    /// Nothing has changed, or it is still changing.
    Unchanged,
    /// New ones are in force; what an operator should know of them.
    Done(Vec<String>),
    /// They are as they were, but something in them has come to its end.
    Stale(Vec<String>),
    /// They are not acceptable, and what there was stays in force.
    Rejected(crate::TlsError),
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let facts = std::fs::metadata(file).ok()?;
        let (device, inode, size) = (facts.dev(), facts.ino(), facts.size());
        Some(Self { device, inode, size, modified: (facts.mtime(), facts.mtime_nsec()) })
    }
}

/// Files, and the state in which they were last taken up or turned down.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Vec<PathBuf>,
    known: Vec<Option<Stamp>>,
    /// How they were when last looked at: they are read once they hold still.
    seen: Vec<Option<Stamp>>,
}

impl Watched {
    /// To be made before they are read, so that no change is lost.
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        let known = stamps(&files);
        Self { files, seen: known.clone(), known }
    }

    /// Whether they have changed and hold still since the look before. True once for each change.
    pub(crate) fn look(&mut self) -> bool {
        let now = stamps(&self.files);
        let is_still = now == self.seen;
        self.seen.clone_from(&now);
        let is_new = is_still && now != self.known;
        if is_new {
            self.known = now;
        }
        is_new
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}
