//! A worker: one thread with a runtime, sockets and a pool of its own. Workers share configuration and counters,
//! and nothing that a request would have to wait for.

mod control;
mod parting;
mod pinned;
mod quic;
mod stage;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use lb_h1::{DateCache, Fields};
use lb_observe::{DecisionLog, PreambleFailure, Recorder, Trail};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

pub(crate) use self::control::Control;
pub(crate) use self::pinned::Pinned;
use self::pinned::pin;
use self::quic::Endpoints;
pub(crate) use self::stage::Stage;
use crate::admission::{Admission, Seat};
use crate::client::{Client, Listener};
use crate::config::PoolConfig;
use crate::descriptors;
use crate::forwarded;
use crate::gateway::LocalPages;
use crate::http3::Arrival;
use crate::listeners::{Gate, ListenerId, Listeners, New, Opening, Order};
use crate::mirror::Jobs;
use crate::pool::Pool;
use crate::proxy_protocol::{self, Ends};
use crate::request_id::RequestIds;
use crate::serve;
use crate::snapshot::Snapshot;
use crate::splice::Pipes;
use crate::target::Target;
use crate::transport::SCRATCH;

/// Status pages that a worker has drawn at a time; more wait.
const PAGE_THREADS: usize = 2;
/// Trails of exchanges that have ended, which a worker keeps for others.
const SPARE_TRAILS: usize = 256;
/// How often a worker looks after its pool and its clock.
const TICK: Duration = Duration::from_secs(1);
/// How long idle connections of a listener that is none any more stay: what is on its way to them is answered.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long accepting rests when the process has no descriptor left, or as many clients as it may.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the same complaint about connections is logged at most.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);
/// Connections by which a worker may lead the idlest before it hands new ones over.
const HANDOVER_LEAD: usize = 8;
/// Accepted connections that may wait for another worker.
pub(crate) const HANDOVER_QUEUE: usize = 256;
/// Configurations that a worker may be told of before it has taken up the first of them.
pub(crate) const ORDER_QUEUE: usize = 4;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) version: AtomicU64,
    pub(crate) recorders: Vec<Arc<dyn Recorder>>,
    pub(crate) decisions: Option<Arc<DecisionLog>>,
    /// Where copies of requests are sent from.
    pub(crate) mirrors: Jobs,
    pub(crate) pages: Option<Arc<dyn LocalPages>>,
    /// Connections of each worker.
    pub(crate) loads: Box<[AtomicUsize]>,
    pub(crate) draining: AtomicBool,
    pub(crate) admission: Arc<Admission>,
    pub(crate) control: Control,
}

impl Shared {
    /// Whether there are as many client connections as there may be.
    fn is_full(&self) -> bool {
        let connections: usize = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum();
        connections >= self.admission.max()
    }
}

/// One worker's own things.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) pool: Pool,
    pub(crate) request_ids: RequestIds,
    pub(crate) pipes: Pipes,
    shared: Arc<Shared>,
    pinned: RefCell<Pinned>,
    /// Where everything that is read first arrives.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    date: RefCell<DateCache>,
    /// Told when the last connection ends.
    deserted: Notify,
    /// Whether what is still under way is being cut.
    is_over: Cell<bool>,
    clock: Cell<(Instant, SystemTime)>,
    /// Of exchanges that have ended, for others.
    #[expect(clippy::vec_box, reason = "an exchange takes one as it is: a pointer")]
    spare_trails: RefCell<Vec<Box<Trail>>>,
    /// When connections were last complained of.
    complained: Cell<Option<Instant>>,
    /// Told when backends may have gone.
    parting: Notify,
}

/// An accepted connection on its way to another worker.
pub(crate) struct Handover {
    carrier: Carrier,
    peer: SocketAddr,
    listener: ListenerId,
    seat: Option<Seat>,
}

/// What a connection goes over.
enum Carrier {
    Tcp(std::net::TcpStream),
    Quic(Box<Arrival>),
}

/// What a worker starts with.
pub(crate) struct WorkerParts {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Vec<Opening>,
    pub(crate) peers: Vec<mpsc::Sender<Handover>>,
    pub(crate) inbox: mpsc::Receiver<Handover>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) stage: tokio::sync::watch::Receiver<Stage>,
}

impl Worker {
    /// The configuration in force.
    pub(crate) fn snapshot(&self) -> Pinned {
        let version = self.shared.version.load(Ordering::Acquire);
        let mut pinned = self.pinned.borrow_mut();
        if pinned.version != version {
            *pinned = pin(&self.shared, version);
            self.adopt(&pinned);
        }
        Rc::clone(&pinned)
    }

    /// The control side.
    pub(crate) fn control(&self) -> &Control {
        &self.shared.control
    }

