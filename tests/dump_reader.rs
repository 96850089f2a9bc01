//! What is asked of a dump: the tutorials' lines for jq, and `gatewayd dump`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use lb_testkit::{Backend, Gateway, PATIENCE};
use serde_json::Value;

use crate::support::{cli, gateway, python, rule};

/// A dump of real traffic in `traffic_dumps`, in several files, written to its end: 30 times 200 from two backends, 5
/// times 404 and 5 times 502, of two clients' programs.
struct Dump {
    gateway: Gateway,
    backends: [Backend; 2],
}

impl Dump {
    fn new() -> Self {
        let backends = [Backend::echo("1"), Backend::echo("2")];
        let missing = Backend::fixed("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno");
        let mut down = Backend::echo("down");
        down.stop();
        let rules = [
            rule("name = \"missing\"\npath_prefix = \"/missing\"", &[&missing]),
            rule("name = \"down\"\npath_prefix = \"/down\"", &[&down]),
            rule("name = \"api\"", &[&backends[0], &backends[1]]),
        ];
        let dump = "[traffic_dump]\ninclude_body = true\nmax_file_size = 30000\n";
        let mut gateway = gateway(&format!("{dump}{}", rules.concat()));
        let mut client = gateway.client();
        for (count, path, agent) in [
            (20, "/a?x=1", "curl/8"),
            (10, "/b", "MyApp/1.0"),
            (5, "/missing", "curl/8"),
            (5, "/down", "curl/8"),
        ] {
            for _ in 0..count {
                client.request("GET", path, &[("User-Agent", agent), ("Authorization", "Bearer s3cret")]);
            }
        }
        client.send(
            "POST /it's HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\n@ 'a' $b",
        );
        assert_eq!(client.response().status, 200);
        drop(client);
        gateway.sigterm();
        assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
        Self { gateway, backends }
    }

    fn directory(&self) -> std::path::PathBuf {
        self.gateway.directory().join("traffic_dumps")
    }

    /// `gatewayd dump …` on it, which prints this.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let directory = self.directory().display().to_string();
        cli(&[&["dump"], arguments, &[directory.as_str()]].concat())
    }
}

