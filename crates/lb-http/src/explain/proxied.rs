//! What would become of a request to a forward proxy. No name is looked up: whoever asks may say where one leads.

use std::net::IpAddr;

use http::{Method, header};
use lb_h1::RequestHead;
use serde::Serialize;

use super::listener::{self, ListenerAnswer};
use super::question::ProxiedQuestion;
use super::{ClientAnswer, shown_refusal};
use crate::config::{ForwardProxyConfig, ListenerConfig};
use crate::forward_proxy::{Finding, MAX_ADDRESSES, credentials, destination};
use crate::snapshot::Snapshot;

/// Users that are named one by one.
const MOST_NAMES: usize = 8;

/// What would become of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ProxiedExplained {
    /// In a line: that it is connected to, or the status and why.
    pub answer: String,
    /// Where it comes in.
    pub listener: Option<ListenerAnswer>,
    /// Who the client is taken for.
    pub client: Option<ClientAnswer>,
    /// The host that is asked for.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// What is looked at, up to what denies it.
    pub checks: Vec<CheckAnswer>,
    /// What happens next, where more has to be known.
    pub then: Option<String>,
}

/// Something that is looked at.
#[derive(Debug, Clone, Serialize)]
pub struct CheckAnswer {
    /// `user`, `host`, `port` or `address`.
    pub subject: &'static str,
    /// `allowed`, `denied`, or `asked` of what a password must show.
    pub outcome: &'static str,
    /// Why.
    pub why: String,
    /// The path of what decides in the configuration, where something is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its file and line, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

pub(super) fn of(snapshot: &Snapshot, question: &ProxiedQuestion) -> ProxiedExplained {
    let is_proxy = |listener: &ListenerConfig| listener.forward_proxy.is_some();
    let mut explained = ProxiedExplained::default();
    let found = listener::find(snapshot, &question.arrival, is_proxy);
    let Some((index, listener)) = found else {
        let known = listener::list(snapshot, is_proxy);
        explained.answer = format!("no forward proxy is there; of listeners with `forward_proxy` {known}");
        return explained;
    };
    explained.listener = Some(ListenerAnswer::of(index, listener));
    let read = question.read();
    let Some(proxy) = &listener.forward_proxy else {
        let is_connect = read.is_ok_and(|(_, asked)| asked.method == Method::CONNECT);
        explained.answer = match is_connect {
            true => format!("405 method_not_allowed: listener {} has no `forward_proxy`", listener.name),
            false => format!(
                "listener {} has no `forward_proxy`, so rules are asked: ask without --proxy",
                listener.name
            ),
        };
        return explained;
    };
    let client = match listener::client(listener, &question.arrival) {
        Ok(client) => client,
        Err(why) => {
            explained.answer = format!("closed: {why}");
            return explained;
        }
    };
    explained.client = Some(client);
    let key = format!("listeners[{index}].forward_proxy");
    if !proxy.users.is_empty()
        && let Ok((head, _)) = &read
    {
        let user = user(proxy, &key, question.user.as_deref(), head);
        let is_denied = user.outcome == "denied";
        explained.checks.push(user);
        if is_denied {
            explained.answer = "407 unauthorized: this proxy wants to know who asks".to_owned();
            return explained;
        }
    }
    let asked = read.and_then(|(_, asked)| {
        let (host, port) = destination(&asked)?;
        Ok((host.to_owned(), port, asked.method == Method::CONNECT))
    });
    match asked {
        Ok((host, port, is_connect)) => {
            look(&mut explained, proxy, &key, (&host, port, is_connect), &question.leads_to);
            (explained.host, explained.port) = (Some(host), Some(port));
        }
        Err(rejected) => explained.answer = shown_refusal(&rejected),
    }
    explained
}

/// Who asks, as far as that is told without a look at passwords, which may be slow, and which nobody should try here.
fn user(proxy: &ForwardProxyConfig, key: &str, said: Option<&str>, head: &RequestHead) -> CheckAnswer {
    let shown = head.headers.get(&header::PROXY_AUTHORIZATION);
    let name = match (said, shown) {
        (Some(name), _) => Some(name.as_bytes().to_vec()),
        (None, Some(shown)) => Some(credentials(shown).map(|(name, _)| name).unwrap_or_default()),
        (None, None) => None,
    };
    let names: Vec<&str> = proxy.users.iter().map(|user| user.name.as_str()).collect();
    let position = name.as_ref().and_then(|name| names.iter().position(|known| known.as_bytes() == *name));
    let (outcome, why) = match (&name, position) {
        (None, _) => (
            "asked",
            format!(
                "by Proxy-Authorization {} let in, by password; others get 407 (--proxy-user NAME asks about one)",
                list(&names)
            ),
        ),
        (Some(name), Some(_)) => (
            "asked",
            format!("{} is let in by password, which is not looked at here", String::from_utf8_lossy(name)),
        ),
        (Some(name), None) if name.is_empty() => {
            ("denied", "Proxy-Authorization is not `Basic` with a name and a password".to_owned())
        }
        (Some(name), None) => (
            "denied",
            format!(
                "there is no user {:?}; {} let in, by password",
                String::from_utf8_lossy(name),
                list(&names)
            ),
        ),
    };
    let below = position.map(|index| format!("[{index}]")).unwrap_or_default();
    CheckAnswer { subject: "user", outcome, why, key: Some(format!("{key}.users{below}")), place: None }
}

/// Some names with their verb.
fn list(names: &[&str]) -> String {
    let (shown, more) = names.split_at(names.len().min(MOST_NAMES));
    let verb = if names.len() == 1 { "is" } else { "are" };
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more} {verb}", shown.join(", "))
}

