//! Edits that outlive the process: a file beside `server.state_file`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Edit;
use crate::kept::Kind;

pub(crate) const KIND: Kind = Kind { ending: ".edits", version: 1, max_size: 4 << 20 };

#[derive(Serialize)]
struct Saving<'a> {
    edits: Vec<&'a Edit>,
}

#[derive(Deserialize)]
struct Saved {
    edits: Vec<Edit>,
}

/// Where edits are kept, by the state file's path.
pub(crate) fn file_of(state_file: &Path) -> PathBuf {
    KIND.file(state_file)
}

/// What was kept; nothing where there is no file.
///
/// # Errors
/// Why it is of no use.
pub(crate) fn read(file: &Path) -> Result<Vec<Edit>, String> {
    Ok(KIND.read::<Saved>(file)?.map(|saved| saved.edits).unwrap_or_default())
}

/// Keeps those that are to be kept.
///
/// # Errors
/// What the system said.
pub(crate) fn write(file: &Path, edits: &[Edit]) -> io::Result<()> {
    KIND.write(file, &Saving { edits: edits.iter().filter(|edit| edit.persist).collect() })
}
