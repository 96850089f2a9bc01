//! A reader of the text exposition format that forgives nothing.
//!
//! Written from the format's description (version 0.0.4) and Prometheus's naming rules: HELP and TYPE once and
//! before the samples, families in one piece, known escapes only, no sample twice, histograms whole, cumulative and
//! with a count that equals `+Inf`.

use std::collections::{BTreeMap, HashMap, HashSet};

/// The samples of a text, by name and labels; the reason where a strict parser would refuse it.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let mut samples = BTreeMap::new();
    let mut families: HashMap<String, String> = HashMap::new();
    let mut helped = HashSet::new();
    let mut current = String::new();
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        let fail = |why: &str| Err(format!("line {}: {why}: {line}", number + 1));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return fail("no help text") };
            if help.is_empty() || !helped.insert(name.to_owned()) {
                return fail("empty or repeated HELP");
            }
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { return fail("no type") };
            if name != current {
                return fail("TYPE without its HELP before it");
            }
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return fail("unknown type");
            }
            if kind == "counter" && !name.ends_with("_total") {
                return fail("a counter not called _total");
            }
            if families.insert(name.to_owned(), kind.to_owned()).is_some() {
                return fail("a family in two pieces");
            }
        } else if line.starts_with('#') {
            return fail("a comment");
        } else if !line.is_empty() {
            let (name, labels, value) = match sample(line) {
                Ok(sample) => sample,
                Err(why) => return fail(&why),
            };
            let kind = families.get(&current).map_or("", String::as_str);
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !suffixes.iter().any(|suffix| name == format!("{current}{suffix}")) {
                return fail("a sample outside its family");
            }
            let key = format!("{name}{labels:?}");
            if samples.insert(key, value).is_some() {
                return fail("a sample twice");
            }
        }
    }
    histograms_are_whole(&families, text)?;
    Ok(samples)
}

type Sample = (String, BTreeMap<String, String>, f64);

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a bad name".to_owned());
    }
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if key.is_empty() || !key.chars().all(good) || key.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(format!("a bad label name {key:?}"));
            }
            let (value, after) = quoted(after)?;
            if labels.insert(key.to_owned(), value).is_some() {
                return Err("a label twice".to_owned());
            }
            match after.split_at_checked(1) {
                Some((",", more)) => rest = more,
                Some(("}", end)) => {
                    rest = end;
                    break;
                }
                _ => return Err("labels without an end".to_owned()),
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value.parse().map_err(|_| "a value that is not a number")?;
    Ok((name.to_owned(), labels, value))
}

/// A label value and what follows its closing quote.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[index + 1..])),
            '\\' => match characters.next() {
                Some((_, '\\')) => value.push('\\'),
                Some((_, '"')) => value.push('"'),
                Some((_, 'n')) => value.push('\n'),
                _ => return Err("an unknown escape".to_owned()),
            },
            other => value.push(other),
        }
    }
    Err("a label value without an end".to_owned())
}

fn histograms_are_whole(families: &HashMap<String, String>, text: &str) -> Result<(), String> {
    for name in families.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
        let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        let mut ends: BTreeMap<(String, &str), f64> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (sample_name, mut labels, value) = sample(line)?;
            match sample_name.strip_prefix(name.as_str()) {
                Some("_bucket") => {
                    let le = labels.remove("le").ok_or("a bucket without le")?;
                    let le = le.parse().map_err(|_| "an le that is not a number")?;
                    series.entry(format!("{labels:?}")).or_default().push((le, value));
                }
                Some("_count") => drop(ends.insert((format!("{labels:?}"), "count"), value)),
                Some("_sum") => drop(ends.insert((format!("{labels:?}"), "sum"), value)),
                _ => {}
            }
        }
        for (labels, buckets) in series {
            if buckets.len() > 20 {
                return Err(format!("{name}{labels}: more than 20 buckets"));
            }
            if !buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1) {
                return Err(format!("{name}{labels}: buckets neither rise nor add up"));
            }
            let last = buckets.last().copied();
            let count = ends.get(&(labels.clone(), "count")).copied();
            if last.map(|(le, _)| le) != Some(f64::INFINITY) || last.map(|(_, count)| count) != count {
                return Err(format!("{name}{labels}: +Inf is missing or not the count"));
            }
            if !ends.contains_key(&(labels.clone(), "sum")) {
                return Err(format!("{name}{labels}: no sum"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_reader_refuses_what_a_strict_parser_refuses() {
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    for bad in [
        "a_total 1\n",
        "# HELP a_total A.\n# TYPE a_total counter\na_total 1",
        &format!("{head}a_total 1\na_total 2\n"),
        &format!("{head}a_total{{x=\"1\\y\"}} 1\n"),
        &format!("{head}a_total{{x=\"1}} 1\n"),
        &format!("{head}a_total{{x=\"1\",x=\"2\"}} 1\n"),
        &format!("{head}a_total one\n"),
        &format!("{head}# HELP b B.\n# TYPE b gauge\nb 1\na_total 1\n"),
        &format!("{head}{head}"),
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n",
        "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
    assert_eq!(parse(&format!("{head}a_total{{x=\"\\\"\\\\\\n\"}} 1\n")).unwrap().len(), 1);
}
