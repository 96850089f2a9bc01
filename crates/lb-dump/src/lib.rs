//! Traffic dump: what an entry is, how one is taken from an exchange, files that rotate, and reading them back.
//!
//! One exchange is one line of JSON ([`Entry`]), so that `jq`, `sort` and `uniq` are all it takes to ask questions.
//!
//! The data path begins a [`Capture`] where a rule has a [`RuleDump`] and the dice say so, tees heads and bodies into it
//! as they pass, and hands it over at the end. A thread for each directory makes lines of them, hides what is to be hidden
//! ([`Redaction`]) and keeps the [`Files`] within a bound on disk. Between the two stands a queue that is bounded by number
//! and by bytes and makes nobody wait: what finds no room is dropped and counted.
//!
//! [`read()`] gives entries back and names what it cannot read; [`Filter`], [`Summary`] and [`export`] make something of them.

mod budget;
mod capture;
mod config;
mod dump;
mod entry;
pub mod export;
mod files;
mod filter;
mod line;
mod read;
mod redact;
mod summary;
mod writer;

pub use capture::{Capture, Ending, RuleDump, Side, Tee};
pub use config::DumpConfig;
pub use dump::{Dump, Dumps};
pub use entry::{Entry, canonical_name};
pub use files::{Files, FilesConfig, check_directory};
pub use filter::{Filter, FilterError, Since, Statuses};
pub use read::{BadLine, ReadError, read};
pub use redact::{RedactError, Redaction};
pub use summary::{Part, Quantiles, Summary};
