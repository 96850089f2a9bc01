//! The scenarios, one row each; a new one is a row here and a function in one of the files below.

mod change;
mod chaos;
mod clients;
mod drain;
mod hedging;
mod loss;
mod overload;
mod sickness;

use std::time::Duration;

use crate::conduct::Conduct;
use crate::fleet::BackendCommand;
use crate::load::{Load, Speech};
use crate::record::Method;
use crate::report::{Goal, Report};
use crate::stage::Stage;

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Requests a second, where the scenario does not say otherwise.
    pub rate: u32,
    /// What scenarios count their time in.
    pub unit: Duration,
    /// Units of chaos.
    pub chaos: u32,
    /// Decides what is left to chance.
    pub seed: u64,
}

impl Scale {
    /// For a test: long enough for every fault to be met, short enough for everybody's patience.
    pub const SHORT: Self = Self { rate: 150, unit: Duration::from_millis(800), chaos: 4, seed: 1 };
    /// For a measurement.
    pub const LONG: Self = Self { rate: 400, unit: Duration::from_secs(3), chaos: 40, seed: 1 };

    /// The usual mix for so many units.
    fn load(&self, units: f64) -> Load {
        let time = self.unit.mul_f64(units);
        Load { rate: self.rate, time, post: 0.15, put: 0.1, unruly: 0.0, manners: Conduct::UNRULY }
    }

    fn wait(&self, units: f64) {
        std::thread::sleep(self.unit.mul_f64(units));
    }
}

/// What a scenario takes place with.
pub(crate) struct Setup {
    pub(crate) backends: usize,
    /// How long a backend works on a request, and on how many at once.
    pub(crate) service: Duration,
    pub(crate) places: usize,
    pub(crate) max_connections: Option<usize>,
    /// The rule's lines in TOML.
    pub(crate) rule: &'static str,
    /// How clients speak.
    pub(crate) speech: Speech,
}

/// Three quick backends.
const USUAL: Setup = Setup {
    backends: 3,
    service: Duration::from_millis(2),
    places: 1000,
    max_connections: None,
    rule: "",
    speech: Speech::Http1,
};

/// A row of the table.
pub struct Scenario {
    /// In one word.
    pub name: &'static str,
    /// In one line.
    pub summary: &'static str,
    setup: Setup,
    play: fn(&mut Stage, &Scale) -> Vec<Goal>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scenario").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Scenario {
    /// Play it with the gateway at `program`, on backends that `command` starts.
    ///
    /// # Panics
    /// Where a part of the harness itself does not work; what the gateway does wrong is in the report.
    pub fn run(&self, program: &str, command: BackendCommand, scale: &Scale) -> Report {
        let mut stage = Stage::build(program, command, &self.setup, scale.seed);
        let goals = (self.play)(&mut stage, scale);
        stage.report(self, goals)
    }
}

/// The row of a name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

const WITH_ATTEMPT_TIMEOUT: &str =
    "timeout = \"5s\"\npassive = { ejection_time = \"1s\" }\nretries = { attempt_timeout = \"250ms\" }";