/// What a line prints in bash, in this directory.
#[track_caller]
fn bash(directory: &Path, line: &str) -> Vec<String> {
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &format!("set -o pipefail; {line}")])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_tutorials_lines_for_jq_print_real_values() {
    let dump = Dump::new();
    let root = dump.gateway.directory();
    // Servex's advanced tutorial, over all files.
    let backends = bash(root, "jq -r '.backend' traffic_dumps/*.jsonl | sort | uniq -c");
    let count = |url: &str| {
        let line = backends
            .iter()
            .find(|line| line.ends_with(url))
            .unwrap_or_else(|| panic!("{url} in {backends:?}"));
        line.split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(count(&dump.backends[0].url()) + count(&dump.backends[1].url()), 31);
    let durations = bash(root, "jq -r '.duration' traffic_dumps/*.jsonl | sort -n");
    let milliseconds: Vec<u64> =
        durations.iter().map(|line| line.strip_suffix("ms").unwrap().parse().unwrap()).collect();
    assert!(milliseconds.len() == 41 && milliseconds.is_sorted(), "{durations:?}");
    let errors = bash(
        root,
        "jq 'select(.status_code >= 400)' traffic_dumps/*.jsonl | jq -s 'map(.status_code) | sort | unique | join(\",\")'",
    );
    assert_eq!(errors, ["\"404,502\""]);
    let errors = bash(root, "jq 'select(.status_code >= 400)' traffic_dumps/*.jsonl | jq -s length");
    assert_eq!(errors, ["10"]);
    // Servex's manual, over the second file.
    let second = dump.directory();
    let lines = bash(&second, "wc -l < traffic_dump_001.jsonl");
    let backends = bash(&second, "jq -r '.backend' traffic_dump_001.jsonl | sort | uniq -c");
    assert!(
        !backends.is_empty() && backends.iter().all(|line| line.contains("http://127.0.0.1:")),
        "{backends:?}"
    );
    let durations = bash(&second, "jq -r '.duration' traffic_dump_001.jsonl | sort -n");
    assert_eq!(durations.len().to_string(), lines[0]);
    bash(&second, "jq 'select(.status_code >= 400)' traffic_dump_001.jsonl");
    let agents = bash(
        &second,
        "jq -r '.request_headers[\"User-Agent\"][0]' traffic_dump_001.jsonl | sort | uniq -c | sort -nr",
    );
    assert!(agents.iter().any(|line| line.ends_with("curl/8") || line.ends_with("MyApp/1.0")), "{agents:?}");
    // What else its readers were promised.
    let slow = bash(root, "jq -c 'select(.duration_ms > 1000)' traffic_dumps/*.jsonl | wc -l");
    assert_eq!(slow, ["0"]);
    let asked = bash(root, "jq -r '.method + \" \" + .path' traffic_dumps/*.jsonl | sort | uniq -c");
    assert_eq!(asked, ["20 GET /a", "10 GET /b", "5 GET /down", "5 GET /missing", "1 POST /it's"]);
}

#[test]
fn show_prints_the_exchanges_that_are_asked_for() {
    let dump = Dump::new();
    let count = |arguments: &[&str]| dump.ask(&[&["show"], arguments].concat()).lines().count();
    assert_eq!(count(&[]), 41);
    assert_eq!(count(&["--rule", "api"]), 31);
    assert_eq!(count(&["--status", "4xx"]), 5);
    assert_eq!(count(&["--status", "404-502", "--rule", "down"]), 5);
    assert_eq!(count(&["--method", "post"]), 1);
    assert_eq!(count(&["--path", "/b"]), 10);
    assert_eq!(count(&["--since", "1h"]), 41);
    assert_eq!(count(&["--since", "2100-01-01T00:00:00Z"]), 0);
    let [first, second] = &dump.backends;
    let port = |backend: &Backend| format!(":{}", backend.address().port());
    assert_eq!(count(&["--backend", &port(first)]) + count(&["--backend", &port(second)]), 31);
    let line = dump.ask(&["show", "--path", "/down"]);
    assert!(line.contains(" 502 ") && line.contains("GET /down down http://"), "{line}");
    let json: Value = serde_json::from_str(dump.ask(&["show", "--json", "--method", "POST"]).trim()).unwrap();
    assert_eq!(json["path"], "/it's");
    assert_eq!(cli(&["dump", "show", "--status", "lots"]).status.code(), Some(64));
    assert_eq!(cli(&["dump", "show", "/not/there"]).status.code(), Some(1));
}

#[test]
fn stats_count_what_is_there() {
    let dump = Dump::new();
    let stats: Value = serde_json::from_str(&dump.ask(&["stats", "--json"])).unwrap();
    assert_eq!(stats["entries"], 41);
    assert_eq!(stats["statuses"], serde_json::json!({"200": 31, "404": 5, "502": 5}));
    assert_eq!(
        (&stats["rules"]["down"]["entries"], &stats["rules"]["down"]["errors"]),
        (&5.into(), &5.into())
    );
    assert!(stats["duration_ms"]["p99"].as_f64() > Some(0.0), "{stats}");
    let text = dump.ask(&["stats"]);
    assert!(text.starts_with("41 entries from 20") && text.contains("p99 ms"), "{text}");
}

#[test]
fn torn_and_foreign_lines_are_named_and_passed_over() {
    let dump = Dump::new();
    let newest = std::fs::read_dir(dump.directory()).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&newest).unwrap();
    file.write_all(b"{\"level\":\"info\"}\n\xff\xfe\n[1]\n{\"timestamp\":\"2026-").unwrap();
    let output = dump.run(&["show"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 41);
    let said = String::from_utf8(output.stderr).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        said.lines().filter(|line| line.contains(name) && line.starts_with("skipped")).count(),
        4,
        "{said}"
    );
}

