//! How the program ends: exit statuses that scripts can rely on (sysexits.h), and the last words on standard error.

use std::io::IsTerminal;
use std::process::ExitCode;

use lb_config::Diagnostics;
use lb_http::StartError;

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
    /// Says what is wrong and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Config(diagnostics) => {
                say(diagnostics.render(std::io::stderr().is_terminal()).trim_end());
                ExitCode::from(CONFIG)
            }
            Self::Refused(reason) => {
                say(&format!("error: {reason}"));
                ExitCode::from(CONFIG)
            }
            Self::Other(error) => {
                say(&format!("error: {error:#}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// Help and version go to standard output and are no failure; the rest is a wrong command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// Prints a line for people to standard error.
#[expect(clippy::print_stderr, reason = "the one place that talks to the person at the terminal")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Prints what was asked for to standard output.
#[expect(clippy::print_stdout, reason = "the one place that prints what a command was asked for")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
