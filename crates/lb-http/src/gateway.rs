//! A running gateway: started whole or not at all, drained on request.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Response};
use lb_core::{Backend, Weight};
use lb_dump::Dumps;
use lb_health::{
    Circuit, Clock, EventSink, HealthState, HealthView, SavedState, Supervisor, SupervisorOptions,
};
use lb_observe::{BackendStats, DecisionLog, Recorder, Registry};
use tokio::sync::{Mutex, mpsc, watch};

use crate::admission::Admission;
use crate::config::{GatewayConfig, HedgeAfter};
use crate::descriptors;
use crate::http3::packets::Packets;
use crate::inherit::Inherited;
use crate::listen::{ListenError, Sockets};
use crate::listeners::Opening;
use crate::mirror;
use crate::reload::{Engine, Force, Open, Reloader, resolve_new};
use crate::resolve;
use crate::rollback::{self, Rollback};
use crate::slots::Slots;
use crate::snapshot::{BuildError, Builder, Earlier, Rule, Snapshot};
use crate::split::Split;
use crate::tls::{self, secure};
use crate::worker::{self, Control, HANDOVER_QUEUE, ORDER_QUEUE, Shared, Stage, WorkerParts};

/// How long workers may take to record what is cut.
const LAST_RECORDS: Duration = Duration::from_millis(500);
/// How often the time that answers take is looked at.
const PERCENTILE_INTERVAL: Duration = Duration::from_secs(1);
/// How long before the end of a process that another has taken over from idle connections are closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Pages that a listener serves itself, ahead of every rule.
pub trait LocalPages: Send + Sync {
    /// Whether a page stands at this normalised path. Called for every request of a listener with `status_endpoints`.
    fn has(&self, path: &str) -> bool;

    /// The page at this path where it is drawn in microseconds however much is configured; `None` otherwise. Called first, on
    /// the worker that has the request. `accept` is the request's Accept field.
    fn at_once(&self, method: &Method, path: &str, accept: Option<&str>) -> Option<Response<Bytes>>;

