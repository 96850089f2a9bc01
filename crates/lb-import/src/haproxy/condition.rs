//! ACLs and the conditions made of them, as what rules ask for.
//!
//! A condition is a list of alternatives, each of which asks for all of its terms. A rule asks for one path, some hosts, some
//! methods, fields and parameters: so an alternative with several paths is several rules.

use std::collections::HashMap;

use toml::Value;

use super::syntax::Line;
use crate::document::{Table, list};

/// The ACLs of a section by name; lines of one name are alternatives.
#[derive(Debug, Default)]
pub(super) struct Acls<'a>(HashMap<&'a str, Vec<&'a [String]>>);

/// What a rule asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    path: Option<(&'static str, String)>,
    hosts: Vec<String>,
    methods: Vec<String>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

/// What rules a condition comes to, and where they are not quite the same.
#[derive(Debug, Default)]
pub(super) struct Alternatives {
    pub(super) asked: Vec<Asked>,
    pub(super) notes: Vec<String>,
}

/// Alternatives of one condition.
const MOST: usize = 1000;

impl<'a> Acls<'a> {
    pub(super) fn of(lines: &'a [Line]) -> Self {
        let mut acls: HashMap<&str, Vec<&[String]>> = HashMap::new();
        for line in lines.iter().filter(|line| line.name() == "acl") {
            acls.entry(line.argument()).or_default().push(line.from(2));
        }
        Self(acls)
    }

    /// What the words after `if` come to.
    ///
    /// # Errors
    /// Why no rules can ask for it.
    pub(super) fn condition(&self, words: &[String]) -> Result<Alternatives, String> {
        let mut all = Alternatives::default();
        for alternative in words.split(|word| word == "or" || word == "||") {
            let mut asked = vec![Asked::default()];
            let mut rest = alternative;
            while let Some((word, after)) = rest.split_first() {
                let terms: Vec<&[String]> = if word == "{" {
                    let end = after.iter().position(|word| word == "}").ok_or("a `{` is not closed")?;
                    let (term, more) = after.split_at(end);
                    rest = more.get(1..).unwrap_or_default();
                    vec![term]
                } else {
                    rest = after;
                    if word.starts_with('!') {
                        return Err(format!("no rule asks for what is not so ({word})"));
                    }
                    match (self.0.get(word.as_str()), word.as_str()) {
                        (Some(terms), _) => terms.clone(),
                        (None, "TRUE" | "HTTP") => continue,
                        (None, "METH_GET") => {
                            asked.iter_mut().for_each(|it| it.methods = vec!["GET".into(), "HEAD".into()]);
                            continue;
                        }
                        (None, "METH_POST") => {
                            asked.iter_mut().for_each(|it| it.methods = vec!["POST".into()]);
                            continue;
                        }
                        _ => return Err(format!("there is no ACL {word}")),
                    }
                };
                // Any of the lines of one name will do.
                let mut next = Vec::new();
                for term in terms {
                    for one in term_alternatives(term, &mut all.notes)? {
                        for before in &asked {
                            next.push(before.and(&one)?);
                        }
                    }
                }
                if next.len() > MOST {
                    return Err("it comes to too many rules".to_owned());
                }
                asked = next;
            }
            all.asked.extend(asked);
        }
        all.asked = merged(all.asked);
        all.notes.dedup();
        Ok(all)
    }
}

