//! `if`: a rule of its own ahead of those of where it stands, where rules can ask for what it asks.
//!
//! `return` and `proxy_pass` are what may follow. A condition on the method that says which ones are not meant becomes the `methods` of
//! the rules around it, with what follows behind them.

use super::location::{Draft, Here, Order, Path};
use super::syntax::Directive;
use super::{Translation, at};
use crate::document::{Table, list, slug};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Methods(Vec<String>),
    /// All but these.
    OtherMethods(Vec<String>),
    Header(String, String),
    Query(String, String),
    Host(String),
    /// Any but this one.
    OtherHost(String),
    Path(Path),
}

/// What becomes of requests with other methods.
#[derive(Debug)]
pub(super) struct Otherwise {
    /// Those that the rules around take.
    pub(super) methods: Vec<String>,
    /// What takes the others.
    pub(super) drafts: Vec<Draft>,
}

/// What comes of a location's conditions.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// What ends a request's way, in the order of the file.
    pub(super) returns: Vec<Draft>,
    /// What leads elsewhere: of several that fit nginx takes the last.
    pub(super) forwards: Vec<Draft>,
    pub(super) others: Vec<Otherwise>,
}

const NO_VARIABLES: &str = "variables have no counterpart";

impl Translation {
    /// Writes the rules of every `if` of a location.
    pub(super) fn conditions(&mut self, location: &Directive, here: &Here<'_>) -> Conditions {
        let mut all = Conditions::default();
        for directive in location.children().iter().filter(|it| it.name() == "if") {
            let mut own = Vec::new();
            let other = self.condition(directive, here, &mut own);
            for earlier in &all.others {
                own.iter_mut().for_each(|draft| earlier.restrict(&mut draft.rule));
            }
            all.others.extend(other);
            match directive.children().iter().any(|it| it.name() == "return") {
                true => all.returns.extend(own),
                false => drop(all.forwards.splice(0..0, own)),
            }
        }
        all
    }

    /// Writes the rules of an `if`.
    pub(super) fn condition(
        &mut self,
        directive: &Directive,
        here: &Here<'_>,
        drafts: &mut Vec<Draft>,
    ) -> Option<Otherwise> {
        let follows: Vec<&Directive> = directive.children().iter().collect();
        let refuses = follows.iter().any(|it| it.name() == "return" && it.argument().starts_with('4'));
        let and_so = if refuses { "; what it refuses passes" } else { "" };
        let condition = match Condition::of(directive.arguments()) {
            Ok(condition) => condition,
            Err(why) => {
                self.leave_out_all(directive, &format!("{why}{and_so}"));
                return None;
            }
        };
        let then = match follows.as_slice() {
            [then] if then.name() == "return" => (*then).clone(),
            [then] if then.name() == "proxy_pass" && here.path.is_some() => (*then).clone(),
            _ => {
                let note = format!("only one `return` or `proxy_pass` can follow from a condition{and_so}");
                self.leave_out_all(directive, &note);
                return None;
            }
        };
        if matches!(condition, Condition::Path(_)) && here.path.is_some() {
            let note = format!("a rule has one path, and the location asks for one already{and_so}");
            self.leave_out_all(directive, &note);
            return None;
        }
        let Some(hosts) = condition.hosts(&here.server.names) else {
            let note = "no rule can say it: name the hosts that are meant in `server_name`";
            self.leave_out_all(directive, note);
            return None;
        };
        if let Condition::OtherMethods(methods) = condition {
            if then.name() != "return" {
                let note = "no rule can say it: name the methods that are meant, `~ ^(PUT|DELETE)$`";
                self.leave_out_all(directive, note);
                return None;
            }
            return Some(self.otherwise(directive, &then, here, methods));
        }
        let server = match &hosts {
            Some(hosts) => here.server.named(hosts.clone()),
            None => here.server.clone(),
        };
        let here = Here { server: &server, ..*here };
        let mut own = self.follow(&then, &here);
        for draft in &mut own {
            condition.write(&mut draft.rule);
            draft.name = format!("{}-if-{}", draft.name, condition.label());
            draft.hosts = draft.hosts.take().or_else(|| hosts.clone());
        }
        self.report.converted(&directive.place, format!("a rule of its own with {}", condition.key()));
        drafts.extend(own);
        None
    }