    /// The page at this path; `None` where there is none. Called on a thread that may take its time.
    fn respond(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        accept: Option<&str>,
    ) -> Option<Response<Bytes>>;
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

impl StartError {
    /// The name of the listener that it is about.
    #[must_use]
    pub fn listener(&self) -> Option<&str> {
        match self {
            Self::Listen(ListenError::InUse { name, .. } | ListenError::Io { name, .. }) => Some(name),
            Self::Build(_) | Self::Worker(_) => None,
        }
    }
}

/// What a gateway is given beside its configuration.
#[derive(Default)]
pub struct Attachments {
    /// Told of every exchange.
    pub recorders: Vec<Arc<dyn Recorder>>,
    /// Where what is decided of each request is kept; without it nothing is taken down.
    pub decisions: Option<Arc<DecisionLog>>,
    /// Served where a listener has `status_endpoints`.
    pub pages: Option<Arc<dyn LocalPages>>,
    /// The traffic dumps, kept across configurations.
    pub dumps: Arc<Dumps>,
    /// Told of every change of a backend's health, beside the log.
    pub health: Option<Arc<dyn EventSink>>,
    /// What someone else has opened for it, and what the process before knew.
    pub inherited: Inherited,
    /// Given the view that pages are drawn from, before the first request can ask for one.
    pub connect: Option<Box<dyn FnOnce(GatewayView)>>,
}

/// A gateway that accepts connections.
pub struct Gateway {
    shared: Arc<Shared>,
    addresses: Vec<(String, SocketAddr)>,
    stage: watch::Sender<Stage>,
    workers: Vec<JoinHandle<()>>,
    reloader: Reloader,
    supervisor: Supervisor,
    supervising: tokio::task::JoinHandle<()>,
    hedging: tokio::task::JoinHandle<()>,
    /// Takes splits back.
    rolling_back: tokio::task::JoinHandle<()>,
}

impl Gateway {
    /// Opens every listener, then starts the workers. On an error nothing is left behind.
    ///
    /// Must be called within a tokio runtime: the control side's, where names are looked up.
    ///
    /// # Errors
    /// [`StartError`], each with what to do about it.
    pub async fn start(
        config: &Arc<GatewayConfig>,
        registry: &Arc<Registry>,
        mut attachments: Attachments,
    ) -> Result<Self, StartError> {
        let workers = config.workers.get();
        let slots = Arc::default();
        let dumps = Some(&*attachments.dumps);
        let builder = Builder { registry, workers, dumps, slots: &slots, earlier: &Earlier::default() };
        let snapshot = Snapshot::build(config, builder)?;
        snapshot.take_back(&attachments.inherited.rollbacks);
        let connections = max_connections(config);
        let secured = secure(config, &[], &attachments.inherited.keys).map_err(BuildError::from)?;
        let (mut sockets, mut quic) = (Vec::new(), Vec::new());
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for ((listener, tls), id) in config.listeners.iter().zip(secured).zip(0..) {
            let (name, address) = (&listener.name, listener.address);
            let inherited = attachments.inherited.take(name, address);
            let is_inherited = !inherited.is_empty();
            let opened = match is_inherited {
                false => Sockets::open(name, address, workers, false)?,
                true => Sockets::inherit(name, address, inherited)?,
            };
            let local = opened.local_addr().unwrap_or(address);
            addresses.push((name.clone(), local));
            sockets.push(opened.deal(name, address, workers)?.into_iter());
            let (config, sockets) = (listener.clone(), Arc::new(opened));
            let packets = match (listener.limits.http3, attachments.inherited.take_packets(name, address)) {
                (None, _) => None,
                (Some(_), Some(inherited)) => Some(Packets::inherited(inherited)),
                // The process before may still have it.
                (Some(_), None) if is_inherited => Some(Packets::awaited(local)),
                (Some(_), None) => Some(Packets::bind(local)),
            };
            let packets = packets.transpose().map_err(|source| ListenError::new(name, local, source))?;
            quic.push(packets.clone());
            listeners.push(Open { id, config, tls, local, sockets, packets });
        }
        let Inherited { sockets: unwanted, health: known, .. } = attachments.inherited;
        for socket in unwanted {
            let (name, address) = (socket.name, socket.socket.local_addr().ok());
            tracing::warn!(%name, ?address, "an inherited socket is closed: no listener has its address or name");
        }
        let endpoints: Vec<_> = snapshot.targets().map(|target| Arc::clone(&target.endpoint)).collect();
        resolve_new(&endpoints).await;
        let backends = tls::of_backends(&snapshot);
        let (supervisor, supervising) = start_supervising(&snapshot, config, attachments.health, known);

        // Ends with the last who might send a copy.
        let (mirrors, copies) = mpsc::unbounded_channel();
        tokio::spawn(mirror::run(copies));
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            version: AtomicU64::new(1),
            recorders: attachments.recorders,
            decisions: attachments.decisions,
            mirrors,
            pages: attachments.pages,
            loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            draining: AtomicBool::new(false),
            admission: Admission::new(connections),
            control: Control::here(),
        });
        let hedging = tokio::spawn(keep_percentiles(Arc::clone(&shared)));
        let rolling_back = tokio::spawn(rollback::watch(Arc::clone(&shared)));
        if let Some(connect) = attachments.connect {
            connect(GatewayView { shared: Arc::clone(&shared) });
        }
        let (stage, staged) = watch::channel(Stage::Serving);
        let (peers, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVER_QUEUE)).unzip();
        let (orders, ordered): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(ORDER_QUEUE)).unzip();
        let mut threads = Vec::new();
        for ((index, inbox), orders) in inboxes.into_iter().enumerate().zip(ordered) {
            let own =
                sockets.iter_mut().zip(&mut quic).zip(&listeners).map(|((sockets, quic), open)| Opening {
                    id: open.id,
                    config: open.config.clone(),
                    tls: open.tls.clone(),
                    stats: registry.listener(&open.config.name, workers),
                    sockets: sockets.next().unwrap_or_default(),
                    quic: if open.reads_quic(index, workers) { quic.take() } else { None },
                    port: open.local.port(),
                });
            let parts = WorkerParts {
                index,
                shared: Arc::clone(&shared),
                listeners: own.collect(),
                peers: peers.clone(),
                inbox,
                orders,
                stage: staged.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                if let Err(error) = worker::run(parts) {
                    tracing::error!(worker = index, %error, "worker ended");
                }
            });
            threads.push(thread.map_err(StartError::Worker)?);
        }
        let next_listener = listeners.len() as u64;
        let resolving = tokio::spawn(resolve::keep_resolving(endpoints));
        let looking = tls::start_looking(backends, &listeners, registry, workers);
        let force = Force { config: Arc::clone(config), listeners, next_listener, resolving, looking };
        let reloader = Reloader::new(Engine {
            shared: Arc::clone(&shared),
            registry: Arc::clone(registry),
            dumps: attachments.dumps,
            slots,
            supervisor: supervisor.clone(),
            orders,
            force: Mutex::new(force),
        });
        Ok(Self {
            shared,
            addresses,
            stage,
            workers: threads,
            reloader,
            supervisor,
            supervising,
            hedging,
            rolling_back,
        })
    }

    /// Puts other configurations in force.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The listeners' names and the addresses they really have.
    #[must_use]
    pub fn addresses(&self) -> &[(String, SocketAddr)] {
        &self.addresses
    }

    /// Whether the gateway has begun to shut down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Is not ready any more, stops accepting after `delay`, lets requests in flight finish, and returns when they have or when
    /// `timeout`, of which the delay is a part, is up. True where all of them did.
    pub async fn shut_down(self, timeout: Duration, delay: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(delay.min(timeout)).await;
        self.reloader.release().await;
        self.stage.send_replace(Stage::Closing);
        if let Err(error) = self.supervisor.save() {
            tracing::warn!(%error, "health state could not be saved");
        }
        self.supervising.abort();
        self.hedging.abort();
        self.rolling_back.abort();
        self.drained_or_cut(deadline).await
    }

    /// Leaves the sockets to another process that accepts from them already, lets requests in flight finish and idle connections
    /// ask once more, and returns when all have ended or when `timeout` is up. True where no request was cut.
    ///
    /// A connection is closed with the answer to its next request, and idle ones shortly before time is up: closed at once, they
    /// would meet requests on their way.
    pub async fn leave(self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.shared.draining.store(true, Ordering::Relaxed);
        self.reloader.release().await;
        self.stage.send_replace(Stage::Left);
        // What is known of backends is the other one's to keep.
        self.supervising.abort();
        self.hedging.abort();
        let farewell = FAREWELL.min(timeout / 4);
        if self.drained(deadline - farewell).await {
            return true;
        }
        self.stage.send_replace(Stage::Closing);
        self.drained_or_cut(deadline).await
    }

    /// The same, and where time is up has what is still under way cut and recorded.
    async fn drained_or_cut(&self, deadline: Instant) -> bool {
        let is_drained = self.drained(deadline).await;
        if !is_drained {
            self.stage.send_replace(Stage::Over);
            self.drained(Instant::now() + LAST_RECORDS).await;
        }
        is_drained
    }

    /// Waits until every connection has ended; false where time is up before.
    async fn drained(&self, deadline: Instant) -> bool {
        while self.workers.iter().any(|worker| !worker.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// How many clients there may be: what the configuration says, as far as descriptors go.
pub(crate) fn max_connections(config: &GatewayConfig) -> usize {
    let room = descriptors::client_connections();
    let Some(wanted) = config.max_connections.map(NonZeroUsize::get) else { return room };
    if wanted > room {
        tracing::warn!(
            max_connections = wanted,
            room,
            "the limit of open files leaves room for fewer client connections; raise it (ulimit -n, LimitNOFILE)"
        );
    }
    wanted.min(room)
}

/// Tells upstreams how long their answers take, where a rule hedges by it.
async fn keep_percentiles(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(PERCENTILE_INTERVAL).await;
        let snapshot = shared.snapshot.load_full();
        let by_percentile = |rule: &&Rule| rule.hedge == Some(HedgeAfter::P95);
        for rule in snapshot.rules.iter().filter(by_percentile) {
            for upstream in rule.upstreams().filter_map(|place| snapshot.upstreams.get(place)) {
                upstream.slow.learn(&upstream.targets, Instant::now());
            }
        }
    }
}

/// Probes backends and keeps every balancer's set of eligible ones.
fn start_supervising(
    snapshot: &Snapshot,
    config: &GatewayConfig,
    sink: Option<Arc<dyn EventSink>>,
    known: Option<SavedState>,
) -> (Supervisor, tokio::task::JoinHandle<()>) {
    let state_file = config.state_file.clone();
    let options = SupervisorOptions { sink, state_file, known, ..SupervisorOptions::default() };
    let supervisor = Supervisor::new(options);
    supervisor.enforce(snapshot.upstreams.iter().map(|upstream| Arc::clone(&upstream.monitor)).collect());
    let supervising = tokio::spawn(supervisor.clone().run());
    (supervisor, supervising)
}

/// What operators may see of a running gateway, and change in it.
#[derive(Clone)]
pub struct GatewayView {
    shared: Arc<Shared>,
}

impl GatewayView {
    /// Whether the gateway has begun to shut down.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// The parts of splits that were taken back by themselves.
    #[must_use]
    pub fn rollbacks(&self) -> Vec<Rollback> {
        let snapshot = self.shared.snapshot.load();
        let splits = snapshot.rules.iter().filter_map(|rule| rule.split.as_ref());
        splits.flat_map(Split::taken_back).collect()
    }

    /// Changes what the backends of this URL are offered, in one upstream (and what rules made of it) or in all; how many that
    /// were. It takes effect at once, and outlives configurations that leave the backend's weight as it is.
    #[must_use]
    pub fn change_backend(&self, upstream: Option<&str>, url: &str, change: BackendChange) -> usize {
        let snapshot = self.shared.snapshot.load();
        let is_meant = |name: &str| {
            upstream.is_none_or(|meant| {
                name.strip_prefix(meant).is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
            })
        };
        let mut changed = 0;
        for upstream in snapshot.upstreams.iter().filter(|upstream| is_meant(&upstream.name)) {
            for target in upstream.targets.iter().filter(|target| &*target.url == url) {
                match change {
                    BackendChange::Drain => target.backend.set_draining(true),
                    BackendChange::Undrain => target.backend.set_draining(false),
                    BackendChange::Weight(weight) => target.backend.set_weight(weight),
                }
                changed += 1;
            }
            upstream.monitor.refresh();
        }
        changed
    }

    /// How many upstreams and backends there are, and how many of these can be given requests.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let snapshot = self.shared.snapshot.load();
        let mut tally = Tally { upstreams: snapshot.upstreams.len(), ..Tally::default() };
        for upstream in &snapshot.upstreams {
            for (target, (state, circuit)) in upstream.targets.iter().zip(upstream.monitor.standings()) {
                let is_healthy = state == HealthState::Healthy;
                tally.backends += 1;
                tally.healthy += usize::from(is_healthy);
                let is_offered = is_healthy && circuit != Circuit::Open && target.backend.takes_new();
                tally.eligible += usize::from(is_offered);
            }
        }
        tally
    }

    /// Each upstream's name, its strategy's name, and its backends in their order.
    #[must_use]
    pub fn upstreams(&self) -> Vec<UpstreamView> {
        let snapshot = self.shared.snapshot.load();
        let clock = Clock::read();
        let upstreams = snapshot.upstreams.iter().map(|upstream| UpstreamView {
            name: upstream.name.clone(),
            strategy: upstream.strategy,
            backends: upstream
                .targets
                .iter()
                .zip(upstream.monitor.views(&clock))
                .map(|(target, mut health)| {
                    let trouble = target.tls.as_ref().and_then(|tls| tls.trouble());
                    health.error = match (health.error, trouble) {
                        (Some(error), Some(trouble)) if !error.contains(&trouble) => {
                            Some(format!("{error}; {trouble}"))
                        }
                        (error, trouble) => error.or(trouble),
                    };
                    let (backend, stats) = (Arc::clone(&target.backend), Arc::clone(&target.stats));
                    BackendView { backend, stats, health }
                })
                .collect(),
        });
        upstreams.collect()
    }
}

