//! How a matched path is changed before it is forwarded.
//!
//! A rewrite may not undo what normalising made safe: from `^/a(.*)$` to `/b/{1}` would turn `/a..` into
//! `/b/..`. Stripping and adding whole segments cannot do that, nor can templates whose parameters are whole
//! segments; what any other makes is looked at on each match.

use std::borrow::Cow;

use crate::config::RewriteConfig;
use crate::error::{RouteField, RouteProblem, TemplateFault};
use crate::path::{PathPattern, literal_prefix, strip_segments};
use crate::target::{has_dot_segment, normalize_text};
use crate::template::{Capture, fault, read_name};

/// A compiled rewrite.
#[derive(Debug, Clone)]
pub(crate) enum Rewrite {
    /// The path stays as it is.
    Keep,
    /// Both without a slash at the end; either may be empty.
    Prefix { strip: Box<str>, add: Box<str> },
    /// A new path of these pieces.
    Template {
        pieces: Box<[Piece]>,
        /// Whether captured text could make a dot segment together with what is around it.
        risky: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    Captured(Capture),
}

type Faults = Vec<(RouteField, RouteProblem)>;

impl Rewrite {
    /// `pattern` is the path it belongs to, or none where that has a fault of its own.
    pub(crate) fn compile(config: &RewriteConfig, pattern: Option<&PathPattern>) -> Result<Self, Faults> {
        let mut faults = Faults::new();
        let mut prefix = |value: &Option<String>, field| match value.as_deref().map(literal_prefix) {
            None => Box::default(),
            Some(Ok(prefix)) => prefix,
            Some(Err(problem)) => {
                faults.push((field, problem));
                Box::default()
            }
        };
        let strip = prefix(&config.strip_prefix, RouteField::StripPrefix);
        let add = prefix(&config.add_prefix, RouteField::AddPrefix);
        let rewrite = match &config.template {
            None if strip.is_empty() && add.is_empty() => Self::Keep,
            None => Self::Prefix { strip, add },
            Some(template) => {
                if config.strip_prefix.is_some() || config.add_prefix.is_some() {
                    faults.push((RouteField::RewriteTemplate, RouteProblem::TemplateAndPrefix));
                }
                Self::compile_template(template, pattern).unwrap_or_else(|problem| {
                    faults.push((RouteField::RewriteTemplate, problem));
                    Self::Keep
                })
            }
        };
        if faults.is_empty() { Ok(rewrite) } else { Err(faults) }
    }

    fn compile_template(template: &str, pattern: Option<&PathPattern>) -> Result<Self, RouteProblem> {
        if !template.starts_with('/') {
            return Err(RouteProblem::NoLeadingSlash { value: template.to_owned() });
        }
        let parameters = pattern.map(PathPattern::parameters);
        let mut pieces = Vec::new();
        let mut outline = String::new();
        let mut rest = template;
        while !rest.is_empty() {
            let at = template.len() - rest.len();
            if let Some(inner) = rest.strip_prefix('{') {
                let Some((inner, after)) = inner.split_once('}') else {
                    return Err(fault(template, at..template.len(), TemplateFault::Unclosed));
                };
                let span = at..template.len() - after.len();
                let (name, _) = read_name(inner).map_err(|reason| fault(template, span.clone(), reason))?;
                match parameters.as_ref().map(|known| (known, known.iter().find(|(known, _)| known == name)))
                {
                    Some((_, Some((_, capture)))) => pieces.push(Piece::Captured(*capture)),
                    Some((known, None)) => {
                        return Err(RouteProblem::UnknownParameter {
                            template: template.to_owned(),
                            name: name.to_owned(),
                            span,
                            known: known.iter().map(|(name, _)| format!("`{{{name}}}`")).collect(),
                        });
                    }
                    None => {}
                }
                outline.push('x');
                rest = after;
            } else {
                let end = rest.find(['{', '}']).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                if after.starts_with('}') {
                    return Err(fault(template, at + end..at + end + 1, TemplateFault::Unopened));
                }
                let text = normalize_text(text)
                    .map_err(|reason| fault(template, at..at + end, TemplateFault::Text(reason)))?;
                outline.push_str(&text);
                pieces.push(Piece::Text(text.into()));
                rest = after;
            }
        }
        if has_dot_segment(&outline) {
            return Err(fault(template, 0..template.len(), TemplateFault::DotSegment));
        }
        let risky = is_risky(&pieces);
        Ok(Self::Template { pieces: pieces.into(), risky })
    }

    /// The path to forward. `path` is normalised and matches `pattern`.
    pub(crate) fn apply<'a>(&self, path: &'a str, pattern: &PathPattern) -> Cow<'a, str> {
        match self {
            Self::Keep => Cow::Borrowed(path),
            Self::Prefix { strip, add } => {
                let rest = strip_segments(path, strip).unwrap_or(path);
                match (&**add, rest) {
                    ("", "") => Cow::Borrowed("/"),
                    ("", rest) => Cow::Borrowed(rest),
                    (add, rest) => Cow::Owned([add, rest].concat()),
                }
            }
            Self::Template { pieces, .. } => Cow::Owned(expand(pieces, path, pattern)),
        }
    }

    /// Whether the path that [`Rewrite::apply`] makes of `path` is as safe as `path` is.
    pub(crate) fn is_safe(&self, path: &str, pattern: &PathPattern) -> bool {
        match self {
            Self::Template { risky: true, pieces } => !has_dot_segment(&expand(pieces, path, pattern)),
            _ => true,
        }
    }
}

/// Whether a parameter is less than a whole segment, or may be.
fn is_risky(pieces: &[Piece]) -> bool {
    let ends_segment = |piece: Option<&Piece>| match piece {
        Some(Piece::Text(text)) => text.starts_with('/'),
        Some(Piece::Captured(_)) => false,
        None => true,
    };
    let mut begins_segment = false;
    pieces.iter().enumerate().any(|(place, piece)| match piece {
        Piece::Text(text) => {
            begins_segment = text.ends_with('/');
            false
        }
        Piece::Captured(Capture::Group(_)) => true,
        Piece::Captured(_) => {
            let whole = begins_segment && ends_segment(pieces.get(place + 1));
            begins_segment = false;
            !whole
        }
    })
}

fn expand(pieces: &[Piece], path: &str, pattern: &PathPattern) -> String {
    let groups = match pattern {
        PathPattern::Regex(regex) => regex.captures(path),
        _ => None,
    };
    let relative = path.strip_prefix('/').unwrap_or(path);
    let mut rewritten = String::with_capacity(path.len() + 16);
    for piece in pieces {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Captured(Capture::Segment(place)) => relative.split('/').nth(*place).unwrap_or_default(),
            Piece::Captured(Capture::Tail(place)) => {
                relative.splitn(place + 1, '/').nth(*place).unwrap_or_default()
            }
            Piece::Captured(Capture::Group(number)) => {
                groups.as_ref().and_then(|groups| groups.get(*number)).map_or("", |group| group.as_str())
            }
        };
        // Where two slashes would meet, one is meant.
        let joined = if rewritten.ends_with('/') { text.strip_prefix('/').unwrap_or(text) } else { text };
        rewritten.push_str(joined);
    }
    rewritten
}

#[cfg(test)]
#[path = "rewrite/tests.rs"]
mod tests;
