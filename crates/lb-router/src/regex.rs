//! A regular expression as a condition on a path.
//!
//! Thousands of them are read at each reload, and most are asked rarely: so an expression that fits into [`Positions`] is
//! matched by those, which take a few hundred bytes, and the crate `regex` compiles it only once its captures are
//! wanted. One that does not fit is compiled at once, so that its faults are told before it is in force.
//!
//! Cost of a match: memory that lies together, a step for each byte and each position that can be next, no allocation.

use std::fmt::Display;
use std::ops::Range;
use std::sync::OnceLock;

use regex::{Captures, Regex, RegexBuilder};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::error::RouteProblem;
use crate::positions::Positions;

/// Bytes that one compiled expression may take, and again for its lazily built automaton.
const SIZE_LIMIT: usize = 1 << 20;

/// How deep groups may nest.
const NEST_LIMIT: u32 = 64;

/// States that certainly take less than [`SIZE_LIMIT`] bytes: an expression of no more cannot be refused later. Groups
/// take most, 22 bytes a state as counted here, but for classes of few ranges, and [`Positions`] have few of those.
const SURELY_SMALL: u64 = 1 << 15;

/// A compiled regular expression, unanchored unless it says so.
#[derive(Debug, Clone)]
pub(crate) struct PathRegex {
    pattern: Box<str>,
    prefix: Box<str>,
    positions: Option<Positions>,
    /// What the crate `regex` makes of it, made when it is first needed; none never is, see [`SURELY_SMALL`].
    compiled: OnceLock<Option<Regex>>,
}

impl PathRegex {
    /// # Errors
    /// It is no regular expression, or takes too much memory.
    pub(crate) fn compile(pattern: &str) -> Result<Self, RouteProblem> {
        let hir = parse(pattern)?;
        let positions = if states(&hir) <= SURELY_SMALL { Positions::of(&hir) } else { None };
        let compiled = OnceLock::new();
        if positions.is_none() {
            _ = compiled.set(Some(build(pattern)?));
        }
        Ok(Self { pattern: pattern.into(), prefix: common_prefix(&hir), positions, compiled })
    }

    /// The expression as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whole segments that every path begins with which it matches, without a slash at their end; often none.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `path` is normalised, so it is ASCII.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let by_positions = self.positions.as_ref().and_then(|positions| positions.matches(path.as_bytes()));
        by_positions.unwrap_or_else(|| self.compiled().is_some_and(|regex| regex.is_match(path)))
    }

    pub(crate) fn captures<'a>(&self, path: &'a str) -> Option<Captures<'a>> {
        self.compiled()?.captures(path)
    }

    /// The number of each group, and its name where it has one; the first is the whole match.
    pub(crate) fn groups(&self) -> Vec<(usize, Option<String>)> {
        let names = self.compiled().into_iter().flat_map(Regex::capture_names);
        names.map(|name| name.map(str::to_owned)).enumerate().collect()
    }

    fn compiled(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| build(&self.pattern).ok()).as_ref()
    }
}

/// Reads an expression into the form that is reasoned about.
pub(crate) fn parse(pattern: &str) -> Result<Hir, RouteProblem> {
    // `regex` tells the place of an error only in a drawing; the parser it uses tells it in numbers.
    let parsed = regex_syntax::ParserBuilder::new().nest_limit(NEST_LIMIT).build().parse(pattern);
    parsed.map_err(|error| match &error {
        regex_syntax::Error::Parse(error) => problem(pattern, &error.kind(), span(error.span())),
        regex_syntax::Error::Translate(error) => problem(pattern, &error.kind(), span(error.span())),
        other => problem(pattern, other, 0..pattern.len()),
    })
}

fn build(pattern: &str) -> Result<Regex, RouteProblem> {
    RegexBuilder::new(pattern)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => RouteProblem::RegexTooLarge { pattern: pattern.to_owned() },
            other => problem(pattern, &other, 0..pattern.len()),
        })
}

/// The states of an automaton for this expression, or more.
fn states(hir: &Hir) -> u64 {
    /// A range of characters is a few sequences of up to four bytes.
    const OF_A_RANGE: u64 = 16;
    let sum = |parts: &[Hir]| parts.iter().map(states).fold(2, u64::saturating_add);
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) => OF_A_RANGE * class.ranges().len() as u64,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() as u64,
        HirKind::Capture(capture) => states(&capture.sub).saturating_add(2),
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min).max(1);
            states(&repetition.sub).saturating_add(2).saturating_mul(u64::from(copies))
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

