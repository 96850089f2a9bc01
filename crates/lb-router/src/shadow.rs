//! Rules that can never match, because an earlier one takes everything that they could.

use crate::host::HostPattern;
use crate::index::Index;
use crate::path::PathPattern;
use crate::rewrite::Rewrite;
use crate::rule::Rule;
use crate::shape::Shape;

/// With how many earlier rules one is compared: keeps thousands of rules on one path from taking quadratic time.
const MAX_COMPARED: usize = 1000;

/// A rule that can never match. Both are places among the configured rules, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shadowed {
    /// The rule that never matches.
    pub rule: usize,
    /// The first rule that takes everything it could.
    pub by: usize,
}

/// Every rule for which some single earlier rule takes all it could. What is told is certain; a rule that only
/// several others take together, or whose regex matches no more than another's, is not found.
pub(crate) fn shadowed(rules: &[Rule], index: &Index) -> Vec<Shadowed> {
    let find = |(place, rule): (usize, &Rule)| {
        let shape = Shape::of(&rule.path);
        let mut by = place;
        let mut compared = 0;
        // Whatever covers the rule covers the first of its hosts.
        index.covering(rule.hosts.first(), &shape, |list| {
            for &earlier in list {
                let earlier = earlier as usize;
                if earlier >= by || compared >= MAX_COMPARED {
                    break;
                }
                compared += 1;
                if rules.get(earlier).is_some_and(|earlier| earlier.covers(rule, &shape)) {
                    by = earlier;
                }
            }
        });
        (by < place).then_some(Shadowed { rule: place, by })
    };
    rules.iter().enumerate().filter_map(find).collect()
}

impl Rule {
    /// Whether this rule takes every request that `other`, whose path is of the given shape, takes.
    fn covers(&self, other: &Self, shape: &Shape) -> bool {
        self.methods.covers(other.methods)
            && self.headers.iter().all(|condition| other.headers.contains(condition))
            && self.query.iter().all(|condition| other.query.contains(condition))
            && !matches!(self.rewrite, Rewrite::Template { risky: true, .. })
            && self.covers_hosts(other)
            && self.path.covers(&other.path, shape)
    }

    fn covers_hosts(&self, other: &Self) -> bool {
        let covers = |theirs| self.hosts.iter().any(|mine| mine.covers(theirs));
        self.hosts.is_empty() || (!other.hosts.is_empty() && other.hosts.iter().all(covers))
    }
}

impl HostPattern {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (Self::Exact(mine), Self::Exact(theirs)) => mine == theirs,
            (Self::Exact(_), Self::Below(_)) => false,
            (Self::Below(_), Self::Exact(theirs)) => self.matches(Some(theirs)),
            (Self::Below(mine), Self::Below(theirs)) => theirs.ends_with(&**mine),
        }
    }
}

impl PathPattern {
    fn covers(&self, other: &Self, shape: &Shape) -> bool {
        match (self, other) {
            (Self::Regex(mine), Self::Regex(theirs)) => mine.as_str() == theirs.as_str(),
            (Self::Regex(regex), Self::Exact(path)) => regex.matches(path),
            (Self::Regex(_), _) => false,
            _ => Shape::of(self).covers(shape),
        }
    }
}
