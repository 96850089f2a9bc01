//! The recorder that adds every exchange to the figures of its rule and backend.

use std::sync::Arc;

use crate::stats::{Attempt, Class};
use crate::{Exchange, FailureKind, Protocol, Recorder, Registry, RuleStats};

/// The name under which requests are counted that no rule took.
pub const NO_RULE: &str = "(none)";

/// Adds exchanges to [`RuleStats`] and [`BackendStats`](crate::BackendStats).
///
/// A handful of relaxed adds an exchange, in the worker's own cache lines.
#[derive(Debug)]
pub struct Figures {
    no_rule: Arc<RuleStats>,
}

impl Figures {
    /// A recorder for `workers` workers; requests that no rule took are counted under `(none)`.
    pub fn new(registry: &Registry, workers: usize) -> Self {
        Self { no_rule: registry.rule(NO_RULE, workers) }
    }
}

impl Recorder for Figures {
    #[inline]
    fn record(&self, exchange: &Exchange<'_>) {
        let &Exchange { worker, status, bytes_in, bytes_out, duration, .. } = exchange;
        if exchange.protocol == Protocol::Http {
            let rule = exchange.rule.unwrap_or(&self.no_rule);
            rule.record(worker, Class::of(status), bytes_in, bytes_out, duration);
            if matches!(exchange.code, Some("request_timeout" | "client_stalled")) {
                rule.stalled(worker);
            }
        }
        if let Some(backend) = exchange.backend {
            let failure = exchange.code.and_then(FailureKind::of_code);
            let (latency, ended_at) = (exchange.upstream_latency, exchange.ended_at);
            backend.record(worker, &Attempt { status, failure, bytes_in, bytes_out, latency, ended_at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use std::time::{Duration, SystemTime};

    #[test]
    fn an_exchange_counts_for_its_rule_and_its_backend() {
        let registry = Registry::default();
        let figures = Figures::new(&registry, 2);
        let rule = registry.rule("api", 2);
        let backend = registry.backend("app", "http://10.0.0.1:80", 2);
        let ended_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        for worker in [0, 1, 1] {
            figures.record(&Exchange {
                rule: Some(&rule),
                backend: Some(&backend),
                bytes_in: 10,
                bytes_out: 1_000,
                duration: Duration::from_millis(20),
                upstream_latency: Some(Duration::from_millis(5)),
                ended_at,
                ..Exchange::new(worker)
            });
        }
        let rule = rule.totals();
        assert_eq!(rule.requests.of(Class::Success), 3);
        assert_eq!((rule.requests.bytes_in, rule.requests.bytes_out), (30, 3_000));
        assert_eq!((rule.duration.count(), rule.duration.sum()), (3, Duration::from_millis(60)));
        let backend = backend.totals();
        assert_eq!(backend.requests.total(), 3);
        assert_eq!(backend.latency.mean(), Some(Duration::from_millis(5)));
        assert_eq!((backend.last_status, backend.last_request), (Some(StatusCode::OK), Some(ended_at)));
        assert_eq!(backend.failed, 0);
    }

    #[test]
    fn a_broken_attempt_is_one_failure_with_its_kind() {
        let registry = Registry::default();
        let figures = Figures::new(&registry, 1);
        let backend = registry.backend("app", "http://10.0.0.1:80", 1);
        figures.record(&Exchange {
            backend: Some(&backend),
            status: StatusCode::GATEWAY_TIMEOUT,
            code: Some("upstream_timeout"),
            ..Exchange::new(0)
        });
        backend.record_retried(0, FailureKind::Connect, SystemTime::now());
        let totals = backend.totals();
        assert_eq!(totals.failures(FailureKind::Timeout), 1);
        assert_eq!(totals.failures(FailureKind::Connect), 1);
        assert_eq!((totals.failed, totals.requests.total(), totals.latency.count()), (2, 2, 0));
    }

    #[test]
    fn a_client_that_stood_still_is_counted_whether_or_not_it_had_its_head() {
        let registry = Registry::default();
        let figures = Figures::new(&registry, 1);
        let rule = registry.rule("api", 1);
        for code in [None, Some("request_timeout"), Some("client_stalled"), Some("upstream_timeout")] {
            figures.record(&Exchange { rule: Some(&rule), code, ..Exchange::new(0) });
        }
        assert_eq!(rule.stalls(), 2);
    }

    #[test]
    fn a_request_that_no_rule_took_is_counted_too() {
        let registry = Registry::default();
        let figures = Figures::new(&registry, 1);
        figures.record(&Exchange {
            status: StatusCode::NOT_FOUND,
            code: Some("no_rule"),
            ..Exchange::new(0)
        });
        assert_eq!(registry.rule(NO_RULE, 1).totals().requests.of(Class::ClientError), 1);
    }
}
