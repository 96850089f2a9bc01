//! What became of a request's copy. It goes out when the exchange is over, so that its record may be kept before that is known.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::read::some_millis;

/// The copy of a request, as it goes with the exchange's trail.
#[derive(Debug, Clone)]
pub struct Mirrored {
    /// The name of the upstream that it is for.
    pub upstream: Arc<str>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a copy.
#[derive(Debug, Clone)]
pub enum Fate {
    /// There is none, for this reason.
    None(&'static str),
    /// There is one; who sends it fills this in.
    Copied(CopySlip),
}

/// Is filled in once, by who sends the copy or gives it up.
#[derive(Debug, Clone, Default)]
pub struct CopySlip(Arc<OnceLock<CopyOutcome>>);

/// How a copy ended.
#[derive(Debug, Clone)]
pub enum CopyOutcome {
    /// It was not sent, for this reason.
    NotSent(&'static str),
    /// It has no answer.
    Failed {
        /// The backend's URL, where there was one to take it.
        backend: Option<Arc<str>>,
        /// Why.
        error: String,
        /// How long that took.
        took: Duration,
    },
    /// It was answered.
    Answered {
        /// The backend's URL.
        backend: Option<Arc<str>>,
        /// Its status.
        status: StatusCode,
        /// Until the answer's end.
        took: Duration,
        /// What the comparison with the client's answer came to, where there was one.
        compared: Option<Comparison>,
    },
}

/// How the answer to a copy differs from the one that the client got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// It does not.
    Alike,
    /// By its status.
    OtherStatus,
    /// By its body alone.
    OtherBody,
}

impl CopySlip {
    /// The copy has ended so.
    pub fn fill(&self, outcome: CopyOutcome) {
        // It ends once.
        let _ = self.0.set(outcome);
    }
}

impl Comparison {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Alike => "status and body as the client got them",
            Self::OtherStatus => "another status than the client got",
            Self::OtherBody => "the status that the client got, and another body",
        }
    }
}

/// A copy, as it is told.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionMirror {
    /// The upstream that it is for.
    pub upstream: String,
    /// `answered`, `failed`, `not_sent`, or `under_way`.
    pub outcome: &'static str,
    /// Why it was not sent, or has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The backend's URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From its being sent to its answer's end.
    #[serde(rename = "duration_ms", skip_serializing_if = "Option::is_none", serialize_with = "some_millis")]
    pub duration: Option<Duration>,
    /// How that compares with what the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Comparison>,
}

impl DecisionMirror {
    pub(super) fn of(mirrored: &Mirrored) -> Self {
        let told = |outcome| Self {
            upstream: mirrored.upstream.to_string(),
            outcome,
            why: None,
            backend: None,
            status: None,
            duration: None,
            compared: None,
        };
        let not_sent = |why: &str| Self { why: Some(why.to_owned()), ..told("not_sent") };
        let outcome = match &mirrored.fate {
            Fate::None(why) => return not_sent(why),
            Fate::Copied(slip) => slip.0.get(),
        };
        match outcome {
            None => told("under_way"),
            Some(CopyOutcome::NotSent(why)) => not_sent(why),
            Some(CopyOutcome::Failed { backend, error, took }) => Self {
                why: Some(error.clone()),
                backend: backend.as_deref().map(str::to_owned),
                duration: Some(*took),
                ..told("failed")
            },
            Some(CopyOutcome::Answered { backend, status, took, compared }) => Self {
                backend: backend.as_deref().map(str::to_owned),
                status: Some(status.as_u16()),
                duration: Some(*took),
                compared: *compared,
                ..told("answered")
            },
        }
    }
}
