//! Which lines are written, as people write it: `info`, `warn,lb_health=debug`.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// The longest text that is read, in bytes.
const MAX_LENGTH: usize = 4096;
/// Modules that may have a level of their own.
const MAX_TARGETS: usize = 64;
/// What holds for modules that are not named, where no level stands alone.
const DEFAULT: LevelFilter = LevelFilter::INFO;
/// Crates of ours that write lines; a name that looks like one of them and is none is a slip.
const OURS: &[&str] = &[
    "lb_admin",
    "lb_config",
    "lb_core",
    "lb_discovery",
    "lb_dump",
    "lb_faults",
    "lb_h1",
    "lb_h2",
    "lb_health",
    "lb_http",
    "lb_import",
    "lb_observe",
    "lb_policy",
    "lb_router",
    "lb_sim",
    "lb_testkit",
    "lb_tls",
    "lb_trace",
];

/// A level for everything, and others for modules and what is in them; the longest name that fits counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directives {
    default: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

/// Why a text says no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DirectiveError {
    #[error("no level is written; write one such as `info` or `info,lb_health=debug`")]
    Empty,
    #[error("longer than {MAX_LENGTH} bytes, or more than {MAX_TARGETS} modules")]
    TooLong,
    #[error(
        "`{0}` is no level: there are off, error, warn, info, debug and trace; a module's is written `{0}=debug`"
    )]
    Level(String),
    #[error("`{0}` is no level for `{1}`: there are off, error, warn, info, debug and trace")]
    LevelOf(String, String),
    #[error("`{0}` is no module's name: it has letters, digits, `_` and `::`, as in `lb_http::forward`")]
    Target(String),
    #[error("there is no crate `{name}`; there are {}", OURS.join(", "))]
    Unknown { name: String },
    #[error("two levels stand alone: `{0}` and `{1}`")]
    Twice(LevelFilter, LevelFilter),
}

impl Directives {
    /// The same for the subscriber.
    pub(crate) fn filter(&self) -> Targets {
        Targets::new().with_default(self.default).with_targets(self.targets.iter().cloned())
    }
}

impl Default for Directives {
    fn default() -> Self {
        Self { default: DEFAULT, targets: Vec::new() }
    }
}

impl FromStr for Directives {
    type Err = DirectiveError;

    fn from_str(text: &str) -> Result<Self, DirectiveError> {
        if text.len() > MAX_LENGTH {
            return Err(DirectiveError::TooLong);
        }
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let (mut default, mut targets) = (None, Vec::new());
        for part in parts {
            match part.split_once('=') {
                None => {
                    let level = level(part).ok_or_else(|| DirectiveError::Level(part.to_owned()))?;
                    if let Some(before) = default.replace(level) {
                        return Err(DirectiveError::Twice(before, level));
                    }
                }
                Some((target, written)) => {
                    let (target, written) = (target.trim(), written.trim());
                    check_target(target)?;
                    let level = level(written)
                        .ok_or_else(|| DirectiveError::LevelOf(written.to_owned(), target.to_owned()))?;
                    targets.push((target.to_owned(), level));
                }
            }
        }
        if targets.len() > MAX_TARGETS {
            return Err(DirectiveError::TooLong);
        }
        if default.is_none() && targets.is_empty() {
            return Err(DirectiveError::Empty);
        }
        Ok(Self { default: default.unwrap_or(DEFAULT), targets })
    }
}

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.targets.iter().try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

/// A level by its name; tracing takes numbers too, which say little to who reads them.
fn level(name: &str) -> Option<LevelFilter> {
    let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word.then(|| name.parse().ok()).flatten()
}

fn check_target(target: &str) -> Result<(), DirectiveError> {
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !target.split("::").all(is_name) {
        return Err(DirectiveError::Target(target.to_owned()));
    }
    let first = target.split("::").next().unwrap_or_default();
    match first.starts_with("lb_") && !OURS.contains(&first) {
        true => Err(DirectiveError::Unknown { name: first.to_owned() }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Directives>().map(|read| read.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_named_stays_as_it_is_by_default() {
        for (text, shown) in [
            ("debug", "debug"),
            ("WARN", "warn"),
            ("lb_health=debug", "info,lb_health=debug"),
            (" warn , lb_http::forward = trace,hyper=off,", "warn,lb_http::forward=trace,hyper=off"),
        ] {
            assert_eq!(read(text), Ok(shown.to_owned()));
            assert_eq!(read(shown), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn a_slip_is_an_error_that_says_what_is_right() {
        for (text, words) in [
            ("", "no level is written"),
            (" , ", "no level is written"),
            ("inof", "`inof` is no level"),
            ("3", "`3` is no level"),
            ("lb_http", "`lb_http=debug`"),
            ("lb_http=loud", "no level for `lb_http`"),
            ("lb_http=", "no level for `lb_http`"),
            ("=debug", "is no module's name"),
            ("lb-http=debug", "is no module's name"),
            ("lb_http[span{x=1}]=debug", "is no module's name"),
            ("lb_heath=debug", "there is no crate `lb_heath`"),
            ("info,debug", "two levels"),
            (&"a=info,".repeat(65), "more than 64"),
            (&"a".repeat(5000), "longer than"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn every_crate_of_ours_is_known() {
        let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates");
        for entry in std::fs::read_dir(crates).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().replace('-', "_");
            assert!(OURS.contains(&&*name), "{name}");
        }
    }
}
