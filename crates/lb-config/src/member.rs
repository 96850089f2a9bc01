//! What backends are told that come while the gateway runs, by discovery or by an operator's hand: the same as those that
//! the file lists with nothing but a URL.

use lb_health::HealthConfig;
use lb_http::config::{BackendConfig, BackendLimits, BackendProtocol, ProxyVersion};
use lb_tls::ClientOptions;

use crate::lower::url::{self, BackendUrl};
use crate::written::upstream::Protocol;

/// What an upstream says of all of its backends.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberTemplate {
    /// The upstream's name as rules write it: the same for what a rule makes of it that balances it otherwise.
    pub upstream: String,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) http2: BackendLimits,
    pub(crate) proxy_protocol: Option<ProxyVersion>,
    /// For `https`.
    pub(crate) tls: MemberTls,
    pub(crate) health: HealthConfig,
}

/// How a member that is reached by `https` is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberTls {
    pub(crate) options: ClientOptions,
    /// Whether each is to be the server of its own URL.
    pub(crate) by_host: bool,
}

/// Why a URL cannot be a backend's here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// It is none.
    #[error("{message}; {help}")]
    Url {
        /// What is wrong.
        message: &'static str,
        /// How to mend it.
        help: String,
    },
    /// The upstream's `protocol` is not spoken by this scheme.
    #[error("`protocol` of the upstream is {protocol}, which is not spoken at an `{scheme}` URL")]
    Protocol {
        /// As written.
        protocol: &'static str,
        /// `http`, `https`, `tcp` or `tls`.
        scheme: &'static str,
    },
}

impl MemberTemplate {
    /// A backend at this URL, of weight 1. Its certificate must be for its URL's host, or where there is one for this name,
    /// unless the upstream says otherwise.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn backend(&self, url: &str, server_name: Option<&str>) -> Result<BackendConfig, MemberError> {
        let BackendUrl { secure, raw, host, port, base_path } =
            url::parse(url).map_err(|error| MemberError::Url { message: error.message, help: error.help })?;
        let scheme = match (raw, secure) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "tcp",
            (true, true) => "tls",
        };
        let protocol = match (self.protocol, secure) {
            (None | Some(Protocol::Auto), _) if raw => BackendProtocol::Tcp,
            (Some(Protocol::H1), _) if raw => return Err(MemberError::Protocol { protocol: "h1", scheme }),
            (Some(Protocol::H2), _) if raw => return Err(MemberError::Protocol { protocol: "h2", scheme }),
            (Some(Protocol::H2c), _) if raw => return Err(MemberError::Protocol { protocol: "h2c", scheme }),
            (Some(Protocol::Auto), true) if self.proxy_protocol.is_none() => BackendProtocol::Auto,
            (None | Some(Protocol::Auto | Protocol::H1), _) => BackendProtocol::Http1,
            (Some(Protocol::H2), true) | (Some(Protocol::H2c), false) => BackendProtocol::Http2,
            (Some(Protocol::H2), false) => return Err(MemberError::Protocol { protocol: "h2", scheme }),
            (Some(Protocol::H2c), true) => return Err(MemberError::Protocol { protocol: "h2c", scheme }),
        };
        let MemberTls { options, by_host } = &self.tls;
        let tls = secure.then(|| {
            let mut options = options.clone();
            if *by_host {
                options.server_name = server_name.map_or_else(|| host.clone(), str::to_owned);
            }
            if raw {
                options.alpn.clear();
            }
            options
        });
        Ok(BackendConfig {
            url: url.to_owned(),
            host,
            port,
            tls,
            base_path,
            weight: 1.0,
            max_connections: None,
            timeout: None,
            backup: false,
            protocol,
            http2: self.http2,
            proxy_protocol: self.proxy_protocol,
            health: self.health.clone(),
        })
    }
}
