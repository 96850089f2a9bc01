//! Puts the pieces together: figures, log, pages, engine, admin address.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lb_admin::StatusPages;
use lb_admin::live::{Board, RecentChanges, STEP};
use lb_config::{Diagnostic, Loaded};
use lb_discovery::Discovery;
use lb_dump::Dumps;
use lb_health::EventSink;
use lb_http::config::{GatewayConfig, ListenerConfig};
use lb_http::{Attachments, Gateway, in_background};
use lb_observe::control::ControlMetrics;
use lb_observe::{AccessLog, DecisionLog, Figures, RecentErrors, Recorder, Registry};
use lb_trace::Traces;

use crate::admin::{Admin, Bound};
use crate::alerts::Alerts;
use crate::api::{Api, Token};
use crate::edits::Edit;
use crate::effective::{Base, Effective};
use crate::exit::{self, Failure};
use crate::inherit::Given;
use crate::reload::{Beside, Parts, Reloading, Source};
use crate::rolled_back::RolledBack;
use crate::status::{LiveStatus, Pages};
use crate::upgrade::Upgrader;
use crate::{access, discovery, edits, kept, logging, registered, rolled_back, status, traces};

/// What stands at `/` of listeners with status endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// Whatever the rules say.
    Plain,
    /// The demo page.
    Demo,
}

/// How long the last of log, dump and traces may each take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long whoever asked for an upgrade may take to take the answer.
const LAST_ANSWER: Duration = Duration::from_millis(250);

/// How often what is configured no more is looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// A gateway with everything around it.
pub(crate) struct Running {
    gateway: Gateway,
    log: Option<Arc<AccessLog>>,
    traces: Option<Arc<Traces>>,
    dumps: Arc<Dumps>,
    shutdown: Arc<Mutex<Shutdown>>,
    reloading: Arc<Reloading>,
    upgrader: Arc<Upgrader>,
    admin: Option<Admin>,
    /// Beside which registrations are kept.
    state_file: Option<PathBuf>,
    rolled_back: Option<Arc<RolledBack>>,
}

