//! The long form of what `tests/` have in short: every strategy in every situation and ramp, and the simulator against theory. One
//! line of JSON a figure; `cargo xtask bench lb-quality` makes tables and a chart of them.
//!
//! `cargo bench -p lb-sim -- theory`, or the name of a situation, a ramp or a strategy, for only those whose line has the word.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use lb_core::StrategyConfig;
use lb_core::strategy::ALL;
use lb_sim::published::{RAMPS, SITUATIONS};
use lb_sim::theory::{Check, mean_time};
use lb_sim::{Latencies, Scenario, SimulationError, TWO_CHOICES, replicate};

const SEED: u64 = 1;

/// Runs a figure: percentiles are the median of theirs.
const RUNS: u64 = 5;

/// Ten million services tell a mean of two or three choices to a per cent; one queue at 0.99 forgets so slowly that it needs ten
/// times as many.
const CHECKS: &[Check] = &[
    Check { choices: 1, load: 0.9, servers: 500, runs: 10, requests: 2_000_000 },
    Check { choices: 2, load: 0.9, servers: 1_000, runs: 10, requests: 1_000_000 },
    Check { choices: 3, load: 0.9, servers: 1_000, runs: 10, requests: 1_000_000 },
    Check { choices: 1, load: 0.99, servers: 500, runs: 10, requests: 10_000_000 },
    Check { choices: 2, load: 0.99, servers: 4_000, runs: 10, requests: 4_000_000 },
    Check { choices: 3, load: 0.99, servers: 4_000, runs: 10, requests: 4_000_000 },
];

fn main() -> Result<(), SimulationError> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = |names: &[&str]| words.iter().all(|word| names.contains(&word.as_str()));
    for check in CHECKS.iter().filter(|_| wanted(&["theory"])) {
        theory(check)?;
    }
    for situation in SITUATIONS {
        for name in ALL.iter().map(|row| row.name).chain([TWO_CHOICES.name]) {
            if wanted(&[situation.name, name]) {
                let scenario = (situation.scenario)(StrategyConfig::named(name));
                let about = format!(r#""situation":"{}","summary":"{}""#, situation.name, situation.summary);
                figure(&about, name, scenario, situation.slow)?;
            }
        }
    }
    for ramp in RAMPS {
        for name in ALL.iter().map(|row| row.name) {
            for load in ramp.loads.iter().filter(|_| wanted(&[ramp.name, name])) {
                let scenario = (ramp.scenario)(StrategyConfig::named(name), *load);
                let about = format!(r#""ramp":"{}","summary":"{}","load":{load}"#, ramp.name, ramp.summary);
                figure(&about, name, scenario, &[])?;
            }
        }
    }
    Ok(())
}

fn theory(check: &Check) -> Result<(), SimulationError> {
    let Check { choices, load, servers, runs, requests } = *check;
    let found = check.simulate(SEED)?;
    let expected = mean_time(choices, load);
    println!(
        r#"{{"theory":{expected},"choices":{choices},"load":{load},"servers":{servers},"runs":{runs},"requests":{requests},"seed":{SEED},"mean":{},"half_width":{},"holds":{}}}"#,
        found.mean,
        found.half_width,
        found.holds(expected)
    );
    Ok(())
}

fn figure(about: &str, strategy: &str, scenario: Scenario, slow: &[usize]) -> Result<(), SimulationError> {
    let row = (strategy == TWO_CHOICES.name).then_some(&TWO_CHOICES);
    let scenario = Scenario { row, ..scenario };
    let runs = replicate(SEED, RUNS, |seed| Latencies::of(&scenario, seed))?;
    let ms = |percent| {
        let mut found: Vec<f64> =
            runs.iter().map(|run| run.percentile(percent).as_secs_f64() * 1e3).collect();
        found.sort_by(f64::total_cmp);
        found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let mean = runs.iter().map(|run| run.mean().as_secs_f64() * 1e3).sum::<f64>() / runs.len() as f64;
    // A sum of nothing is -0.
    let share = runs
        .iter()
        .flat_map(|run| slow.iter().map(|server| run.share(*server)))
        .fold(0.0, |sum, share| sum + share);
    println!(
        r#"{{{about},"strategy":"{strategy}","runs":{RUNS},"requests":{},"seed":{SEED},"mean_ms":{mean},"p50_ms":{},"p99_ms":{},"p999_ms":{},"slow_share":{}}}"#,
        scenario.requests,
        ms(50.0),
        ms(99.0),
        ms(99.9),
        share / runs.len() as f64,
    );
    Ok(())
}
