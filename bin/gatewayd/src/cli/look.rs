//! The commands that look and change nothing: `explain`, `why`, `config`, `completions`, `man`.

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

    /// The same, as run is told it
    #[arg(short, long, value_name = "FILE", conflicts_with = "file", hide = true)]
    pub(crate) config: Option<PathBuf>,

    /// The strategy, as for run
    #[arg(long, value_name = "NAME")]
    pub(crate) strategy: Option<String>,

    /// Add what operators edited in a running gateway, instead of what its state file keeps of that; --admin says so, too
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

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The command whose page is printed, such as run or config show [default: gatewayd's own, which names all others]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Vec<String>,

    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}

pub(super) const EXPLAIN_HELP: &str = "\
Nothing is sent, and no name is looked up. From a file every backend is taken for healthy and idle; with --live a running gateway
is asked, which knows.

Examples:
  gatewayd explain GET http://api.example.com/v1/users
  gatewayd explain POST /upload -H 'Host: example.com' --from 203.0.113.7 --live
  gatewayd explain tcp://127.0.0.1:6379                      a TCP listener by its address, or by its name: tcp://db
  gatewayd explain tcp://0.0.0.0:443 --sni db.example.com    where a name leads that a client's TLS asks for
  gatewayd explain CONNECT example.com:443                   what a forward proxy makes of it
  gatewayd explain --proxy GET http://example.com/ --leads-to 10.0.0.7";

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The request's method, or of a GET its URL; of a TCP listener tcp://ADDRESS, or tcp://NAME
    #[arg(value_name = "METHOD|URL")]
    pub(crate) what: String,

    /// The request's URL, or its path alone; without a scheme it comes by https where all listeners speak TLS
    #[arg(value_name = "URL")]
    pub(crate) url: Option<String>,

    /// A header field of it
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,

    /// Who is connected to the gateway [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) from: Option<IpAddr>,

    /// The name that the TLS of a connection to a TCP listener asks for
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,

    /// The client that the connection's PROXY header names
    #[arg(long, value_name = "IP")]
    pub(crate) proxied_for: Option<IpAddr>,

    /// The request comes from a client that has the gateway for its proxy, as CONNECT always does
    #[arg(short = 'x', long)]
    pub(crate) proxy: bool,

    /// The forward proxy that is asked: a listener's name or address [default: the first]
    #[arg(long, value_name = "LISTENER")]
    pub(crate) listener: Option<String>,

    /// An address that the name leads to which a forward proxy is asked for
    #[arg(long, value_name = "IP")]
    pub(crate) leads_to: Vec<IpAddr>,

    /// Who asks a forward proxy that has users; passwords are not looked at
    #[arg(long, value_name = "NAME")]
    pub(crate) proxy_user: Option<String>,

    /// The configuration [default: as for run]
    #[arg(short, long, value_name = "FILE", conflicts_with = "admin")]
    pub(crate) config: Option<PathBuf>,

    /// The strategy, as for run
    #[arg(long, value_name = "NAME", conflicts_with = "admin")]
    pub(crate) strategy: Option<String>,

    /// Ask a running gateway; --admin says so, too
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
