//! From samples to a table's rows: medians over the kept rounds, with their spread.

use serde::Serialize;

use super::measure::{Measured, Round, Sample};
use super::peer::{self, CONTROL, NGINX};

/// The middle and both ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` for no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), least, most })
    }
}

/// One proxy in one scenario.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) proxy: &'static str,
    /// Processor time a request.
    pub(crate) nanoseconds: Spread,
    /// The same as a ratio to the mean of the two nginx of its round.
    pub(crate) ratio: Spread,
    /// Only where the proxy had all of its core in every round, else the figure is somebody else's limit.
    pub(crate) requests_per_second: Option<f64>,
    /// Connections to the origins in a thousand requests.
    pub(crate) origin_connections_per_thousand: f64,
    pub(crate) resident_kib: f64,
    /// Answers that were not good, and broken connections: with any the row is not valid.
    pub(crate) errors: u64,
}

/// A proxy's core counts as busy from here on.
const BUSY: f64 = 0.97;

/// Rows in the order of the proxies' table; empty where no round was kept.
pub(crate) fn rows(measured: &Measured) -> Vec<Row> {
    peer::all().filter_map(|info| row(info.name, measured)).collect()
}

fn row(proxy: &'static str, measured: &Measured) -> Option<Row> {
    let kept: Vec<(&Round, &Sample)> = measured
        .rounds
        .iter()
        .filter(|round| round.kept)
        .filter_map(|round| Some((round, find(&round.samples, proxy)?)))
        .collect();
    let ratios = kept.iter().filter_map(|(round, sample)| {
        let nginx = [NGINX, CONTROL].map(|name| nanoseconds(&round.samples, name));
        let (first, again) = (nginx[0]?, nginx[1]?);
        Some(sample.nanoseconds() / f64::midpoint(first, again))
    });
    let median =
        |value: fn(&Sample) -> f64| Spread::of(kept.iter().map(|(_, sample)| value(sample)).collect());
    let busy = kept.iter().all(|(_, sample)| sample.busy() >= BUSY);
    Some(Row {
        proxy,
        nanoseconds: median(Sample::nanoseconds)?,
        ratio: Spread::of(ratios.collect())?,
        requests_per_second: busy.then(|| median(Sample::requests_per_second)).flatten().map(|it| it.median),
        origin_connections_per_thousand: median(Sample::origin_connections_per_thousand)?.median,
        resident_kib: median(|sample| sample.resident_kib as f64)?.most,
        errors: kept.iter().map(|(_, sample)| sample.count.bad_status + sample.count.socket_errors).sum(),
    })
}

/// Processor time a request of the named proxy.
pub(crate) fn nanoseconds(samples: &[Sample], proxy: &str) -> Option<f64> {
    find(samples, proxy).map(Sample::nanoseconds)
}

fn find<'a>(samples: &'a [Sample], proxy: &str) -> Option<&'a Sample> {
    samples.iter().find(|sample| sample.proxy == proxy)
}

impl Sample {
    /// Processor time a completed request.
    pub(crate) fn nanoseconds(&self) -> f64 {
        self.cpu_ns as f64 / self.count.requests as f64
    }

    /// Share of the run during which the proxy ran.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.count.duration_us as f64
    }

    /// Share of the proxy's core that other programs had.
    pub(crate) fn others(&self) -> f64 {
        self.others_ns as f64 / 1000.0 / self.count.duration_us as f64
    }

    fn requests_per_second(&self) -> f64 {
        self.count.requests as f64 * 1e6 / self.count.duration_us as f64
    }

    fn origin_connections_per_thousand(&self) -> f64 {
        self.origin_connections as f64 * 1000.0 / self.count.requests as f64
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:.2} µs", self.proxy, self.nanoseconds() / 1000.0)?;
        let errors = self.count.bad_status + self.count.socket_errors;
        if errors > 0 { write!(f, " ({errors} errors)") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::wrk::Count;

    fn sample(proxy: &'static str, cpu_ns: u64) -> Sample {
        let count = Count {
            requests: 1000,
            duration_us: 1_000_000,
            bytes: 0,
            bad_status: 0,
            socket_errors: 0,
            p50_us: 0,
            p99_us: 0,
        };
        Sample {
            proxy,
            count,
            cpu_ns,
            waited_ns: 0,
            others_ns: 0,
            origin_connections: 64,
            resident_kib: 2000,
        }
    }

    fn round(kept: bool, nginx: u64, again: u64, haproxy: u64) -> Round {
        let samples = vec![sample(NGINX, nginx), sample("haproxy", haproxy), sample(CONTROL, again)];
        Round { samples, control_difference: 0.0, kept }
    }

    #[test]
    fn a_ratio_is_to_both_nginx_of_its_round_and_thrown_rounds_do_not_count() {
        let measured = Measured {
            scenario: "1k",
            rounds: vec![
                round(true, 10_000, 10_000, 11_000),
                round(true, 19_000, 21_000, 24_000),
                round(false, 10_000, 20_000, 90_000),
            ],
            failed: Vec::new(),
            missing_work: Vec::new(),
            system_calls: Vec::new(),
            instructions: Vec::new(),
        };
        let rows = rows(&measured);
        let haproxy = rows.iter().find(|row| row.proxy == "haproxy").unwrap();
        assert!((haproxy.ratio.median - 1.15).abs() < 1e-9, "{:?}", haproxy.ratio);
        assert!((haproxy.ratio.most - 1.2).abs() < 1e-9, "{:?}", haproxy.ratio);
        assert_eq!(haproxy.requests_per_second, None, "the core was idle");
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, least: 1.0, most: 9.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
