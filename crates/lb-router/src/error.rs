//! Everything that can be wrong with a rule, said so that it can be mended without reading the source.

use std::fmt;
use std::ops::Range;

use crate::authority::HostError;
use crate::target::PathError;

/// One problem of one rule.
///
/// Its text says which rule, which field, what is wrong and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {} (`{name}`): {field}: {problem}; {}", rule + 1, problem.remedy())]
pub struct RouteError {
    /// Place of the rule in the list, from 0.
    pub rule: usize,
    /// The rule's name.
    pub name: String,
    /// Which field.
    pub field: RouteField,
    /// What is wrong with it.
    #[source]
    pub problem: RouteProblem,
}

/// A field of [`RouteConfig`](crate::RouteConfig); numbers are places in its list, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the field of its name")]
pub enum RouteField {
    Host(usize),
    Path,
    Methods,
    Header(usize),
    Query(usize),
    StripPrefix,
    AddPrefix,
    RewriteTemplate,
}

impl fmt::Display for RouteField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(place) => write!(f, "host {}", place + 1),
            Self::Path => f.write_str("path"),
            Self::Methods => f.write_str("methods"),
            Self::Header(place) => write!(f, "header {}", place + 1),
            Self::Query(place) => write!(f, "query parameter {}", place + 1),
            Self::StripPrefix => f.write_str("strip_prefix"),
            Self::AddPrefix => f.write_str("add_prefix"),
            Self::RewriteTemplate => f.write_str("rewrite template"),
        }
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the messages say what each is; `value` and the like are the text as written"
)]
pub enum RouteProblem {
    #[error("`{value}` does not begin with a slash")]
    NoLeadingSlash { value: String },
    #[error("no request can have the path `{value}`: {reason}")]
    Path { value: String, reason: PathError },
    #[error("`{pattern}` is no regular expression: {message} at byte {}", span.start)]
    Regex { pattern: String, message: String, span: Range<usize> },
    #[error("the regular expression `{pattern}` is too large when compiled")]
    RegexTooLarge { pattern: String },
    #[error("`{template}` is no template: {reason} at byte {}", span.start)]
    Template { template: String, reason: TemplateFault, span: Range<usize> },
    #[error("`{template}` names `{name}`, which the path does not capture")]
    UnknownParameter { template: String, name: String, span: Range<usize>, known: Vec<String> },
    #[error("a template and strip_prefix or add_prefix are both given")]
    TemplateAndPrefix,
    #[error("`{pattern}` is no host: {reason}")]
    Host { pattern: String, reason: HostError },
    #[error("`{pattern}` has a port")]
    HostPort { pattern: String },
    #[error("`{pattern}` has a star that is not its first label")]
    HostWildcard { pattern: String },
    #[error("no header can have the value `{value}`")]
    HeaderValue { value: String },
    #[error("a query parameter has no name")]
    QueryName,
    #[error("`{method}` is one method too many: all rules together name more than 63")]
    TooManyMethods { method: String },
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what each is")]
pub enum TemplateFault {
    #[error("a brace that is not closed")]
    Unclosed,
    #[error("a closing brace without an opening one")]
    Unopened,
    #[error("a parameter without a name or with other characters than letters, digits and `_`")]
    BadName,
    #[error("a parameter that is not a whole segment")]
    PartOfSegment,
    #[error("`{{*…}}` before the end")]
    TailNotLast,
    #[error("the parameter `{0}` for the second time")]
    Repeated(String),
    #[error("a dot segment")]
    DotSegment,
    #[error("text that no path can hold ({0})")]
    Text(PathError),
}

impl RouteProblem {
    /// How to mend it, as an instruction.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoLeadingSlash { value } => format!("write `/{value}`"),
            Self::Path { value, reason } => path_remedy(value, *reason),
            Self::Regex { .. } => "see docs.rs/regex for the syntax".to_owned(),
            Self::RegexTooLarge { .. } => "use smaller repetition counts, or several rules".to_owned(),
            Self::Template { reason, .. } => reason.remedy().to_owned(),
            Self::UnknownParameter { known, .. } if known.is_empty() => {
                "use a path template such as `/users/{id}` or a regex with groups, or write the path in full"
                    .to_owned()
            }
            Self::UnknownParameter { known, .. } => format!("it captures {}", known.join(", ")),
            Self::TemplateAndPrefix => {
                "the template replaces the whole path: put the prefix into it, or leave it out".to_owned()
            }
            Self::Host { pattern, reason } => host_remedy(pattern, *reason),
            Self::HostPort { pattern } => match pattern.rsplit_once(':') {
                Some((host, _)) => format!("ports are not matched: write `{host}`"),
                None => "ports are not matched: leave it out".to_owned(),
            },
            Self::HostWildcard { .. } => "write `*.example.com`, or list the hosts".to_owned(),
            Self::HeaderValue { .. } => "leave out control characters, and spaces at either end".to_owned(),
            Self::QueryName => "name it, or remove it".to_owned(),
            Self::TooManyMethods { .. } => "leave `methods` empty to take every method".to_owned(),
        }
    }

    /// Which bytes of the value as written are meant, where not all of it is.
    pub fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Regex { span, .. } | Self::Template { span, .. } | Self::UnknownParameter { span, .. } => {
                Some(span.clone())
            }
            Self::Path { reason, .. } => reason.at().map(|at| at..at + 1),
            Self::Host { reason, .. } => reason.at().map(|at| at..at + 1),
            _ => None,
        }
    }
}

