//! Which bytes may stand where: tokens, request targets, host names.

const TOKEN: u8 = 1;
const HOST: u8 = 2;

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling, and the index runs over the table")]
#[expect(clippy::cast_possible_truncation, reason = "the index stays below 256")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < table.len() {
        let byte = i as u8;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            table[i] |= HOST;
        }
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            )
            || matches!(byte, b'|' | b'~')
        {
            table[i] |= TOKEN;
        }
        i += 1;
    }
    table
}

static CLASSES: [u8; 256] = classes();

fn is(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|found| found & class != 0)
}

/// `tchar` (RFC 9110 section 5.6.2).
#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// A token: not empty, `tchar` alone.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// How many bytes at the front may stand in a host name: the unreserved characters. The grammar would also
/// allow sub-delimiters and percent-encoding, which no name in use has and which servers read differently.
#[inline]
pub(crate) fn host_name_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is(byte, HOST)).unwrap_or(bytes.len())
}

/// Whether every byte may stand in the path of a target. Browsers send a few that RFC 3986 would encode
/// (`|`, `[`, `{`), so those pass; `\` does not, since some servers take it for `/`.
pub(crate) fn is_path(bytes: &[u8]) -> bool {
    // No early exit, so that the loop becomes vector instructions.
    let bad = bytes.iter().fold(false, |bad, &byte| {
        bad | !byte.is_ascii_graphic() | matches!(byte, b'#' | b'<' | b'>' | b'\\' | b'`')
    });
    !bad
}

/// Whether every byte may stand in the query of a target.
pub(crate) fn is_query(bytes: &[u8]) -> bool {
    let bad = bytes
        .iter()
        .fold(false, |bad, &byte| bad | !byte.is_ascii_graphic() | matches!(byte, b'#' | b'<' | b'>' | b'"'));
    !bad
}

/// Whether every byte may stand in a field value: visible characters, space, tab, and whatever has the top bit (RFC 9110
/// section 5.5).
pub(crate) fn is_field_value(bytes: &[u8]) -> bool {
    let bad = bytes.iter().fold(false, |bad, &byte| bad | (byte < b' ') & (byte != b'\t') | (byte == 0x7f));
    !bad
}

/// Without the optional white space (space and tab) at both ends.
#[inline]
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), empty ones left out.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_ows).filter(|element| !element.is_empty())
}
