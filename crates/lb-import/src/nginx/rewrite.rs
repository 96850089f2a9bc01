//! `rewrite`: redirects, and paths in the place of others; and whether a regex keeps to the location that it stands in.

use super::location::{Draft, Order, Path};
use super::syntax::Directive;
use super::{Translation, at};
use crate::document::{Table, slug, table};

const OUTSIDE: &str = "its pattern could match paths outside of the location, and a rule has one path";

impl Translation {
    /// A server's `rewrite`: a redirect.
    pub(super) fn rewrite(&mut self, directive: &Directive, place: usize, drafts: &mut Vec<Draft>) {
        if redirects(directive.arguments()).is_none() {
            let note = "a path that is matched again after it was rewritten has no counterpart";
            return self.report.leave_out(&directive.place, note);
        }
        let label = slug(directive.argument());
        let rule = self.redirecting(directive, &Path::All);
        drafts.extend(rule.map(|rule| Draft::new(Order::First(place), label, rule)));
    }

    /// A `rewrite` that is a redirect, of what is below a path.
    pub(super) fn redirecting(&mut self, directive: &Directive, path: &Path) -> Option<Table> {
        let status = redirects(directive.arguments())?;
        let [pattern, target, ..] = directive.arguments() else { return None };
        if !path.holds(pattern) {
            self.report.leave_out(&directive.place, OUTSIDE);
            return None;
        }
        let (origin, path) = match target.split_once("://") {
            Some((scheme, rest)) => {
                let slash = rest.find('/').unwrap_or(rest.len());
                let (host, path) = rest.split_at(slash);
                (Some(format!("{scheme}://{host}")), path.to_owned())
            }
            None => (None, target.clone()),
        };
        let rewrite = captures(&path);
        let is_known = origin.as_ref().is_none_or(|origin| !origin.contains('$'));
        let (Some(rewrite), true, Ok(_)) = (rewrite, is_known, regex::Regex::new(pattern)) else {
            self.report.leave_out(&directive.place, "no rule can say it");
            return None;
        };
        let mut rule = Table::rule(at(directive));
        rule.set("path_regex", pattern.as_str());
        if !rewrite.is_empty() {
            rule.set("rewrite", rewrite);
        }
        let to = origin.map(|origin| ("to", origin.into()));
        rule.set("redirect", table(to.into_iter().chain([("status", toml::Value::Integer(status))])));
        self.report.converted(&directive.place, "redirect");
        Some(rule)
    }

    /// A location's `rewrite`, as a rule of its own ahead of the location's.
    pub(super) fn rewritten(&mut self, directive: &Directive, path: &Path, rule: &Table) -> Option<Table> {
        if directive.arguments().first().is_some_and(|pattern| !path.holds(pattern)) {
            self.report.leave_out(&directive.place, OUTSIDE);
            return None;
        }
        let rewrite = match directive.arguments() {
            [pattern, target, ..] if regex::Regex::new(pattern).is_ok() => captures(target),
            _ => None,
        };
        let rewrite = rewrite.filter(|rewrite| rewrite.starts_with('/'));
        let (Some(rewrite), Some(pattern)) = (rewrite, directive.arguments().first()) else {
            self.report.leave_out(&directive.place, "no rule can say it");
            return None;
        };
        let mut own = rule.without_path();
        own.set("path_regex", pattern.as_str());
        own.set("rewrite", rewrite);
        let is_break = directive.arguments().get(2).is_some_and(|flag| flag == "break");
        match is_break {
            true => self.report.converted(&directive.place, "a rule with path_regex and rewrite"),
            false => {
                let note = "a rule with path_regex and rewrite: what comes of it is not matched again";
                self.report.approximated(&directive.place, note);
            }
        }
        Some(own)
    }
}

