//! The trace that an exchange belongs to: where it came from, what it is passed on as, and the spans in it.
//!
//! Cost where tracing is on: one reading of two fields, and a random number a request and an attempt. Only a trace that
//! is sampled has its attempts kept, in one box; of any other nothing is allocated but the fields that backends get.

mod context;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use lb_h1::Fields;

use crate::BackendStats;
use context::{Parent, is_tracestate};
pub use context::{SpanId, TraceId};

/// `traceparent` (W3C Trace Context §3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate` (W3C Trace Context §3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Attempts of one exchange that are kept; more are passed on, but have no span.
const MAX_ATTEMPTS: usize = 64;

/// One exchange's part of a trace: its server span, and a client span for each attempt at a backend.
#[derive(Debug)]
pub struct Trace {
    id: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
    /// The client's `tracestate` is not passed on.
    drops_state: bool,
    /// Where it is sampled.
    spans: Option<Box<Spans>>,
}

/// What is kept of a sampled trace.
#[derive(Debug, Default)]
struct Spans {
    state: String,
    attempts: Vec<AttemptSpan>,
    current: usize,
}

/// One attempt at a backend.
#[derive(Debug, Clone)]
pub struct AttemptSpan {
    /// What the backend was given as its parent.
    pub id: SpanId,
    /// The backend.
    pub backend: Arc<BackendStats>,
    /// Why there was another attempt; nothing for the first.
    pub reason: Option<&'static str>,
    /// When it began, from the exchange's start.
    pub began: Duration,
    /// When it ended, likewise; nothing where it lasted as long as the exchange.
    pub ended: Option<Duration>,
    /// What the backend answered.
    pub status: Option<StatusCode>,
    /// The `code` of what went wrong.
    pub error: Option<&'static str>,
    /// Another backend answered first.
    pub overtaken: bool,
}

impl Trace {
    /// Continues the trace that a request came with, or begins one.
    ///
    /// Whether it is sampled is decided once: by whoever began it, or else here, for `sample` of all (0 and 1 are exact).
    /// A `traceparent` that breaks the grammar, or is there twice, is as if it was not there, and then `tracestate` is not
    /// passed on either (W3C Trace Context §3.2, §4.3); nor is a `tracestate` that breaks its own.
    #[must_use]
    pub fn begin(headers: &Fields, sample: f64) -> Self {
        let parent = only(headers, &TRACEPARENT).and_then(Parent::parse);
        let name = TRACESTATE;
        let mut states = headers.get_all(&name).peekable();
        let has_state = states.peek().is_some();
        let drops_state = has_state && (parent.is_none() || !is_tracestate(states));
        let is_sampled = parent.as_ref().map_or_else(|| fastrand::f64() < sample, |parent| parent.is_sampled);
        let state = || match has_state && !drops_state {
            true => joined(headers),
            false => String::new(),
        };
        Self {
            id: parent.as_ref().map_or_else(TraceId::random, |parent| parent.trace),
            span: SpanId::random(),
            parent: parent.map(|parent| parent.span),
            drops_state,
            spans: is_sampled.then(|| Box::new(Spans { state: state(), ..Spans::default() })),
        }
    }

    /// The trace's id.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// The exchange's own span.
    #[must_use]
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// The span of whoever sent the request.
    #[must_use]
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// Whether its spans are to be exported.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.spans.is_some()
    }

    /// The client's `tracestate` as one list; empty where there is none, and where the trace is not sampled.
    #[must_use]
    pub fn state(&self) -> &str {
        self.spans.as_ref().map_or("", |spans| &spans.state)
    }

    /// The attempts so far; none where the trace is not sampled.
    #[must_use]
    pub fn attempts(&self) -> &[AttemptSpan] {
        self.spans.as_ref().map_or(&[], |spans| &spans.attempts)
    }

    /// An attempt begins: the backend is told its span. It is the current one unless another one goes on beside it.
    pub fn begin_attempt(
        &mut self,
        headers: &mut Fields,
        backend: &Arc<BackendStats>,
        reason: Option<&'static str>,
        began: Duration,
        beside: bool,
    ) {
        let id = SpanId::random();
        let mut text = [0; context::TRACEPARENT_LENGTH];
        context::write_traceparent(&mut text, self.id, id, self.is_sampled());
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)) {
            headers.insert(&TRACEPARENT, &value);
        }
        if self.drops_state {
            headers.remove(&TRACESTATE);
        }
        let Some(spans) = &mut self.spans else { return };
        if !beside {
            spans.current = spans.attempts.len();
        }
        if spans.attempts.len() == MAX_ATTEMPTS {
            return;
        }
        spans.attempts.push(AttemptSpan {
            id,
            backend: Arc::clone(backend),
            reason,
            began,
            ended: None,
            status: None,
            error: None,
            overtaken: false,
        });
    }

    /// The current attempt brought an answer.
    pub fn answered(&mut self, status: StatusCode) {
        if let Some(attempt) = self.current() {
            attempt.status = Some(status);
        }
    }

    /// The current attempt went wrong.
    pub fn failed(&mut self, code: &'static str) {
        if let Some(attempt) = self.current() {
            attempt.error.get_or_insert(code);
        }
    }

    /// The current attempt is over.
    pub fn ended(&mut self, now: Duration) {
        if let Some(attempt) = self.current() {
            attempt.ended.get_or_insert(now);
        }
    }

    /// The attempt beside the current one answered first and takes its place.
    pub fn overtook(&mut self, now: Duration) {
        let Some(spans) = self.spans.as_mut() else { return };
        if let Some(attempt) = spans.attempts.get_mut(spans.current) {
            attempt.ended.get_or_insert(now);
            attempt.overtaken = attempt.error.is_none();
        }
        spans.current = spans.attempts.len().saturating_sub(1);
    }

    /// The attempt beside the current one is given up: it went wrong, or came too late.
    pub fn beside_ended(&mut self, error: Option<&'static str>, now: Duration) {
        let Some(spans) = self.spans.as_mut() else { return };
        let beside = spans.attempts.len().saturating_sub(1);
        if let Some(attempt) = spans.attempts.get_mut(beside).filter(|_| beside != spans.current) {
            attempt.ended.get_or_insert(now);
            attempt.error = error;
            attempt.overtaken = error.is_none();
        }
    }

    fn current(&mut self) -> Option<&mut AttemptSpan> {
        let spans = self.spans.as_mut()?;
        spans.attempts.get_mut(spans.current)
    }
}

/// The value of a field that may be there once at most.
fn only<'a>(headers: &'a Fields, name: &'a HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name);
    values.next().filter(|_| values.next().is_none())
}

fn joined(headers: &Fields) -> String {
    let name = TRACESTATE;
    let lines: Vec<&str> = headers.get_all(&name).filter_map(|line| str::from_utf8(line).ok()).collect();
    lines.join(",")
}

#[cfg(test)]
mod tests;
