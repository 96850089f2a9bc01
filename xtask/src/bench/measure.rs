//! One scenario: rounds over all proxies, the order rotated, nginx measured twice.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::interrupt::Interrupt;
use super::origin::Origins;
use super::peer::{CONTROL, NGINX, Peer, Proxy, Start};
use super::ports::Ports;
use super::process::Core;
use super::scenario::{Scenario, Transport};
use super::{check, instructions, stats, syscalls, wrk};

/// What all scenarios of a run share.
pub(crate) struct Bench<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) origins: &'a Origins,
    pub(crate) peers: &'a [Peer],
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) strace: bool,
    pub(crate) callgrind: bool,
}

/// One proxy under one load.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) proxy: &'static str,
    pub(crate) count: wrk::Count,
    /// On-CPU time of all the proxy's threads.
    pub(crate) cpu_ns: u64,
    /// Time its threads were ready but did not have the core: what else ran there.
    pub(crate) waited_ns: u64,
    /// Time for which other programs had the proxy's core.
    pub(crate) others_ns: u64,
    /// Connections the origins accepted meanwhile.
    pub(crate) origin_connections: u64,
    pub(crate) resident_kib: u64,
}

/// Every proxy once.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub(crate) struct Round {
    pub(crate) samples: Vec<Sample>,
    /// How far apart the two nginx are.
    pub(crate) control_difference: f64,
    pub(crate) kept: bool,
}