impl Running {
    /// Starts all of it, or nothing. What comes from a file can be read again.
    pub(crate) async fn start(loaded: Loaded, home: Home, source: Option<Source>) -> Result<Self, Failure> {
        let started = Instant::now();
        logging::serve();
        warn(&loaded.warnings);
        let mut effective = Effective::new(Base::of(&loaded));
        let mut given = Given::take()?;
        let mut kept_rollbacks = None;
        if let Some(file) = loaded.config.state_file.as_deref().filter(|_| given.edits.is_none()) {
            kept::clear_leftovers(file);
            given.inherited.rollbacks = rolled_back::read(file);
            kept_rollbacks = Some(given.inherited.rollbacks.clone());
        }
        let state_file = loaded.config.state_file.clone().filter(|_| loaded.admin.is_some());
        let registered = match (&given.edits, &state_file) {
            // The process before knows best.
            (Some(_), _) => std::mem::take(&mut given.registered),
            (None, Some(file)) => registered::read(file),
            (None, None) => BTreeMap::new(),
        };
        let discovery = Discovery::new(lb_config::read_document).with_registered(registered);
        let discovery = Arc::new(discovery.with_known(std::mem::take(&mut given.discovered)));
        discovery.prepare(&loaded.discover, discovery::PATIENCE).await;
        effective.rediscover(&discovery);
        if loaded.admin.is_some() {
            restore(&mut effective, given.edits.take());
        }
        let composed = effective.compose();
        composed.say_left_out();
        let config = composed.config;
        let Loaded { admin, access_log, alerts, tracing, places, statistics, .. } = loaded;
        let registry = Arc::new(if statistics { Registry::default() } else { Registry::without_backends() });
        let control = ControlMetrics::install().ok().map(Arc::new);
        let log = access::start(&access_log, tracing.is_some(), &config)?;
        let traces = traces::start(tracing.clone())?;

        let file = source.as_ref().map(|source| source.path.display().to_string());
        let live = Arc::new(LiveStatus::new(&config, Arc::clone(&places), file, Arc::clone(&discovery)));
        let pages = |with_home: fn(StatusPages) -> StatusPages| {
            let pages = StatusPages::new(Arc::clone(&live) as Arc<_>, Arc::clone(&registry));
            let pages = match &control {
                Some(control) => pages.with_control(Arc::clone(control)),
                None => pages,
            };
            Arc::new(Pages(with_home(pages)))
        };
        let on_listeners = match home {
            Home::Plain => pages(|pages| pages),
            Home::Demo => pages(StatusPages::with_demo),
        };
        let is_asked = |listener: &ListenerConfig| listener.status_endpoints;
        let mut scraped: Vec<Arc<Pages>> = Vec::new();
        scraped.extend(config.listeners.iter().any(is_asked).then(|| Arc::clone(&on_listeners)));
        let mut recorders: Vec<Arc<dyn Recorder>> =
            vec![Arc::new(Figures::new(&registry, config.workers.get()))];
        recorders.extend(log.iter().map(|log| Arc::clone(log) as Arc<dyn Recorder>));
        recorders.extend(traces.iter().map(|traces| Arc::clone(traces) as Arc<dyn Recorder>));

        let token = Token::new(admin.as_ref().and_then(|admin| admin.token.clone()));
        let admin_tls = admin.as_ref().and_then(|admin| admin.tls.clone());
        let beside = Beside { admin: admin.clone(), alerts: alerts.clone(), access_log, tracing };
        let admin = match &admin {
            Some(admin) => {
                Some((Bound::bind(admin, &mut given).await?, Watched::new(&live, &registry, &config)))
            }
            None => None,
        };
        let watched = || admin.iter().map(|(_, watched)| watched);
        recorders.extend(watched().map(|watched| Arc::clone(&watched.errors) as Arc<dyn Recorder>));
        let mut health: Vec<Arc<dyn EventSink>> = Vec::new();
        health.extend(watched().map(|watched| Arc::clone(&watched.changes) as Arc<_>));
        if let Some(alerts) = alerts {
            health.push(Alerts::start(alerts)?);
        }
        let connect = {
            let live = Arc::clone(&live);
            move |view| live.connect(view)
        };
        let dumps = Arc::new(Dumps::default());
        let attachments = Attachments {
            recorders,
            decisions: watched().map(|watched| Arc::clone(&watched.decisions)).next(),
            pages: Some(on_listeners),
            dumps: Arc::clone(&dumps),
            health: Some(Arc::new(health)),
            inherited: given.inherited,
            connect: Some(Box::new(connect)),
        };
        let gateway = Gateway::start(&config, &registry, attachments).await;
        let gateway = gateway.map_err(|error| Failure::at(error, &config, &places))?;
        let board = watched().map(|watched| Arc::clone(&watched.board)).next();
        tokio::spawn(keep_rates(Arc::clone(&registry), board));
        let shutdown = Arc::new(Mutex::new(Shutdown::of(&config)));
        let reloading = Reloading::new(Parts {
            source,
            effective,
            reloader: gateway.reloader(),
            discovery,
            live: Arc::clone(&live),
            token: token.clone(),
            beside,
            shutdown: Arc::clone(&shutdown),
        });
        reloading.resume_edits().await;
        tokio::spawn(Arc::clone(&reloading).end_edits());
        tokio::spawn(forget_what_is_gone(Arc::clone(&reloading), Arc::clone(&registry), Arc::clone(&dumps)));
        tokio::spawn(discovery::follow(Arc::clone(&reloading)));
        tokio::spawn(discovery::keep_figures(Arc::clone(reloading.discovery())));
        if let Some(file) = &state_file {
            tokio::spawn(registered::keep(Arc::clone(&reloading), file.clone()));
        }
        let rolled_back = config.state_file.as_deref();
        let rolled_back = rolled_back.map(|file| RolledBack::new(gateway.reloader(), file, kept_rollbacks));
        if let Some(rolled_back) = &rolled_back {
            tokio::spawn(Arc::clone(rolled_back).keep(Arc::clone(&reloading)));
        }
        let duplicate = admin.as_ref().map(|(bound, _)| bound.duplicate()).transpose()?;
        let upgrader = Upgrader::new(gateway.reloader(), Arc::clone(&reloading), duplicate);
        let admin = admin.map(|(bound, watched)| {
            let api = Api::new(
                bound.address(),
                admin_tls.as_ref(),
                Arc::clone(&live),
                token,
                watched.decisions,
                Arc::clone(&reloading),
                Arc::clone(&upgrader),
            );
            let dashboard = pages(StatusPages::with_dashboard);
            scraped.push(Arc::clone(&dashboard));
            bound.serve(dashboard, api, watched.board)
        });
        for (name, address) in gateway.addresses() {
            tracing::info!(listener = %name, %address, workers = config.workers, "listening");
        }
        if let Some(admin) = &admin {
            tracing::info!(address = %admin.address(), "admin address");
        }
        tracing::info!(version = status::VERSION, startup = ?started.elapsed(), "gatewayd is up");
        tokio::spawn(keep_warm(scraped));
        Ok(Self {
            gateway,
            log,
            traces,
            dumps,
            shutdown,
            reloading,
            upgrader,
            admin,
            state_file,
            rolled_back,
        })
    }

    pub(crate) fn addresses(&self) -> &[(String, std::net::SocketAddr)] {
        self.gateway.addresses()
    }

