//! The commands that look and change nothing: `explain`, `why`, `config`, `completions`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AdminAt;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print every value in effect, and where it came from: flag, environment, file and line, default
    Show(ConfigShow),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigShow {
    /// The configuration [default: as for run]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The strategy, as for run
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Option<String>,

    /// Add what operators edited in a running gateway, instead of what its state file keeps of that
    #[arg(long)]
    pub(crate) live: bool,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

pub(super) const EXPLAIN_HELP: &str = "\
Nothing is sent. From a file every backend is taken for healthy and idle; with --live a running gateway is asked, which knows.

Examples:
  gatewayd explain GET http://api.example.com/v1/users
  gatewayd explain POST /upload -H 'Host: example.com' --from 203.0.113.7 --live";

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The request's method
    pub(crate) method: String,

    /// Its URL, or its path alone; without a scheme it comes by https where all listeners speak TLS
    pub(crate) url: String,

    /// A header field of it
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,

    /// Who is connected to the gateway [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) from: Option<IpAddr>,

    /// The configuration [default: as for run]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The strategy, as for run
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Option<String>,

    /// Ask a running gateway
    #[arg(long, conflicts_with_all = ["config", "strategy"])]
    pub(crate) live: bool,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) const WHY_HELP: &str = "\
The id is that of the answer's X-Request-Id, of the access log and of error pages. The last exchanges of each worker are kept, and
apart from them the last of which something went wrong, wherever there is an admin address.";

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The request's id
    #[arg(value_name = "REQUEST-ID")]
    pub(crate) id: String,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
