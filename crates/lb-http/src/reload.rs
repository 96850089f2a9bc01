//! A new configuration in the place of the one in force, while requests go on.
//!
//! Everything that can fail comes first and touches nothing: building, on another thread; opening listeners. Then backends
//! that go on are told what the file changes of them, health goes over to the new monitors, the snapshot is swapped, and
//! each worker is told which listeners there are now. Exchanges under way keep the snapshot they began with until they end;
//! with the last of them go its backends, and what only they held open.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lb_dump::Dumps;
use lb_health::Supervisor;
use lb_observe::Registry;
use lb_tls::ServerTls;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::background::{in_background, in_background_since};
use crate::config::{GatewayConfig, ListenerConfig};
use crate::gateway::{StartError, max_connections};
use crate::http3::packets::Packets;
use crate::inherit::{Inherited, InheritedRollback, InheritedSocket};
use crate::listen::{ListenError, Sockets};
use crate::listeners::{ListenerId, Opening, Order};
use crate::plan::Plan;
use crate::resolve::{self, Endpoint};
use crate::slots::Slots;
use crate::snapshot::{BuildError, Builder, Earlier, Snapshot};
use crate::split::Setting;
use crate::tls;
use crate::worker::Shared;

/// How long names may take to resolve before what leads to them is put in force without.
pub(crate) const RESOLVE_PATIENCE: Duration = Duration::from_millis(500);
/// How often it is looked whether a snapshot is in use.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long the workers are waited for; one that is late takes the order up when it can.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// Puts configurations in force, one after the other. Clones are the same.
#[derive(Clone)]
pub struct Reloader {
    engine: Arc<Engine>,
}

/// What configurations are built with and put into.
pub(crate) struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) dumps: Arc<Dumps>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) supervisor: Supervisor,
    pub(crate) orders: Vec<mpsc::Sender<Order>>,
    /// Held while a configuration is being put in force.
    pub(crate) force: Mutex<Force>,
}

/// What is in force, as the control side knows it.
pub(crate) struct Force {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) listeners: Vec<Open>,
    pub(crate) next_listener: ListenerId,
    /// Keeps names fresh.
    pub(crate) resolving: JoinHandle<()>,
    /// Takes up certificate files that change.
    pub(crate) looking: JoinHandle<()>,
}

/// An open listener.
pub(crate) struct Open {
    pub(crate) id: ListenerId,
    pub(crate) config: ListenerConfig,
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// As bound: with the port that stands for port 0.
    pub(crate) local: SocketAddr,
    pub(crate) sockets: Arc<Sockets>,
    /// The socket of HTTP/3, where a worker has it; it keeps that while the listener is open, whether it is spoken or not.
    pub(crate) packets: Option<Arc<Packets>>,
}

impl Open {
    /// Whether this worker reads the packets of HTTP/3.
    pub(crate) fn reads_quic(&self, worker: usize, workers: usize) -> bool {
        usize::try_from(self.id).is_ok_and(|id| id % workers.max(1) == worker)
    }
}

/// A listener of the next configuration: one that is open, or its new sockets, some for each worker.
struct Planned {
    open: Open,
    sockets: Vec<Vec<std::net::TcpListener>>,
    quic: Option<Arc<Packets>>,
}

