//! Finds the few of many regular expressions that could match a path, by the literals that they need.
//!
//! Most expressions match no path that lacks some text: `/t17/`, or one of `.png` and `.jpg`. One Aho-Corasick automaton
//! (Aho and Corasick, "Efficient String Matching", 1975) looks for the text of all of them at once, letter case aside.
//! Of the texts that an expression needs the one is chosen that fewest others need, too.
//!
//! Cost: one step of the automaton for each byte of the path, and nothing is allocated below sixteen thousand texts.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, MatchKind};
use regex_syntax::hir::{Capture, Class, ClassBytes, ClassBytesRange, Hir, HirKind, Repetition};
use smallvec::SmallVec;

use crate::regex::parse;

/// Alternatives of one expression that are looked for at most.
const MAX_ALTERNATIVES: usize = 16;

/// Bytes of a text that are looked for at most.
const MAX_TEXT: usize = 48;

/// A shorter text is in most paths.
const MIN_TEXT: usize = 2;

/// Words of 64 bits that note which texts were found, before they take memory of their own.
const WORDS: usize = 256;

/// Texts of which every match holds one, in lower case.
type Texts = Vec<Box<[u8]>>;

/// What finds some rules with expressions by the text of a path.
#[derive(Debug, Clone)]
pub(crate) struct Sieve {
    automaton: AhoCorasick,
    /// The rules that need each text, in listed order.
    lists: Vec<SmallVec<[u32; 4]>>,
    /// All of them, in listed order.
    places: Vec<u32>,
}

