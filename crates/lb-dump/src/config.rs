//! What a rule's dump is told.

use crate::files::FilesConfig;
use crate::redact::Redaction;

/// How the exchanges of one rule are dumped.
///
/// ```
/// let dump = lb_dump::DumpConfig::default();
/// assert_eq!((dump.sample_rate, dump.include_body, dump.max_body_size), (1.0, false, 64 << 10));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DumpConfig {
    /// Where to. Rules that name one directory share its files.
    pub files: FilesConfig,
    /// The share of exchanges that are dumped, 0..=1; decided once an exchange.
    pub sample_rate: f64,
    /// Whether bodies are kept, or heads alone.
    pub include_body: bool,
    /// Bytes kept of each body.
    pub max_body_size: usize,
    /// What is never written.
    pub redact: Redaction,
}

impl Default for DumpConfig {
    fn default() -> Self {
        Self {
            files: FilesConfig::default(),
            sample_rate: 1.0,
            include_body: false,
            max_body_size: 64 << 10,
            redact: Redaction::default(),
        }
    }
}