fn common_prefix(hir: &Hir) -> Box<str> {
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return Box::default();
    }
    let begins = Extractor::new().kind(ExtractKind::Prefix).extract(hir);
    let text = begins.longest_common_prefix().and_then(|bytes| str::from_utf8(bytes).ok());
    match text.and_then(|text| text.rsplit_once('/')) {
        Some((whole, _)) if whole.starts_with('/') => whole.into(),
        _ => Box::default(),
    }
}

fn span(span: &regex_syntax::ast::Span) -> Range<usize> {
    span.start.offset..span.end.offset
}

fn problem(pattern: &str, message: &dyn Display, span: Range<usize>) -> RouteProblem {
    RouteProblem::Regex { pattern: pattern.to_owned(), message: message.to_string(), span }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_common_expression_is_not_compiled_to_be_matched() {
        for (pattern, path, expect) in [
            ("^/api/v[0-9]+/", "/api/v12/users", true),
            ("^/api/v[0-9]+/", "/api/vx/users", false),
            (r"^/users/(?P<id>\d+)$", "/users/42", true),
            (r"^/users/(?P<id>\d+)$", "/users/42/", false),
            (r"\.(png|jpe?g)$", "/a/b.jpeg", true),
            (r"\.(png|jpe?g)$", "/a/b.jpeg/c", false),
            ("(?i)^/ADMIN(/|$)", "/admin", true),
            (r"^/[^/]+/[a-z]{2,3}(-[A-Z]{2})?/", "/x/en-GB/", true),
            (r"/\w+/edit", "/x/page_7/edit", true),
            (r"(^|/)\.git(/|$)", "/.git", true),
            (r"(^|/)\.git(/|$)", "/.gitignore", false),
        ] {
            let regex = PathRegex::compile(pattern).unwrap();
            assert_eq!(regex.matches(path), expect, "{pattern} against {path}");
            assert!(regex.compiled.get().is_none(), "{pattern}");
        }
    }

    #[test]
    fn a_path_that_takes_too_many_steps_is_given_to_the_compiled_expression() {
        let regex = PathRegex::compile("a.{0,90}a.{0,90}b").unwrap_or_else(|problem| panic!("{problem}"));
        assert!(!regex.matches(&"a".repeat(8000)));
        assert!(regex.compiled.get().is_some());
    }

    #[test]
    fn repeating_nothing_takes_no_time() {
        for pattern in ["(){1000000}", "((){1000}){1000}", "(a*){1000000}"] {
            let result = PathRegex::compile(pattern).map(|regex| regex.matches("/a"));
            assert!(
                matches!(result, Ok(true) | Err(RouteProblem::RegexTooLarge { .. })),
                "{pattern}: {result:?}"
            );
        }
    }

    /// Expressions of few letters, so that they often match.
    fn any_pattern() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(
            &[
                "a", "b", "/", "ab", "/a/b", "[ab]", "[^/]", ".", r"\d", r"\w", "é", "^", "$", r"\b", "",
                "(?i:A)",
            ][..],
        )
        .prop_map(str::to_owned);
        let inner = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                1 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
                1 => (inner, prop::sample::select(&["?", "*", "+", "{2}", "{1,3}", "{2,}", "*?"][..]))
                    .prop_map(|(part, many)| format!("(?:{part}){many}")),
            ]
        });
        (inner, any::<bool>(), any::<bool>()).prop_map(|(pattern, starts, ends)| {
            let (start, end) = (if starts { "^" } else { "" }, if ends { "$" } else { "" });
            format!("{start}{pattern}{end}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn positions_match_what_the_crate_regex_matches(
            pattern in any_pattern(),
            paths in prop::collection::vec("/[abA/1_.-]{0,8}", 1..16),
        ) {
            let regex = PathRegex::compile(&pattern).unwrap();
            let theirs = Regex::new(&pattern).unwrap();
            for path in &paths {
                prop_assert_eq!(regex.matches(path), theirs.is_match(path), "{} against {}", pattern, path);
            }
        }
    }
}
