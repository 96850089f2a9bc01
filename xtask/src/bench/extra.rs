//! Measurements that are not processor time a request: latency, memory, slow clients. Each is a row with a function, and gives a
//! table of its own form.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::measure::Bench;
use super::ports::Ports;
use super::{changing, feature_cost, idle_memory, open_loop, resident, slow_readers, start_up, watching};

/// One such measurement.
pub(crate) struct ExtraInfo {
    /// As given to `--scenario`.
    pub(crate) name: &'static str,
    /// One line for tables.
    pub(crate) summary: &'static str,
    /// Whether `cargo xtask bench peers` runs it unasked.
    pub(crate) usual: bool,
    /// Measures all proxies.
    pub(crate) run: fn(&Bench<'_>, &mut Ports) -> Result<Outcome>,
}

/// Every such measurement, in the order of tables.
pub(crate) const ALL: &[ExtraInfo] = &[
    ExtraInfo {
        name: "open-loop",
        summary: "latency of 1 KiB requests at 70 % of the slower of nginx's and HAProxy's capacity, in µs",
        usual: true,
        run: open_loop::run,
    },
    ExtraInfo {
        name: "idle-memory",
        summary: "memory of an idle keep-alive connection",
        usual: true,
        run: idle_memory::run,
    },
    ExtraInfo {
        name: "idle-tls",
        summary: "memory of an idle keep-alive connection by TLS 1.3",
        usual: true,
        run: idle_memory::run_tls,
    },
    ExtraInfo {
        name: "idle-websockets",
        summary: "memory of an idle WebSocket, both sides of it",
        usual: true,
        run: idle_memory::run_websockets,
    },
    ExtraInfo {
        name: "slow-readers",
        summary: "50 clients that read 16 MiB answers slowly: their memory, and the p99 of 8 quick clients, in µs",
        usual: true,
        run: slow_readers::run,
    },
    ExtraInfo {
        name: "start-up",
        summary: "from starting the program to its first answer, in ms",
        usual: true,
        run: start_up::run,
    },
    ExtraInfo {
        name: "rss-over-time",
        summary: "resident memory after a tenth of `--seconds` of load and at its end",
        usual: false,
        run: resident::run,
    },
    ExtraInfo {
        name: "feature-cost",
        summary: "processor time a request of 1 KiB with features on, beside gatewayd with everything off",
        usual: false,
        run: feature_cost::run,
    },
    ExtraInfo {
        name: "watching",
        summary: "latency while gatewayd with 1000 backends is scraped, watched and dumped, and what looking costs",
        usual: false,
        run: watching::run,
    },
    ExtraInfo {
        name: "changing",
        summary: "latency while gatewayd with 10 000 backends and 10 000 rules is reloaded",
        usual: false,
        run: changing::run,
    },
];

/// A table, and what stands behind it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: &'static str,
    /// Headings; the first is for the proxies.
    #[serde(borrow)]
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Sentences under the table.
    pub(crate) notes: Vec<String>,
    pub(crate) raw: serde_json::Value,
}

/// The row of a name.
pub(crate) fn find(name: &str) -> Option<&'static ExtraInfo> {
    ALL.iter().find(|info| info.name == name)
}
