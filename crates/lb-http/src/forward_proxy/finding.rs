//! What decides over a connection to another server, told by the code that decides.
//!
//! Looking is generic over a [`Tracer`] that hears of every decision; traffic passes `()`, which compiles to nothing.

use std::net::IpAddr;

use super::access::Denied;
use crate::config::ForwardProxyConfig;

/// Hears what is found.
pub(crate) trait Tracer {
    /// This decided over host, port or address.
    fn found(&mut self, finding: Finding);
}

/// Hears nothing.
impl Tracer for () {
    fn found(&mut self, _finding: Finding) {}
}

/// Keeps all of it, in its order.
impl Tracer for Vec<Finding> {
    fn found(&mut self, finding: Finding) {
        self.push(finding);
    }
}

/// What decided: an entry of a list by its place, or that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// `deny_hosts` has it.
    DeniedHost(usize),
    /// `allow_hosts` has it.
    AllowedHost(usize),
    /// `allow_hosts` is empty.
    AnyHost,
    /// It is an address of `allow_networks`.
    HostOfNetwork(usize),
    /// `allow_hosts` does not have it.
    UnlistedHost,
    /// `deny_ports` has it.
    DeniedPort(usize),
    /// `allow_ports` has it.
    AllowedPort(usize),
    /// `allow_ports` does not have it.
    UnlistedPort,
    /// `deny_networks` has it.
    DeniedNetwork(IpAddr, usize),
    /// `allow_networks` has it.
    AllowedNetwork(IpAddr, usize),
    /// It is of the public internet.
    PublicAddress(IpAddr),
    /// It is not, and `allow_networks` does not have it.
    OtherAddress(IpAddr),
}

impl Finding {
    /// Why there is no connection, where this is why.
    pub(crate) fn denies(self) -> Option<Denied> {
        match self {
            Self::DeniedHost(_) | Self::UnlistedHost => Some(Denied::Host),
            Self::DeniedPort(_) | Self::UnlistedPort => Some(Denied::Port),
            Self::DeniedNetwork(..) | Self::OtherAddress(_) => Some(Denied::Address),
            Self::AllowedHost(_)
            | Self::AnyHost
            | Self::HostOfNetwork(_)
            | Self::AllowedPort(_)
            | Self::AllowedNetwork(..)
            | Self::PublicAddress(_) => None,
        }
    }

    /// What is looked at.
    pub(crate) fn subject(self) -> &'static str {
        match self {
            Self::DeniedHost(_)
            | Self::AllowedHost(_)
            | Self::AnyHost
            | Self::HostOfNetwork(_)
            | Self::UnlistedHost => "host",
            Self::DeniedPort(_) | Self::AllowedPort(_) | Self::UnlistedPort => "port",
            Self::DeniedNetwork(..)
            | Self::AllowedNetwork(..)
            | Self::PublicAddress(_)
            | Self::OtherAddress(_) => "address",
        }
    }

    /// The key that decided, below `forward_proxy`: `deny_hosts[2]`.
    pub(crate) fn key(self) -> Option<String> {
        Some(match self {
            Self::DeniedHost(place) => format!("deny_hosts[{place}]"),
            Self::AllowedHost(place) => format!("allow_hosts[{place}]"),
            Self::UnlistedHost => "allow_hosts".to_owned(),
            Self::HostOfNetwork(place) | Self::AllowedNetwork(_, place) => format!("allow_networks[{place}]"),
            Self::DeniedPort(place) => format!("deny_ports[{place}]"),
            Self::AllowedPort(place) => format!("allow_ports[{place}]"),
            Self::UnlistedPort => "allow_ports".to_owned(),
            Self::DeniedNetwork(_, place) => format!("deny_networks[{place}]"),
            Self::AnyHost | Self::PublicAddress(_) => return None,
            Self::OtherAddress(_) => "allow_networks".to_owned(),
        })
    }

    /// In words.
    pub(crate) fn describe(self, config: &ForwardProxyConfig) -> String {
        let ports = |list: &[std::ops::RangeInclusive<u16>], place: usize| {
            list.get(place).map_or_else(String::new, |ports| match ports.start() == ports.end() {
                true => format!("`{}`", ports.start()),
                false => format!("`{}-{}`", ports.start(), ports.end()),
            })
        };
        let entry = |text: Option<String>| text.map_or_else(String::new, |text| format!("`{text}`"));
        let host = |place: usize| entry(config.allow_hosts.get(place).map(ToString::to_string));
        let network = |place: usize| entry(config.allow_networks.get(place).map(ToString::to_string));
        match self {
            Self::DeniedHost(place) => {
                format!(
                    "it is {} of `deny_hosts`",
                    entry(config.deny_hosts.get(place).map(ToString::to_string))
                )
            }
            Self::AllowedHost(place) => format!("it is {} of `allow_hosts`", host(place)),
            Self::AnyHost => "`allow_hosts` is empty, which is any host".to_owned(),
            Self::HostOfNetwork(place) => {
                format!("it is an address of {} of `allow_networks`", network(place))
            }
            Self::UnlistedHost => format!("none of the {} `allow_hosts` is it", config.allow_hosts.len()),
            Self::DeniedPort(place) => format!("it is {} of `deny_ports`", ports(&config.deny_ports, place)),
            Self::AllowedPort(place) => {
                format!("it is {} of `allow_ports`", ports(&config.allow_ports, place))
            }
            Self::UnlistedPort => {
                let all: Vec<_> =
                    (0..config.allow_ports.len()).map(|place| ports(&config.allow_ports, place)).collect();
                format!("`allow_ports` has {} alone", all.join(", "))
            }
            Self::DeniedNetwork(address, place) => {
                let network = entry(config.deny_networks.get(place).map(ToString::to_string));
                format!("{address} is of {network} of `deny_networks`")
            }
            Self::AllowedNetwork(address, place) => {
                format!("{address} is of {} of `allow_networks`", network(place))
            }
            Self::PublicAddress(address) => format!("{address} is of the public internet"),
            Self::OtherAddress(address) => {
                format!("{address} is not of the public internet, and `allow_networks` does not have it")
            }
        }
    }
}
