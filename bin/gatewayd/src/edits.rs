//! What operators change of the configuration while it runs: the layer above the file and what was discovered.
//!
//! Backends that are added and removed, and rules that lead elsewhere or are split, are made part of the configuration when it is put
//! together. Weights and drains are set on the backends themselves, at once; here it is known which of them are to end. Every edit
//! may end by itself, and be kept across a restart. The layer has a version, so that of two who change the same the second notices.

mod apply;
mod saved;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use lb_http::config::GatewayConfig;
use serde::{Deserialize, Serialize};

pub(crate) use apply::{check_backend, is_meant};
pub(crate) use saved::{KIND, file_of, read, write};

/// Edits in force at once.
const MAX_EDITS: usize = 1024;
/// The longest that an edit with an end lasts.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What is changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub(crate) enum What {
    /// A backend that the file does not list.
    Add { upstream: String, backend: String, weight: f64, backup: bool },
    /// A backend that the file lists, or that was discovered, is out.
    Remove { upstream: String, backend: String },
    /// A backend's share; of one upstream, or of all that have it.
    Weight { upstream: Option<String>, backend: String, weight: f64 },
    /// A backend gets nothing new.
    Drain { upstream: Option<String>, backend: String },
    /// All of a rule's requests go to this upstream.
    Switch { rule: String, upstream: String },
    /// A rule's requests are shared out.
    Split { rule: String, split: Split },
}

/// How a rule's requests are shared out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Split {
    pub(crate) parts: Vec<Part>,
    /// What keeps a request's part the same; by default as in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Where a request may name its part; by default as in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    /// When a part is taken back by itself; by default as in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rollback: Option<Rollback>,
}

/// When a part of a split is taken back by itself, as `split_rollback` says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_requests: Option<NonZeroU32>,
    /// `"1m"`, or seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Lasts>,
}

/// A time as JSON has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Lasts {
    Seconds(f64),
    Text(String),
}

impl Lasts {
    /// The time, or why it is none.
    pub(crate) fn duration(&self) -> Result<Duration, String> {
        match self {
            Self::Seconds(seconds) => {
                Duration::try_from_secs_f64(*seconds).map_err(|error| error.to_string())
            }
            Self::Text(text) => {
                humantime::parse_duration(text).map_err(|error| format!("{error}; such as \"10m\""))
            }
        }
    }
}

/// One part of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) upstream: String,
    pub(crate) weight: f64,
}

/// One edit in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) what: What,
    /// The address it came from.
    pub(crate) by: String,
    pub(crate) made_at_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at_ms: Option<u64>,
    /// Whether it outlives the process.
    pub(crate) persist: bool,
}

/// What an edit is asked for with, beside what it changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    pub(crate) by: String,
    pub(crate) expires: Option<Duration>,
    pub(crate) persist: bool,
    /// The version that whoever asks has seen.
    pub(crate) version: Option<u64>,
}

/// The edits in force, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edits {
    version: u64,
    next_id: u64,
    list: Vec<Edit>,
}

/// Why an edit is not made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    /// What is in force, where whoever asked has seen another one.
    pub(crate) version: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), version: None }
    }

    fn unknown(code: &'static str, what: &str, name: &str, known: &[&str]) -> Self {
        const SHOWN: usize = 16;
        let mut shown = known.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        if let Some(more) = known.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            shown.push_str(&format!(", and {more} more"));
        }
        let detail = format!("there is no {what} {name:?}; there are {shown}");
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }
}

impl Default for Edits {
    /// None yet. Versions begin where no process before this one can have been: at the time.
    fn default() -> Self {
        Self { version: unix_ms(SystemTime::now()) / 1000, next_id: 1, list: Vec::new() }
    }
}

impl Edits {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn list(&self) -> &[Edit] {
        &self.list
    }

