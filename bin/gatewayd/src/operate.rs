//! `gatewayd status`, `reload`, `upgrade`, `drain`, `undrain`, `weight`, `log-level`: a running gateway's admin address, from the
//! command line.

pub(crate) mod edit;

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::exit::{self, Failure, print};
use crate::run::control_runtime;
use crate::{Outcome, cli, client};

/// How long the gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// The same for reading a configuration anew, which may be large and have names to resolve.
const RELOAD_DEADLINE: Duration = Duration::from_secs(60);

/// What to do where no gateway answers.
const ADDRESS_HELP: &str = "a gateway answers where `[admin] address` in its configuration says; name that by --admin HOST:PORT, or https://HOST:PORT where it has `tls`";

/// `gatewayd status`.
pub(crate) fn status(args: &cli::Status) -> Outcome {
    let document = ask(&args.admin, Method::GET, "/proxy-status", None, "upstreams")?;
    match args.json {
        true => print(&document.to_string()),
        false => print(table(&document).trim_end()),
    }
    Ok(())
}

/// `gatewayd reload`: refused as `check` would refuse it, with its exit status.
pub(crate) fn reload(args: &cli::Reload) -> Outcome {
    let path = if args.dry_run { "/api/reload?dry_run" } else { "/api/reload" };
    let (status, document) = send(&args.admin, Method::POST, path, None, RELOAD_DEADLINE)?;
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        if args.json {
            print(&document.to_string());
        }
        return Err(Failure::Told(field(&document, "rendered")));
    }
    let document = good(&args.admin, status, document, "summary")?;
    for warning in document.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        exit::say(&format!("warning: {}", field(warning, "message")));
    }
    match args.json {
        true => print(&document.to_string()),
        false => print(&field(&document, "summary")),
    }
    Ok(())
}

/// `gatewayd upgrade`: where the new process refused its configuration, as `check` would have.
pub(crate) fn upgrade(args: &cli::Upgrade) -> Outcome {
    let path = format!("/api/upgrade?timeout={}ms", args.timeout.as_millis());
    let (status, document) =
        send(&args.admin, Method::POST, &path, None, args.timeout.saturating_add(DEADLINE))?;
    if document.get("exit_status") == Some(&json!(78)) {
        if args.json {
            print(&document.to_string());
        }
        return Err(Failure::Told(field(&document, "detail")));
    }
    let document = good(&args.admin, status, document, "pid")?;
    match args.json {
        true => print(&document.to_string()),
        false => print(&format!(
            "upgraded: process {} (version {}) serves in place of process {} (version {})",
            field(&document, "pid"),
            field(&document, "version"),
            field(&document, "old_pid"),
            field(&document, "old_version"),
        )),
    }
    Ok(())
}

/// `gatewayd drain` and `gatewayd undrain`.
pub(crate) fn drain(args: &cli::Change, action: &str) -> Outcome {
    change(args, action, None)
}

/// `gatewayd weight`.
pub(crate) fn weight(args: &cli::SetWeight) -> Outcome {
    change(&args.change, "weight", Some(args.weight))
}

/// `gatewayd log-level`.
pub(crate) fn log_level(args: &cli::LogLevel) -> Outcome {
    let path = "/api/log-level";
    let document = match &args.level {
        None => ask(&args.admin, Method::GET, path, None, "level")?,
        Some(level) => {
            let lasts = args.lasts.map(|lasts| humantime::format_duration(lasts).to_string());
            let body = json!({ "level": level, "for": lasts });
            ask(&args.admin, Method::POST, path, Some(&body), "level")?
        }
    };
    let level = field(&document, "level");
    match (args.json, document.get("until").and_then(Value::as_str)) {
        (true, _) => print(&document.to_string()),
        (false, None) => print(&level),
        (false, Some(until)) => print(&format!("{level} until {until}, then {}", field(&document, "then"))),
    }
    Ok(())
}

fn change(args: &cli::Change, action: &str, weight: Option<f64>) -> Outcome {
    let mut body = json!({ "backend": args.backend, "upstream": args.upstream, "weight": weight });
    if let Some(body) = body.as_object_mut() {
        body.retain(|_, value| !value.is_null());
        edit::put_terms(&args.terms, body);
    }
    let path = format!("/api/backends/{action}");
    let document = ask(&args.terms.admin, Method::POST, &path, Some(&body), "changed")?;
    edit::warn_of_the_next_start(&document);
    match args.terms.json {
        true => print(&document.to_string()),
        false => print(&format!("{action} {}: done, {} changed", args.backend, field(&document, "changed"))),
    }
    Ok(())
}

/// One question to the admin address; what is no success is an error in its own words. A gateway's answer has the key `holds`.
pub(crate) fn ask(
    admin: &cli::AdminAt,
    method: Method,
    path: &str,
    body: Option<&Value>,
    holds: &str,
) -> anyhow::Result<Value> {
    let (status, document) = send(admin, method, path, body, DEADLINE)?;
    good(admin, status, document, holds)
}

