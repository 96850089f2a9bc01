//! Reading a dump back, oldest line first.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::entry::Entry;
use crate::files;

/// A line that is no entry: torn by a crash, or not ours.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}: not an entry: {reason}", file.display())]
pub struct BadLine {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: BadLineReason,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum BadLineReason {
    /// It is no entry in JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is longer than any that is written.
    #[error("longer than {0} bytes")]
    TooLong(usize),
}

/// Why an entry is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// This line is no entry; the next one may be.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// A file cannot be read on; the next one may.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Every entry of a directory's dump. Lines that cannot be read are told of and passed over; empty ones are nothing.
///
/// # Errors
/// Where the directory itself cannot be read.
pub fn read(directory: &Path) -> io::Result<impl Iterator<Item = Result<Entry, ReadError>>> {
    Ok(files::paths(directory)?.into_iter().flat_map(entries))
}

fn entries(file: PathBuf) -> Box<dyn Iterator<Item = Result<Entry, ReadError>>> {
    let opened = match File::open(&file) {
        Ok(opened) => opened,
        Err(source) => return Box::new(std::iter::once(Err(ReadError::File { file, source }))),
    };
    let lines = Lines { input: BufReader::new(opened), max: MAX_LINE, is_over: false }.enumerate();
    Box::new(lines.filter_map(move |(index, line)| {
        let bad = |reason| ReadError::from(BadLine { file: file.clone(), line: index + 1, reason });
        let line = match line {
            Ok(Some(line)) if line.trim_ascii().is_empty() => return None,
            Ok(Some(line)) => line,
            Ok(None) => return Some(Err(bad(BadLineReason::TooLong(MAX_LINE)))),
            Err(source) => return Some(Err(ReadError::File { file: file.clone(), source })),
        };
        Some(serde_json::from_slice(&line).and_then(ours).map_err(|error| bad(error.into())))
    }))
}

/// The longest line that is read: what an exchange may hold of memory while it is dumped (64 MiB), each byte of it escaped.
const MAX_LINE: usize = 6 * (64 << 20);

/// Lines without their ends; nothing in place of those that are too long, which are passed over without being kept.
struct Lines<R> {
    input: R,
    max: usize,
    is_over: bool,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Option<Vec<u8>>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let line = self.read();
        self.is_over = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}

impl<R: BufRead> Lines<R> {
    /// The next line; `None` at the end.
    fn read(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let mut line = Vec::new();
        let most = self.max as u64 + 1;
        if io::Read::take(&mut self.input, most).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > self.max {
            self.input.skip_until(b'\n')?;
            return Ok(Some(None));
        }
        Ok(Some(Some(line)))
    }
}

/// An object that has none of what every entry has is somebody else's.
fn ours(entry: Entry) -> serde_json::Result<Entry> {
    match entry.rule.is_empty() && entry.timestamp.is_empty() && entry.status_code == 0 {
        true => Err(serde::de::Error::custom("none of an entry's fields")),
        false => Ok(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Files, FilesConfig};

    #[test]
    fn a_line_without_end_is_passed_over_and_not_kept() {
        let lines = |text: &'static str| {
            let lines = Lines { input: text.as_bytes(), max: 4, is_over: false };
            lines.map(|line| line.unwrap().map(|line| String::from_utf8(line).unwrap())).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines("abcd\nabcde\n\nxyz"), [some("abcd"), None, some(""), some("xyz")]);
        assert_eq!(lines("abcdefgh"), [None]);
        assert_eq!(lines(""), []);
    }

    #[test]
    fn what_was_written_is_read_and_torn_lines_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let config =
            FilesConfig { directory: directory.path().to_path_buf(), max_file_size: 1_000, max_files: 100 };
        let mut files = Files::open(config).unwrap();
        let entry = |status_code| Entry { rule: "api".into(), status_code, ..Entry::default() };
        for status in [200, 404, 503] {
            let mut line = serde_json::to_vec(&entry(status)).unwrap();
            line.push(b'\n');
            files.append(&line).unwrap();
        }
        files.append(b"{\"rule\":\"to\n{\"level\":\"info\"}\n").unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = read(directory.path()).unwrap().partition(Result::is_ok);
        let statuses: Vec<u16> = good.into_iter().map(|entry| entry.unwrap().status_code).collect();
        assert_eq!(statuses, [200, 404, 503]);
        let told: Vec<String> = bad.into_iter().map(|bad| bad.unwrap_err().to_string()).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("not an entry"), "{told:?}");
    }
}
