//! Finds the few rules whose host and path match, among any number of rules.
//!
//! Hosts are looked up by hash: the name itself, then what follows each of its dots. Each host has a tree of
//! path segments; a rule stands where the segments that it asks for end. So a rule that the index names needs
//! only be asked its other conditions; but a regex stands where its literal beginning ends, and is asked too. Where many do, a
//! [`Sieve`] names those that the path could match.
//!
//! Cost: one hash for each host level that some wildcard has, one for each path segment while rules go on. Keys
//! come from the configuration alone, so the hash need not withstand clients; nothing is allocated for a host in
//! lower case.

use std::num::NonZeroU32;

use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};
use smallvec::SmallVec;

use crate::host::{HostPattern, name};
use crate::path::PathPattern;
use crate::rule::Rule;
use crate::shape::Shape;
use crate::sieve::Sieve;
use crate::template::Segment;

/// Where the path tree of the rules for every host begins.
const EVERY_HOST: u32 = 0;

/// From so many regexes at one place on it is worth looking for their text first.
const CROWD: usize = 8;

/// An index over the hosts and paths of a list of rules.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    nodes: Vec<Node>,
    /// The literal segments of all trees.
    edges: HashMap<Edge<Box<str>>, u32>,
    /// Roots by host in lower case, or by what follows a star, which begins with a dot as no host does.
    hosts: HashMap<Box<str>, u32>,
    /// What finds the regexes that crowd at one node.
    sieves: Vec<Sieve>,
    /// The most dots in any wildcard: a longer host is not looked up more often.
    levels: usize,
}

/// A place in a tree of path segments, of one cache line.
#[derive(Debug, Clone, Default)]
struct Node {
    /// Whether any edge leads on from here.
    has_literals: bool,
    parameter: Option<u32>,
    /// Rules whose path ends here.
    here: Places,
    /// Rules whose path ends here or anywhere below.
    beneath: Places,
    /// The sieve of others of that kind, counted from one.
    sieve: Option<NonZeroU32>,
}

/// Places of rules in their list, in that order.
type Places = SmallVec<[u32; 4]>;

/// One literal segment, which leads on from a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Edge<S> {
    from: u32,
    segment: S,
}

