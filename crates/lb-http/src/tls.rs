//! TLS as the configuration has it: a listener's, and a backend's with what was last wrong with it. Nothing here is on a
//! request's way.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use lb_health::{ProbeProtocol, ProbeStream, Secure};
use lb_observe::control::{self, Reload as Counted};
use lb_observe::{ListenerStats, Registry};
use lb_tls::{ClientOptions, ClientTls, Reload, ServerTls, TlsError};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::config::{GatewayConfig, ListenerConfig};
use crate::inherit::InheritedKeys;
use crate::reload::Open;
use crate::snapshot::Snapshot;

/// How often certificate files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What of TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A listener's.
    #[error("listener {listener}: {source}")]
    Listener {
        /// Its name.
        listener: String,
        /// Which file is wrong, and how to mend it.
        source: TlsError,
    },
    /// A backend's.
    #[error("upstream {upstream}, backend {backend}: {source}")]
    Backend {
        /// The upstream's name.
        upstream: String,
        /// The backend's URL.
        backend: String,
        /// Which file is wrong, and how to mend it.
        source: TlsError,
    },
}

/// The TLS of each listener: that of an open one where it stays as it is, and else one that resumes the sessions of the listener
/// before it and shows the same certificate, where that was of its own making. What an operator should know of its files was said when the configuration was read.
pub(crate) fn secure(
    config: &GatewayConfig,
    open: &[Open],
    inherited: &[InheritedKeys],
) -> Result<Vec<Option<Arc<ServerTls>>>, TlsSetupError> {
    let secure = |listener: &ListenerConfig| {
        let Some(wanted) = &listener.tls else { return Ok(None) };
        let is_alike = |open: &&Open| {
            let tls = open.config.tls.as_ref();
            open.config.address == listener.address && tls.is_some_and(|tls| tls.options == wanted.options)
        };
        if let Some(open) = open.iter().find(is_alike) {
            return Ok(open.tls.clone());
        }
        let failed = |source| TlsSetupError::Listener { listener: listener.name.clone(), source };
        let keys = InheritedKeys::of(inherited, &listener.name, listener.address);
        let (tls, _) = ServerTls::new(wanted.options.clone(), keys).map_err(failed)?;
        Ok(Some(Arc::new(tls)))
    };
    config.listeners.iter().map(secure).collect()
}

/// What the TLS of open listeners leaves to those that go on.
pub(crate) fn keys(open: &[Open]) -> Vec<InheritedKeys> {
    let of_listener = |open: &Open| {
        let (listener, address) = (open.config.name.clone(), open.config.address);
        Some(InheritedKeys { listener, address, keys: open.tls.as_ref()?.keys() })
    };
    open.iter().filter_map(of_listener).collect()
}

/// The TLS to one backend.
pub(crate) struct BackendTls {
    pub(crate) tls: ClientTls,
    url: Arc<str>,
    /// What was wrong when a handshake was last tried.
    trouble: ArcSwapOption<String>,
}

impl BackendTls {
    pub(crate) fn new(
        upstream: &str,
        url: &Arc<str>,
        options: &ClientOptions,
    ) -> Result<Arc<Self>, TlsSetupError> {
        let failed = |source| {
            let (upstream, backend) = (upstream.to_owned(), url.to_string());
            TlsSetupError::Backend { upstream, backend, source }
        };
        let (tls, _) = ClientTls::new(options.clone()).map_err(failed)?;
        Ok(Arc::new(Self { tls, url: Arc::clone(url), trouble: ArcSwapOption::empty() }))
    }

    /// A handshake has failed for this reason; said once, until it is another or none.
    pub(crate) fn failed(&self, reason: &str) {
        let known = self.trouble.load();
        if known.as_ref().is_some_and(|known| known.as_str() == reason) {
            return;
        }
        tracing::warn!(component = "proxy", backend = %self.url, error = %reason, "no TLS with a backend");
        self.trouble.store(Some(Arc::new(reason.to_owned())));
    }

    /// A handshake has succeeded.
    pub(crate) fn succeeded(&self) {
        if self.trouble.load().is_some() {
            self.trouble.store(None);
        }
    }

