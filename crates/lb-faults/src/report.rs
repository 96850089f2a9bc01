//! The account of a scenario: both sides held against each other.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::ledger::Entry;
use crate::record::{Outcome, Record, percentile};
use crate::time::in_millis;

/// What a scenario set out to show, and whether it did.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// In words.
    pub what: String,
    /// What is wanted.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether that is good.
    pub met: bool,
    /// Whether it depends on how quick the machine is, so that a test must not insist on it.
    pub timed: bool,
}

impl Goal {
    /// No more of something than so many.
    pub(crate) fn at_most(what: &str, wanted: usize, found: usize) -> Self {
        Self {
            what: what.to_owned(),
            wanted: if wanted == 0 { "0".to_owned() } else { format!("≤ {wanted}") },
            found: found.to_string(),
            met: found <= wanted,
            timed: false,
        }
    }

    /// Exactly so many.
    pub(crate) fn equal(what: &str, wanted: usize, found: usize) -> Self {
        let (wanted, found, met) = (wanted.to_string(), found.to_string(), found == wanted);
        Self { what: what.to_owned(), wanted, found, met, timed: false }
    }

    /// Something that is so or not.
    pub(crate) fn holds(what: &str, met: bool) -> Self {
        let found = if met { "yes" } else { "no" };
        Self { what: what.to_owned(), wanted: "yes".to_owned(), found: found.to_owned(), met, timed: false }
    }

    /// A figure that no test insists on.
    pub(crate) fn timed(what: &str, wanted: String, found: String, met: bool) -> Self {
        Self { what: what.to_owned(), wanted, found, met, timed: true }
    }
}

/// One scenario's account.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Requests sent, by schedule.
    pub sent: usize,
    /// Answered rightly, and whole.
    pub right: usize,
    /// Answered with an error that says what it is, by its code.
    pub honest: BTreeMap<String, usize>,
    /// Visibly broken off in the body.
    pub cut: usize,
    /// Clients that left, as they meant to.
    pub left: usize,
    /// Without an answer, or with one that is not theirs. Must be 0.
    pub lost_or_wrong: usize,
    /// Some of them, in words.
    pub examples: Vec<String>,
    /// Requests that backends received, over all.
    pub received: usize,
    /// POST requests that reached backends more than once. Must be 0.
    pub duplicates: usize,
    /// The most requests that a backend had in hand at once, as it counted itself.
    pub peak: usize,
    /// `max_connections`, where set.
    pub limit: Option<usize>,
    /// From the fault to the end of the last request that failed for it.
    pub fault_to_last_error_ms: Option<f64>,
    /// From a backend's recovery to the first request that it received again.
    pub recovery_to_first_request_ms: Option<f64>,
    /// Of right answers over the whole time.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// How late requests were sent, at the 99th percentile: the load's own trustworthiness.
    pub lag_p99_ms: f64,
    /// What it set out to show.
    pub goals: Vec<Goal>,
}

impl Report {
    /// Goals that were not met; of those that depend on time only where asked for.
    pub fn unmet(&self, timed_too: bool) -> Vec<&Goal> {
        self.goals.iter().filter(|goal| !goal.met && (timed_too || !goal.timed)).collect()
    }

    /// How many honest errors there were.
    pub fn honest_errors(&self) -> usize {
        self.honest.values().sum::<usize>() + self.cut
    }
}

/// Both sides of a scenario.
pub(crate) struct Account<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) ledgers: &'a [Vec<Entry>],
    /// When the (first) fault began.
    pub(crate) fault: Option<u64>,
    /// When which backend was there again.
    pub(crate) recovery: Option<(usize, u64)>,
    pub(crate) limit: Option<usize>,
}

impl Account<'_> {
    pub(crate) fn report(&self, scenario: &'static str, summary: &'static str, goals: Vec<Goal>) -> Report {
        let mut report = Report {
            scenario,
            summary,
            sent: self.records.len(),
            right: 0,
            honest: BTreeMap::new(),
            cut: 0,
            left: 0,
            lost_or_wrong: 0,
            examples: Vec::new(),
            received: self.entries().filter(|entry| entry.method != "WRONG").count(),
            duplicates: self.duplicates().len(),
            peak: self.entries().map(|entry| entry.in_hand).max().unwrap_or(0),
            limit: self.limit,
            fault_to_last_error_ms: self.fault_to_last_error(),
            recovery_to_first_request_ms: self.recovery_to_first_request(),
            p50_ms: in_millis(percentile(right_latencies(self.records), 500)),
            p99_ms: in_millis(percentile(right_latencies(self.records), 990)),
            lag_p99_ms: in_millis(percentile(self.records.iter().map(|it| it.lag).collect(), 990)),
            goals: Vec::new(),
        };
        for record in self.records {
            match &record.outcome {
                Outcome::Right => report.right += 1,
                Outcome::Honest(code) => *report.honest.entry(code.clone()).or_default() += 1,
                Outcome::Cut => report.cut += 1,
                Outcome::Left => report.left += 1,
                Outcome::Lost(what) | Outcome::Wrong(what) => {
                    report.lost_or_wrong += 1;
                    if report.examples.len() < 5 {
                        let Record { id, method, conduct, backend, .. } = record;
                        let method = method.name();
                        report.examples.push(format!("{method} {id} ({conduct:?}, by {backend:?}): {what}"));
                    }
                }
            }
        }
        let wrong_bodies = self.entries().filter(|entry| entry.method == "WRONG").count();
        report.goals = vec![
            Goal::at_most("requests lost or answered wrongly", 0, report.lost_or_wrong),
            Goal::at_most("POST requests that arrived twice", 0, report.duplicates),
            Goal::at_most("bodies that arrived changed", 0, wrong_bodies),
            Goal::at_most(
                "answers from a backend that never had the request",
                0,
                self.answers_from_nowhere(),
            ),
        ];
        report.goals.extend(goals);
        report
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ledgers.iter().flatten()
    }

    /// Numbers of the POST requests that some backend received after it or another had.
    fn duplicates(&self) -> BTreeSet<u64> {
        let mut seen = BTreeSet::new();
        let posts = self.entries().filter(|entry| entry.method == "POST");
        posts.filter(|entry| !seen.insert(entry.id)).map(|entry| entry.id).collect()
    }

    /// Answers whose backend has not written down that it received their requests.
    fn answers_from_nowhere(&self) -> usize {
        let received: BTreeSet<(usize, u64)> = self
            .ledgers
            .iter()
            .enumerate()
            .flat_map(|(position, entries)| entries.iter().map(move |entry| (position, entry.id)))
            .collect();
        let answered = self.records.iter().filter_map(|record| Some((record.backend?, record.id)));
        answered.filter(|answer| !received.contains(answer)).count()
    }

    fn fault_to_last_error(&self) -> Option<f64> {
        let fault = self.fault?;
        let failed = self.records.iter().filter(|record| record.failed() && record.ended() >= fault);
        failed.map(|record| in_millis(record.ended() - fault)).max_by(f64::total_cmp)
    }

    fn recovery_to_first_request(&self) -> Option<f64> {
        let (position, recovered) = self.recovery?;
        let entries = self.ledgers.get(position)?.iter();
        entries.filter(|entry| entry.at >= recovered).map(|entry| in_millis(entry.at - recovered)).next()
    }
}

/// Latencies of whole right answers to clients that did not dawdle.
pub(crate) fn right_latencies<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u64> {
    let right = |record: &&Record| record.outcome == Outcome::Right && record.conduct.bytes().is_none();
    records.into_iter().filter(right).map(|record| record.latency).collect()
}