fn good(admin: &cli::AdminAt, status: StatusCode, document: Value, holds: &str) -> anyhow::Result<Value> {
    let address = admin.address();
    if status.is_success() && document.get(holds).is_some() {
        return Ok(document);
    }
    let detail = document.get("detail").and_then(Value::as_str);
    let Some(detail) = detail.filter(|_| !status.is_success()) else {
        bail!("what answers at {address} ({status}) is no gateway's admin address\n  help: {ADDRESS_HELP}");
    };
    let help = match (status, &admin.token) {
        (StatusCode::UNAUTHORIZED, None) => "\n  help: give its `[admin] token` by GATEWAYD_TOKEN or --token",
        (StatusCode::UNAUTHORIZED, Some(_)) => {
            "\n  help: the token given by --token or GATEWAYD_TOKEN is not its `[admin] token`"
        }
        _ => "",
    };
    bail!("{address} answered {status}: {detail}{help}")
}

fn send(
    admin: &cli::AdminAt,
    method: Method,
    path: &str,
    body: Option<&Value>,
    deadline: Duration,
) -> anyhow::Result<(StatusCode, Value)> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    if let Some(token) = &admin.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body))).context("not a token")?;
    let (address, tls) = (admin.address(), admin.tls()?);
    let sent = client::send(address.authority(), tls.as_ref(), request, deadline);
    let sent = control_runtime()?.block_on(sent);
    let (status, answer) = sent.map_err(|error| unanswered(&error))?;
    Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
}

/// No answer, and what to do about it.
pub(crate) fn unanswered(error: &anyhow::Error) -> anyhow::Error {
    let said = format!("{error:#}");
    // By these words TLS has them.
    let help = if said.contains("CertificateRequired") {
        "it wants to be shown a certificate: --admin-cert FILE --admin-key FILE"
    } else if said.contains("unknown issuer") {
        "name who vouches for its certificate by --admin-ca FILE"
    } else {
        ADDRESS_HELP
    };
    anyhow!("{said}\n  help: {help}")
}

/// The upstreams and backends, for people.
fn table(document: &Value) -> String {
    let mut lines = configuration(document) + &edits(document) + &splits(document);
    for upstream in document.get("upstreams").and_then(Value::as_array).into_iter().flatten() {
        lines.push_str(&format!("{}\n", field(upstream, "name")));
        for backend in upstream.get("backends").and_then(Value::as_array).into_iter().flatten() {
            lines.push_str(&format!(
                "  {:<40} {:<12} weight {:<5} active {:<5} requests {:<9} failed {}\n",
                field(backend, "url"),
                match backend.get("circuit").and_then(Value::as_str) {
                    Some("open") => "circuit open".to_owned(),
                    Some("half_open") => "on trial".to_owned(),
                    _ => field(backend, "state"),
                },
                field(backend, "weight"),
                field(backend, "active_connections"),
                field(backend, "total_requests"),
                field(backend, "failed_requests"),
            ));
        }
    }
    lines
}

/// What was changed of it while it ran.
fn edits(document: &Value) -> String {
    let edits = document.get("configuration").and_then(|it| it.get("edits")).and_then(Value::as_array);
    edits.into_iter().flatten().map(|it| format!("{}\n", edit::line(it))).collect()
}

/// Rules whose requests are shared out.
fn splits(document: &Value) -> String {
    let mut lines = String::new();
    for rule in document.get("rules").and_then(Value::as_array).into_iter().flatten() {
        let Some(split) = rule.get("split").and_then(Value::as_array) else { continue };
        let part = |it: &Value| format!("{}={}", field(it, "upstream"), field(it, "weight"));
        let parts: Vec<String> = split.iter().map(part).collect();
        lines.push_str(&format!("rule {} is split {}\n", field(rule, "name"), parts.join(" ")));
        for it in rule.get("rollbacks").and_then(Value::as_array).into_iter().flatten() {
            let (upstream, time, reason) = (field(it, "upstream"), field(it, "time"), field(it, "reason"));
            lines.push_str(&format!("  {upstream} was taken back at {time}: {reason}\n"));
        }
    }
    lines
}

/// Where the configuration came from, and how the last reload ended.
fn configuration(document: &Value) -> String {
    let Some(configuration) = document.get("configuration").filter(|it| it["file"].is_string()) else {
        return String::new();
    };
    let (file, since) = (field(configuration, "file"), field(configuration, "loaded_at"));
    let reload = match configuration.get("last_reload").filter(|reload| reload.is_object()) {
        Some(reload) => {
            let (result, time) = (field(reload, "result"), field(reload, "time"));
            format!("last reload {result} at {time}: {}\n", field(reload, "detail"))
        }
        None => String::new(),
    };
    format!("configuration {file}, in force since {since}\n{reload}")
}

fn field(table: &Value, name: &str) -> String {
    match table.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}
