//! Rules that send their clients elsewhere.

use http::{StatusCode, Uri};
use lb_http::config;

use super::Context;
use crate::written::rule::Redirect;
use crate::written::values::{At, WordOr};

/// Keeps the method, and may be remembered.
const DEFAULT_STATUS: StatusCode = StatusCode::PERMANENT_REDIRECT;

pub(super) fn lower(context: &mut Context<'_>, written: &At<WordOr<Redirect>>) -> Option<config::Redirect> {
    let (to, status) = match &written.value {
        WordOr::Word(word) => (Some(At { id: written.id, value: word.clone() }), None),
        WordOr::Table(table) => (table.to.clone(), table.status.as_ref()),
    };
    let origin = match to {
        Some(to) => origin(context, &to)?,
        None => String::new(),
    };
    let status = match status {
        None => DEFAULT_STATUS,
        Some(status) => {
            let code =
                u16::try_from(status.value).ok().filter(|code| [301, 302, 303, 307, 308].contains(code));
            let code = code.and_then(|code| StatusCode::from_u16(code).ok());
            if code.is_none() {
                let message = format!("{} is not a status that redirects", context.quote(status.id));
                context.error(status.id, message, "not 301, 302, 303, 307 or 308").help(
                    "308 and 307 keep the method, for good and for now; 301, 302 and 303 let it become GET",
                );
            }
            code?
        }
    };
    Some(config::Redirect { origin, status })
}

/// Scheme and authority, and nothing behind them: the path is the request's, as the rule rewrites it.
fn origin(context: &mut Context<'_>, to: &At<String>) -> Option<String> {
    let text = to.value.trim_end_matches('/');
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path() == "/"
            && uri.query().is_none()
    });
    if uri.is_none() {
        let message = format!("`redirect` leads to an origin, and {} is none", context.quote(to.id));
        context.error(to.id, message, "not an origin").help(
            "write scheme and host, such as \"https://www.example.com\"; the path comes from the request, \
             changed by strip_prefix, add_prefix or rewrite",
        );
    }
    uri.map(|_| text.to_owned())
}
