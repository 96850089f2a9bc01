//! Who may have a connection to where. Names are looked at as they are asked for, addresses once they are known: what has been
//! looked at is what is connected to, so that no name can lead elsewhere in between.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use lb_router::{HostPattern, RouteProblem};

use super::finding::{Finding, Tracer};
use crate::config::ForwardProxyConfig;

/// Why a connection is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// By its host.
    Host,
    /// By its port.
    Port,
    /// By where its name leads.
    Address,
}

impl Denied {
    /// What a person reads.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Host => "this proxy does not connect to this host",
            Self::Port => "this proxy does not connect to this port",
            Self::Address => "this proxy does not connect to the address of this host",
        }
    }
}

impl ForwardProxyConfig {
    /// A pattern for one host, which is an address in its one spelling where it is one.
    ///
    /// # Errors
    /// It is no host.
    pub fn host(pattern: &str) -> Result<HostPattern, RouteProblem> {
        let bare = pattern.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => HostPattern::parse(&spelt(address)),
            Err(_) => HostPattern::parse(pattern),
        }
    }

    /// Looks at what is asked for. Addresses stand without brackets.
    pub(crate) fn check(&self, host: &str, port: u16, tracer: &mut impl Tracer) -> Result<(), Denied> {
        let address = host.strip_suffix('.').unwrap_or(host).parse::<IpAddr>().ok();
        let shown = address.map_or(Cow::Borrowed(host), |address| Cow::Owned(spelt(address)));
        let named =
            |patterns: &[HostPattern]| patterns.iter().position(|pattern| pattern.matches(Some(&shown)));
        let network = || address.and_then(|address| self.allowed_network(address));
        let by_host = if let Some(place) = named(&self.deny_hosts) {
            Finding::DeniedHost(place)
        } else if self.allow_hosts.is_empty() {
            Finding::AnyHost
        } else if let Some(place) = named(&self.allow_hosts) {
            Finding::AllowedHost(place)
        } else {
            network().map_or(Finding::UnlistedHost, Finding::HostOfNetwork)
        };
        settle(by_host, tracer)?;
        let holds = |ports: &[RangeInclusive<u16>]| ports.iter().position(|ports| ports.contains(&port));
        let by_port = match holds(&self.deny_ports) {
            Some(place) => Finding::DeniedPort(place),
            None => holds(&self.allow_ports).map_or(Finding::UnlistedPort, Finding::AllowedPort),
        };
        settle(by_port, tracer)?;
        address.map_or(Ok(()), |address| self.check_address(address, tracer))
    }

    /// Looks at an address that is about to be connected to.
    pub(crate) fn check_address(&self, address: IpAddr, tracer: &mut impl Tracer) -> Result<(), Denied> {
        let address = address.to_canonical();
        let denied = self.deny_networks.iter().position(|network| network.contains(&address));
        let finding = match (denied, self.allowed_network(address)) {
            (Some(place), _) => Finding::DeniedNetwork(address, place),
            (None, Some(place)) => Finding::AllowedNetwork(address, place),
            (None, None) if is_public(address) => Finding::PublicAddress(address),
            (None, None) => Finding::OtherAddress(address),
        };
        settle(finding, tracer)
    }

    fn allowed_network(&self, address: IpAddr) -> Option<usize> {
        let address = address.to_canonical();
        self.allow_networks.iter().position(|network| network.contains(&address))
    }
}

/// An address as patterns have it, which may be written in many ways.
fn spelt(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn settle(finding: Finding, tracer: &mut impl Tracer) -> Result<(), Denied> {
    tracer.found(finding);
    finding.denies().map_or(Ok(()), Err)
}

/// A host that could be an address in a spelling that not everyone reads alike: `127.1`, `0x7f000001`, `2130706433`, `010.0.0.1`.
/// As browsers have it, a host whose last label is a number is an address, or nothing
/// (<https://url.spec.whatwg.org/#ends-in-a-number-checker>).
pub(super) fn is_doubtful(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_hex = last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
        || is_hex && last.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit());
    // An address of IPv6 may end in one of IPv4.
    is_number && host.parse::<IpAddr>().is_err()
}

