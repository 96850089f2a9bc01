//! `gatewayd config show`: the configuration in effect, and where each value came from. `gatewayd schema`: what can be written.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use http::Method;
use lb_config::{Loaded, Provenance};
use serde_json::json;

use crate::edits::{self, Edit};
use crate::exit::{print, say};
use crate::{Outcome, cli, operate, run, why};

/// Loads on the path of `run`, and prints. Secrets, and what placeholders stand for, are not shown. What operators edited stands
/// behind what it overrides: as the state file keeps it for the next start, or as a running gateway has it.
pub(crate) fn show(args: &cli::ConfigShow) -> Outcome {
    let named = args.file.clone().or_else(|| args.config.clone());
    let path = named
        .or_else(lb_config::find_config)
        .ok_or_else(|| run::no_file("name one: `gatewayd config show FILE`"))?;
    let loaded = lb_config::load(&run::sources(path, args.strategy.as_deref()).with_provenance())?;
    let mut values = lb_config::effective(&loaded);
    values.extend(edited(args, &loaded)?);
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

/// What was edited while it ran.
fn edited(args: &cli::ConfigShow, loaded: &Loaded) -> anyhow::Result<Vec<Provenance>> {
    let (edits, source) = if args.live || args.admin.is_named() {
        let document = operate::ask(&args.admin, Method::GET, "/api/edits", None, "edits")?;
        let edits = document.get("edits").cloned().unwrap_or_default();
        (
            serde_json::from_value(edits).context("the gateway's edits are of another version")?,
            "api".to_owned(),
        )
    } else {
        let Some(file) = loaded.config.state_file.as_deref().map(edits::file_of) else {
            return Ok(Vec::new());
        };
        let place = file.display().to_string();
        match edits::read(&file) {
            Ok(edits) => (edits, place),
            Err(reason) => {
                say(&format!("warning: {place}: edits of an earlier run are not taken up: {reason}"));
                return Ok(Vec::new());
            }
        }
    };
    Ok(edits.iter().map(|edit: &Edit| value_of(edit, &source)).collect())
}

fn value_of(edit: &Edit, source: &str) -> Provenance {
    let (path, value) = edit.what.value();
    let time = |ms| why::rfc3339(UNIX_EPOCH + Duration::from_millis(ms));
    let until = edit.expires_at_ms.map(|end| format!(" until {}", time(end))).unwrap_or_default();
    let place = format!("{source}: edit {} by {} at {}{until}", edit.id, edit.by, time(edit.made_at_ms));
    Provenance { path, value, place }
}

/// `gatewayd schema`.
pub(crate) fn schema() -> Outcome {
    let text = serde_json::to_string_pretty(&lb_config::schema()).map_err(anyhow::Error::from)?;
    print(&text);
    Ok(())
}
