//! Edits that outlive the process: a file beside `server.state_file`, with an ending of its own.
//!
//! It is written whole beside the one there is and put in its place. One that is broken, too large or of another version is said
//! and not taken up; the gateway starts without.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Edit;

/// The form of the file.
const VERSION: u32 = 1;
/// A file that is larger was not written here.
const MAX_SIZE: u64 = 4 << 20;

#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    edits: Vec<&'a Edit>,
}

/// Where edits are kept, by the state file's path.
pub(crate) fn file_of(state_file: &Path) -> PathBuf {
    let mut name = state_file.as_os_str().to_owned();
    name.push(".edits");
    name.into()
}

/// What was kept; nothing where there is no file.
///
/// # Errors
/// Why it is of no use.
pub(crate) fn read(file: &Path) -> Result<Vec<Edit>, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
        edits: serde_json::Value,
    }
    let size = match std::fs::metadata(file) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    if size > MAX_SIZE {
        return Err("it is too large to be written by this program".to_owned());
    }
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let saved: Versioned = serde_json::from_slice(&text).map_err(|error| format!("it is broken: {error}"))?;
    if saved.version != VERSION {
        return Err(format!("its form is version {}, not {VERSION}", saved.version));
    }
    serde_json::from_value(saved.edits).map_err(|error| format!("it is broken: {error}"))
}

/// Keeps those that are to be kept.
///
/// # Errors
/// What the system said.
pub(crate) fn write(file: &Path, edits: &[Edit]) -> io::Result<()> {
    let saved = Saved { version: VERSION, edits: edits.iter().filter(|edit| edit.persist).collect() };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A name of its own: while one process takes over from another, two may write.
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(&serde_json::to_vec_pretty(&saved)?)?;
    beside.as_file().sync_all()?;
    beside.persist(file).map_err(|failed| failed.error)?;
    Ok(())
}
