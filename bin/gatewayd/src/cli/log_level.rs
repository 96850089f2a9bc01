//! What may be typed of a running gateway's log level.

use std::time::Duration;

use clap::Args;

use super::AdminAt;

pub(crate) const LOG_LEVEL_HELP: &str = "\
Levels: off, error, warn, info, debug, trace; one for everything, and others for modules.
  gatewayd log-level                                   the present one
  gatewayd log-level lb_health=debug                   more of the probes, the rest at info
  gatewayd log-level lb_http=debug --for 10m           each request's decisions, for ten minutes";

#[derive(Debug, Args)]
pub(crate) struct LogLevel {
    /// The level from now on; without it the present one is printed
    #[arg(value_name = "DIRECTIVES")]
    pub(crate) level: Option<String>,

    /// For so long, then as before
    #[arg(long = "for", value_name = "DURATION", requires = "level", allow_hyphen_values = true, value_parser = super::edit::ahead)]
    pub(crate) lasts: Option<Duration>,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
