//! Distributed tracing: what backends are told, and what a collector gets.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_testkit::{Backend, Gateway, PATIENCE, Port, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use crate::support::{STATUS_LISTENER, echoed, gateway, launch, rule};
use crate::tls::Secure;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A collector that takes everything.
fn collector() -> Backend {
    Backend::fixed("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
}

fn tracing(collector: &Backend, more: &str) -> String {
    tracing_at(&collector.url(), more)
}

fn tracing_at(endpoint: &str, more: &str) -> String {
    format!("[tracing]\nendpoint = \"{endpoint}\"\n{more}\n")
}

/// The spans that a collector has by now, those that began first in front.
fn spans(collector: &Backend) -> Vec<Span> {
    let mut spans: Vec<_> = collector
        .requests()
        .iter()
        .inspect(|request| {
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/v1/traces"));
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        })
        .flat_map(|request| {
            ExportTraceServiceRequest::decode(&request.body[..]).expect("OTLP").resource_spans
        })
        .flat_map(|resource| {
            let attributes = attributes(&resource.resource.expect("a resource").attributes);
            assert_eq!(attributes["service.name"], "gatewayd");
            resource.scope_spans
        })
        .flat_map(|scope| scope.spans)
        .collect();
    spans.sort_by_key(|span| (span.start_time_unix_nano, span.kind));
    spans
}

#[track_caller]
fn spans_when(collector: &Backend, count: usize) -> Vec<Span> {
    eventually("the spans have come", PATIENCE, || spans(collector).len() >= count);
    let spans = spans(collector);
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Option<&Value>| match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => panic!("{other:?}"),
    };
    pairs
        .iter()
        .map(|pair| (pair.key.clone(), text(pair.value.as_ref().and_then(|value| value.value.as_ref()))))
        .collect()
}

fn of(span: &Span) -> BTreeMap<String, String> {
    attributes(&span.attributes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The trace, the span and the flags of a `traceparent`.
#[track_caller]
fn parts(traceparent: &str) -> (String, String, String) {
    let parts: Vec<_> = traceparent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{traceparent}") };
    assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{traceparent}");
    (trace.to_owned(), span.to_owned(), flags.to_owned())
}

#[track_caller]
fn passed(gateway: &Gateway, fields: &[(&str, &str)]) -> (String, String, String) {
    let echoed = echoed(&gateway.fetch("GET", "/", fields), "traceparent");
    assert_eq!(echoed.len(), 1, "{echoed:?}");
    parts(&echoed[0])
}

#[test]
fn without_tracing_trace_context_passes_as_it_came() {
    let backend = Backend::echo("a");
    for more in ["", "[tracing]\nsample = 1.0\n"] {
        let gateway = gateway(&format!("{}{more}", rule("", &[&backend])));
        for given in ["00-not-even-valid", &format!("00-{TRACE}-{SPAN}-01")] {
            let response =
                gateway.fetch("GET", "/", &[("traceparent", given), ("tracestate", "Not=valid=either")]);
            assert_eq!(echoed(&response, "traceparent"), [given]);
            assert_eq!(echoed(&response, "tracestate"), ["Not=valid=either"]);
        }
        assert!(echoed(&gateway.get("/"), "traceparent").is_empty(), "none is made");
    }
}

#[test]
fn a_trace_is_continued_with_a_span_of_our_own_for_the_backend() {
    let (collector, backend) = (collector(), Backend::echo("a"));
    let gateway =
        gateway(&format!("{}{}", rule("name = \"api\"", &[&backend]), tracing(&collector, "sample = 0.0")));
    let given = format!("00-{TRACE}-{SPAN}-01");
    let response = gateway.fetch(
        "GET",
        "/users?token=secret",
        &[("traceparent", &given), ("tracestate", "a=1, b@c=2"), ("X-Request-Id", "r-1")],
    );
    let (trace, attempt, flags) = parts(&echoed(&response, "traceparent")[0]);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"), "the caller's decision stands");
    assert_ne!(attempt, SPAN);
    assert_eq!(echoed(&response, "tracestate"), ["a=1, b@c=2"]);

    let spans = spans_when(&collector, 2);
    let [server, client] = &spans[..] else { panic!() };
    assert_eq!((server.kind, client.kind), (SpanKind::Server as i32, SpanKind::Client as i32));
    assert_eq!((hex(&server.trace_id), hex(&client.trace_id)), (TRACE.to_owned(), TRACE.to_owned()));
    assert_eq!(hex(&server.parent_span_id), SPAN);
    assert_eq!(client.parent_span_id, server.span_id);
    assert_eq!(hex(&client.span_id), attempt, "the backend got the attempt's span");
    assert_eq!(server.trace_state, "a=1,b@c=2");
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.start_time_unix_nano < client.end_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    assert_eq!((server.name.as_str(), client.name.as_str()), ("GET api", "GET"));

    let told = of(server);
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/users"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("server.address", "gateway.localhost"),
        ("client.address", "127.0.0.1"),
        ("gatewayd.rule", "api"),
        ("gatewayd.upstream", "api"),
        ("gatewayd.attempts", "1"),
        ("gatewayd.request_id", "r-1"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name} of {told:?}");
    }
    assert!(!format!("{spans:?}").contains("secret"), "the query is not told");
    let told = of(client);
    let port = backend.address().port().to_string();
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("gatewayd.backend", &backend.url()),
        ("gatewayd.attempt", "1"),
    ] {
        assert_eq!(told.get(name).map(String::as_str), Some(value), "{name} of {told:?}");
    }
    assert!(!told.contains_key("http.request.resend_count"));
}

