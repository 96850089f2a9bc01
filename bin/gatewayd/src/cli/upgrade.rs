//! What may be typed of an upgrade.

use std::time::Duration;

use clap::Args;

use super::AdminAt;

pub(crate) const UPGRADE_HELP: &str = "\
Starts the program at the path that the gateway was started from, with the same arguments, and hands it the listening
sockets: no connection is lost. Once the new process serves, the old one drains. If the new one fails, the old one goes on.
SIGUSR2 does the same.

Exit status: 0 upgraded, 78 the new process refused its configuration, 1 anything else.";

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// How long the new process may take to serve
    #[arg(long, value_name = "DURATION", default_value = "60s", allow_hyphen_values = true, value_parser = super::edit::ahead)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) admin: AdminAt,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
