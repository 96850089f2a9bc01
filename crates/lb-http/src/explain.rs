//! What would become of a request, told by the code that serves requests: the same matcher with a tracer in it, the same
//! reading of target and client, the same head as a backend gets it. Nothing is sent, and nobody's turn is used up.

mod candidates;
mod connection;
mod listener;
mod proxied;
mod question;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use http::Version;
use http::header::{self, HeaderValue};
use lb_h1::{BodyFraming, ConnectionHeader, Fields, RequestLine, drop_underscore_names, encode_request_head};
use lb_observe::Registry;
use lb_policy::{ClientInfo, PolicyConfig, RequestParts};
use lb_router::{Outcome, RequestView, Routed, RuleMatch};
use serde::Serialize;

pub use self::candidates::{Candidate, UpstreamAnswer};
pub use self::connection::{ConnectionExplained, NameAnswer};
pub use self::listener::ListenerAnswer;
pub use self::proxied::{CheckAnswer, ProxiedExplained};
use self::question::RequestQuestion;
pub use self::question::{Arrival, Question};
use crate::attempt;
use crate::choice;
use crate::config::GatewayConfig;
use crate::exchange;
use crate::fields::REQUEST_ID;
use crate::forwarded::{self, Hop};
use crate::gateway::{GatewayView, StartError, build_alone};
use crate::mirror::MirrorAnswer;
use crate::reject::Reject;
use crate::request_id;
use crate::snapshot::{Rule, Snapshot, Target as Backend};
use crate::split::SplitAnswer;
use crate::target::{self, Asked, Matched, Target};

/// In the clear.
const HTTP: &str = "http";
/// By TLS.
const HTTPS: &str = "https";

/// What would become of what is asked about.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Explanation {
    /// Of a request that rules are for.
    Request(Box<Explained>),
    /// Of a request to a forward proxy.
    Proxied(Box<ProxiedExplained>),
    /// Of a connection to a TCP listener.
    Connection(Box<ConnectionExplained>),
}

/// What would become of it.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// In a line: the rule, or the status and why.
    pub answer: String,
    /// By which scheme it comes: `http` or `https`.
    pub scheme: &'static str,
    /// Who the client is taken for.
    pub client: ClientAnswer,
    /// The path in the form that rules see; none where it has none.
    pub path: Option<String>,
    /// Listeners that answer status endpoints themselves, ahead of the rules. Whoever knows the pages empties it for other paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status_listeners: Vec<String>,
    /// The name of the rule that takes it.
    pub rule: Option<String>,
    /// Every rule in its order.
    pub rules: Vec<RuleAnswer>,
    /// The rule's policies in their order.
    pub policies: Vec<PolicyAnswer>,
    /// Where the client is sent instead.
    pub redirect: Option<String>,
    /// Between which upstreams the rule's requests are shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitAnswer>,
    /// Who may get a copy of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorAnswer>,
    /// What the backend would get.
    pub request: Option<Forwarded>,
    /// Who could get it.
    pub upstream: Option<UpstreamAnswer>,
}

/// Who the client is taken for.
#[derive(Debug, Clone, Serialize)]
pub struct ClientAnswer {
    /// Who is connected.
    pub peer: IpAddr,
    /// The client's address.
    pub address: IpAddr,
    /// How that was derived.
    pub why: String,
}

/// What one rule has to do with it.
#[derive(Debug, Clone, Serialize)]
pub struct RuleAnswer {
    /// Its name.
    pub name: String,
    /// Its file and line, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// `takes`, `comes_later` or `missed`.
    pub outcome: &'static str,
    /// By what it was missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A policy of the rule.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyAnswer {
    /// Its key.
    pub name: &'static str,
    /// What it does.
    pub summary: &'static str,
}

/// The head as a backend would get it.
#[derive(Debug, Clone, Serialize)]
pub struct Forwarded {
    /// Method.
    pub method: String,
    /// Path and query, behind the backend's base path.
    pub target: String,
    /// The Host field.
    pub host: String,
    /// Fields that the client did not send, or not so.
    pub added: Vec<(String, String)>,
    /// Fields that the client sent and the backend does not get, or not so.
    pub removed: Vec<(String, String)>,
}

/// The scheme where a question has none.
fn scheme_of_listeners(config: &GatewayConfig) -> &'static str {
    let is_secure =
        !config.listeners.is_empty() && config.listeners.iter().all(|listener| listener.tls.is_some());
    if is_secure { HTTPS } else { HTTP }
}

/// What a configuration would make of a question, with every backend healthy and idle.
///
/// # Errors
/// It cannot be put in force.
pub fn explain(config: &Arc<GatewayConfig>, question: &Question) -> Result<Explanation, StartError> {
    Ok(answered(&build_alone(config, &Registry::default())?, question))
}