    /// Whether the process has been told to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn recorders(&self) -> &[Arc<dyn Recorder>] {
        &self.shared.recorders
    }

    /// Where copies of requests are sent from.
    pub(crate) fn mirrors(&self) -> &Jobs {
        &self.shared.mirrors
    }

    /// Where decision records are kept, if they are.
    pub(crate) fn decisions(&self) -> Option<&DecisionLog> {
        self.shared.decisions.as_deref()
    }

    /// What a record takes an exchange down in, where records are kept: one that was used before, if there is one.
    pub(crate) fn trail(&self, peer: IpAddr, is_trusted: bool) -> Option<Box<Trail>> {
        self.decisions()?;
        let mut trail = self.spare_trails.borrow_mut().pop().unwrap_or_default();
        trail.begin(peer, is_trusted);
        Some(trail)
    }

    /// Takes one back.
    pub(crate) fn spare_trail(&self, trail: Box<Trail>) {
        let mut spare = self.spare_trails.borrow_mut();
        if spare.len() < SPARE_TRAILS {
            spare.push(trail);
        }
    }

    /// Whether a status page stands at a path.
    pub(crate) fn has_page(&self, path: &str) -> bool {
        self.shared.pages.as_ref().is_some_and(|pages| pages.has(path))
    }

    /// A status page. What takes more than microseconds is drawn on a thread of its own: with many backends that is milliseconds,
    /// for which this worker's other requests are not to wait. Dropped, it is drawn for nobody.
    pub(crate) async fn page(
        &self,
        method: &Method,
        headers: &Fields,
        target: &Target<'_>,
    ) -> Option<Response<Bytes>> {
        let accept = headers.get(&header::ACCEPT).and_then(|accept| str::from_utf8(accept).ok());
        let pages = self.shared.pages.as_ref()?;
        if let Some(page) = pages.at_once(method, &target.path, accept) {
            return Some(page);
        }
        let pages = Arc::clone(pages);
        let (method, path) = (method.clone(), target.path.to_string());
        let (query, accept) = (target.query.map(str::to_owned), accept.map(str::to_owned));
        let page = move || pages.respond(&method, &path, query.as_deref(), accept.as_deref());
        tokio::task::spawn_blocking(page).await.unwrap_or_else(|_| {
            let mut failed = Response::default();
            *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Some(failed)
        })
    }

    /// Whether what is still under way is being cut, since the time of the process is up.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Wall-clock time without asking the system: counted from a reading no older than a second.
    pub(crate) fn wall_clock(&self, now: Instant) -> SystemTime {
        let (then, wall) = self.clock.get();
        wall + now.saturating_duration_since(then)
    }

    /// The time as a `Date` field has it.
    pub(crate) fn date(&self, now: Instant) -> [u8; 29] {
        let unix = self.wall_clock(now).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        *self.date.borrow_mut().at(unix.as_secs())
    }

    /// Closes the connections to backends that are configured no more.
    #[cold]
    fn adopt(&self, snapshot: &Snapshot) {
        // Idle connections to backends come out of the same descriptors as clients.
        let max_idle = snapshot.pool.max_idle.min(self.shared.admission.max());
        let pool = PoolConfig { max_idle, ..snapshot.pool };
        self.pool.reconfigure(pool, self.shared.loads.len(), &snapshot.turns);
        self.parting.notify_one();
    }

    /// Whether it is time to log a complaint about connections: attacks must not fill the log.
    pub(crate) fn may_complain(&self) -> bool {
        let now = Instant::now();
        let is_due = self.complained.get().is_none_or(|last| now.duration_since(last) >= COMPLAINT_INTERVAL);
        if is_due {
            self.complained.set(Some(now));
        }
        is_due
    }

    /// A client connection has ended; its task lets go of it whichever way that was.
    pub(crate) fn closed(&self) {
        if std::thread::panicking() {
            // A panic costs the connection it happened on, and is said.
            tracing::error!("a connection's task panicked; please report this");
        }
        if let Some(load) = self.shared.loads.get(self.index)
            && load.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.deserted.notify_one();
        }
    }

    /// Takes a connection of this peer in, or not.
    fn welcome(&self, peer: IpAddr, listener: &Listener) -> Result<Option<Seat>, TurnedAway> {
        let Some(proxied) = &listener.config.proxy_protocol else { return self.seat(peer, listener) };
        if proxied.believes(peer) {
            // Whom it speaks for is counted.
            return Ok(None);
        }
        listener.stats.preamble_failed(self.index, PreambleFailure::Untrusted);
        if self.may_complain() {
            let listener = &listener.config.name;
            tracing::warn!(%listener, %peer, "a connection from a peer that proxy_protocol does not believe is closed");
        }
        Err(TurnedAway)
    }

    /// A place among the connections of an address, or none where those are not counted.
    pub(crate) fn seat(&self, address: IpAddr, listener: &Listener) -> Result<Option<Seat>, TurnedAway> {
        let limit = listener.config.limits.per_address;
        let is_trusted = || forwarded::is_trusted(address, &self.snapshot().trusted_proxies);
        if !limit.counts(address, is_trusted) {
            return Ok(None);
        }
        let seat = self.shared.admission.seat(address, limit);
        if seat.is_none() {
            listener.stats.refused(self.index);
            if self.may_complain() {
                let (listener, limit) = (&listener.config.name, limit.connections);
                tracing::warn!(%listener, %address, limit, "an address has max_connections_per_address: more are closed");
            }
        }
        seat.map(Some).ok_or(TurnedAway)
    }

    fn load(&self) -> usize {
        self.shared.loads.get(self.index).map_or(0, |load| load.load(Ordering::Relaxed))
    }

    /// Waits for every connection to end.
    async fn drained(&self) {
        while self.load() > 0 {
            self.deserted.notified().await;
        }
    }

    fn tick(&self) {
        let now = Instant::now();
        self.clock.set((now, SystemTime::now()));
        self.pool.sweep(now);
    }

    /// The worker that a new connection should go to: this one, unless another has clearly fewer.
    fn idlest(&self) -> usize {
        let loads = self.shared.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let own = loads.clone().nth(self.index).unwrap_or(0);
        match loads.enumerate().min_by_key(|(_, load)| *load) {
            Some((index, load)) if own >= load + HANDOVER_LEAD + load / 8 => index,
            _ => self.index,
        }
    }
}

