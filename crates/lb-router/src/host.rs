//! Host patterns: one name, or everything below a name.

use std::fmt;

use crate::authority::{HostError, parse_host, parse_name, without_trailing_dot};
use crate::error::RouteProblem;

/// What a rule asks of the host. Names are in lower case and without a trailing dot.
///
/// ```
/// use lb_router::HostPattern;
///
/// let below = HostPattern::parse("*.example.com")?;
/// assert!(below.matches(Some("db.EXAMPLE.com")));
/// assert!(!below.matches(Some("example.com")));
/// # Ok::<(), lb_router::RouteProblem>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`: every host, also where a request names none.
    Any,
    /// This host.
    Exact(Box<str>),
    /// Every host that ends with this, which begins with a dot: any depth below the name, not the name itself.
    Below(Box<str>),
}

impl HostPattern {
    /// Reads `example.com`, `*.example.com` or `*`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(pattern: &str) -> Result<Self, RouteProblem> {
        if pattern == "*" {
            return Ok(Self::Any);
        }
        let (name, wildcard) = match pattern.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (pattern, false),
        };
        if name.contains('*') {
            return Err(RouteProblem::HostWildcard { pattern: pattern.to_owned() });
        }
        let refused = |reason| RouteProblem::Host { pattern: pattern.to_owned(), reason };
        let authority = parse_host(name.as_bytes()).map_err(|reason| {
            // Offsets are of the whole pattern, star included.
            let before = pattern.len() - name.len();
            refused(match reason {
                HostError::Forbidden { at, byte } => HostError::Forbidden { at: at + before, byte },
                HostError::EmptyLabel { at } => HostError::EmptyLabel { at: at + before },
                other => other,
            })
        })?;
        // An IPv6 address in brackets may hold colons, a name may not.
        if authority.port.is_some() || (!name.starts_with('[') && name.contains(':')) {
            return Err(RouteProblem::HostPort { pattern: pattern.to_owned() });
        }
        let host = authority.host.to_ascii_lowercase();
        if !wildcard {
            return Ok(Self::Exact(host.into()));
        }
        parse_name(&host).map_err(refused)?;
        Ok(Self::Below(format!(".{host}").into()))
    }

    /// Whether it takes a host, which is as the client has it: in any letter case, without port.
    pub fn matches(&self, host: Option<&str>) -> bool {
        match (self, host.and_then(name)) {
            (Self::Any, _) => true,
            (_, None) => false,
            (Self::Exact(name), Some(host)) => name.eq_ignore_ascii_case(host),
            (Self::Below(suffix), Some(host)) => host
                .len()
                .checked_sub(suffix.len())
                .and_then(|start| host.as_bytes().get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }
}

/// As it is written.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// The host as it is matched, but for its letter case; none where it is empty or begins with a dot, which
/// [`parse_host`] refuses: every rule for what is below a name may count on a label in front.
pub(crate) fn name(host: &str) -> Option<&str> {
    Some(without_trailing_dot(host)).filter(|host| !host.is_empty() && !host.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, host: &str, expect: bool) {
        let matched = HostPattern::parse(pattern).unwrap().matches(Some(host));
        assert_eq!(matched, expect, "{pattern} against {host}");
    }

    #[test]
    fn hosts_match_without_case_and_trailing_dot() {
        check("api.example.com", "api.example.com", true);
        check("API.Example.com.", "api.EXAMPLE.com", true);
        check("api.example.com", "api.example.com.", true);
        check("api.example.com", "xapi.example.com", false);
        check("[2001:DB8::1]", "[2001:db8::1]", true);
        check("*", "anything", true);
    }

    #[test]
    fn wildcards_match_any_depth_below_but_not_the_name() {
        check("*.example.com", "a.example.com", true);
        check("*.example.com", "A.B.Example.COM.", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", ".example.com", false);
        check("*.example.com", "badexample.com", false);
        check("*.example.com", "a.example.com.evil", false);
    }

    #[test]
    fn patterns_are_shown_as_they_are_written() {
        for pattern in ["*", "a.example", "*.a.example", "[::1]"] {
            assert_eq!(HostPattern::parse(pattern).unwrap().to_string(), pattern);
        }
    }

    #[test]
    fn a_request_without_host_meets_no_named_host() {
        assert!(HostPattern::parse("*").unwrap().matches(None));
        assert!(!HostPattern::parse("a").unwrap().matches(None));
    }

    #[test]
    fn bad_patterns_say_how_to_mend_them() {
        for (pattern, remedy) in [
            ("", "leave `host` out"),
            ("a:80", "write `a`"),
            ("a:", "write `a`"),
            ("[::1]:80", "write `[::1]`"),
            ("::1", "write `[::1]`"),
            ("a.*.com", "write `*.example.com`"),
            ("*a.com", "write `*.example.com`"),
            ("*.*", "write `*.example.com`"),
            ("*.", "leave `host` out"),
            ("*.[::1]", "write a name"),
            ("http://a.b/c", "write the host alone: `a.b`"),
            ("bücher.de", "ASCII form"),
            ("a..b", "write a name"),
            ("a b", "write a name"),
        ] {
            let problem = HostPattern::parse(pattern).unwrap_err();
            assert!(problem.remedy().contains(remedy), "{pattern}: {problem}; {}", problem.remedy());
        }
    }
}
