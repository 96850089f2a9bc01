//! The merged configuration, every value numbered: a number is all that typed structs need to keep of a place.

use std::collections::{BTreeMap, BTreeSet};

use crate::mask;
use crate::node::{Entry, Node, Value};
use crate::source::{SourceMap, Span};

/// A value of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct NodeId(pub(crate) u32);

#[derive(Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// Text that is read as whatever is asked for: for a list, as its words between commas.
    Loose {
        text: String,
        words: Vec<NodeId>,
    },
    Other(&'static str),
    List(Vec<NodeId>),
    /// Each knows its key.
    Table(Vec<NodeId>),
}

#[derive(Debug)]
enum Step {
    Root,
    Key(String),
    Item(usize),
}

#[derive(Debug)]
struct TreeNode {
    kind: Kind,
    span: Span,
    key_span: Option<Span>,
    parent: NodeId,
    step: Step,
    written: Option<String>,
    secret: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<TreeNode>,
    /// Values that were reported and are treated as if nobody had written them.
    removed: BTreeSet<NodeId>,
    misspelt: BTreeSet<(NodeId, String)>,
    /// What placeholders stand for, and the placeholders.
    expanded: BTreeMap<String, String>,
}

impl Tree {
    /// Numbers a tree, and hides the places of its secrets.
    pub(crate) fn new(root: Node, sources: &mut SourceMap) -> Self {
        let mut tree = Self::default();
        tree.add(root, None, NodeId(0), Step::Root, false, sources);
        tree
    }