impl TemplateFault {
    fn remedy(&self) -> &'static str {
        match self {
            Self::Unclosed => "close it, or write `%7B` for a brace",
            Self::Unopened => "open it, or write `%7D` for a brace",
            Self::BadName => "name it like `{user_id}`",
            Self::PartOfSegment => "write `/{name}/`, or use path_regex",
            Self::TailNotLast => "put it last",
            Self::Repeated(_) => "give each its own name",
            Self::DotSegment => "write the path without `.` and `..`",
            Self::Text(PathError::Forbidden { byte: b'?' | b'#', .. }) => {
                "leave the query out: it is never changed"
            }
            Self::Text(_) => "percent-encode it",
        }
    }
}

fn path_remedy(value: &str, reason: PathError) -> String {
    match reason {
        PathError::Forbidden { byte: b'?', .. } => "match the query by `query`".to_owned(),
        PathError::Forbidden { byte: b'#', .. } => {
            "a fragment never reaches a server: leave it out".to_owned()
        }
        PathError::Forbidden { .. } => {
            let path: String = value
                .bytes()
                .map(|byte| match byte {
                    b'%' | b'/' | b'\\' => char::from(byte).to_string(),
                    _ if crate::percent::is_segment_byte(byte) => char::from(byte).to_string(),
                    _ => crate::percent::encoded(byte).iter().collect(),
                })
                .collect();
            format!("write `{path}`")
        }
        PathError::BadPercent { .. } => "write `%25` for a percent sign".to_owned(),
        PathError::NotAbsolute => format!("write `/{value}`"),
        PathError::Nul { .. } | PathError::Backslash { .. } | PathError::HiddenDotSegment { .. } => {
            "requests with such a path are refused: leave it out".to_owned()
        }
    }
}

fn host_remedy(pattern: &str, reason: HostError) -> String {
    if let Some((_, rest)) = pattern.split_once("://") {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        return format!("write the host alone: `{host}`");
    }
    match reason {
        HostError::BadPort if pattern.matches(':').count() > 1 => format!("write `[{pattern}]`"),
        HostError::Forbidden { byte: 0x80.., .. } => "write the name's ASCII form, `xn--…`".to_owned(),
        HostError::Empty => "leave `host` out to match every host".to_owned(),
        _ => "write a name such as `api.example.com` or `*.example.com`".to_owned(),
    }
}

impl PathError {
    /// The byte that is meant, where it is one.
    pub(crate) fn at(self) -> Option<usize> {
        match self {
            Self::NotAbsolute => None,
            Self::Nul { at }
            | Self::BadPercent { at }
            | Self::Backslash { at }
            | Self::Forbidden { at, .. }
            | Self::HiddenDotSegment { at } => Some(at),
        }
    }
}

impl HostError {
    fn at(self) -> Option<usize> {
        match self {
            Self::Forbidden { at, .. } | Self::EmptyLabel { at } => Some(at),
            Self::Empty | Self::TooLong | Self::BadIpv6 | Self::BadPort => None,
        }
    }
}
