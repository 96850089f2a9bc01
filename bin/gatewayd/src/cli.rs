//! The command line: what may be typed, and its help.

mod admin_at;
mod edit;
mod import;
mod log_level;
mod look;
mod upgrade;

use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use admin_at::AdminAt;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use edit::{Add, Edits, Remove, Split, Switch, Terms};
use edit::{SPLIT_HELP, SWITCH_HELP};
use import::IMPORT_HELP;
pub(crate) use import::{Import, ImportSource};
use lb_dump::{Since, Statuses};
use log_level::LOG_LEVEL_HELP;
pub(crate) use log_level::LogLevel;
pub(crate) use look::{Completions, Config, ConfigShow, Explain, Man, Why};
use look::{EXPLAIN_HELP, WHY_HELP};
use upgrade::UPGRADE_HELP;
pub(crate) use upgrade::Upgrade;

/// An HTTP load balancer, reverse proxy and API gateway.
///
/// Without a command it runs the configuration it finds (./gatewayd.toml, .yaml, .yml or .json, then the same in
/// /etc/gatewayd/), or else the built-in demo.
#[derive(Debug, Parser)]
#[command(name = "gatewayd", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// How log lines are written to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, env = "GATEWAYD_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

const EXAMPLES: &str = "\
Examples:
  gatewayd demo                                        a tour at http://127.0.0.1:8080
  gatewayd proxy --to localhost:3000                   a proxy without a file
  gatewayd check gatewayd.toml && gatewayd run -c gatewayd.toml

Exit status: 0 good, 64 usage, 78 configuration, 1 anything else.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a configuration
    #[command(alias = "start")]
    Run(Run),
    /// Run the built-in demo: four rules, four strategies, ten echo backends
    Demo,
    /// Run a proxy without a configuration file
    Proxy(Proxy),
    /// Run echo backends for trials
    #[command(after_help = BACKEND_HELP)]
    Backend(Backend),
    /// Check a configuration without running it
    Check(Check),
    /// Say what would become of a request, and why
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
    /// Say what was decided of a request that has been, and why
    #[command(after_help = WHY_HELP)]
    Why(Why),
    /// Look at a configuration
    #[command(subcommand)]
    Config(Config),
    /// Read a traffic dump
    #[command(subcommand)]
    Dump(Dump),
    /// Have a running gateway read its configuration again
    #[command(after_help = RELOAD_HELP)]
    Reload(Reload),
    /// Have a running gateway replaced by the program that stands at its path now
    #[command(after_help = UPGRADE_HELP)]
    Upgrade(Upgrade),
    /// Show a running gateway's upstreams and backends
    Status(Status),
    /// Watch a running gateway in the terminal
    #[command(after_help = TOP_HELP)]
    Top(Top),
    /// Give a backend no new requests; those it has finish
    Drain(Change),
    /// Give a drained backend requests again
    Undrain(Change),
    /// Change a backend's share of requests until the next start, or until the file changes it
    Weight(SetWeight),
    /// Have a rule lead to another upstream, at once
    #[command(after_help = SWITCH_HELP)]
    Switch(Switch),
    /// Share a rule's requests out between upstreams
    #[command(after_help = SPLIT_HELP)]
    Split(Split),
    /// Add a backend to an upstream
    Add(Add),
    /// Remove a backend from an upstream
    Remove(Remove),
    /// Show what was changed of a running gateway's configuration, or take one of it back
    Edits(Edits),
    /// Show or change which lines a running gateway logs
    #[command(after_help = LOG_LEVEL_HELP)]
    LogLevel(LogLevel),
    /// Translate a configuration of nginx, HAProxy, Backworks or Servex
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
    /// Print the JSON schema of configurations, for editors
    Schema,
    /// Print a shell's completion script
    Completions(Completions),
    /// Print a manual page, or write all of them
    Man(Man),
}

#[derive(Debug, Default, Args)]
pub(crate) struct Run {
    /// The configuration [default: ./gatewayd.{toml,yaml,yml,json}, then /etc/gatewayd/]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The same, as check is told it
    #[arg(value_name = "FILE", conflicts_with = "config", hide = true)]
    pub(crate) file: Option<PathBuf>,

    /// The strategy of rules and upstreams that name none; beats LB_STRATEGY and the file
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Option<String>,

    /// Read the file again whenever it changes; SIGHUP and `gatewayd reload` do so at any time
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// A backend: a URL, or HOST:PORT
    #[arg(long, value_name = "URL", required = true)]
    pub(crate) to: Vec<String>,

    /// Where clients connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// How a backend is chosen
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Option<String>,

