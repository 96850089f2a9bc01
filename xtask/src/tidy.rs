//! `cargo xtask tidy`: the rules of the house that neither rustfmt nor clippy can check.

/// Nothing to choose.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Report every breach, with its place.
pub(crate) fn run(_: &Args) -> anyhow::Result<()> {
    anyhow::bail!("no check yet")
}
