//! The texts a configuration was read from, so that every problem can be shown where it stands.
//!
//! A file is one source; each environment variable and each flag is one too (`LB_STRATEGY=least_con`), which is
//! how a caret can point into a variable as well as into a file.

use std::ops::Range;
use std::sync::Arc;

use crate::loaded::Place;
use crate::mask;

/// Index of a source in [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SourceId(u32);

/// Where a value stands: bytes of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) source: SourceId,
    pub(crate) range: Range<usize>,
}

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A configuration file, or text handed over in place of one.
    File,
    /// One environment variable.
    Variable,
    /// One flag of the command line.
    Flag,
}

#[derive(Debug)]
struct Source {
    kind: SourceKind,
    name: Arc<str>,
    text: String,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    /// Bytes that are never shown.
    hidden: Vec<Range<usize>>,
}

impl Source {
    /// The line that a byte is on, from 0, and the byte at which it begins.
    fn line_at(&self, byte: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|&start| start <= byte).saturating_sub(1);
        (number, self.lines.get(number).copied().unwrap_or(0))
    }
}

/// Every text of one load.
#[derive(Debug, Default)]
pub(crate) struct SourceMap {
    sources: Vec<Source>,
}

/// One line of a source, ready to be shown: secrets masked, a caret range inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) kind: SourceKind,
    pub(crate) origin: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    pub(crate) text: String,
    /// Bytes of `text` under the caret.
    pub(crate) caret: Range<usize>,
}

/// Characters of a line that are shown around the caret at most.
const LONGEST_LINE: usize = 240;

/// Bytes on either side of the caret that are searched for secrets.
const NEAR: usize = 4096;

impl SourceMap {
    pub(crate) fn add(
        &mut self,
        kind: SourceKind,
        name: impl Into<Arc<str>>,
        text: impl Into<String>,
    ) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        let text: String = text.into();
        let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1));
        let lines = lines.collect();
        self.sources.push(Source { kind, name: name.into(), text, lines, hidden: Vec::new() });
        id
    }

    pub(crate) fn text(&self, id: SourceId) -> &str {
        self.source(id).map_or("", |source| &source.text)
    }

    /// Marks bytes that must never be shown.
    pub(crate) fn hide(&mut self, span: &Span) {
        if let Some(source) = self.sources.get_mut(span.source.0 as usize) {
            source.hidden.push(span.range.clone());
        }
    }

    /// The first line of the span, with the part of the span that lies on it.
    pub(crate) fn excerpt(&self, span: &Span) -> Option<Excerpt> {
        let source = self.source(span.source)?;
        let text = source.text.as_str();
        let start = floor(text, span.range.start);
        let (number, line_start) = source.line_at(start);
        let line_end = text.get(start..)?.find('\n').map_or(text.len(), |newline| start + newline);
        let end = ceil(text, span.range.end).clamp(start, line_end);
        let column = text.get(line_start..start)?.chars().count() + 1;
        // A file may be one line of megabytes; what stands near the caret is all that is looked at.
        let from = floor(text, start.saturating_sub(NEAR)).max(line_start);
        let to = ceil(text, start.saturating_add(NEAR)).min(line_end);
        let near = text.get(from..to)?;
        let shown = near.trim_end_matches('\r');
        let caret = (start - from).min(shown.len())..(end.min(to) - from).min(shown.len());
        let caret = caret.start..caret.start + shown.get(caret)?.trim_end().len();
        let hidden = source
            .hidden
            .iter()
            .filter(|range| range.start < to && range.end > from)
            .map(|range| range.start.saturating_sub(from)..(range.end - from).min(shown.len()));
        let (masked, caret) = mask::line(shown, hidden, caret);
        let (text, caret) = clip(&masked, caret, from > line_start, to < line_end);
        Some(Excerpt {
            kind: source.kind,
            origin: source.name.to_string(),
            line: number + 1,
            column,
            text,
            caret,
        })
    }

    /// The number of the line on which a span begins, from 1.
    pub(crate) fn line(&self, span: &Span) -> usize {
        self.source(span.source).map_or(1, |source| source.line_at(span.range.start).0 + 1)
    }

    /// Where the text came from.
    pub(crate) fn place(&self, span: &Span) -> Option<Place> {
        let source = self.source(span.source)?;
        let start = floor(&source.text, span.range.start);
        let (number, line_start) = source.line_at(start);
        let column = source.text.get(line_start..start).map_or(0, |before| before.chars().count());
        Some(Place {
            kind: source.kind,
            source: Arc::clone(&source.name),
            line: number + 1,
            column: column + 1,
        })
    }

    fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0 as usize)
    }
}

/// The nearest character boundary at or before `index`.
fn floor(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// The nearest character boundary at or after `index`.
fn ceil(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index += 1;
    }
    index
}

/// Keeps a window of a long line around the caret; `before` and `after` say whether more stands on either side.
fn clip(line: &str, caret: Range<usize>, before: bool, after: bool) -> (String, Range<usize>) {
    if line.len() <= LONGEST_LINE && !before && !after {
        return (line.to_owned(), caret);
    }
    let from = floor(line, caret.start.saturating_sub(LONGEST_LINE / 3));
    let to = ceil(line, from + LONGEST_LINE);
    let lead = if from == 0 && !before { "" } else { "…" };
    let tail = if to == line.len() && !after { "" } else { "…" };
    let window = line.get(from..to).unwrap_or_default();
    let shift = |at: usize| (at.clamp(from, to) - from) + lead.len();
    (format!("{lead}{window}{tail}"), shift(caret.start)..shift(caret.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, range: Range<usize>) -> Excerpt {
        let mut sources = SourceMap::default();
        let source = sources.add(SourceKind::File, "a.toml", text);
        sources.excerpt(&Span { source, range }).unwrap()
    }

    #[test]
    fn a_place_is_counted_in_lines_and_characters_from_one() {
        let found = excerpt("a = 1\nbé = 2\n", 12..13);
        assert_eq!((found.line, found.column, found.text.as_str()), (2, 6, "bé = 2"));
        assert_eq!(found.caret, 6..7);
    }

    #[test]
    fn a_range_over_several_lines_is_cut_to_its_first() {
        let found = excerpt("[[rules]]\r\nname = 1\r\n", 0..18);
        assert_eq!((found.text.as_str(), found.caret), ("[[rules]]", 0..9));
    }

    #[test]
    fn ranges_outside_the_text_or_inside_a_character_are_moved_to_the_nearest_place() {
        assert_eq!(excerpt("é", 1..9).caret, 0..2);
        assert_eq!(excerpt("", 5..9).line, 1);
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("a = [{}]", "\"é\", ".repeat(500));
        let found = excerpt(&text, 1002..1004);
        assert!(found.text.len() < 300 && found.text.starts_with('…') && found.text.ends_with('…'));
        assert_eq!(&found.text[found.caret.clone()], "é");
        assert!(found.column > 800);
    }
}
