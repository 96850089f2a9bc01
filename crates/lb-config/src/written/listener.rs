//! Where clients connect.

use serde::Deserialize;

use super::values::{At, List, Ports, Shorthand, Size, SwitchOr, Time, WordOr};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    pub(crate) name: Option<At<String>>,
    pub(crate) address: Option<At<String>>,
    pub(crate) protocol: Option<Protocol>,
    /// Of a TCP listener: where its connections go.
    pub(crate) upstream: Option<At<String>>,
    /// Where else, by the name that a client's TLS asks for.
    pub(crate) sni: Option<At<List<Sni>>>,
    /// How long nothing may move on a connection that is passed on.
    pub(crate) idle_timeout: Option<Time>,
    /// One connect to a backend, for a connection that is passed on.
    pub(crate) connect_timeout: Option<Time>,
    /// How long the beginning of a client's TLS is waited for, where `sni` is written.
    pub(crate) hello_timeout: Option<Time>,
    pub(crate) tls: Option<At<WordOr<ListenerTls>>>,
    pub(crate) status_endpoints: Option<bool>,
    pub(crate) max_header_size: Option<At<Size>>,
    pub(crate) max_headers: Option<At<u32>>,
    pub(crate) header_timeout: Option<Time>,
    pub(crate) keep_alive_timeout: Option<Time>,
    pub(crate) max_connections_per_address: Option<At<u32>>,
    pub(crate) http2: Option<At<SwitchOr<Http2>>>,
    /// Whether clients may ask for other servers, and for which.
    pub(crate) forward_proxy: Option<At<ForwardProxy>>,
    pub(crate) http3: Option<At<SwitchOr<Http3>>>,
    /// Whether connections begin with a PROXY header.
    pub(crate) proxy_protocol: Option<At<SwitchOr<Proxied>>>,
}

/// Where clients are connected to that ask for other servers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForwardProxy {
    pub(crate) enabled: Option<bool>,
    pub(crate) allow_hosts: Option<List<String>>,
    pub(crate) deny_hosts: Option<List<String>>,
    pub(crate) allow_ports: Option<List<Ports>>,
    pub(crate) deny_ports: Option<List<Ports>>,
    pub(crate) allow_networks: Option<List<String>>,
    pub(crate) deny_networks: Option<List<String>>,
    /// Who has to say who they are.
    pub(crate) users: Option<List<ProxyUser>>,
    pub(crate) max_connections: Option<At<u32>>,
    pub(crate) connect_timeout: Option<Time>,
    /// Of what was asked for by CONNECT.
    pub(crate) tunnel_timeout: Option<Time>,
}

/// Someone who may use a forward proxy.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyUser {
    pub(crate) name: Option<At<String>>,
    pub(crate) password: Option<At<String>>,
}

/// Names, and where they lead.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sni {
    pub(crate) hosts: Option<At<List<String>>>,
    pub(crate) upstream: Option<At<String>>,
}

/// Connections that begin with a PROXY header; `true` is the defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proxied {
    pub(crate) enabled: Option<bool>,
    /// Whose headers are believed.
    pub(crate) from: Option<List<String>>,
    /// Until the header's end.
    pub(crate) timeout: Option<Time>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Http,
    Tcp,
}

/// `tls = { cert, key }`, or `"self-signed"`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTls {
    pub(crate) cert: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    /// A DER file of what the authority says of the certificate (OCSP).
    pub(crate) ocsp: Option<At<String>>,
    /// More of them, chosen by the name that a client asks for.
    pub(crate) certificates: Option<At<List<Certificate>>>,
    pub(crate) min_version: Option<MinVersion>,
    pub(crate) ciphers: Option<At<List<String>>>,
    pub(crate) client_auth: Option<At<ClientAuth>>,
    pub(crate) handshake_timeout: Option<Time>,
}

/// A chain and its key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    pub(crate) cert: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
    pub(crate) ocsp: Option<At<String>>,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum MinVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// Certificates of clients.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientAuth {
    pub(crate) ca: Option<At<String>>,
    pub(crate) mode: Option<AuthMode>,
    /// The field in which backends are told the subject.
    pub(crate) subject_header: Option<At<String>>,
}

/// Whether a client may come without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthMode {
    Required,
    Optional,
}

impl Shorthand for ListenerTls {
    const EXPECTED: &'static str = "a table with `cert` and `key`, or \"self-signed\"";
}

/// `http2 = false`, or bounds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http2 {
    pub(crate) enabled: Option<bool>,
    pub(crate) max_concurrent_streams: Option<At<u32>>,
    pub(crate) stream_window: Option<At<Size>>,
    pub(crate) connection_window: Option<At<Size>>,
    pub(crate) max_frame_size: Option<At<Size>>,
    pub(crate) max_resets_per_minute: Option<At<u32>>,
}

/// `http3 = true`, or bounds and what clients are told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http3 {
    pub(crate) enabled: Option<bool>,
    pub(crate) max_concurrent_streams: Option<At<u32>>,
    pub(crate) stream_window: Option<At<Size>>,
    pub(crate) connection_window: Option<At<Size>>,
    pub(crate) max_resets_per_minute: Option<At<u32>>,
    /// The port that clients are told, where packets reach the listener by another one.
    pub(crate) advertised_port: Option<At<u32>>,
    /// For how long clients may remember it.
    pub(crate) advertised_for: Option<Time>,
}
