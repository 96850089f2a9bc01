//! Load for a build that writes down what it does (`cargo xtask release`): every scenario of `bench peers` for some seconds each,
//! and streams of HTTP/2 where h2load is here.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::interrupt::Interrupt;
use super::origin::Origins;
use super::peer::{self, Peer, Start};
use super::ports::Ports;
use super::process::{Core, Running};
use super::scenario::{ALL, Scenario, Transport};
use super::{certificate, install, wrk};

/// How long the program may take to end and write its profile.
const GRACE: Duration = Duration::from_secs(20);

/// What is run: the gateway as it comes, and with what would be laid out as if it were never used, were it never seen.
const TRAINED: [&str; 3] = ["gatewayd", "gatewayd, access log", "gatewayd, dump"];

/// The scenarios that show what many gateways are asked for.
pub(crate) fn run(program: &Path, seconds: u64) -> Result<()> {
    for (tool, package) in [("nginx", "nginx-light"), ("wrk", "wrk"), ("openssl", "openssl")] {
        ensure!(install::find(tool).is_some(), "training wants `{tool}`: `apt-get install {package}`");
    }
    let interrupt = Interrupt::install()?;
    let directory = tempfile::Builder::new().prefix("gatewayd-train-").tempdir()?;
    let mut ports = Ports::new();
    let origins = Origins::start(directory.path(), &mut ports, &interrupt)?;
    certificate::make(directory.path())?;
    let names = TRAINED.map(str::to_owned);
    let infos = peer::select(&names, false)?;
    for info in infos.into_iter().filter(|info| TRAINED.contains(&info.name)) {
        let peer = Peer::find(info, Some(program))?;
        let has_more = info.name != TRAINED[0];
        for transport in if has_more { &[Transport::Clear][..] } else { &[Transport::Clear, Transport::Tls] }
        {
            let start = Start { wrapper: &[], transport: *transport };
            let proxy = peer.start(&start, directory.path(), origins.ports, &mut ports, &interrupt)?;
            let is_meant = |scenario: &&Scenario| match scenario.transport {
                Transport::Clear => *transport == Transport::Clear && (scenario.first || !has_more),
                Transport::Tls | Transport::TlsAnew => *transport == Transport::Tls,
                Transport::Http2 | Transport::Grpc | Transport::Tcp => false,
            };
            for scenario in ALL.iter().filter(is_meant) {
                eprintln!("  {}: {}", info.name, scenario.summary);
                wrk::run(scenario, proxy.port, seconds, directory.path(), &interrupt)
                    .with_context(|| scenario.name)?;
            }
            if let Some(h2load) = install::find("h2load").filter(|_| !has_more) {
                streams(&h2load, *transport, proxy.port, seconds, directory.path(), &interrupt)?;
            }
            proxy.running.end(GRACE, &interrupt)?;
        }
    }
    Ok(())
}

fn streams(
    h2load: &Path,
    transport: Transport,
    port: u16,
    seconds: u64,
    directory: &Path,
    interrupt: &Interrupt,
) -> Result<()> {
    eprintln!("  1 KiB, streams of HTTP/2");
    let scheme = if transport == Transport::Clear { "http" } else { "https" };
    let arguments = [
        "--clients=16".to_owned(),
        "--max-concurrent-streams=8".to_owned(),
        format!("--duration={seconds}"),
        format!("{scheme}://127.0.0.1:{port}/1k"),
    ];
    let load = Running::start("h2load", Core::Load, h2load, &arguments, &[], directory)?;
    load.output(Duration::from_secs(seconds + 15), interrupt).map(drop)
}
