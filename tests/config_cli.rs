//! The command line and the configuration: exit codes, every bad input met with its place and its remedy, and what
//! beats what.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lb_testkit::{Backend, Launch, PATIENCE, Response, eventually};

use crate::support::{STATUS_LISTENER, cli, launch, rule, urls};

const GOOD: &str = "[[rules]]\nbackends = [\"127.0.0.1:8081\", \"127.0.0.1:8082\"]\n";

/// Both streams, as a person at a terminal sees them.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `gatewayd check` over a file of this name and text.
fn check(name: &str, text: &str, more: &[&str]) -> Output {
    let path = format!("{{dir}}/{name}");
    let arguments = [&["check", path.as_str()], more].concat();
    launch().config_file(name, text).args(&arguments).run()
}

/// The configuration is refused with 78, by `check` and by `run` alike, and each of the words is said.
#[track_caller]
fn refused(toml: &str, words: &[&str]) {
    let checked = check("gatewayd.toml", toml, &[]);
    let ran = launch().config_file("gatewayd.toml", toml).run();
    for (command, output) in [("check", checked), ("run", ran)] {
        let said = said(&output);
        assert_eq!(output.status.code(), Some(78), "{command} of\n{toml}\n{said}");
        for word in words {
            assert!(said.contains(word), "{command} does not say {word:?} of\n{toml}\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn good_is_0_usage_is_64_configuration_is_78() {
    let code = |arguments: &[&str]| cli(arguments).status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&["run", "--help"]), Some(0));
    assert_eq!(code(&["--no-such-flag"]), Some(64));
    assert_eq!(code(&["no-such-command"]), Some(64));
    assert_eq!(code(&["run", "-c"]), Some(64));
    assert_eq!(code(&["proxy"]), Some(64), "without --to");
    assert_eq!(code(&["check", "no-such-file.toml"]), Some(78));
    assert_eq!(code(&["run", "-c", "no-such-file.toml"]), Some(78));
    assert_eq!(check("gatewayd.toml", GOOD, &[]).status.code(), Some(0));
    // As `run` is told it.
    assert_eq!(code(&["check", "-c", "no-such-file.toml"]), Some(78));
    let told = launch().config_file("gatewayd.toml", GOOD).args(&["check", "-c", "{dir}/gatewayd.toml"]);
    assert_eq!(told.run().status.code(), Some(0));
}

#[test]
fn the_version_and_every_command_are_told() {
    assert!(said(&cli(&["--version"])).starts_with("gatewayd "));
    let help = said(&cli(&["--help"]));
    for command in ["run", "demo", "proxy", "backend", "check"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn an_unknown_key_is_met_with_the_one_that_was_meant() {
    refused(
        "[[rules]]\npath_prefx = \"/a\"\nbackends = [\"127.0.0.1:1\"]\n",
        &["path_prefx", "gatewayd.toml:2", "path_prefix"],
    );
    refused("[sever]\nworkers = 1\n", &["sever", "gatewayd.toml:1", "server"]);
}

#[test]
fn a_wrong_type_is_met_with_the_right_one() {
    refused(&format!("global_timeout = true\n{GOOD}"), &["global_timeout", "gatewayd.toml:1"]);
    refused(&format!("global_timeout = \"10 parsecs\"\n{GOOD}"), &["10 parsecs", "gatewayd.toml:1"]);
    refused(
        "[server]\nworkers = \"many\"\n[[rules]]\nbackends = [\"127.0.0.1:1\"]\n",
        &["many", "gatewayd.toml:2"],
    );
    refused("[[rules]]\nbackends = \"127.0.0.1:1\"\nmethods = 5\n", &["methods", "gatewayd.toml:3"]);
}

#[test]
fn an_unknown_strategy_is_met_with_the_good_ones() {
    refused(
        "[[rules]]\nload_balancing = \"least_conections\"\nbackends = [\"127.0.0.1:1\"]\n",
        &["least_conections", "gatewayd.toml:2", "least_connections"],
    );
}

#[test]
fn a_bad_url_is_shown() {
    for url in ["ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://a b/", "http://x/?q=1"] {
        refused(&format!("[[rules]]\nbackends = [\"{url}\"]\n"), &[url, "gatewayd.toml:2"]);
    }
}

#[test]
fn a_duplicate_name_is_shown_with_the_first() {
    let two = "[[rules]]\nname = \"twin\"\nbackends = [\"127.0.0.1:1\"]\n".repeat(2);
    refused(&two, &["twin", "gatewayd.toml:5"]);
}

#[test]
fn weights_are_finite_and_not_negative() {
    for weight in ["-1", "-0.5", "nan", "inf"] {
        let backend = format!("{{ url = \"http://127.0.0.1:1\", weight = {weight} }}");
        refused(&format!("[[rules]]\nbackends = [{backend}]\n"), &["weight", "gatewayd.toml:2"]);
    }
    let zero = "[[rules]]\nbackends = [\"127.0.0.1:1\", { url = \"http://127.0.0.1:2\", weight = 0 }]\n";
    assert_eq!(check("gatewayd.toml", zero, &[]).status.code(), Some(0), "no new requests, but right");
}

#[test]
fn a_certificate_that_cannot_be_read_is_named() {
    refused(
        &format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = {{ cert = \"no.crt\", key = \"no.key\" }}\n{GOOD}"
        ),
        &["no.crt", "gatewayd.toml:3"],
    );
}

#[test]
fn a_rule_needs_backends_that_exist() {
    refused("[[rules]]\nname = \"x\"\nbackends = []\n", &["backends", "gatewayd.toml:3"]);
    refused("[[rules]]\nname = \"x\"\n", &["gatewayd.toml:1", "backends"]);
    refused(
        "[upstreams.app]\nbackends = [\"127.0.0.1:1\"]\n[[rules]]\nupstream = \"ap\"\n",
        &["gatewayd.toml:4", "app"],
    );
}

#[test]
fn a_bad_regex_method_or_field_name_is_refused_in_its_place() {
    let backends = "backends = [\"127.0.0.1:1\"]";
    refused(&format!("[[rules]]\npath_regex = \"^/(a\"\n{backends}\n"), &["gatewayd.toml:2", "path_regex"]);
    refused(&format!("[[rules]]\nmethods = [\"GE T\"]\n{backends}\n"), &["gatewayd.toml:2"]);
    refused(&format!("[[rules]]\nheaders = {{ \"X Y\" = \"1\" }}\n{backends}\n"), &["gatewayd.toml:2"]);
    refused(
        &format!("[[rules]]\n{backends}\nrequest_headers = {{ set = {{ X = \"a\\nb\" }} }}\n"),
        &["gatewayd.toml:3"],
    );
}

#[test]
fn a_configuration_that_would_serve_nothing_is_refused() {
    refused("", &["rule"]);
    refused("[server]\nworkers = 1\n", &["rule"]);
}

#[test]
fn a_file_that_breaks_off_is_refused_in_its_place() {
    refused("[[rules]]\nbackends = [\"127.0.0.1:1\"\n", &["gatewayd.toml:"]);
    let output = check("gatewayd.yaml", "rules:\n  - backends: [\"127.0.0.1:1\"\n", &[]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("gatewayd.yaml:"), "{}", said(&output));
    let output = check("gatewayd.json", "{\"rules\": [", &[]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
}

#[test]
fn a_root_key_after_a_table_is_explained() {
    refused(
        "[server]\nworkers = 2\nglobal_timeout = \"3s\"\n[[rules]]\nbackends = [\"127.0.0.1:1\"]\n",
        &["global_timeout", "gatewayd.toml:3", "server"],
    );
}

#[test]
fn a_backend_that_is_our_own_listener_is_refused() {
    refused(
        "[[rules]]\nbackends = [\"127.0.0.1:7001\"]\n[[listeners]]\naddress = \"0.0.0.0:7001\"\n",
        &["7001"],
    );
}

#[test]
fn all_problems_are_told_at_once() {
    refused(
        "global_timeout = -1\n[[rules]]\nload_balancing = \"magic\"\npath_prefx = \"/\"\nbackends = [\"ftp://x\"]\n",
        &["gatewayd.toml:1", "magic", "path_prefx", "ftp://x"],
    );
}

#[test]
fn check_tells_programs_the_same_as_people() {
    let output =
        check("gatewayd.toml", "[[rules]]\npath_prefx = \"/\"\nbackends = [\"127.0.0.1:1\"]\n", &["--json"]);
    assert_eq!(output.status.code(), Some(78));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    let problem = find(&json, &|value| value["line"] == 2).expect("the problem with its line");
    assert!(problem["message"].as_str().is_some_and(|message| message.contains("path_prefx")), "{problem}");
    assert_eq!(problem["severity"], "error");
    let output = check("gatewayd.toml", GOOD, &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON where all is well, too");
}

/// The first value inside for which `condition` holds.
fn find<'a>(
    value: &'a serde_json::Value,
    condition: &dyn Fn(&serde_json::Value) -> bool,
) -> Option<&'a serde_json::Value> {
    if condition(value) {
        return Some(value);
    }
    match value {
        serde_json::Value::Array(items) => items.iter().find_map(|item| find(item, condition)),
        serde_json::Value::Object(members) => members.values().find_map(|item| find(item, condition)),
        _ => None,
    }
}

#[test]
fn a_rule_that_can_never_match_is_a_warning_with_both_places() {
    let text = "[[rules]]\nname = \"all\"\nbackends = [\"127.0.0.1:1\"]\n\
                [[rules]]\nname = \"never\"\npath_prefix = \"/x\"\nbackends = [\"127.0.0.1:2\"]\n";
    let output = check("gatewayd.toml", text, &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for word in ["warning", "all", "never"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_port_in_use_is_its_own_message_and_nothing_is_half_started() {
    let launch = launch().config(&format!(
        "{GOOD}[[listeners]]\nname = \"free\"\naddress = \"{{listen}}\"\n\
         [[listeners]]\nname = \"taken\"\naddress = \"{{listen2}}\"\n"
    ));
    let taken = launch.address("listen2");
    let _holder = TcpListener::bind(taken).unwrap();
    let output = launch.run();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains(&taken.to_string()), "{}", said(&output));
    assert!(said(&output).contains("in use"), "{}", said(&output));
}

#[test]
fn a_second_gateway_on_the_same_port_is_refused() {
    let first = launch().config(GOOD).start();
    let address = first.address();
    let text = format!("{GOOD}[[listeners]]\naddress = \"{address}\"\n");
    let output = launch().config_file("gatewayd.toml", &text).run();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains(&address.to_string()), "{}", said(&output));
}

/// The strategy that `/ping` shows, without regard to its spelling.
#[track_caller]
fn strategy(launch: Launch, file: &str) -> String {
    let backend = Backend::echo("a");
    let gateway = launch.config(&format!("{file}\n{}{STATUS_LISTENER}", rule("", &[&backend]))).start();
    let shown = gateway.get("/ping").json()["strategy"].as_str().unwrap_or_default().to_lowercase();
    shown.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[test]
fn the_strategy_comes_from_flag_environment_file_default_in_this_order() {
    let file = "load_balancing = \"random\"";
    let with_flag =
        |launch: Launch| launch.args(&["run", "-c", "{dir}/gatewayd.toml", "--strategy", "ip_hash"]);
    assert_eq!(strategy(launch(), ""), "roundrobin");
    assert_eq!(strategy(launch(), file), "random");
    assert_eq!(strategy(launch().env("LB_STRATEGY", "leastconnections"), file), "leastconnections");
    assert_eq!(strategy(with_flag(launch().env("LB_STRATEGY", "leastconnections")), file), "iphash");
}

#[test]
fn a_rules_own_strategy_is_not_overruled_by_the_environment() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let config = rule("load_balancing = \"ip_hash\"", &[&a, &b]);
    let gateway = launch().config(&config).env("LB_STRATEGY", "round_robin").start();
    let names: Vec<_> = (0..6).map(|_| gateway.get("/").backend()).collect();
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
}

#[test]
fn strategies_answer_to_the_names_their_users_know() {
    for (alias, name) in [
        ("RoundRobin", "roundrobin"),
        ("rr", "roundrobin"),
        ("WRR", "weightedroundrobin"),
        ("weighted", "weightedroundrobin"),
        ("weighted-round-robin", "weightedroundrobin"),
        ("least_conn", "leastconnections"),
        ("lc", "leastconnections"),
        ("ip-hash", "iphash"),
        ("iphash", "iphash"),
        ("rand", "random"),
    ] {
        assert_eq!(strategy(launch().env("LB_STRATEGY", alias), ""), name, "{alias}");
    }
}

#[test]
fn a_bad_strategy_in_the_environment_is_refused_with_the_good_ones() {
    let output = launch().config(GOOD).env("LB_STRATEGY", "magic").run();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for word in ["LB_STRATEGY", "magic", "round_robin", "ip_hash"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn the_environment_beats_the_file_and_typos_there_are_met_too() {
    let output = launch().config(GOOD).env("GATEWAYD_SERVER__WORKERS", "none").run();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("GATEWAYD_SERVER__WORKERS"), "{}", said(&output));
    let output = launch().config(GOOD).env("GATEWAYD_SERVER__WORKRS", "2").run();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    let backend = Backend::slow("a", Duration::from_secs(2));
    let config = format!("global_timeout = \"20s\"\n{}", rule("", &[&backend]));
    let gateway = launch().config(&config).env("GATEWAYD_GLOBAL_TIMEOUT", "300ms").start();
    assert_eq!(gateway.get("/").status, 504);
}

#[test]
fn values_may_stand_elsewhere() {
    let backend = Backend::echo("a");
    let launch =
        launch().config("[[rules]]\nbackends = [\"${BACKEND}\"]\nhost_header = \"${NAME:-fallback.test}\"\n");
    let gateway = launch.env("BACKEND", &backend.url()).start();
    let response = gateway.get("/");
    assert_eq!(crate::support::echoed(&response, "host"), ["fallback.test"]);
}

#[test]
fn one_rule_and_two_backends_are_a_configuration() {
    let output = check("gatewayd.toml", GOOD, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let backends = urls(&[&a, &b]).replace("http://", "");
    let gateway = launch().config(&format!("[[rules]]\nbackends = [{backends}]\n")).start();
    assert_eq!([gateway.get("/").backend(), gateway.get("/").backend()], ["a", "b"]);
}

#[test]
fn yaml_and_json_say_the_same_as_toml() {
    let backend = Backend::echo("a");
    let url = backend.url();
    let yaml = format!(
        "listeners:\n  - address: \"{{listen}}\"\nrules:\n  - path_prefix: /x\n    timeout: 5\n    \
         strip_prefix: /x\n    backends:\n      - url: {url}\n        weight: 1.5\n"
    );
    let json = format!(
        "{{\"listeners\": [{{\"address\": \"{{listen}}\"}}], \"rules\": [{{\"path_prefix\": \"/x\", \
         \"strip_prefix\": \"/x\", \"backends\": [\"{url}\"]}}]}}"
    );
    for (name, text) in [("gatewayd.yaml", &yaml), ("gatewayd.yml", &yaml), ("gatewayd.json", &json)] {
        let gateway = launch().config_file(name, text).start();
        assert_eq!(crate::support::echoed_target(&gateway.get("/x/y")), "/y", "{name}");
    }
}

/// Servex's documented configuration, as it stands in its README.
const SERVEX: &str = include_str!("config_cli/servex.yaml");

#[test]
fn servex_yaml_runs_as_written() {
    let checked = check("gatewayd.yaml", SERVEX, &[]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
    let launch = launch().config_file("gatewayd.yaml", SERVEX);
    let gateway = launch.env("GATEWAYD_LISTENERS", "[{ name = \"web\", address = \"{listen}\" }]").start();
    let unresolved = |response: Response| (response.status, response.problem());
    assert_eq!(unresolved(gateway.get("/api/x")), (503, "no_backend".to_owned()));
    assert_eq!(gateway.get("/other").status, 404);
}

#[test]
fn servex_yaml_balances_2_to_1() {
    let (a, b) = (Backend::echo("1"), Backend::echo("2"));
    let text = SERVEX.replace("http://backend1:8080", &a.url()).replace("http://backend2:8080", &b.url());
    let launch = launch().config_file("gatewayd.yaml", &text);
    let gateway = launch.env("GATEWAYD_LISTENERS", "[{ name = \"web\", address = \"{listen}\" }]").start();
    for _ in 0..30 {
        assert_eq!(crate::support::echoed_target(&gateway.get("/api/users")), "/users");
    }
    assert_eq!([a.hits(), b.hits()], [20, 10]);
}

#[test]
fn the_file_is_found_where_it_is_looked_for() {
    let backend = Backend::echo("a");
    let launch = launch().config(&rule("", &[&backend]));
    // Run in the file's directory; no other name is taken up.
    let gateway = launch.args(&["run"]).start();
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn without_a_file_each_command_says_what_it_would_take() {
    for (arguments, mend) in [
        (&["explain", "GET", "/"][..], "with `--live`"),
        (&["check"], "gatewayd check FILE"),
        (&["config", "show"], "gatewayd config show FILE"),
        (&["start"], "gatewayd run -c FILE"),
    ] {
        let output = launch().args(arguments).run();
        let said = said(&output);
        assert!(said.contains("no configuration found") && said.contains(mend), "{said}");
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
    }
}

#[test]
fn start_is_another_word_for_run() {
    let backend = Backend::echo("a");
    let launch = launch().config(&rule("", &[&backend])).args(&["start", "-c", "{dir}/gatewayd.toml"]);
    assert_eq!(launch.start().get("/").status, 200);
}

#[test]
fn proxy_needs_no_file() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let arguments = ["proxy", "--to", &a.url(), "--to", &b.url(), "--listen", "{listen}"];
    let mut gateway = launch().args(&arguments).start();
    assert_eq!([gateway.get("/").backend(), gateway.get("/").backend()], ["a", "b"]);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    let printed = launch().args(&[&arguments[..], &["--print-config"]].concat()).run();
    assert_eq!(printed.status.code(), Some(0));
    let toml = String::from_utf8(printed.stdout).unwrap();
    assert!(toml.contains(&a.url()), "{toml}");
    assert_eq!(check("gatewayd.toml", &toml, &[]).status.code(), Some(0), "{toml}");
}

#[test]
fn a_trial_backend_tells_what_it_received_and_is_steered_by_its_query() {
    let backend = launch().args(&["backend", "--listen", "{listen},{listen2}"]).start();
    let mut client = backend.client();
    client.send("POST /a/b?x=1 HTTP/1.1\r\nHost: h\r\nX-A: v\r\nContent-Length: 5\r\n\r\nhello");
    let told = client.response().json();
    for (member, value) in [("method", "POST"), ("path", "/a/b"), ("query", "x=1")] {
        assert_eq!(told[member], value, "{told}");
    }
    assert_eq!(told["body_bytes"], 5, "{told}");
    assert!(
        told["backend"].as_str().is_some_and(|name| name.contains(&backend.address().port().to_string()))
    );
    assert!(told["client"].as_str().is_some_and(|client| client.starts_with("127.0.0.1")), "{told}");
    assert!(told["headers"].to_string().to_lowercase().contains("x-a"), "{told}");
    assert_eq!(client.get("/?status=503").status, 503);
    assert_eq!(client.get("/?bytes=100000").body.len(), 100_000);
    let start = std::time::Instant::now();
    assert_eq!(client.get("/?delay=300ms").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(client.get("/health").status, 200);
    assert!(client.request("PUT", "/health?status=503", &[("Content-Length", "0")]).status < 300);
    assert_eq!(client.get("/health").status, 503);
    let other = lb_testkit::fetch(backend.address_of("listen2"), "GET", "/health", &[]);
    assert_eq!(other.status, 200, "each backend has its own health");
}

#[test]
fn who_reads_only_the_beginning_of_what_is_printed_has_had_it_and_a_full_disk_is_said() {
    let program = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewayd"));
        command.args(arguments);
        command
    };
    for command in ["schema", "man"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(&[command]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = program(&[command]).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: cannot print: "), "{output:?}");
    }
    // What is said to nobody is no reason to fail otherwise.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let refused =
        program(&["check", "/no/such.toml"]).stdout(Stdio::piped()).stderr(writer).output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
}

/// A process that is ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_gateway_that_nobody_listens_to_refuses_a_file_and_goes_on() {
    let backend = Backend::echo("a");
    let launch = launch();
    let config = launch.directory().join("gatewayd.toml");
    let (admin, listen) = (launch.address("admin"), launch.address("listen"));
    let text = format!(
        "[admin]\naddress = \"{admin}\"\n[[listeners]]\naddress = \"{listen}\"\n{}",
        rule("", &[&backend])
    );
    std::fs::write(&config, &text).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewayd"));
    command.args(["--log-format", "text", "run", "-c"]).arg(&config).stderr(writer);
    let _running = Ended(command.stdout(Stdio::null()).spawn().unwrap());
    eventually("it serves", PATIENCE, || std::net::TcpStream::connect(admin).is_ok());
    drop(command);
    drop(reader);
    std::fs::write(&config, "[[rules]]\nupstream = 7\n").unwrap();
    let at = admin.to_string();
    let reloaded = cli(&["reload", "--admin", &at]);
    assert_eq!(reloaded.status.code(), Some(78), "{}", said(&reloaded));
    assert!(said(&reloaded).contains("upstream = 7"), "{}", said(&reloaded));
    std::fs::write(&config, &text).unwrap();
    let reloaded = cli(&["reload", "--admin", &at]);
    assert_eq!(reloaded.status.code(), Some(0), "{}", said(&reloaded));
    let far = cli(&["upgrade", "--admin", &at, "--timeout", "18446744073709551615s"]);
    assert_eq!(far.status.code(), Some(1), "{}", said(&far));
}