/// All of a scenario.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) scenario: &'static str,
    pub(crate) rounds: Vec<Round>,
    /// Proxies that could not be measured, and why.
    #[serde(borrow)]
    pub(crate) failed: Vec<(&'static str, String)>,
    /// Work that a proxy does not do, by proxy.
    #[serde(borrow)]
    pub(crate) missing_work: Vec<(&'static str, Vec<String>)>,
    pub(crate) system_calls: Vec<syscalls::SystemCalls>,
    pub(crate) instructions: Vec<instructions::Instructions>,
}

/// A round is kept where the two nginx differ by no more than this.
const CONTROL_LIMIT: f64 = 0.10;

impl Bench<'_> {
    /// Start every proxy anew, measure, end them.
    pub(crate) fn measure(&self, scenario: &'static Scenario, ports: &mut Ports) -> Result<Measured> {
        let mut measured = Measured {
            scenario: scenario.name,
            rounds: Vec::new(),
            failed: Vec::new(),
            missing_work: Vec::new(),
            system_calls: Vec::new(),
            instructions: Vec::new(),
        };
        let mut proxies = Vec::new();
        for peer in self.peers.iter().filter(|peer| peer.info.takes(scenario.transport)) {
            let name = peer.info.name;
            match self.start(peer, scenario, ports) {
                Ok((proxy, missing)) => {
                    proxies.push(proxy);
                    if !missing.is_empty() {
                        measured.missing_work.push((name, missing));
                    }
                }
                Err(error) => measured.failed.push((name, self.forgive(name, error)?)),
            }
        }
        while measured.rounds.iter().filter(|round| round.kept).count() < self.rounds as usize
            && measured.rounds.len() < self.most_rounds()
        {
            let round = self.round(scenario, &mut proxies, &mut measured)?;
            eprintln!(
                "  {} round {}: {}{}",
                scenario.name,
                measured.rounds.len() + 1,
                round.samples.iter().map(Sample::to_string).collect::<Vec<_>>().join("  "),
                if round.kept { "" } else { "  (thrown away: the two nginx differ)" }
            );
            measured.rounds.push(round);
        }
        if self.strace {
            for proxy in proxies.iter().filter(|proxy| proxy.name != CONTROL) {
                let calls = syscalls::count(proxy, scenario, self.directory, self.interrupt)
                    .with_context(|| format!("system calls of {}", proxy.name))?;
                measured.system_calls.push(calls);
            }
        }
        drop(proxies);
        if self.callgrind {
            for peer in self.peers.iter().filter(|peer| peer.info.first && peer.info.name != CONTROL) {
                let name = peer.info.name;
                match instructions::count(self, peer, scenario, ports) {
                    Ok(instructions) => measured.instructions.push(instructions),
                    Err(error) => {
                        self.interrupt.check()?;
                        measured.failed.push((name, format!("under callgrind: {error:#}")));
                    }
                }
            }
        }
        Ok(measured)
    }

    /// Rounds at most, with those that make up for some of the thrown away.
    pub(crate) fn most_rounds(&self) -> usize {
        (self.rounds + self.rounds / 3) as usize
    }

    /// Every proxy but the control that has a part where clients speak so.
    pub(crate) fn proxies(&self, transport: Transport) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(move |peer| peer.info.name != CONTROL && peer.info.takes(transport))
    }

    /// Start every proxy but the control for an extra measurement, warmed up; with what is to be said of those that failed.
    pub(crate) fn start_all(
        &self,
        scenario: &Scenario,
        ports: &mut Ports,
    ) -> Result<(Vec<Proxy>, Vec<String>)> {
        let mut proxies = Vec::new();
        let mut notes = Vec::new();
        for peer in self.proxies(scenario.transport) {
            let name = peer.info.name;
            match self.start(peer, scenario, ports) {
                Ok((proxy, _)) => proxies.push(proxy),
                Err(error) => notes.push(format!("Failed: {name}: {}.", self.forgive(name, error)?)),
            }
        }
        Ok((proxies, notes))
    }

    /// A proxy that forwards, warmed up, and the work that it does not do.
    pub(crate) fn start(
        &self,
        peer: &Peer,
        scenario: &Scenario,
        ports: &mut Ports,
    ) -> Result<(Proxy, Vec<String>)> {
        let start = Start { wrapper: &[], transport: scenario.transport };
        let proxy = peer.start(
            &start,
            self.directory,
            self.origins.ports_for(scenario.transport),
            ports,
            self.interrupt,
        )?;
        let missing = check::missing_work(scenario.transport, proxy.port, self.interrupt)?;
        wrk::run(scenario, proxy.port, 1, self.directory, self.interrupt).context("warming up")?;
        Ok((proxy, missing))
    }

    fn round(&self, scenario: &Scenario, proxies: &mut Vec<Proxy>, measured: &mut Measured) -> Result<Round> {
        let turn = measured.rounds.len() % proxies.len().max(1);
        let mut samples = Vec::new();
        let mut failed = Vec::new();
        for proxy in proxies.iter().cycle().skip(turn).take(proxies.len()) {
            match self.sample(scenario, proxy) {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    measured.failed.push((proxy.name, self.forgive(proxy.name, error)?));
                    failed.push(proxy.name);
                }
            }
        }
        proxies.retain(|proxy| !failed.contains(&proxy.name));
        let [first, again] = [NGINX, CONTROL].map(|name| stats::nanoseconds(&samples, name));
        let Some((first, again)) = first.zip(again) else { bail!("nginx was not measured") };
        let control_difference = (first - again).abs() / first.min(again);
        Ok(Round { samples, control_difference, kept: control_difference <= CONTROL_LIMIT })
    }

    /// One proxy under load for `seconds`.
    pub(crate) fn sample(&self, scenario: &Scenario, proxy: &Proxy) -> Result<Sample> {
        let connections = self.origins.accepted()?;
        let busy = Core::Proxy.busy_ns();
        let before = proxy.running.cpu_time();
        let count = wrk::run(scenario, proxy.port, self.seconds, self.directory, self.interrupt)?;
        let after = proxy.running.cpu_time();
        let cpu_ns = after.ran.saturating_sub(before.ran);
        Ok(Sample {
            proxy: proxy.name,
            cpu_ns,
            others_ns: Core::Proxy.busy_ns().saturating_sub(busy + cpu_ns),
            waited_ns: after.waited.saturating_sub(before.waited),
            origin_connections: self.origins.accepted()?.saturating_sub(connections + 1),
            resident_kib: proxy.running.resident_kib(),
            count,
        })
    }

    /// nginx and the gateway are what a run is for; of the others the reason is enough.
    fn forgive(&self, name: &str, error: anyhow::Error) -> Result<String> {
        self.interrupt.check()?;
        if [NGINX, CONTROL, "gatewayd"].contains(&name) {
            return Err(error.context(name.to_owned()));
        }
        Ok(format!("{error:#}"))
    }
}
