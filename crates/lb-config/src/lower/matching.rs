//! What a rule matches and how it rewrites, with the place of every field for the router's own checks.

use std::sync::Arc;

use http::Method;
use lb_router::{PathConfig, RewriteConfig, RouteConfig, RouteField};

use super::{Context, policy};
use crate::tree::NodeId;
use crate::written::rule::Rule;
use crate::written::values::{At, List, Names};

/// A route and where its fields stand.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) config: Arc<RouteConfig>,
    /// The rule's own place.
    pub(super) place: NodeId,
    /// Whether every condition that was written is in it.
    pub(super) is_whole: bool,
    hosts: Vec<NodeId>,
    path: Option<NodeId>,
    methods: Vec<NodeId>,
    headers: Vec<NodeId>,
    query: Vec<NodeId>,
    strip_prefix: Option<NodeId>,
    add_prefix: Option<NodeId>,
    rewrite: Option<NodeId>,
}

impl Route {
    /// Where a field of the router's config was written.
    pub(super) fn field(&self, field: RouteField) -> NodeId {
        let place = match field {
            RouteField::Host(index) => self.hosts.get(index).copied(),
            RouteField::Path => self.path,
            RouteField::Methods => self.methods.first().copied(),
            RouteField::Header(index) => self.headers.get(index).copied(),
            RouteField::Query(index) => self.query.get(index).copied(),
            RouteField::StripPrefix => self.strip_prefix,
            RouteField::AddPrefix => self.add_prefix,
            RouteField::RewriteTemplate => self.rewrite,
        };
        place.unwrap_or(self.place)
    }
}

pub(super) fn route(context: &mut Context<'_>, name: &str, written: &At<Rule>) -> Route {
    let rule = &written.value;
    let errors = context.problems.errors();
    let hosts = hosts(context, rule);
    let (path, path_place) = path(context, rule);
    let methods = methods(context, rule);
    let mut headers = Vec::new();
    for (name, value) in rule.headers.iter().flat_map(|Names(headers)| headers) {
        let name = policy::key_name(context, name, value.id);
        headers.extend(name.map(|name| (name, value)));
    }
    let query: Vec<_> = rule.query.iter().flat_map(|Names(query)| query).collect();
    let text = |field: &Option<At<String>>| field.as_ref().map(|field| field.value.clone());
    let place = |field: &Option<At<String>>| field.as_ref().map(|field| field.id);
    Route {
        config: Arc::new(RouteConfig {
            name: name.to_owned(),
            hosts: hosts.iter().map(|host| host.value.clone()).collect(),
            path,
            methods: methods.iter().map(|(method, _)| method.clone()).collect(),
            headers: headers.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            query: query.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            rewrite: RewriteConfig {
                strip_prefix: text(&rule.strip_prefix),
                add_prefix: text(&rule.add_prefix),
                template: text(&rule.rewrite),
            },
        }),
        place: written.id,
        is_whole: errors == context.problems.errors() && context.tree.is_whole(written.id),
        hosts: hosts.iter().map(|host| host.id).collect(),
        path: path_place,
        methods: methods.iter().map(|(_, place)| *place).collect(),
        headers: headers.iter().map(|(_, value)| value.id).collect(),
        query: query.iter().map(|(_, value)| value.id).collect(),
        strip_prefix: place(&rule.strip_prefix),
        add_prefix: place(&rule.add_prefix),
        rewrite: place(&rule.rewrite),
    }
}

/// `host` or `hosts`, not both.
fn hosts<'r>(context: &mut Context<'_>, rule: &'r Rule) -> Vec<&'r At<String>> {
    if let (Some(host), Some(hosts)) = (&rule.host, &rule.hosts) {
        one_of(context, "host", host.id, "hosts", hosts.id);
    }
    rule.host.iter().chain(rule.hosts.iter().flat_map(|hosts| hosts.value.iter())).collect()
}

/// The one way in which a rule looks at the path.
fn path(context: &mut Context<'_>, rule: &Rule) -> (PathConfig, Option<NodeId>) {
    type Ways<'r> = [(&'static str, &'r Option<At<String>>, fn(String) -> PathConfig); 4];
    let ways: Ways<'_> = [
        ("path", &rule.path, PathConfig::Exact),
        ("path_prefix", &rule.path_prefix, PathConfig::Prefix),
        ("path_regex", &rule.path_regex, PathConfig::Regex),
        ("path_template", &rule.path_template, PathConfig::Template),
    ];
    let mut written =
        ways.into_iter().filter_map(|(key, field, way)| field.as_ref().map(|field| (key, field, way)));
    let Some((key, field, way)) = written.next() else { return (PathConfig::Any, None) };
    for (other, second, _) in written {
        one_of(context, key, field.id, other, second.id);
    }
    (way(field.value.clone()), Some(field.id))
}

/// Two keys of which a rule has one.
fn one_of(context: &mut Context<'_>, first: &str, first_id: NodeId, second: &str, second_id: NodeId) {
    let place = context.key_place(first_id);
    context
        .error_at_key(second_id, format!("a rule has `{first}` or `{second}`, not both"), "the second")
        .also(place, "the first")
        .help("keep one of them, or write two rules");
}

fn methods(context: &mut Context<'_>, rule: &Rule) -> Vec<(Method, NodeId)> {
    let mut methods = Vec::new();
    for written in rule.methods.iter().flat_map(List::iter) {
        let text = written.value.as_str();
        let upper = text.to_ascii_uppercase();
        match Method::from_bytes(text.as_bytes()) {
            // Methods are case-sensitive (RFC 9110 §9.1), and none in use has a small letter.
            Ok(_) if upper != text => {
                let message = format!(
                    "no request has the method {}: methods are upper case",
                    context.quote(written.id)
                );
                context.error(written.id, message, "not upper case").help(format!("write \"{upper}\""));
            }
            Ok(method) => methods.push((method, written.id)),
            Err(_) => {
                let message = format!("{} is not a method", context.quote(written.id));
                context
                    .error(written.id, message, "not a method")
                    .help("write \"GET\", \"POST\" and the like");
            }
        }
    }
    methods
}