    /// What follows from a condition, without it.
    fn follow(&mut self, then: &Directive, here: &Here<'_>) -> Vec<Draft> {
        let mut own = Vec::new();
        let all = Path::All;
        let path = here.path.unwrap_or(&all);
        if then.name() == "return" {
            self.respond(then, path, here.order, here.server, &mut own);
            return own;
        }
        let mut rule = Table::rule(at(then));
        path.write(&mut rule);
        match self.proxied(then, here.settings) {
            Some(proxied) => {
                rule.set("upstream", proxied.upstream.as_str());
                self.apply(here.settings, &mut rule, &proxied);
            }
            None => {
                self.report.leave_out(&then.place, "closed (503): variables have no counterpart");
                rule = path.closed(then);
            }
        }
        own.push(Draft::new(here.order.clone(), path.label(), rule));
        own
    }

    fn otherwise(
        &mut self,
        directive: &Directive,
        then: &Directive,
        here: &Here<'_>,
        methods: Vec<String>,
    ) -> Otherwise {
        let is_refusal = then.name() == "return" && then.argument().starts_with(['4', '5']);
        let mut drafts = match is_refusal {
            // Where no other rule takes it, that is said by itself.
            true => {
                let note =
                    "methods of the rules here: others are 405, or 503 where other rules might take them";
                self.report.approximated(&directive.place, note);
                self.report.approximated(&then.place, "405 or 503, see the condition");
                let all = Path::All;
                let path = here.path.unwrap_or(&all);
                let mut draft = Draft::new(here.order.clone(), path.label(), path.closed(then));
                draft.is_beside_others = here.path.is_none();
                vec![draft]
            }
            false => {
                self.report.converted(&directive.place, "methods of the rules here, and a rule behind them");
                self.follow(then, here)
            }
        };
        for draft in &mut drafts {
            draft.name = format!("{}-other-methods", draft.name);
            if here.path.is_none() {
                draft.order = Order::Rest;
            }
        }
        Otherwise { methods, drafts }
    }

    /// A block that comes to nothing, with what is in it.
    fn leave_out_all(&mut self, directive: &Directive, note: &str) {
        self.report.leave_out(&directive.place, note);
        for inner in directive.children() {
            self.report.leave_out(&inner.place, "see its condition");
        }
    }
}

impl Otherwise {
    /// Tells a rule which methods it takes.
    pub(super) fn restrict(&self, rule: &mut Table) {
        let known = match rule.get("methods") {
            Some(toml::Value::Array(known)) => known.clone(),
            _ => return rule.set("methods", list(self.methods.clone())),
        };
        let both = known
            .into_iter()
            .filter(|it| it.as_str().is_some_and(|it| self.methods.iter().any(|own| own == it)));
        rule.set("methods", toml::Value::Array(both.collect()));
    }
}

