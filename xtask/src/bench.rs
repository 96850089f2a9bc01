//! `cargo xtask bench`: measurements, printed as tables.

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The benchmark and its options.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Run the benchmark named first.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::bail!("no benchmark of that name: {:?}", args.arguments)
}
