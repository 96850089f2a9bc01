//! What it costs to look: a gateway with a thousand backends under steady load while it is scraped, watched and dumped.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::check;
use super::extra::Outcome;
use super::first_paint;
use super::measure::Bench;
use super::open_loop::{self, Aim, Sample};
use super::peer::Proxy;
use super::ports::Ports;
use super::process::{Core, Running};
use super::stats::Spread;

const BACKENDS: usize = 1_000;
const VIEWERS: usize = 50;
/// Requests a second: far below what the gateway could answer, so that a wait shows.
const RATE: f64 = 4_000.0;

/// What goes on beside the requests, and at which gateway.
struct Row {
    name: &'static str,
    gateway: &'static str,
    beside: Beside,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Scrapes,
    Viewers,
}

const ROWS: &[Row] = &[
    Row { name: "nothing else", gateway: "plain", beside: Beside::Nothing },
    Row { name: "a scrape a second", gateway: "plain", beside: Beside::Scrapes },
    Row { name: "50 dashboards", gateway: "plain", beside: Beside::Viewers },
    Row { name: "dump", gateway: "dump", beside: Beside::Nothing },
    Row { name: "dump, disk stalled", gateway: "stalled", beside: Beside::Nothing },
];

/// One row in one round.
struct Looked {
    sample: Sample,
    /// Share of a core that went to anything but requests.
    control: f64,
    scrapes_ms: Vec<f64>,
}

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let program = bench.peers.iter().find(|peer| peer.info.program() == "gatewayd");
    let program =
        program.context("this is about gatewayd: name it with --peer, or no peer at all")?.program();
    let backends = Backends::start(bench, ports)?;
    let gateways = ["plain", "dump", "stalled"]
        .map(|name| start(bench, program, name, &backends, ports).with_context(|| name.to_owned()));
    let gateways = gateways.into_iter().collect::<Result<Vec<Proxy>>>()?;
    let gateway = |name: &str| gateways.iter().find(|proxy| proxy.name == name).context("all were started");
    for proxy in &gateways {
        open_loop::sample(bench, aim(proxy.name, proxy), RATE).context("warming up")?;
    }
    let first_scrape_ms = scrape(gateway("plain")?.admin)?;
    let dashboard = format!("http://127.0.0.1:{}/", gateway("plain")?.admin);
    let one_line = format!("http://127.0.0.1:{}/", gateway("plain")?.port);
    let paints = first_paint::measure(bench, ports, [&dashboard, &one_line])?;
    let mut looked: Vec<(&str, Looked)> = Vec::new();
    for round in 0..bench.rounds as usize {
        for row in ROWS.iter().cycle().skip(round % ROWS.len()).take(ROWS.len()) {
            let one = look(bench, row, gateway(row.gateway)?)?;
            eprintln!(
                "  watching round {}: {} p50 {:.0} p99 {:.0} µs, {:.1} % of a core beside requests",
                round + 1,
                row.name,
                one.sample.p50,
                one.sample.p99,
                one.control * 100.0
            );
            looked.push((row.name, one));
        }
    }
    let scrapes: Vec<f64> = looked.iter().flat_map(|(_, one)| one.scrapes_ms.iter().copied()).collect();
    let later = Spread::of(scrapes.clone()).context("it was scraped")?;
    let dropped = [("dump", gateway("dump")?), ("dump, disk stalled", gateway("stalled")?)]
        .map(|(name, proxy)| Ok(format!("{name}: {} entries dropped and counted.", dropped(proxy.admin)?)))
        .into_iter()
        .collect::<Result<Vec<String>>>()?;
    let mut notes = vec![
        format!(
            "{BACKENDS} backends; {RATE:.0} requests/s, whatever the answers do; µs. Of a core: all threads but the worker."
        ),
        format!(
            "The first scrape of /metrics took {first_scrape_ms:.1} ms (goal ≤ 20), later ones {:.1} ({:.1}–{:.1}).",
            later.median, later.least, later.most
        ),
        format!("{VIEWERS} dashboards are as many updates a second (goal < 5 % of a core)."),
    ];
    let spreads = paints.clone().map(|paints| paints.map(Spread::of));
    notes.push(match spreads {
        Some([Some(paint), Some(least)]) => format!(
            "The dashboard is first painted {:.0} ms ({:.0}–{:.0}) after it was asked for, by a browser at rest without load beside it \
             (goal < 200); a page of one line takes {:.0} ms ({:.0}–{:.0}).",
            paint.median, paint.least, paint.most, least.median, least.least, least.most
        ),
        _ => "First paint was not measured: no `chromedriver` here (`apt-get install chromium-driver`).".to_owned(),
    });
    notes.extend(dropped);
    let raw = looked.iter().map(|(row, one)| {
        json!({ "row": row, "sample": one.sample, "control": one.control, "scrapes_ms": one.scrapes_ms })
    });
    Ok(Outcome {
        scenario: "watching",
        columns: vec!["beside requests", "p50", "p99", "spread", "p99.9", "% of a core", "spread"],
        rows: ROWS.iter().filter_map(|row| table_row(row.name, &looked)).collect(),
        notes,
        raw: json!({ "first_scrape_ms": first_scrape_ms, "first_paint_ms": paints.as_ref().map(|[dashboard, one_line]| json!({ "dashboard": dashboard, "one_line": one_line })), "rounds": raw.collect::<Vec<_>>() }),
    })
}

