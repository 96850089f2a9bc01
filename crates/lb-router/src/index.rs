//! Finds the few rules whose host and path could match, among any number of rules.
//!
//! Hosts are looked up by hash: the name itself, then what follows each of its dots. Each host has a tree of
//! path segments; a rule stands where the segments that it asks for end. What the index gives is a superset:
//! each rule it names is still asked all its conditions, so the index can be wrong only by leaving one out.
//!
//! Cost: one hash for each host level that some wildcard has, one for each segment that some rule names.

use ahash::AHashMap;

use crate::authority::without_trailing_dot;
use crate::host::HostPattern;
use crate::rule::Rule;
use crate::shape::Shape;
use crate::template::Segment;

/// Where the path tree of the rules for every host begins.
const EVERY_HOST: usize = 0;

/// An index over the hosts and paths of a list of rules.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    nodes: Vec<Node>,
    /// Roots in `nodes` by host, in lower case.
    exact: AHashMap<Box<str>, usize>,
    /// Roots in `nodes` by what follows the star, dot included.
    below: AHashMap<Box<str>, usize>,
    /// The most dots that any key of `below` has: a longer host is not looked up more often.
    levels: usize,
}

/// A place in a tree of path segments. Rules are in listed order.
#[derive(Debug, Clone, Default)]
struct Node {
    literals: AHashMap<Box<str>, usize>,
    parameter: Option<usize>,
    /// Rules whose path may end here.
    here: Vec<usize>,
    /// Rules whose path may end here or anywhere below.
    beneath: Vec<usize>,
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut index = Self {
            nodes: vec![Node::default()],
            exact: AHashMap::default(),
            below: AHashMap::default(),
            levels: 0,
        };
        for (place, rule) in rules.iter().enumerate() {
            let shape = Shape::of(&rule.path);
            if rule.hosts.is_empty() {
                index.file(EVERY_HOST, &shape, place);
            }
            for host in &rule.hosts {
                let root = index.root(host);
                index.file(root, &shape, place);
            }
        }
        index
    }

    /// The root for this pattern, made where there is none yet.
    fn root(&mut self, host: &HostPattern) -> usize {
        let (roots, name) = match host {
            HostPattern::Any => return EVERY_HOST,
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Below(suffix) => {
                self.levels = self.levels.max(suffix.matches('.').count());
                (&mut self.below, suffix)
            }
        };
        *roots.entry(name.clone()).or_insert_with(|| add(&mut self.nodes))
    }

    fn file(&mut self, root: usize, shape: &Shape, place: usize) {
        let mut at = root;
        for segment in &shape.segments {
            at = self.child(at, segment);
        }
        let Some(node) = self.nodes.get_mut(at) else { return };
        let list = if shape.open { &mut node.beneath } else { &mut node.here };
        // A rule may name one host twice.
        if list.last() != Some(&place) {
            list.push(place);
        }
    }

    fn child(&mut self, parent: usize, segment: &Segment) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else { return parent };
        let child = match segment {
            Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
            Segment::Parameter => *node.parameter.get_or_insert(next),
        };
        if child == next { add(&mut self.nodes) } else { child }
    }

    /// Shows every list of rules that could match, each in listed order; a rule may be in several.
    pub(crate) fn candidates(&self, host: Option<&str>, path: &str, mut visit: impl FnMut(&[usize])) {
        let relative = path.strip_prefix('/');
        self.roots(host, |root| self.walk(root, relative, &mut visit));
    }

    /// Shows every list of rules that could take all that a rule for `host` and `shape` could.
    pub(crate) fn covering(
        &self,
        host: Option<&HostPattern>,
        shape: &Shape,
        mut visit: impl FnMut(&[usize]),
    ) {
        let name = match host {
            None | Some(HostPattern::Any) => None,
            Some(HostPattern::Exact(name) | HostPattern::Below(name)) => Some(&**name),
        };
        self.roots(name, |root| self.walk_shape(root, &shape.segments, shape.open, &mut visit));
    }

    fn roots(&self, host: Option<&str>, mut visit: impl FnMut(usize)) {
        visit(EVERY_HOST);
        let Some(host) = host else { return };
        if self.exact.is_empty() && self.below.is_empty() {
            return;
        }
        let host = without_trailing_dot(host);
        let lowered = host.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| host.to_ascii_lowercase());
        let host = lowered.as_deref().unwrap_or(host);
        if let Some(&root) = self.exact.get(host) {
            visit(root);
        }
        for (dot, _) in host.rmatch_indices('.').take(self.levels) {
            if let Some(&root) = host.get(dot..).and_then(|suffix| self.below.get(suffix)) {
                visit(root);
            }
        }
    }

    /// `rest` is what of the path lies below this node; none where it ends here.
    fn walk(&self, at: usize, rest: Option<&str>, visit: &mut impl FnMut(&[usize])) {
        let Some(node) = self.nodes.get(at) else { return };
        visit(&node.beneath);
        let Some(rest) = rest else { return visit(&node.here) };
        let (head, next) = match rest.split_once('/') {
            Some((head, next)) => (head, Some(next)),
            None => (rest, None),
        };
        if let Some(&child) = node.literals.get(head) {
            self.walk(child, next, visit);
        }
        if let Some(child) = node.parameter
            && !head.is_empty()
        {
            self.walk(child, next, visit);
        }
    }

    fn walk_shape(&self, at: usize, segments: &[Segment], open: bool, visit: &mut impl FnMut(&[usize])) {
        let Some(node) = self.nodes.get(at) else { return };
        visit(&node.beneath);
        let Some((segment, rest)) = segments.split_first() else {
            if !open {
                visit(&node.here);
            }
            return;
        };
        if let Segment::Literal(text) = segment
            && let Some(&child) = node.literals.get(text)
        {
            self.walk_shape(child, rest, open, visit);
        }
        if let Some(child) = node.parameter {
            self.walk_shape(child, rest, open, visit);
        }
    }
}

fn add(nodes: &mut Vec<Node>) -> usize {
    nodes.push(Node::default());
    nodes.len() - 1
}
