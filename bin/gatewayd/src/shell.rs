//! `gatewayd completions` and `gatewayd man`: what shells and `man` are told, made from the command line itself.

use anyhow::Context;
use clap::CommandFactory;

use crate::Outcome;
use crate::cli::{self, Cli};
use crate::exit::print;

/// Prints a shell's completion script.
pub(crate) fn completions(args: &cli::Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gatewayd", &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// Prints the manual page.
pub(crate) fn man() -> Outcome {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).context("cannot write the manual page")?;
    print(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}