fn table_row(name: &str, looked: &[(&str, Looked)]) -> Option<Vec<String>> {
    let spread = |value: fn(&Looked) -> f64| {
        Spread::of(looked.iter().filter(|(row, _)| *row == name).map(|(_, one)| value(one)).collect())
    };
    let (p99, control) = (spread(|one| one.sample.p99)?, spread(|one| one.control * 100.0)?);
    let bad: usize =
        looked.iter().filter(|(row, _)| *row == name).map(|(_, one)| one.sample.bad_status).sum();
    Some(vec![
        name.to_owned(),
        format!("{:.0}", spread(|one| one.sample.p50)?.median),
        if bad > 0 { format!("not valid: {bad} bad answers") } else { format!("{:.0}", p99.median) },
        format!("{:.0}–{:.0}", p99.least, p99.most),
        format!("{:.0}", spread(|one| one.sample.p999)?.median),
        format!("{:.1}", control.median),
        format!("{:.1}–{:.1}", control.least, control.most),
    ])
}

/// Requests as other programs' are: what looks at the gateway meanwhile is not to be starved.
fn aim<'a>(name: &'static str, proxy: &'a Proxy) -> Aim<'a> {
    Aim { name, port: proxy.port, running: Some(&proxy.running), first: false }
}

/// Requests, and what goes on beside them.
fn look(bench: &Bench<'_>, row: &Row, proxy: &Proxy) -> Result<Looked> {
    let viewers = (row.beside == Beside::Viewers).then(|| viewers(bench, proxy.admin)).transpose()?;
    if viewers.is_some() {
        bench.interrupt.sleep(Duration::from_secs(2))?;
    }
    let is_over = AtomicBool::new(false);
    let (before, started) = (proxy.running.cpu_ns_beside(WORKER), Instant::now());
    std::thread::scope(|scope| {
        let scrapes = (row.beside == Beside::Scrapes).then(|| scope.spawn(|| scrapes(proxy.admin, &is_over)));
        let sample = open_loop::sample(bench, aim(row.name, proxy), RATE);
        is_over.store(true, Ordering::Relaxed);
        let scrapes_ms = match scrapes {
            Some(scrapes) => scrapes.join().map_err(|_| anyhow::anyhow!("scraping failed"))??,
            None => Vec::new(),
        };
        let spent = proxy.running.cpu_ns_beside(WORKER).saturating_sub(before) as f64;
        Ok(Looked { sample: sample?, control: spent / started.elapsed().as_nanos() as f64, scrapes_ms })
    })
}

/// What the gateway's threads for requests are called.
const WORKER: &str = "worker";

fn scrapes(admin: u16, is_over: &AtomicBool) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        times.push(scrape(admin)?);
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(times)
}

/// Room for the metrics of so many backends, in bytes.
const LONGEST: usize = 16 << 20;

