//! The choice itself: one trait, one file a strategy, one table of all of them. From a row of [`ALL`] follow its name in the
//! configuration, the list in error messages, the status page, the reference page, the laws its tests hold it to and its
//! benchmark.

mod choices;
mod equals;
pub mod ip_hash;
pub mod least_connections;
pub mod least_response_time;
pub mod maglev;
mod options;
pub mod p2c;
pub mod peak_ewma;
pub mod prequal;
pub mod random;
pub mod rendezvous;
pub mod ring_hash;
pub mod round_robin;
mod slots;
pub mod weighted_random;
pub mod weighted_round_robin;

use std::fmt::Debug;
use std::sync::Arc;

use crate::config::StrategyConfig;
use crate::context::PickContext;
use crate::lease::Outcome;
use crate::moment::Moment;
use crate::set::BackendSet;
use crate::turn::Turn;

pub use options::{OptionInfo, OptionKind, Options};

/// Every strategy there is.
pub static ALL: &[StrategyInfo] = &[
    round_robin::INFO,
    weighted_round_robin::INFO,
    least_connections::INFO,
    least_response_time::INFO,
    peak_ewma::INFO,
    p2c::INFO,
    prequal::INFO,
    random::INFO,
    weighted_random::INFO,
    ip_hash::INFO,
    rendezvous::INFO,
    ring_hash::INFO,
    maglev::INFO,
];

/// Chooses one of the backends it was built from.
///
/// The balancer calls it for every request, on many threads at once, and builds it anew whenever the eligible set changes. It
/// must neither lock nor allocate. What has to outlive a rebuild lives in the backends or in [`Build::turn`].
pub trait Strategy: Debug + Send + Sync {
    /// Index into the set this strategy was built from; `None` only where that set is empty.
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize>;

    /// How a request given to the backend of this index ended, at `now`: called on any thread for every recorded outcome, where
    /// [`needs`](Self::needs) asks for it.
    fn learn(&self, _backends: &BackendSet, _index: usize, _outcome: &Outcome, _now: Moment) {}

    /// What its leases shall do for it; asked once, when it has been built.
    fn needs(&self) -> Needs {
        Needs::default()
    }
}

/// What a strategy's leases do for it beyond holding a place. Nothing costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Counts of requests in flight also side by side, for looking at all of them.
    pub counts: bool,
    /// Outcomes to [`Strategy::learn`].
    pub outcomes: bool,
}

/// A row of [`ALL`]: a strategy's name, what it is, and how to build it.
#[derive(Debug)]
pub struct StrategyInfo {
    /// As configured, in lower case with `_`.
    pub name: &'static str,
    /// Other accepted names, normalised: lower case without `-` and `_`.
    pub aliases: &'static [&'static str],
    /// One line for people.
    pub summary: &'static str,
    /// The options it takes.
    pub options: &'static [OptionInfo],
    /// Whether equally busy backends are picked in proportion to their weights, exactly or in expectation.
    pub weighted: bool,
    /// Whether picks follow the request's key: same key, same backend.
    pub keyed: bool,
    /// Builds it from an eligible set, which may be empty.
    pub build: fn(&Build<'_>) -> Box<dyn Strategy>,
}

/// What a strategy is built from.
#[derive(Debug)]
pub struct Build<'a> {
    /// The eligible backends.
    pub set: &'a BackendSet,
    /// Its options, valid and complete.
    pub options: &'a Options,
    /// The balancer's rotation, which goes on over rebuilds.
    pub turn: &'a Arc<Turn>,
}

/// Why a strategy cannot be had as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// No row has this name or alias.
    #[error("unknown strategy `{name}`; known are {}", names().collect::<Vec<_>>().join(", "))]
    Unknown {
        /// As written.
        name: String,
    },
    /// The row has no such option.
    #[error("strategy `{strategy}` has no option `{option}`; {accepted}")]
    UnknownOption {
        /// The row's name.
        strategy: &'static str,
        /// As written.
        option: String,
        /// What the row takes, in words.
        accepted: String,
    },
    /// The option does not take this value.
    #[error("option `{option}` of strategy `{strategy}` cannot be {written}; expected {accepted}")]
    InvalidOption {
        /// The row's name.
        strategy: &'static str,
        /// The option's name.
        option: &'static str,
        /// The value as written.
        written: String,
        /// What it takes, in words.
        accepted: String,
    },
    /// The option is written twice.
    #[error("option `{option}` of strategy `{strategy}` is written twice")]
    RepeatedOption {
        /// The row's name.
        strategy: &'static str,
        /// The option's name.
        option: &'static str,
    },
}

/// The names of all rows, as configured.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|info| info.name)
}

/// The row of this name or alias, whatever its case and with or without `-` and `_`.
///
/// # Errors
/// No row has it.
pub fn find(name: &str) -> Result<&'static StrategyInfo, StrategyError> {
    // Most are written as they are listed.
    if let Some(info) = ALL.iter().find(|info| info.name == name) {
        return Ok(info);
    }
    let wanted = normalise(name);
    ALL.iter()
        .find(|info| normalise(info.name) == wanted || info.aliases.contains(&wanted.as_str()))
        .ok_or_else(|| StrategyError::Unknown { name: name.to_owned() })
}

/// Checks a name and its options without building anything.
///
/// # Errors
/// No such strategy, no such option, or a value the option does not take.
pub fn validate(config: &StrategyConfig) -> Result<&'static StrategyInfo, StrategyError> {
    let info = find(&config.name)?;
    Options::parse(info, config)?;
    Ok(info)
}

fn normalise(name: &str) -> String {
    name.trim().chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_answers_to_every_spelling_in_use() {
        for (written, name) in [
            ("round_robin", "round_robin"),
            ("roundrobin", "round_robin"),
            ("Round-Robin", "round_robin"),
            ("rr", "round_robin"),
            ("random", "random"),
            ("rand", "random"),
            ("weighted", "weighted_round_robin"),
            ("WRR", "weighted_round_robin"),
            (" weighted-round-robin ", "weighted_round_robin"),
            ("leastconnections", "least_connections"),
            ("least_conn", "least_connections"),
            ("lc", "least_connections"),
            ("iphash", "ip_hash"),
            ("ip-hash", "ip_hash"),
            ("hash", "ip_hash"),
            ("weightedrandom", "weighted_random"),
            ("leastresponsetime", "least_response_time"),
            ("least_time", "least_response_time"),
            ("P2C", "p2c"),
        ] {
            assert_eq!(find(written).unwrap().name, name, "{written}");
        }
    }

    #[test]
    fn no_name_or_alias_stands_for_two_rows() {
        let mut all: Vec<String> = ALL.iter().map(|info| normalise(info.name)).collect();
        all.extend(ALL.iter().flat_map(|info| info.aliases).map(|alias| (*alias).to_owned()));
        let written = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), written);
        assert!(all.iter().all(|name| normalise(name) == *name));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_good_ones() {
        let told = find("fastest").unwrap_err().to_string();
        assert!(told.contains("`fastest`") && names().all(|name| told.contains(name)), "{told}");
    }
}
