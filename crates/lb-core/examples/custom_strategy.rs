//! A strategy of one's own, outside the crate: fill a backend up to a depth before using the next, so that idle ones can be
//! switched off. Limits, health, draining and retries come from the balancer all the same.
//!
//! `cargo run -p lb-core --example custom_strategy`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Instant;

use lb_core::strategy::{Build, OptionInfo, OptionKind};
use lb_core::{
    Backend, BackendOptions, BackendSet, Balancer, BalancerOptions, Lease, PickContext, Strategy,
    StrategyConfig, StrategyInfo,
};

/// The row that names it: options are checked against it, and defaults filled in.
static FILL: StrategyInfo = StrategyInfo {
    name: "fill",
    aliases: &[],
    summary: "the first backend with fewer than `depth` requests in flight",
    options: &[OptionInfo {
        name: "depth",
        summary: "requests in flight before the next backend is used",
        kind: OptionKind::Integer { min: 1, max: 1000, default: 10 },
    }],
    weighted: false,
    keyed: false,
    build: |build: &Build<'_>| Box::new(Fill { depth: build.options.integer("depth") }),
};

#[derive(Debug)]
struct Fill {
    depth: i64,
}

impl Strategy for Fill {
    fn pick(&self, backends: &BackendSet, _request: &PickContext<'_>) -> Option<usize> {
        let roomy = backends.iter().position(|backend| i64::from(backend.active()) < self.depth);
        roomy.or_else(|| {
            (0..backends.len()).min_by_key(|index| backends.get(*index).map(|backend| backend.active()))
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backends = ["a", "b", "c"].map(|name| Arc::new(Backend::new(BackendOptions::named(name))));
    let config = StrategyConfig::named("fill").with("depth", 4);
    let balancer = Balancer::with_row(&FILL, config, backends.to_vec(), BalancerOptions::default())?;

    let request = PickContext::new(Instant::now());
    let held: Vec<Lease> = (0..6).map(|_| balancer.acquire(&request)).collect::<Result<_, _>>()?;
    for backend in &backends {
        println!("{} holds {}", backend.name(), backend.active());
    }
    drop(held);

    backends.iter().for_each(|backend| backend.set_healthy(backend.name() != "a"));
    balancer.rebuild();
    println!("without a, the next goes to {}", balancer.acquire(&request)?.backend().name());
    Ok(())
}
