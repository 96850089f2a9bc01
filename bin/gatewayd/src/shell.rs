//! `gatewayd completions` and `gatewayd man`: what shells and `man` are told, made from the command line itself.

use anyhow::Context;
use clap::CommandFactory;

use crate::Outcome;
use crate::cli::{self, Cli};
use crate::exit::{Failure, print};

/// Prints a shell's completion script.
pub(crate) fn completions(args: &cli::Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gatewayd", &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// Prints a command's manual page, or writes all of them.
pub(crate) fn man(args: &cli::Man) -> Outcome {
    let mut command = Cli::command().disable_help_subcommand(true);
    // Names the commands below by what is typed: gatewayd-config-show.
    command.build();
    if let Some(directory) = &args.dir {
        let written = clap_mangen::generate_to(command, directory);
        written.with_context(|| format!("cannot write manual pages into {}", directory.display()))?;
        return Ok(());
    }
    let mut named = command;
    for name in &args.command {
        let known = named.get_subcommands().map(|it| it.get_name().to_owned()).collect::<Vec<_>>().join(", ");
        let found = named.find_subcommand(name).cloned();
        named = found
            .ok_or_else(|| Failure::Usage(format!("there is no command {name:?}; there are {known}")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(named).render(&mut page).context("cannot write the manual page")?;
    print(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}
