//! Keeps secrets out of the lines that diagnostics show.
//!
//! Two ways lead here: the tree knows which values are secret, and a line of a file that could not be parsed is
//! searched for keys that usually hold one. The columns of what stays are kept: each hidden character becomes `*`.

use std::ops::Range;

/// Keys whose values are never shown.
pub(crate) const SECRET_KEYS: &[&str] = &[
    "token",
    "tokens",
    "auth_token",
    "admin_token",
    "password",
    "passwords",
    "secret",
    "secrets",
    "api_key",
    "api_keys",
    "jwt_secret",
    "private_key",
];

/// Whether the value of this key is never shown.
pub(crate) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.iter().any(|secret| key.eq_ignore_ascii_case(secret))
}

/// Masks one line; control characters are shown as `�`. Answers the line and where the caret now is.
pub(crate) fn line(
    text: &str,
    hidden: impl Iterator<Item = Range<usize>>,
    caret: Range<usize>,
) -> (String, Range<usize>) {
    let mut ranges: Vec<Range<usize>> = hidden.collect();
    ranges.extend(values_of_secret_keys(text));
    ranges.extend(user_info(text));
    let mut masked = String::with_capacity(text.len());
    let mut moved = caret.clone();
    for (at, character) in text.char_indices() {
        if at == caret.start {
            moved.start = masked.len();
        }
        if at == caret.end {
            moved.end = masked.len();
        }
        if ranges.iter().any(|range| range.contains(&at)) {
            masked.push('*');
        } else if character == '\t' {
            masked.push(' ');
        } else if character.is_control() || is_invisible(character) {
            masked.push('\u{fffd}');
        } else {
            masked.push(character);
        }
    }
    if caret.start >= text.len() {
        moved.start = masked.len();
    }
    if caret.end >= text.len() {
        moved.end = masked.len();
    }
    (masked, moved)
}

/// Characters that would reorder or hide what a terminal shows.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `token = "…"`, `"token": …`: the ranges of what stands after the sign.
fn values_of_secret_keys(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut word_start = None;
    for (at, character) in text.char_indices().chain([(text.len(), '\n')]) {
        if character.is_ascii_alphanumeric() || character == '_' {
            word_start.get_or_insert(at);
            continue;
        }
        let Some(start) = word_start.take() else { continue };
        // An environment variable names its whole path: GATEWAYD_ADMIN__TOKEN.
        let key = text.get(start..at).unwrap_or_default().rsplit("__").next().unwrap_or_default();
        if is_secret(key) {
            found.extend(value_after(text, at));
        }
    }
    found
}

/// The value after a key that ends at `at`, if an assignment follows.
fn value_after(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let sign = rest.find(|c: char| !matches!(c, '"' | '\'' | ' ' | '\t'))?;
    if !rest.get(sign..)?.starts_with(['=', ':']) {
        return None;
    }
    let after = rest.get(sign + 1..)?;
    let start = at + sign + 1 + (after.len() - after.trim_start().len());
    let value = text.get(start..)?;
    if !holds_secret(value.trim_start_matches(['"', '\''])) {
        return None;
    }
    let length = match value.chars().next()? {
        quote @ ('"' | '\'') => value.get(1..)?.find(quote).map_or(value.len(), |end| end + 2),
        '[' => value.find(']').map_or(value.len(), |end| end + 1),
        '{' => value.find('}').map_or(value.len(), |end| end + 1),
        _ => value.find([',', '}', ']']).unwrap_or(value.len()),
    };
    Some(start..start + length)
}

/// Whether a text is a secret itself, rather than the name of where one is kept.
pub(crate) fn holds_secret(text: &str) -> bool {
    let placeholder = text.starts_with("${") && !text.contains(":-");
    !placeholder && !text.starts_with("file:")
}

/// `//user:password@`: everything between the slashes and the sign.
fn user_info(text: &str) -> Vec<Range<usize>> {
    text.match_indices("//")
        .filter_map(|(at, _)| {
            let start = at + 2;
            let authority = text.get(start..)?.split(['/', '"', '\'', ' ', ',', '?', '#']).next()?;
            Some(start..start + authority.rfind('@')?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        line(text, std::iter::empty(), 0..0).0
    }

    #[test]
    fn values_of_secret_keys_are_never_shown() {
        assert_eq!(masked(r#"token = "abc" # x"#), "token = ***** # x");
        assert_eq!(
            masked(r#"admin = { token = "abc", address = 1 }"#),
            "admin = { token = *****, address = 1 }"
        );
        assert_eq!(masked(r#"{"token": "abc"}"#), r#"{"token": *****}"#);
        assert_eq!(masked("  token: abc"), "  token: ***");
        assert_eq!(masked("GATEWAYD_ADMIN__TOKEN=abc"), "GATEWAYD_ADMIN__TOKEN=***");
        assert_eq!(masked(r#"token = "abc"#), "token = ****");
        assert_eq!(masked(r#"token = "${TOKEN:-abc}""#), "token = ***************");
        assert_eq!(masked("api_keys = [\"a\", \"b\"]"), "api_keys = **********");
    }

    #[test]
    fn other_keys_and_the_names_of_where_secrets_are_kept_are_shown() {
        for text in [r#"token = "file:/run/secrets/x""#, "token: ${TOKEN}"] {
            assert_eq!(masked(text), text);
        }
        let text = "tokens_per_second = 3, csrf_token_name = \"x\"";
        assert_eq!(masked(text), text);
    }

    #[test]
    fn passwords_in_urls_are_never_shown() {
        assert_eq!(masked("\"http://u:p@h/\""), "\"http://***@h/\"");
        assert_eq!(masked("http://h/a@b"), "http://h/a@b");
    }

    #[test]
    fn control_characters_cannot_reach_a_terminal_and_the_caret_stays_on_its_word() {
        let (text, caret) = line("\u{1b}[31mé = bad", std::iter::empty(), 10..13);
        assert_eq!(&text[caret], "bad");
        assert!(!text.contains('\u{1b}'));
    }
}
