//! The statuses that a healthy backend answers with: "200-299", "200", "200,204,301-308".

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A set of HTTP statuses, written as a list of numbers and ranges.
///
/// ```
/// use lb_health::StatusSet;
/// let set: StatusSet = "200, 301-308".parse()?;
/// assert!(set.contains(304) && !set.contains(204));
/// assert_eq!(set.to_string(), "200,301-308");
/// assert_eq!(StatusSet::default().to_string(), "200-299");
/// # Ok::<(), lb_health::StatusSetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Box<[RangeInclusive<u16>]>);

/// Why a text is no list of statuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusSetError {
    /// Not a number from 100 to 599, nor two of them.
    #[error("{0:?} is neither a status from 100 to 599 nor a range such as 200-299")]
    NotStatus(String),
    /// The larger number comes first.
    #[error("the range {0} begins above its end")]
    Backwards(String),
    /// One status is named twice.
    #[error("{0} and {1} overlap")]
    Overlap(String, String),
}

impl StatusSet {
    /// Whether this status is in it.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for StatusSet {
    /// 200 to 299.
    fn default() -> Self {
        Self([200..=299].into())
    }
}

impl FromStr for StatusSet {
    type Err = StatusSetError;

    fn from_str(text: &str) -> Result<Self, StatusSetError> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let range = range(item)?;
            let overlaps = |other: &&RangeInclusive<u16>| {
                other.start().max(range.start()) <= other.end().min(range.end())
            };
            if let Some(other) = ranges.iter().find(overlaps) {
                return Err(StatusSetError::Overlap(written(other), written(&range)));
            }
            ranges.push(range);
        }
        Ok(Self(ranges.into()))
    }
}

fn range(item: &str) -> Result<RangeInclusive<u16>, StatusSetError> {
    let status = |text: &str| {
        let text = text.trim();
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let status = digits.then(|| text.parse().ok()).flatten().filter(|status| (100..600).contains(status));
        status.ok_or_else(|| StatusSetError::NotStatus(item.to_owned()))
    };
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (first, last) = (status(first)?, status(last)?);
    if first > last {
        return Err(StatusSetError::Backwards(item.to_owned()));
    }
    Ok(first..=last)
}

fn written(range: &RangeInclusive<u16>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = self.0.iter().map(written).collect();
        f.write_str(&items.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        for (text, inside, outside) in [
            ("200-299", &[200, 299][..], &[199, 300][..]),
            ("200", &[200], &[201]),
            ("200,204, 301 - 308", &[200, 204, 301, 308], &[203, 300, 309]),
            ("100-599", &[100, 599], &[]),
        ] {
            let set: StatusSet = text.parse().unwrap();
            assert!(inside.iter().all(|status| set.contains(*status)), "{text}");
            assert!(!outside.iter().any(|status| set.contains(*status)), "{text}");
            assert_eq!(set.to_string().parse(), Ok(set));
        }
    }

    #[test]
    fn what_is_no_list_of_statuses_is_refused_with_a_reason() {
        for (text, words) in [
            ("", "\"\" is neither"),
            ("200,", "\"\" is neither"),
            ("99", "is neither"),
            ("600", "is neither"),
            ("+200", "is neither"),
            ("2xx", "is neither"),
            ("200-299-300", "is neither"),
            ("299-200", "begins above its end"),
            ("200-299,204", "200-299 and 204 overlap"),
            ("204,200-299", "204 and 200-299 overlap"),
        ] {
            let error = text.parse::<StatusSet>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
