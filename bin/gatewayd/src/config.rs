//! `gatewayd config show`: the configuration in effect, and where each value came from. `gatewayd schema`: what can be written.

use lb_config::Provenance;
use serde_json::json;

use crate::exit::print;
use crate::{Outcome, cli, run};

/// Loads on the path of `run`, and prints. Secrets, and what placeholders stand for, are not shown.
pub(crate) fn show(args: &cli::ConfigShow) -> Outcome {
    let path = args.file.clone().or_else(lb_config::find_config).ok_or_else(run::no_file)?;
    let loaded = lb_config::load(&run::sources(path, args.strategy.as_deref()).with_provenance())?;
    let values = lb_config::effective(&loaded);
    if args.json {
        let row = |Provenance { path, value, place }: &Provenance| json!({ "path": path, "value": value.trim_matches('`'), "source": place });
        print(&json!(values.iter().map(row).collect::<Vec<_>>()).to_string());
        return Ok(());
    }
    let width = |text: &dyn Fn(&Provenance) -> usize| values.iter().map(text).max().unwrap_or(0).min(60);
    let (paths, texts) = (width(&|it| it.path.len()), width(&|it| it.value.len()));
    let mut out = String::new();
    for Provenance { path, value, place } in &values {
        let value = value.trim_matches('`');
        out.push_str(&format!("{path:<paths$}  {value:<texts$}  {place}\n"));
    }
    print(out.trim_end());
    Ok(())
}

/// `gatewayd schema`.
pub(crate) fn schema() -> Outcome {
    let text = serde_json::to_string_pretty(&lb_config::schema()).map_err(anyhow::Error::from)?;
    print(&text);
    Ok(())
}
