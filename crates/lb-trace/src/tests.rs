//! Traces as a collector's address and a full queue see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lb_h1::Fields;
use lb_observe::Trace;

use super::*;

fn config(endpoint: &str) -> TracesConfig {
    TracesConfig { endpoint: endpoint.parse().unwrap(), service_name: Some("edge".to_owned()), version: "1" }
}

#[test]
fn traces_are_taken_at_the_usual_path_unless_another_is_written() {
    for (endpoint, url) in [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("http://collector/api/otlp", "http://collector/api/otlp"),
    ] {
        assert_eq!(traces_url(&endpoint.parse().unwrap()), url);
    }
}

#[test]
fn the_configured_name_is_the_service() {
    let name = resource(&config("http://c")).get(&"service.name".into()).map(|name| name.to_string());
    assert_eq!(name.as_deref(), Some("edge"));
}

#[tokio::test]
async fn what_the_collector_never_answers_neither_blocks_nor_grows() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let traces = Traces::start(&config("http://c"), move |_| {
        count.fetch_add(1, SeqCst);
        std::future::pending()
    });
    let traces = traces.unwrap();
    let trace = Trace::begin(&Fields::default(), 1.0);
    for _ in 0..3 * QUEUE {
        traces.record(&Exchange { trace: Some(&trace), ..Exchange::new(0) });
    }
    assert_eq!(traces.queue.capacity(), 0);
    assert!(!traces.flush(Duration::from_millis(10)).await);
    assert!(asked.load(SeqCst) <= 1);
}

#[tokio::test]
async fn an_exchange_that_is_not_sampled_sends_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let traces = Traces::start(&config("http://c"), move |_| {
        count.fetch_add(1, SeqCst);
        async { Ok(Response::new(Bytes::new())) }
    });
    let traces = traces.unwrap();
    for sample in [0.0, 1.0] {
        let trace = Trace::begin(&Fields::default(), sample);
        traces.record(&Exchange { trace: Some(&trace), ..Exchange::new(0) });
        assert!(traces.flush(Duration::from_secs(10)).await);
        assert_eq!(asked.load(SeqCst), usize::from(sample > 0.5));
    }
}
