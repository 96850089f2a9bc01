//! What may be typed of an import.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) const IMPORT_HELP: &str = "\
Prints a configuration for gatewayd, and on standard error what became of every line: converted, approximated, or left out,
and why. What protects something and cannot be kept closes what it guards (503), where that can be said.
  gatewayd import nginx /etc/nginx/nginx.conf -o gatewayd.toml && gatewayd check gatewayd.toml";

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Whose configuration it is
    #[arg(value_enum)]
    pub(crate) source: ImportSource,

    /// The file; those that it includes are read, too
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Where to write the configuration, in place of standard output; a file that is there stays
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,

    /// Print the report, and the configuration in it, as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportSource {
    /// A blueprint (YAML)
    Backworks,
    /// Its configuration (YAML)
    Servex,
    /// nginx.conf
    Nginx,
    /// haproxy.cfg
    Haproxy,
}
