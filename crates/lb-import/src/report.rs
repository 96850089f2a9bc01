//! What became of every line.

use std::fmt;

use serde::Serialize;

/// What became of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It does the same.
    Converted,
    /// It does nearly the same; the note says where not.
    Approximated,
    /// It has no counterpart, or none that this version has in force.
    LeftOut,
}

/// One directive of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The file it stands in.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// As it was written, shortened.
    pub text: String,
    /// What became of it.
    pub fate: Fate,
    /// As what, or why not.
    pub note: String,
}

/// All of them, in the order of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The lines.
    pub lines: Vec<Line>,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// The most of a line that is repeated.
const MAX_TEXT: usize = 120;

impl Report {
    /// Lines that have no counterpart.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.count(Fate::LeftOut)
    }

    /// How many lines came to this.
    #[must_use]
    pub fn count(&self, fate: Fate) -> usize {
        self.lines.iter().filter(|line| line.fate == fate).count()
    }

    pub(crate) fn converted(&mut self, place: &Place, note: impl Into<String>) {
        self.add(place, Fate::Converted, note);
    }

    pub(crate) fn approximated(&mut self, place: &Place, note: impl Into<String>) {
        self.add(place, Fate::Approximated, note);
    }

    pub(crate) fn leave_out(&mut self, place: &Place, note: impl Into<String>) {
        self.add(place, Fate::LeftOut, note);
    }

    fn add(&mut self, place: &Place, fate: Fate, note: impl Into<String>) {
        let mut text = place.text.clone();
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        let line = Line { file: place.file.clone(), line: place.line, text, fate, note: note.into() };
        // What several rules come from is said once.
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Puts the lines in the order of their files, which come in the order in which they were first met.
    pub(crate) fn sort(&mut self, files: &[String]) {
        self.lines.sort_by_key(|line| (files.iter().position(|file| *file == line.file), line.line));
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Converted => "converted",
            Self::Approximated => "approximated",
            Self::LeftOut => "left out",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { file, line, text, fate, note } in &self.lines {
            writeln!(f, "{file}:{line}: {fate:<12} {text}: {note}")?;
        }
        write!(
            f,
            "{} converted, {} approximated, {} left out",
            self.count(Fate::Converted),
            self.count(Fate::Approximated),
            self.left_out()
        )
    }
}
