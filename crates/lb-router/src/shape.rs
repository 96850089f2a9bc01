//! What a path pattern says segment by segment: where the index files a rule, and whether it covers another.

use crate::path::PathPattern;
use crate::template::Segment;

/// Segments that a path must begin with, and whether others may follow.
///
/// Of every pattern but a regex it says all there is to say. Of a regex it says what every path that the regex
/// matches has in common, which may be nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) segments: Vec<Segment>,
    /// Whether a path may go on after the segments.
    pub(crate) open: bool,
}

impl Shape {
    pub(crate) fn of(pattern: &PathPattern) -> Self {
        match pattern {
            PathPattern::Any => Self { segments: Vec::new(), open: true },
            PathPattern::Exact(path) => Self { segments: literals(path), open: false },
            PathPattern::Prefix(prefix) => Self { segments: literals(prefix), open: true },
            PathPattern::Regex(regex) => Self { segments: literals(regex.prefix()), open: true },
            PathPattern::Template(template) => {
                Self { segments: template.segments.to_vec(), open: template.tail }
            }
        }
    }

    /// Whether every path of the shape `other` is of this shape too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let long_enough = if self.open {
            self.segments.len() <= other.segments.len()
        } else {
            !other.open && self.segments.len() == other.segments.len()
        };
        long_enough && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| mine.covers(theirs))
    }
}

impl Segment {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Parameter, Self::Literal(text)) => !text.is_empty(),
            (mine, theirs) => mine == theirs,
        }
    }
}

/// The segments of a path; none where it is empty, as the prefix `/` is kept.
fn literals(path: &str) -> Vec<Segment> {
    let Some(relative) = path.strip_prefix('/') else { return Vec::new() };
    relative.split('/').map(|segment| Segment::Literal(segment.into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PathConfig;

    fn shape(text: &str) -> Shape {
        let config = match text.split_at(1) {
            ("=", path) => PathConfig::Exact(path.to_owned()),
            ("~", regex) => PathConfig::Regex(regex.to_owned()),
            (_, _) if text.contains('{') => PathConfig::Template(text.to_owned()),
            _ => PathConfig::Prefix(text.to_owned()),
        };
        Shape::of(&PathPattern::compile(&config).unwrap())
    }

    #[test]
    fn a_shape_covers_those_it_contains() {
        for (mine, theirs, expect) in [
            ("/", "/a", true),
            ("/", "=/", true),
            ("/", "~x", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a", "=/a", true),
            ("/a", "/a/{b}", true),
            ("/a", "/{b}/c", false),
            ("/a", "~^/a/v[0-9]+", true),
            ("/a", "~^/a", false),
            ("/a", "~/a/b", false),
            ("/{b}/{*rest}", "/a", true),
            ("/{b}/{*rest}", "/", false),
            ("/{b}/{*rest}", "=/a/b", true),
            ("/{b}", "/a", false),
            ("/{b}", "=/a", true),
            ("/{b}", "=/", false),
            ("/{b}", "/{c}", true),
            ("/{b}", "/{c}/{d}", false),
            ("=/a", "=/a", true),
            ("=/a", "=/a/", false),
        ] {
            assert_eq!(shape(mine).covers(&shape(theirs)), expect, "{mine} covers {theirs}");
        }
    }

    #[test]
    fn what_all_matches_of_a_regex_begin_with_is_found() {
        for (regex, prefix) in [
            ("~^/api/v[0-9]+/", "/api"),
            ("~^/api/v1/(users|items)", "/api/v1"),
            ("~^/(a/x|a/y)$", "/a"),
            ("~^/api/v1$", "/api"),
            ("~^/a/|^/b/", "/"),
            ("~^/a/b/|^/a/c/", "/a"),
            ("~(?i)^/api/", "/"),
            ("~(?m)^/api/", "/"),
            ("~^/api?/x", "/"),
            ("~(^/a/)?", "/"),
            ("~/api/", "/"),
            ("~^é/", "/"),
            ("~", "/"),
        ] {
            assert_eq!(shape(regex), shape(prefix), "{regex}");
        }
    }
}
