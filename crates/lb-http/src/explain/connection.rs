//! What would become of a connection to a TCP listener.

use lb_core::{KeySource, key};
use serde::Serialize;

use super::candidates::{self, UpstreamAnswer};
use super::listener::{self, ListenerAnswer};
use super::question::ConnectionQuestion;
use super::{ClientAnswer, listener::client};
use crate::config::{ListenerConfig, TcpConfig};
use crate::snapshot::Snapshot;
use crate::tcp;

/// What would become of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConnectionExplained {
    /// In a line: the upstream, or why it is closed.
    pub answer: String,
    /// Where it comes in.
    pub listener: Option<ListenerAnswer>,
    /// Who the client is taken for.
    pub client: Option<ClientAnswer>,
    /// What becomes of its TLS.
    pub tls: Option<&'static str>,
    /// The name that is asked for.
    pub name: Option<String>,
    /// Where names lead, in their order; at last where all others do.
    pub names: Vec<NameAnswer>,
    /// Who could get it.
    pub upstream: Option<UpstreamAnswer>,
}

/// Where some names lead.
#[derive(Debug, Clone, Serialize)]
pub struct NameAnswer {
    /// The names; none for all others.
    pub hosts: Vec<String>,
    /// The upstream that they lead to.
    pub upstream: String,
    /// `takes`, `comes_later` or `missed`.
    pub outcome: &'static str,
    /// Its path in the configuration.
    pub key: String,
    /// Its file and line, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

pub(super) fn of(snapshot: &Snapshot, question: &ConnectionQuestion) -> ConnectionExplained {
    let is_tcp = |listener: &ListenerConfig| listener.tcp.is_some();
    let mut explained = ConnectionExplained { name: question.name.clone(), ..ConnectionExplained::default() };
    let Some((index, listener)) = listener::find(snapshot, &question.arrival, is_tcp) else {
        let known = listener::list(snapshot, is_tcp);
        explained.answer = format!("no listener is there; of TCP listeners {known}");
        return explained;
    };
    explained.listener = Some(ListenerAnswer::of(index, listener));
    let Some(tcp) = &listener.tcp else {
        explained.answer = format!(
            "listener {} speaks HTTP: ask with method and URL what becomes of a request",
            listener.name
        );
        return explained;
    };
    let address = match client(listener, &question.arrival) {
        Ok(client) => explained.client.insert(client).address,
        Err(why) => {
            explained.answer = format!("closed: {why}");
            return explained;
        }
    };
    explained.tls = Some(match (&listener.tls, tcp.names.is_empty()) {
        (Some(_), _) => "ends at the listener; what is inside is passed on",
        (None, true) => "is passed on as it comes, as everything is",
        (None, false) => "is passed on as it comes; the name is read out of its beginning",
    });
    let name = question.name.as_deref();
    let lead = tcp::lead(tcp, name);
    explained.names = names(index, tcp, name, lead.map(|(place, _)| place));
    let Some((_, target)) = lead else {
        let asked =
            name.map_or_else(|| "it asks for no name".to_owned(), |name| format!("no `sni` has {name}"));
        explained.answer = format!("closed: {asked}, and the listener has no `upstream` for all others");
        return explained;
    };
    explained.answer = format!("upstream {}", target.upstream);
    let Some((_, upstream)) = snapshot.upstream(&target.upstream) else { return explained };
    // Of a connection nothing is known but where it comes from.
    let upstream = candidates::of(upstream, &KeySource::Address, key::of_address(address));
    if !upstream.candidates.iter().any(|candidate| candidate.eligible) {
        explained.answer.push_str(", but no backend could take it: the connection is closed");
    }
    explained.upstream = Some(upstream);
    explained
}

fn names(
    listener: usize,
    tcp: &TcpConfig,
    name: Option<&str>,
    taken: Option<Option<usize>>,
) -> Vec<NameAnswer> {
    if tcp.names.is_empty() {
        return Vec::new();
    }
    let outcome = |place: Option<usize>, fits: bool| match fits {
        _ if taken == Some(place) => "takes",
        true => "comes_later",
        false => "missed",
    };
    let by_name = tcp.names.iter().enumerate().map(|(place, (patterns, target))| NameAnswer {
        hosts: patterns.iter().map(ToString::to_string).collect(),
        upstream: target.upstream.clone(),
        outcome: outcome(Some(place), name.is_some_and(|name| tcp::fits(patterns, name))),
        key: format!("listeners[{listener}].sni[{place}]"),
        place: None,
    });
    let others = tcp.default.iter().map(|target| NameAnswer {
        hosts: Vec::new(),
        upstream: target.upstream.clone(),
        outcome: outcome(None, true),
        key: format!("listeners[{listener}].upstream"),
        place: None,
    });
    by_name.chain(others).collect()
}