#[test]
fn a_client_that_comes_by_tls_is_told_as_https() {
    let (collector, backend) = (collector(), Backend::echo("a"));
    let secure = Secure::start("", &format!("{}{}", rule("", &[&backend]), tracing(&collector, "")));
    assert!(secure.curl("/", &[]).status.success());
    let spans = spans_when(&collector, 2);
    assert_eq!(of(&spans[0]).get("url.scheme").map(String::as_str), Some("https"));
}

#[test]
fn whether_a_trace_is_sampled_is_decided_once() {
    let backend = Backend::echo("a");
    for (sample, flag) in [("0", "00"), ("1", "01")] {
        let collector = collector();
        let config =
            format!("{}{}", rule("", &[&backend]), tracing(&collector, &format!("sample = {sample}")));
        let mut gateway = gateway(&config);
        let mut traces = Vec::new();
        for _ in 0..20 {
            let (trace, _, flags) = passed(&gateway, &[]);
            assert_eq!(flags, flag);
            traces.push(trace);
        }
        traces.sort();
        traces.dedup();
        assert_eq!(traces.len(), 20, "each request begins a trace of its own");
        let (_, _, flags) = passed(&gateway, &[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]);
        assert_eq!(flags, "00", "the caller decided");
        gateway.sigterm();
        assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
        let expected = if flag == "01" { 40 } else { 0 };
        assert_eq!(spans(&collector).len(), expected, "all that was sampled is sent before the end");
    }
}

