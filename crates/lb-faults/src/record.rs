//! What became of one request, as its client saw it.

use crate::conduct::Conduct;

/// The methods that the load uses; `POST` is the one that must never arrive twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Put,
    Post,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
        }
    }
}

/// The end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The right answer, whole.
    Right,
    /// An answer that says what is wrong: the gateway's code, or a backend's own status.
    Honest(String),
    /// An answer that visibly broke off in its body.
    Cut,
    /// The client left, as it meant to.
    Left,
    /// No answer at all.
    Lost(String),
    /// An answer, but not this request's; or one that cannot be believed.
    Wrong(String),
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) method: Method,
    pub(crate) conduct: Conduct,
    /// When the schedule had it sent, in microseconds since 1970.
    pub(crate) due: u64,
    /// How much later it was sent.
    pub(crate) lag: u64,
    /// From when it was due to the end of its answer.
    pub(crate) latency: u64,
    pub(crate) outcome: Outcome,
    /// Who answered, by position.
    pub(crate) backend: Option<usize>,
}

impl Record {
    pub(crate) fn ended(&self) -> u64 {
        self.due + self.latency
    }

    /// Whether a client was given less than it asked for.
    pub(crate) fn failed(&self) -> bool {
        !matches!(self.outcome, Outcome::Right | Outcome::Left)
    }
}

/// A percentile of latencies, in microseconds; 0 for none.
pub(crate) fn percentile(mut latencies: Vec<u64>, thousandths: usize) -> u64 {
    latencies.sort_unstable();
    let place = (latencies.len() * thousandths / 1000).min(latencies.len().saturating_sub(1));
    latencies.get(place).copied().unwrap_or(0)
}
