//! `bench hostile`: attacks on the gateway, the bound that holds each, and what a well-behaved client notices of it.
//!
//! The gateway has core 0 and its default bounds, but for deadlines that let an attack outlast the measurement. Attackers come
//! from other loopback addresses than the well-behaved client, who asks for 1 KiB every two milliseconds on one connection.

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use jiff::Zoned;
use serde_json::json;

use super::gentle::{self, Notes};
use super::interrupt::Interrupt;
use super::ports::Ports;
use super::scene::Scene;
use super::{Args, compare, table};

mod attacks;
mod backend;

use attacks::{ALL, Attack};

const HEADINGS: [&str; 8] =
    ["attack", "bound", "p99 before, µs", "p99 during", "errors", "MiB before", "MiB during", "seen"];

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = match &args.binary {
        Some(file) => file.clone(),
        None => compare::build_gatewayd()?,
    };
    let interrupt = Interrupt::install()?;
    let directory = tempfile::Builder::new().prefix("gatewayd-hostile-").tempdir()?;
    let mut ports = Ports::new();
    let bad = backend::start()?;
    let rules = format!(
        "[[rules]]\nname = \"bad\"\npath_prefix = \"/bad/\"\nretries = {{ attempts = 0 }}\npassive = {{ consecutive_failures = 1000000 }}\n\
         backends = [\"{bad}\"]\n"
    );
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    let mut raw = Vec::new();
    for attack in
        ALL.iter().filter(|it| args.scenario.is_empty() || args.scenario.iter().any(|name| name == it.name))
    {
        let listener = "max_connections_per_address = 1024";
        let scene =
            Scene::start(&program, listener, &rules, attack.files, directory.path(), &mut ports, &interrupt)?;
        let seconds = Duration::from_secs(args.seconds);
        let before = measure(&scene, None, seconds, &interrupt)?;
        let quiet_kib = scene.gateway.resident_kib();
        let during = measure(&scene, Some(attack), seconds, &interrupt)?;
        eprintln!(
            "  {}: p99 {:.0} → {:.0} µs, {} errors, {}",
            attack.name,
            before.notes.percentile(990),
            during.notes.percentile(990),
            during.notes.errors,
            during.seen
        );
        rows.push(vec![
            format!("{}: {}", attack.name, attack.what),
            attack.bound.to_owned(),
            format!("{:.0}", before.notes.percentile(990)),
            format!("{:.0}", during.notes.percentile(990)),
            during.notes.errors.to_string(),
            format!("{:.1}", quiet_kib as f64 / 1024.0),
            format!("{:.1}", during.most_kib as f64 / 1024.0),
            during.seen.clone(),
        ]);
        raw.push(json!({
            "attack": attack.name, "bound": attack.bound, "seen": during.seen,
            "before": percentiles(&before.notes), "during": percentiles(&during.notes),
            "before_kib": quiet_kib, "most_kib": during.most_kib,
        }));
    }
    write(args, &rows, &raw)
}

struct Measured {
    notes: Notes,
    most_kib: u64,
    seen: String,
}

fn percentiles(notes: &Notes) -> serde_json::Value {
    json!({
        "requests": notes.latencies.len(), "errors": notes.errors, "p50": notes.percentile(500), "p99": notes.percentile(990),
        "p999": notes.percentile(999),
    })
}

/// The well-behaved client's notes, with the attack beside it if there is one.
fn measure(
    scene: &Scene,
    attack: Option<&Attack>,
    time: Duration,
    interrupt: &Interrupt,
) -> Result<Measured> {
    let (stop_attack, stop_asking, noting) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    let address = scene.address();
    let (stop, asking) =
        (&stop_attack, || gentle::ask(address, Duration::from_millis(2), &noting, &stop_asking));
    std::thread::scope(|scope| {
        let asking = scope.spawn(asking);
        let mut rested = interrupt.sleep(Duration::from_millis(200));
        let attacking = attack.map(|attack| {
            scope.spawn(move || {
                attacks::yield_to_others();
                (attack.run)(address, stop)
            })
        });
        if attack.is_some() {
            // Until it is at its height.
            rested = rested.and_then(|()| interrupt.sleep(Duration::from_secs(2)));
        }
        noting.store(true, Ordering::Relaxed);
        let mut most_kib = 0;
        for _ in 0..10 {
            rested = rested.and_then(|()| interrupt.sleep(time / 10));
            most_kib = most_kib.max(scene.gateway.resident_kib());
        }
        stop_asking.store(true, Ordering::Relaxed);
        let notes = asking.join().unwrap_or_default();
        stop_attack.store(true, Ordering::Relaxed);
        let seen = attacking.map_or(Ok(String::new()), |attacking| {
            attacking.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the attacker panicked")))
        });
        rested?;
        Ok(Measured { notes, most_kib, seen: seen.unwrap_or_else(|error| format!("{error:#}")) })
    })
}

fn write(args: &Args, rows: &[Vec<String>], raw: &[serde_json::Value]) -> Result<()> {
    let mut text = String::new();
    table::write(&mut text, rows);
    println!("\n{text}");
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(&args.out, &format!("{date}-hostile"))?;
    let mut readme =
        format!("# Attacks, {date}\n\n```sh\ncargo xtask bench hostile --seconds {}\n```\n\n", args.seconds);
    _ = writeln!(readme, "{METHOD}\n\n{text}");
    readme.push_str(&super::machine::Machine::look_up(String::new())?.table());
    fs::write(folder.join("README.md"), readme)?;
    fs::write(folder.join("raw.json"), serde_json::to_string_pretty(raw)? + "\n")?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

const METHOD: &str = "One worker on core 0, bounds as they are by default (`max_connections_per_address` is written, so that it holds \
    for this machine too). A well-behaved client asks for 1 KiB every two milliseconds on one connection that it has \
    opened before, alone and then beside the attack. Attackers, at a low priority, and backends share the other core with it, so the \
    latencies have their noise in them.";