impl Condition {
    /// Reads what stands between the parentheses, or why no rule can ask for it.
    fn of(words: &[String]) -> Result<Self, String> {
        let text = words.join(" ");
        let text = text.trim();
        let text = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text).trim();
        if text.starts_with(['-', '!']) {
            return Err("the gateway serves no files".to_owned());
        }
        let mut parts = text.splitn(3, char::is_whitespace);
        let (variable, sign) = (parts.next().unwrap_or_default(), parts.next());
        let value = parts.next().unwrap_or_default().trim().to_owned();
        let Some(name) = variable.strip_prefix('$') else { return Err("is not understood".to_owned()) };
        let is_fixed = !value.contains('$');
        match (name, sign) {
            (_, Some("=" | "!=")) if !is_fixed => Err(NO_VARIABLES.to_owned()),
            ("request_method", Some("=")) => Ok(Self::Methods(vec![value])),
            ("request_method", Some("!=")) => Ok(Self::OtherMethods(vec![value])),
            ("request_method", Some(sign @ ("~" | "!~" | "~*" | "!~*"))) => {
                let methods = methods(&value).ok_or("a rule lists its `methods` one by one")?;
                Ok(if sign.starts_with('!') { Self::OtherMethods(methods) } else { Self::Methods(methods) })
            }
            ("host" | "http_host", Some("=")) => Ok(Self::Host(value)),
            ("host" | "http_host", Some("!=")) => Ok(Self::OtherHost(value)),
            ("host" | "http_host", _) => {
                Err("a rule names its `hosts`, or all below a name: *.example.com".to_owned())
            }
            ("uri" | "document_uri", Some("=")) => Ok(Self::Path(Path::Exact(value))),
            ("uri" | "document_uri", Some(sign @ ("~" | "~*"))) => {
                let regex = if sign == "~" { value } else { format!("(?i){value}") };
                regex::Regex::new(&regex).map_err(|_| "no path_regex can say it".to_owned())?;
                Ok(Self::Path(Path::Regex(regex)))
            }
            ("request_uri" | "uri" | "document_uri", _) => {
                Err("write a rule with `path`, `path_prefix` or `path_regex`, and `query`".to_owned())
            }
            ("scheme" | "https" | "server_port", _) => {
                Err("rules hold for every listener, and do not ask by which scheme a request comes"
                    .to_owned())
            }
            ("remote_addr" | "binary_remote_addr" | "realip_remote_addr", _) => {
                Err("no rule asks for the client's address; keep it out ahead of the gateway".to_owned())
            }
            ("args" | "query_string", _) => {
                Err("a rule asks for one parameter: `query = { name = \"value\" }`".to_owned())
            }
            (name, sign) => match (name.strip_prefix("http_"), name.strip_prefix("arg_"), sign) {
                (Some(header), _, Some("=")) if !value.is_empty() => {
                    Ok(Self::Header(header.replace('_', "-"), value))
                }
                (_, Some(parameter), Some("=")) if !value.is_empty() => {
                    Ok(Self::Query(parameter.to_owned(), value))
                }
                (Some(header), ..) => Err(format!(
                    "a rule asks for a header's whole value: `headers = {{ {} = \"value\" }}`, one rule for each that is meant",
                    header.replace('_', "-")
                )),
                (_, Some(parameter), _) => Err(format!(
                    "a rule asks for a parameter's whole value: `query = {{ {parameter} = \"value\" }}`"
                )),
                _ => Err(NO_VARIABLES.to_owned()),
            },
        }
    }

    /// The hosts that are meant, where it asks for some; nothing where that cannot be said.
    fn hosts(&self, names: &[String]) -> Option<Option<Vec<String>>> {
        let is_of = |host: &str, name: &String| match name.strip_prefix('*') {
            Some(below) => host.ends_with(below),
            None => host == name,
        };
        match self {
            Self::Host(host) => {
                let is_here = names.is_empty() || names.iter().any(|name| is_of(host, name));
                is_here.then(|| Some(vec![host.clone()]))
            }
            Self::OtherHost(host) => {
                let others: Vec<String> = names.iter().filter(|name| *name != host).cloned().collect();
                let are_known = !others.is_empty() && !others.iter().any(|name| name.starts_with('*'));
                are_known.then_some(Some(others))
            }
            _ => Some(None),
        }
    }

    fn write(&self, rule: &mut Table) {
        match self {
            Self::Methods(methods) => rule.set("methods", list(methods.clone())),
            Self::Header(name, value) => rule.set("headers", pair(name, value)),
            Self::Query(name, value) => rule.set("query", pair(name, value)),
            Self::Path(path) => path.write(rule),
            // Hosts are the draft's; methods that are not meant are the rules' around.
            Self::Host(_) | Self::OtherHost(_) | Self::OtherMethods(_) => {}
        }
    }

    /// The key of a rule that asks for it.
    fn key(&self) -> &'static str {
        match self {
            Self::Methods(_) | Self::OtherMethods(_) => "methods",
            Self::Header(..) => "headers",
            Self::Query(..) => "query",
            Self::Host(_) | Self::OtherHost(_) => "hosts",
            Self::Path(Path::Regex(_)) => "path_regex",
            Self::Path(_) => "path",
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Methods(methods) | Self::OtherMethods(methods) => slug(&methods.join("-")),
            Self::Header(name, _) | Self::Query(name, _) => slug(name),
            Self::Host(host) => slug(host),
            Self::OtherHost(host) => format!("not-{}", slug(host)),
            Self::Path(path) => path.label(),
        }
    }
}