/// Runs a worker until it has drained. To be called on a thread of its own.
pub(crate) fn run(parts: WorkerParts) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(PAGE_THREADS)
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(work(parts))
}

async fn work(parts: WorkerParts) -> io::Result<()> {
    let WorkerParts { index, shared, listeners, peers, mut inbox, mut orders, mut stage } = parts;
    let version = shared.version.load(Ordering::Acquire);
    let pinned = pin(&shared, version);
    let worker = Rc::new(Worker {
        index,
        pool: Pool::new(pinned.pool, shared.loads.len()),
        request_ids: RequestIds::new(),
        pipes: Pipes::new(descriptors::pipes(shared.admission.max(), shared.loads.len())),
        pinned: RefCell::new(Rc::clone(&pinned)),
        shared,
        scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        date: RefCell::new(DateCache::default()),
        deserted: Notify::new(),
        is_over: Cell::new(false),
        clock: Cell::new((Instant::now(), SystemTime::now())),
        spare_trails: RefCell::default(),
        complained: Cell::new(None),
        parting: Notify::new(),
    });
    worker.adopt(&pinned);
    drop(pinned);
    let admit =
        Admit { worker: Rc::clone(&worker), listeners: Rc::default(), peers, endpoints: Rc::default() };
    let mut accepting = JoinSet::new();
    admit.open(listeners, &mut accepting);
    let parting = accepting.spawn_local(parting::part(Rc::clone(&worker)));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => worker.tick(),
            Some(handover) = inbox.recv() => admit.take_over(handover),
            Some(order) = orders.recv() => {
                admit.open(order.listeners, &mut accepting);
                // Lets go of the configuration before, and of connections to backends that it alone had.
                drop(worker.snapshot());
            }
            Some(_) = accepting.join_next() => {}
            // An error means that the gateway itself is gone.
            _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
        }
    }
    // Drain: no new connections; those there are finish what they carry.
    admit.endpoints.retire_all();
    parting.abort();
    let is_left = *stage.borrow() == Stage::Left;
    match is_left {
        true => {
            admit.listeners.leave();
            // What waits in the queues is the other process'.
            accepting.abort_all();
        }
        false => admit.listeners.close(),
    }
    while accepting.join_next().await.is_some() {}
    inbox.close();
    while let Some(handover) = inbox.recv().await {
        admit.take_over(handover);
    }
    if is_left {
        let mut drained = pin!(worker.drained());
        loop {
            tokio::select! {
                () = &mut drained => break,
                _ = stage.wait_for(|stage| *stage >= Stage::Closing) => break,
                _ = tick.tick() => worker.tick(),
            }
        }
        admit.listeners.close();
    }
    let ended = async {
        worker.drained().await;
        // The other workers' connections go by these sockets too.
        admit.endpoints.ended().await;
    };
    tokio::select! {
        () = ended => {}
        // What is left ends with the runtime.
        Ok(_) = stage.wait_for(|stage| *stage == Stage::Over) => worker.is_over.set(true),
    }
    worker.pool.clear();
    Ok(())
}

/// Takes new connections in.
#[derive(Clone)]
struct Admit {
    worker: Rc<Worker>,
    listeners: Rc<Listeners>,
    peers: Vec<mpsc::Sender<Handover>>,
    endpoints: Rc<Endpoints>,
}

