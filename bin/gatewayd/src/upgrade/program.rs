//! The program that this process runs, to be run again: the same path, whatever stands there by then, and the same arguments.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::Access;

use crate::inherit::VARIABLE;

/// A program and its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Symbolic links on it are followed anew each time.
    path: Option<PathBuf>,
    /// As it was called, then its arguments.
    arguments: Vec<OsString>,
    /// Whose the file was when it was started.
    owner: Option<u32>,
}

/// Why a program is not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// It has no path.
    #[error("it is not known from which file this process was started")]
    Unknown,
    /// The file is not there, or cannot be looked at.
    #[error("{}: {source}; the new version must stand there", .path.display())]
    Missing {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no program.
    #[error("{} is no file that this process may execute", .0.display())]
    NotExecutable(PathBuf),
    /// Somebody else put it there.
    #[error("{} belongs to user {owner}; it must be this process's user's, root's, or whose it was", .path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The system does not start it.
    #[error("cannot start {}: {source}", .path.display())]
    Start {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Program {
    /// What this process was started from.
    pub(crate) fn of_this_process() -> Self {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let path = arguments.first().and_then(|called| find(Path::new(called)));
        let path = path.or_else(|| std::env::current_exe().ok());
        let owner = path.as_ref().and_then(|path| path.metadata().ok()).map(|file| file.uid());
        Self { path, arguments, owner }
    }

    /// Whether it can be started, and is to be.
    pub(crate) fn check(&self) -> Result<(), ProgramError> {
        let path = self.path()?.to_path_buf();
        let file = match path.metadata() {
            Ok(file) => file,
            Err(source) => return Err(ProgramError::Missing { path, source }),
        };
        if !file.is_file() || rustix::fs::access(&path, Access::EXEC_OK).is_err() {
            return Err(ProgramError::NotExecutable(path));
        }
        match self.may_own(&file) {
            true => Ok(()),
            false => Err(ProgramError::Foreign { path, owner: file.uid() }),
        }
    }

    /// Whoever else puts a file there would have it run as this process's user.
    fn may_own(&self, file: &Metadata) -> bool {
        let owner = file.uid();
        owner == 0 || owner == rustix::process::geteuid().as_raw() || Some(owner) == self.owner
    }

    /// Starts it with this for its standard input.
    pub(crate) fn spawn(&self, channel: OwnedFd) -> Result<Child, ProgramError> {
        let path = self.path()?;
        let mut command = Command::new(path);
        let mut arguments = self.arguments.iter();
        if let Some(called) = arguments.next() {
            command.arg0(called);
        }
        command.args(arguments).env(VARIABLE, std::process::id().to_string()).stdin(Stdio::from(channel));
        command.spawn().map_err(|source| ProgramError::Start { path: path.to_path_buf(), source })
    }

    fn path(&self) -> Result<&Path, ProgramError> {
        self.path.as_deref().ok_or(ProgramError::Unknown)
    }
}

/// The file that a shell would have run by this name, links on the way as they are.
fn find(called: &Path) -> Option<PathBuf> {
    if called.components().count() > 1 || called.has_root() {
        return std::path::absolute(called).ok().filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(called));
    files.find(|file| file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_path_and_by_name() {
        assert_eq!(find(Path::new("/bin/sh")), Some("/bin/sh".into()));
        assert!(find(Path::new("sh")).is_some_and(|found| found.ends_with("sh") && found.is_absolute()));
        assert_eq!(find(Path::new("/no/such/program")), None);
    }

    #[test]
    fn what_cannot_run_is_refused_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let program =
            |name: &str| Program { path: Some(folder.path().join(name)), arguments: Vec::new(), owner: None };
        std::fs::write(folder.path().join("text"), "no program").unwrap();
        for (name, words) in [("gone", "must stand there"), ("text", "may execute"), ("", "may execute")] {
            let error = program(name).check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
