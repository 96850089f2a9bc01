//! One load from its sources to a configuration that can run, or to everything that is wrong with it.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::layers;
use crate::loaded::{Loaded, Places, Provenance};
use crate::lower::{self, Context};
use crate::node::{Node, Value};
use crate::parse::{self, Format};
use crate::read;
use crate::source::{SourceKind, SourceMap, Span};
use crate::tree::{Kind, NodeId, Tree};
use crate::written::root::Root;
use crate::{availability, environment, expand, servex, unreadable};

/// Bytes of a configuration file at most.
const LARGEST_FILE: u64 = 64 << 20;

/// Where the file's text comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Input {
    /// No file: environment and flags alone.
    #[default]
    None,
    File(PathBuf),
    Text {
        name: String,
        format: Format,
        text: String,
    },
}

/// Everything a configuration is read from. The force of each: flags, environment, file.
///
/// ```
/// use lb_config::{Format, Sources};
///
/// let sources = Sources::text("minimal.toml", Format::Toml, "[[rules]]\nbackends = ['127.0.0.1:8081']")
///     .environment([("LB_STRATEGY".to_owned(), "random".to_owned())])
///     .flag("--workers", "server.workers", "3");
/// let loaded = lb_config::load(&sources)?;
/// assert_eq!(loaded.config.workers.get(), 3);
/// assert_eq!(loaded.config.upstreams[0].strategy.name, "random");
/// # Ok::<(), lb_config::Diagnostics>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Sources {
    input: Input,
    environment: Vec<(String, String)>,
    /// Flag, key, value.
    flags: Vec<(String, String, String)>,
    with_provenance: bool,
}

impl Sources {
    /// A file, whose ending says its format.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { input: Input::File(path.into()), ..Self::default() }
    }

    /// A text in place of a file; `name` is what messages call it.
    #[must_use]
    pub fn text(name: impl Into<String>, format: Format, text: impl Into<String>) -> Self {
        Self { input: Input::Text { name: name.into(), format, text: text.into() }, ..Self::default() }
    }

    /// Adds variables: `GATEWAYD_…`, `LB_…`, and those that `${…}` names. See [`process_environment`].
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Adds a flag's value for a key: `("--workers", "server.workers", "2")`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push((flag.into(), key.into(), value.into()));
        self
    }

    /// Has [`Loaded::provenance`] told: it takes as long as half of everything else.
    #[must_use]
    pub fn with_provenance(self) -> Self {
        Self { with_provenance: true, ..self }
    }

    /// Adds `--strategy NAME`, if it was given.
    #[must_use]
    pub fn strategy(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.flag("--strategy", "load_balancing", name),
            None => self,
        }
    }
}

/// This process's variables; those that are not UTF-8 are left out.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The first of `gatewayd.toml`, `.yaml`, `.yml` and `.json` that is there, in the working directory or else in
/// `/etc/gatewayd`. No other name is looked for, so that no foreign file is taken up.
#[must_use]
pub fn find_config() -> Option<PathBuf> {
    find_config_in(&[Path::new("."), Path::new("/etc/gatewayd")])
}

/// As [`find_config`], in these directories.
#[must_use]
pub fn find_config_in(directories: &[&Path]) -> Option<PathBuf> {
    let names = ["gatewayd.toml", "gatewayd.yaml", "gatewayd.yml", "gatewayd.json"];
    let candidates = directories.iter().flat_map(|directory| names.map(|name| directory.join(name)));
    let mut found = candidates.filter(|path| path.is_file());
    found.next().map(|path| path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path))
}

/// Loads a text of one format and nothing else.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, format: Format, text: &str) -> Result<Loaded, Diagnostics> {
    load(&Sources::text(name, format, text))
}

/// Loads a configuration: reads, merges, checks. Binds no port and resolves no name.
///
/// # Errors
/// Every problem found, warnings among them, in the order of the file.
pub fn load(sources: &Sources) -> Result<Loaded, Diagnostics> {
    collect(sources)?.understand()
}

/// The first half of [`load`], for whoever does other things between the two: of ten thousand rules each takes its time.
///
/// # Errors
/// What cannot be read, or not as its format.
pub fn collect(sources: &Sources) -> Result<Collected, Diagnostics> {
    let mut map = SourceMap::default();
    let mut problems = Diagnostics::default();
    let Expanded { merged, directory, statistics, .. } = expanded(sources, &mut map, &mut problems)?;
    let tree = Tree::new(merged, &mut map);
    Ok(Collected { tree, map, problems, directory, statistics, with_provenance: sources.with_provenance })
}

/// Everything that was written, in one tree; what it means is still to be found out.
#[derive(Debug)]
pub struct Collected {
    tree: Tree,
    map: SourceMap,
    problems: Diagnostics,
    directory: PathBuf,
    statistics: bool,
    with_provenance: bool,
}

impl Collected {
    /// The second half of [`load`].
    ///
    /// # Errors
    /// As [`load`].
    pub fn understand(self) -> Result<Loaded, Diagnostics> {
        let Self { mut tree, map, mut problems, directory, statistics, with_provenance } = self;
        let written: Option<Root> = read::read(&mut tree, &map, &mut problems);
        availability::check(&tree, &map, &mut problems);
        let lowered = written.and_then(|written| {
            let mut context =
                Context { tree: &tree, sources: &map, problems: &mut problems, directory: &directory };
            lower::lower(&mut context, &written)
        });
        problems.sort();
        match lowered {
            Some(lowered) if problems.errors() == 0 => Ok(Loaded {
                config: Arc::new(lowered.config),
                members: lowered.members,
                discover: lowered.discover,
                admin: lowered.admin,
                alerts: lowered.alerts,
                tracing: lowered.tracing,
                access_log: lowered.access_log,
                statistics,
                warnings: problems.into_vec(),
                provenance: if with_provenance { provenance(&tree, &map) } else { Vec::new() },
                places: Arc::new(places(&tree, &map)),
            }),
            _ => Err(problems),
        }
    }
}

