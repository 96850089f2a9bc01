//! What one choice costs: every row of the table over 3, 100 and 10 000 backends, the strategy's pick alone and the whole
//! round from acquire to drop, on one thread; then the round on two threads and on sixteen. What a pick does not show is beside it:
//! what a strategy does as a request ends (`learn`), and the instant's becoming a number before the pick (`context`).
//!
//! Time is what the thread spent on a processor, not what passed on the wall, so that a busy machine blurs the figures little;
//! several threads at once are timed by the wall, and want an idle machine.
//!
//! `cargo bench -p lb-core --bench pick -- ip_hash` runs one row.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lb_core::strategy::{ALL, Build, Options, Strategy};
use lb_core::{
    Backend, BackendOptions, BackendSet, Balancer, Lease, Outcome, PickContext, StrategyConfig, StrategyInfo,
    Weight,
};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [u32; 3] = [3, 100, 10_000];

fn backends(count: u32) -> Vec<Arc<Backend>> {
    (0..count)
        .map(|n| {
            let weight = Weight::from(n % 3 + 1);
            Arc::new(Backend::new(BackendOptions {
                weight,
                ..BackendOptions::named(format!("http://10.0.0.{n}:80"))
            }))
        })
        .collect()
}

/// What a busy gateway has in flight and has learnt: scans that could stop at an idle backend would look better than they are.
fn load(info: &'static StrategyInfo, backends: &[Arc<Backend>]) -> Vec<Lease> {
    let balancer = Balancer::new(StrategyConfig::named(info.name), backends.to_vec()).unwrap();
    let mut request = PickContext::new(Instant::now());
    let all: Vec<Lease> =
        (0..backends.len() * 6).map(|_| balancer.acquire(&next(&mut request)).unwrap()).collect();
    for (n, lease) in (0..).zip(&all) {
        lease.record(Outcome { latency: Some(Duration::from_micros(1_000 + n % 97)), ok: true });
    }
    all
}

/// Keys that differ from call to call, as clients do.
fn next(request: &mut PickContext<'_>) -> PickContext<'static> {
    request.key = request.key.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    PickContext::keyed(request.key, request.now)
}

fn pick(criterion: &mut Criterion<OnProcessor>) {
    for info in ALL {
        let mut group = criterion.benchmark_group(format!("pick/{}", info.name));
        for count in SIZES {
            let backends = backends(count);
            let _held = load(info, &backends);
            let set = BackendSet::new(&backends);
            let strategy = taught(info, &set);
            let mut request = PickContext::new(Instant::now());
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| strategy.pick(black_box(&set), &next(&mut request)));
            });
        }
    }
}

/// With what it learns and keeps for itself.
fn taught(info: &'static StrategyInfo, set: &BackendSet) -> Box<dyn Strategy> {
    let options = Options::parse(info, &StrategyConfig::named(info.name)).unwrap();
    let strategy = (info.build)(&Build { set, options: &options, turn: &Arc::default() });
    let now = PickContext::new(Instant::now()).now;
    for (index, outcome) in lessons(set).take(set.len() * 6) {
        strategy.learn(set, index, &outcome, now);
    }
    strategy
}

fn lessons(set: &BackendSet) -> impl Iterator<Item = (usize, Outcome)> + Clone {
    let outcome = |micros| Outcome { latency: Some(Duration::from_micros(micros)), ok: true };
    (0..set.len()).cycle().zip((1_000..1_097).cycle().map(outcome))
}

/// What a request's end costs those that learn from it.
fn learn(criterion: &mut Criterion<OnProcessor>) {
    for info in ALL {
        let mut group = criterion.benchmark_group(format!("learn/{}", info.name));
        for count in SIZES {
            let backends = backends(count);
            let _held = load(info, &backends);
            let set = BackendSet::new(&backends);
            let strategy = taught(info, &set);
            if !strategy.needs().outcomes {
                continue;
            }
            let (request, mut lessons) = (PickContext::new(Instant::now()), lessons(&set));
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    let (index, outcome) = lessons.next().unwrap();
                    strategy.learn(black_box(&set), index, &outcome, request.now);
                });
            });
        }
    }
}

/// An instant of the clock made what strategies calculate with, once a request.
fn context(criterion: &mut Criterion<OnProcessor>) {
    let now = Instant::now();
    let mut group = criterion.benchmark_group("context/new");
    group.bench_function(BenchmarkId::from_parameter(1), |bencher| {
        bencher.iter(|| black_box(PickContext::new(black_box(now))).now);
    });
}

fn acquire(criterion: &mut Criterion<OnProcessor>) {
    for info in ALL {
        let mut group = criterion.benchmark_group(format!("acquire/{}", info.name));
        for count in SIZES {
            let backends = backends(count);
            let _held = load(info, &backends);
            let balancer = Balancer::new(StrategyConfig::named(info.name), backends).unwrap();
            let mut request = PickContext::new(Instant::now());
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| balancer.acquire(&next(&mut request)));
            });
        }
    }
}

/// Time a round on each of several threads at once: what a request pays while the others are busy.
fn threads(criterion: &mut Criterion) {
    for info in ALL {
        let mut group = criterion.benchmark_group(format!("threads/{}", info.name));
        let balancer = Balancer::new(StrategyConfig::named(info.name), backends(100)).unwrap();
        for count in [1_u64, 2, 16] {
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter_custom(|rounds| on_threads(&balancer, count, rounds));
            });
        }
    }
}

fn on_threads(balancer: &Balancer, count: u64, rounds: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..count {
            scope.spawn(move || {
                let mut request = PickContext::keyed(thread, Instant::now());
                for _ in 0..rounds {
                    drop(black_box(balancer.acquire(&next(&mut request))));
                }
            });
        }
    });
    start.elapsed()
}

/// Time this thread spent on a processor.
struct OnProcessor;

impl Measurement for OnProcessor {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn short<M: Measurement>(criterion: Criterion<M>) -> Criterion<M> {
    criterion
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! {
    name = one_thread;
    config = short(Criterion::default().with_measurement(OnProcessor));
    targets = pick, acquire, learn, context
}
criterion_group! {
    name = many_threads;
    config = short(Criterion::default());
    targets = threads
}
criterion_main!(one_thread, many_threads);