impl Reloader {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine: Arc::new(engine) }
    }

    /// What this configuration would change.
    ///
    /// # Errors
    /// It cannot be put in force; sockets are not opened to find out.
    pub async fn plan(&self, config: Arc<GatewayConfig>) -> Result<Plan, StartError> {
        let now = Arc::clone(&self.engine.force.lock().await.config);
        let (built, plan) = self.build(&now, config, false, Instant::now()).await?;
        drop(in_background(move || drop(built)).await);
        Ok(plan)
    }

    /// Puts a configuration in force, whole or not at all; what it changed. When this returns, every worker has taken it up.
    /// Not to be dropped before that. `begun` is when whoever waits for it began to wait.
    ///
    /// # Errors
    /// [`StartError`]: the configuration before stays, untouched.
    pub async fn reload(&self, config: Arc<GatewayConfig>, begun: Instant) -> Result<Plan, StartError> {
        let engine = &*self.engine;
        let mut force = engine.force.lock().await;
        let (snapshot, plan) = self.build(&force.config, Arc::clone(&config), true, begun).await?;
        let secured = tls::secure(&config, &force.listeners, &tls::keys(&force.listeners));
        let secured = secured.map_err(BuildError::from)?;
        let listeners = self.open(&mut force, &config, secured)?;
        let endpoints: Vec<_> = snapshot.targets().map(|target| Arc::clone(&target.endpoint)).collect();
        resolve_new(&endpoints).await;

        engine.shared.admission.set_max(max_connections(&config));
        let backends = tls::of_backends(&snapshot);
        let earlier = self.swap(&force.config, Arc::clone(&config), snapshot, begun).await?;

        // Workers are the last to hold what is closed: they accept who has connected in time.
        force.listeners.clear();
        force.listeners = self.order(listeners).await;
        force.resolving.abort();
        force.resolving = tokio::spawn(resolve::keep_resolving(endpoints));
        force.looking.abort();
        let workers = engine.shared.loads.len();
        force.looking = tls::start_looking(backends, &force.listeners, &engine.registry, workers);
        force.config = config;
        tokio::spawn(let_go(earlier));
        Ok(plan)
    }

    /// Tells the backends that go on what changes, hands health over and swaps the snapshot, on a thread of its own; the one before.
    async fn swap(
        &self,
        now: &Arc<GatewayConfig>,
        next: Arc<GatewayConfig>,
        snapshot: Snapshot,
        begun: Instant,
    ) -> Result<Arc<Snapshot>, StartError> {
        let (engine, now) = (Arc::clone(&self.engine), Arc::clone(now));
        let swapped = in_background_since(begun, move || {
            let shared = &engine.shared;
            let before = shared.snapshot.load_full();
            Earlier::new(&now, &before).settle(&next);
            let monitors = snapshot.upstreams.iter().map(|upstream| Arc::clone(&upstream.monitor));
            engine.supervisor.enforce(monitors.collect());
            shared.snapshot.store(Arc::new(snapshot));
            shared.version.fetch_add(1, Ordering::Release);
            before
        });
        swapped.await.map_err(StartError::Worker)
    }

    /// What another process needs to go on in place of this one: duplicates of the listening sockets, what is known of backends,
    /// the keys of session tickets, and what was taken back of splits.
    ///
    /// # Errors
    /// No descriptor is left.
    pub async fn hand_over(&self) -> io::Result<Inherited> {
        let engine = &*self.engine;
        let force = engine.force.lock().await;
        let (mut sockets, mut packets) = (Vec::new(), Vec::new());
        for Open { config, sockets: opened, packets: socket, .. } in &force.listeners {
            if let (Some(socket), Some(_)) = (socket, config.limits.http3) {
                packets.extend(socket.hand_over(&config.name, config.address)?);
            }
            let of_listener = opened.duplicates()?.into_iter().map(|socket| InheritedSocket {
                name: config.name.clone(),
                address: Some(config.address),
                socket,
            });
            sockets.extend(of_listener);
        }
        let health = engine.supervisor.known();
        let keys = tls::keys(&force.listeners);
        let rollbacks = self.taken_back();
        Ok(Inherited { sockets, packets, health: Some(health), keys, rollbacks })
    }

    /// What was taken back of splits by itself, and of which: for another process, or for the next start.
    #[must_use]
    pub fn taken_back(&self) -> Vec<InheritedRollback> {
        let snapshot = self.engine.shared.snapshot.load();
        let mut rollbacks = Vec::new();
        for (rule, config) in snapshot.rules.iter().zip(&snapshot.config.rules) {
            let Some((split, config)) = rule.split.as_ref().zip(config.split.as_ref()) else { continue };
            let of = || Setting::of(config);
            rollbacks.extend(
                split.taken_back().into_iter().map(|rollback| InheritedRollback { rollback, of: of() }),
            );
        }
        rollbacks
    }

    /// Lets go of the listening sockets, but for those that workers have.
    pub(crate) async fn release(&self) {
        self.engine.force.lock().await.listeners.iter_mut().for_each(|open| open.sockets = Arc::default());
    }

    /// Builds a configuration on a thread of its own, and compares it with the one in force.
    async fn build(
        &self,
        now: &Arc<GatewayConfig>,
        next: Arc<GatewayConfig>,
        for_good: bool,
        begun: Instant,
    ) -> Result<(Snapshot, Plan), StartError> {
        let (engine, now) = (Arc::clone(&self.engine), Arc::clone(now));
        let built = in_background_since(begun, move || {
            let snapshot = engine.shared.snapshot.load_full();
            let builder = Builder {
                registry: &engine.registry,
                workers: engine.shared.loads.len(),
                dumps: for_good.then_some(&*engine.dumps),
                slots: &engine.slots,
                earlier: &Earlier::new(&now, &snapshot),
            };
            Ok((Snapshot::build(&next, builder)?, Plan::between(&now, &next)))
        });
        built.await.unwrap_or_else(|error| Err(StartError::Worker(error)))
    }

    /// Finds the open listener of each that is asked for, by its address, and opens what is missing. What is opened is closed
    /// again where one fails.
    fn open(
        &self,
        force: &mut Force,
        config: &GatewayConfig,
        secured: Vec<Option<Arc<ServerTls>>>,
    ) -> Result<Vec<Planned>, ListenError> {
        let mut kept = HashSet::new();
        let mut find = |alike: &dyn Fn(&ListenerConfig) -> bool| {
            let mut open = force.listeners.iter();
            let found = open.find(|open| alike(&open.config) && !kept.contains(&open.id))?;
            kept.insert(found.id);
            Some((found.id, found.local, Arc::clone(&found.sockets), found.packets.clone()))
        };
        // By name first: several may have port 0.
        let by_name: Vec<_> = config
            .listeners
            .iter()
            .map(|wanted| find(&|open| open.address == wanted.address && open.name == wanted.name))
            .collect();
        let found: Vec<_> = by_name
            .into_iter()
            .zip(&config.listeners)
            .map(|(found, wanted)| found.or_else(|| find(&|open| open.address == wanted.address)))
            .collect();
        let mut planned = Vec::new();
        for ((found, wanted), tls) in found.into_iter().zip(&config.listeners).zip(secured) {
            let (name, address) = (&wanted.name, wanted.address);
            let bind = |local, has_packets: bool| match wanted.limits.http3 {
                Some(_) if !has_packets => {
                    Packets::bind(local).map(Some).map_err(|source| ListenError::new(name, local, source))
                }
                _ => Ok(None),
            };
            let open = |id, local, sockets, packets| Open {
                id,
                config: wanted.clone(),
                tls,
                local,
                sockets,
                packets,
            };
            if let Some((id, local, sockets, packets)) = found {
                let quic = bind(local, packets.is_some())?;
                let open = open(id, local, sockets, packets.or_else(|| quic.clone()));
                planned.push(Planned { open, sockets: Vec::new(), quic });
                continue;
            }
            let is_ours = force.listeners.iter().any(|open| open.local.port() == address.port());
            let workers = self.engine.shared.loads.len();
            let opened = Sockets::open(name, address, workers, is_ours)?;
            let local = opened.local_addr().unwrap_or(address);
            let sockets = opened.deal(name, address, workers)?;
            force.next_listener += 1;
            let quic = bind(local, false)?;
            let open = open(force.next_listener, local, Arc::new(opened), quic.clone());
            planned.push(Planned { open, sockets, quic });
            tracing::info!(listener = %name, address = %local, "listening");
        }
        Ok(planned)
    }

    /// Tells every worker which listeners there are, and waits until all have heard.
    async fn order(&self, mut planned: Vec<Planned>) -> Vec<Open> {
        let (done, mut all_done) = mpsc::channel(1);
        let workers = self.engine.shared.loads.len();
        for (index, worker) in self.engine.orders.iter().enumerate() {
            let listeners = planned.iter_mut().map(|Planned { open, sockets, quic }| Opening {
                id: open.id,
                config: open.config.clone(),
                tls: open.tls.clone(),
                stats: self.engine.registry.listener(&open.config.name, workers),
                sockets: sockets.pop().unwrap_or_default(),
                quic: if open.reads_quic(index, workers) { quic.take() } else { None },
                port: open.local.port(),
            });
            let order = Order { listeners: listeners.collect(), _done: done.clone() };
            // A worker that has ended serves nobody.
            let _ = worker.send(order).await;
        }
        drop(done);
        if tokio::time::timeout(WORKER_PATIENCE, all_done.recv()).await.is_err() {
            tracing::warn!("a worker is late to take the new configuration up");
        }
        planned.into_iter().map(|planned| planned.open).collect()
    }
}

/// Keeps a snapshot until the last exchange that began with it has ended, and frees it on a thread of its own: of ten thousand rules
/// that is milliseconds, which would be a worker's otherwise.
async fn let_go(snapshot: Arc<Snapshot>) {
    while Arc::strong_count(&snapshot) > 1 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    drop(in_background(move || drop(snapshot)).await);
}

/// Looks up names that have never had an answer, but not for long.
pub(crate) async fn resolve_new(endpoints: &[Arc<Endpoint>]) {
    let new: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.is_unresolved()).cloned().collect();
    let _ = tokio::time::timeout(RESOLVE_PATIENCE, resolve::resolve_all(&new)).await;
}
