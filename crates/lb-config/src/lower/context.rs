//! What every part of lowering is handed: the tree for places, and where problems go.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::source::{Excerpt, SourceMap, Span};
use crate::tree::{Kind, NodeId, Tree};
use crate::written::values::At;

/// See the module.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) sources: &'a SourceMap,
    pub(crate) problems: &'a mut Diagnostics,
    /// The configuration file's, from which certificates are named.
    pub(crate) directory: &'a Path,
}

/// Bytes of a name at most.
const LONGEST_NAME: usize = 128;

/// A problem that is still being described; it is reported when this is dropped.
#[derive(Debug)]
pub(crate) struct Report<'c, 'a> {
    context: &'c mut Context<'a>,
    id: NodeId,
    diagnostic: Option<Diagnostic>,
}

impl<'a> Context<'a> {
    /// An error at a value.
    pub(crate) fn error(
        &mut self,
        id: NodeId,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Report<'_, 'a> {
        let excerpt = self.value_place(id);
        self.report(Severity::Error, id, excerpt, message, label)
    }

    /// An error at a key rather than at its value.
    pub(crate) fn error_at_key(
        &mut self,
        id: NodeId,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Report<'_, 'a> {
        let excerpt = self.key_place(id);
        self.report(Severity::Error, id, excerpt, message, label)
    }

    /// An error at a place inside a value.
    pub(crate) fn error_in(
        &mut self,
        id: NodeId,
        excerpt: Option<Excerpt>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Report<'_, 'a> {
        self.report(Severity::Error, id, excerpt, message, label)
    }

    /// A warning at a key.
    pub(crate) fn warning_at_key(
        &mut self,
        id: NodeId,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Report<'_, 'a> {
        let excerpt = self.key_place(id);
        self.report(Severity::Warning, id, excerpt, message, label)
    }

    fn report(
        &mut self,
        severity: Severity,
        id: NodeId,
        excerpt: Option<Excerpt>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Report<'_, 'a> {
        let message = self.tree.conceal(id, message.into());
        let diagnostic = Diagnostic::new(severity, message).at(excerpt, label).path(self.tree.path(id));
        Report { context: self, id, diagnostic: Some(diagnostic) }
    }

    pub(crate) fn value_place(&self, id: NodeId) -> Option<Excerpt> {
        self.tree.value_span(id).and_then(|span| self.sources.excerpt(span))
    }

    pub(crate) fn key_place(&self, id: NodeId) -> Option<Excerpt> {
        self.tree.key_span(id).and_then(|span| self.sources.excerpt(span))
    }

    /// Some bytes of a string's text, where the source shows that text as it is; else the whole value.
    pub(crate) fn part_place(&self, id: NodeId, part: Range<usize>) -> Option<Excerpt> {
        let span = self.tree.value_span(id)?;
        let shown = self.sources.text(span.source).get(span.range.clone());
        let Kind::String(text) = self.tree.kind(id) else { return self.value_place(id) };
        let start = shown.and_then(|shown| shown.find(text.as_str()));
        // Escapes, folding and placeholders move the bytes.
        let Some(start) = start.filter(|_| part.end <= text.len() && !part.is_empty()) else {
            return self.value_place(id);
        };
        let start = span.range.start + start;
        self.sources.excerpt(&Span { source: span.source, range: start + part.start..start + part.end })
    }

    /// The value as written, in backticks.
    pub(crate) fn quote(&self, id: NodeId) -> String {
        self.tree.quote(id)
    }

    /// Zero is an error, and `help` says what it would stand for.
    pub(crate) fn at_least_one(&mut self, count: &At<u32>, help: &str) -> Option<NonZeroU32> {
        let some = NonZeroU32::new(count.value);
        if some.is_none() {
            let message = format!("`{}` must be at least 1", self.tree.name(count.id));
            self.error(count.id, message, "zero").help(help);
        }
        some
    }

    /// A share from 0 to 1; anything else is an error.
    pub(crate) fn fraction(&mut self, share: &At<f64>) -> Option<f64> {
        if (0.0..=1.0).contains(&share.value) {
            return Some(share.value);
        }
        let message = format!(
            "`{}` is a share from 0 to 1, and {} is none",
            self.tree.name(share.id),
            self.quote(share.id)
        );
        self.error(share.id, message, "outside 0 to 1").help("30 % is written 0.3");
        None
    }

    /// Names that must differ: the second of each pair is reported with both places.
    pub(crate) fn unique<'n>(&mut self, what: &str, names: impl IntoIterator<Item = (&'n str, NodeId)>) {
        let mut seen = ahash::HashMap::default();
        for (name, id) in names {
            let Some(&first) = seen.get(name) else {
                seen.insert(name, id);
                continue;
            };
            let message = format!("two {what}s are named `{name}`");
            let first = self.key_or_word_place(first);
            self.error(id, message, "the second")
                .also(first, "the first")
                .help("give one of them another name");
        }
    }

    /// A name for labels, logs and paths of the admin API.
    pub(crate) fn check_name(&mut self, what: &str, name: &str, id: NodeId) {
        if name.trim().is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            let message = format!("{} cannot be the name of {what}", crate::tree::quoted(name));
            let excerpt = self.key_or_word_place(id);
            self.report(Severity::Error, id, excerpt, message, "not a name").help(format!(
                "names are not empty, at most {LONGEST_NAME} bytes long, and have no control characters"
            ));
        }
    }

    /// A table under a user's own name is shown by that name, a `name = "…"` by its value.
    fn key_or_word_place(&self, id: NodeId) -> Option<Excerpt> {
        match self.tree.kind(id) {
            Kind::Table(_) => self.key_place(id),
            _ => self.value_place(id),
        }
    }
}

impl Report<'_, '_> {
    /// How to mend it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        let help = self.context.tree.conceal(self.id, help.into());
        self.diagnostic = self.diagnostic.take().map(|diagnostic| diagnostic.help(help));
        self
    }

    /// Another place that belongs to it.
    pub(crate) fn also(mut self, excerpt: Option<Excerpt>, label: impl Into<String>) -> Self {
        self.diagnostic = self.diagnostic.take().map(|diagnostic| diagnostic.at(excerpt, label));
        self
    }
}

impl Drop for Report<'_, '_> {
    fn drop(&mut self) {
        if let Some(diagnostic) = self.diagnostic.take() {
            self.context.problems.push(diagnostic);
        }
    }
}
