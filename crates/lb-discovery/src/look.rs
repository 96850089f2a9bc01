//! Whether a file has another content than before, told without reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
