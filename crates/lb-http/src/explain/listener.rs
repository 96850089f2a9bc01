//! To which listener something comes, and who its client is taken for there.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::ClientAnswer;
use super::question::Arrival;
use crate::config::ListenerConfig;
use crate::snapshot::Snapshot;

/// A listener.
#[derive(Debug, Clone, Serialize)]
pub struct ListenerAnswer {
    /// Its name.
    pub name: String,
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// Its path in the configuration.
    pub key: String,
    /// Its file and line, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl ListenerAnswer {
    pub(super) fn of(index: usize, listener: &ListenerConfig) -> Self {
        Self {
            name: listener.name.clone(),
            address: listener.address,
            key: format!("listeners[{index}]"),
            place: None,
        }
    }
}

/// The listener that is meant; without a word of it the first that is `wanted`.
pub(super) fn find<'a>(
    snapshot: &'a Snapshot,
    arrival: &Arrival,
    wanted: impl Fn(&ListenerConfig) -> bool,
) -> Option<(usize, &'a ListenerConfig)> {
    let mut listeners = snapshot.config.listeners.iter().enumerate();
    let Some(meant) = arrival.listener.as_deref() else {
        return listeners.find(|(_, listener)| wanted(listener));
    };
    let named = listeners.clone().find(|(_, listener)| listener.name == meant);
    // At one address a listener of TCP and one that is reached by UDP might stand.
    let here = || listeners.clone().filter(|(_, listener)| leads_to(meant, listener.address));
    named
        .or_else(|| here().find(|(_, listener)| wanted(listener)))
        .or_else(|| listeners.find(|(_, listener)| leads_to(meant, listener.address)))
}

/// Whether a client that connects to `written` reaches a listener at this address. A name may lead anywhere: its port tells.
fn leads_to(written: &str, bound: SocketAddr) -> bool {
    if let Ok(address) = written.parse::<SocketAddr>() {
        let is_here = address.ip().to_canonical() == bound.ip() || bound.ip().is_unspecified();
        return is_here && address.port() == bound.port();
    }
    let port = written.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.is_some_and(|port| port == bound.port())
}

/// Those that are `wanted`, for people.
pub(super) fn list(snapshot: &Snapshot, wanted: impl Fn(&ListenerConfig) -> bool) -> String {
    let listeners = snapshot.config.listeners.iter().filter(|listener| wanted(listener));
    let shown: Vec<_> =
        listeners.map(|listener| format!("`{}` ({})", listener.name, listener.address)).collect();
    if shown.is_empty() { "there is none".to_owned() } else { format!("there is {}", shown.join(", ")) }
}

/// Who is taken for the client of a connection as it comes, ahead of its first byte; or why it is closed.
pub(super) fn client(listener: &ListenerConfig, arrival: &Arrival) -> Result<ClientAnswer, String> {
    let Arrival { peer, proxied_for, .. } = *arrival;
    let answer = |address: IpAddr, why: &str| Ok(ClientAnswer { peer, address, why: why.to_owned() });
    match (&listener.proxy_protocol, proxied_for) {
        (None, None) => answer(peer, "the peer itself: the listener has no `proxy_protocol`"),
        (None, Some(_)) => answer(
            peer,
            "the peer itself: the listener has no `proxy_protocol`, so a PROXY header is nothing but the connection's first bytes",
        ),
        (Some(proxied), _) if !proxied.believes(peer) => {
            Err(format!("{peer} is none of `proxy_protocol.from`, whose connections alone are taken"))
        }
        (Some(_), Some(client)) => {
            answer(client, "the PROXY header's, and the peer is one of `proxy_protocol.from`")
        }
        (Some(_), None) => answer(
            peer,
            "the peer, which is one of `proxy_protocol.from` and whose PROXY header is taken to name nobody else",
        ),
    }
}
