//! Latency in an open loop: requests are due at fixed times whatever the answers do, as those of many independent users are.
//!
//! h2load keeps a rate for each connection and measures from when it sends, so a request that is late because its connection's last
//! answer was late would escape. 256 connections make each one's interval far longer than any wait of interest. Connections
//! start one after the other over one such interval: started together, all would send together ever after.
//!
//! Generator and origins share a core. Under the scheduler's normal policy each has it for a slice of some milliseconds while the
//! other's requests wait, which is longer than what any proxy adds. So all run by real-time priority, first come first served, the
//! origins ahead of the generator: who has the least to do waits least. The same load on the origin, with no proxy between, shows
//! what is left of that.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::extra::Outcome;
use super::measure::Bench;
use super::peer::NGINX;
use super::ports::Ports;
use super::process::{Core, Running};
use super::scenario::BASE;
use super::stats::Spread;

const CONNECTIONS: u32 = 256;
/// Share of the capacity that is asked for.
const LOAD: f64 = 0.70;
/// The row of the load on the origin itself.
const DIRECT: &str = "no proxy";
/// Real-time priorities; more goes first.
pub(crate) const OF_LOAD: u8 = 1;
pub(crate) const OF_ORIGINS: u8 = 2;

/// One proxy in one round.
#[derive(Serialize)]
pub(crate) struct Sample {
    pub(crate) proxy: &'static str,
    /// Requests a second that were answered.
    pub(crate) rate: f64,
    pub(crate) bad_status: usize,
    /// Requests of the whole run that got no answer of 200.
    pub(crate) lost: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) most: f64,
    /// Share of the proxy's core that it used, and for which it was ready and another program had it.
    pub(crate) core: f64,
    pub(crate) waited: f64,
}

/// What requests are sent to, and how.
#[derive(Clone, Copy)]
pub(crate) struct Aim<'a> {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// Whose use of its core is looked at.
    pub(crate) running: Option<&'a Running>,
    /// Whether the generator runs ahead of programs of normal priority.
    pub(crate) first: bool,
}

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let (proxies, mut notes) = bench.start_all(&BASE, ports)?;
    let first = bench.origins.nginx.run_first(OF_ORIGINS)
        && proxies.iter().all(|proxy| proxy.running.run_first(OF_LOAD));
    notes.push(if first {
        format!(
            "All by real-time priority. `{DIRECT}` is the origin alone; `core` is the share of its core that a proxy used."
        )
    } else {
        "Without real-time priority, which this user may not give: the scheduler's time slices are in the figures.".to_owned()
    });
    let mut capacity = f64::INFINITY;
    for proxy in proxies.iter().filter(|proxy| [NGINX, "haproxy"].contains(&proxy.name)) {
        let measured = closed_loop(bench, proxy.port, first)?;
        notes.push(format!(
            "{} answers {measured:.0} requests/s to the same generator in a closed loop.",
            proxy.name
        ));
        capacity = capacity.min(measured);
    }
    let rate = capacity * LOAD;
    notes.push(format!("Asked for: {rate:.0} requests/s."));
    let direct = Aim { name: DIRECT, port: bench.origins.ports[0], running: None, first };
    let aims = proxies.iter().map(|proxy| Aim {
        name: proxy.name,
        port: proxy.port,
        running: Some(&proxy.running),
        first,
    });
    let aims: Vec<Aim<'_>> = aims.chain([direct]).collect();
    let mut samples = Vec::new();
    for round in 0..bench.rounds as usize {
        for aim in aims.iter().cycle().skip(round % aims.len()).take(aims.len()) {
            let sample = sample(bench, *aim, rate)?;
            eprintln!(
                "  open-loop round {}: {} p50 {:.0} p99 {:.0} p99.9 {:.0} µs",
                round + 1,
                aim.name,
                sample.p50,
                sample.p99,
                sample.p999
            );
            samples.push(sample);
        }
    }
    let rows = aims.iter().filter_map(|aim| row(aim.name, rate, &samples)).collect();
    Ok(Outcome {
        scenario: "open-loop",
        columns: vec!["proxy", "p50", "p99", "spread", "p99.9", "spread", "max", "core", "requests/s"],
        rows,
        notes,
        raw: serde_json::to_value(&samples)?,
    })
}

fn row(proxy: &str, asked: f64, samples: &[Sample]) -> Option<Vec<String>> {
    let spread = |value: fn(&Sample) -> f64| {
        Spread::of(samples.iter().filter(|sample| sample.proxy == proxy).map(value).collect())
    };
    let (p99, p999, rate) = (spread(|it| it.p99)?, spread(|it| it.p999)?, spread(|it| it.rate)?);
    let bad: usize = samples.iter().filter(|sample| sample.proxy == proxy).map(|it| it.bad_status).sum();
    let mut row = vec![
        proxy.to_owned(),
        format!("{:.0}", spread(|it| it.p50)?.median),
        format!("{:.0}", p99.median),
        format!("{:.0}–{:.0}", p99.least, p99.most),
        format!("{:.0}", p999.median),
        format!("{:.0}–{:.0}", p999.least, p999.most),
        format!("{:.0}", spread(|it| it.most)?.median),
        if proxy == DIRECT {
            "–".to_owned()
        } else {
            format!("{:.0} %", spread(|it| it.core)?.median * 100.0)
        },
    ];
    row.push(match () {
        () if bad > 0 => format!("not valid: {bad} bad answers"),
        // Behind its schedule the generator was not an open loop.
        () if rate.median < asked * 0.97 => format!("not valid: {:.0}", rate.median),
        () => format!("{:.0}", rate.median),
    });
    Some(row)
}

