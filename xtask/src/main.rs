//! The project's own commands, `cargo xtask COMMAND`: one file a command, and this dispatcher.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program prints")]

mod bench;
mod release;
mod test;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run all tests, after checking (or installing) what they need beside Rust.
    Test(test::Args),
    /// Build the program as it is given out, optimised by a profile of load, and pack it.
    Release(release::Args),
    /// Check what neither rustfmt nor clippy can: file headers and lengths, crate edges, documents.
    Tidy(tidy::Args),
    /// Measure and print tables.
    Bench(bench::Args),
    /// A backend of `bench faults`, which starts it.
    #[command(name = bench::faults::BACKEND, hide = true)]
    FaultBackend,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    // Every command works from the workspace's root, wherever it was called.
    if let Some(root) = Path::new(env!("CARGO_MANIFEST_DIR")).parent() {
        std::env::set_current_dir(root)?;
    }
    match command {
        Command::Test(args) => test::run(args),
        Command::Release(args) => release::run(args),
        Command::Tidy(args) => tidy::run(args),
        Command::Bench(args) => bench::run(args),
        Command::FaultBackend => {
            lb_faults::backend::serve_if_asked();
            Ok(())
        }
    }
}
