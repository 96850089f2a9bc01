//! The files of a dump: `traffic_dump_000.jsonl` and on, each up to a size, so many of them, across restarts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where a dump is kept, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Made if it is not there, for its owner alone (0700).
    pub directory: PathBuf,
    /// Bytes after which the next file is begun; a line is never torn in two.
    pub max_file_size: u64,
    /// Files kept; the oldest go first. At least 1.
    pub max_files: usize,
}

/// The files of one directory, appended to by one writer.
///
/// A restart goes on with the newest file, and prunes what an earlier configuration left over. Files are for their owner alone
/// (0600), since they hold what was said in confidence.
#[derive(Debug)]
pub struct Files {
    config: FilesConfig,
    number: u64,
    file: File,
    size: u64,
}

impl Files {
    /// Opens the newest file, or the first one.
    ///
    /// # Errors
    /// Whatever the file system says: no permission, no space, not a directory.
    pub fn open(config: FilesConfig) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&config.directory)?;
        let number = numbers(&config.directory)?.last().copied().unwrap_or(0);
        let (file, size) = open_file(&config.directory, number)?;
        let files = Self { config, number, file, size };
        files.prune()?;
        Ok(files)
    }

    /// Appends one line, whose end is added here. The next file is begun first where this one is full.
    ///
    /// # Errors
    /// As for [`Files::open`]. What was written before stays; the next call tries again.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64 + 1;
        if self.size > 0 && self.size + length > self.config.max_file_size {
            self.rotate()?;
        }
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        // In one write, so that a crash tears the last line at most.
        self.file.write_all(&whole)?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let (file, size) = open_file(&self.config.directory, self.number + 1)?;
        self.number += 1;
        (self.file, self.size) = (file, size);
        self.prune()
    }

    /// Removes the oldest files over the bound.
    fn prune(&self) -> io::Result<()> {
        let numbers = numbers(&self.config.directory)?;
        let surplus = numbers.len().saturating_sub(self.config.max_files.max(1));
        for number in numbers.into_iter().take(surplus) {
            fs::remove_file(path(&self.config.directory, number))?;
        }
        Ok(())
    }
}

/// The file of this number.
fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("traffic_dump_{number:03}.jsonl"))
}

/// The numbers of the files that are there, in their order; files of other names are none of ours.
pub(crate) fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix("traffic_dump_")?.strip_suffix(".jsonl"))
            .filter(|digits| digits.len() >= 3 && digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The files that are there, oldest first.
pub(crate) fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbers(directory)?.into_iter().map(|number| path(directory, number)).collect())
}

fn open_file(directory: &Path, number: u64) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path(directory, number))?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn config(directory: &Path, max_file_size: u64, max_files: usize) -> FilesConfig {
        FilesConfig { directory: directory.join("dumps"), max_file_size, max_files }
    }

    fn names(config: &FilesConfig) -> Vec<u64> {
        numbers(&config.directory).unwrap()
    }

    #[test]
    fn files_rotate_by_size_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 10, 2);
        let mut files = Files::open(config.clone()).unwrap();
        for line in ["aaaa", "bbbb", "cccc", "dddd", "eeee"] {
            files.append(line.as_bytes()).unwrap();
        }
        assert_eq!(names(&config), [1, 2]);
        assert_eq!(fs::read_to_string(path(&config.directory, 1)).unwrap(), "cccc\ndddd\n");
        assert_eq!(fs::read_to_string(path(&config.directory, 2)).unwrap(), "eeee\n");
    }

    #[test]
    fn a_restart_goes_on_where_it_stopped_and_prunes() {
        let directory = tempfile::tempdir().unwrap();
        let many = config(directory.path(), 4, 10);
        let mut files = Files::open(many.clone()).unwrap();
        for _ in 0..5 {
            files.append(b"xxx").unwrap();
        }
        assert_eq!(names(&many), [0, 1, 2, 3, 4]);
        let few = FilesConfig { max_files: 2, ..many };
        let mut files = Files::open(few.clone()).unwrap();
        assert_eq!(names(&few), [3, 4]);
        files.append(b"yyy").unwrap();
        assert_eq!(names(&few), [4, 5]);
    }

    #[test]
    fn a_line_longer_than_a_file_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 4, 3);
        let mut files = Files::open(config.clone()).unwrap();
        files.append(b"longer than four").unwrap();
        assert_eq!(fs::read_to_string(path(&config.directory, 0)).unwrap(), "longer than four\n");
    }

    #[test]
    fn nobody_else_may_read_them_and_foreign_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 4, 1);
        let mut files = Files::open(config.clone()).unwrap();
        let foreign = config.directory.join("traffic_dump_notes.jsonl");
        fs::write(&foreign, "mine").unwrap();
        files.append(b"xxx").unwrap();
        files.append(b"yyy").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&config.directory), mode(&path(&config.directory, 1))), (0o700, 0o600));
        assert!(foreign.exists());
        assert_eq!(names(&config), [1]);
    }
}
