//! One problem of a configuration: what is wrong, where, and how to mend it.

use std::fmt;

use serde::Serialize;

use crate::render;
use crate::source::{Excerpt, SourceKind};

/// Whether a problem stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, and the operator is told.
    Warning,
}

/// One problem. `Display` renders it as rustc would, without colours; `Serialize` gives the fields for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The key it is about: `rules[0].backends[1].weight`; none for the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The file; none where the value came from the environment or a flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in that line, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What is shown: the place of the problem first, then places that belong to it.
    #[serde(skip)]
    pub(crate) excerpts: Vec<(Excerpt, String)>,
}

impl Diagnostic {
    pub(crate) fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            path: None,
            file: None,
            line: None,
            column: None,
            message: message.into(),
            help: None,
            excerpts: Vec::new(),
        }
    }

    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// One that belongs to no place in a file.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn path(mut self, path: String) -> Self {
        self.path = (!path.is_empty()).then_some(path);
        self
    }

    /// A file that has no line to show, such as one that cannot be opened.
    #[must_use]
    pub(crate) fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Adds a place; the first one is the problem's own.
    #[must_use]
    pub(crate) fn at(mut self, excerpt: Option<Excerpt>, label: impl Into<String>) -> Self {
        let Some(excerpt) = excerpt else { return self };
        if self.excerpts.is_empty() && excerpt.kind == SourceKind::File {
            self.file = Some(excerpt.origin.clone());
            self.line = Some(excerpt.line);
            self.column = Some(excerpt.column);
        }
        self.excerpts.push((excerpt, label.into()));
        self
    }

    /// Rendered for a person, with ANSI colours if asked for.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render::diagnostic(self, color)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Every problem of one load, errors and warnings in the order of their places.
///
/// ```
/// use lb_config::{Format, load_str};
///
/// let problems = load_str("gatewayd.toml", Format::Toml, "[[rule]]\nbackends = ['127.0.0.1:8081']").unwrap_err();
/// let first = &problems.as_slice()[0];
/// assert_eq!((first.line, first.help.as_deref()), (Some(1), Some("did you mean `rules`?")));
/// assert!(problems.to_string().contains("--> gatewayd.toml:1:3"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
}

/// Problems that are kept; a file that has more is not a configuration.
pub(crate) const MOST_DIAGNOSTICS: usize = 100;

impl Diagnostics {
    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.items
    }

    /// How many of them refuse the configuration.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.items.iter().filter(|item| item.severity == Severity::Error).count()
    }

    /// Rendered for a person, a blank line between two problems and a last line that counts them.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        render::all(self, color)
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.items.len() < MOST_DIAGNOSTICS {
            self.items.push(diagnostic);
        }
    }

    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        for diagnostic in more {
            self.push(diagnostic);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= MOST_DIAGNOSTICS
    }

    /// In the order of the file; what has no line comes last.
    pub(crate) fn sort(&mut self) {
        self.items.sort_by_key(|item| (item.line.is_none(), item.line, item.column));
    }

    pub(crate) fn into_vec(self) -> Vec<Diagnostic> {
        self.items
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(item: Diagnostic) -> Self {
        Self { items: vec![item] }
    }
}

impl From<Box<Diagnostic>> for Diagnostics {
    fn from(item: Box<Diagnostic>) -> Self {
        (*item).into()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}