impl Equivalent<Edge<Box<str>>> for Edge<&str> {
    fn equivalent(&self, key: &Edge<Box<str>>) -> bool {
        self.from == key.from && *self.segment == *key.segment
    }
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut index = Self {
            nodes: vec![Node::default()],
            edges: HashMap::with_hasher(DefaultHashBuilder::default()),
            hosts: HashMap::with_hasher(DefaultHashBuilder::default()),
            sieves: Vec::new(),
            levels: 0,
        };
        for (place, rule) in (0..).zip(rules) {
            let shape = Shape::of(&rule.path);
            if rule.hosts.is_empty() {
                index.file(EVERY_HOST, &shape, place);
            }
            for host in &rule.hosts {
                let root = index.root(host);
                index.file(root, &shape, place);
            }
        }
        index.sift(rules);
        index
    }

    /// Moves regexes that crowd at one node into a sieve of its own.
    fn sift(&mut self, rules: &[Rule]) {
        for node in self.nodes.iter_mut().filter(|node| node.beneath.len() >= CROWD) {
            let pattern = |&place: &u32| match &rules.get(place as usize)?.path {
                PathPattern::Regex(regex) => Some((place, regex.as_str())),
                _ => None,
            };
            let regexes: Vec<_> = node.beneath.iter().filter_map(pattern).collect();
            if regexes.len() < CROWD {
                continue;
            }
            let Some(sieve) = Sieve::new(&regexes) else { continue };
            node.beneath.retain(|place| sieve.places().binary_search(&*place).is_err());
            node.beneath.shrink_to_fit();
            self.sieves.push(sieve);
            node.sieve = u32::try_from(self.sieves.len()).ok().and_then(NonZeroU32::new);
        }
    }

    fn sieve(&self, node: &Node) -> Option<&Sieve> {
        self.sieves.get(node.sieve?.get() as usize - 1)
    }

    /// The root for this pattern, made where there is none yet.
    fn root(&mut self, host: &HostPattern) -> u32 {
        let name = match host {
            HostPattern::Any => return EVERY_HOST,
            HostPattern::Exact(name) => name,
            HostPattern::Below(suffix) => {
                self.levels = self.levels.max(suffix.matches('.').count());
                suffix
            }
        };
        *self.hosts.entry(name.clone()).or_insert_with(|| add(&mut self.nodes))
    }

    fn file(&mut self, root: u32, shape: &Shape, place: u32) {
        let mut at = root;
        for segment in &shape.segments {
            at = self.child(at, segment);
        }
        let Some(node) = self.nodes.get_mut(at as usize) else { return };
        let list = if shape.open { &mut node.beneath } else { &mut node.here };
        // A rule may name one host twice.
        if list.last() != Some(&place) {
            list.push(place);
        }
    }

    fn child(&mut self, parent: u32, segment: &Segment) -> u32 {
        let nodes = &mut self.nodes;
        match segment {
            Segment::Literal(text) => {
                let edge = Edge { from: parent, segment: text.clone() };
                *self.edges.entry(edge).or_insert_with(|| {
                    let child = add(nodes);
                    if let Some(node) = nodes.get_mut(parent as usize) {
                        node.has_literals = true;
                    }
                    child
                })
            }
            Segment::Parameter => {
                if let Some(child) = nodes.get(parent as usize).and_then(|node| node.parameter) {
                    return child;
                }
                let child = add(nodes);
                if let Some(node) = nodes.get_mut(parent as usize) {
                    node.parameter = Some(child);
                }
                child
            }
        }
    }

    /// The node that a literal segment leads to.
    fn literal(&self, from: u32, node: &Node, segment: &str) -> Option<u32> {
        if node.has_literals { self.edges.get(&Edge { from, segment }).copied() } else { None }
    }

    /// Shows every list of rules whose host and path match, each in listed order; a rule may be in several.
    /// Rules with a regex are among them where it could match. `visit` gives back from which place on rules are of no
    /// more interest.
    pub(crate) fn candidates(&self, host: Option<&str>, path: &str, mut visit: impl FnMut(&[u32]) -> u32) {
        let relative = path.strip_prefix('/');
        self.roots(host.and_then(name), |root| self.walk(root, path, relative, &mut visit));
    }

    /// Shows every list of rules that could take all that a rule for `host` and `shape` could.
    pub(crate) fn covering(&self, host: Option<&HostPattern>, shape: &Shape, mut visit: impl FnMut(&[u32])) {
        let host = match host {
            None | Some(HostPattern::Any) => None,
            Some(HostPattern::Exact(name) | HostPattern::Below(name)) => Some(&**name),
        };
        self.roots(host, |root| self.walk_shape(root, &shape.segments, shape.open, &mut visit));
    }

    fn roots(&self, host: Option<&str>, mut visit: impl FnMut(u32)) {
        visit(EVERY_HOST);
        let Some(host) = host else { return };
        if self.hosts.is_empty() {
            return;
        }
        let lowered = host.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| host.to_ascii_lowercase());
        let host = lowered.as_deref().unwrap_or(host);
        if let Some(&root) = self.hosts.get(host) {
            visit(root);
        }
        for (dot, _) in host.rmatch_indices('.').take(self.levels) {
            if let Some(&root) = host.get(dot..).and_then(|suffix| self.hosts.get(suffix)) {
                visit(root);
            }
        }
    }

    /// `rest` is what of the path lies below this node; none where it ends here.
    fn walk(&self, at: u32, path: &str, rest: Option<&str>, visit: &mut impl FnMut(&[u32]) -> u32) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        let enough = visit(&node.beneath);
        if let Some(sieve) = self.sieve(node)
            && sieve.places().first().is_some_and(|&first| first < enough)
        {
            sieve.candidates(path, |places| _ = visit(places));
        }
        let Some(rest) = rest else {
            visit(&node.here);
            return;
        };
        let (head, next) = match rest.split_once('/') {
            Some((head, next)) => (head, Some(next)),
            None => (rest, None),
        };
        if let Some(child) = self.literal(at, node, head) {
            self.walk(child, path, next, visit);
        }
        if let Some(child) = node.parameter
            && !head.is_empty()
        {
            self.walk(child, path, next, visit);
        }
    }

    fn walk_shape(&self, at: u32, segments: &[Segment], open: bool, visit: &mut impl FnMut(&[u32])) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        visit(&node.beneath);
        if let Some(sieve) = self.sieve(node) {
            visit(sieve.places());
        }
        let Some((segment, rest)) = segments.split_first() else {
            if !open {
                visit(&node.here);
            }
            return;
        };
        if let Segment::Literal(text) = segment
            && let Some(child) = self.literal(at, node, text)
        {
            self.walk_shape(child, rest, open, visit);
        }
        if let Some(child) = node.parameter {
            self.walk_shape(child, rest, open, visit);
        }
    }
}

/// Four thousand million nodes would take more memory than there is, so a place always fits.
fn add(nodes: &mut Vec<Node>) -> u32 {
    nodes.push(Node::default());
    u32::try_from(nodes.len() - 1).unwrap_or(EVERY_HOST)
}