    /// Something else than an edit has changed what is in force.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
    }

    /// That the version somebody has seen is the one in force.
    pub(crate) fn check(&self, seen: Option<u64>) -> Result<(), Refusal> {
        if seen.is_none_or(|seen| seen == self.version) {
            return Ok(());
        }
        let detail =
            format!("something was changed since: version {} is in force; look and ask again", self.version);
        let stale = Refusal::new(StatusCode::CONFLICT, "stale_version", detail);
        Err(Refusal { version: Some(self.version), ..stale })
    }

    /// Records an edit in the place of those that it ends; `what` is nothing where it only ends some.
    pub(crate) fn record(
        &mut self,
        ends: impl Fn(&What) -> bool,
        what: Option<What>,
        terms: &Terms,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        self.list.retain(|edit| !ends(&edit.what));
        if let Some(what) = what {
            if self.list.len() >= MAX_EDITS {
                let detail = format!(
                    "{MAX_EDITS} edits are in force already; take some back, or write them into the file"
                );
                return Err(Refusal::new(StatusCode::CONFLICT, "too_many_edits", detail));
            }
            if terms.expires.is_some_and(|expires| expires.is_zero() || expires > LONGEST) {
                return Err(Refusal::bad("`expires` must be more than nothing, and no more than 366 days"));
            }
            let expires_at_ms = terms.expires.map(|expires| unix_ms(now + expires));
            let (by, persist) = (terms.by.clone(), terms.persist);
            let made_at_ms = unix_ms(now);
            self.list.push(Edit { id: self.next_id, what, by, made_at_ms, expires_at_ms, persist });
            self.next_id += 1;
        }
        self.touch();
        Ok(())
    }

    /// Takes one out.
    pub(crate) fn take(&mut self, id: u64) -> Option<Edit> {
        let place = self.list.iter().position(|edit| edit.id == id)?;
        self.touch();
        Some(self.list.remove(place))
    }

    /// Takes those out whose time is over.
    pub(crate) fn expire(&mut self, now: SystemTime) -> Vec<Edit> {
        let now = unix_ms(now);
        self.take_where(|edit| edit.expires_at_ms.is_some_and(|end| end <= now))
    }

    /// Has a backend that is drained everywhere drained everywhere but in one upstream; `all` have it.
    pub(crate) fn spare(&mut self, backend: &str, only: &str, all: &[String]) {
        let is_whole =
            |edit: &Edit| matches!(&edit.what, What::Drain { upstream: None, backend: of } if of == backend);
        // What a rule made of an upstream goes as that does.
        let of = |name: &String| name.split('@').next().unwrap_or_default().to_owned();
        let others: BTreeSet<String> = all.iter().map(of).filter(|name| name != only).collect();
        for edit in self.take_where(is_whole) {
            for other in &others {
                let what = What::Drain { upstream: Some(other.clone()), backend: backend.to_owned() };
                self.list.push(Edit { id: self.next_id, what, ..edit.clone() });
                self.next_id += 1;
            }
        }
    }

    /// Whether a backend of an upstream is drained.
    pub(crate) fn drains(&self, of: &str, url: &str) -> bool {
        self.list.iter().any(|edit| {
            matches!(&edit.what, What::Drain { upstream, backend } if backend == url && is_meant(upstream.as_deref(), of))
        })
    }

    /// The weight that a backend of an upstream is given.
    pub(crate) fn weight(&self, of: &str, url: &str) -> Option<f64> {
        self.list.iter().rev().find_map(|edit| match &edit.what {
            What::Weight { upstream, backend, weight }
                if backend == url && is_meant(upstream.as_deref(), of) =>
            {
                Some(*weight)
            }
            _ => None,
        })
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<SystemTime> {
        let end = self.list.iter().filter_map(|edit| edit.expires_at_ms).min()?;
        Some(UNIX_EPOCH + Duration::from_millis(end))
    }

    /// Takes those out that make no sense any more over this configuration, which stands in the place of `before`; with why.
    pub(crate) fn prune(
        &mut self,
        before: Option<&GatewayConfig>,
        base: &GatewayConfig,
        composed: &GatewayConfig,
    ) -> Vec<(Edit, String)> {
        let mut dropped = Vec::new();
        self.list.retain(|edit| match apply::fits(&edit.what, before, base, composed) {
            Ok(()) => true,
            Err(why) => {
                dropped.push((edit.clone(), why));
                false
            }
        });
        dropped
    }

    /// Has these for those kept from an earlier process.
    pub(crate) fn restore(&mut self, saved: Vec<Edit>, now: SystemTime) {
        let now = unix_ms(now);
        let alive = saved.into_iter().filter(|edit| edit.expires_at_ms.is_none_or(|end| end > now));
        // Under the same numbers: by them a split is known that was taken back.
        for edit in alive.take(MAX_EDITS) {
            self.next_id = self.next_id.max(edit.id.saturating_add(1));
            self.list.push(Edit { persist: true, ..edit });
        }
    }

    /// Has these for those of the process that this one takes over from.
    pub(crate) fn take_over(&mut self, edits: Vec<Edit>) {
        self.next_id = edits.iter().map(|edit| edit.id).max().unwrap_or(0) + 1;
        self.list = edits;
    }

    /// Makes the configuration what the edits say.
    pub(crate) fn apply(&self, config: &mut GatewayConfig, backend: &apply::MakeBackend<'_>) {
        for edit in &self.list {
            // What does not fit is dropped where that is said; meanwhile it changes nothing.
            let _ = apply::apply(edit, config, backend);
        }
    }

    fn take_where(&mut self, is_meant: impl Fn(&Edit) -> bool) -> Vec<Edit> {
        let (taken, left) = std::mem::take(&mut self.list).into_iter().partition(is_meant);
        self.list = left;
        if !Vec::is_empty(&taken) {
            self.touch();
        }
        taken
    }
}

