//! The traffic dump, as those see it who read it: with jq, with a pager, with the questions that the tutorials ask.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use lb_testkit::{Backend, Gateway, PATIENCE, eventually};
use serde_json::Value;

use crate::support::{gateway, launch, rule};

/// The lines of a dump once there are so many.
#[track_caller]
fn entries(directory: &Path, count: usize) -> Vec<Value> {
    let mut entries = Vec::new();
    eventually("the entries are on disk", PATIENCE, || {
        entries = lines(directory);
        entries.len() >= count
    });
    assert_eq!(entries.len(), count, "{entries:?}");
    entries
}

/// The files of a dump, oldest first.
fn files(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).map(|files| files.flatten().map(|file| file.path()).collect());
    let mut files: Vec<PathBuf> = found.unwrap_or_default();
    files.sort();
    files
}

/// The whole lines of a dump.
fn lines(directory: &Path) -> Vec<Value> {
    let text: String = files(directory).iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Everything a gateway dumps, into `dumps` in its own directory.
fn dumping(keys: &str, rules: &str) -> Gateway {
    gateway(&format!("[traffic_dump]\ndirectory = \"{{dir}}/dumps\"\n{keys}\n{rules}"))
}

fn dumps(gateway: &Gateway) -> PathBuf {
    gateway.directory().join("dumps")
}

#[test]
fn an_entry_tells_the_whole_exchange() {
    let backend = Backend::fixed("HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Made: yes\r\n\r\nhello");
    let gateway = dumping("include_body = true", &rule("name = \"api\"", &[&backend]));
    let mut client = gateway.client();
    let head = "POST /users?x=1 HTTP/1.1\r\nHost: api.example\r\nuser-agent: MyApp/1.0\r\nX-Request-Id: r-1\r\nContent-Length: 4\r\n\r\n";
    client.send(format!("{head}ping"));
    assert_eq!(client.response().status, 201);
    let entry = &entries(&dumps(&gateway), 1)[0];
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    assert_eq!((text("rule"), text("backend")), ("api".to_owned(), backend.url()));
    assert_eq!((text("client_ip"), text("request_id")), ("127.0.0.1".to_owned(), "r-1".to_owned()));
    assert_eq!(
        (text("method"), text("path"), text("host")),
        ("POST".into(), "/users".into(), "api.example".into())
    );
    assert_eq!(text("raw_request"), format!("{head}ping"), "as it came, byte for byte");
    assert_eq!(entry["request_headers"]["User-Agent"][0], "MyApp/1.0");
    assert_eq!(entry["status_code"], 201);
    assert_eq!(entry["response_headers"]["X-Made"][0], "yes");
    assert_eq!(entry["response_headers"]["X-Request-Id"][0], "r-1");
    assert!(text("raw_response").starts_with("HTTP/1.1 201 Created\r\n"), "{entry}");
    assert!(text("raw_response").ends_with("\r\n\r\nhello"), "{entry}");
    assert!(text("duration").ends_with("ms") && entry["duration_ms"].as_f64() >= Some(0.0), "{entry}");
    assert!(text("timestamp").starts_with("20") && text("timestamp").ends_with('Z'), "{entry}");
    assert_eq!((&entry["request_truncated"], &entry["response_truncated"]), (&false.into(), &false.into()));
}

#[test]
fn bodies_in_chunks_are_kept_as_what_they_carry_and_cut_at_the_limit() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let backend = Backend::fixed(chunked);
    let gateway = dumping("include_body = true\nmax_body_size = 8", &rule("", &[&backend]));
    let mut client = gateway.client();
    client.send(
        "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    );
    assert_eq!(client.response().text(), "hello world");
    let entry = &entries(&dumps(&gateway), 1)[0];
    let body = |key: &str| entry[key].as_str().unwrap().split("\r\n\r\n").nth(1).unwrap().to_owned();
    assert_eq!((body("raw_request"), &entry["request_truncated"]), ("abcdef".to_owned(), &false.into()));
    assert_eq!((body("raw_response"), &entry["response_truncated"]), ("hello wo".to_owned(), &true.into()));
}

#[test]
fn bodies_are_left_out_unless_they_are_asked_for() {
    let backend = Backend::echo("a");
    let gateway = dumping("", &rule("", &[&backend]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nsecret");
    assert_eq!(client.response().status, 200);
    let entry = &entries(&dumps(&gateway), 1)[0];
    assert!(entry["raw_request"].as_str().unwrap().ends_with("\r\n\r\n"), "{entry}");
    assert!(entry["raw_response"].as_str().unwrap().ends_with("\r\n\r\n"), "{entry}");
}

#[test]
fn secrets_reach_no_file_and_files_are_for_their_owner_alone() {
    let backend = Backend::fixed(
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nSet-Cookie: s3cret\r\nContent-Type: application/json\r\n\r\n{\"password\":\"s3cret\"",
    );
    let keys = "include_body = true\nredact = [\"X-Api-Key\", \"$.password\", \"token\"]";
    let gateway = dumping(keys, &rule("", &[&backend]));
    let body = r#"{"user":"u","password":"s3cret"}"#;
    let mut client = gateway.client();
    client.send(format!(
        "POST /?token=s3cret HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer s3cret\r\nCookie: sid=s3cret\r\n\
         Proxy-Authorization: s3cret\r\nx-api-key: s3cret\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.response().status, 200);
    let entry = entries(&dumps(&gateway), 1).remove(0);
    assert!(!entry.to_string().contains("s3cret"), "{entry}");
    assert!(
        entry["raw_request"].as_str().unwrap().ends_with(r#"{"user":"u","password":"[redacted]"}"#),
        "{entry}"
    );
    // Half a document in which nothing can be found for certain is left out.
    assert_eq!(entry["response_withheld"], true, "{entry}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dumps(&gateway)), mode(&files(&dumps(&gateway))[0])), (0o700, 0o600));
}

#[test]
fn secrets_in_parts_events_and_addresses_reach_no_file_either() {
    let events = "data: {\"password\":\"s3cret\",\"n\":1}\n\n";
    let backend = Backend::fixed(format!(
        "HTTP/1.1 200 OK\r\nLocation: /next?token=s3cret&x=1\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{events}",
        events.len()
    ));
    let keys = "include_body = true\nredact = [\"$.password\", \"token\"]";
    let gateway = dumping(keys, &rule("", &[&backend]));
    let body = "--b\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n\
                {\"password\":\"s3cret\",\"kept\":true}\r\n--b--\r\n";
    let mut client = gateway.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nReferer: https://a.example/?token=s3cret\r\nContent-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.response().status, 200);
    let entry = entries(&dumps(&gateway), 1).remove(0).to_string();
    assert!(!entry.contains("s3cret"), "{entry}");
    for kept in ["kept", "https://a.example/?token=[redacted]", "/next?token=[redacted]&x=1", "data:{"] {
        assert!(entry.contains(kept), "{kept}: {entry}");
    }
}

#[test]
fn a_rule_says_for_itself_whether_and_where() {
    let backend = Backend::echo("a");
    let rules = [
        rule("name = \"off\"\npath_prefix = \"/off\"\ntraffic_dump = false", &[&backend]),
        rule(
            "name = \"own\"\npath_prefix = \"/own\"\ntraffic_dump = { directory = \"{dir}/own\" }",
            &[&backend],
        ),
        rule("name = \"none\"\npath_prefix = \"/none\"\ntraffic_dump = { sample_rate = 0 }", &[&backend]),
        rule("name = \"rest\"", &[&backend]),
    ];
    let mut gateway = dumping("", &rules.concat());
    for path in ["/off", "/own", "/none", "/rest"] {
        assert_eq!(gateway.get(path).status, 200);
    }
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    let rules = |directory: &str| -> Vec<Value> {
        lines(&gateway.directory().join(directory)).into_iter().map(|entry| entry["rule"].clone()).collect()
    };
    assert_eq!((rules("dumps"), rules("own")), (vec!["rest".into()], vec!["own".into()]));
}

#[test]
fn a_rule_is_dumped_where_nothing_else_is() {
    let backend = Backend::echo("a");
    let lines = "name = \"on\"\npath_prefix = \"/on\"\ntraffic_dump = true";
    let gateway = gateway(&[rule(lines, &[&backend]), rule("name = \"rest\"", &[&backend])].concat());
    for path in ["/rest", "/on", "/rest"] {
        gateway.get(path);
    }
    // The default directory is below the one it was started in.
    let entries = entries(&gateway.directory().join("traffic_dumps"), 1);
    assert_eq!(entries[0]["rule"], "on");
}

#[test]
fn answers_of_the_gateways_own_and_exchanges_that_broke_off_are_entries_too() {
    let mut down = Backend::echo("down");
    down.stop();
    let broken = Backend::once("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    let rules = [rule("path_prefix = \"/down\"", &[&down]), rule("", &[&broken])].concat();
    let gateway = dumping("include_body = true", &rules);
    assert_eq!(gateway.get("/down").status, 502);
    gateway.raw("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let entries = entries(&dumps(&gateway), 2);
    // Two workers end them in no certain order.
    let of = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap();
    let (own, broken) = (of("/down"), of("/"));
    assert_eq!((&own["status_code"], &own["backend"]), (&502.into(), &down.url().into()));
    assert!(own["raw_response"].as_str().unwrap().contains("connect_failed"), "{own}");
    assert_eq!(broken["aborted"], true);
    assert!(broken["raw_response"].as_str().unwrap().ends_with("half"), "{broken}");
}

#[test]
fn nothing_is_lost_at_the_end_and_a_restart_goes_on_within_the_bound() {
    let backend = Backend::echo("a");
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let config = format!(
        "[traffic_dump]\ndirectory = \"{}\"\nmax_file_size = 4000\nmax_files = 3\n{}",
        kept.display(),
        rule("", &[&backend])
    );
    let mut highest = None;
    for round in 0..3 {
        let mut gateway = gateway(&config);
        let mut client = gateway.client();
        for request in 0..20 {
            assert_eq!(client.get(&format!("/{round}/{request}")).status, 200);
        }
        drop(client);
        gateway.sigterm();
        assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
        assert_eq!(lines(&kept).last().unwrap()["path"], format!("/{round}/19"));
        let files = files(&kept);
        assert!(files.len() <= 3 && files.last() > highest.as_ref(), "{files:?}");
        assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() <= 4000), "{files:?}");
        highest = files.last().cloned();
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused_by_check_and_by_run() {
    let backend = Backend::echo("a");
    for command in ["check", "run"] {
        let launch = launch();
        let file = launch.directory().join("gatewayd.toml");
        let config =
            format!("[traffic_dump]\ndirectory = \"{}/below\"\n{}", file.display(), rule("", &[&backend]));
        fs::write(&file, config).unwrap();
        let file = file.display().to_string();
        let arguments: &[&str] = if command == "run" { &["run", "-c", &file] } else { &["check", &file] };
        let output = launch.args(arguments).run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(
            said.contains("traffic dump cannot be written") && said.contains("gatewayd.toml:2:"),
            "{said}"
        );
    }
}

#[test]
fn a_directory_that_vanishes_costs_nobody_an_answer() {
    let backend = Backend::echo("a");
    let gateway = dumping("", &rule("", &[&backend]));
    assert_eq!(gateway.get("/before").status, 200);
    entries(&dumps(&gateway), 1);
    fs::remove_dir_all(dumps(&gateway)).unwrap();
    fs::write(dumps(&gateway), "in the way").unwrap();
    assert_eq!(gateway.get("/lost").status, 200);
    gateway.log_line("it is said", |line| line["message"].as_str().is_some_and(|said| said.contains("dump")));
    fs::remove_file(dumps(&gateway)).unwrap();
    assert_eq!(gateway.get("/after").status, 200);
    assert_eq!(entries(&dumps(&gateway), 1)[0]["path"], "/after");
}

/// A file system of 64 KiB, given back when dropped; nothing where this may not be done.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: &Path) -> Option<Self> {
        let place = directory.join("small");
        fs::create_dir(&place).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&place)
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_costs_entries_that_are_counted_and_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("left out: mounting a small disk needs root");
        return;
    };
    let backend = Backend::echo("a");
    let gateway = gateway(&format!(
        "{}[traffic_dump]\ndirectory = \"{}\"\n{}",
        crate::support::STATUS_LISTENER,
        disk.0.display(),
        rule("", &[&backend])
    ));
    let mut client = gateway.client();
    for request in 0..300 {
        assert_eq!(client.get(&format!("/{request}")).status, 200);
    }
    let dropped = || {
        let metrics = gateway.get("/metrics").text();
        let line = metrics.lines().find(|line| line.starts_with("gatewayd_dump_dropped_total")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    eventually("every entry is written or counted", PATIENCE, || {
        lines(&disk.0).len() + dropped() == 300 && dropped() > 0
    });
    let said = gateway.log().iter().filter(|line| line["level"] == "ERROR").count();
    assert_eq!(said, 1, "it is said once: {:?}", gateway.log());
    drop(gateway);
}

#[test]
fn a_disk_that_stands_still_delays_no_answer_and_its_drops_are_counted() {
    const REQUESTS: usize = 12_000;
    let backend = Backend::echo("a");
    let launch = launch();
    let dumps = launch.directory().join("dumps");
    fs::create_dir(&dumps).unwrap();
    // A pipe that nobody reads: it takes 64 KiB, and whoever writes more waits.
    let pipe = dumps.join("traffic_dump_000.jsonl");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let config = format!(
        "{}[traffic_dump]\ndirectory = \"{{dir}}/dumps\"\n{}",
        crate::support::STATUS_LISTENER,
        rule("", &[&backend])
    );
    let gateway = launch.config(&config).start();
    let url = format!("http://{}/", gateway.address());
    let h2load = ["--h1", "-c", "16", "-t", "1", "-n", &REQUESTS.to_string(), &url].map(str::to_owned);
    let output = Command::new("h2load").args(h2load).output().expect("h2load is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("{REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{said}");
    let dropped = || {
        let metrics = gateway.get("/metrics").text();
        let value = metrics.lines().find_map(|line| line.strip_prefix("gatewayd_dump_dropped_total "));
        value.unwrap().parse::<usize>().unwrap()
    };
    let lost = dropped();
    assert!(lost > 0, "nothing was dropped: the pipe has not stood still");

    // It moves again, and what has waited is written.
    let mut reader = BufReader::new(fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap());
    let mut line = String::new();
    for number in 0..REQUESTS - lost {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let entry: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{number}: {error}: {line}"));
        assert_eq!(entry["status_code"], 200);
    }
    assert_eq!(dropped(), lost);
}
