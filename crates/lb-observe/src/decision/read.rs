//! A record as it is told: everything by name.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::kept::Kept;
use super::{DecisionMirror, Seen, Step};

/// What was decided of one request, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// The value of `X-Request-Id`.
    pub request_id: String,
    /// When the exchange ended.
    #[serde(serialize_with = "rfc3339")]
    pub ended_at: SystemTime,
    /// From the request's first byte to the answer's last.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub duration: Duration,
    /// As received.
    pub method: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// As received.
    pub host: String,
    /// As received, without its query.
    pub path: String,
    /// What the client was answered; 499 where it left before that.
    pub status: u16,
    /// The `code` of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What went wrong, in words; may name addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Either side broke off before the answer was complete.
    pub aborted: bool,
    /// Whose request it was.
    pub client: DecisionClient,
    /// The rule that took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where that rule stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_place: Option<String>,
    /// How the rule's split led to the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<&'static str>,
    /// What became of the request's copy, where the rule has a mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<DecisionMirror>,
    /// Where it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<DecisionUpstream>,
    /// Attempts at backends, in the order of their beginnings.
    pub attempts: Vec<DecisionAttempt>,
    /// Attempts beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_attempts: u32,
    /// Why what failed was not tried elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<&'static str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
}

/// Whose request it was.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionClient {
    /// The client's address.
    pub address: IpAddr,
    /// Who was connected.
    pub peer: IpAddr,
    /// How the one follows from the other.
    pub why: &'static str,
}

/// The upstream, as it stood when the first backend was chosen.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionUpstream {
    /// Its name.
    pub name: String,
    /// Its strategy's name.
    pub strategy: String,
    /// Backends that could be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eligible: Option<u32>,
    /// All backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends: Option<u32>,
    /// The first of them.
    pub candidates: Vec<DecisionCandidate>,
}

/// A backend as it stood.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionCandidate {
    /// Its URL.
    pub url: String,
    /// Whether it could be chosen.
    pub eligible: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// Its share of requests.
    pub weight: f32,
    /// Requests in flight to it.
    pub active: u32,
    /// What latency the strategies that learn took it to have.
    #[serde(rename = "latency_ms", skip_serializing_if = "Option::is_none", serialize_with = "some_millis")]
    pub latency: Option<Duration>,
}

/// One attempt at a backend. Times count from the exchange's beginning.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionAttempt {
    /// The backend's URL.
    pub backend: String,
    /// Why there was another attempt; nothing for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// When the backend had been chosen.
    #[serde(rename = "began_ms", serialize_with = "millis")]
    pub began: Duration,
    /// When the request was sent.
    #[serde(rename = "sent_ms", skip_serializing_if = "Option::is_none", serialize_with = "some_millis")]
    pub sent: Option<Duration>,
    /// When the response head had come.
    #[serde(rename = "head_ms", skip_serializing_if = "Option::is_none", serialize_with = "some_millis")]
    pub head: Option<Duration>,
    /// When it was over.
    #[serde(rename = "ended_ms", serialize_with = "millis")]
    pub ended: Duration,
    /// `answered`, `failed`, `discarded`, `overtaken` or `unanswered`.
    pub outcome: &'static str,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `code` of what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// Whether it waited for a free place.
    pub waited: bool,
    /// `new` or `reused`; nothing where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<&'static str>,
    /// Requests in flight to the backend, this one included.
    pub active: u32,
}

impl Decision {
    pub(super) fn of(kept: &Kept) -> Self {
        let mut texts = kept.read();
        let trail = &kept.trail;
        let (request_id, method) = (texts.text().to_owned(), texts.text().to_owned());
        let (host, path) = (texts.text().to_owned(), texts.text().to_owned());
        let rule = texts.some();
        let (upstream, strategy, error) = (texts.some(), texts.text().to_owned(), texts.some());
        let attempts: Vec<_> =
            trail.steps.iter().map(|step| attempt(texts.text(), step, kept.duration)).collect();
        let candidates = trail.seen.iter().map(|seen| candidate(texts.text(), seen)).collect();
        Self {
            request_id,
            ended_at: kept.ended_at,
            duration: kept.duration,
            method,
            scheme: kept.scheme,
            host,
            path,
            status: kept.status.as_u16(),
            code: kept.code,
            error,
            aborted: kept.aborted,
            client: client(kept),
            rule,
            rule_place: None,
            split: trail.split,
            mirror: trail.mirrored.as_ref().map(DecisionMirror::of),
            upstream: upstream.map(|name| DecisionUpstream {
                name,
                strategy,
                eligible: trail.offered.map(|(offered, _)| offered),
                backends: trail.offered.map(|(_, all)| all),
                candidates,
            }),
            attempts,
            more_attempts: trail.more_steps,
            given_up: trail.given_up,
            bytes_in: kept.bytes.0,
            bytes_out: kept.bytes.1,
        }
    }
}

fn client(kept: &Kept) -> DecisionClient {
    let peer = kept.trail.peer.unwrap_or(kept.address);
    let why = match (kept.trail.is_trusted, kept.address == peer) {
        (false, _) => {
            "the peer itself: it is none of `trusted_proxies`, so nothing it says of others is believed"
        }
        (true, true) => "the peer is one of `trusted_proxies`, but names no one in X-Forwarded-For",
        (true, false) => {
            "the peer is one of `trusted_proxies`: the rightmost address in X-Forwarded-For that is none of them"
        }
    };
    DecisionClient { address: kept.address, peer, why }
}

fn attempt(backend: &str, step: &Step, duration: Duration) -> DecisionAttempt {
    let outcome = match (step.error, step.status) {
        (Some(_), _) => "failed",
        _ if step.overtaken => "overtaken",
        (None, Some(_)) if step.discarded => "discarded",
        (None, Some(_)) => "answered",
        (None, None) => "unanswered",
    };
    DecisionAttempt {
        backend: backend.to_owned(),
        reason: step.reason,
        began: step.began,
        sent: step.sent,
        head: step.head,
        ended: step.ended.unwrap_or(duration),
        outcome,
        status: step.status.map(|status| status.as_u16()),
        error: step.error,
        waited: step.waited,
        connection: step.sent.map(|_| if step.reused { "reused" } else { "new" }),
        active: step.active,
    }
}

fn candidate(url: &str, seen: &Seen) -> DecisionCandidate {
    DecisionCandidate {
        url: url.to_owned(),
        eligible: seen.why_not.is_none(),
        why: seen.why_not.map(super::WhyNot::describe),
        weight: seen.weight,
        active: seen.active,
        latency: seen.latency,
    }
}

/// Milliseconds, to the microsecond.
fn millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(super) fn some_millis<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => millis(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::try_from(*time).map(|time| format!("{time:.3}"));
    serializer.serialize_str(&time.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference to the field")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