impl What {
    /// The same of a backend as it is written where there is one: `spell` knows.
    pub(crate) fn spelt(self, spell: impl FnOnce(&str, String) -> String) -> Self {
        match self {
            Self::Add { upstream, backend, weight, backup } => {
                Self::Add { backend: spell(&upstream, backend), upstream, weight, backup }
            }
            Self::Remove { upstream, backend } => {
                Self::Remove { backend: spell(&upstream, backend), upstream }
            }
            other => other,
        }
    }

    /// That it can be made, and what it would be called then: the edits that it ends, and itself unless it only ends some.
    pub(crate) fn plan(&self, base: &GatewayConfig, now: &GatewayConfig) -> Result<Option<Self>, Refusal> {
        apply::plan(self, base, now)
    }

    /// Whether making this one ends that one.
    pub(crate) fn ends(&self, other: &Self) -> bool {
        let of_backend = |it: &Self| match it {
            Self::Add { upstream, backend, .. } | Self::Remove { upstream, backend } => {
                Some((upstream.clone(), backend.clone()))
            }
            _ => None,
        };
        match (self, other) {
            (
                Self::Switch { rule, .. } | Self::Split { rule, .. },
                Self::Switch { rule: same, .. } | Self::Split { rule: same, .. },
            ) => rule == same,
            (Self::Weight { upstream, backend, .. }, Self::Weight { upstream: of, backend: same, .. })
            | (Self::Drain { upstream, backend }, Self::Drain { upstream: of, backend: same }) => {
                backend == same && (upstream == of || upstream.is_none())
            }
            _ => of_backend(self).is_some_and(|one| of_backend(other) == Some(one)),
        }
    }

    /// The key that it overrides, as `config show` names it, and what stands there instead.
    pub(crate) fn value(&self) -> (String, String) {
        let member = |upstream: &str, backend: &str| format!("upstreams.{upstream}.backends[{backend}]");
        let of = |upstream: &Option<String>| upstream.as_deref().unwrap_or("*").to_owned();
        match self {
            Self::Add { upstream, backend, weight, backup } => {
                let backup = if *backup { ", as a backup" } else { "" };
                (member(upstream, backend), format!("added, weight {weight}{backup}"))
            }
            Self::Remove { upstream, backend } => (member(upstream, backend), "removed".to_owned()),
            Self::Weight { upstream, backend, weight } => {
                (member(&of(upstream), backend) + ".weight", weight.to_string())
            }
            Self::Drain { upstream, backend } => (member(&of(upstream), backend), "drained".to_owned()),
            Self::Switch { rule, upstream } => (format!("rules.{rule}.upstream"), upstream.clone()),
            Self::Split { rule, split } => (format!("rules.{rule}.split"), split.to_string()),
        }
    }

    /// What it changes as that stands in a configuration, in words.
    pub(crate) fn state(&self, config: &GatewayConfig) -> String {
        apply::state(self, config)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of =
            |upstream: &Option<String>| upstream.as_ref().map(|it| format!(" of {it}")).unwrap_or_default();
        match self {
            Self::Add { upstream, backend, weight, backup } => {
                let backup = if *backup { ", as a backup" } else { "" };
                write!(f, "backend {backend} added to {upstream}, weight {weight}{backup}")
            }
            Self::Remove { upstream, backend } => write!(f, "backend {backend} removed from {upstream}"),
            Self::Weight { upstream, backend, weight } => {
                write!(f, "backend {backend}{} has weight {weight}", of(upstream))
            }
            Self::Drain { upstream, backend } => write!(f, "backend {backend}{} is drained", of(upstream)),
            Self::Switch { rule, upstream } => write!(f, "rule {rule} leads to {upstream}"),
            Self::Split { rule, split } => write!(f, "rule {rule} is split {split}"),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, part) in self.parts.iter().enumerate() {
            let before = if place == 0 { "" } else { " " };
            write!(f, "{before}{}={}", part.upstream, part.weight)?;
        }
        Ok(())
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
