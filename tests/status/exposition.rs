//! A reader of Prometheus' text format that forgives nothing, independent of the writer's own tests.

use std::collections::{BTreeMap, BTreeSet};

/// One sample: its name, its labels, its value.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// All samples of a text.
///
/// Panics where a family is not announced by its type, comes in two pieces, or a sample stands there twice; where a
/// name or a label is malformed; where a histogram's buckets fall or do not end at its count.
pub(super) fn parse(text: &str) -> Vec<Sample> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut kinds = BTreeMap::new();
    let mut family = String::new();
    let mut series = BTreeSet::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            let (name, kind) = announced.split_once(' ').expect(line);
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "in two pieces: {line}");
            name.clone_into(&mut family);
        } else if !line.starts_with('#') {
            let sample = sample(line);
            let suffix =
                sample.name.strip_prefix(&family).unwrap_or_else(|| panic!("not of {family}: {line}"));
            let histogram = kinds.get(&family).is_some_and(|kind| kind == "histogram");
            let suffixes: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.contains(&suffix), "{line}");
            assert!(series.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            samples.push(sample);
        }
    }
    for family in kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
        check_histogram(family, &samples);
    }
    samples
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").expect(line);
            let label = label.trim_start_matches(',');
            assert!(is_name(label), "{line}");
            let close = quote_end(after).expect(line);
            assert!(labels.insert(label.to_owned(), after[..close].to_owned()).is_none(), "{line}");
            rest = &after[close + 1..];
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect(line);
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect(line) };
    Sample { name: name.to_owned(), labels, value }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where the closing quote stands, past escaped ones.
fn quote_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end.then_some(at)
    })
}

fn check_histogram(family: &str, samples: &[Sample]) {
    let mut last: BTreeMap<BTreeMap<String, String>, f64> = BTreeMap::new();
    let mut buckets: BTreeMap<BTreeMap<String, String>, usize> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name == format!("{family}_bucket")) {
        let mut labels = sample.labels.clone();
        labels.remove("le").expect("a bucket has its bound");
        let before = last.insert(labels.clone(), sample.value).unwrap_or(0.0);
        assert!(sample.value >= before, "the buckets of {family} fall");
        *buckets.entry(labels).or_default() += 1;
    }
    for (labels, total) in &last {
        let count = samples
            .iter()
            .find(|sample| sample.name == format!("{family}_count") && sample.labels == *labels);
        assert_eq!(count.map(|sample| sample.value), Some(*total), "{family}{labels:?} does not add up");
        assert!(buckets[labels] <= 20, "{family}{labels:?} has {} buckets", buckets[labels]);
    }
}