impl GatewayView {
    /// What would become of a request or connection now.
    #[must_use]
    pub fn explain(&self, question: &Question) -> Explanation {
        answered(&self.snapshot(), question)
    }
}

fn answered(snapshot: &Snapshot, question: &Question) -> Explanation {
    match question {
        Question::Request(question) => Explanation::Request(Box::new(of(snapshot, question))),
        Question::Proxied(question) => Explanation::Proxied(Box::new(proxied::of(snapshot, question))),
        Question::Connection(question) => {
            Explanation::Connection(Box::new(connection::of(snapshot, question)))
        }
    }
}

fn of(snapshot: &Snapshot, question: &RequestQuestion) -> Explained {
    let peer = question.peer;
    let mut explained = Explained {
        answer: String::new(),
        scheme: question.scheme.unwrap_or_else(|| scheme_of_listeners(&snapshot.config)),
        client: client(snapshot, peer, None),
        path: None,
        status_listeners: Vec::new(),
        rule: None,
        rules: Vec::new(),
        policies: Vec::new(),
        redirect: None,
        split: None,
        mirror: None,
        request: None,
        upstream: None,
    };
    let (mut head, asked) = match question.read() {
        Ok(read) => read,
        Err(rejected) => return refused(explained, &rejected),
    };
    let had: Vec<(String, String)> = head.headers.iter().map(shown).collect();
    explained.client = client(snapshot, peer, Some(&head.headers));
    if !snapshot.underscores_in_headers {
        drop_underscore_names(&mut head.headers);
    }
    // No certificate of a client's is asked about.
    for field in &snapshot.identity_headers {
        head.headers.remove(field);
    }
    if asked.uri.path() == "*" {
        explained.answer = "204: it is about the gateway itself, which answers".to_owned();
        return explained;
    }
    let target = match Target::read(&asked.uri, asked.host.as_deref(), snapshot.merge_slashes) {
        Ok(target) => target,
        Err(rejected) => return refused(explained, &rejected),
    };
    explained.path = Some(target.path.to_string());
    let listeners = snapshot.config.listeners.iter().filter(|listener| listener.status_endpoints);
    explained.status_listeners = listeners.map(|listener| listener.name.clone()).collect();
    let view = RequestView {
        method: &asked.method,
        host: target.host,
        path: &target.path,
        query: target.query,
        headers: &Matched(&head.headers),
    };
    let routed = snapshot.router.explain(&view);
    explained.rules = rules(snapshot, &routed.rules);
    match routed.routed {
        Routed::Rule(matched) => {
            taken(&mut explained, snapshot, &matched, &Sent { asked: &asked, had }, head.headers, &target);
        }
        Routed::MethodNotAllowed { allow } => {
            let allow = allow.to_str().unwrap_or_default();
            explained.answer = format!("405 method_not_allowed: a rule takes this path with {allow}");
        }
        Routed::None => explained.answer = "404 no_rule: no rule takes it".to_owned(),
    }
    explained
}

fn refused(explained: Explained, rejected: &Reject) -> Explained {
    Explained { answer: shown_refusal(rejected), ..explained }
}

/// A refusal in a line.
fn shown_refusal(rejected: &Reject) -> String {
    let status = rejected.response(&HeaderValue::from_static("-")).status().as_u16();
    format!("{status} {}: {}", rejected.code(), rejected.reason().unwrap_or_default())
}

/// What the client sent.
struct Sent<'a> {
    asked: &'a Asked,
    had: Vec<(String, String)>,
}

/// A rule takes it.
fn taken(
    explained: &mut Explained,
    snapshot: &Snapshot,
    matched: &RuleMatch<'_>,
    sent: &Sent<'_>,
    mut headers: Fields,
    target: &Target<'_>,
) {
    let index = matched.index;
    let (Some(rule), Some(config)) = (snapshot.rules.get(index), snapshot.config.rules.get(index)) else {
        return;
    };
    let path = matched.rewrite(&target.path);
    explained.answer = format!("rule {}", config.route.name);
    explained.rule = Some(config.route.name.clone());
    explained.policies = config.policies.iter().map(policy).collect();
    let asked = sent.asked;
    tell_backend(&mut headers, asked, explained, snapshot);
    let info = ClientInfo { address: explained.client.address, secure: explained.scheme == HTTPS };
    for (config, built) in config.policies.iter().zip(&*rule.policies) {
        // Others may count what they see.
        if matches!(config, PolicyConfig::RequestHeaders(_)) {
            let parts = RequestParts { method: &asked.method, uri: &asked.uri, headers: &mut headers };
            drop(built.policy.on_request(parts, &info));
        }
    }
    if let Some(redirect) = &rule.redirect {
        let location = exchange::redirected(redirect, &asked.uri, &path);
        let location = location.ok().and_then(|response| response.headers().get(header::LOCATION).cloned());
        let location = location.map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned());
        explained.answer.push_str(&format!(", which answers {}", redirect.status.as_u16()));
        explained.redirect = location;
        return;
    }
    let address = explained.client.address;
    let mut place = rule.upstream;
    if let Some(split) = &rule.split {
        let (answer, upstream) = split.explain(asked, &headers, &path, address);
        place = upstream;
        explained.split = Some(answer);
    }
    explained.mirror = rule.mirror.as_ref().map(|mirror| mirror.explain(&asked.method));
    let Some(upstream) = snapshot.upstreams.get(place) else { return };
    let key = choice::key(&upstream.key, asked, &headers, &path, address);
    let answer = candidates::of(upstream, &upstream.key, key);
    let chosen = answer.candidates.iter().position(|candidate| {
        answer.choice.as_ref().map_or(candidate.eligible, |choice| *choice == candidate.url)
    });
    if let Some(target) = upstream.targets.get(chosen.unwrap_or(0)) {
        explained.request = forwarded(rule, target, sent, headers, &path);
    }
    if chosen.is_none() {
        explained.answer.push_str(", but no backend could take it: 503 no_backend");
    }
    explained.upstream = Some(answer);
}

