//! Every path of the admin API, with its methods: what is not here is answered 404 or 405 before anything looks at it. The same stand
//! in `openapi.json`, which is served, and a test holds the two together.

use http::Method;

/// The document, at `/api/openapi.json`.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// Paths, with `{name}` for any one step, or at the end for all that is left, and the methods that each takes.
const ROUTES: &[(&str, &[Method])] = &[
    ("/api/backends/drain", &[Method::POST]),
    ("/api/backends/undrain", &[Method::POST]),
    ("/api/backends/weight", &[Method::POST]),
    ("/api/edits", &[Method::GET]),
    ("/api/edits/{id}", &[Method::DELETE]),
    ("/api/explain", &[Method::GET, Method::POST]),
    ("/api/live", &[Method::GET]),
    ("/api/log-level", &[Method::GET, Method::POST]),
    ("/api/openapi.json", &[Method::GET]),
    ("/api/reload", &[Method::POST]),
    ("/api/rules/{rule}/split", &[Method::PUT]),
    ("/api/rules/{rule}/switch", &[Method::POST]),
    ("/api/upgrade", &[Method::POST]),
    ("/api/upstreams/{upstream}/backends", &[Method::POST, Method::DELETE]),
    ("/api/upstreams/{upstream}/registrations", &[Method::GET]),
    ("/api/upstreams/{upstream}/registrations/{id}", &[Method::PUT, Method::DELETE]),
    ("/api/why/{id}", &[Method::GET]),
];

/// What there is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Something that takes this method.
    Route,
    /// Something that takes these.
    Allows(String),
    /// Nothing.
    Nothing,
}

/// What there is at a path for this method.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    match ROUTES.iter().find(|(pattern, _)| matches(pattern, path)) {
        None => Found::Nothing,
        Some((_, methods)) if methods.contains(method) => Found::Route,
        Some((_, methods)) => {
            Found::Allows(methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", "))
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut steps) = (pattern.split('/').peekable(), path.split('/'));
    loop {
        match (wanted.next(), steps.next()) {
            (None, None) => return true,
            (Some(last), Some(step)) if last.starts_with('{') && wanted.peek().is_none() => {
                return !step.is_empty();
            }
            (Some(wanted), Some(step)) if wanted == step => {}
            (Some(wanted), Some(step)) if wanted.starts_with('{') && !step.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut written: Vec<String> = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let methods = operations.as_object().unwrap().keys().filter(|key| *key != "parameters");
            written.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
        }
        let routes = ROUTES
            .iter()
            .flat_map(|(path, methods)| methods.iter().map(move |method| format!("{method} {path}")));
        let mut routes: Vec<String> = routes.collect();
        written.sort();
        routes.sort();
        assert_eq!(written, routes);
    }

    #[test]
    fn what_the_document_refers_to_is_there() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let found = OPENAPI.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap());
        for pointer in found {
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn a_name_stands_for_one_step_and_at_the_end_for_the_rest() {
        assert_eq!(find(&Method::GET, "/api/why/a%2Fb"), Found::Route);
        assert_eq!(find(&Method::GET, "/api/why/a/b"), Found::Route);
        assert_eq!(find(&Method::PUT, "/api/rules/a/b/split"), Found::Nothing);
        assert_eq!(find(&Method::GET, "/api/why/"), Found::Nothing);
        assert_eq!(find(&Method::GET, "/api/rules/x/split"), Found::Allows("PUT".to_owned()));
    }
}
