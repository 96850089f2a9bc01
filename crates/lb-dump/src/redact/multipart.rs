//! Fields of `multipart/form-data` (RFC 7578), which browsers send forms with files as: the content of those that are named is
//! hidden, of JSON in a part the values that are named by path, and everything else stands as it came.

use super::{Content, HIDDEN, Redaction, Shown, contains};

/// Whether a Content-Type says that a body is such a form.
pub(super) fn is_form(kind: &[u8]) -> bool {
    contains(kind, b"multipart/")
}

/// A form without what is hidden in it; nothing where it does not read as one.
pub(super) fn redacted(redaction: &Redaction, body: &[u8], kind: &[u8]) -> Option<Vec<u8>> {
    let delimiter = [b"--", &*boundary(kind)?].concat();
    let mut out = Vec::with_capacity(body.len());
    let mut parts = split(body, &delimiter);
    let preamble = parts.next()?;
    // What comes before the first part is nobody's to read, and a body that begins with anything else is no form.
    if !preamble.is_empty() {
        return None;
    }
    for part in parts {
        out.extend_from_slice(&delimiter);
        if part.starts_with(b"--") {
            // The end; what follows it is nobody's to read.
            out.extend_from_slice(b"--\r\n");
            return Some(out);
        }
        let whole = find(part, b"\r\n\r\n").and_then(|end| part.split_at_checked(end + 4));
        match whole.filter(|(head, _)| has_whole_lines(head)) {
            Some((head, content)) => {
                out.extend_from_slice(head);
                // A part that has no name it can be known by is not shown.
                match name(head).is_none_or(|name| redaction.hides(&name)) {
                    true => out.extend_from_slice(&[HIDDEN.as_bytes(), b"\r\n"].concat()),
                    false => push_content(redaction, head, content, &mut out),
                }
            }
            // Cut within its head, or with a head that others may read otherwise.
            None => out.extend_from_slice(&[b"\r\n", HIDDEN.as_bytes(), b"\r\n"].concat()),
        }
    }
    Some(out)
}

/// The content of a part that is not hidden by its name, with the end of its last line.
fn push_content(redaction: &Redaction, head: &[u8], content: &[u8], out: &mut Vec<u8>) {
    let kind = line(head, b"content-type").unwrap_or_default();
    // One that has no end of line was cut.
    let (content, end) =
        content.strip_suffix(b"\r\n").map_or((content, &b""[..]), |content| (content, b"\r\n"));
    // A form within a form is nobody's.
    let shown = match is_form(kind) {
        true => Shown::Withheld,
        false => redaction.body(content, Content { kind, coding: b"", is_truncated: end.is_empty() }),
    };
    match shown {
        Shown::As(shown) => out.extend_from_slice(&shown),
        Shown::Withheld => out.extend_from_slice(HIDDEN.as_bytes()),
    }
    out.extend_from_slice(end);
}

/// Whether each line ends with CR LF, so that the head ends where it seems to.
fn has_whole_lines(head: &[u8]) -> bool {
    head.iter().zip(head.iter().skip(1)).all(|(before, byte)| *byte != b'\n' || *before == b'\r')
}

/// The `boundary` of a Content-Type (RFC 2046 §5.1.1), 1 to 70 characters.
fn boundary(kind: &[u8]) -> Option<Vec<u8>> {
    parameter(kind, b"boundary").filter(|boundary| (1..=70).contains(&boundary.len()))
}

/// The `name` in a part's Content-Disposition.
fn name(head: &[u8]) -> Option<Vec<u8>> {
    parameter(line(head, b"content-disposition")?, b"name")
}

/// The line of a part's head that has this field.
fn line<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find(|line| {
        let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
        field.trim_ascii().eq_ignore_ascii_case(name)
    })
}

/// A parameter of a field, quoted or not.
fn parameter(field: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = field;
    while let Some(at) = rest.iter().position(|byte| *byte == b';') {
        rest = rest.get(at + 1..)?.trim_ascii_start();
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (rest.get(..equals)?.trim_ascii_end(), rest.get(equals + 1..)?.trim_ascii_start());
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = quoted.iter().position(|byte| *byte == b'"')?;
                (quoted.get(..end)?, quoted.get(end + 1..)?)
            }
            None => {
                let end = value.iter().position(|byte| matches!(byte, b';' | b'\r' | b'\n'));
                value.split_at_checked(end.unwrap_or(value.len()))?
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.trim_ascii().to_vec());
        }
        rest = after;
    }
    None
}

/// The pieces between delimiters, each of which begins a line.
fn split<'a>(body: &'a [u8], delimiter: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(body);
    std::iter::from_fn(move || {
        let body = rest?;
        let mut from = 0;
        loop {
            let Some(found) = body.get(from..).and_then(|tail| find(tail, delimiter)) else {
                rest = None;
                return Some(body);
            };
            let at = from + found;
            let begins_line = at == 0 || body.get(at - 1) == Some(&b'\n');
            if begins_line {
                rest = body.get(at + delimiter.len()..);
                return body.get(..at);
            }
            from = at + 1;
        }
    })
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &[u8] = b"multipart/form-data; charset=utf-8; boundary=\"x-1\"";

    fn shown(body: &str) -> Option<String> {
        let redaction = Redaction::parse(["password", "X-Session"]).unwrap();
        redacted(&redaction, body.as_bytes(), KIND).map(|shown| String::from_utf8(shown).unwrap())
    }

    fn part(name: &str, content: &str) -> String {
        format!("--x-1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    }

    #[test]
    fn named_fields_are_hidden_and_others_stand() {
        let body = format!(
            "{}{}{}--x-1--\r\n",
            part("user", "u"),
            part("Password", "s3cret"),
            part("x", "a --x-1 y")
        );
        let expected =
            format!("{}{}{}--x-1--\r\n", part("user", "u"), part("Password", HIDDEN), part("x", "a --x-1 y"));
        assert_eq!(shown(&body), Some(expected));
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        for disposition in [
            "content-disposition:form-data;name=password",
            "Content-Type: text/plain\r\nContent-Disposition: form-data; filename=\"a;name=b\"; NAME = \"password\"",
            "Content-Disposition: form-data",
            "X-Other: 1",
            "Content-Disposition: form-data; name=user\n\ns3cret",
        ] {
            let body = format!("--x-1\r\n{disposition}\r\n\r\ns3cret\r\n--x-1--");
            let shown = shown(&body).unwrap();
            assert!(!shown.contains("s3cret") && shown.contains(HIDDEN), "{shown}");
        }
    }

    #[test]
    fn a_form_that_was_cut_tells_nothing_of_what_is_hidden() {
        let body = format!("{}{}--x-1--\r\n", part("user", "u"), part("password", "s3cret"));
        for end in 0..body.len() {
            assert!(!shown(&body[..end]).unwrap_or_default().contains("s3"), "{end}");
        }
    }

    #[test]
    fn a_part_whose_head_ends_otherwise_is_hidden_whole() {
        let body = "--x-1\nContent-Disposition: form-data; name=password\n\ns3cret\n--x-1--";
        assert!(!shown(body).unwrap().contains("s3cret"));
    }

    #[test]
    fn what_is_no_form_is_not_shown() {
        for body in [
            "s3cret",
            "\r\n--x-1\r\n\r\n",
            "--x-2\r\nContent-Disposition: form-data; name=password\r\n\r\ns3cret",
        ] {
            assert_eq!(shown(body), None, "{body}");
        }
        assert_eq!(redacted(&Redaction::default(), b"--x", b"multipart/form-data"), None);
    }
}