fn client(snapshot: &Snapshot, peer: IpAddr, headers: Option<&Fields>) -> ClientAnswer {
    let is_trusted = forwarded::is_trusted(peer, &snapshot.trusted_proxies);
    if !is_trusted {
        let why =
            "the peer itself: it is none of `trusted_proxies`, so nothing it says of others is believed";
        return ClientAnswer { peer, address: peer, why: why.to_owned() };
    }
    let address =
        headers.map_or(peer, |headers| forwarded::client_behind(peer, headers, &snapshot.trusted_proxies));
    let why = match address == peer {
        true => "the peer is one of `trusted_proxies`, but names no one in X-Forwarded-For",
        false => {
            "the peer is one of `trusted_proxies`: the rightmost address in X-Forwarded-For that is none of them"
        }
    };
    ClientAnswer { peer, address, why: why.to_owned() }
}

fn rules(snapshot: &Snapshot, outcomes: &[Outcome]) -> Vec<RuleAnswer> {
    let answer = |(rule, outcome): (&crate::config::RuleConfig, &Outcome)| {
        let (outcome, why) = match outcome {
            Outcome::Takes => ("takes", None),
            Outcome::ComesLater => ("comes_later", None),
            Outcome::Missed(miss) => ("missed", Some(miss.describe(&rule.route))),
        };
        RuleAnswer { name: rule.route.name.clone(), place: None, outcome, why }
    };
    snapshot.config.rules.iter().zip(outcomes).map(answer).collect()
}

fn policy(config: &PolicyConfig) -> PolicyAnswer {
    let info = config.info();
    PolicyAnswer { name: info.name, summary: info.summary }
}

/// The fields by which a backend learns of the client.
fn tell_backend(headers: &mut Fields, asked: &Asked, explained: &Explained, snapshot: &Snapshot) {
    let client = &explained.client;
    if !headers.get(&REQUEST_ID).is_some_and(request_id::is_acceptable) {
        headers.insert(&REQUEST_ID, &HeaderValue::from_static("(a new one for each request)"));
    }
    let hop = Hop {
        peer: &forwarded::address_value(client.peer),
        client: client.address,
        trusted: forwarded::is_trusted(client.peer, &snapshot.trusted_proxies),
        scheme: explained.scheme,
        host: asked.host.as_deref(),
    };
    forwarded::apply(headers, &hop);
}

/// The head as it would be written, compared with what the client sent.
fn forwarded(
    rule: &Rule,
    backend: &Backend,
    sent: &Sent<'_>,
    mut headers: Fields,
    path: &str,
) -> Option<Forwarded> {
    let Sent { asked, had } = sent;
    attempt::set_host(rule, backend, asked, &mut headers);
    let target = target::forwarded(&asked.uri, &backend.base_path, path);
    let line = RequestLine { method: &asked.method, target: &target, version: Version::HTTP_11 };
    let mut out = BytesMut::new();
    encode_request_head(&mut out, line, &headers, BodyFraming::None, ConnectionHeader::Implied).ok()?;
    let lines = <[u8]>::split(&out, |byte: &u8| *byte == b'\n').skip(1);
    let gets: Vec<(String, String)> = lines
        .filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some(shown((line.get(..colon)?, line.get(colon + 1..)?)))
        })
        .collect();
    let host = gets.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone());
    Some(Forwarded {
        method: asked.method.to_string(),
        target: String::from_utf8_lossy(&target).into_owned(),
        host: host.unwrap_or_default(),
        added: gets.iter().filter(|field| !had.contains(field)).cloned().collect(),
        removed: had.iter().filter(|field| !gets.contains(field)).cloned().collect(),
    })
}

/// A field as text.
fn shown((name, value): (&[u8], &[u8])) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(name).to_ascii_lowercase(), text(value))
}
