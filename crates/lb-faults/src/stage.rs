//! A gateway, its backends and the load, in the hands of a scenario.

use std::process::Command;
use std::time::Duration;

use lb_testkit::{Gateway, Launch, Response, fetch};

use crate::fleet::{BackendCommand, Fleet};
use crate::ledger::Entry;
use crate::load::{AUTHORITY, Aim, Load, Running, Speech};
use crate::record::{Method, Record};
use crate::report::{Account, Goal, Report};
use crate::scenario::{Scenario, Setup};
use crate::time::{in_micros, micros};

/// Where a scenario takes place.
pub(crate) struct Stage {
    gateway: Gateway,
    speech: Speech,
    pub(crate) fleet: Fleet,
    pub(crate) records: Vec<Record>,
    seed: u64,
    sent: u64,
    fault: Option<u64>,
    recovery: Option<(usize, u64)>,
    limit: Option<usize>,
    /// Processes that took over from the gateway.
    successors: Vec<Successor>,
}

/// A process that is none of ours to wait for; ended when dropped.
struct Successor(u64);

impl Drop for Successor {
    fn drop(&mut self) {
        Command::new("kill").args(["-KILL", &self.0.to_string()]).output().ok();
    }
}

impl Stage {
    /// Start the backends, and a gateway in front of them.
    pub(crate) fn build(program: &str, command: BackendCommand, setup: &Setup, seed: u64) -> Self {
        let fleet = Fleet::start(command, setup.backends, setup.service, setup.places);
        let limit = setup.max_connections.map(|max| format!(", max_connections = {max}")).unwrap_or_default();
        let backends: Vec<String> =
            fleet.urls().iter().map(|url| format!("{{ url = \"{url}\"{limit} }}")).collect();
        let launch = Launch::new(program);
        let tls = match setup.speech {
            Speech::Http2Tls => {
                let pair = AUTHORITY.issue(&["localhost"]).write(launch.directory(), "server");
                format!("tls = {{ {pair} }}\n")
            }
            Speech::Http1 | Speech::Http2 => String::new(),
        };
        let config = format!(
            "[server]\nworkers = 2\n[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\n{tls}\
             [admin]\naddress = \"{{admin}}\"\n[[rules]]\nname = \"app\"\n{}\nbackends = [{}]\n",
            setup.rule,
            backends.join(", ")
        );
        let gateway = launch.config(&config).start();
        Self {
            gateway,
            speech: setup.speech,
            fleet,
            records: Vec::new(),
            seed,
            sent: 0,
            fault: None,
            recovery: None,
            limit: setup.max_connections,
            successors: Vec::new(),
        }
    }

    /// Begin a load; its records come with [`finish`](Self::finish).
    pub(crate) fn begin(&mut self, load: Load) -> Running {
        let aim = Aim { address: self.gateway.address(), speech: self.speech };
        let running = load.begin(aim, self.sent, self.seed ^ self.sent);
        self.sent += load.count();
        running
    }

    /// Wait for a load's last answer; gives back which records are its own.
    pub(crate) fn finish(&mut self, running: Running) -> std::ops::Range<usize> {
        let first = self.records.len();
        self.records.extend(running.finish());
        first..self.records.len()
    }

    /// The (first) fault begins now.
    pub(crate) fn fault_begins(&mut self) -> u64 {
        let now = micros();
        *self.fault.get_or_insert(now)
    }

    /// This backend is there again from now on.
    pub(crate) fn has_recovered(&mut self, position: usize) -> u64 {
        let now = micros();
        self.recovery = Some((position, now));
        now
    }

    /// Records of requests that were due within a second after a time.
    pub(crate) fn second_after(&self, time: u64) -> impl Iterator<Item = &Record> {
        let end = time + in_micros(Duration::from_secs(1));
        self.records.iter().filter(move |record| (time..end).contains(&record.due))
    }

    /// Records of requests that had ended before a time.
    pub(crate) fn before(&self, time: u64) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.ended() < time)
    }

    /// How many requests of a method were not answered rightly.
    pub(crate) fn failed(&self, method: Method) -> usize {
        self.records.iter().filter(|record| record.method == method && record.failed()).count()
    }

    /// What each backend has received.
    pub(crate) fn ledgers(&self) -> Vec<Vec<Entry>> {
        self.fleet.ledgers()
    }

    /// How many of the gateway's log lines say this.
    pub(crate) fn said(&self, message: &str) -> usize {
        let says = |line: &&serde_json::Value| line["msg"] == message || line["message"] == message;
        self.gateway.log().iter().filter(says).count()
    }

    /// A counter of the gateway's, by its series.
    pub(crate) fn metric(&self, series: &str) -> usize {
        let metrics = fetch(self.gateway.address_of("admin"), "GET", "/metrics", &[]).text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {series} in {metrics}"))
    }

    /// Have the gateway's API do this with a backend.
    pub(crate) fn change(&self, action: &str, position: usize) {
        let body = format!("{{\"backend\": \"{}\"}}", self.fleet.urls()[position]);
        self.post(&format!("/api/backends/{action}"), &body);
    }

    /// Have another process take the gateway's place.
    pub(crate) fn upgrade(&mut self) {
        let taken = self.post("/api/upgrade", "").json();
        let pid = taken["pid"].as_u64().expect("the process that took over");
        self.successors.push(Successor(pid));
    }

    fn post(&self, path: &str, body: &str) -> Response {
        let mut client = lb_testkit::Client::connect(self.gateway.address_of("admin"));
        let length = body.len();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let answer = client.response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    /// Whether this backend receives requests (again) within a while; some are sent for it.
    pub(crate) fn serves_again(&mut self, position: usize) -> bool {
        let after = micros();
        for _ in 0..100 {
            let time = Duration::from_millis(200);
            let load = Load { rate: 100, time, post: 0.0, put: 0.0, unruly: 0.0, manners: &[] };
            let running = self.begin(load);
            self.finish(running);
            if self.ledgers()[position].iter().any(|entry| entry.at > after) {
                return true;
            }
        }
        false
    }

    /// Series of connections and requests in flight that do not go back to zero, the load being over.
    fn counters_left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for _ in 0..400 {
            let metrics = fetch(self.gateway.address_of("admin"), "GET", "/metrics", &[]).text();
            let is_counter = |line: &&str| {
                line.starts_with("gatewayd_connections_active")
                    || line.starts_with("gatewayd_backend_active_connections")
            };
            let counters: Vec<&str> = metrics.lines().filter(is_counter).collect();
            assert!(counters.len() > self.fleet.len(), "the counters are not there: {metrics}");
            left = counters.into_iter().filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect();
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        left
    }

    /// Draw up the account.
    pub(crate) fn report(self, scenario: &Scenario, mut goals: Vec<Goal>) -> Report {
        let left = self.counters_left();
        let mut zero = Goal::holds("every counter is zero afterwards", left.is_empty());
        if !left.is_empty() {
            zero.found = left.join(", ");
        }
        goals.push(zero);
        let account = Account {
            records: &self.records,
            ledgers: &self.ledgers(),
            fault: self.fault,
            recovery: self.recovery,
            limit: self.limit,
        };
        account.report(scenario.name, scenario.summary, goals)
    }
}
