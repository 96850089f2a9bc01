//! What the engine is told: plain, already valid data. Written by hand or lowered from files by `lb-config`.

mod forward_proxy;

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use lb_core::{BalancerOptions, KeySource, StrategyConfig};
use lb_dump::DumpConfig;
pub use lb_h2::{BackendLimits, Http2Limits, Pings};
use lb_health::{HealthConfig, UpstreamOptions};
use lb_policy::PolicyConfig;
use lb_router::{HostPattern, RouteConfig};
use lb_tls::{ClientOptions, ServerOptions};

pub use self::forward_proxy::{ForwardProxyConfig, ForwardProxyUser};

/// Everything one running gateway is told.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayConfig {
    /// Worker threads; each has its own listeners, runtime and pool.
    pub workers: NonZeroUsize,
    /// From SIGTERM to the end, whatever is still in flight then.
    pub shutdown_timeout: Duration,
    /// How long of that listeners stay open, so that whoever looks at `/ready` can send clients elsewhere first.
    pub drain_delay: Duration,
    /// Client connections at once, over all listeners; as many as the process has descriptors for where nothing is said.
    pub max_connections: Option<NonZeroUsize>,
    /// Where clients connect.
    pub listeners: Vec<ListenerConfig>,
    /// Peers whose `X-Forwarded-*` fields are believed and appended to.
    pub trusted_proxies: Vec<IpNet>,
    /// Upstream connections kept open.
    pub pool: PoolConfig,
    /// Names with `_` pass instead of being dropped.
    pub underscores_in_headers: bool,
    /// Repeated slashes in a path are merged before matching and forwarding.
    pub merge_slashes: bool,
    /// Named groups of backends.
    pub upstreams: Vec<UpstreamConfig>,
    /// First match wins, in this order.
    pub rules: Vec<RuleConfig>,
    /// Where what is known of bad backends is kept across restarts.
    pub state_file: Option<PathBuf>,
    /// The share of requests that are traced where whoever sent them has not decided it, from 0 to 1; without it nothing is
    /// traced, and `traceparent` passes as it came.
    pub trace_sample: Option<f64>,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerConfig {
    /// Unique name, for logs and metrics.
    pub name: String,
    /// The address to bind.
    pub address: SocketAddr,
    /// Whether the status endpoints answer here, ahead of the rules.
    pub status_endpoints: bool,
    /// Bounds on what one client connection may ask for.
    pub limits: ClientLimits,
    /// TLS; `None` is in the clear.
    pub tls: Option<ListenerTls>,
    /// Connections begin with a PROXY header, which says who they come from.
    pub proxy_protocol: Option<ProxiedListener>,
    /// Connections are passed on as they are; `None` is HTTP.
    pub tcp: Option<TcpConfig>,
    /// Requests for other servers are taken, too.
    pub forward_proxy: Option<ForwardProxyConfig>,
}

/// Where the connections of a TCP listener go, and how long they may take.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpConfig {
    /// For connections that no name leads elsewhere; without it they are closed.
    pub default: Option<TcpTarget>,
    /// By the name that a client asks for as its TLS begins (RFC 6066 §3), which is passed on and not ended here. The first that
    /// fits.
    pub names: Vec<(Vec<HostPattern>, TcpTarget)>,
    /// Deadlines.
    pub timeouts: TcpTimeouts,
}

impl TcpConfig {
    /// Everywhere that its connections may go.
    pub fn targets(&self) -> impl Iterator<Item = &TcpTarget> {
        self.names.iter().map(|(_, target)| target).chain(&self.default)
    }
}

/// An upstream that connections lead to.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpTarget {
    /// Its name, which stays the same where configurations number upstreams anew.
    pub upstream: String,
    /// With no attempts, a failed connect is not tried elsewhere. The rest is of no meaning here.
    pub retries: RetryConfig,
}

/// Deadlines of one connection of a TCP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpTimeouts {
    /// Until a backend has accepted, over all attempts.
    pub total: Duration,
    /// One connect, with its TLS.
    pub connect: Duration,
    /// How long nothing may move either way.
    pub idle: Duration,
    /// How long the beginning of a client's TLS is waited for, where names matter.
    pub hello: Duration,
}

