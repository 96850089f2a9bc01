//! The access log as its reader sees it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::Registry;

const SOON: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap();
        String::from_utf8(bytes.clone())
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn logged(config: AccessLogConfig, exchanges: &[Exchange<'_>]) -> Vec<Value> {
    let buffer = Buffer::default();
    let log = AccessLog::start(config, buffer.clone()).unwrap();
    exchanges.iter().for_each(|exchange| log.record(exchange));
    assert!(log.flush(SOON));
    assert_eq!(log.dropped(), 0);
    buffer.lines()
}

#[test]
fn a_line_has_every_field_in_order() {
    let registry = Registry::default();
    let rule = registry.rule("api", 1);
    let backend = registry.backend("app", "http://10.0.0.1:8080", 1);
    let lines = logged(
        AccessLogConfig::default(),
        &[Exchange {
            rule: Some(&rule),
            backend: Some(&backend),
            strategy: Some("weighted_round_robin"),
            method: "GET",
            path: "/users",
            request_id: "r-1",
            client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            bytes_in: 3,
            bytes_out: 1024,
            attempts: 1,
            ended_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_701_945_045_120),
            duration: Duration::from_micros(45_067),
            backend_active: 12,
            backend_healthy: true,
            ..Exchange::new(0)
        }],
    );
    let expected = json!({
        "time": "2023-12-07T10:30:45.120Z", "level": "info", "msg": "proxy request", "component": "proxy",
        "rule": "api", "backend": "http://10.0.0.1:8080", "method": "GET", "path": "/users", "status_code": 200,
        "duration_ms": 45.067, "backend_connections": 12, "backend_healthy": true,
        "load_balancing": "weighted_round_robin", "request_id": "r-1", "client_ip": "192.0.2.7", "bytes_in": 3,
        "bytes_out": 1024, "attempts": 1,
    });
    assert_eq!(lines, std::slice::from_ref(&expected));
    let order = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(order(&lines[0]), order(&expected));
}

#[test]
fn what_was_never_reached_is_null() {
    let line = &logged(
        AccessLogConfig::default(),
        &[Exchange { status: StatusCode::NOT_FOUND, code: Some("no_rule"), ..Exchange::new(0) }],
    )[0];
    for field in ["rule", "backend", "load_balancing", "backend_healthy"] {
        assert_eq!(line[field], Value::Null, "{field}");
    }
    assert_eq!((&line["level"], &line["error"]), (&json!("warn"), &json!("no_rule")));
}

#[test]
fn the_reason_is_the_most_telling_there_is() {
    let broken = Exchange {
        status: StatusCode::BAD_GATEWAY,
        code: Some("connect_failed"),
        error: Some("10.0.0.1:8080: connection refused"),
        ..Exchange::new(0)
    };
    let left = Exchange { aborted: true, ..Exchange::new(0) };
    let lines = logged(AccessLogConfig::default(), &[broken, left, Exchange::new(0)]);
    assert_eq!(lines[0]["error"], "10.0.0.1:8080: connection refused");
    assert_eq!(lines[0]["level"], "error");
    assert_eq!(lines[1]["error"], "the client left before the answer was complete");
    assert_eq!(lines[2].get("error"), None);
}

#[test]
fn a_client_cannot_write_lines_of_its_own() {
    let forged = "/x\",\"status_code\":200}\n{\"msg\":\"proxy request\"";
    let lines = logged(AccessLogConfig::default(), &[Exchange { path: forged, ..Exchange::new(0) }]);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["path"], forged);
}

#[test]
fn long_texts_are_clipped() {
    let path = format!("/{}", "é".repeat(20_000));
    let lines = logged(AccessLogConfig::default(), &[Exchange { path: &path, ..Exchange::new(0) }]);
    let logged = lines[0]["path"].as_str().unwrap();
    assert!(path.starts_with(logged) && logged.len() <= 2048 && logged.len() > 2040);
}

#[test]
fn fields_can_be_chosen() {
    let config =
        AccessLogConfig { fields: vec![Field::StatusCode, Field::Host], ..AccessLogConfig::default() };
    let lines = logged(config, &[Exchange { host: "example.com", ..Exchange::new(0) }]);
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["time", "level", "msg", "component", "status_code", "host"]);
}

#[test]
fn sampling_keeps_every_error() {
    let good = Exchange::new(0);
    let bad = Exchange { status: StatusCode::SERVICE_UNAVAILABLE, ..Exchange::new(0) };
    let torn = Exchange { code: Some("upstream_reset"), ..Exchange::new(0) };
    let config = AccessLogConfig { sample: 0.0, ..AccessLogConfig::default() };
    let lines = logged(config, &[good.clone(), bad, good, torn]);
    assert_eq!(
        lines.iter().map(|line| line["status_code"].as_u64().unwrap()).collect::<Vec<_>>(),
        [503, 200]
    );
}

#[test]
fn sampling_keeps_about_its_share() {
    let config = AccessLogConfig { sample: 0.3, queue: 20_000, ..AccessLogConfig::default() };
    let count = logged(config, &vec![Exchange::new(0); 10_000]).len();
    assert!((2_700..3_300).contains(&count), "{count} of 10000 at 0.3");
}

/// Writes nothing until it is let.
struct Gate(mpsc::Receiver<()>);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _opened = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stalled_output_drops_lines_and_counts_them() {
    let (open, gate) = mpsc::channel();
    let config = AccessLogConfig { queue: 10, ..AccessLogConfig::default() };
    let log = AccessLog::start(config, Gate(gate)).unwrap();
    let exchange = Exchange::new(0);
    for _ in 0..10_000 {
        log.record(&exchange);
    }
    assert!(log.dropped() > 9_000, "{}", log.dropped());
    assert!(!log.flush(Duration::from_millis(20)));
    drop(open);
    assert!(log.flush(SOON));
}

#[test]
fn dropping_the_log_writes_what_waits() {
    let buffer = Buffer::default();
    let log = AccessLog::start(AccessLogConfig::default(), buffer.clone()).unwrap();
    (0..100).for_each(|_| log.record(&Exchange::new(0)));
    drop(log);
    assert_eq!(buffer.lines().len(), 100);
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_that_could_not_be_written_are_counted() {
    let log = AccessLog::start(AccessLogConfig::default(), Full).unwrap();
    (0..3).for_each(|_| log.record(&Exchange::new(0)));
    assert!(log.flush(SOON));
    assert_eq!(log.dropped(), 3);
}

/// Has room for so many bytes more, which may change.
#[derive(Clone)]
struct Bounded(Buffer, Arc<Mutex<usize>>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut room = self.1.lock().unwrap();
        let count = bytes.len().min(*room);
        if count == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *room -= count;
        self.0.write(&bytes[..count])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_was_torn_spoils_no_other_and_only_what_is_lost_is_counted() {
    let output = Bounded(Buffer::default(), Arc::new(Mutex::new(1000)));
    let log = AccessLog::start(AccessLogConfig::default(), output.clone()).unwrap();
    let record = |times: u32| {
        (0..times).for_each(|_| log.record(&Exchange { path: "/whole", ..Exchange::new(0) }));
        assert!(log.flush(SOON));
    };
    record(10);
    record(1);
    *output.1.lock().unwrap() = usize::MAX;
    record(2);
    let said = String::from_utf8(output.0.0.lock().unwrap().clone()).unwrap();
    let whole = said.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
    assert_eq!(said.lines().count(), whole + 1, "one is torn: {said}");
    assert!(whole > 2, "{said}");
    assert_eq!(log.dropped(), 13 - whole as u64);
}
