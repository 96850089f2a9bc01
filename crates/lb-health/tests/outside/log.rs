//! The lines a change leaves in the log: what operators and their scripts look for.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::monitor;
use lb_health::{BreakerConfig, FailureKind, HealthConfig, Watched};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Keeps each line as its level and fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {}={value:?}", field.name());
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

#[test]
fn each_change_is_one_line_with_the_fields_that_are_promised() {
    let lines = Lines::default();
    let broken = HealthConfig { passive: None, breaker: Some(BreakerConfig::default()), probe: None };
    let monitor = monitor("app", vec![("http://a", Watched::default()), ("http://b", Watched::from(broken))]);
    tracing::subscriber::with_default(lines.clone(), || {
        let now = Instant::now();
        for position in [0, 1] {
            (0..20).for_each(|_| monitor.failed(position, FailureKind::Timeout, now));
        }
        monitor.tick(now + Duration::from_secs(30));
        monitor.tick(now + Duration::from_secs(60));
        for _ in 0..3 {
            monitor.admit(1, now + Duration::from_secs(60)).unwrap().succeeded(&monitor, 1, now);
        }
    });
    let why = "5 requests in a row failed, the last by a timeout";
    assert_eq!(
        *lines.0.lock().unwrap(),
        [
            format!(r#"ERROR message=backend unhealthy component="proxy" backend="http://a" healthy=false error="{why}" upstream="app""#),
            format!(r#"ERROR message=circuit opened component="proxy" backend="http://b" healthy=true error="{why}" upstream="app""#),
            r#"INFO message=backend recovered component="proxy" backend="http://a" healthy=true error="" upstream="app""#.to_owned(),
            r#"INFO message=circuit half-open component="proxy" backend="http://b" healthy=true error="" upstream="app""#.to_owned(),
            r#"INFO message=circuit closed component="proxy" backend="http://b" healthy=true error="" upstream="app""#.to_owned(),
        ]
    );
}