impl Default for TcpTimeouts {
    fn default() -> Self {
        let Timeouts { response_head, connect, tunnel, .. } = Timeouts::default();
        Self { total: response_head, connect, idle: tunnel, hello: Duration::from_secs(5) }
    }
}

/// Connections that begin with a PROXY header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxiedListener {
    /// Peers whose headers are believed. Connections from all others are closed.
    pub from: Vec<IpNet>,
    /// From the accepted connection to the header's end.
    pub timeout: Duration,
}

impl ProxiedListener {
    /// Whether the headers of this peer are believed.
    #[must_use]
    pub fn believes(&self, peer: IpAddr) -> bool {
        crate::forwarded::is_trusted(peer, &self.from)
    }

    /// Unless something else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(3);
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// TLS with clients.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// Certificates, versions, and what is asked of clients.
    pub options: ServerOptions,
    /// From the accepted connection to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Where backends are told the subject of a client's certificate. What clients say there themselves is dropped, at every
    /// listener.
    pub subject_header: Option<HeaderName>,
}

impl ListenerTls {
    /// Unless something else is said.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
}

/// Bounds on one client connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a request head (431 above).
    pub max_header_bytes: usize,
    /// Fields of a request head (431 above).
    pub max_headers: usize,
    /// From the first byte of a head to its last (408 above).
    pub header_timeout: Duration,
    /// How long an idle keep-alive connection stays open.
    pub keep_alive_timeout: Duration,
    /// Connections that one address may have.
    pub per_address: AddressLimit,
    /// What an HTTP/2 connection may ask for; `None` where only HTTP/1.1 is spoken.
    pub http2: Option<Http2Limits>,
    /// What an HTTP/3 connection may ask for; `None` where it is not spoken. Only with TLS.
    pub http3: Option<Http3Limits>,
}

/// HTTP/3 with clients: bounds on a connection, and how clients are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http3Limits {
    /// Streams at once that the client may open.
    pub max_streams: u32,
    /// Bytes of one stream that may be under way to us.
    pub stream_window: u32,
    /// Bytes of all streams together that may be under way to us.
    pub connection_window: u32,
    /// Streams that a client may reset within a minute; beyond that its connection is closed.
    pub max_resets: u32,
    /// The port that clients are told, where it is not the listener's own.
    pub advertised_port: Option<u16>,
    /// How long clients may remember it.
    pub advertised_for: Duration,
}

impl Default for Http3Limits {
    fn default() -> Self {
        let Http2Limits { max_streams, stream_window, connection_window, max_resets, .. } =
            Http2Limits::default();
        Self {
            max_streams,
            stream_window,
            connection_window,
            max_resets,
            advertised_port: None,
            advertised_for: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// How many connections one address may have; networks of 64 bits count as one in IPv6. Trusted proxies are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressLimit {
    /// At once.
    pub connections: NonZeroU32,
    /// Whether connections from this machine itself are not counted.
    pub spares_this_machine: bool,
}

impl Default for AddressLimit {
    fn default() -> Self {
        const CONNECTIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(1023);
        Self { connections: CONNECTIONS, spares_this_machine: true }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_header_bytes: 32 << 10,
            max_headers: 100,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            per_address: AddressLimit::default(),
            http2: Some(Http2Limits::default()),
            http3: None,
        }
    }
}

/// Bounds on idle upstream connections, over the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolConfig {
    /// All backends together.
    pub max_idle: usize,
    /// One backend.
    pub max_idle_per_backend: usize,
    /// How long a connection may stay idle.
    pub idle_timeout: Duration,
    /// Requests after which a connection is closed.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// Age after which a connection is closed.
    pub max_connection_age: Option<Duration>,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_idle: 4096,
            max_idle_per_backend: 256,
            idle_timeout: Duration::from_secs(90),
            max_requests_per_connection: None,
            max_connection_age: None,
        }
    }
}

