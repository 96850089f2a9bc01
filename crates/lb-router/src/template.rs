//! Path templates: `/api/users/{id}`, `/files/{*rest}`.
//!
//! A parameter is a whole segment. Literal segments are kept in the form that paths are matched in.

use std::ops::Range;

use crate::error::{RouteProblem, TemplateFault};
use crate::target::normalize_text;

/// A template in the form it is matched in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    /// The segments before the tail; a template that ends in a slash has an empty literal last.
    pub(crate) segments: Box<[Segment]>,
    /// Whether any tail may follow the segments.
    pub(crate) tail: bool,
    /// Each parameter's name and where its value stands.
    parameters: Vec<(String, Capture)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<str>),
    /// Any segment that is not empty.
    Parameter,
}

/// Where in a path, or in a regex match, a captured value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    /// The segment at this place.
    Segment(usize),
    /// Everything after this many segments.
    Tail(usize),
    /// The regex group of this number.
    Group(usize),
}

impl PathTemplate {
    pub(crate) fn parse(template: &str) -> Result<Self, RouteProblem> {
        let Some(relative) = template.strip_prefix('/') else {
            return Err(RouteProblem::NoLeadingSlash { value: template.to_owned() });
        };
        let mut parsed = Self { segments: Box::default(), tail: false, parameters: Vec::new() };
        let mut segments = Vec::new();
        let mut at = 1;
        for segment in relative.split('/') {
            let span = at..at + segment.len();
            at = span.end + 1;
            let fault = |reason| fault(template, span.clone(), reason);
            if parsed.tail {
                return Err(fault(TemplateFault::TailNotLast));
            }
            match read_segment(segment).map_err(fault)? {
                Written::Literal(text) => segments.push(Segment::Literal(text.into())),
                Written::Parameter { name, tail } => {
                    if parsed.parameters.iter().any(|(other, _)| other == name) {
                        return Err(fault(TemplateFault::Repeated(name.to_owned())));
                    }
                    let place = segments.len();
                    let capture = if tail { Capture::Tail(place) } else { Capture::Segment(place) };
                    parsed.parameters.push((name.to_owned(), capture));
                    parsed.tail = tail;
                    if !tail {
                        segments.push(Segment::Parameter);
                    }
                }
            }
        }
        parsed.segments = segments.into();
        Ok(parsed)
    }

    pub(crate) fn parameters(&self) -> &[(String, Capture)] {
        &self.parameters
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut rest = path.strip_prefix('/');
        for segment in &self.segments {
            let Some(present) = rest else { return false };
            let (head, next) = match present.split_once('/') {
                Some((head, next)) => (head, Some(next)),
                None => (present, None),
            };
            let met = match segment {
                Segment::Literal(text) => **text == *head,
                Segment::Parameter => !head.is_empty(),
            };
            if !met {
                return false;
            }
            rest = next;
        }
        self.tail || rest.is_none()
    }
}

/// One segment as it is written.
enum Written<'a> {
    Literal(String),
    Parameter { name: &'a str, tail: bool },
}

fn read_segment(segment: &str) -> Result<Written<'_>, TemplateFault> {
    if matches!(segment, "." | "..") {
        return Err(TemplateFault::DotSegment);
    }
    let Some(brace) = segment.find(['{', '}']) else {
        return normalize_text(segment).map(Written::Literal).map_err(TemplateFault::Text);
    };
    if segment[brace..].starts_with('}') {
        return Err(TemplateFault::Unopened);
    }
    let (inner, after) = segment[brace + 1..].split_once('}').ok_or(TemplateFault::Unclosed)?;
    if brace > 0 || !after.is_empty() {
        return Err(TemplateFault::PartOfSegment);
    }
    let (name, tail) = read_name(inner)?;
    Ok(Written::Parameter { name, tail })
}

/// What stands between braces: the name, and whether a star says that it is a tail.
pub(crate) fn read_name(inner: &str) -> Result<(&str, bool), TemplateFault> {
    let (name, tail) = match inner.strip_prefix('*') {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let good = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good { Ok((name, tail)) } else { Err(TemplateFault::BadName) }
}

pub(crate) fn fault(template: &str, span: Range<usize>, reason: TemplateFault) -> RouteProblem {
    RouteProblem::Template { template: template.to_owned(), reason, span }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, path: &str, expect: bool) {
        assert_eq!(PathTemplate::parse(template).unwrap().matches(path), expect, "{template} against {path}");
    }

    #[test]
    fn a_parameter_is_one_segment_that_is_not_empty() {
        check("/api/users/{id}", "/api/users/42", true);
        check("/api/users/{id}", "/api/users/a%2Fb", true);
        check("/api/users/{id}", "/api/users/", false);
        check("/api/users/{id}", "/api/users", false);
        check("/api/users/{id}", "/api/users/42/", false);
        check("/api/users/{id}", "/api/users/42/posts", false);
        check("/api/users/{id}/", "/api/users/42/", true);
        check("/{a}/x/{b}", "/1/x/2", true);
        check("/{a}/x/{b}", "/1/y/2", false);
        check("/caf%c3%a9/{x}", "/caf%C3%A9/1", true);
        check("/", "/", true);
        check("/", "/a", false);
    }

    #[test]
    fn a_tail_takes_everything_even_nothing() {
        check("/files/{*rest}", "/files/a/b/", true);
        check("/files/{*rest}", "/files/", true);
        check("/files/{*rest}", "/files", true);
        check("/files/{*rest}", "/filesystem", false);
        check("/{*rest}", "/", true);
        check("/{tenant}/{*rest}", "/", false);
    }

    #[test]
    fn bad_templates_are_refused_with_their_place() {
        for (template, reason, span) in [
            ("/a/{id", TemplateFault::Unclosed, 3..6),
            ("/a/id}", TemplateFault::Unopened, 3..6),
            ("/a/{}", TemplateFault::BadName, 3..5),
            ("/a/{*}", TemplateFault::BadName, 3..6),
            ("/a/{user-id}", TemplateFault::BadName, 3..12),
            ("/v{n}/x", TemplateFault::PartOfSegment, 1..5),
            ("/{n}.json", TemplateFault::PartOfSegment, 1..9),
            ("/{*a}/b", TemplateFault::TailNotLast, 6..7),
            ("/{a}/{a}", TemplateFault::Repeated("a".to_owned()), 5..8),
            ("/a/../b", TemplateFault::DotSegment, 3..5),
        ] {
            let expect = RouteProblem::Template { template: template.to_owned(), reason, span };
            assert_eq!(PathTemplate::parse(template), Err(expect));
        }
        assert!(matches!(PathTemplate::parse("a/{b}"), Err(RouteProblem::NoLeadingSlash { .. })));
        let problem = PathTemplate::parse("/a b/{c}").unwrap_err();
        assert_eq!(problem.remedy(), "percent-encode it");
    }
}
