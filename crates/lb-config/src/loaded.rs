//! What a load yields.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use lb_discovery::UpstreamSources;
use lb_http::config::{GatewayConfig, ListenerTls};

use crate::diagnostic::Diagnostic;
use crate::mask;
use crate::member::MemberTemplate;
use crate::source::SourceKind;

/// A configuration that can run.
#[derive(Debug)]
pub struct Loaded {
    /// What the engine is told.
    pub config: Arc<GatewayConfig>,
    /// For each upstream of it, what backends are told that come while the gateway runs.
    pub members: Vec<MemberTemplate>,
    /// Where backends are listed that come and go while the gateway runs, for upstreams that have any.
    pub discover: Vec<UpstreamSources>,
    /// The address for operators; none where no `[admin]` table is written.
    pub admin: Option<AdminConfig>,
    /// Who is told of changes of health.
    pub alerts: Option<AlertsConfig>,
    /// Where spans are sent; nowhere where no `[tracing] endpoint` is written.
    pub tracing: Option<TracingConfig>,
    /// One line a request.
    pub access_log: AccessLogConfig,
    /// Whether per-backend statistics are kept (`LB_STATS_ENABLED`).
    pub statistics: bool,
    /// What was noticed without refusing anything.
    pub warnings: Vec<Diagnostic>,
    /// Where each value came from, in the order of the file; nothing unless it was asked for
    /// ([`Sources::with_provenance`](crate::Sources::with_provenance)).
    pub provenance: Vec<Provenance>,
    /// Where rules and listeners stand.
    pub places: Arc<Places>,
}

/// Where what is explained stands: `gatewayd.toml:12:1`.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Of each rule.
    pub(crate) rules: Vec<Place>,
    /// Of all that is written of listeners, by its path.
    pub(crate) listeners: HashMap<String, String>,
}

/// Where one thing stands. Said in words when it is asked for: most of ten thousand never are.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) kind: SourceKind,
    /// A file's name, a variable, a flag.
    pub(crate) source: Arc<str>,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
}

/// `gatewayd.toml:3:5`, `environment variable LB_STRATEGY`, `flag --strategy`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, source, line, column } = self;
        match kind {
            SourceKind::File => write!(f, "{source}:{line}:{column}"),
            SourceKind::Variable => write!(f, "environment variable {source}"),
            SourceKind::Flag => write!(f, "flag {source}"),
        }
    }
}

impl Places {
    /// Where the rule of this number stands.
    #[must_use]
    pub fn rule(&self, index: usize) -> Option<String> {
        self.rules.get(index).map(Place::to_string)
    }

    /// Where a listener's key such as `listeners[0].sni[1]` stands, or what it is a part of where it is not written by itself: one word
    /// may stand for a list, and for a table.
    #[must_use]
    pub fn listener(&self, path: &str) -> Option<&str> {
        let mut path = path;
        loop {
            if let Some(place) = self.listeners.get(path) {
                return Some(place);
            }
            path = path.get(..path.rfind(['.', '['])?)?;
        }
    }
}

/// Where operators connect.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// The address to bind.
    pub address: SocketAddr,
    /// What writes must carry; without one they are taken from loopback only.
    pub token: Option<Secret>,
    /// Spoken to by TLS; a client certificate that it asks for is as good as the token.
    pub tls: Option<ListenerTls>,
}

/// What the gateway calls by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// An `http` or `https` URL with a host.
    pub url: http::Uri,
    /// How it is believed, where it is `https`.
    pub tls: Option<lb_tls::ClientOptions>,
}

impl Called {
    /// Its URL as it may be shown: without passwords and tokens.
    #[must_use]
    pub fn shown(&self) -> String {
        mask::line(&self.url.to_string(), std::iter::empty(), 0..0).0
    }
}

/// Who is told of changes of health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertsConfig {
    /// Called once a change.
    pub webhook: Called,
}

/// Where spans are sent. Which requests have any is the engine's to know
/// ([`GatewayConfig::trace_sample`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracingConfig {
    /// Where OTLP over HTTP is taken.
    pub endpoint: Called,
    /// What the gateway is called.
    pub service_name: Option<String>,
}

/// The access log.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLogConfig {
    /// Whether it is written.
    pub enabled: bool,
    /// The fields of a line, in this order; none for all of them.
    pub fields: Option<Vec<String>>,
    /// The share of requests that are logged, from 0 to 1.
    pub sample: f64,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self { enabled: false, fields: None, sample: 1.0 }
    }
}

/// One value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// `rules[0].backends[1].weight`
    pub path: String,
    /// As written; what a placeholder stands for, and secrets, are not shown.
    pub value: String,
    /// `gatewayd.toml:3:5`, `environment variable LB_STRATEGY`, `flag --strategy`
    pub place: String,
}

/// Text that must not be printed: `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for comparing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