/// The files that a configuration names for values (`file:PATH`), as far as it can be read; whoever watches it watches them too.
#[must_use]
pub fn value_files(sources: &Sources) -> Vec<PathBuf> {
    let expanded = expanded(sources, &mut SourceMap::default(), &mut Diagnostics::default());
    let mut files = expanded.map(|expanded| expanded.files).unwrap_or_default();
    files.sort();
    files.dedup();
    files
}

/// All layers as one, with the values that placeholders stand for.
struct Expanded {
    merged: Node,
    directory: PathBuf,
    statistics: bool,
    files: Vec<PathBuf>,
}

fn expanded(
    sources: &Sources,
    map: &mut SourceMap,
    problems: &mut Diagnostics,
) -> Result<Expanded, Diagnostics> {
    let (file, directory) = file(&sources.input, map)?;
    let mut root = file;
    problems.extend(servex::lift(&mut root, map));
    let environment = environment::read(&sources.environment, Some(&root), map, problems);
    let mut flags = Node::new(Value::Table(Vec::new()), environment.layer.span.clone());
    for (flag, key, value) in &sources.flags {
        environment::flag(&mut flags, flag, key, value, map);
    }
    let mut merged = layers::merged(root, [&environment.fallback, &environment.layer, &flags]);
    let variables: HashMap<&str, &str> =
        sources.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut files = Vec::new();
    expand::expand(&mut merged, &variables, map, problems, &mut files);
    Ok(Expanded { merged, directory, statistics: environment.statistics, files })
}

/// Reads and parses the file; its root and the directory it names other files from.
fn file(input: &Input, map: &mut SourceMap) -> Result<(Node, PathBuf), Diagnostics> {
    let (name, format, text, directory) = match input {
        Input::None => {
            let source = map.add(SourceKind::File, "no configuration file", "");
            return Ok((Node::new(Value::Table(Vec::new()), Span { source, range: 0..0 }), PathBuf::new()));
        }
        Input::Text { name, format, text } => (name.clone(), *format, text.clone(), PathBuf::new()),
        Input::File(path) => {
            let name = path.display().to_string();
            let Some(format) = Format::from_path(path) else {
                return Err(Diagnostic::error("the format of a configuration is told by its file's ending")
                    .in_file(name)
                    .help("name it .toml, .yaml, .yml or .json")
                    .into());
            };
            let text = decode(&name, contents(&name, path)?, map)?;
            (name, format, text, path.parent().map(Path::to_path_buf).unwrap_or_default())
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let source = map.add(SourceKind::File, name, text);
    let root = parse::document(format, source, map).map_err(|found| {
        let mut problems = Diagnostics::default();
        problems.extend(found);
        problems
    })?;
    Ok((root, directory))
}

fn contents(name: &str, path: &Path) -> Result<Vec<u8>, Box<Diagnostic>> {
    let refused = |reason: String| {
        let problem = Diagnostic::error(format!("cannot read the configuration: {reason}")).in_file(name);
        Box::new(match unreadable::remedy(path) {
            Some(help) => problem.help(help),
            None => problem,
        })
    };
    let mut bytes = Vec::new();
    expand::open(path)
        .and_then(|file| {
            file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| expand::reason(&error))
        })
        .map_err(refused)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(refused(format!("it is larger than {} MiB", LARGEST_FILE >> 20)));
    }
    Ok(bytes)
}

fn decode(name: &str, bytes: Vec<u8>, map: &mut SourceMap) -> Result<String, Box<Diagnostic>> {
    String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Diagnostic::error("this file is UTF-16").in_file(name).help("save it as UTF-8").into();
        }
        let source = map.add(SourceKind::File, name, String::from_utf8_lossy(&bytes));
        Diagnostic::error("this file is not UTF-8 text")
            .at(map.excerpt(&Span { source, range: start..start + 1 }), "not UTF-8")
            .help("save it as UTF-8")
            .into()
    })
}

fn places(tree: &Tree, map: &SourceMap) -> Places {
    let place = |id: NodeId| tree.key_span(id).and_then(|span| map.place(span));
    let children = |id: NodeId| match tree.kind(id) {
        Kind::List(parts) | Kind::Table(parts) => parts.clone(),
        _ => Vec::new(),
    };
    let below = |key: &str| tree.child(Tree::ROOT, key).map(children).unwrap_or_default();
    let mut listeners = HashMap::new();
    let mut open = below("listeners");
    while let Some(id) = open.pop() {
        listeners.extend(place(id).map(|place| (tree.path(id), place.to_string())));
        open.extend(children(id));
    }
    Places { rules: below("rules").into_iter().filter_map(place).collect(), listeners }
}

fn provenance(tree: &Tree, map: &SourceMap) -> Vec<Provenance> {
    tree.ids()
        .filter(|id| !matches!(tree.kind(*id), Kind::Table(_) | Kind::List(_) | Kind::Null))
        .filter_map(|id| {
            let place = map.place(tree.value_span(id)?)?.to_string();
            Some(Provenance { path: tree.path(id), value: tree.quote(id), place })
        })
        .collect()
}