    /// What was wrong when a handshake was last tried.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.load().as_ref().map(|trouble| format!("TLS: {trouble}"))
    }

    /// For probes.
    pub(crate) fn for_probes(self: &Arc<Self>) -> Arc<Secure> {
        let tls = Arc::clone(self);
        Arc::new(move |stream: TcpStream, protocol| {
            let tls = Arc::clone(&tls);
            Box::pin(async move {
                let alpn: &[u8] = match protocol {
                    ProbeProtocol::Http1 => b"http/1.1",
                    ProbeProtocol::Http2 => b"h2",
                };
                let wrapped = tls.tls.wrap(stream, alpn).await;
                wrapped.map(|stream| Box::new(stream) as Box<dyn ProbeStream>)
            })
        })
    }
}

/// A listener's TLS with what its files are reported under.
type Served = (String, Arc<ServerTls>, Arc<ListenerStats>);

/// Takes up certificate files that change, until it is aborted.
pub(crate) fn start_looking(
    backends: Vec<Arc<BackendTls>>,
    listeners: &[Open],
    registry: &Registry,
    workers: usize,
) -> JoinHandle<()> {
    let secured = listeners.iter().filter_map(|Open { config, tls, .. }| {
        let stats = registry.listener(&config.name, workers);
        let Some(tls) = tls.clone() else {
            // It may have had one before.
            stats.certificate_ends(0);
            return None;
        };
        note_end(&tls, &stats);
        Some((config.name.clone(), tls, stats))
    });
    tokio::spawn(keep_looking(secured.collect(), backends))
}

/// Takes up changed files for as long as it is polled.
async fn keep_looking(listeners: Vec<Served>, backends: Vec<Arc<BackendTls>>) {
    if listeners.is_empty() && backends.is_empty() {
        return;
    }
    loop {
        tokio::time::sleep(until_next_look()).await;
        for (name, tls, stats) in &listeners {
            if tell("listener", name, tls.look()) {
                note_end(tls, stats);
            }
        }
        for backend in &backends {
            tell("backend", &backend.url, backend.tls.look());
        }
    }
}

/// Takes up the changed files of one more address for as long as it is polled.
pub(crate) async fn follow_files(name: &str, tls: &ServerTls) {
    loop {
        tokio::time::sleep(until_next_look()).await;
        tell("listener", name, tls.look());
    }
}

/// Looks come at the same times whoever makes them, so that who begins anew with each configuration does not put them off.
fn until_next_look() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let interval = LOOK_INTERVAL.as_millis();
    let past = FIRST.elapsed().as_millis() % interval;
    Duration::from_millis(u64::try_from(interval - past).unwrap_or_default())
}

/// Tells the figures when the listener's first certificate ends.
fn note_end(tls: &ServerTls, stats: &ListenerStats) {
    let since = |end: SystemTime| end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    stats.certificate_ends(tls.valid_until().map_or(0, |end| since(end).as_secs()));
}

/// Says what a look came to; whether new files are in force.
fn tell(kind: &str, name: &str, reload: Reload) -> bool {
    match reload {
        Reload::Unchanged => false,
        Reload::Done(notices) => {
            tracing::info!(component = "tls", "{kind} {name}: the changed certificate files are in force");
            notices.iter().for_each(|notice| tracing::warn!(component = "tls", "{kind} {name}: {notice}"));
            control::certificates_reloaded(Counted::Ok);
            true
        }
        Reload::Stale(notices) => {
            notices.iter().for_each(|notice| tracing::warn!(component = "tls", "{kind} {name}: {notice}"));
            false
        }
        Reload::Rejected(error) => {
            tracing::error!(
                component = "tls",
                %error,
                "{kind} {name}: the changed certificate files are not acceptable, and those before stay in force"
            );
            control::certificates_reloaded(Counted::Rejected);
            false
        }
    }
}

/// The TLS of every backend.
pub(crate) fn of_backends(snapshot: &Snapshot) -> Vec<Arc<BackendTls>> {
    snapshot.targets().filter_map(|target| target.tls.clone()).collect()
}