    /// Print the configuration that this stands for, and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

const BACKEND_HELP: &str = "\
Answers every request with JSON about it. One answer is steered by its query: ?delay=50ms, ?status=503,
?bytes=1048576. /health answers 200; PUT /health?status=503 changes that.";

#[derive(Debug, Args)]
pub(crate) struct Backend {
    /// Where to listen; several addresses make several backends
    #[arg(long, value_name = "ADDR", required = true, value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration [default: as for run]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The same, as run is told it
    #[arg(short, long, value_name = "FILE", conflicts_with = "file", hide = true)]
    pub(crate) config: Option<PathBuf>,

    /// The strategy, as for run
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Option<String>,

    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dump {
    /// One line an exchange
    Show(DumpShow),
    /// Counts and durations by rule, backend and status
    Stats(DumpShow),
    /// The exchanges as other programs take them
    Export(DumpExport),
}

#[derive(Debug, Args)]
pub(crate) struct DumpShow {
    #[command(flatten)]
    pub(crate) source: DumpSource,

    /// Print it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DumpExport {
    /// har: an HTTP Archive for developer tools; curl: commands that ask the same again
    #[arg(value_enum)]
    pub(crate) form: ExportForm,

    #[command(flatten)]
    pub(crate) source: DumpSource,

    /// Where curl's requests are to go, in place of the host that was asked for
    #[arg(long, value_name = "URL")]
    pub(crate) base: Option<String>,
}

/// Which entries of which dump.
#[derive(Debug, Args)]
pub(crate) struct DumpSource {
    /// The dump's directory
    #[arg(value_name = "DIRECTORY", default_value = "traffic_dumps")]
    pub(crate) directory: PathBuf,

    /// Of this rule
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,

    /// Of the backend whose URL has this in it
    #[arg(long, value_name = "PART")]
    pub(crate) backend: Option<String>,

    /// With this status: 404, 4xx or 500-503
    #[arg(long)]
    pub(crate) status: Option<Statuses>,

    /// With this method
    #[arg(long)]
    pub(crate) method: Option<String>,

    /// Whose path begins so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) path: Option<String>,

    /// From this moment on: RFC 3339, or so long ago (10m)
    #[arg(long, value_name = "MOMENT")]
    pub(crate) since: Option<Since>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportForm {
    /// HTTP Archive 1.2
    Har,
    /// Shell commands
    Curl,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const RELOAD_HELP: &str = "\
Prints what changes, once it is in force in every worker. Requests under way end as they began; what is not changed keeps
its connections, figures and health. A file that is refused changes nothing.

Exit status: 0 in force, 78 refused, 1 not reached.";

#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The backend's URL as configured
    pub(crate) backend: String,

    /// Its upstream, where several have a backend of this URL
    #[arg(long, value_name = "NAME")]
    pub(crate) upstream: Option<String>,

    #[command(flatten)]
    pub(crate) terms: Terms,
}

#[derive(Debug, Args)]
pub(crate) struct SetWeight {
    #[command(flatten)]
    pub(crate) change: Change,

    /// Its weight; 0 means no new requests
    #[arg(allow_negative_numbers = true, value_parser = edit::weight)]
    pub(crate) weight: f64,
}

/// Which backends, in which order.
#[derive(Debug, Args)]
pub(crate) struct View {
    /// Words that must all stand in a backend's URL, upstream or state
    #[arg(long, value_name = "WORDS")]
    pub(crate) find: Option<String>,

    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Place)]
    pub(crate) sort: Sort,
}

const TOP_HELP: &str = "\
Keys: Tab other lists; / finds, Esc shows all; order by n name, s state, r requests/s, e errors, l latency, a in flight,
o as configured; arrows and PgUp, PgDn move; q quits.";

#[derive(Debug, Args)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) admin: AdminAt,

    #[command(flatten)]
    pub(crate) view: View,

    /// Print once and end
    #[arg(long)]
    pub(crate) once: bool,

    /// Print once, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// An order of backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// As configured; those that take no requests first where not all fit
    Place,
    /// By URL
    Name,
    /// Those that take no requests
    State,
    /// Most requests a second
    Rate,
    /// Highest share of failures
    Errors,
    /// Slowest
    Latency,
    /// Most in flight
    Active,
}

impl Sort {
    /// As the admin address calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Place => "place",
            Self::Name => "name",
            Self::State => "state",
            Self::Rate => "rate",
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Active => "active",
        }
    }

    /// The order that a key of `top` stands for.
    pub(crate) fn of_key(letter: char) -> Option<Self> {
        Some(match letter {
            'o' => Self::Place,
            'n' => Self::Name,
            's' => Self::State,
            'r' => Self::Rate,
            'e' => Self::Errors,
            'l' => Self::Latency,
            'a' => Self::Active,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// One JSON object a line
    Json,
    /// Text for people
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn start_is_run() {
        let cli = Cli::try_parse_from(["gatewayd", "start", "-c", "x.toml"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Run(Run { config: Some(_), .. }))));
    }
}