#[test]
fn an_exported_command_asks_the_same_again() {
    let dump = Dump::new();
    let again = Backend::echo("again");
    let lines = dump.ask(&["export", "curl", "--base", &again.url(), "--method", "POST"]);
    bash(Path::new("/"), &lines);
    let asked = &again.requests()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/it's"));
    assert_eq!((asked.header("host"), asked.header("content-type")), (Some("h"), Some("text/plain")));
    assert_eq!(asked.text(), "@ 'a' $b");
    let redacted = dump.ask(&["export", "curl", "--path", "/b"]);
    assert!(redacted.contains("# left out, as it was redacted: Authorization"), "{redacted}");
    assert!(!redacted.contains("-H 'Authorization"), "{redacted}");
}

#[test]
fn the_archive_has_what_its_format_asks_for() {
    let dump = Dump::new();
    let archive: Value = serde_json::from_str(&dump.ask(&["export", "har"])).unwrap();
    let log = &archive["log"];
    assert_eq!(log["version"], "1.2");
    assert!(log["creator"]["name"].is_string() && log["creator"]["version"].is_string());
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 41);
    for entry in entries {
        check(entry, &["startedDateTime"], Value::is_string);
        check(entry, &["time", "timings/send", "timings/wait", "timings/receive"], Value::is_number);
        check(entry, &["cache"], Value::is_object);
        for message in ["request", "response"] {
            let of = |key: &str| format!("{message}/{key}");
            check(entry, &[&of("httpVersion")], |version| version == "HTTP/1.1");
            check(entry, &[&of("headersSize"), &of("bodySize")], Value::is_i64);
            check(entry, &[&of("cookies")], Value::is_array);
            let headers = entry[message]["headers"].as_array().unwrap();
            assert!(
                !headers.is_empty()
                    && headers.iter().all(|field| field["name"].is_string() && field["value"].is_string())
            );
        }
        check(entry, &["request/url"], |url| url.as_str().is_some_and(|url| url.starts_with("http://")));
        check(entry, &["request/method", "response/statusText", "response/redirectURL"], Value::is_string);
        check(entry, &["request/queryString"], Value::is_array);
        check(entry, &["response/status", "response/content/size"], Value::is_u64);
        check(entry, &["response/content/mimeType", "response/content/text"], Value::is_string);
    }
    let post = entries.iter().find(|entry| entry["request"]["method"] == "POST").unwrap();
    assert_eq!(post["request"]["postData"]["text"], "@ 'a' $b");
    assert_eq!(entries[0]["request"]["queryString"][0], serde_json::json!({"name": "x", "value": "1"}));
}

#[test]
fn haralyzer_reads_the_archive() {
    let dump = Dump::new();
    let archive = dump.directory().join("archive.har");
    std::fs::write(&archive, dump.ask(&["export", "har"])).unwrap();
    let script = "
import json, sys
from haralyzer import HarParser
har = HarParser(json.load(open(sys.argv[1])))
entries = [entry for page in har.pages for entry in page.entries]
print(json.dumps({
    'version': har.version, 'creator': har.creator['name'], 'entries': len(entries),
    'hosts': sorted({entry.request.host for entry in entries}),
    'statuses': sorted({entry.response.status for entry in entries}),
    'posts': [entry.request.raw_entry['postData']['text'] for entry in entries if entry.request.method == 'POST'],
    'times': all(entry.time >= 0 and entry.startTime.year > 2000 for entry in entries),
}))
";
    let output =
        Command::new(python("haralyzer==2.4.0")).arg("-c").arg(script).arg(&archive).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&read["version"], &read["creator"]), (&"1.2".into(), &"gatewayd".into()));
    assert_eq!(read["entries"], 41);
    assert_eq!(read["statuses"], serde_json::json!([200, 404, 502]), "{read}");
    assert_eq!(read["posts"], serde_json::json!(["@ 'a' $b"]));
    assert_eq!(read["times"], true);
}

#[track_caller]
fn check(entry: &Value, places: &[&str], holds: impl Fn(&Value) -> bool) {
    for place in places {
        let value = entry.pointer(&format!("/{place}"));
        assert!(value.is_some_and(&holds), "{place} is {value:?} in {entry}");
    }
}
