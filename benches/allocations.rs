//! Allocations of one choice, from acquire to drop: one line of JSON for each strategy and number of backends. Counted, not timed,
//! so any build will do; `cargo xtask bench pick` puts it beside the times that lb-core's own benchmark measures.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first error"
)]

use std::sync::Arc;
use std::time::Instant;

use lb_core::strategy::ALL;
use lb_core::{Backend, BackendOptions, Balancer, PickContext, StrategyConfig, Weight};
use serde_json::json;

const ROUNDS: u64 = 1_000;

fn main() {
    for info in ALL {
        for backends in [3, 100, 10_000] {
            println!(
                "{}",
                json!({ "strategy": info.name, "backends": backends, "allocs": allocations(info.name, backends) })
            );
        }
    }
}

/// Mean over a thousand rounds with different keys.
fn allocations(strategy: &str, backends: u32) -> f64 {
    let backend = |n: u32| {
        let weight = Weight::from(n % 3 + 1);
        Arc::new(Backend::new(BackendOptions {
            weight,
            ..BackendOptions::named(format!("http://10.0.0.{n}"))
        }))
    };
    let balancer =
        Balancer::new(StrategyConfig::named(strategy), (0..backends).map(backend).collect()).unwrap();
    let now = Instant::now();
    // A thread's own state is set up by its first choice.
    drop(balancer.acquire(&PickContext::new(now)));
    let counted = allocation_counter::measure(|| {
        for key in 0..ROUNDS {
            drop(balancer.acquire(&PickContext::keyed(key, now)));
        }
    });
    counted.count_total as f64 / ROUNDS as f64
}
