//! Containers that are labelled as members, by Docker's API: listed at the start, and again whenever a container has started,
//! gone, or become well or unwell.
//!
//! Labels: `gatewayd.upstream` is the upstream's name; `gatewayd.port` is needed where a container exposes more than one or none;
//! `gatewayd.network` where it is in several networks; `gatewayd.scheme`, `gatewayd.weight` and `gatewayd.backup` as wanted.
//!
//! An engine that has just started may not have started its containers: until it has listed one, those that there were stay for a time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{DockerConfig, Scheme};
use crate::feed::Feed;
use crate::http::{Peer, ask};
use crate::member::Member;
use crate::source::{Source, SourceError};

/// All containers are listed so often even if nothing is heard of them.
const RESYNC: Duration = Duration::from_secs(60);
/// After an event they are listed once more when this has passed, and then at five times as long each time up to [`RESYNC`]: Docker tells of
/// a change before it lists it, by as long as a busy disk takes.
const SETTLING: Duration = Duration::from_secs(1);
/// Events within this time are one.
const TOGETHER: Duration = Duration::from_millis(50);

pub(crate) struct Docker {
    config: DockerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(default, deserialize_with = "or_none")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_none")]
    ports: Vec<Port>,
    #[serde(default, deserialize_with = "or_none")]
    network_settings: Networks,
    /// In words, with what its health check comes to at the end, for instance `Up 3 seconds (unhealthy)`.
    #[serde(default)]
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Event {
    action: String,
}

/// What is not there may be null, as Podman has it.
fn or_none<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    private_port: u16,
    #[serde(rename = "Type", default)]
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Networks {
    #[serde(default, deserialize_with = "or_none")]
    networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
struct Network {
    #[serde(rename = "IPAddress", default)]
    four: String,
    #[serde(rename = "GlobalIPv6Address", default)]
    six: String,
}

impl Docker {
    pub(crate) fn new(config: &DockerConfig) -> Self {
        Self { config: config.clone() }
    }

    /// `is_known` once this engine has listed a member.
    async fn list(&self, feed: &Feed, is_known: &mut bool) -> Result<(), String> {
        let label = format!("gatewayd.upstream={}", self.config.upstream);
        let request = request("/containers/json", &json!({ "label": [label], "status": ["running"] }));
        let answer = ask(&self.config.peer, request).await?.whole().await?;
        let containers: Vec<Container> =
            serde_json::from_slice(&answer).map_err(|error| format!("not an answer of Docker: {error}"))?;
        let is_here = matches!(self.config.peer, Peer::Unix(_));
        let (members, odd) = members(&containers, is_here);
        let notice = odd.first().map(|first| format!("{} containers are no backends; {first}", odd.len()));
        let nobody = || format!("no container that runs is of the upstream `{}`", self.config.upstream);
        feed.members_anew(members, notice, is_known, nobody);
        Ok(())
    }

    /// Lists whenever something happens, until nobody tells any more.
    async fn round(&self, feed: &Feed) -> Result<(), String> {
        // Before the list, so that nothing happens unheard.
        let events = request("/events", &json!({ "type": ["container"] }));
        let mut events = ask(&self.config.peer, events).await?;
        if !events.status.is_success() {
            events.whole().await?;
            return Err("Docker tells of no events".to_owned());
        }
        let (mut pause, mut is_known) = (SETTLING, false);
        loop {
            self.list(feed, &mut is_known).await?;
            let mut until = Instant::now() + pause;
            until = feed.gives_up().map_or(until, |end| end.min(until));
            let mut is_heard = false;
            while let Ok(line) = tokio::time::timeout_at(until, events.next_line()).await {
                if matters(&line?.ok_or("the events ended")?) && !is_heard {
                    (until, is_heard) = (Instant::now() + TOGETHER, true);
                }
            }
            pause = if is_heard { SETTLING } else { (pause * 5).min(RESYNC) };
        }
    }
}

#[async_trait]
impl Source for Docker {
    async fn follow(&self, feed: &Feed) -> SourceError {
        match self.round(feed).await {
            Ok(()) => SourceError::Failed("the events ended".to_owned()),
            Err(reason) => SourceError::Failed(format!("{}: {reason}", self.config.peer)),
        }
    }
}

fn request(path: &str, filters: &Value) -> Request<Full<Bytes>> {
    let filters = filters.to_string();
    let target = format!("{path}?filters={}", utf8_percent_encode(&filters, NON_ALPHANUMERIC));
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.parse().unwrap_or_default();
    request
}

/// Whether a container may have come, gone or changed. Each of Docker's health checks is three events of a command that is run.
fn matters(event: &[u8]) -> bool {
    let event: Event = serde_json::from_slice(event).unwrap_or_default();
    !event.action.starts_with("exec_")
}

/// The members, and why others are none. Who fails a health check of Docker's, or has not passed one yet, is none as long as there is
/// another.
fn members(containers: &[Container], is_here: bool) -> (Vec<Member>, Vec<String>) {
    let (mut well, mut unwell, mut odd) = (Vec::new(), Vec::new(), Vec::new());
    for container in containers {
        let said = |reason: &str| format!("{}: {reason}", container.id.get(..12).unwrap_or(&container.id));
        match (member(container, is_here), health(container)) {
            (Ok(member), None) => well.push(member),
            (Ok(member), Some(reason)) => unwell.push((member, said(reason))),
            (Err(reason), _) => odd.push(said(&reason)),
        }
    }
    if well.is_empty() {
        well.extend(unwell.into_iter().map(|(member, _)| member));
    } else {
        odd.extend(unwell.into_iter().map(|(_, reason)| reason));
    }
    (well, odd)
}

/// What is wrong with a container by its own health check.
fn health(container: &Container) -> Option<&'static str> {
    match container.status.rsplit_once('(')?.1 {
        "unhealthy)" => Some("Docker finds it unhealthy"),
        "health: starting)" | "starting)" => Some("Docker has not found it healthy yet"),
        _ => None,
    }
}

/// `is_here` where the containers run on this machine.
fn member(container: &Container, is_here: bool) -> Result<Member, String> {
    let label = |name: &str| container.labels.get(&format!("gatewayd.{name}")).map(|value| value.trim());
    let port = match label("port") {
        Some(port) => {
            port.parse().ok().filter(|port| *port > 0).ok_or(format!("`gatewayd.port` is `{port}`"))?
        }
        None => only_port(&container.ports)?,
    };
    let networks = &container.network_settings.networks;
    let address = |network: &Network| network.four.parse().or_else(|_| network.six.parse()).ok();
    let address: IpAddr = match label("network") {
        Some(name) => {
            let network = networks.get(name).ok_or(format!("it is not in the network `{name}`"))?;
            address(network).ok_or(format!("it has no address in the network `{name}`"))?
        }
        None => {
            // One that has the host's network has no address of its own. Docker calls it so; Podman says nothing.
            let is_hosts = is_here && (networks.is_empty() || networks.contains_key("host"));
            let own = networks.values().find_map(address);
            own.or(is_hosts.then_some(Ipv4Addr::LOCALHOST.into()))
                .ok_or("it has no address in any network")?
        }
    };
    let scheme = match label("scheme") {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => return Err(format!("`gatewayd.scheme` is `{other}`")),
    };
    let weight = match label("weight") {
        None => 1.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|weight: &f64| weight.is_finite() && *weight >= 0.0)
            .ok_or(format!("`gatewayd.weight` is `{text}`"))?,
    };
    let backup = match label("backup") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(format!("`gatewayd.backup` is `{other}`")),
    };
    Ok(Member { weight, backup, ..Member::at_address(scheme, SocketAddr::new(address, port)) })
}