/// What an operator may change of a backend while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BackendChange {
    /// It finishes what it has and gets nothing new.
    Drain,
    /// It gets requests again.
    Undrain,
    /// Its share of requests.
    Weight(Weight),
}

/// An upstream as status pages see it.
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// Its strategy's name.
    pub strategy: &'static str,
    /// Its backends.
    pub backends: Vec<BackendView>,
}

/// A backend as status pages see it.
pub struct BackendView {
    /// The backend, live.
    pub backend: Arc<Backend>,
    /// What it has done.
    pub stats: Arc<BackendStats>,
    /// How healthy it is.
    pub health: HealthView,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Upstreams.
    pub upstreams: usize,
    /// Backends of all upstreams.
    pub backends: usize,
    /// Those that probes and traffic say work.
    pub healthy: usize,
    /// Those of them that are given requests: they are not drained, and their circuits let something pass.
    pub eligible: usize,
}

/// Builds everything a configuration asks for and throws it away: what [`Gateway::start`] would refuse before it
/// opens a listener is refused here.
///
/// # Errors
/// [`StartError::Build`].
pub fn validate(config: &Arc<GatewayConfig>, registry: &Registry) -> Result<(), StartError> {
    build_alone(config, registry)?;
    secure(config, &[], &[]).map_err(BuildError::from)?;
    Ok(())
}

/// A configuration that is not to be served.
pub(crate) fn build_alone(config: &Arc<GatewayConfig>, registry: &Registry) -> Result<Snapshot, StartError> {
    let (workers, slots, earlier) = (config.workers.get(), &Arc::new(Slots::default()), &Earlier::default());
    let builder = Builder { registry, workers, dumps: None, slots, earlier };
    Ok(Snapshot::build(config, builder)?)
}
