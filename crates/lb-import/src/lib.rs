//! Other proxies' configurations as gatewayd's, with a report of every line.
//!
//! Each source has a reader of its syntax and a translation into one `document`. What has no counterpart is said, never
//! dropped in silence; a line that protects something and cannot be kept closes what it guards.
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("nginx.conf");
//! std::fs::write(&file, "http { server { listen 8080; location / { proxy_pass http://127.0.0.1:3000; } } }")?;
//! let imported = lb_import::import(lb_import::Source::Nginx, &file)?;
//! assert!(imported.toml.contains("http://127.0.0.1:3000"));
//! assert_eq!(imported.report.left_out(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backworks;
mod document;
mod haproxy;
mod nginx;
mod report;
mod servex;
mod tree;

use std::io;
use std::path::{Path, PathBuf};

pub use report::{Fate, Line, Report};

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// nginx.conf, with the files it includes.
    Nginx,
    /// haproxy.cfg.
    Haproxy,
    /// A Backworks blueprint.
    Backworks,
    /// A Servex configuration: its `proxy` block runs as written, the others are translated.
    Servex,
}

/// What came of an import.
#[derive(Debug, Clone)]
pub struct Imported {
    /// gatewayd's configuration.
    pub toml: String,
    /// What became of every line.
    pub report: Report,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what it is taken for.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// In which file.
        file: String,
        /// In which line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Nothing in it becomes a rule.
    #[error("{0}: nothing in it is forwarded anywhere; there would be no rule")]
    Nothing(String),
}

/// Files that are larger are not read.
const MAX_FILE: u64 = 16 << 20;

/// Reads a configuration and translates it.
///
/// # Errors
/// [`ImportError`].
pub fn import(source: Source, path: &Path) -> Result<Imported, ImportError> {
    match source {
        Source::Nginx => nginx::import(path),
        Source::Haproxy => haproxy::import(path),
        Source::Backworks => backworks::import(path),
        Source::Servex => servex::import(path),
    }
}

fn read(path: &Path) -> Result<String, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read_to_string(path).map_err(failed)
}
