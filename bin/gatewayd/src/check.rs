//! `gatewayd check`: everything that is wrong with a configuration, without running it.

use std::io::IsTerminal;

use lb_config::Diagnostic;
use lb_observe::Registry;

use crate::exit::{self, Failure};
use crate::{Outcome, cli, run};

/// Loads and lowers on the path of `run`; binds no port and resolves no name.
pub(crate) fn check(args: &cli::Check) -> Outcome {
    let Some(path) = args.file.clone().or_else(|| args.config.clone()).or_else(lb_config::find_config) else {
        return Err(run::no_file("name one: `gatewayd check FILE`"));
    };
    let loaded = run::load(path.clone(), args.strategy.as_deref());
    if args.json {
        let (ok, found) = match &loaded {
            Ok(loaded) => (true, loaded.warnings.as_slice()),
            Err(Failure::Config(diagnostics)) => (false, diagnostics.as_slice()),
            Err(_) => (false, &[][..]),
        };
        exit::print(&as_json(ok, found));
    }
    let loaded = loaded?;
    lb_http::validate(&loaded.config, &Registry::default())?;
    if !args.json {
        for warning in &loaded.warnings {
            exit::say(warning.render(std::io::stderr().is_terminal()).trim_end());
        }
        let (rules, upstreams) = (loaded.config.rules.len(), loaded.config.upstreams.len());
        exit::print(&format!("{}: good; {rules} rules, {upstreams} upstreams", path.display()));
    }
    Ok(())
}

fn as_json(ok: bool, diagnostics: &[Diagnostic]) -> String {
    serde_json::json!({ "ok": ok, "diagnostics": diagnostics }).to_string()
}
