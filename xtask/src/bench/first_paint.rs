//! When a page is first seen: headless Chromium by way of ChromeDriver (W3C WebDriver), a new browser each time, so that nothing
//! of the page is in a cache. The browser shares a core with nothing but its driver, and has come to rest before it is asked: what
//! it does for itself while it starts would count as the page's otherwise.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::install;
use super::measure::Bench;
use super::ports::Ports;
use super::process::{Core, Running};

/// Asked of the page until it has been painted.
const PAINTED: &str = "const seen = performance.getEntriesByName('first-contentful-paint')[0]; return seen ? seen.startTime : null";

/// How long a browser has to come to rest.
const REST: Duration = Duration::from_secs(3);

/// When each page was first seen, ms, a row a page; `None` where there is no browser. From the beginning of the navigation to the
/// first paint that holds something.
pub(crate) fn measure<const PAGES: usize>(
    bench: &Bench<'_>,
    ports: &mut Ports,
    urls: [&str; PAGES],
) -> Result<Option<[Vec<f64>; PAGES]>> {
    if install::find("chromedriver").is_none() {
        return Ok(None);
    }
    let port = ports.take()?;
    let arguments = [format!("--port={port}"), "--silent".to_owned()];
    let mut driver = Running::start(
        "chromedriver",
        Core::Load,
        Path::new("chromedriver"),
        &arguments,
        &[],
        bench.directory,
    )?;
    driver.wait_for_port(port, bench.interrupt)?;
    let mut paints = [const { Vec::new() }; PAGES];
    for _ in 0..bench.rounds.max(5) {
        for (url, paints) in urls.iter().zip(&mut paints) {
            paints.push(first_paint(bench, port, url)?);
        }
    }
    Ok(Some(paints))
}

fn first_paint(bench: &Bench<'_>, port: u16, url: &str) -> Result<f64> {
    let options =
        ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"];
    let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": options } } } });
    let session = call(port, "POST", "/session", &wanted)?;
    let session = session.get("sessionId").and_then(Value::as_str).context("no session")?.to_owned();
    let session = format!("/session/{session}");
    bench.interrupt.sleep(REST)?;
    call(port, "POST", &format!("{session}/url"), &json!({ "url": url }))?;
    let mut painted = None;
    for _ in 0..100 {
        let script = json!({ "script": PAINTED, "args": [] });
        painted = call(port, "POST", &format!("{session}/execute/sync"), &script)?.as_f64();
        if painted.is_some() {
            break;
        }
        bench.interrupt.sleep(Duration::from_millis(50))?;
    }
    call(port, "DELETE", &session, &Value::Null)?;
    painted.context("the page has not been painted within 5 s")
}

/// One command; its value.
fn call(port: u16, method: &str, path: &str, body: &Value) -> Result<Value> {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--max-time", "30", "-X", method, &format!("http://127.0.0.1:{port}{path}")]);
    if !body.is_null() {
        curl.args(["-H", "Content-Type: application/json", "--data", &body.to_string()]);
    }
    let answer: Value = serde_json::from_slice(&curl.output().context("curl does not start")?.stdout)
        .with_context(|| format!("chromedriver does not answer {method} {path}"))?;
    let value = answer.get("value").cloned().unwrap_or_default();
    ensure!(value.get("error").is_none(), "chromedriver: {value}");
    Ok(value)
}
