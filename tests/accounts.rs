//! Everything that counts, held against what was sent: metrics, pages, live events, access log and dump tell one story.

use std::fs;
use std::process::Command;

use lb_testkit::{Backend, Gateway, PATIENCE, eventually, fetch};
use serde_json::Value;

use crate::support::{cli, gateway, rule, urls};

const GOOD: u64 = 3000;
const BAD: u64 = 40;

/// So many requests as h2load sends them.
#[track_caller]
fn send(gateway: &Gateway, path: &str, requests: u64, expect: &str) {
    let url = format!("http://{}{path}", gateway.address());
    let output = Command::new("h2load")
        .args(["--h1", "-c", "16", "-t", "1", "-n", &requests.to_string(), &url])
        .output()
        .expect("h2load is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(expect), "{said}");
}

/// A page of the admin address.
fn page(gateway: &Gateway, path: &str) -> Value {
    fetch(gateway.address_of("admin"), "GET", path, &[]).json()
}

/// A sum over all backends of `/proxy-status`.
fn over_backends(status: &Value, upstream: &str, figure: &str) -> u64 {
    let upstreams = status["upstreams"].as_array().into_iter().flatten();
    let backends =
        upstreams.filter(|entry| entry["name"] == upstream).flat_map(|it| it["backends"].as_array());
    backends.flatten().filter_map(|backend| backend[figure].as_u64()).sum()
}

/// A sample of `/metrics`.
fn sample(gateway: &Gateway, series: &str) -> Option<f64> {
    let text = fetch(gateway.address_of("admin"), "GET", "/metrics", &[]).text();
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// The lines of a dump or a log for which this holds.
fn count(lines: &[Value], key: &str, value: impl Into<Value>) -> u64 {
    let value = value.into();
    lines.iter().filter(|line| line[key] == value).count() as u64
}

#[test]
fn every_account_agrees_with_what_was_sent() {
    let (a, b, broken) = (Backend::echo("a"), Backend::echo("b"), Backend::reset_mid_head());
    let gateway = gateway(&format!(
        "access_log = true\n[traffic_dump]\ndirectory = \"{{dir}}/dumps\"\n\
         [[rules]]\nname = \"app\"\npath_prefix = \"/app\"\nbackends = [{}]\n{}[admin]\naddress = \"{{admin}}\"\n",
        urls(&[&a, &b]),
        rule(
            "name = \"broken\"\npath_prefix = \"/broken\"\nretries = { attempts = 0 }\npassive = false",
            &[&broken]
        ),
    ));
    send(&gateway, "/app", GOOD, &format!("{GOOD} 2xx, 0 3xx, 0 4xx, 0 5xx"));
    send(&gateway, "/broken", BAD, &format!("0 2xx, 0 3xx, 0 4xx, {BAD} 5xx"));

    #[expect(clippy::cast_precision_loss, reason = "small")]
    for (rule, backends, class, requests) in [("app", 2, "2xx", GOOD), ("broken", 1, "5xx", BAD)] {
        let series = format!("gatewayd_requests_total{{rule=\"{rule}\",code=\"{class}\"}}");
        assert_eq!(sample(&gateway, &series), Some(requests as f64), "{series}");
        let series = format!("gatewayd_request_duration_seconds_count{{rule=\"{rule}\"}}");
        assert_eq!(sample(&gateway, &series), Some(requests as f64), "{series}");
        let of_backends = page(&gateway, "/metrics?format=json")["targets"].clone();
        let targets: Vec<&Value> =
            of_backends.as_array().into_iter().flatten().filter(|it| it["upstream"] == rule).collect();
        assert_eq!(targets.len(), backends);
        assert_eq!(targets.iter().filter_map(|it| it["total_requests"].as_u64()).sum::<u64>(), requests);
    }
    let status = page(&gateway, "/proxy-status");
    assert_eq!(over_backends(&status, "app", "total_requests"), GOOD);
    assert_eq!(over_backends(&status, "broken", "failed_requests"), BAD);
    assert_eq!(page(&gateway, "/ping")["total_requests"], GOOD + BAD);

    let admin = gateway.address_of("admin").to_string();
    let live = cli(&["top", "--once", "--json", "--admin", &admin]);
    let live: Value = serde_json::from_slice(&live.stdout).unwrap();
    assert_eq!(live["totals"]["requests"], GOOD + BAD);
    assert_eq!(live["totals"]["failed"], BAD);

    let dumped = || -> Vec<Value> {
        let files = fs::read_dir(gateway.directory().join("dumps")).unwrap().flatten();
        let text: String = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let logged = || -> Vec<Value> {
        gateway.log().into_iter().filter(|line| line["msg"] == "proxy request").collect()
    };
    eventually("all is written", PATIENCE, || {
        let all = usize::try_from(GOOD + BAD).unwrap();
        dumped().len() >= all && logged().len() >= all
    });
    for lines in [dumped(), logged()] {
        assert_eq!((count(&lines, "rule", "app"), count(&lines, "rule", "broken")), (GOOD, BAD));
        assert_eq!((count(&lines, "status_code", 200), count(&lines, "status_code", 502)), (GOOD, BAD));
        assert_eq!(
            (count(&lines, "backend", a.url()), count(&lines, "backend", b.url())),
            (GOOD / 2, GOOD / 2)
        );
    }
    for dropped in ["gatewayd_dump_dropped_total", "gatewayd_access_log_dropped_total"] {
        assert_eq!(sample(&gateway, dropped), Some(0.0), "{dropped}");
    }
}
