//! What the areas share: the program under test, short configurations, tallies.

pub(crate) mod websocket;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lb_testkit::{Backend, Gateway, Launch, Response};
use serde_json::Value;

/// A gateway to be started.
pub(crate) fn launch() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_gatewayd"))
}

/// A gateway with this TOML configuration, listening.
#[track_caller]
pub(crate) fn gateway(config: &str) -> Gateway {
    launch().config(config).start()
}

/// The program, run to its end.
#[track_caller]
pub(crate) fn cli(arguments: &[&str]) -> Output {
    launch().args(arguments).run()
}

/// Python with these packages (`NAME==VERSION`, by spaces) from PyPI, in an environment of its own beside the build.
#[track_caller]
pub(crate) fn python(packages: &str) -> PathBuf {
    let environment =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}", packages.replace(' ', "-")));
    let program = environment.join("bin/python");
    let ready = environment.join("ready");
    // Tests are processes of their own, and several may want the same packages first.
    let lock = std::fs::File::create(environment.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !ready.exists() {
        let run = |command: &mut Command| {
            let output = command.output().expect("python3 is installed");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        run(Command::new(&program).args(["-m", "pip", "install", "--quiet"]).args(packages.split(' ')));
        std::fs::write(&ready, "").unwrap();
    }
    program
}

/// One rule in TOML: its own lines, then its backends.
pub(crate) fn rule(lines: &str, backends: &[&Backend]) -> String {
    format!("[[rules]]\n{lines}\nbackends = [{}]\n", urls(backends))
}

/// Backends as a TOML list's items.
pub(crate) fn urls(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("\"{}\"", backend.url())).collect::<Vec<_>>().join(", ")
}

/// Backends of different weights as a TOML list's items.
pub(crate) fn weighted(backends: &[(&Backend, &str)]) -> String {
    let item = |(backend, weight): &(&Backend, &str)| {
        format!("{{ url = \"{}\", weight = {weight} }}", backend.url())
    };
    backends.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// How often each name occurs.
pub(crate) fn tally(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for name in names {
        *tally.entry(name).or_default() += 1;
    }
    tally
}

/// Check a tally against what was expected of each name.
#[track_caller]
pub(crate) fn assert_tally(names: impl IntoIterator<Item = String>, expected: &[(&str, usize)]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(tally(names), expected);
}

/// The values of a field as an echo backend received them.
pub(crate) fn echoed(response: &Response, name: &str) -> Vec<String> {
    let json = response.json();
    let fields = json["headers"].as_array().cloned().unwrap_or_default();
    fields
        .iter()
        .filter(|field| field[0].as_str().is_some_and(|field| field.eq_ignore_ascii_case(name)))
        .filter_map(|field| field[1].as_str().map(str::to_owned))
        .collect()
}

/// The target as an echo backend received it.
#[track_caller]
pub(crate) fn echoed_target(response: &Response) -> String {
    match response.json()["target"].as_str() {
        Some(target) => target.to_owned(),
        None => panic!("no echo backend answered: {} {:?}", response.status, response.text()),
    }
}

/// One backend of `/proxy-status`, by upstream and URL.
#[track_caller]
pub(crate) fn backend_status(gateway: &Gateway, upstream: &str, url: &str) -> Value {
    let status = gateway.get("/proxy-status").json();
    let upstreams = status["upstreams"].as_array().cloned().unwrap_or_default();
    let backends = upstreams.iter().filter(|entry| entry["name"] == upstream);
    backends
        .filter_map(|upstream| upstream["backends"].as_array())
        .flatten()
        .find(|backend| backend["url"] == url)
        .unwrap_or_else(|| panic!("no {url} of {upstream} in {status}"))
        .clone()
}

/// A listener on `{listen}` that answers the status endpoints too.
pub(crate) const STATUS_LISTENER: &str =
    "[[listeners]]\nname = \"web\"\naddress = \"{listen}\"\nstatus_endpoints = true\n";