impl Sieve {
    /// Takes those of the rules, given as place and expression in listed order, that need some text; none where that is
    /// hardly any.
    pub(crate) fn new(rules: &[(u32, &str)]) -> Option<Self> {
        let needs: Vec<_> = rules.iter().map(|(place, pattern)| (*place, needed(pattern))).collect();
        let mut uses: HashMap<&[u8], u32> = HashMap::new();
        for text in needs.iter().flat_map(|(_, choices)| choices).flatten() {
            *uses.entry(text).or_default() += 1;
        }
        let rank = |texts: &&Texts| {
            let uses = texts.iter().map(|text| uses.get(&**text).copied().unwrap_or_default()).max();
            let shortest = texts.iter().map(|text| text.len()).min();
            (uses, std::cmp::Reverse(shortest))
        };
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let (mut texts, mut lists) = (Vec::new(), Vec::<SmallVec<[u32; 4]>>::new());
        let mut places = Vec::new();
        for (place, choices) in &needs {
            let Some(chosen) = choices.iter().min_by_key(rank) else { continue };
            places.push(*place);
            for text in chosen {
                let number = *numbers.entry(text).or_insert_with(|| {
                    texts.push(&**text);
                    lists.push(SmallVec::new());
                    lists.len() - 1
                });
                if let Some(list) = lists.get_mut(number)
                    && list.last() != Some(place)
                {
                    list.push(*place);
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .prefilter(false)
            .build(&texts);
        // Refused only where the texts have more bytes than a place can count.
        automaton.ok().filter(|_| places.len() > 1).map(|automaton| Self { automaton, lists, places })
    }

    /// The rules that it knows, in listed order.
    pub(crate) fn places(&self) -> &[u32] {
        &self.places
    }

    /// Shows each list of rules that the path has the text for, once.
    pub(crate) fn candidates(&self, path: &str, mut visit: impl FnMut(&[u32])) {
        let mut seen = SmallVec::<[u64; WORDS]>::new();
        for found in self.automaton.find_overlapping_iter(path) {
            let number = found.pattern().as_usize();
            if seen.is_empty() {
                seen.resize(self.lists.len() / 64 + 1, 0);
            }
            let Some(word) = seen.get_mut(number / 64) else { continue };
            let bit = 1 << (number % 64);
            if *word & bit == 0 {
                *word |= bit;
                visit(self.lists.get(number).map_or(&[], |list| list));
            }
        }
    }
}

/// Sets of texts; every path that the expression matches holds one of each set, letter case aside.
fn needed(pattern: &str) -> Vec<Texts> {
    let Ok(hir) = parse(pattern) else { return Vec::new() };
    let mut choices = Vec::new();
    choose(&folded(&hir), &mut choices);
    choices
}

fn choose(hir: &Hir, choices: &mut Vec<Texts>) {
    match hir.kind() {
        HirKind::Literal(literal) if literal.0.len() >= MIN_TEXT => {
            let end = literal.0.len().min(MAX_TEXT);
            choices.push(vec![literal.0.get(..end).unwrap_or_default().into()]);
        }
        HirKind::Capture(capture) => choose(&capture.sub, choices),
        HirKind::Repetition(repetition) if repetition.min > 0 => choose(&repetition.sub, choices),
        HirKind::Concat(parts) => parts.iter().for_each(|part| choose(part, choices)),
        HirKind::Alternation(parts) if parts.len() <= MAX_ALTERNATIVES => {
            let longest = |part: &Hir| {
                let mut choices = Vec::new();
                choose(part, &mut choices);
                choices.into_iter().max_by_key(|texts| texts.iter().map(|text| text.len()).min())
            };
            let Some(all) = parts.iter().map(longest).collect::<Option<Vec<_>>>() else { return };
            let all = all.concat();
            if all.len() <= MAX_ALTERNATIVES {
                choices.push(all);
            }
        }
        _ => {}
    }
}

/// The expression for paths in lower case: what it matched before it matches of their lower case, and perhaps more.
fn folded(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Literal(literal) => Hir::literal(literal.0.to_ascii_lowercase()),
        HirKind::Class(class) => Hir::class(Class::Bytes(folded_class(class))),
        HirKind::Capture(capture) => {
            let sub = Box::new(folded(&capture.sub));
            Hir::capture(Capture { index: capture.index, name: capture.name.clone(), sub })
        }
        HirKind::Repetition(repetition) => {
            let Repetition { min, max, greedy, .. } = *repetition;
            Hir::repetition(Repetition { min, max, greedy, sub: Box::new(folded(&repetition.sub)) })
        }
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(folded).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(folded).collect()),
    }
}

/// The ASCII bytes of a class in lower case: no path holds others.
fn folded_class(class: &Class) -> ClassBytes {
    let mut bytes = ClassBytes::empty();
    let mut add = |start: u32, end: u32| {
        for byte in (start..=end.min(0x7F)).filter_map(|byte| u8::try_from(byte).ok()) {
            let byte = byte.to_ascii_lowercase();
            bytes.push(ClassBytesRange::new(byte, byte));
        }
    };
    match class {
        Class::Unicode(class) => class.ranges().iter().for_each(|it| add(it.start().into(), it.end().into())),
        Class::Bytes(class) => class.ranges().iter().for_each(|it| add(it.start().into(), it.end().into())),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, expect: &[&[&str]]) {
        let got: Vec<Vec<String>> = needed(pattern)
            .iter()
            .map(|texts| texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
            .collect();
        assert_eq!(got, expect, "{pattern}");
    }

    #[test]
    fn what_a_match_must_hold_is_found() {
        check("^/[a-z]+/t17/[0-9]+$", &[&["/t17/"]]);
        check("(?i)^/API/(v1|v2)$", &[&["/api/"]]);
        check(r"^/(en|de)/(items?)", &[&["en", "de"], &["item"]]);
        check(r"\.(png|jpe?g)$", &[&["png", "jp"]]);
        check("^/(news|.*)/x17", &[&["/x17"]]);
        check("(ab)?cd", &[&["cd"]]);
        check("(?:ab)+[0-9]", &[&["ab"]]);
        check("^/[^/]*/$", &[]);
    }

    #[test]
    fn the_text_is_chosen_that_few_others_need() {
        let patterns: Vec<_> = (0..100).map(|n| format!("^/[^/]+/t{n}/.*/details$")).collect();
        let rules: Vec<_> = (0..).zip(patterns.iter().map(String::as_str)).collect();
        let sieve = Sieve::new(&rules).unwrap();
        let mut found = Vec::new();
        sieve.candidates("/x/T17/T17/details", |places| found.extend_from_slice(places));
        assert_eq!(found, [17]);
        assert_eq!(sieve.places().len(), 100);
    }
}
