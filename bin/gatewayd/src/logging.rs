//! Log lines on standard error: JSON for machines, text for people. `GATEWAYD_LOG`, or else
//! `RUST_LOG`, sets levels by module in tracing's notation (`info`, `lb_http=debug`).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts logging for the process.
pub(crate) fn start(format: LogFormat) {
    let filter = ["GATEWAYD_LOG", "RUST_LOG"].into_iter().find_map(|name| EnvFilter::try_from_env(name).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match (format, is_terminal) {
        (LogFormat::Json, _) | (LogFormat::Auto, false) => builder.json().flatten_event(true).init(),
        (LogFormat::Text, _) | (LogFormat::Auto, true) => builder.with_ansi(is_terminal).init(),
    }
}
