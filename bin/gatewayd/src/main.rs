//! The gateway program: parse arguments, load, wire, serve, drain. Everything else stands in the library crates.

mod access;
mod admin;
mod alerts;
mod api;
mod backend;
mod check;
mod cli;
mod client;
mod config;
mod demo;
mod discovery;
mod dump;
mod edits;
mod effective;
mod exit;
mod explain;
mod import;
mod inherit;
mod kept;
mod logging;
mod operate;
mod proxy;
mod registered;
mod reload;
mod rolled_back;
mod run;
mod shell;
mod signals;
mod status;
mod systemd;
mod top;
mod traces;
mod upgrade;
mod watch;
mod why;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Failure;

// Measured against the system's: fewer and cheaper trips into the kernel for the small, short-lived pieces of a head.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    logging::start(cli.log_format);
    // The allocator asks for huge pages. A reload then has whole ones cleared, on a virtual machine milliseconds for each, in which the
    // worker of that core waits; requests cost the same without. Where the system has none, there is nothing to turn off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    inherit::adopt_from_systemd();
    let result = match cli.command {
        None => run::run_or_demo(&cli::Run::default()),
        Some(Command::Run(run)) => run::run(&run),
        Some(Command::Demo) => demo::demo(),
        Some(Command::Proxy(proxy)) => proxy::proxy(&proxy),
        Some(Command::Backend(backend)) => backend::backend(&backend),
        Some(Command::Check(check)) => check::check(&check),
        Some(Command::Dump(command)) => dump::dump(&command),
        Some(Command::Explain(args)) => explain::explain(&args),
        Some(Command::Why(args)) => why::why(&args),
        Some(Command::Config(cli::Config::Show(args))) => config::show(&args),
        Some(Command::Import(args)) => import::import(&args),
        Some(Command::Schema) => config::schema(),
        Some(Command::Completions(args)) => shell::completions(&args),
        Some(Command::Man(args)) => shell::man(&args),
        Some(Command::Reload(reload)) => operate::reload(&reload),
        Some(Command::Upgrade(args)) => operate::upgrade(&args),
        Some(Command::Status(status)) => operate::status(&status),
        Some(Command::Drain(change)) => operate::drain(&change, "drain"),
        Some(Command::Undrain(change)) => operate::drain(&change, "undrain"),
        Some(Command::Weight(weight)) => operate::weight(&weight),
        Some(Command::Switch(args)) => operate::edit::switch(&args),
        Some(Command::Split(args)) => operate::edit::split(&args),
        Some(Command::Add(args)) => operate::edit::add(&args),
        Some(Command::Remove(args)) => operate::edit::remove(&args),
        Some(Command::Edits(args)) => operate::edit::edits(&args),
        Some(Command::LogLevel(args)) => operate::log_level(&args),
        Some(Command::Top(args)) => top::top(&args),
    };
    let code = match result {
        Ok(()) => exit::good(),
        Err(failure) => {
            inherit::failed(&failure);
            failure.report()
        }
    };
    logging::finish();
    code
}

/// What a command comes to.
type Outcome = Result<(), Failure>;