/// Whether an address is of the public internet, and of no service that clouds have there for their own machines (IANA's special-purpose
/// registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let octets = address.octets();
    // Azure's own service for its machines has an address of the public internet.
    let is_metadata = octets == [168, 63, 129, 16];
    let is_special = matches!(
        octets,
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    );
    !is_metadata && !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // All of the public internet so far begins with 001. 6to4 and Teredo carry addresses of IPv4.
    let is_global = segments[0] & 0xe000 == 0x2000;
    let is_special =
        matches!(segments, [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..]);
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Timeouts;

    fn open() -> ForwardProxyConfig {
        ForwardProxyConfig {
            allow_hosts: Vec::new(),
            deny_hosts: Vec::new(),
            allow_ports: ForwardProxyConfig::PORTS.to_vec(),
            deny_ports: Vec::new(),
            allow_networks: Vec::new(),
            deny_networks: Vec::new(),
            users: Vec::new(),
            max_connections: ForwardProxyConfig::MAX_CONNECTIONS,
            timeouts: Timeouts::default(),
        }
    }

    fn patterns(patterns: &[&str]) -> Vec<HostPattern> {
        patterns.iter().map(|pattern| ForwardProxyConfig::host(pattern).unwrap()).collect()
    }

    #[test]
    fn what_is_not_of_the_public_internet_is_denied_however_it_is_written() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(open().check_address(address, &mut ()), Err(Denied::Address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "169.253.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(open().check_address(address, &mut ()), Ok(()), "{address}");
        }
    }

    #[test]
    fn networks_are_allowed_by_name_and_denied_before_that() {
        let networks = |networks: &[&str]| networks.iter().map(|network| network.parse().unwrap()).collect();
        let config = ForwardProxyConfig {
            allow_networks: networks(&["10.0.0.0/8", "fd00::/8"]),
            deny_networks: networks(&["10.9.0.0/16", "8.8.8.0/24"]),
            ..open()
        };
        for (address, expected) in [
            ("10.1.2.3", Ok(())),
            ("::ffff:10.1.2.3", Ok(())),
            ("fd00::1", Ok(())),
            ("10.9.1.1", Err(Denied::Address)),
            ("8.8.8.8", Err(Denied::Address)),
            ("127.0.0.1", Err(Denied::Address)),
            ("1.1.1.1", Ok(())),
        ] {
            assert_eq!(config.check_address(address.parse().unwrap(), &mut ()), expected, "{address}");
        }
    }

    #[test]
    fn hosts_and_ports_are_those_that_are_listed() {
        let config = ForwardProxyConfig {
            allow_hosts: patterns(&["example.com", "*.example.com"]),
            deny_hosts: patterns(&["secret.example.com", "*.secret.example.com", "[2606:4700::1111]"]),
            allow_ports: vec![443..=443, 8000..=8999],
            deny_ports: vec![8443..=8443],
            ..open()
        };
        for (host, port, expected) in [
            ("example.com", 443, Ok(())),
            ("A.Example.COM.", 443, Ok(())),
            ("secret.example.com", 443, Err(Denied::Host)),
            ("SECRET.example.com.", 443, Err(Denied::Host)),
            ("x.secret.example.com", 443, Err(Denied::Host)),
            ("example.com.evil.test", 443, Err(Denied::Host)),
            ("evilexample.com", 443, Err(Denied::Host)),
            ("8.8.8.8", 443, Err(Denied::Host)),
            ("2606:4700::1111", 443, Err(Denied::Host)),
            ("2606:4700:0:0::1111", 443, Err(Denied::Host)),
            ("example.com", 80, Err(Denied::Port)),
            ("example.com", 8999, Ok(())),
            ("example.com", 8443, Err(Denied::Port)),
            ("example.com", 0, Err(Denied::Port)),
        ] {
            assert_eq!(config.check(host, port, &mut ()), expected, "{host}:{port}");
        }
        assert_eq!(open().check("127.0.0.1", 80, &mut ()), Err(Denied::Address));
        assert_eq!(open().check("::ffff:127.0.0.1", 80, &mut ()), Err(Denied::Address));
    }

    #[test]
    fn numbers_that_are_no_address_as_everyone_writes_it_are_told() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0X7F.1",
            "127.1",
            "127.0.1",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "foo.1",
            "127.1.",
            "0x",
            "a.0x1",
        ] {
            assert!(is_doubtful(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "127.0.0.1.",
            "example.com",
            "1.example",
            "0x.example",
            "a1",
            "localhost.",
            "cafe",
            "",
        ] {
            assert!(!is_doubtful(host), "{host}");
        }
    }
}
