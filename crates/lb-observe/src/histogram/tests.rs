//! The histogram against exact answers.

use super::*;
use proptest::prelude::*;

fn histogram_of(durations: impl IntoIterator<Item = Duration>) -> Histogram {
    let histogram = Histogram::default();
    durations.into_iter().for_each(|duration| histogram.record(duration));
    histogram
}

fn summary_of(durations: impl IntoIterator<Item = Duration>) -> Summary {
    [&histogram_of(durations)].into_iter().collect()
}

fn exposed_of(durations: impl IntoIterator<Item = Duration>) -> Exposed {
    [&histogram_of(durations)].into_iter().collect()
}

#[test]
fn an_unused_histogram_allocates_nothing_and_says_nothing() {
    let histogram = Histogram::default();
    assert!(histogram.samples.get().is_none());
    let summary: Summary = [&histogram].into_iter().collect();
    assert_eq!((summary.count(), summary.quantile(0.5), summary.mean()), (0, None, None));
    let exposed: Exposed = [&histogram].into_iter().collect();
    assert_eq!((exposed.count(), exposed.cumulative()), (0, [0; 19]));
}

#[test]
fn only_the_ranges_in_use_take_memory() {
    let histogram = Histogram::default();
    (1..=9).for_each(|ms| histogram.record(Duration::from_millis(ms)));
    let samples = histogram.samples.get().unwrap();
    // (500 us, 1 ms], (1 ms, 2 ms], (2 ms, 5 ms] and (5 ms, 10 ms].
    assert_eq!(samples.segments.iter().filter(|segment| segment.get().is_some()).count(), 4);
}

#[test]
fn every_exposed_bound_is_an_edge_of_a_fine_bucket() {
    for bound_us in EXPOSED_BOUNDS_US {
        let (segment, bucket) = locate(bound_us * 1_000);
        assert_eq!(LAYOUT[segment].upper_ns(bucket), bound_us * 1_000);
    }
}

#[test]
fn a_sample_on_a_bound_is_counted_under_it() {
    let exposed = exposed_of([Duration::from_millis(1), Duration::from_nanos(1_000_001)]);
    let at = |bound_us| exposed.cumulative()[EXPOSED_BOUNDS_US.iter().position(|b| *b == bound_us).unwrap()];
    assert_eq!((at(500), at(1_000), at(2_000)), (0, 1, 2));
}

#[test]
fn samples_past_the_last_bound_are_in_the_count_alone() {
    let durations = [Duration::from_secs(3_600), Duration::MAX];
    let (summary, exposed) = (summary_of(durations), exposed_of(durations));
    assert_eq!(exposed.cumulative(), [0; 19]);
    assert_eq!((summary.count(), exposed.count()), (2, 2));
    assert_eq!((summary.sum(), exposed.sum()), (Duration::from_secs(13_600), Duration::from_secs(13_600)));
}

#[test]
fn merging_is_adding() {
    let (a, b) = (Duration::from_micros(150), Duration::from_secs(2));
    let mut merged = summary_of([a, a]);
    merged.merge(&summary_of([b]));
    let whole = summary_of([a, a, b]);
    assert_eq!(merged.count(), whole.count());
    assert_eq!(merged.sum(), whole.sum());
    assert_eq!(merged.quantile(0.99), whole.quantile(0.99));
    let exposed: Exposed = [&histogram_of([a, a]), &histogram_of([b])].into_iter().collect();
    assert_eq!(exposed.cumulative(), exposed_of([a, a, b]).cumulative());
}

#[test]
fn no_sample_is_lost_when_threads_share_a_histogram() {
    let histogram = Histogram::default();
    std::thread::scope(|scope| {
        for thread in 1..=4u64 {
            let histogram = &histogram;
            scope.spawn(move || {
                (0..10_000).for_each(|n| histogram.record(Duration::from_micros(thread * (n % 500))));
            });
        }
    });
    let summary: Summary = [&histogram].into_iter().collect();
    assert_eq!(summary.count(), 40_000);
}

proptest! {
    #[test]
    fn quantiles_are_within_two_percent_of_the_exact_ones(
        mut samples_us in prop::collection::vec(1u64..3_600_000_000, 1..300),
        q in 0f64..=1.0,
    ) {
        let summary = summary_of(samples_us.iter().map(|us| Duration::from_micros(*us)));
        samples_us.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
        let rank = ((q * samples_us.len() as f64).ceil() as usize).max(1);
        let exact = Duration::from_micros(samples_us[rank - 1]).as_secs_f64();
        let estimate = summary.quantile(q).unwrap().as_secs_f64();
        prop_assert!((estimate - exact).abs() <= exact * 0.02, "{estimate} for {exact}");
    }

    #[test]
    fn exposed_counts_are_exact(samples_us in prop::collection::vec(0u64..400_000_000, 0..300)) {
        let exposed = exposed_of(samples_us.iter().map(|us| Duration::from_micros(*us)));
        for (bound, counted) in EXPOSED_BOUNDS_US.iter().zip(exposed.cumulative()) {
            prop_assert_eq!(counted, samples_us.iter().filter(|us| *us <= bound).count() as u64);
        }
        prop_assert_eq!(exposed.count(), samples_us.len() as u64);
    }
}

#[test]
fn a_window_holds_what_came_between_two_readings() {
    let histogram = Histogram::default();
    let read = || [&histogram].into_iter().collect::<Summary>();
    (0..1_000).for_each(|_| histogram.record(Duration::from_millis(1)));
    let before = read();
    (0..10).for_each(|_| histogram.record(Duration::from_millis(80)));
    let window = read().since(&before);
    assert_eq!((window.count(), window.sum()), (10, Duration::from_millis(800)));
    let p50 = window.quantile(0.5).unwrap();
    assert!(p50.abs_diff(Duration::from_millis(80)) < Duration::from_millis(2), "{p50:?}");
    assert_eq!(before.since(&read()).count(), 0);
    assert_eq!(read().since(&Summary::default()).count(), 1_010);
}