/// Looks at what is asked for as requests are looked at, and then at where its name is said to lead.
fn look(
    explained: &mut ProxiedExplained,
    proxy: &ForwardProxyConfig,
    key: &str,
    (host, port, is_connect): (&str, u16, bool),
    leads_to: &[IpAddr],
) {
    let mut findings: Vec<Finding> = Vec::new();
    let mut looked = proxy.check(host, port, &mut findings);
    let address = host.parse::<IpAddr>().ok();
    let mut connects_to = address;
    if looked.is_ok() && address.is_none() && !leads_to.is_empty() {
        for address in leads_to.iter().take(MAX_ADDRESSES) {
            looked = proxy.check_address(*address, &mut findings);
            if looked.is_ok() {
                connects_to = Some(*address);
                break;
            }
        }
    }
    explained.checks.extend(findings.into_iter().map(|finding| CheckAnswer {
        subject: finding.subject(),
        outcome: if finding.denies().is_some() { "denied" } else { "allowed" },
        why: finding.describe(proxy),
        key: finding.key().map(|below| format!("{key}.{below}")),
        place: None,
    }));
    let known = if proxy.users.is_empty() { "" } else { " to those with a password" };
    explained.answer = match (looked, connects_to) {
        (Err(denied), _) => format!("403 forbidden: {}", denied.detail()),
        (Ok(()), Some(address)) => {
            format!("allowed{known}: it is connected to {}", std::net::SocketAddr::new(address, port))
        }
        (Ok(()), None) => format!("allowed so far{known}: it depends on where {host} leads"),
    };
    if looked.is_ok() {
        let serves = match is_connect {
            true => "bytes are passed both ways",
            false => "the request goes there in origin form",
        };
        explained.then = Some(match connects_to {
            Some(_) => format!("once it has accepted, {serves}; 502 where it cannot be reached"),
            None => format!(
                "{host} is looked up for each request; the first of {MAX_ADDRESSES} addresses at most is taken that is of no `deny_networks`, and of the public internet or `allow_networks`, else it is 403 (--leads-to IP asks about one); there {serves}"
            ),
        });
    }
}
