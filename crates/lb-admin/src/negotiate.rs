//! Whether a client would rather see a page or data.

/// What a status page can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Html,
}

/// The form that an `Accept` field prefers (RFC 9110 §12.5.1). HTML has to be asked for by name: scripts, probes
/// and `curl` accept anything, and mean JSON.
pub(crate) fn preferred(accept: Option<&str>) -> Form {
    let accept = accept.unwrap_or("");
    let html = quality(accept, "text/html");
    if html > 0.0 && html >= quality(accept, "application/json") { Form::Html } else { Form::Json }
}

/// The weight of one media type that is named in full; 0 where it is not.
fn quality(accept: &str, wanted: &str) -> f64 {
    let named = accept.split(',').find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_wanted = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        is_wanted.then(|| {
            let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            q.map_or(1.0, |q| q.parse().unwrap_or(0.0))
        })
    });
    named.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_pages_and_all_others_data() {
        for (accept, form) in [
            (None, Form::Json),
            (Some(""), Form::Json),
            (Some("*/*"), Form::Json),
            (Some("application/json"), Form::Json),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Form::Html),
            (Some("TEXT/HTML"), Form::Html),
            (Some("application/json, text/html;q=0.5"), Form::Json),
            (Some("application/json;q=0.3, text/html ; q=0.5"), Form::Html),
            (Some("text/html;q=0"), Form::Json),
            (Some("text/html;q=nonsense"), Form::Json),
        ] {
            assert_eq!(preferred(accept), form, "{accept:?}");
        }
    }
}
