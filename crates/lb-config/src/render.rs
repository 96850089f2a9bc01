//! Draws diagnostics as rustc draws its own: title, place, line, caret, help.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::source::{Excerpt, SourceKind};

/// One problem; the text does not end with a newline.
pub(crate) fn diagnostic(diagnostic: &Diagnostic, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(printable(&diagnostic.message));
    let mut group = Group::with_title(title);
    // A place in another line or file gets its own snippet, as a caret can point into one text only.
    for (position, (excerpt, label)) in diagnostic.excerpts.iter().enumerate() {
        let kind = if position == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let mut annotation = kind.span(excerpt.caret.clone());
        if !label.is_empty() {
            annotation = annotation.label(printable(label));
        }
        group = group.element(
            Snippet::source(excerpt.text.clone())
                .line_start(excerpt.line)
                .path(printable(&origin(excerpt)))
                .annotation(annotation),
        );
    }
    if let (true, Some(file)) = (diagnostic.excerpts.is_empty(), &diagnostic.file) {
        group = group.element(annotate_snippets::Origin::path(printable(file)));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    renderer(color).render(&[group])
}

/// All of them and a count.
pub(crate) fn all(diagnostics: &Diagnostics, color: bool) -> String {
    let mut text = String::new();
    for item in diagnostics {
        text.push_str(&diagnostic(item, color));
        text.push_str("\n\n");
    }
    let errors = diagnostics.errors();
    let warnings = diagnostics.as_slice().len() - errors;
    let counts: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    text.push_str(&counts.join(", "));
    if diagnostics.is_full() {
        text.push_str(" (and perhaps more: mend these first)");
    }
    text
}

fn renderer(color: bool) -> Renderer {
    if color { Renderer::styled() } else { Renderer::plain() }.term_width(200)
}

fn origin(excerpt: &Excerpt) -> String {
    match excerpt.kind {
        SourceKind::File => excerpt.origin.clone(),
        SourceKind::Variable => format!("environment variable {}", excerpt.origin),
        SourceKind::Flag => format!("flag {}", excerpt.origin),
    }
}

/// Control characters that came with a value must not reach a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