/// Every scenario, in the order of tables.
pub const ALL: &[Scenario] = &[
    Scenario { name: "kill", summary: "one of three backends is killed", setup: USUAL, play: loss::kill },
    Scenario {
        name: "restart",
        summary: "one of three is killed and started again",
        setup: Setup { rule: "passive = { ejection_time = \"1s\" }", ..USUAL },
        play: loss::restart,
    },
    Scenario {
        name: "flap",
        summary: "one of three is killed and started again, over and over",
        setup: Setup { rule: "passive = { ejection_time = \"1s\" }", ..USUAL },
        play: loss::flap,
    },
    Scenario {
        name: "freeze",
        summary: "one of three is stopped (SIGSTOP), attempt_timeout = 250 ms",
        setup: Setup { rule: WITH_ATTEMPT_TIMEOUT, ..USUAL },
        play: loss::freeze,
    },
    Scenario {
        name: "slow",
        summary: "one of three takes two seconds longer, attempt_timeout = 250 ms",
        setup: Setup { rule: WITH_ATTEMPT_TIMEOUT, ..USUAL },
        play: sickness::slow,
    },
    Scenario {
        name: "silent",
        summary: "one of three accepts and says nothing, attempt_timeout = 250 ms",
        setup: Setup { rule: WITH_ATTEMPT_TIMEOUT, ..USUAL },
        play: sickness::silent,
    },
    Scenario {
        name: "reset",
        summary: "one of three resets without a word",
        setup: Setup { rule: "passive = { ejection_time = \"1s\" }", ..USUAL },
        play: sickness::reset,
    },
    Scenario {
        name: "reset-mid-head",
        summary: "one of three resets in the middle of its head",
        setup: Setup { rule: "passive = { ejection_time = \"1s\" }", ..USUAL },
        play: sickness::reset_mid_head,
    },
    Scenario {
        name: "reset-mid-body",
        summary: "one of three resets in the middle of its body",
        setup: Setup { rule: "passive = { ejection_time = \"1s\" }", ..USUAL },
        play: sickness::reset_mid_body,
    },
    Scenario {
        name: "bursts",
        summary: "one of three answers 500 in bursts, retried",
        setup: Setup {
            rule: "passive = { ejection_time = \"1s\" }\nretries = { on = [\"connect\", \"reset\", \"500\"] }",
            ..USUAL
        },
        play: sickness::bursts,
    },
    Scenario {
        name: "outage",
        summary: "all three reset every request: what retries add",
        setup: Setup { rule: "passive = false\nretries = { attempts = 2, budget = 0.2 }", ..USUAL },
        play: loss::outage,
    },
    Scenario {
        name: "hedging",
        summary: "one of six takes 400 ms longer, a second one is asked after 50 ms",
        setup: Setup { backends: 6, rule: "hedge = { after = \"50ms\" }", ..USUAL },
        play: hedging::hedged,
    },
    Scenario {
        name: "drain",
        summary: "one of three is drained through the API, killed, started again and put back",
        setup: USUAL,
        play: drain::drain,
    },
    Scenario {
        name: "upgrade",
        summary: "the gateway is replaced three times by another process of its program",
        setup: USUAL,
        play: change::upgrade,
    },
    Scenario {
        name: "upgrade-h2c",
        summary: "the same, clients by HTTP/2 on four connections",
        setup: Setup { speech: Speech::Http2, ..USUAL },
        play: change::upgrade,
    },
    Scenario {
        name: "upgrade-h2",
        summary: "the same, by HTTP/2 over TLS",
        setup: Setup { speech: Speech::Http2Tls, ..USUAL },
        play: change::upgrade,
    },
    Scenario {
        name: "clients",
        summary: "half of the clients abort, crawl or hang up half-way",
        setup: USUAL,
        play: clients::unruly,
    },
    Scenario {
        name: "crawlers",
        summary: "a few clients take or send next to nothing, without end; min_rate = 10MB",
        setup: Setup { rule: "min_rate = \"10MB\"", ..USUAL },
        play: clients::endless,
    },
    Scenario {
        name: "overload",
        summary: "three times what the backends can bear; four places each, a queue of 60 ms",
        setup: Setup {
            backends: 3,
            service: Duration::from_millis(40),
            places: 4,
            max_connections: Some(4),
            rule: "queue = { max_pending = 100, timeout = \"60ms\" }",
            ..USUAL
        },
        play: overload::queued,
    },
    Scenario {
        name: "shedding",
        summary: "three times what the backends can bear; an adaptive limit of concurrency, and nothing else",
        setup: Setup {
            backends: 3,
            service: Duration::from_millis(40),
            places: 4,
            max_connections: None,
            rule: "concurrency = { max = 200, adaptive = true }",
            ..USUAL
        },
        play: overload::thrice,
    },
    Scenario {
        name: "chaos",
        summary: "all faults at random on two of three backends, a fifth of the clients unruly",
        setup: Setup { rule: WITH_ATTEMPT_TIMEOUT, ..USUAL },
        play: chaos::chaos,
    },
];

/// Not one GET has failed.
fn no_failed_get(stage: &Stage) -> Goal {
    Goal::at_most("GET requests that failed", 0, stage.failed(Method::Get))
}
