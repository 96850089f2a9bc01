//! Threads against one balancer while its backends change: limits hold, counts return to zero, every pick stays sound.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Instant;

use lb_core::strategy::ALL;
use lb_core::{AcquireError, Backend, BackendOptions, Balancer, PickContext, StrategyConfig, Weight};

const LIMIT: u32 = 3;

fn limited(count: usize) -> Vec<Arc<Backend>> {
    let max_connections = NonZeroU32::new(LIMIT);
    let backend = |n| {
        Arc::new(Backend::new(BackendOptions { max_connections, ..BackendOptions::named(format!("{n}")) }))
    };
    (0..count).map(backend).collect()
}

#[test]
fn no_backend_ever_holds_more_than_its_limit_and_all_return_to_zero() {
    for info in ALL {
        let all = limited(4);
        let balancer = Balancer::new(StrategyConfig::named(info.name), all.clone()).unwrap();
        // Counted apart from the code under test.
        let inside: Vec<AtomicU32> = all.iter().map(|_| AtomicU32::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (balancer, inside) = (&balancer, &inside);
                scope.spawn(move || {
                    for n in 0..3_000 {
                        let request = PickContext::keyed(thread << 32 | n, Instant::now());
                        // Two at once, so that 16 ask for 12 places.
                        let leases = [balancer.acquire(&request), balancer.acquire(&request)];
                        for lease in leases.iter().flatten() {
                            assert!(inside[lease.position()].fetch_add(1, SeqCst) < LIMIT, "{}", info.name);
                            assert!(lease.backend().active() <= LIMIT, "{}", info.name);
                        }
                        if n % 7 == 0 {
                            std::thread::yield_now();
                        }
                        for lease in leases.into_iter().flatten() {
                            inside[lease.position()].fetch_sub(1, SeqCst);
                            if n % 3 == 0 {
                                lease.failed();
                            }
                        }
                    }
                });
            }
        });
        assert!(all.iter().all(|backend| backend.active() == 0), "{}", info.name);
        assert!(all.iter().all(|backend| backend.failed() <= backend.total()), "{}", info.name);
    }
}

#[test]
fn picks_go_on_while_the_set_changes() {
    for info in ALL {
        let all = limited(6);
        let balancer = Balancer::new(StrategyConfig::named(info.name), all.clone()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..60_u32 {
                    // The first always stays, so there is always someone.
                    for (n, backend) in (1..).zip(&all[1..]) {
                        backend.set_healthy((round + n) % 3 != 0);
                        backend.set_weight(Weight::from((round * n) % 5));
                        backend.set_max_connections(NonZeroU32::new(round % 4));
                    }
                    balancer.rebuild();
                }
                done.store(true, SeqCst);
            });
            for thread in 0..2_u64 {
                let (balancer, done, all) = (&balancer, &done, &all);
                scope.spawn(move || {
                    let mut n = thread;
                    while !done.load(SeqCst) {
                        n += 2;
                        match balancer.acquire(&PickContext::keyed(n, Instant::now())) {
                            Ok(lease) => assert!(Arc::ptr_eq(lease.backend(), &all[lease.position()])),
                            Err(error) => assert_eq!(error, AcquireError::AllFull, "{}", info.name),
                        }
                    }
                });
            }
        });
        assert!(all.iter().all(|backend| backend.active() == 0), "{}", info.name);
    }
}