/// The one that a container exposes, by whatever address of the host.
fn only_port(ports: &[Port]) -> Result<u16, String> {
    let mut tcp: Vec<u16> =
        ports.iter().filter(|port| matches!(&*port.kind, "tcp" | "")).map(|port| port.private_port).collect();
    tcp.sort_unstable();
    tcp.dedup();
    match tcp[..] {
        [port] => Ok(port),
        _ => Err(format!("it exposes {} ports, and `gatewayd.port` does not say which", tcp.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(labels: &Value, ports: &Value, networks: &Value) -> Result<Member, String> {
        let container = json!({
            "Id": "0123456789abcdef", "Labels": labels, "Ports": ports,
            "NetworkSettings": { "Networks": networks },
        });
        member(&serde_json::from_value(container).unwrap(), true)
    }

    #[test]
    fn a_container_of_the_hosts_network_is_at_the_hosts_address() {
        let labels = json!({ "gatewayd.port": "81" });
        for networks in [json!({ "host": { "IPAddress": "" } }), json!(null)] {
            let at_home = read(&labels, &json!(null), &networks);
            assert_eq!(at_home, Ok(Member::at("http://127.0.0.1:81")), "{networks}");
            let container =
                json!({ "Id": "0", "Labels": labels, "NetworkSettings": { "Networks": networks } });
            let elsewhere = member(&serde_json::from_value(container).unwrap(), false);
            assert!(elsewhere.unwrap_err().contains("no address in any network"));
        }
    }

    #[test]
    fn who_is_unwell_is_a_member_only_where_nobody_is_well() {
        let container = |port: u16, status: &str| {
            let container = json!({
                "Id": port.to_string(), "Labels": { "gatewayd.port": port.to_string() }, "Status": status,
            });
            serde_json::from_value::<Container>(container).unwrap()
        };
        let well = ["Up 2 hours", "Up 2 hours (healthy)", "Up 2 hours (Paused)", ""];
        let unwell = ["Up 2 hours (unhealthy)", "Up 1 second (health: starting)"];
        let both = well.iter().chain(&unwell).zip(1..).map(|(status, port)| container(port, status));
        let (found, odd) = members(&both.collect::<Vec<_>>(), true);
        let ports = |range: std::ops::RangeInclusive<u16>| {
            range.map(|port| Member::at(format!("http://127.0.0.1:{port}"))).collect::<Vec<_>>()
        };
        assert_eq!(found, ports(1..=4));
        assert_eq!(odd, ["5: Docker finds it unhealthy", "6: Docker has not found it healthy yet"]);
        let none: Vec<_> = unwell.iter().zip(5..).map(|(status, port)| container(port, status)).collect();
        assert_eq!(members(&none, true), (ports(5..=6), Vec::new()));
    }

    #[test]
    fn commands_that_are_run_in_containers_are_no_news() {
        for (event, is_news) in [
            ("{\"Type\":\"container\",\"Action\":\"start\"}\n", true),
            ("{\"Action\":\"health_status: unhealthy\"}\n", true),
            ("{\"Action\":\"exec_create: /bin/sh -c test\"}\n", false),
            ("{\"Action\":\"exec_die\"}\n", false),
            ("{\"status\":\"start\"}\n", true),
            ("not JSON\n", true),
        ] {
            assert_eq!(matters(event.as_bytes()), is_news, "{event}");
        }
    }

    #[test]
    fn a_container_says_how_it_is_reached() {
        let bridge = json!({ "bridge": { "IPAddress": "172.17.0.2" } });
        let one_port = json!([
            { "PrivatePort": 8080, "Type": "tcp", "PublicPort": 80, "IP": "0.0.0.0" },
            { "PrivatePort": 8080, "Type": "tcp", "PublicPort": 80, "IP": "::" },
            { "PrivatePort": 53, "Type": "udp" },
        ]);
        assert_eq!(read(&json!({}), &one_port, &bridge), Ok(Member::at("http://172.17.0.2:8080")));
        let labels = json!({ "gatewayd.port": "81", "gatewayd.weight": "2", "gatewayd.scheme": "https",
            "gatewayd.backup": "true", "gatewayd.network": "b" });
        let networks = json!({ "a": { "IPAddress": "10.0.0.1" }, "b": { "IPAddress": "", "GlobalIPv6Address": "fd00::2" } });
        let member = read(&labels, &json!([]), &networks).unwrap();
        assert_eq!((member.url.as_str(), member.weight, member.backup), ("https://[fd00::2]:81", 2.0, true));
        for (labels, ports, networks, said) in [
            (json!({}), json!([]), bridge.clone(), "exposes 0 ports"),
            (json!({ "gatewayd.port": "x" }), one_port.clone(), bridge.clone(), "`gatewayd.port` is `x`"),
            (json!({ "gatewayd.network": "c" }), one_port.clone(), bridge.clone(), "not in the network `c`"),
            (json!({ "gatewayd.weight": "-1" }), one_port.clone(), bridge, "`gatewayd.weight` is `-1`"),
            (json!({}), one_port, json!({ "none": { "IPAddress": "" } }), "no address in any network"),
        ] {
            let reason = read(&labels, &ports, &networks).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        }
    }
}
