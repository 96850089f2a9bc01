//! How the program ends: exit statuses that scripts can rely on (sysexits.h), and the last words on standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use lb_config::{Diagnostics, Places};
use lb_http::StartError;
use lb_http::config::GatewayConfig;

use crate::logging;

/// A wrong command line.
const USAGE: u8 = 64;
/// A wrong configuration.
const CONFIG: u8 = 78;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is refused.
    Config(Diagnostics),
    /// The configuration cannot be put in force here; the sentence says what to do.
    Refused(String),
    /// The configuration is refused by a running gateway, in these words.
    Told(String),
    /// What was typed makes no sense; the sentence says what does.
    Usage(String),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Config(diagnostics)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Worker(_) => Self::Other(error.into()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl Failure {
    /// Why a configuration cannot be put in force, with the place of what is meant where that is known.
    pub(crate) fn at(error: StartError, config: &GatewayConfig, places: &Places) -> Self {
        let place = error.listener().and_then(|name| {
            let index = config.listeners.iter().position(|listener| listener.name == name)?;
            places.listener(&format!("listeners[{index}].address"))
        });
        match place {
            Some(place) => Self::Refused(format!("{place}: {error}")),
            None => error.into(),
        }
    }

    /// Says what is wrong and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        say(self.text(io::stderr().is_terminal()).trim_end());
        match self {
            Self::Config(_) | Self::Refused(_) | Self::Told(_) => ExitCode::from(CONFIG),
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }

    /// What is wrong, for people, with ANSI colours if asked for.
    pub(crate) fn text(&self, color: bool) -> String {
        match self {
            Self::Config(diagnostics) => diagnostics.render(color),
            Self::Told(text) => text.clone(),
            Self::Refused(reason) | Self::Usage(reason) => format!("error: {reason}"),
            Self::Other(error) => format!("error: {error:#}"),
        }
    }

    /// The same in a line.
    pub(crate) fn first_line(&self) -> String {
        if let Self::Config(diagnostics) = self
            && let Some(first) =
                diagnostics.as_slice().iter().find(|found| found.severity == lb_config::Severity::Error)
        {
            let place = match (&first.file, first.line) {
                (Some(file), Some(line)) => format!("{file}:{line}: "),
                (Some(file), None) => format!("{file}: "),
                _ => String::new(),
            };
            let more = match diagnostics.errors() {
                0 | 1 => String::new(),
                errors => format!(" (and {} more)", errors - 1),
            };
            return format!("{place}{}{more}", first.message);
        }
        self.text(false).lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    }
}

/// Help and version go to standard output and are no failure; the rest is a wrong command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// Prints a line for people to standard error. Where nobody reads it, that is all there is to it: a gateway goes on.
pub(crate) fn say(line: &str) {
    logging::say(line);
}

/// Whether something that was asked for could not be printed.
static IS_UNPRINTED: AtomicBool = AtomicBool::new(false);

/// Prints what was asked for to standard output. Who reads only its beginning, as `head` does, has had what was wanted.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        say(&format!("error: cannot print: {error}"));
        IS_UNPRINTED.store(true, Relaxed);
    }
}

/// The status of a command that has done what it was told to.
pub(crate) fn good() -> ExitCode {
    if IS_UNPRINTED.load(Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