/// What one criterion with its values comes to.
fn term_alternatives(term: &[String], notes: &mut Vec<String>) -> Result<Vec<Asked>, String> {
    let (fetch, mut rest) = term.split_first().ok_or("an ACL asks for nothing")?;
    let (mut ignores_case, mut how) = (false, "");
    while let Some((flag, after)) = rest.split_first().filter(|(flag, _)| flag.starts_with('-')) {
        match flag.as_str() {
            "-i" => ignores_case = true,
            "-m" => {
                how = after.first().map_or("", String::as_str);
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            "--" => {}
            _ => return Err(format!("{flag} has no counterpart")),
        }
        rest = after;
    }
    let values = rest;
    if values.is_empty() && !fetch.contains("path") {
        return Err(format!("{fetch} alone has no counterpart"));
    }
    let (name, argument) = match fetch.split_once('(') {
        Some((name, rest)) => (name, rest.split([')', ',']).next().unwrap_or("").to_ascii_lowercase()),
        None => (fetch.as_str(), String::new()),
    };
    let name = name.strip_prefix("req.").unwrap_or(name).to_owned();
    let (name, suffix) = match name.rsplit_once('_') {
        Some((name, suffix @ ("beg" | "end" | "reg" | "sub" | "dir" | "dom" | "len"))) => {
            (name.to_owned(), suffix.to_owned())
        }
        _ => (name.clone(), how.to_owned()),
    };
    let fold = |value: &str| if ignores_case { format!("(?i){value}") } else { value.to_owned() };
    let unknown = || format!("{fetch} has no counterpart");
    if matches!(name.as_str(), "path" | "url") {
        check_paths(&name, &suffix, values, notes)?;
    }
    let asked = match (name.as_str(), suffix.as_str()) {
        ("path" | "url", "" | "str") if !ignores_case => paths("path", values.iter().cloned()),
        ("path" | "url", "" | "str") => {
            regexes(values.iter().map(|it| fold(&format!("^{}$", regex::escape(it)))))?
        }
        ("path" | "url", "beg") if !ignores_case => {
            for value in values {
                let note = match value.strip_suffix('/') {
                    Some(bare) if !bare.is_empty() => format!("path_prefix takes {bare}, too"),
                    Some(_) => continue,
                    None => format!("path_prefix takes {value} and what is below it, not {value}…"),
                };
                notes.push(note);
            }
            paths("path_prefix", values.iter().cloned())
        }
        ("path" | "url", "beg") => regexes(values.iter().map(|it| fold(&format!("^{}", regex::escape(it)))))?,
        ("path" | "url", "end") => regexes(values.iter().map(|it| fold(&format!("{}$", regex::escape(it)))))?,
        ("path" | "url", "sub") => regexes(values.iter().map(|it| fold(&regex::escape(it))))?,
        ("path" | "url", "dir") => regexes(
            values.iter().map(|it| fold(&format!("(^|/){}(/|$)", regex::escape(it.trim_matches('/'))))),
        )?,
        ("path" | "url", "reg") => regexes(values.iter().map(|it| fold(it)))?,
        ("hdr", "" | "str") if argument == "host" => {
            let hosts = values.iter().map(|it| it.split(':').next().unwrap_or(it).to_ascii_lowercase());
            vec![Asked { hosts: hosts.collect(), ..Asked::default() }]
        }
        ("hdr", "end" | "dom") if argument == "host" => {
            let below =
                values.iter().map(|it| format!("*.{}", it.trim_start_matches('.').to_ascii_lowercase()));
            let mut hosts: Vec<String> = below.collect();
            if suffix == "dom" {
                notes.push("hosts: the name and what is below it".to_owned());
                hosts.extend(values.iter().map(|it| it.trim_matches('.').to_ascii_lowercase()));
            } else if values.iter().any(|it| !it.starts_with('.')) {
                notes.push("hosts: at a dot alone".to_owned());
                hosts.extend(values.iter().map(|it| it.trim_start_matches('.').to_ascii_lowercase()));
            }
            vec![Asked { hosts, ..Asked::default() }]
        }
        ("hdr", "" | "str") if argument != "host" && !argument.is_empty() => {
            if ignores_case {
                notes.push("values of fields are compared with their case".to_owned());
            }
            let one = |value: &String| Asked {
                headers: vec![(argument.clone(), value.clone())],
                ..Asked::default()
            };
            values.iter().map(one).collect()
        }
        ("url_param" | "urlp", "" | "str") => {
            let one =
                |value: &String| Asked { query: vec![(argument.clone(), value.clone())], ..Asked::default() };
            values.iter().map(one).collect()
        }
        ("method", "" | "str") => {
            let methods = values.iter().map(|it| it.to_ascii_uppercase()).collect();
            vec![Asked { methods, ..Asked::default() }]
        }
        _ => return Err(unknown()),
    };
    Ok(asked)
}

/// That rules, which ask for the path alone, can ask for these values.
fn check_paths(name: &str, suffix: &str, values: &[String], notes: &mut Vec<String>) -> Result<(), String> {
    for value in values {
        // In a regex a bare one says how often.
        let asks_for_query = match suffix {
            "reg" => value.contains("\\?") || value.contains("[?]"),
            _ => value.contains('?'),
        };
        match (name, asks_for_query) {
            (_, false) => {}
            ("url", true) => {
                return Err(format!(
                    "no rule asks for path and query in one ({value}); write its `path` and `query`"
                ));
            }
            (_, true) => return Err(format!("no path has a query ({value})")),
        }
        let is_path = value.starts_with('/') && !value.contains('#');
        if matches!(suffix, "" | "str" | "beg") && !is_path {
            return Err(format!("{value:?} is no path, which begins with /"));
        }
    }
    if name == "url" && matches!(suffix, "" | "str" | "end" | "sub" | "reg" | "dir") {
        notes.push("the path alone is looked at, not the query".to_owned());
    }
    Ok(())
}

fn paths(key: &'static str, values: impl Iterator<Item = String>) -> Vec<Asked> {
    values.map(|value| Asked { path: Some((key, value)), ..Asked::default() }).collect()
}

fn regexes(values: impl Iterator<Item = String>) -> Result<Vec<Asked>, String> {
    let checked = values.map(|value| match regex::Regex::new(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(format!("no path_regex can say {value}")),
    });
    Ok(paths("path_regex", checked.collect::<Result<Vec<_>, _>>()?.into_iter()))
}

/// Alternatives that differ by hosts alone, as one.
fn merged(asked: Vec<Asked>) -> Vec<Asked> {
    let mut merged: Vec<Asked> = Vec::new();
    for one in asked {
        let hosts = one.hosts.clone();
        let alike = merged.iter_mut().find(|it| {
            !it.hosts.is_empty()
                && !hosts.is_empty()
                && Asked { hosts: hosts.clone(), ..(*it).clone() } == one
        });
        match alike {
            Some(known) => known.hosts.extend(hosts),
            None => merged.push(one),
        }
    }
    merged
}

impl Asked {
    fn and(&self, other: &Self) -> Result<Self, String> {
        let path = match (&self.path, &other.path) {
            (Some(_), Some(_)) if self.path != other.path => {
                return Err("no rule asks for two paths".to_owned());
            }
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        let both = |one: &[String], two: &[String]| match (one.is_empty(), two.is_empty()) {
            (true, _) => two.to_vec(),
            (_, true) => one.to_vec(),
            _ => one.iter().filter(|it| two.contains(it)).cloned().collect(),
        };
        let (hosts, methods) = (both(&self.hosts, &other.hosts), both(&self.methods, &other.methods));
        let is_never = |mine: &[String], theirs: &[String], both: &[String]| {
            both.is_empty() && !(mine.is_empty() && theirs.is_empty())
        };
        if is_never(&self.hosts, &other.hosts, &hosts) || is_never(&self.methods, &other.methods, &methods) {
            return Err("no rule asks for two patterns of host or method at once".to_owned());
        }
        let headers = [self.headers.as_slice(), &other.headers].concat();
        let query = [self.query.as_slice(), &other.query].concat();
        let asks_twice = |pairs: &[(String, String)]| {
            pairs.iter().any(|(name, value)| pairs.iter().any(|(other, more)| other == name && more != value))
        };
        if asks_twice(&headers) || asks_twice(&query) {
            return Err("no rule asks for two values of one field or parameter".to_owned());
        }
        Ok(Self { path, hosts, methods, headers, query })
    }

    /// A name for the rule.
    pub(super) fn label(&self) -> Option<String> {
        let path = self.path.as_ref().map(|(_, path)| path.clone());
        path.or_else(|| self.hosts.first().cloned())
    }

    pub(super) fn write(&self, rule: &mut Table) {
        if !self.hosts.is_empty() {
            rule.set("hosts", list(self.hosts.clone()));
        }
        if let Some((key, value)) = &self.path {
            rule.set(key, value.as_str());
        }
        if !self.methods.is_empty() {
            rule.set("methods", list(self.methods.clone()));
        }
        for (key, pairs) in [("headers", &self.headers), ("query", &self.query)] {
            if !pairs.is_empty() {
                let pairs = pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
                rule.set(key, Value::Table(pairs.collect()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Place;

    fn line(text: &str) -> Line {
        let words = text.split_whitespace().map(str::to_owned).collect();
        Line { words, place: Place { file: String::new(), line: 1, text: text.to_owned() } }
    }

    #[test]
    fn conditions_become_rules_alternatives() {
        let lines = [
            "acl api path_beg /api/ /v1/",
            "acl www hdr(host) -i WWW.example.com",
            "acl www hdr(host) -i example.com",
            "acl post method POST",
        ]
        .map(line);
        let acls = Acls::of(&lines);
        let rules = |condition: &str| -> Result<Vec<String>, String> {
            let alternatives = acls.condition(&line(condition).words)?;
            let text = |asked: &Asked| {
                format!(
                    "{} {:?} {:?}",
                    asked.hosts.join(","),
                    asked.path.as_ref().map(|it| &it.1),
                    asked.methods
                )
            };
            Ok(alternatives.asked.iter().map(text).collect())
        };
        let both = "www.example.com,example.com";
        assert_eq!(
            rules("www api").unwrap(),
            [format!("{both} Some(\"/api/\") []"), format!("{both} Some(\"/v1/\") []")]
        );
        assert_eq!(rules("post or { path /x }").unwrap().len(), 2);
        for (condition, words) in [
            ("!api", "not so"),
            ("none", "no ACL none"),
            ("api { path /x }", "two paths"),
            ("{ hdr(x-a) 1 } { hdr(x-a) 2 }", "two values"),
            ("{ src 10.0.0.0/8 }", "src has no counterpart"),
            ("{ path_reg (?=x) }", "no path_regex"),
        ] {
            let error = rules(condition).unwrap_err();
            assert!(error.contains(words), "{condition}: {error}");
        }
    }
}
