//! The files of a dump: `traffic_dump_000.jsonl` and on, each up to a size, so many of them, across restarts.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

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

impl Default for FilesConfig {
    fn default() -> Self {
        Self { directory: "traffic_dumps".into(), max_file_size: 100 << 20, max_files: 10 }
    }
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
    /// The file ends within a line, which the next one must not continue.
    is_torn: bool,
}

impl Files {
    /// Opens the newest file, or the first one.
    ///
    /// # Errors
    /// Whatever the file system says: no permission, no space, not a directory.
    pub fn open(config: FilesConfig) -> io::Result<Self> {
        let directory = &config.directory;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| at(directory, &error))?;
        let number = numbers(directory)?.last().copied().unwrap_or(0);
        let Opened { file, size, is_torn } = open_file(directory, number)?;
        let files = Self { config, number, file, size, is_torn };
        files.prune();
        Ok(files)
    }

    /// Whether so many bytes more still belong into the file at hand.
    #[must_use]
    pub fn fits(&self, bytes: usize) -> bool {
        self.size + bytes as u64 <= self.config.max_file_size
    }

    /// Other bounds from now on.
    pub fn reconfigure(&mut self, config: FilesConfig) {
        self.config = config;
        self.prune();
    }

    /// Appends whole lines, each with its end. The next file is begun first where they do not fit into this one; a
    /// file or directory that has been moved away is made anew.
    ///
    /// # Errors
    /// As for [`Files::open`]. What was written before stays, none of these lines does, and the next call tries again.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let path = path(&self.config.directory, self.number);
        if !self.is_in_place(&path) {
            *self = Self::open(self.config.clone())?;
        }
        if self.size > 0 && !self.fits(lines.len()) {
            self.rotate()?;
        }
        if self.is_torn {
            self.file.write_all(b"\n").map_err(|error| at(&path, &error))?;
            (self.is_torn, self.size) = (false, self.size + 1);
        }
        // In one write, so that a crash tears the last line at most.
        if let Err(error) = self.file.write_all(lines) {
            self.is_torn = self.file.set_len(self.size).is_err();
            return Err(at(&path, &error));
        }
        self.size += lines.len() as u64;
        Ok(())
    }

    /// Whether the path still leads to the open file, whose size is taken anew.
    fn is_in_place(&mut self, path: &Path) -> bool {
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let (Ok(there), Ok(open)) = (fs::metadata(path), self.file.metadata()) else { return false };
        self.size = open.len();
        identity(&there) == identity(&open)
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Opened { file, size, is_torn } = open_file(&self.config.directory, self.number + 1)?;
        self.number += 1;
        (self.file, self.size, self.is_torn) = (file, size, is_torn);
        self.prune();
        Ok(())
    }

    /// Removes the oldest files over the bound. One that cannot be removed stays, and is said.
    fn prune(&self) {
        let numbers = numbers(&self.config.directory).unwrap_or_default();
        let surplus = numbers.len().saturating_sub(self.config.max_files.max(1));
        for number in numbers.into_iter().take(surplus) {
            let path = path(&self.config.directory, number);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(file = %path.display(), %error, "an old dump file cannot be removed");
            }
        }
    }
}

/// Whether a dump could be kept in this directory, as far as can be known without making it.
///
/// # Errors
/// What stands in the way: no permission, a file system that is read-only, a file where a directory should be.
pub fn check_directory(directory: &Path) -> io::Result<()> {
    let here = |path| if path == Path::new("") { Path::new(".") } else { path };
    let nearest = directory.ancestors().map(here).find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !nearest.is_dir() {
        return Err(at(nearest, &io::ErrorKind::NotADirectory.into()));
    }
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::access(nearest, wanted).map_err(|error| at(nearest, &error.into()))
}

/// The same error with the path in front.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
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

struct Opened {
    file: File,
    size: u64,
    is_torn: bool,
}

fn open_file(directory: &Path, number: u64) -> io::Result<Opened> {
    let path = path(directory, number);
    let open = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path);
    let file = open.map_err(|error| at(&path, &error))?;
    let size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)?;
    }
    Ok(Opened { file, size, is_torn: last != *b"\n" })
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
            files.append(format!("{line}\n").as_bytes()).unwrap();
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
            files.append(b"xxx\n").unwrap();
        }
        assert_eq!(names(&many), [0, 1, 2, 3, 4]);
        let few = FilesConfig { max_files: 2, ..many };
        let mut files = Files::open(few.clone()).unwrap();
        assert_eq!(names(&few), [3, 4]);
        files.append(b"yyy\n").unwrap();
        assert_eq!(names(&few), [4, 5]);
    }

    #[test]
    fn a_line_longer_than_a_file_is_kept_whole() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 4, 3);
        let mut files = Files::open(config.clone()).unwrap();
        files.append(b"longer than four\n").unwrap();
        assert_eq!(fs::read_to_string(path(&config.directory, 0)).unwrap(), "longer than four\n");
    }

    #[test]
    fn nobody_else_may_read_them_and_foreign_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 4, 1);
        let mut files = Files::open(config.clone()).unwrap();
        let foreign = config.directory.join("traffic_dump_notes.jsonl");
        fs::write(&foreign, "mine").unwrap();
        files.append(b"xxx\n").unwrap();
        files.append(b"yyy\n").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&config.directory), mode(&path(&config.directory, 1))), (0o700, 0o600));
        assert!(foreign.exists());
        assert_eq!(names(&config), [1]);
    }

    #[test]
    fn a_line_that_a_crash_tore_is_not_continued() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 100, 1);
        Files::open(config.clone()).unwrap();
        fs::write(path(&config.directory, 0), "whole\n{\"to").unwrap();
        Files::open(config.clone()).unwrap().append(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(path(&config.directory, 0)).unwrap(), "whole\n{\"to\nnext\n");
    }

    #[test]
    fn a_directory_that_vanished_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 100, 1);
        let mut files = Files::open(config.clone()).unwrap();
        files.append(b"one\n").unwrap();
        fs::remove_dir_all(&config.directory).unwrap();
        files.append(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(path(&config.directory, 0)).unwrap(), "two\n");
    }

    #[test]
    fn what_cannot_be_written_leaves_no_part_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 100, 1);
        let mut files = Files::open(config.clone()).unwrap();
        files.append(b"one\n").unwrap();
        fs::remove_dir_all(&config.directory).unwrap();
        fs::write(&config.directory, "a file is in the way").unwrap();
        let error = files.append(b"two\n").unwrap_err();
        assert!(error.to_string().contains("dumps"), "{error}");
        fs::remove_file(&config.directory).unwrap();
        files.append(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(path(&config.directory, 0)).unwrap(), "three\n");
    }

    #[test]
    fn a_place_where_no_dump_can_be_kept_is_known_before() {
        let directory = tempfile::tempdir().unwrap();
        assert!(check_directory(&directory.path().join("not/there/yet")).is_ok());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = check_directory(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