#[test]
fn what_is_malformed_begins_a_trace_and_loses_its_state() {
    let (collector, backend) = (collector(), Backend::echo("a"));
    let gateway = gateway(&format!("{}{}", rule("", &[&backend]), tracing(&collector, "")));
    let zero = "0".repeat(32);
    for given in [
        "nonsense".to_owned(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{zero}-{SPAN}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{SPAN}-1"),
    ] {
        let response = gateway.fetch("GET", "/", &[("traceparent", &given), ("tracestate", "a=1")]);
        let made = echoed(&response, "traceparent");
        assert_eq!(made.len(), 1);
        let (trace, _, flags) = parts(&made[0]);
        assert_ne!(trace, TRACE, "{given}");
        assert_eq!(flags, "01");
        assert!(echoed(&response, "tracestate").is_empty(), "{given}");
    }
    let given = format!("00-{TRACE}-{SPAN}-01");
    let (trace, ..) = passed(&gateway, &[("traceparent", &given), ("traceparent", &given)]);
    assert_ne!(trace, TRACE, "two parents are none");
    let future = format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like");
    let (trace, ..) = passed(&gateway, &[("traceparent", &future)]);
    assert_eq!(trace, TRACE, "of later versions what is known is read");
}

#[test]
fn a_state_that_is_malformed_is_dropped_alone() {
    let (collector, backend) = (collector(), Backend::echo("a"));
    let gateway = gateway(&format!("{}{}", rule("", &[&backend]), tracing(&collector, "")));
    let given = format!("00-{TRACE}-{SPAN}-01");
    let response = gateway.fetch("GET", "/", &[("traceparent", &given), ("tracestate", "Upper=1")]);
    assert_eq!(parts(&echoed(&response, "traceparent")[0]).0, TRACE);
    assert!(echoed(&response, "tracestate").is_empty());
    let fields = [("traceparent", given.as_str()), ("tracestate", "a=1"), ("tracestate", "b=2")];
    assert_eq!(echoed(&gateway.fetch("GET", "/", &fields), "tracestate"), ["a=1", "b=2"]);
}

#[test]
fn each_attempt_has_a_span_that_says_why_it_was_made() {
    let collector = collector();
    let bad = Backend::fixed("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let good = Backend::echo("good");
    let gone = Port::free();
    let gone_url = format!("http://{}", gone.address());
    let config = format!(
        "[[rules]]\nname = \"r\"\npassive = false\nretries = {{ on = [\"503\"] }}\n\
         backends = [\"{gone_url}\", \"{}\", \"{}\"]\n{}",
        bad.url(),
        good.url(),
        tracing(&collector, "")
    );
    let gateway = gateway(&config);
    let response = gateway.get("/");
    assert_eq!(response.backend(), "good");
    let spans = spans_when(&collector, 4);
    let server = &spans[0];
    assert_eq!(of(server)["gatewayd.attempts"], "3");
    assert!(spans[1..].iter().all(|span| span.parent_span_id == server.span_id));
    let told: Vec<_> = spans[1..]
        .iter()
        .map(|span| {
            let told = of(span);
            let get = |name: &str| told.get(name).cloned().unwrap_or_default();
            [
                "gatewayd.backend",
                "http.response.status_code",
                "gatewayd.retry.reason",
                "http.request.resend_count",
                "error.type",
            ]
            .map(get)
        })
        .collect();
    assert_eq!(
        told,
        [
            [gone_url.as_str(), "", "", "", "connect_failed"],
            [&bad.url(), "503", "connect", "1", "503"],
            [&good.url(), "200", "status", "2", ""],
        ]
    );
    let is_error = |span: &Span| span.status.as_ref().is_some_and(|s| s.code == StatusCode::Error as i32);
    assert_eq!(spans.iter().map(is_error).collect::<Vec<_>>(), [false, true, true, false]);
    assert!(spans[1].end_time_unix_nano <= spans[2].start_time_unix_nano, "one after the other");

    // What each backend was told is the attempt's own span.
    for (backend, span) in [(&bad, &spans[2]), (&good, &spans[3])] {
        let (_, told, _) = parts(backend.requests()[0].header("traceparent").expect("a parent"));
        assert_eq!(told, hex(&span.span_id));
    }
}

#[test]
fn two_backends_that_are_asked_at_once_have_a_span_each() {
    let (collector, silent, good) = (collector(), Backend::silent(), Backend::echo("good"));
    let lines = "passive = false\ntimeout = \"60s\"\nhedge = { after = \"50ms\" }";
    let gateway = gateway(&format!("{}{}", rule(lines, &[&silent, &good]), tracing(&collector, "")));
    let response = gateway.get("/");
    assert_eq!(response.backend(), "good");
    let spans = spans_when(&collector, 3);
    let (first, second) = (of(&spans[1]), of(&spans[2]));
    assert_eq!(
        (&first["gatewayd.backend"], &first["gatewayd.overtaken"]),
        (&silent.url(), &"true".to_owned())
    );
    assert!(!first.contains_key("error.type"));
    assert_eq!(
        (&second["gatewayd.backend"], &second["gatewayd.retry.reason"]),
        (&good.url(), &"hedge".to_owned())
    );
    assert_eq!(second["http.response.status_code"], "200");
    assert!(spans[2].start_time_unix_nano < spans[1].end_time_unix_nano, "both at once");
    let (_, told, _) = parts(&echoed(&response, "traceparent")[0]);
    assert_eq!(told, hex(&spans[2].span_id));
}

#[test]
fn what_ends_without_a_backend_has_a_span_too() {
    let (collector, backend) = (collector(), Backend::echo("a"));
    let gateway = gateway(&format!("{}{}", rule("path = \"/known\"", &[&backend]), tracing(&collector, "")));
    assert_eq!(gateway.get("/unknown").status, 404);
    assert_eq!(gateway.fetch("BREW", "/unknown", &[]).status, 404);
    let spans = spans_when(&collector, 2);
    assert_eq!(spans[0].name, "GET");
    let told = of(&spans[0]);
    assert_eq!(
        (told["http.response.status_code"].as_str(), told["gatewayd.code"].as_str()),
        ("404", "no_rule")
    );
    assert!(spans[0].status.as_ref().is_none_or(|status| status.code == StatusCode::Unset as i32));
    assert!(spans[0].parent_span_id.is_empty());
    let told = of(&spans[1]);
    assert_eq!(told["http.request.method"], "_OTHER");
    assert_eq!(told["http.request.method_original"], "BREW");
    assert_eq!(spans[1].name, "HTTP");
}

#[test]
fn a_client_that_leaves_ends_its_spans() {
    let (collector, silent) = (collector(), Backend::silent());
    let gateway = gateway(&format!("{}{}", rule("timeout = \"60s\"", &[&silent]), tracing(&collector, "")));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the backend is asked", PATIENCE, || silent.open_connections() == 1);
    drop(client);
    let spans = spans_when(&collector, 2);
    for span in &spans {
        assert_eq!(of(span)["error.type"], "client_gone");
    }
    assert_eq!(of(&spans[0])["http.response.status_code"], "499");
}

#[test]
fn the_access_log_names_the_trace() {
    let (collector, backend) = (collector(), Backend::echo("a"));
    let log = "[access_log]\nenabled = true\n";
    let gateway = gateway(&format!("{}{log}{}", rule("", &[&backend]), tracing(&collector, "sample = 0.0")));
    let (trace, ..) = passed(&gateway, &[]);
    let line = gateway.log_line("of the request", |line| line["msg"] == "proxy request");
    assert_eq!(line["trace_id"], trace);
}

#[test]
fn a_collector_that_is_not_there_delays_nobody_and_is_said_once() {
    let (gone, backend) = (Port::free(), Backend::echo("a"));
    let endpoint = tracing_at(&format!("http://{}", gone.address()), "");
    let mut gateway = gateway(&format!("{STATUS_LISTENER}{}{endpoint}", rule("", &[&backend])));
    for _ in 0..50 {
        assert_eq!(gateway.get("/").status, 200);
    }
    let is_said = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|message| message.starts_with("traces do not reach"))
    };
    gateway.log_line("of the collector", is_said);
    let dropped = || {
        let text = gateway.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix("gatewayd_spans_dropped_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("the metric")
    };
    eventually("what is lost is counted", PATIENCE, || dropped() >= 100);
    assert_eq!(gateway.log().iter().filter(|line| is_said(line)).count(), 1);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn a_collector_that_never_answers_delays_neither_requests_nor_the_end() {
    let (stuck, backend) = (Backend::silent(), Backend::echo("a"));
    let mut gateway = gateway(&format!("{}{}", rule("", &[&backend]), tracing(&stuck, "")));
    eventually("the collector is asked", PATIENCE, || {
        assert_eq!(gateway.get("/").status, 200);
        stuck.open_connections() > 0
    });
    for _ in 0..50 {
        assert_eq!(gateway.get("/").status, 200);
    }
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)), Some(0));
}

#[test]
fn an_endpoint_that_is_none_is_refused_with_its_place() {
    for (endpoint, said) in [
        ("ftp://collector:4318", "is not the URL of a collector"),
        ("collector:4318", "is not the URL of a collector"),
    ] {
        let launch = launch().config(&format!(
            "[[rules]]\nbackends = [\"127.0.0.1:1\"]\n[tracing]\nendpoint = \"{endpoint}\"\n"
        ));
        let output = launch.args(&["check"]).run();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{errors}");
        assert!(errors.contains(said) && errors.contains(":4:"), "{errors}");
    }
}
