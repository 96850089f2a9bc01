//! Whether a file has another content than before, told without reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// From seeing a change to taking it up, if there was no other meanwhile.
const QUIET: Duration = Duration::from_millis(100);
/// The same for a file that is not there, or has become shorter where it stands: who replaces it may be about to put it back, and who
/// writes it may not be done. What is written so far may be valid by itself.
const UNFINISHED: Duration = Duration::from_secs(1);

/// What tells one content from another; `None` where there is no file to be read.
pub type Mark = Option<[i64; 6]>;

/// Looks at a file. Follows links. A file without the permission to read it has another mark than before, as its change time has
/// changed.
#[must_use]
pub fn mark(path: &Path) -> Mark {
    let file = std::fs::metadata(path).ok()?;
    let size = i64::try_from(file.size()).unwrap_or(i64::MAX);
    let (device, inode) = (file.dev().cast_signed(), file.ino().cast_signed());
    Some([device, inode, size, file.mtime(), file.mtime_nsec(), file.ctime() ^ file.ctime_nsec()])
}

/// How long a file that was as `known`, and was then `seen` otherwise, has to stay so before it is taken up.
#[must_use]
pub fn rest(known: Mark, seen: Mark) -> Duration {
    let is_cut = match (known, seen) {
        (_, None) => true,
        (Some([device, inode, size, ..]), Some([same_device, same_inode, less, ..])) => {
            (device, inode) == (same_device, same_inode) && less < size
        }
        (None, Some(_)) => false,
    };
    if is_cut { UNFINISHED } else { QUIET }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_whole_rests_longer() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("a"), "four").unwrap();
        let known = mark(&at("a"));
        let rests = |known: Mark| rest(known, mark(&at("a")));
        std::fs::write(at("a"), "fours").unwrap();
        assert_eq!(rests(known), QUIET);
        std::fs::write(at("a"), "cut").unwrap();
        assert_eq!(rests(known), UNFINISHED);
        std::fs::write(at("b"), "new").unwrap();
        std::fs::rename(at("b"), at("a")).unwrap();
        assert_eq!((rests(known), rests(None)), (QUIET, QUIET), "another file is whole");
        std::fs::remove_file(at("a")).unwrap();
        assert_eq!(rests(known), UNFINISHED);
    }

    #[test]
    fn a_file_that_is_written_renamed_over_or_switched_has_another_mark() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("a"), "1").unwrap();
        let mut marks = vec![mark(&at("a"))];
        std::fs::write(at("a"), "22").unwrap();
        marks.push(mark(&at("a")));
        std::fs::write(at("b"), "22").unwrap();
        std::fs::rename(at("b"), at("a")).unwrap();
        marks.push(mark(&at("a")));
        assert!(marks.iter().all(Option::is_some) && marks[0] != marks[1] && marks[1] != marks[2]);

        for (name, text) in [("1", "x"), ("2", "x")] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("f"), text).unwrap();
        }
        std::os::unix::fs::symlink("1", at("data")).unwrap();
        std::os::unix::fs::symlink("data/f", at("f")).unwrap();
        let before = mark(&at("f"));
        std::os::unix::fs::symlink("2", at("new")).unwrap();
        std::fs::rename(at("new"), at("data")).unwrap();
        assert_ne!(mark(&at("f")), before);
        std::fs::remove_file(at("data")).unwrap();
        assert_eq!(mark(&at("f")), None);
    }
}
