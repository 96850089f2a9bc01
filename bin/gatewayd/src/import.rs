//! `gatewayd import`: another proxy's configuration as one of this gateway's.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use lb_config::{Format, Sources};
use lb_import::{ImportError, Source};
use serde_json::json;

use crate::cli::ImportSource;
use crate::exit::{self, Failure};
use crate::{Outcome, cli};

/// Writes the configuration and the report.
pub(crate) fn import(args: &cli::Import) -> Outcome {
    let source = match args.source {
        ImportSource::Backworks => Source::Backworks,
        ImportSource::Servex => Source::Servex,
        ImportSource::Nginx => Source::Nginx,
        ImportSource::Haproxy => Source::Haproxy,
    };
    let imported = lb_import::import(source, &args.file).map_err(|error| match error {
        ImportError::Read { .. } => Failure::Other(error.into()),
        _ => Failure::Refused(error.to_string()),
    })?;
    if let Some(output) = &args.output {
        write(output, &imported.toml)?;
    }
    match (args.json, &args.output) {
        (true, _) => {
            let document = json!({ "config": imported.toml, "lines": imported.report.lines });
            exit::print(&document.to_string());
        }
        (false, None) => exit::print(imported.toml.trim_end()),
        (false, Some(_)) => {}
    }
    if !args.json {
        exit::say(&imported.report.to_string());
    }
    // Files that it names may be on another machine, so this is no failure.
    let name =
        args.output.as_ref().map_or_else(|| "the import".to_owned(), |output| output.display().to_string());
    if let Err(found) = lb_config::load(&Sources::text(name, Format::Toml, imported.toml.as_str())) {
        exit::say(found.render(false).trim_end());
        exit::say("`gatewayd check` will say so, too: mend it by hand");
    }
    Ok(())
}

fn write(output: &Path, text: &str) -> anyhow::Result<()> {
    let name = output.display();
    let mut file = File::create_new(output).with_context(|| format!("cannot write {name}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {name}"))
}