/// Requests a second with 64 connections that each ask again at once.
pub(crate) fn closed_loop(bench: &Bench<'_>, port: u16, first: bool) -> Result<f64> {
    let output = h2load(bench, port, first, &["-c64".to_owned(), format!("-D{}", bench.seconds)])?;
    let line = output.lines().find_map(|line| line.strip_prefix("finished in "));
    let rate = line.and_then(|line| line.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok());
    rate.context("h2load has not printed its rate")
}

/// Requests at this rate for `--seconds`, whatever the answers do.
pub(crate) fn sample(bench: &Bench<'_>, aim: Aim<'_>, rate: f64) -> Result<Sample> {
    let log = bench.directory.join("latency.tsv");
    drop(fs::remove_file(&log));
    let asked = (rate * bench.seconds as f64).round();
    let interval_ms = f64::from(CONNECTIONS) * 1000.0 / rate;
    let arguments = [
        format!("-c{CONNECTIONS}"),
        format!("-n{asked:.0}"),
        format!("--rps={}", rate / f64::from(CONNECTIONS)),
        format!("-r{:.0}", (f64::from(CONNECTIONS) / interval_ms).ceil()),
        "--rate-period=1ms".to_owned(),
        format!("--log-file={}", log.display()),
    ];
    let cpu_time = || aim.running.map(Running::cpu_time).unwrap_or_default();
    let (before, began) = (cpu_time(), Instant::now());
    h2load(bench, aim.port, aim.first, &arguments)?;
    let (after, took) = (cpu_time(), began.elapsed());
    let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / took.as_nanos() as f64;
    let core = (share(before.ran, after.ran), share(before.waited, after.waited));
    let log = fs::read_to_string(&log)?;
    let good = log.lines().filter(|line| line.split('\t').nth(1) == Some("200")).count();
    let mut sample = read_log(aim.name, &log, core)?;
    sample.lost = asked - good as f64;
    Ok(sample)
}

fn h2load(bench: &Bench<'_>, port: u16, first: bool, arguments: &[String]) -> Result<String> {
    let priority = OF_LOAD.to_string();
    let mut all: Vec<String> =
        if first { vec!["--fifo".to_owned(), priority, "h2load".to_owned()] } else { vec![] };
    all.extend(["--h1".to_owned(), "-t1".to_owned()]);
    all.extend_from_slice(arguments);
    all.push(format!("http://127.0.0.1:{port}/1k"));
    let program = Path::new(if first { "chrt" } else { "h2load" });
    let running = Running::start("h2load", Core::Load, program, &all, &[], bench.directory)?;
    running.output(Duration::from_secs(bench.seconds * 3 + 15), bench.interrupt)
}

/// Lines of start (µs since 1970), status and duration (µs). The first tenth of the run is left out.
fn read_log(proxy: &'static str, log: &str, (core, waited): (f64, f64)) -> Result<Sample> {
    let mut requests: Vec<(u64, u64, f64)> = log
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect();
    requests.sort_unstable_by_key(|(start, ..)| *start);
    let (first, last) = requests.first().zip(requests.last()).context("h2load's log is empty")?;
    let from = first.0 + (last.0 - first.0) / 10;
    let seconds = (last.0 - from) as f64 / 1e6;
    requests.retain(|(start, ..)| *start >= from);
    ensure!(requests.len() > 1000 && seconds > 0.0, "too few requests for percentiles: {}", requests.len());

    let bad_status = requests.iter().filter(|(_, status, _)| *status != 200).count();
    let mut durations: Vec<f64> = requests.iter().map(|(.., duration)| *duration).collect();
    durations.sort_by(f64::total_cmp);
    let at = |thousandths: usize| {
        durations.get((durations.len() * thousandths / 1000).min(durations.len() - 1)).copied().unwrap_or(0.0)
    };
    Ok(Sample {
        proxy,
        rate: requests.len() as f64 / seconds,
        bad_status,
        lost: 0.0,
        p50: at(500),
        p99: at(990),
        p999: at(999),
        most: at(1000),
        core,
        waited,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_leave_out_the_first_tenth() {
        let log: String = (0..10_000_u64)
            .map(|n| format!("{}\t200\t{}\n", 1_000_000 + n * 100, if n < 900 { 9_999 } else { n % 100 }))
            .collect();
        let sample = read_log("nginx", &log, (0.5, 0.0)).unwrap();
        assert!((sample.p50 - 50.0).abs() < 2.0 && sample.most < 100.0, "{} {}", sample.p50, sample.most);
        assert!((sample.rate - 10_000.0).abs() < 20.0, "{}", sample.rate);
    }
}