/// A named group of backends and how one of them is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    /// Unique name.
    pub name: String,
    /// How a backend is chosen.
    pub strategy: StrategyConfig,
    /// The members, in the order they were listed.
    pub backends: Vec<BackendConfig>,
    /// What holds for the health of all of them together.
    pub health: UpstreamOptions,
    /// What its balancer does beside the strategy.
    pub balancer: BalancerOptions,
    /// Who waits while every backend is at its limit.
    pub queue: QueueConfig,
}

/// One member of an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendConfig {
    /// The URL exactly as configured: the backend's identity in logs, metrics and the admin API.
    pub url: String,
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS to it; `None` is in the clear.
    pub tls: Option<ClientOptions>,
    /// Path of the URL without a trailing slash, put in front of every forwarded path; empty for none.
    pub base_path: String,
    /// Share of requests; 0 means no new requests.
    pub weight: f64,
    /// Requests in flight at once, over the whole process.
    pub max_connections: Option<NonZeroU32>,
    /// Until the response head; beats the rule's.
    pub timeout: Option<Duration>,
    /// Used only while no other backend is eligible.
    pub backup: bool,
    /// Which HTTP it speaks.
    pub protocol: BackendProtocol,
    /// Bounds on its connections where they speak HTTP/2.
    pub http2: BackendLimits,
    /// Its connections begin with a PROXY header of this version, which names the client. Each serves one request then. Not
    /// for HTTP/2, whose connections many clients share.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How it is found to be healthy or not.
    pub health: HealthConfig,
}

/// Which HTTP a backend speaks, if any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: agreed on by TLS, or by prior knowledge in the clear.
    Http2,
    /// Whichever of the two is agreed on by TLS, HTTP/2 rather than HTTP/1.1, connection by connection.
    Auto,
    /// None of them: connections of TCP listeners alone lead to it.
    Tcp,
}

/// One rule: what it matches, where it leads and what happens on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleConfig {
    /// What it matches and how the path is rewritten.
    pub route: Arc<RouteConfig>,
    /// Index into [`GatewayConfig::upstreams`]; of no meaning to a rule that redirects.
    pub upstream: usize,
    /// Its requests are shared out between upstreams, of which `upstream` is the first.
    pub split: Option<SplitConfig>,
    /// Where copies of its requests go, whose answers nobody gets.
    pub mirror: Option<MirrorConfig>,
    /// The client is sent elsewhere instead.
    pub redirect: Option<Redirect>,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The Host field the backend sees.
    pub host_header: HostHeader,
    /// What is done when an attempt at a backend fails.
    pub retries: RetryConfig,
    /// When a second backend is asked beside the first, for idempotent requests without a body.
    pub hedge: Option<HedgeAfter>,
    /// How many of its requests may be under way at once.
    pub concurrency: Option<ConcurrencyConfig>,
    /// Policies in their order.
    pub policies: Vec<PolicyConfig>,
    /// Whether and how its exchanges are dumped.
    pub dump: Option<DumpConfig>,
}

/// How a rule's requests are shared out between upstreams.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitConfig {
    /// Each gets its share; their names differ.
    pub arms: Vec<ArmConfig>,
    /// What keeps a request's arm the same; without one, requests take turns, exactly by weight.
    pub key: Option<KeySource>,
    /// A field in which a request may name its arm.
    pub header: Option<HeaderName>,
    /// When an arm is taken back by itself.
    pub rollback: Option<RollbackConfig>,
    /// Told apart from others that say the same: what was taken back of one of them is not of the next.
    pub turn: u64,
}

/// Copies of requests for another upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorConfig {
    /// What it is called.
    pub name: String,
    /// Index into [`GatewayConfig::upstreams`].
    pub upstream: usize,
    /// Of requests, from 0 to 100.
    pub percent: f64,
    /// Only these; none for all.
    pub methods: Vec<Method>,
    /// Copies under way at once, over the whole process; more are dropped.
    pub max_pending: u32,
    /// The largest body that is copied; requests with larger ones are not.
    pub max_body: usize,
    /// Whether status and body of the two answers are compared.
    pub compare: bool,
    /// For a copy as a whole.
    pub timeout: Duration,
}