fn pair(name: &str, value: &str) -> toml::Table {
    toml::Table::from_iter([(name.to_owned(), value.into())])
}

/// The methods that a regex is for, where it is nothing but a choice of them.
fn methods(regex: &str) -> Option<Vec<String>> {
    let anchored = regex.strip_prefix('^').and_then(|regex| regex.strip_suffix('$'));
    let inner = anchored.unwrap_or(regex);
    let inner = inner.strip_prefix("(?:").or_else(|| inner.strip_prefix('(')).unwrap_or(inner);
    let inner = inner.strip_suffix(')').unwrap_or(inner);
    let methods: Vec<String> = inner.split('|').map(str::to_owned).collect();
    // Without anchors a part of a method would do.
    let is_whole = |method: &str| anchored.is_some() || STANDARD.contains(&method);
    let is_method = |it: &String| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_uppercase());
    methods.iter().all(|it| is_method(it) && is_whole(it)).then_some(methods)
}

/// Of which none is a part of another (RFC 9110 §9.1, RFC 5789).
const STANDARD: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Condition, String> {
        Condition::of(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_rules_can_ask_for_is_read() {
        let methods = |list: &[&str]| list.iter().map(|&it| it.to_owned()).collect::<Vec<String>>();
        for (text, expected) in [
            ("($request_method = POST)", Condition::Methods(methods(&["POST"]))),
            ("( $request_method ~ ^(GET|HEAD)$ )", Condition::Methods(methods(&["GET", "HEAD"]))),
            ("($request_method !~ ^(GET|HEAD)$)", Condition::OtherMethods(methods(&["GET", "HEAD"]))),
            ("($request_method != GET)", Condition::OtherMethods(methods(&["GET"]))),
            ("($http_x_beta = on)", Condition::Header("x-beta".to_owned(), "on".to_owned())),
            ("($arg_debug = 1)", Condition::Query("debug".to_owned(), "1".to_owned())),
            ("($host = a.example)", Condition::Host("a.example".to_owned())),
            ("($host != a.example)", Condition::OtherHost("a.example".to_owned())),
            ("($uri ~* ^/a)", Condition::Path(Path::Regex("(?i)^/a".to_owned()))),
        ] {
            assert_eq!(of(text), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("(-f $request_filename)", "serves no files"),
            ("($http_user_agent ~ bot)", "headers = { user-agent"),
            ("($http_x)", "headers = { x ="),
            ("($request_method ~ ^G)", "a rule lists its `methods`"),
            ("($scheme = http)", "every listener"),
            ("($slow)", "variables"),
            ("($host = $server_name)", "variables"),
            ("($remote_addr = 10.0.0.1)", "client's address"),
            ("(GET = $request_method)", "not understood"),
        ] {
            assert!(of(text).unwrap_err().contains(why), "{text}: {:?}", of(text));
        }
    }
}
