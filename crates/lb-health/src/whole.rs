//! A file that is replaced whole: whoever reads it, whenever, finds the one before or the one after.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// What the name of one that is being written ends with.
const ENDING: &str = ".new";
/// Letters and digits that tell those of several writers apart.
const RANDOM: usize = 6;

/// Writes a file beside the one there is and puts it in its place, so that it outlives a loss of power from then on.
///
/// # Errors
/// What the system said; the file that there is stays as it was.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    // A name of its own: while one process takes over from another, two may write.
    let mut beside = tempfile::Builder::new()
        .prefix(&beginning(file))
        .suffix(ENDING)
        .rand_bytes(RANDOM)
        .tempfile_in(folder(file))?;
    beside.write_all(content)?;
    beside.as_file().sync_all()?;
    beside.persist(file).map_err(|failed| failed.error)?;
    // The name is in the folder.
    match File::open(folder(file)).and_then(|folder| folder.sync_all()) {
        // One that may not be read, or of a file system that has no such thing: the file is in its place all the same.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Removes what is left of writers that were killed before they could put a file in this one's place; how many that were. Nobody may be
/// writing it.
pub fn clear_leftovers(file: &Path) -> usize {
    let beginning = beginning(file);
    let is_left = |name: &OsStr| {
        let random = name.to_str().and_then(|name| name.strip_prefix(&beginning)?.strip_suffix(ENDING));
        random.is_some_and(|it| it.len() == RANDOM && it.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let entries = std::fs::read_dir(folder(file)).into_iter().flatten().flatten();
    let left =
        entries.filter(|it| is_left(&it.file_name()) && it.file_type().is_ok_and(|kind| kind.is_file()));
    left.filter(|it| std::fs::remove_file(it.path()).is_ok()).count()
}

fn beginning(file: &Path) -> String {
    format!(".{}.", file.file_name().unwrap_or_default().to_string_lossy())
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_writers_leave_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.state");
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        let others = [
            ".x.state.abc123",
            ".x.state.abc1234.new",
            ".x.state.edits.abc123.new",
            "x.state.abc123.new",
            ".x.state..new",
        ];
        for other in others {
            std::fs::write(folder.path().join(other), "").unwrap();
        }
        std::fs::create_dir(folder.path().join(".x.state.folder.new")).unwrap();
        // As a writer that is killed.
        for left in [".x.state.abc123.new", ".x.state.Zy09aa.new"] {
            std::fs::write(folder.path().join(left), "half").unwrap();
        }
        assert_eq!(clear_leftovers(&file), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), others.len() + 2);
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(clear_leftovers(&folder.path().join("none/x.state")), 0);
    }

    #[test]
    fn a_writer_that_is_killed_leaves_a_name_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.state");
        // Nothing can be put in the place of a folder.
        std::fs::create_dir(&file).unwrap();
        assert!(replace(&file, b"one").is_err());
        let left = tempfile::Builder::new()
            .prefix(&beginning(&file))
            .suffix(ENDING)
            .tempfile_in(folder.path())
            .unwrap();
        let left = left.keep().unwrap().1;
        assert!(left.exists());
        assert_eq!(clear_leftovers(&file), 1);
    }
}
