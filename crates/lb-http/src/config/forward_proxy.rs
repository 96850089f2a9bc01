//! Where a listener connects its clients to that ask it for other servers by name (a forward proxy).

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use lb_router::HostPattern;
use lb_tls::Password;

use super::Timeouts;

/// Who may have what.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardProxyConfig {
    /// These hosts alone; any where none is named.
    pub allow_hosts: Vec<HostPattern>,
    /// Never these, by the name that is asked for.
    pub deny_hosts: Vec<HostPattern>,
    /// These ports alone.
    pub allow_ports: Vec<RangeInclusive<u16>>,
    /// Never these.
    pub deny_ports: Vec<RangeInclusive<u16>>,
    /// Addresses that may be connected to although they are not of the public internet.
    pub allow_networks: Vec<IpNet>,
    /// Never these, whatever names lead there.
    pub deny_networks: Vec<IpNet>,
    /// Who has to say who they are; nobody where it is empty.
    pub users: Vec<ForwardProxyUser>,
    /// Connections to other servers at once, over the whole process.
    pub max_connections: NonZeroU32,
    /// Deadlines; `tunnel` is how long nothing may move on a connection that was asked for by CONNECT.
    pub timeouts: Timeouts,
}

/// Someone who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardProxyUser {
    /// Without a colon (RFC 7617 §2).
    pub name: String,
    /// Of what must be said with it.
    pub password: Password,
}

impl ForwardProxyConfig {
    /// Ports that are asked for where nothing is said of them: HTTP's and HTTPS's.
    pub const PORTS: [RangeInclusive<u16>; 2] = [80..=80, 443..=443];
    /// Connections at once where nothing is said of them.
    pub const MAX_CONNECTIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1023);
}
