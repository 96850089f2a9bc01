//! HAProxy's syntax: sections of lines of words, quoted or escaped, with comments.

use std::path::Path;

use crate::report::Place;
use crate::{ImportError, read};

/// A line of words.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) place: Place,
}

/// A section: the line that begins it, and those below.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) head: Line,
    pub(super) lines: Vec<Line>,
}

/// What begins a section.
const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "userlist",
    "peers",
    "resolvers",
    "mailers",
    "cache",
    "program",
    "ring",
    "http-errors",
    "log-forward",
    "crt-store",
    "traces",
    "fcgi-app",
];

impl Line {
    pub(super) fn name(&self) -> &str {
        self.word(0)
    }

    pub(super) fn argument(&self) -> &str {
        self.word(1)
    }

    pub(super) fn word(&self, place: usize) -> &str {
        self.words.get(place).map_or("", String::as_str)
    }

    /// The words from this place on.
    pub(super) fn from(&self, place: usize) -> &[String] {
        self.words.get(place..).unwrap_or_default()
    }
}

impl Section {
    pub(super) fn kind(&self) -> &str {
        self.head.name()
    }

    pub(super) fn name(&self) -> &str {
        self.head.argument()
    }

    /// Whether it shows HAProxy's page of statistics and leads nowhere.
    pub(super) fn is_statistics(&self) -> bool {
        let has = |name: &str| self.lines.iter().any(|line| line.name() == name);
        let is_one = matches!(self.kind(), "frontend" | "listen");
        is_one && has("stats") && !["server", "default_backend", "use_backend"].into_iter().any(has)
    }

    /// Whether it forwards bytes and no requests.
    pub(super) fn is_tcp(&self, defaults: &[Line]) -> bool {
        let mode = |lines: &[Line]| {
            lines.iter().rfind(|line| line.name() == "mode").map(|line| line.argument().to_owned())
        };
        // HAProxy's own default is tcp.
        mode(&self.lines).or_else(|| mode(defaults)).is_none_or(|mode| mode != "http")
    }
}

pub(super) fn load(path: &Path) -> Result<Vec<Section>, ImportError> {
    let file = path.display().to_string();
    let text = read(path)?;
    let mut sections: Vec<Section> = Vec::new();
    for (number, text) in (1..).zip(text.lines()) {
        let failed = |message: &str| ImportError::Syntax {
            file: file.clone(),
            line: number,
            message: message.to_owned(),
        };
        let words = words(text).ok_or_else(|| failed("a quote is not closed"))?;
        let Some(first) = words.first() else { continue };
        let is_head = SECTIONS.contains(&first.as_str()) && !text.starts_with([' ', '\t']);
        let is_head = is_head || (SECTIONS.contains(&first.as_str()) && words.len() <= 2 && first != "cache");
        let place = Place { file: file.clone(), line: number, text: text.trim().to_owned() };
        let line = Line { words, place };
        match (is_head, sections.last_mut()) {
            (true, _) => sections.push(Section { head: line, lines: Vec::new() }),
            (false, Some(section)) => section.lines.push(line),
            (false, None) => return Err(failed("a line stands ahead of every section")),
        }
    }
    Ok(sections)
}

/// A line's words; `None` where a quote is open at its end.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut is_word) = (Vec::new(), String::new(), false);
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '#') => break,
            (None, letter) if letter.is_whitespace() => {
                if std::mem::take(&mut is_word) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            // Single quotes keep everything as it is.
            (None | Some('"'), '\\') => match letters.next() {
                Some(escaped @ ('"' | '\'' | '\\' | ' ' | '#' | '$')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => {}
            },
            _ => word.push(letter),
        }
        is_word = true;
    }
    if is_word {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_escaped() {
        assert_eq!(
            words("  a 'b \\ c' \"d \\\"e\" f\\ g\\.h # no").unwrap(),
            ["a", "b \\ c", "d \"e", "f g\\.h"]
        );
        assert_eq!(words("a ''").unwrap(), ["a", ""]);
        assert!(words("a 'b").is_none() && words("# 'b").unwrap().is_empty());
    }
}