    fn add(
        &mut self,
        node: Node,
        key_span: Option<Span>,
        parent: NodeId,
        step: Step,
        secret: bool,
        sources: &mut SourceMap,
    ) -> NodeId {
        let secret = secret || matches!(&step, Step::Key(key) if mask::is_secret(key));
        let is_kept_elsewhere = node.written.as_deref().is_some_and(|written| !mask::holds_secret(written));
        if secret && !is_kept_elsewhere {
            sources.hide(&node.span);
        }
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let (span, written) = (node.span, node.written);
        self.nodes.push(TreeNode { kind: Kind::Null, span, key_span, parent, step, written, secret });
        self.note_expanded(&node.value, id);
        let kind = match node.value {
            Value::Null => Kind::Null,
            Value::Bool(switch) => Kind::Bool(switch),
            Value::Integer(number) => Kind::Integer(number),
            Value::Float(number) => Kind::Float(number),
            Value::String(text) => Kind::String(text),
            Value::Loose(text) => Kind::Loose { words: self.words(&text, id), text },
            Value::Other(words) => Kind::Other(words),
            Value::List(items) => Kind::List(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(index, item)| self.add(item, None, id, Step::Item(index), secret, sources))
                    .collect(),
            ),
            Value::Table(entries) => Kind::Table(
                entries
                    .into_iter()
                    .map(|entry| {
                        let Entry { key, key_span, node } = entry;
                        self.add(node, Some(key_span), id, Step::Key(key), secret, sources)
                    })
                    .collect(),
            ),
        };
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.kind = kind;
        }
        id
    }

    fn note_expanded(&mut self, value: &Value, id: NodeId) {
        if let Value::Loose(text) = value
            && text.len() >= SHORTEST_SECRET
            && let Some(written) = self.node(id).and_then(|node| node.written.clone())
        {
            self.expanded.insert(text.clone(), written);
        }
    }

    /// The words of a text, each at the place of the whole.
    fn words(&mut self, text: &str, whole: NodeId) -> Vec<NodeId> {
        let Some((span, written, secret)) =
            self.node(whole).map(|node| (node.span.clone(), node.written.clone(), node.secret))
        else {
            return Vec::new();
        };
        let mut words = Vec::new();
        for (index, word) in text.split(',').enumerate() {
            let kind = Kind::Loose { text: word.trim().to_owned(), words: Vec::new() };
            words.push(NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)));
            let (span, written, step) = (span.clone(), written.clone(), Step::Item(index));
            self.nodes.push(TreeNode { kind, span, key_span: None, parent: whole, step, written, secret });
        }
        words
    }

    pub(crate) const ROOT: NodeId = NodeId(0);

    pub(crate) fn kind(&self, id: NodeId) -> &Kind {
        self.node(id).map_or(&Kind::Null, |node| &node.kind)
    }

    /// Whether a table has the key, if only misspelt or with a value that was reported: then it is not missing.
    pub(crate) fn has(&self, table: NodeId, key: &str) -> bool {
        self.child(table, key).is_some() || self.misspelt.contains(&(table, key.to_owned()))
    }

    /// Notes that a key which a table does not have was surely meant to be this one.
    pub(crate) fn note_misspelt(&mut self, table: NodeId, key: &str) {
        self.misspelt.insert((table, key.to_owned()));
    }

    pub(crate) fn child(&self, table: NodeId, key: &str) -> Option<NodeId> {
        match self.kind(table) {
            Kind::Table(entries) => entries.iter().copied().find(|entry| self.key(*entry) == Some(key)),
            _ => None,
        }
    }

    pub(crate) fn parent(&self, id: NodeId) -> NodeId {
        self.node(id).map_or(Self::ROOT, |node| node.parent)
    }

    pub(crate) fn remove(&mut self, id: NodeId) {
        self.removed.insert(id);
    }

    pub(crate) fn is_removed(&self, id: NodeId) -> bool {
        self.removed.contains(&id)
    }

    /// Whether everything in it could be read.
    pub(crate) fn is_whole(&self, id: NodeId) -> bool {
        let is_lost = matches!(self.node(id), Some(TreeNode { kind: Kind::Null, written: Some(_), .. }));
        let below = match self.kind(id) {
            Kind::List(parts) | Kind::Table(parts) => parts.iter().all(|part| self.is_whole(*part)),
            _ => true,
        };
        below && !is_lost && !self.is_removed(id)
    }

    /// Where the value stands.
    pub(crate) fn value_span(&self, id: NodeId) -> Option<&Span> {
        self.node(id).map(|node| &node.span)
    }

    /// Where its key stands; for an item of a list, the value.
    pub(crate) fn key_span(&self, id: NodeId) -> Option<&Span> {
        self.node(id).map(|node| node.key_span.as_ref().unwrap_or(&node.span))
    }

    /// The last word of the path: `weight`, or of an item with its number: `backends[1]`.
    pub(crate) fn name(&self, id: NodeId) -> String {
        match self.node(id).map(|node| (&node.step, node.parent)) {
            Some((Step::Key(key), _)) => key.clone(),
            Some((Step::Item(index), parent)) => format!("{}[{index}]", self.name(parent)),
            _ => "the configuration".into(),
        }
    }

    /// The key whose value this is; none for items of lists and the root.
    pub(crate) fn key(&self, id: NodeId) -> Option<&str> {
        match &self.node(id)?.step {
            Step::Key(key) => Some(key),
            _ => None,
        }
    }

    /// `rules[0].backends[1].weight`; empty for the root.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let Some(node) = self.node(id) else { return String::new() };
        match &node.step {
            Step::Root => String::new(),
            Step::Item(index) => format!("{}[{index}]", self.path(node.parent)),
            Step::Key(key) => {
                let before = self.path(node.parent);
                let dot = if before.is_empty() { "" } else { "." };
                format!("{before}{dot}{}", shown_key(key))
            }
        }
    }

    /// The path with `[]` for every index, and the tree's own names kept.
    pub(crate) fn pattern(&self, id: NodeId) -> Vec<&str> {
        let mut steps = Vec::new();
        let mut id = id;
        while let Some(node) = self.node(id) {
            match &node.step {
                Step::Root => break,
                Step::Item(_) => steps.push("[]"),
                Step::Key(key) => steps.push(key.as_str()),
            }
            id = node.parent;
        }
        steps.reverse();
        steps
    }

    /// Every value, parents before children.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)).map(NodeId)
    }

    /// The value in words, for "found …"; secrets and what was put in for a placeholder stay unsaid.
    pub(crate) fn describe(&self, id: NodeId) -> String {
        let Some(node) = self.node(id) else { return String::new() };
        if let Some(written) = &node.written {
            return format!("the value of {}", quoted(written));
        }
        if node.secret {
            return "a value that is not shown".into();
        }
        match &node.kind {
            Kind::Null => "nothing".into(),
            Kind::Bool(switch) => format!("`{switch}`"),
            Kind::Integer(number) => format!("the number `{number}`"),
            Kind::Float(number) => format!("the number `{number}`"),
            Kind::String(text) | Kind::Loose { text, .. } => format!("the string {}", quoted(text)),
            Kind::Other(words) => (*words).into(),
            Kind::List(_) => "a list".into(),
            Kind::Table(_) => "a table".into(),
        }
    }

    /// The value as written, in backticks.
    pub(crate) fn quote(&self, id: NodeId) -> String {
        match self.node(id) {
            Some(TreeNode { written: Some(written), .. }) => quoted(written),
            Some(TreeNode { secret: true, .. }) => "the value".into(),
            Some(TreeNode { kind: Kind::String(text) | Kind::Loose { text, .. }, .. }) => quoted(text),
            Some(TreeNode { kind: Kind::Integer(number), .. }) => format!("`{number}`"),
            Some(TreeNode { kind: Kind::Float(number), .. }) => format!("`{number}`"),
            Some(TreeNode { kind: Kind::Bool(switch), .. }) => format!("`{switch}`"),
            _ => self.describe(id),
        }
    }

    /// A message about a value, with what was written in place of what it stands for: other crates' messages repeat
    /// what they were given, which may be a secret.
    pub(crate) fn conceal(&self, id: NodeId, message: String) -> String {
        let own = self.node(id).and_then(|node| match (&node.kind, &node.written) {
            (Kind::Loose { text, .. }, Some(written)) if !text.is_empty() => Some((text, written)),
            _ => None,
        });
        let mut message = message;
        for (value, written) in own.into_iter().chain(&self.expanded) {
            // What was put in already must not be searched again.
            if message.contains(value.as_str()) && !written.contains(value.as_str()) {
                message = message.replace(value.as_str(), written);
            }
        }
        message
    }

    fn node(&self, id: NodeId) -> Option<&TreeNode> {
        self.nodes.get(id.0 as usize)
    }
}

/// Shorter values are only concealed in messages about themselves, as they occur in words by chance.
const SHORTEST_SECRET: usize = 6;

/// Characters of a value that a message repeats at most.
const LONGEST_QUOTE: usize = 80;

/// A value of the user's in backticks, on one line.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(LONGEST_QUOTE).flat_map(char::escape_debug).collect();
    let (mut shown, _) = mask::line(&shown, std::iter::empty(), 0..0);
    shown = shown.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\");
    if text.chars().count() > LONGEST_QUOTE {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn shown_key(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { key.to_owned() } else { format!("{key:?}") }
}
