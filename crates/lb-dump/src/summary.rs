//! A dump in figures.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::entry::Entry;

/// Counts and durations over entries.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Entries.
    pub entries: u64,
    /// The earliest and the latest moment.
    pub first: Option<String>,
    /// As for `first`.
    pub last: Option<String>,
    /// By rule.
    pub rules: BTreeMap<String, Part>,
    /// By backend; exchanges without one are left out.
    pub backends: BTreeMap<String, Part>,
    /// By status.
    pub statuses: BTreeMap<u16, u64>,
    /// Of all.
    pub duration_ms: Quantiles,
    #[serde(skip)]
    durations: Vec<f64>,
}

/// The same for one rule or backend.
#[derive(Debug, Default, Serialize)]
pub struct Part {
    /// Entries.
    pub entries: u64,
    /// Those of them with a status of 400 and above.
    pub errors: u64,
    /// Of all.
    pub duration_ms: Quantiles,
    #[serde(skip)]
    durations: Vec<f64>,
}

/// Durations in milliseconds, exact.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are shorter.
    pub p50: f64,
    /// 95 % are shorter.
    pub p95: f64,
    /// 99 % are shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Summary {
    /// Adds an entry.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        let at = Some(entry.timestamp.clone());
        if self.first.is_none() || at < self.first {
            self.first.clone_from(&at);
        }
        if at > self.last {
            self.last = at;
        }
        *self.statuses.entry(entry.status_code).or_default() += 1;
        self.durations.push(entry.duration_ms);
        self.rules.entry(entry.rule.clone()).or_default().add(entry);
        if !entry.backend.is_empty() {
            self.backends.entry(entry.backend.clone()).or_default().add(entry);
        }
    }

    /// Works the quantiles out. To be called after the last entry.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.duration_ms = quantiles(&mut self.durations);
        for part in self.rules.values_mut().chain(self.backends.values_mut()) {
            part.duration_ms = quantiles(&mut part.durations);
        }
        self
    }
}

impl Part {
    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.errors += u64::from(entry.status_code >= 400);
        self.durations.push(entry.duration_ms);
    }
}

fn quantiles(durations: &mut [f64]) -> Quantiles {
    durations.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| {
        let rank = (durations.len() * percent).div_ceil(100).saturating_sub(1);
        durations.get(rank).copied().unwrap_or_default()
    };
    Quantiles { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_entries() {
        let mut summary = Summary::default();
        for n in 1..=100_u16 {
            summary.add(&Entry {
                timestamp: format!("2026-01-01T00:00:00.{n:03}Z"),
                rule: "api".into(),
                backend: if n % 2 == 0 { "http://a".into() } else { String::new() },
                status_code: if n <= 10 { 503 } else { 200 },
                duration_ms: f64::from(n),
                ..Entry::default()
            });
        }
        let summary = summary.finish();
        assert_eq!(summary.duration_ms, Quantiles { p50: 50.0, p95: 95.0, p99: 99.0, max: 100.0 });
        assert_eq!((summary.rules["api"].entries, summary.rules["api"].errors), (100, 10));
        assert_eq!(summary.backends["http://a"].entries, 50);
        assert_eq!(summary.statuses, BTreeMap::from([(200, 90), (503, 10)]));
        assert_eq!(summary.first.as_deref(), Some("2026-01-01T00:00:00.001Z"));
        assert_eq!(summary.last.as_deref(), Some("2026-01-01T00:00:00.100Z"));
    }
}