    pub(crate) fn shutdown(&self) -> Shutdown {
        *self.shutdown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the configuration in force.
    pub(crate) fn reloading(&self) -> &Arc<Reloading> {
        &self.reloading
    }

    /// Puts another process in the place of this one.
    pub(crate) fn upgrader(&self) -> &Arc<Upgrader> {
        &self.upgrader
    }

    /// Drains; true where every request in flight finished in time.
    pub(crate) async fn shut_down(self) -> bool {
        let Shutdown { timeout, delay } = self.shutdown();
        let Self { gateway, log, traces, dumps, reloading, state_file, rolled_back, admin: _admin, .. } =
            self;
        let drained = gateway.shut_down(timeout, delay).await;
        if let Some(file) = state_file
            && let Err(error) = registered::save(reloading.discovery(), &file).await
        {
            tracing::error!(%error, "registrations could not be kept for the next start");
        }
        if let Some(rolled_back) = rolled_back
            && let Err(error) = rolled_back.save().await
        {
            tracing::error!(%error, "what was taken back of splits could not be kept for the next start");
        }
        write_the_last(log, &dumps, traces).await;
        drained
    }

    /// Drains in favour of another process that serves already.
    pub(crate) async fn leave(self) -> bool {
        let Shutdown { timeout, .. } = self.shutdown();
        let Self { gateway, log, traces, dumps, admin, .. } = self;
        // Connections that it has stay: one of them may have asked for this.
        drop(admin);
        let (drained, ()) = tokio::join!(gateway.leave(timeout), tokio::time::sleep(LAST_ANSWER));
        write_the_last(log, &dumps, traces).await;
        drained
    }
}

async fn write_the_last(log: Option<Arc<AccessLog>>, dumps: &Dumps, traces: Option<Arc<Traces>>) {
    if let Some(log) = log {
        log.flush(LAST_LINES);
    }
    dumps.flush(LAST_LINES);
    if let Some(traces) = traces {
        traces.flush(LAST_LINES).await;
    }
}

/// How long the end may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shutdown {
    pub(crate) timeout: Duration,
    /// How long of it listeners stay open.
    pub(crate) delay: Duration,
}

impl Shutdown {
    pub(crate) fn of(config: &GatewayConfig) -> Self {
        Self { timeout: config.shutdown_timeout, delay: config.drain_delay }
    }
}

/// Takes up the edits of the process before, or those that an earlier run was asked to keep.
fn restore(effective: &mut Effective, before: Option<Vec<Edit>>) {
    match (before, effective.base().config.state_file.as_deref().map(edits::file_of)) {
        (Some(before), _) => effective.edits_mut().take_over(before),
        (None, None) => return,
        (None, Some(file)) => match edits::read(&file) {
            Ok(saved) => effective.edits_mut().restore(saved, SystemTime::now()),
            Err(reason) => kept::set_aside(&file, "edits", &reason),
        },
    }
    for (edit, reason) in effective.prune_edits(None) {
        tracing::warn!(component = "admin", what = %edit.what, reason, "an edit of an earlier run is dropped");
    }
}

/// What the dashboard and the admin address tell from.
struct Watched {
    board: Arc<Board>,
    errors: Arc<RecentErrors>,
    changes: Arc<RecentChanges>,
    decisions: Arc<DecisionLog>,
}

impl Watched {
    fn new(live: &Arc<LiveStatus>, registry: &Arc<Registry>, config: &GatewayConfig) -> Self {
        let errors = Arc::new(RecentErrors::new(config.workers.get()));
        let changes = Arc::new(RecentChanges::default());
        let source = Arc::clone(live) as Arc<_>;
        let board = Board::new(source, Arc::clone(registry), Arc::clone(&errors), Arc::clone(&changes));
        let decisions = Arc::new(DecisionLog::new(config.workers.get()));
        Self { board: Arc::new(board), errors, changes, decisions }
    }
}

/// Lets rates be about the last minute whether or not anyone looks at them, and histories have no gaps.
async fn keep_rates(registry: Arc<Registry>, board: Option<Arc<Board>>) {
    let mut tick = tokio::time::interval(STEP);
    loop {
        tick.tick().await;
        let (registry, board) = (Arc::clone(&registry), board.clone());
        // Of ten thousand backends it takes tens of milliseconds.
        let stepped = in_background(move || {
            registry.tick(Instant::now());
            if let Some(board) = &board {
                board.step(Instant::now());
            }
        });
        if let Err(error) = stepped.await {
            tracing::warn!(%error, "rates could not be kept");
        }
    }
}

/// Draws long metrics once when nobody has asked for them yet: after the start, and after a reload that made them longer.
async fn keep_warm(scraped: Vec<Arc<Pages>>) {
    let mut tick = tokio::time::interval(STEP);
    loop {
        tick.tick().await;
        for pages in scraped.iter().filter(|pages| pages.0.are_cold()) {
            let pages = Arc::clone(pages);
            if let Err(error) = in_background(move || pages.0.warm_up()).await {
                tracing::warn!(%error, "metrics could not be drawn ahead");
            }
        }
    }
}

/// Figures and dumps of what is configured no more go once the last exchange has.
async fn forget_what_is_gone(reloading: Arc<Reloading>, registry: Arc<Registry>, dumps: Arc<Dumps>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        if reloading.has_reloaded() {
            let (registry, dumps) = (Arc::clone(&registry), Arc::clone(&dumps));
            // A dump writes its last lines as it goes.
            let swept = tokio::task::spawn_blocking(move || {
                registry.sweep();
                dumps.sweep();
            });
            drop(swept.await);
        }
    }
}

/// Shows what was noticed at load, for the person who started it.
fn warn(warnings: &[Diagnostic]) {
    use std::io::IsTerminal;
    for warning in warnings {
        exit::say(warning.render(std::io::stderr().is_terminal()).trim_end());
    }
}
