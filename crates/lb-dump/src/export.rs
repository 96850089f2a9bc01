//! Entries as other programs take them.

pub mod curl;
pub mod har;

use crate::entry::Entry;

/// The URL that the client asked for, as far as it can be known: `base` stands in for scheme and host where it is given.
fn url(entry: &Entry, base: Option<&str>) -> String {
    match base {
        Some(base) => format!("{}{}", base.trim_end_matches('/'), entry.target()),
        // An absolute target names its host itself.
        None if entry.target().contains("://") => entry.target().to_owned(),
        None => format!("http://{}{}", entry.host, entry.target()),
    }
}

/// The fields of a raw message as they came, in their order.
fn fields(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    let head = raw.split_once("\r\n\r\n").map_or(raw, |(head, _)| head);
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
}

/// The first value of a field, without regard to case.
fn field<'a>(raw: &'a str, name: &str) -> &'a str {
    fields(raw).find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}
