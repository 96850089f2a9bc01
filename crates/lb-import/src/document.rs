//! The configuration that is written: tables with their keys in order, each with a comment that says what it comes from.

use std::collections::HashSet;

use toml::Value;

/// The upstream of what is closed: a backend that takes no new requests, so that the answer is 503.
pub(crate) const CLOSED: &str = "closed";

/// A table: `[[rules]]` with its keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    header: String,
    comment: String,
    keys: Vec<(String, Value)>,
}

/// A whole configuration.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) root: Table,
    pub(crate) tables: Vec<Table>,
    pub(crate) listeners: Vec<Table>,
    pub(crate) upstreams: Vec<Table>,
    pub(crate) rules: Vec<Table>,
}

impl Table {
    pub(crate) fn new(header: impl Into<String>, comment: impl Into<String>) -> Self {
        Self { header: header.into(), comment: comment.into(), keys: Vec::new() }
    }

    pub(crate) fn rule(comment: impl Into<String>) -> Self {
        Self::new("[[rules]]", comment)
    }

    pub(crate) fn upstream(name: &str, comment: impl Into<String>) -> Self {
        Self::new(format!("[upstreams.{}]", key(name)), comment)
    }

    /// Sets a key, in the place of what it had.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.keys.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => self.keys.push((name.to_owned(), value)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.keys.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, names: &[&str]) {
        self.keys.retain(|(known, _)| !names.contains(&known.as_str()));
    }

    /// Sets a key of a table that is a value: `request_headers.set` for instance.
    pub(crate) fn set_in(&mut self, path: [&str; 2], name: &str, value: impl Into<Value>) {
        let [outer, inner] = path;
        let mut table = self.inner(outer);
        let entry = table.entry(inner).or_insert_with(|| Value::Table(toml::Table::new()));
        if let Value::Table(names) = entry {
            names.insert(name.to_owned(), value.into());
        }
        self.set(outer, table);
    }

    /// Adds to a list in a table that is a value.
    pub(crate) fn push_in(&mut self, path: [&str; 2], value: impl Into<Value>) {
        let [outer, inner] = path;
        let mut table = self.inner(outer);
        if let Value::Array(list) = table.entry(inner).or_insert_with(|| Value::Array(Vec::new())) {
            list.push(value.into());
        }
        self.set(outer, table);
    }

    fn inner(&self, outer: &str) -> toml::Table {
        match self.get(outer) {
            Some(Value::Table(table)) => table.clone(),
            _ => toml::Table::new(),
        }
    }

    fn render(&self, out: &mut String) {
        if !self.comment.is_empty() {
            // What was written elsewhere is no TOML.
            let comment: String = self.comment.chars().filter(|letter| !letter.is_control()).collect();
            out.push_str(&format!("# {comment}\n"));
        }
        if !self.header.is_empty() {
            out.push_str(&format!("{}\n", self.header));
        }
        for (name, value) in &self.keys {
            out.push_str(&format!("{} = {value}\n", key(name)));
        }
        if !self.comment.is_empty() || !self.header.is_empty() || !self.keys.is_empty() {
            out.push('\n');
        }
    }
}

impl Document {
    /// Names a rule so that no other is called the same.
    pub(crate) fn add_rule(&mut self, mut rule: Table, name: &str) {
        let names: HashSet<&str> =
            self.rules.iter().filter_map(|rule| rule.get("name").and_then(Value::as_str)).collect();
        let mut unique = name.to_owned();
        let mut number = 2;
        while names.contains(unique.as_str()) {
            unique = format!("{name}-{number}");
            number += 1;
        }
        rule.keys.insert(0, ("name".to_owned(), unique.into()));
        if rule.get("upstream").and_then(Value::as_str) == Some(CLOSED) {
            self.close();
        }
        self.rules.push(rule);
    }

    /// Whether nothing is forwarded.
    pub(crate) fn is_empty(&self) -> bool {
        let is_tcp = |listener: &Table| listener.get("protocol").is_some();
        self.rules.is_empty() && !self.listeners.iter().any(is_tcp)
    }

    fn close(&mut self) {
        let header = format!("[upstreams.{CLOSED}]");
        if self.upstreams.iter().any(|table| table.header == header) {
            return;
        }
        let mut upstream = Table::upstream(CLOSED, "takes no requests: what is sent here is answered 503");
        upstream.set("backends", Value::Array(vec![closed("http")]));
        self.upstreams.push(upstream);
    }

    pub(crate) fn render(&self, origin: &str) -> String {
        let mut out = format!(
            "# Imported from {origin}. `gatewayd check` reads it; the report says what is not as it was.\n\n"
        );
        self.root.render(&mut out);
        let tables = [&self.tables, &self.listeners, &self.upstreams, &self.rules];
        tables.into_iter().flatten().for_each(|table| table.render(&mut out));
        format!("{}\n", out.trim_end())
    }
}

/// A backend that takes no new requests.
pub(crate) fn closed(scheme: &str) -> Value {
    table([("url", format!("{scheme}://127.0.0.1:9").into()), ("weight", 0.into())])
}