impl Path {
    /// Whether a regex matches nothing but paths that this takes, so that a rule with it alone takes no others'.
    fn holds(&self, regex: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(path) | Self::Prefix(path) => begins_with(regex, path),
            Self::Regex(own) => own == regex,
        }
    }
}

impl Table {
    /// The same rule for another path.
    fn without_path(&self) -> Self {
        let mut other = self.clone();
        other.remove(&["path", "path_prefix", "path_regex"]);
        other
    }
}

/// A replacement with `$1` as a rewrite with `{1}`; none where it has other variables or a query.
fn captures(target: &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = target.trim_end_matches('?').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '$' => {
                let digit = letters.next().filter(char::is_ascii_digit)?;
                out.push_str(&format!("{{{digit}}}"));
            }
            '?' | '{' | '}' => return None,
            _ => out.push(letter),
        }
    }
    Some(out)
}

/// The status of a `rewrite` that is a redirect.
pub(super) fn redirects(arguments: &[String]) -> Option<i64> {
    let is_url = |target: &String| ["http://", "https://", "$scheme"].iter().any(|it| target.starts_with(it));
    match arguments {
        [_, _, flag] if flag == "permanent" => Some(301),
        [_, _, flag] if flag == "redirect" => Some(302),
        [_, target, ..] if is_url(target) => Some(302),
        _ => None,
    }
}

/// The regex of a location, for what is below the one around it; nothing where no regex says that.
pub(super) fn regex_within(regex: &str, ignores_case: bool, around: Option<&str>) -> Option<String> {
    let fold = |regex: &str| if ignores_case { format!("(?i){regex}") } else { regex.to_owned() };
    match around.filter(|around| *around != "/") {
        None => Some(fold(regex)),
        Some(around) if begins_with(regex, around) => Some(fold(regex)),
        Some(_) if regex.contains('^') => None,
        Some(around) => {
            let flag = if ignores_case { "i" } else { "" };
            Some(format!("^{}.*(?{flag}:{regex})", regex::escape(around)))
        }
    }
}

/// Whether all that a regex matches begins with this.
fn begins_with(regex: &str, text: &str) -> bool {
    let Some(rest) = regex.strip_prefix('^') else { return false };
    // An alternative may begin otherwise.
    let (mut depth, mut is_escaped) = (0_usize, false);
    for letter in rest.chars() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return false,
            _ => {}
        }
    }
    let mut letters = rest.chars().peekable();
    for wanted in text.chars() {
        let letter = match letters.next() {
            Some('\\') => letters.next().filter(|letter| !letter.is_ascii_alphanumeric()),
            Some(letter) if "()[]{}.*+?|^$".contains(letter) => None,
            other => other,
        };
        let is_repeated = letters.peek().is_some_and(|next| "*?{".contains(*next));
        if letter != Some(wanted) || is_repeated {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regex_begins_with_a_text_only_where_all_that_it_matches_does() {
        for (regex, text, expect) in [
            ("^/api/(.*)$", "/api/", true),
            ("^/a\\.b/", "/a.b", true),
            ("^/api", "/api/", false),
            ("/api/(.*)", "/api/", false),
            ("^/ap(i)/", "/api/", false),
            ("^/api/?", "/api/", false),
            ("^/api/|^/b/", "/api/", false),
            ("^/api/(a|b)", "/api/", true),
            ("^/.pi/", "/api/", false),
            ("^/\\dpi/", "/dpi/", false),
        ] {
            assert_eq!(begins_with(regex, text), expect, "{regex} {text}");
        }
        let within = |regex: &str, around: Option<&str>| regex_within(regex, false, around);
        assert_eq!(within("\\.x$", Some("/a.b/")).unwrap(), "^/a\\.b/.*(?:\\.x$)");
        assert_eq!(within("\\.x$", Some("/")).unwrap(), "\\.x$");
        assert_eq!(within("^/b", Some("/a/")), None);
        assert_eq!(regex_within("x", true, None).unwrap(), "(?i)x");
    }
}
