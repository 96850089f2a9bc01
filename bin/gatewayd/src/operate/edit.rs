//! `gatewayd switch`, `split`, `add`, `remove`, `edits`: a running gateway's configuration, changed from the command line.

use http::Method;
use serde_json::{Map, Value, json};

use super::{ask, field};
use crate::exit::{print, say};
use crate::{Outcome, cli};

/// `gatewayd switch`.
pub(crate) fn switch(args: &cli::Switch) -> Outcome {
    let path = format!("/api/rules/{}/switch", encoded(&args.rule));
    edit(&args.terms, Method::POST, &path, json!({ "upstream": args.upstream }))
}

/// `gatewayd split`.
pub(crate) fn split(args: &cli::Split) -> Outcome {
    let parts = args.parts.iter().map(|(upstream, weight)| json!({ "upstream": upstream, "weight": weight }));
    let mut body = json!({ "parts": parts.collect::<Vec<_>>(), "by": args.by, "header": args.header });
    if let Some(body) = body.as_object_mut() {
        body.retain(|_, value| !value.is_null());
        let watched = [("error_rate", args.max_error_rate), ("p99", args.max_p99)];
        let watched = watched.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?))));
        let watched: Map<String, Value> = watched.collect();
        if !watched.is_empty() {
            body.insert("rollback".to_owned(), Value::Object(watched));
        }
    }
    edit(&args.terms, Method::PUT, &format!("/api/rules/{}/split", encoded(&args.rule)), body)
}

/// `gatewayd add`.
pub(crate) fn add(args: &cli::Add) -> Outcome {
    let body = json!({ "backend": args.backend, "weight": args.weight, "backup": args.backup });
    edit(&args.terms, Method::POST, &members(&args.upstream), body)
}

/// `gatewayd remove`.
pub(crate) fn remove(args: &cli::Remove) -> Outcome {
    edit(&args.terms, Method::DELETE, &members(&args.upstream), json!({ "backend": args.backend }))
}

/// `gatewayd edits`.
pub(crate) fn edits(args: &cli::Edits) -> Outcome {
    let document = match args.revert {
        None => ask(&args.admin, Method::GET, "/api/edits", None, "edits")?,
        Some(id) => ask(&args.admin, Method::DELETE, &format!("/api/edits/{id}"), None, "reverted")?,
    };
    warn_of_the_next_start(&document);
    if args.json {
        print(&document.to_string());
        return Ok(());
    }
    if let Some(id) = args.revert {
        print(&format!("edit {id} is taken back: {}", change(&document)));
        return Ok(());
    }
    let mut lines = format!("version {}", field(&document, "version"));
    for edit in document.get("edits").and_then(Value::as_array).into_iter().flatten() {
        lines.push_str(&format!("\n{}", line(edit)));
    }
    print(&lines);
    Ok(())
}

fn edit(terms: &cli::Terms, method: Method, path: &str, mut body: Value) -> Outcome {
    if let Some(body) = body.as_object_mut() {
        put_terms(terms, body);
    }
    let document = ask(&terms.admin, method, path, Some(&body), "before")?;
    warn_of_the_next_start(&document);
    if terms.json {
        print(&document.to_string());
        return Ok(());
    }
    let what = match document.get("edit").filter(|edit| edit.is_object()) {
        Some(edit) => line(edit),
        None => "as in the file again".to_owned(),
    };
    print(&format!("{what}\n{}", change(&document)));
    Ok(())
}

/// Says where a change is in force, and could not be kept.
pub(super) fn warn_of_the_next_start(document: &Value) {
    if let Some(reason) = document.get("not_kept").and_then(Value::as_str) {
        say(&format!("warning: it is in force, and the next start will not know of it: {reason}"));
    }
}

/// What any change may be asked for with.
pub(super) fn put_terms(terms: &cli::Terms, body: &mut Map<String, Value>) {
    if let Some(expires) = terms.expires {
        body.insert("expires".to_owned(), json!(humantime::format_duration(expires).to_string()));
    }
    if terms.persist {
        body.insert("persist".to_owned(), json!(true));
    }
    if let Some(version) = terms.if_version {
        body.insert("version".to_owned(), json!(version));
    }
}

fn change(document: &Value) -> String {
    let (before, after) = (field(document, "before"), field(document, "after"));
    format!("{before} → {after}, version {}", field(document, "version"))
}

/// An edit, for people.
pub(super) fn line(edit: &Value) -> String {
    let ms = |name: &str| edit.get(name).and_then(Value::as_u64);
    let end = match (edit.get("expires_at").and_then(Value::as_str), ms("expires_at_ms")) {
        (Some(end), _) => format!(", until {end}"),
        (None, Some(end)) => {
            let end = std::time::UNIX_EPOCH + std::time::Duration::from_millis(end);
            format!(", until {}", crate::why::rfc3339(end))
        }
        (None, None) => String::new(),
    };
    let kept = if edit.get("persist").and_then(Value::as_bool) == Some(true) { ", kept" } else { "" };
    format!("edit {}: {}, by {}{end}{kept}", field(edit, "id"), field(edit, "text"), field(edit, "by"))
}

fn members(upstream: &str) -> String {
    format!("/api/upstreams/{}/backends", encoded(upstream))
}

fn encoded(name: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
}