/// A time as this gateway has it, of numbers with units that follow one another (`1d12h`); a number without one is in `bare`. Nothing
/// where it is none, or no time at all.
pub(crate) fn time(text: &str, bare: &str) -> Option<String> {
    const DAY: u64 = 24 * 3600;
    let (mut rest, mut micros) = (text.trim(), 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| !letter.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        rest = after.trim_start();
        let unit = match if unit.is_empty() { bare } else { unit } {
            "us" => 1,
            "ms" => 1000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => DAY * 1_000_000,
            "w" => 7 * DAY * 1_000_000,
            "M" => 30 * DAY * 1_000_000,
            "y" => 365 * DAY * 1_000_000,
            _ => return None,
        };
        micros = micros.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
    }
    let millis = micros.div_ceil(1000);
    Some(match millis {
        0 => return None,
        _ if millis % 1000 != 0 => format!("{millis}ms"),
        _ if millis % 3_600_000 == 0 => format!("{}h", millis / 3_600_000),
        _ if millis % 60_000 == 0 => format!("{}m", millis / 60_000),
        _ => format!("{}s", millis / 1000),
    })
}

/// Backends of an upstream: one that stands there twice is one of both weights.
pub(crate) fn backends(all: impl IntoIterator<Item = Value>) -> Value {
    let mut folded: Vec<(String, Value)> = Vec::new();
    for backend in all {
        let url = backend.get("url").unwrap_or(&backend).as_str().unwrap_or_default().to_owned();
        let weight = |value: &Value| value.get("weight").and_then(Value::as_integer).unwrap_or(1);
        match folded.iter_mut().find(|(known, _)| *known == url) {
            Some((_, known)) => {
                let sum = weight(known) + weight(&backend);
                let mut both = match &*known {
                    Value::Table(keys) => keys.clone(),
                    _ => toml::Table::from_iter([("url".to_owned(), Value::from(url))]),
                };
                both.insert("weight".to_owned(), sum.into());
                *known = both.into();
            }
            None => folded.push((url, backend)),
        }
    }
    Value::Array(folded.into_iter().map(|(_, backend)| backend).collect())
}

/// A list of strings.
pub(crate) fn list<S: Into<String>>(items: impl IntoIterator<Item = S>) -> Value {
    Value::Array(items.into_iter().map(|item| Value::String(item.into())).collect())
}

/// A table as a value.
pub(crate) fn table(keys: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Table(keys.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A key, in quotes where it must be.
fn key(name: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => Value::String(name.to_owned()).to_string(),
    }
}

/// A name for a rule or a listener, of what may stand in one.
pub(crate) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.chars() {
        match letter.is_ascii_alphanumeric() || letter == '.' {
            true => slug.push(letter),
            false if slug.ends_with('-') || slug.is_empty() => {}
            false => slug.push('-'),
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "root".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_read_here() {
        for (text, bare, is) in [
            ("30", "s", "30s"),
            ("5000", "ms", "5s"),
            ("7d", "s", "168h"),
            ("1w", "s", "168h"),
            ("1h 30m", "s", "90m"),
            ("1m30s", "s", "90s"),
            ("1500", "ms", "1500ms"),
            ("250us", "ms", "1ms"),
        ] {
            assert_eq!(time(text, bare).as_deref(), Some(is), "{text}");
        }
        for text in ["", "0", "0s", "s", "1x", "-1", "$t", "99999999999999999999y", "18446744073709551615y"] {
            assert_eq!(time(text, "s"), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_toml_with_its_origins() {
        let mut document = Document::default();
        document.root.set("load_balancing", "random");
        let mut rule = Table::rule("a.conf:3");
        rule.set("hosts", list(["a.example"]));
        rule.set_in(["request_headers", "set"], "X-\"odd\"", "v");
        rule.push_in(["request_headers", "remove"], "Y");
        rule.set("upstream", CLOSED);
        document.add_rule(rule.clone(), "a");
        document.add_rule(rule, "a");
        let text = document.render("a.conf");
        let read: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read["rules"][1]["name"].as_str(), Some("a-2"));
        assert_eq!(read["rules"][0]["request_headers"]["set"]["X-\"odd\""].as_str(), Some("v"));
        assert_eq!(read["upstreams"]["closed"]["backends"][0]["weight"].as_integer(), Some(0));
        assert!(text.contains("# a.conf:3\n[[rules]]"), "{text}");
    }

    #[test]
    fn a_backend_that_stands_twice_has_both_weights() {
        let one = |weight: i64| table([("url", "http://a".into()), ("weight", weight.into())]);
        let folded = backends(["http://a".into(), one(2), "http://b".into(), "http://a".into()]);
        let expected = Value::Array(vec![one(4), "http://b".into()]);
        assert_eq!(folded, expected);
    }

    #[test]
    fn names_are_made_of_anything() {
        assert_eq!(slug("~* \\.(jpg|png)$"), ".-jpg-png");
        assert_eq!(slug("/"), "root");
        assert_eq!(slug("/api/v1/"), "api-v1");
    }
}