impl MirrorConfig {
    /// Unless something else is said.
    pub const MAX_PENDING: u32 = 100;
    /// Unless something else is said.
    pub const MAX_BODY: usize = 64 << 10;
    /// Unless something else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
}

/// When a smaller arm of a split is taken back by itself, for being worse than the largest.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackConfig {
    /// By how much its share of failed requests may lie above the largest arm's.
    pub error_rate: Option<f64>,
    /// How many times the largest arm's 99th percentile its own may be.
    pub p99: Option<f64>,
    /// Requests of either arm within the window, before anything is said.
    pub min_requests: NonZeroU32,
    /// How far back is looked.
    pub window: Duration,
}

impl RollbackConfig {
    /// Unless something else is said.
    pub const MIN_REQUESTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);
    /// Unless something else is said.
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// Readings of more are not kept.
    pub const LONGEST: Duration = Duration::from_secs(3600);
}

/// One upstream of a split.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmConfig {
    /// What it is called in the split.
    pub name: String,
    /// Index into [`GatewayConfig::upstreams`].
    pub upstream: usize,
    /// Share of requests; 0 gets only those that name it.
    pub weight: f64,
}

/// What is done when an attempt at a backend fails. Failed connects are tried elsewhere whatever stands here, unless
/// there are no attempts at all: nothing of the request was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryConfig {
    /// Extra tries; 0 turns all retries off.
    pub attempts: u32,
    /// What is tried elsewhere, for idempotent requests.
    pub on: RetryOn,
    /// Extra requests as a share of those that are answered, over the upstream and the process.
    pub budget: f64,
    /// Until the response head, its connection included, for one attempt; then it is broken off. An upload that cannot be sent
    /// again does not count.
    pub attempt_timeout: Option<Duration>,
    /// The largest request body that is kept until an answer has come, so that it can be sent again.
    pub replay_body: usize,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: RetryOn::default(),
            budget: 0.2,
            attempt_timeout: None,
            replay_body: 64 << 10,
        }
    }
}

/// Failures that are worth another backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// The connection broke before an answer.
    pub reset: bool,
    /// One of these statuses, in rising order.
    pub statuses: Vec<u16>,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { reset: true, statuses: Vec::new() }
    }
}

impl RetryOn {
    /// Whether an answer of this status is given up for another backend's.
    #[must_use]
    pub fn status(&self, status: StatusCode) -> bool {
        !self.statuses.is_empty() && self.statuses.binary_search(&status.as_u16()).is_ok()
    }
}

/// How long the first backend is waited for before a second one is asked too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// So long.
    Fixed(Duration),
    /// As long as 95 of 100 answers of the upstream took so far.
    P95,
}

/// How many requests of a rule may be under way at once, over the whole process; then 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencyConfig {
    /// At most; `None` is no bound.
    pub max: Option<NonZeroU32>,
    /// Whether the limit follows how long the backends take.
    pub is_adaptive: bool,
}

/// How many requests wait for a free place at a backend, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Requests of one upstream, over the whole process; 0 turns waiting off.
    pub max_pending: u32,
    /// Then 503.
    pub timeout: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { max_pending: 100, timeout: Duration::from_secs(1) }
    }
}

/// Where a rule sends its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Put in front of the rewritten path and the query: `https://new.example.com`, or nothing to stay here.
    pub origin: String,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// Deadlines of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's arrival to the response head, over all attempts (504).
    pub response_head: Duration,
    /// One TCP connect.
    pub connect: Duration,
    /// Between two pieces of a body, either way.
    pub idle: Duration,
    /// How long nothing may move on a connection that was switched to another protocol, as WebSocket does.
    pub tunnel: Duration,
    /// Bytes a second that a client moves of a body at least, while it is the client that is waited for.
    pub min_rate: Option<NonZeroU64>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            response_head: Duration::from_secs(30),
            connect: Duration::from_secs(3),
            idle: Duration::from_secs(60),
            tunnel: Duration::from_secs(60 * 60),
            min_rate: None,
        }
    }
}

/// What Host a backend is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Preserve,
    /// The backend's own authority.
    Backend,
    /// This one.
    Literal(HeaderValue),
}
