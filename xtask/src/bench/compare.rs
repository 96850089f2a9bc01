//! `bench proxy` and `bench peers`: the proxies side by side.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Zoned;

use super::congestion::Congestion;
use super::extra::{ExtraInfo, Outcome};
use super::interrupt::Interrupt;
use super::machine::Machine;
use super::measure::{Bench, Measured};
use super::origin::Origins;
use super::peer::{self, NGINX, Peer};
use super::ports::Ports;
use super::report::Run;
use super::scenario::{self, Scenario, Transport};
use super::{Args, Benchmark, certificate, install, stats};

/// Find the proxies, measure every scenario, print and write the tables.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0 && args.seconds > 0, "--rounds and --seconds are at least 1");
    let only_first = args.benchmark == Benchmark::Proxy;
    let (scenarios, extras) = scenario::select(&args.scenario, only_first)?;
    let infos = peer::select(&args.peer, only_first)?;
    let speaks = |transport: Transport| {
        scenarios.iter().any(|scenario| match transport {
            Transport::Tls => scenario.transport.folder() == "tls",
            Transport::Http2 => matches!(scenario.transport, Transport::Http2 | Transport::Grpc),
            other => scenario.transport == other,
        })
    };
    for (tool, package) in [
        ("nginx", "nginx-light"),
        ("wrk", "wrk"),
        ("setpriv", "util-linux"),
        ("h2load", "nghttp2-client"),
        ("nghttpd", "nghttp2-server"),
        ("openssl", "openssl"),
        ("strace", "strace"),
        ("valgrind", "valgrind"),
    ] {
        let wanted = match tool {
            "h2load" => extras.iter().any(|extra| extra.name == "open-loop") || speaks(Transport::Http2),
            "nghttpd" => speaks(Transport::Grpc),
            "openssl" => speaks(Transport::Tls),
            "strace" => args.strace,
            "valgrind" => args.callgrind,
            _ => true,
        };
        ensure!(!wanted || install::find(tool).is_some(), "no `{tool}` here: `apt-get install {package}`");
    }
    if args.install_peers {
        install::install()?;
    }
    let gatewayd = match &args.binary {
        Some(file) => file.clone(),
        None if infos.iter().any(|info| info.program() == "gatewayd") => build_gatewayd()?,
        None => PathBuf::new(),
    };

    let interrupt = Interrupt::install()?;
    let mut peers = Vec::new();
    let mut left_out = Vec::new();
    for info in infos {
        let given = (info.program() == "gatewayd").then_some(gatewayd.as_path());
        match Peer::find(info, given) {
            Ok(peer) => peers.push(peer),
            Err(error) if given.is_some() || info.name == NGINX => return Err(error),
            Err(error) => left_out.push((info.name, format!("{error:#}"))),
        }
    }
    let congestion = Congestion::cubic();
    let machine = Machine::look_up(congestion.now.clone())?;
    let (measured, outcomes) = measure(args, &scenarios, &extras, &peers, &interrupt)?;
    let run = Run {
        benchmark: args.benchmark.name(),
        date: Zoned::now().strftime("%Y-%m-%d").to_string(),
        command: command(args),
        machine,
        versions: peers
            .iter()
            .filter(|peer| peer.info.name != peer::CONTROL)
            .map(|peer| (peer.info.name, peer.version.clone()))
            .collect(),
        left_out,
        measured,
        outcomes,
    };
    println!("\n{}", run.summary());
    let without: Vec<&str> = run
        .measured
        .iter()
        .filter(|measured| stats::rows(measured).is_empty())
        .map(|measured| measured.scenario)
        .collect();
    let folder = match &args.append {
        Some(folder) => {
            let mut whole = Run::read(folder)?;
            whole.join(run)?;
            whole.write_into(folder, args.json.as_deref())?;
            folder.clone()
        }
        None => run.write(&args.out, args.json.as_deref())?,
    };
    eprintln!("written to {}", folder.display());
    if !without.is_empty() {
        bail!("no result for {}: the machine was too busy with other things", without.join(", "));
    }
    Ok(())
}

fn measure(
    args: &Args,
    scenarios: &[&'static Scenario],
    extras: &[&'static ExtraInfo],
    peers: &[Peer],
    interrupt: &Interrupt,
) -> Result<(Vec<Measured>, Vec<Outcome>)> {
    let directory = tempfile::Builder::new().prefix("gatewayd-bench-").tempdir()?;
    let mut ports = Ports::new();
    let mut origins = Origins::start(directory.path(), &mut ports, interrupt)?;
    if scenarios.iter().any(|scenario| scenario.transport == Transport::Grpc) {
        origins.start_grpc(directory.path(), &mut ports, interrupt)?;
    }
    if scenarios.iter().any(|scenario| scenario.transport.folder() == "tls") {
        certificate::make(directory.path())?;
    }
    let bench = Bench {
        directory: directory.path(),
        origins: &origins,
        peers,
        interrupt,
        rounds: args.rounds,
        seconds: args.seconds,
        strace: args.strace,
        callgrind: args.callgrind,
    };
    let started = Instant::now();
    let samples = scenarios.len() * peers.len() * bench.most_rounds();
    eprintln!(
        "{} scenarios, {} proxies (nginx twice), {} rounds of {} s: at most {} minutes",
        scenarios.len(),
        peers.len(),
        args.rounds,
        args.seconds,
        (samples as u64 * args.seconds + (scenarios.len() * peers.len()) as u64 * 2).div_ceil(60)
    );
    let mut measured = Vec::new();
    for scenario in scenarios {
        measured.push(bench.measure(scenario, &mut ports).with_context(|| scenario.name)?);
    }
    let mut outcomes = Vec::new();
    for extra in extras {
        outcomes.push((extra.run)(&bench, &mut ports).with_context(|| extra.name)?);
    }
    eprintln!("measured in {} s", started.elapsed().as_secs());
    Ok((measured, outcomes))
}

/// Build the release and ask cargo where it put the program.
pub(crate) fn build_gatewayd() -> Result<PathBuf> {
    eprintln!("building gatewayd");
    let output = Command::new("cargo")
        .args(["build", "--release", "-p", "gatewayd", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(output.status.success(), "gatewayd does not build");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == "gatewayd"))
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .context("cargo does not name the program it built")
}

/// What makes this run again, without the paths of one machine.
fn command(args: &Args) -> String {
    let mut text = format!("cargo xtask bench {}", args.benchmark.name());
    for name in &args.scenario {
        text.push_str(&format!(" --scenario {name}"));
    }
    for name in &args.peer {
        text.push_str(&format!(" --peer {name}"));
    }
    text.push_str(&format!(" --rounds {} --seconds {}", args.rounds, args.seconds));
    for (flag, given) in [(" --strace", args.strace), (" --callgrind", args.callgrind)] {
        text.push_str(if given { flag } else { "" });
    }
    text
}
