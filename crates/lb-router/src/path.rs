//! What a rule asks of the path, compiled.

use crate::config::PathConfig;
use crate::error::RouteProblem;
use crate::regex::PathRegex;
use crate::target::normalize_path;
use crate::template::{Capture, PathTemplate};

/// A compiled condition on a normalised path.
#[derive(Debug, Clone)]
pub(crate) enum PathPattern {
    Any,
    Exact(Box<str>),
    /// Without its last slash; empty for `/`, which takes everything.
    Prefix(Box<str>),
    Regex(Box<PathRegex>),
    Template(PathTemplate),
}

impl PathPattern {
    pub(crate) fn compile(config: &PathConfig) -> Result<Self, RouteProblem> {
        Ok(match config {
            PathConfig::Any => Self::Any,
            PathConfig::Exact(path) => Self::Exact(literal(path)?.into()),
            PathConfig::Prefix(prefix) => Self::Prefix(literal_prefix(prefix)?),
            PathConfig::Regex(pattern) => Self::Regex(Box::new(PathRegex::compile(pattern)?)),
            PathConfig::Template(template) => Self::Template(PathTemplate::parse(template)?),
        })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => strip_segments(path, prefix).is_some(),
            Self::Regex(regex) => regex.matches(path),
            Self::Template(template) => template.matches(path),
        }
    }

    /// What a rewrite may name, each with the place of its value.
    pub(crate) fn parameters(&self) -> Vec<(String, Capture)> {
        match self {
            Self::Any | Self::Exact(_) | Self::Prefix(_) => Vec::new(),
            Self::Template(template) => template.parameters().to_vec(),
            Self::Regex(regex) => regex
                .groups()
                .into_iter()
                .flat_map(|(number, name)| {
                    let names = [name, Some(number.to_string())];
                    names.into_iter().flatten().map(move |name| (name, Capture::Group(number)))
                })
                .collect(),
        }
    }
}

/// What follows `prefix` in `path`: nothing, or something that begins with a slash.
pub(crate) fn strip_segments<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path of the configuration, in the form that paths are matched in.
fn literal(path: &str) -> Result<String, RouteProblem> {
    if !path.starts_with('/') {
        return Err(RouteProblem::NoLeadingSlash { value: path.to_owned() });
    }
    // Whether slashes are merged is the listener's affair: here they stay as they are written.
    normalize_path(path, false)
        .map(Into::into)
        .map_err(|reason| RouteProblem::Path { value: path.to_owned(), reason })
}

/// The same without a slash at its end, so that it can be compared on a segment boundary.
pub(crate) fn literal_prefix(prefix: &str) -> Result<Box<str>, RouteProblem> {
    let mut path = literal(prefix)?;
    if path.ends_with('/') {
        path.pop();
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &PathConfig, path: &str, expect: bool) {
        let matched = PathPattern::compile(config).unwrap().matches(path);
        assert_eq!(matched, expect, "{config:?} against {path}");
    }

    #[test]
    fn prefixes_match_on_segment_boundaries() {
        let prefix = |text: &str| PathConfig::Prefix(text.to_owned());
        check(&prefix("/api"), "/api", true);
        check(&prefix("/api"), "/api/", true);
        check(&prefix("/api"), "/api/x", true);
        check(&prefix("/api"), "/apifoo", false);
        check(&prefix("/api"), "/API", false);
        check(&prefix("/api"), "/api%2Fx", false);
        check(&prefix("/api/v1/"), "/api/v1/users", true);
        check(&prefix("/api/v1/"), "/api/v1", true);
        check(&prefix("/api/v1/"), "/api/v10", false);
        check(&prefix("/"), "/", true);
        check(&prefix("/"), "/x", true);
        check(&prefix("/caf%c3%a9"), "/caf%C3%A9/x", true);
    }

    #[test]
    fn exact_paths_match_alone() {
        let exact = |text: &str| PathConfig::Exact(text.to_owned());
        check(&exact("/api"), "/api", true);
        check(&exact("/api"), "/api/", false);
        check(&exact("/%7euser"), "/~user", true);
    }

    #[test]
    fn regexes_match_only_what_they_say() {
        let regex = |text: &str| PathConfig::Regex(text.to_owned());
        check(&regex("^/api/v[0-9]+/"), "/api/v12/users", true);
        check(&regex("^/api/v[0-9]+/"), "/api/vx/users", false);
        check(&regex("^/api/v[0-9]+/"), "/x/api/v1/", false);
        check(&regex(r"\.php$"), "/a/b.php", true);
    }

    #[test]
    fn bad_regexes_are_refused_with_their_place() {
        for (pattern, span, message) in [
            ("^/api/(v[0-9]+/", 6..7, "unclosed group"),
            ("/a/[z-a]", 4..7, "invalid character class range"),
            ("/a{2,1}", 2..7, "invalid repetition count range"),
            (r"/\p{Nope}", 1..9, "Unicode property"),
        ] {
            match PathPattern::compile(&PathConfig::Regex(pattern.to_owned())) {
                Err(RouteProblem::Regex { span: got, message: text, .. }) => {
                    assert_eq!(got, span, "{pattern}: {text}");
                    assert!(text.contains(message), "{pattern}: {text}");
                }
                other => panic!("{pattern}: {other:?}"),
            }
        }
    }

    #[test]
    fn regexes_that_grow_too_large_are_refused() {
        let pattern = r"^/(\w{100}){100}$".to_owned();
        assert_eq!(
            PathPattern::compile(&PathConfig::Regex(pattern.clone())).unwrap_err(),
            RouteProblem::RegexTooLarge { pattern }
        );
    }

    #[test]
    fn literals_no_request_can_have_are_refused() {
        for (value, remedy) in [
            ("api", "write `/api`"),
            ("", "write `/`"),
            ("/a b", "write `/a%20b`"),
            ("/café", "write `/caf%C3%A9`"),
            ("/100%", "write `%25`"),
            ("/a?b=c", "match the query"),
            ("/a/..;/b", "leave it out"),
        ] {
            for config in [PathConfig::Prefix(value.to_owned()), PathConfig::Exact(value.to_owned())] {
                let problem = PathPattern::compile(&config).unwrap_err();
                assert!(problem.remedy().contains(remedy), "{value}: {}", problem.remedy());
            }
        }
    }
}