/// One scrape, in ms: from connecting to the last byte.
fn scrape(admin: u16) -> Result<f64> {
    // Written to, so that it is this process's before the clock runs.
    let mut answer = vec![1; LONGEST];
    answer.clear();
    let started = Instant::now();
    check::get_into(admin, "/metrics", &mut answer)?;
    let elapsed = started.elapsed();
    let backends = String::from_utf8_lossy(&answer)
        .lines()
        .filter(|line| line.starts_with("gatewayd_backend_up{"))
        .count();
    ensure!(backends == BACKENDS, "a scrape tells of {backends} backends");
    Ok(elapsed.as_secs_f64() * 1000.0)
}

fn dropped(admin: u16) -> Result<u64> {
    let text = check::get(admin, "/metrics")?;
    let value =
        text.lines().find_map(|line| line.strip_prefix("gatewayd_dump_dropped_total ")?.trim().parse().ok());
    value.context("no gatewayd_dump_dropped_total in its metrics")
}

/// As many dashboards, each told what happens once a second.
fn viewers(bench: &Bench<'_>, admin: u16) -> Result<Running> {
    let mut arguments = ["-sN", "--no-buffer", "--parallel", "--parallel-immediate", "--parallel-max", "100"]
        .map(str::to_owned)
        .to_vec();
    for _ in 0..VIEWERS {
        arguments.extend([
            "-o".to_owned(),
            "/dev/null".to_owned(),
            format!("http://127.0.0.1:{admin}/api/live"),
        ]);
    }
    Running::start("viewers", Core::Load, Path::new("curl"), &arguments, &[], bench.directory)
}

/// One nginx with as many addresses of this machine.
struct Backends {
    urls: String,
    _nginx: Running,
}

impl Backends {
    fn start(bench: &Bench<'_>, ports: &mut Ports) -> Result<Self> {
        let port = ports.take()?;
        let directory = bench.directory.join("backends");
        fs::create_dir_all(&directory)?;
        let (mut listen, mut urls) = (String::new(), String::new());
        for number in 0..BACKENDS {
            let address = format!("127.0.{}.{}:{port}", 1 + number / 250, 1 + number % 250);
            _ = writeln!(listen, "listen {address};");
            _ = write!(urls, "\"{address}\", ");
        }
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let dir = directory.display();
        let config = format!(
            "daemon off; {user} worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log crit;\n\
             events {{ worker_connections 16384; }}\n\
             http {{ access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;\n\
             server {{ {listen} listen 127.0.0.1:{port}; location / {{ return 200 \"{}\"; }} }} }}\n",
            "x".repeat(1024)
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, config)?;
        let arguments = ["-p".to_owned(), dir.to_string(), "-c".to_owned(), file.display().to_string()];
        let mut nginx =
            Running::start("backends", Core::Load, Path::new("nginx"), &arguments, &[], &directory)?;
        nginx.wait_for_port(port, bench.interrupt)?;
        Ok(Self { urls, _nginx: nginx })
    }
}

/// A gateway with one worker in front of all backends.
fn start(
    bench: &Bench<'_>,
    program: &Path,
    name: &'static str,
    backends: &Backends,
    ports: &mut Ports,
) -> Result<Proxy> {
    let directory = bench.directory.join(name);
    let dumps = directory.join("dumps");
    fs::create_dir_all(&dumps)?;
    let (port, admin) = (ports.take()?, ports.take()?);
    let dump = match name {
        "plain" => String::new(),
        _ => format!(
            "[traffic_dump]\ndirectory = \"{}\"\ninclude_body = true\nmax_files = 2\n",
            dumps.display()
        ),
    };
    if name == "stalled" {
        // A pipe that nobody reads takes 64 KiB and then nothing.
        let made = Command::new("mkfifo").arg(dumps.join("traffic_dump_000.jsonl")).status()?;
        ensure!(made.success(), "mkfifo failed");
    }
    let file = directory.join("gatewayd.toml");
    fs::write(
        &file,
        format!(
            "[server]\nworkers = 1\n[[listeners]]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
             {dump}[[rules]]\nname = \"app\"\nbackends = [{}]\n",
            backends.urls
        ),
    )?;
    let arguments = ["run".to_owned(), "-c".to_owned(), file.display().to_string()];
    let mut running = Running::start("gatewayd", Core::Proxy, program, &arguments, &[], &directory)?;
    running.wait_for_port(port, bench.interrupt)?;
    running.wait_for_port(admin, bench.interrupt)?;
    Ok(Proxy { name, port, admin, running })
}
