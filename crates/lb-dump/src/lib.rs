//! Traffic dump: what an entry is, files that rotate, and reading them back.
//!
//! One exchange is one line of JSON ([`Entry`]), so that `jq`, `sort` and `uniq` are all it takes to ask questions. [`Files`]
//! keeps the lines within a bound on disk; [`read`] gives them back and names what it cannot read. Nothing here knows HTTP's
//! machinery or decides what is dumped: that is the data path's.

mod entry;
mod files;
mod read;

pub use entry::{Entry, canonical_name};
pub use files::{Files, FilesConfig};
pub use read::{BadLine, ReadError, read};
