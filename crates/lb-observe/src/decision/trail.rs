//! What is taken down of an exchange while it lasts.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::Mirrored;

/// Backends whose state is taken down when one of them is chosen.
pub const MAX_SEEN: usize = 8;
/// Attempts that are taken down.
const MAX_STEPS: usize = 32;

/// What is taken down of an exchange beside what its [`Exchange`](crate::Exchange) holds. Backends are named by their places in
/// the upstream. Used anew for one exchange after the other.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// Who is connected to the gateway.
    pub peer: Option<IpAddr>,
    /// Whether the peer is believed when it says who the client is.
    pub is_trusted: bool,
    /// How the rule's split led to the upstream.
    pub split: Option<&'static str>,
    /// The request's copy, where its rule has a mirror.
    pub mirrored: Option<Mirrored>,
    /// The attempts, in the order of their beginnings.
    pub steps: Vec<Step>,
    /// Attempts beyond those that are taken down.
    pub more_steps: u32,
    /// Some of the upstream's backends as they stood when the first of them was chosen, or none could be.
    pub seen: Vec<Seen>,
    /// Backends that could be chosen then, and all there were.
    pub offered: Option<(u32, u32)>,
    /// Why what failed was not tried elsewhere.
    pub given_up: Option<&'static str>,
    current: usize,
}

/// One attempt at a backend. Times count from the exchange's beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Step {
    /// The backend's place.
    pub backend: usize,
    /// Why there is another attempt; nothing for the first.
    pub reason: Option<&'static str>,
    /// When the backend had been chosen.
    pub began: Duration,
    /// When the request was sent.
    pub sent: Option<Duration>,
    /// When the response head had come.
    pub head: Option<Duration>,
    /// When it was over; nothing where it lasted as long as the exchange.
    pub ended: Option<Duration>,
    /// What was answered.
    pub status: Option<StatusCode>,
    /// The `code` of what went wrong.
    pub error: Option<&'static str>,
    /// Requests in flight to the backend, this one included.
    pub active: u32,
    /// Whether it waited for a free place.
    pub waited: bool,
    /// Whether its connection had carried other requests before.
    pub reused: bool,
    /// Another backend answered first.
    pub overtaken: bool,
    /// Its answer was given up for another backend's.
    pub discarded: bool,
}

/// A backend as it stood.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its place.
    pub backend: usize,
    /// Why it could not be chosen.
    pub why_not: Option<WhyNot>,
    /// Its share of requests.
    pub weight: f32,
    /// Requests in flight to it.
    pub active: u32,
    /// What latency the strategies that learn take it to have.
    pub latency: Option<Duration>,
}

/// Why a backend cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// It finishes what it has.
    Draining,
    /// Probes or traffic say that it does not work.
    Unhealthy,
    /// So many of its requests in a row failed that it gets none for a while.
    CircuitOpen,
    /// The same, where there is no circuit breaker.
    Ejected,
    /// It has no share.
    Weightless,
    /// It is a backup, and others can be used.
    Backup,
    /// It has as many requests as it may.
    Full,
}

impl WhyNot {
    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Draining => "it was being drained",
            Self::Unhealthy => "it was unhealthy",
            Self::CircuitOpen => "its circuit was open",
            Self::Ejected => "it was ejected for a while, as its requests had failed",
            Self::Weightless => "its weight was 0",
            Self::Backup => "it is a backup, and others could be used",
            Self::Full => "it was at its max_connections",
        }
    }
}

impl Trail {
    /// Begins the next exchange.
    pub fn begin(&mut self, peer: IpAddr, is_trusted: bool) {
        let (mut steps, mut seen) = (std::mem::take(&mut self.steps), std::mem::take(&mut self.seen));
        steps.clear();
        seen.clear();
        *self = Self { peer: Some(peer), is_trusted, steps, seen, ..Self::default() };
    }

    /// An attempt begins. It is the current one, unless that goes on beside it.
    pub fn begin_step(&mut self, step: Step, beside: bool) {
        if !beside {
            self.current = self.steps.len();
        }
        match self.steps.len() < MAX_STEPS {
            true => self.steps.push(step),
            false => self.more_steps += 1,
        }
    }

    /// The current attempt.
    pub fn current(&mut self) -> Option<&mut Step> {
        self.steps.get_mut(self.current)
    }

    /// The current attempt went wrong.
    pub fn failed(&mut self, code: &'static str) {
        if let Some(step) = self.current() {
            step.error.get_or_insert(code);
        }
    }

    /// The current attempt is over.
    pub fn ended(&mut self, now: Duration) {
        if let Some(step) = self.current() {
            step.ended.get_or_insert(now);
        }
    }

    /// The attempt beside the current one answered first and takes its place.
    pub fn overtook(&mut self, now: Duration) {
        if let Some(step) = self.current() {
            step.ended.get_or_insert(now);
            step.overtaken = step.error.is_none();
        }
        self.current = self.steps.len().saturating_sub(1);
    }

    /// The attempt beside the current one is given up: it went wrong, or came too late.
    pub fn beside_ended(&mut self, error: Option<&'static str>, now: Duration) {
        let beside = self.steps.len().saturating_sub(1);
        if beside == self.current {
            return;
        }
        if let Some(step) = self.steps.get_mut(beside) {
            step.ended.get_or_insert(now);
            step.error = error;
            step.overtaken = error.is_none();
        }
    }
}