impl Admit {
    /// Takes up all listeners that there are from now on.
    fn open(&self, listeners: Vec<Opening>, accepting: &mut JoinSet<()>) {
        let New { sockets, quic, retired } = self.listeners.replace(listeners);
        for gate in retired {
            drop(tokio::task::spawn_local(async move {
                tokio::time::sleep(FAREWELL).await;
                gate.close();
            }));
        }
        for (listener, gate, packets) in quic {
            self.open_quic(listener, gate, packets);
        }
        for (listener, gate, socket) in sockets {
            match TcpListener::from_std(socket) {
                Ok(socket) => drop(accepting.spawn_local(self.clone().accept(listener, gate, socket))),
                Err(error) => tracing::error!(%error, "a listener's socket cannot be used"),
            }
        }
    }

    /// Accepts until the listener retires, and then what has been waiting: who connected in time is served.
    async fn accept(self, listener: ListenerId, gate: Rc<Gate>, socket: TcpListener) {
        let mut retiring = pin!(gate.retiring());
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut retiring => break,
                accepted = self.next(&socket) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, listener),
                Err(error) if is_one_connections(&error) => {}
                Err(error) => {
                    if self.worker.may_complain() {
                        tracing::error!(%error, "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let Ok(socket) = socket.into_std() else { return };
        while let Ok((stream, peer)) = socket.accept() {
            match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => self.admit(stream, peer, listener),
                Err(error) => tracing::error!(%error, "a connection was lost while its listener closed"),
            }
        }
    }

    /// The next connection, once there is room for one.
    async fn next(&self, socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        self.wait_for_room().await;
        socket.accept().await
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, listener: ListenerId) {
        let seat = match self.listeners.get(listener) {
            Some(listener) => self.worker.welcome(peer.ip(), &listener),
            None => Ok(None),
        };
        if let Ok(seat) = seat {
            self.place(stream, peer, listener, seat);
        }
    }

    /// Ready while there are fewer connections than there may be.
    async fn wait_for_room(&self) {
        while self.worker.shared.is_full() {
            if self.worker.may_complain() {
                let max_connections = self.worker.shared.admission.max();
                tracing::warn!(
                    max_connections,
                    "no room for more client connections: accepting rests until one leaves"
                );
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    /// Keeps a connection, or hands it to a worker that has clearly fewer.
    fn place(&self, stream: TcpStream, peer: SocketAddr, listener: ListenerId, seat: Option<Seat>) {
        let idlest = self.worker.idlest();
        if idlest != self.worker.index
            && let Some(sender) = self.peers.get(idlest)
            && let Ok(permit) = sender.try_reserve()
        {
            match stream.into_std() {
                Ok(stream) => {
                    self.count(idlest);
                    permit.send(Handover { carrier: Carrier::Tcp(stream), peer, listener, seat });
                }
                Err(error) => tracing::error!(%error, "a connection was lost on its way between workers"),
            }
            return;
        }
        self.count(self.worker.index);
        self.serve(stream, peer, listener, seat);
    }

    fn count(&self, worker: usize) {
        if let Some(load) = self.worker.shared.loads.get(worker) {
            load.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take_over(&self, handover: Handover) {
        let Handover { carrier, peer, listener, seat } = handover;
        let stream = match carrier {
            Carrier::Tcp(stream) => stream,
            Carrier::Quic(arrival) => return self.serve_quic(*arrival, peer, listener, seat),
        };
        match TcpStream::from_std(stream) {
            Ok(stream) => self.serve(stream, peer, listener, seat),
            Err(error) => {
                self.worker.closed();
                tracing::error!(%error, "a connection was lost on its way between workers");
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, listener: ListenerId, seat: Option<Seat>) {
        let Some(listener) = self.listeners.get(listener) else { return self.worker.closed() };
        let is_proxied = listener.config.proxy_protocol.is_some();
        let mut client = Client::new(Rc::clone(&self.worker), listener, peer.ip(), seat);
        if self.worker.pinned.borrow().names_clients
            && let (Some(client), Ok(destination)) = (Rc::get_mut(&mut client), stream.local_addr())
        {
            client.joins(Ends { source: peer, destination });
        }
        // The task owns itself: the client that it drops at its end is what is counted.
        match is_proxied {
            false => drop(tokio::task::spawn_local(serve::connection(stream, client))),
            true => drop(tokio::task::spawn_local(proxy_protocol::accept::connection(stream, client))),
        }
    }
}

/// A connection is closed unserved: it has been counted, and perhaps said.
pub(crate) struct TurnedAway;

/// Whether an accept error concerns the one connection that was to be accepted (accept(2)).
fn is_one_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
