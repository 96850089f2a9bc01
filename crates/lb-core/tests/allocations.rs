//! No pick, no lease and no recorded outcome allocates, whatever the strategy.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_core::strategy::ALL;
use lb_core::{Backend, BackendOptions, Balancer, Outcome, PickContext, StrategyConfig, Weight};

#[test]
fn nothing_is_allocated_from_pick_to_drop() {
    for info in ALL {
        for count in [1_u32, 3, 100] {
            let backend = |n: u32| {
                let options = BackendOptions {
                    weight: Weight::from(n % 3 + 1),
                    // The first is soon full, so that the search for room runs too.
                    max_connections: NonZeroU32::new(if n == 0 { 2 } else { 1_000 }),
                    ..BackendOptions::named(format!("http://10.0.0.{n}"))
                };
                Arc::new(Backend::new(options))
            };
            let balancer =
                Balancer::new(StrategyConfig::named(info.name), (0..count).map(backend).collect()).unwrap();
            let mut held = Vec::with_capacity(64);
            let now = Instant::now();
            // Threads' own state (random numbers, arc-swap's node) is set up by the first pick.
            drop(balancer.acquire(&PickContext::new(now)));
            let counted = allocation_counter::measure(|| {
                for n in 0..1_000_u64 {
                    let request = PickContext { tried: &[1], attempt: 1, ..PickContext::keyed(n, now) };
                    if let Ok(lease) = balancer.acquire(&request) {
                        lease.record(Outcome { latency: Some(Duration::from_micros(n)), ok: n % 5 != 0 });
                        if held.len() < 64 {
                            held.push(lease);
                        }
                    }
                }
                held.clear();
            });
            assert_eq!(counted.count_total, 0, "{} over {count}", info.name);
        }
    }
}
