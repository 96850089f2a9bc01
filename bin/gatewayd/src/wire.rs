//! Puts the pieces together: figures, log, pages, engine, admin address.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_admin::StatusPages;
use lb_config::{Diagnostic, Loaded};
use lb_dump::Dumps;
use lb_http::{Attachments, Gateway};
use lb_observe::control::ControlMetrics;
use lb_observe::{AccessLog, Figures, Recorder, Registry};

use crate::admin::{Admin, Bound};
use crate::alerts::Alerts;
use crate::api::Api;
use crate::exit::{self, Failure};
use crate::status::{LiveStatus, Pages};
use crate::{access, status};

/// What stands at `/` of listeners with status endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// Whatever the rules say.
    Plain,
    /// The demo page.
    Demo,
}

/// How often request rates are taken.
const RATE_INTERVAL: Duration = Duration::from_secs(5);
/// How long the last lines of log and dump may each take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A gateway with everything around it.
pub(crate) struct Running {
    gateway: Gateway,
    log: Option<Arc<AccessLog>>,
    dumps: Arc<Dumps>,
    shutdown_timeout: Duration,
    _admin: Option<Admin>,
}

impl Running {
    /// Starts all of it, or nothing.
    pub(crate) async fn start(loaded: Loaded, home: Home) -> Result<Self, Failure> {
        let started = Instant::now();
        warn(&loaded.warnings);
        let Loaded { config, admin, access_log, alerts, .. } = loaded;
        let registry = Arc::new(Registry::default());
        let control = ControlMetrics::install().ok().map(Arc::new);
        let log = access::start(&access_log)?;

        let live = Arc::new(LiveStatus::new(&config, Arc::clone(&registry)));
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
        let mut recorders: Vec<Arc<dyn Recorder>> =
            vec![Arc::new(Figures::new(&registry, config.workers.get()))];
        recorders.extend(log.iter().map(|log| Arc::clone(log) as Arc<dyn Recorder>));

        let token = admin.as_ref().and_then(|admin| admin.token.clone());
        let admin = match &admin {
            Some(admin) => Some(Bound::bind(admin).await?),
            None => None,
        };
        let connect = {
            let live = Arc::clone(&live);
            move |view| live.connect(view)
        };
        let dumps = Arc::new(Dumps::default());
        let attachments = Attachments {
            recorders,
            pages: Some(on_listeners),
            dumps: Arc::clone(&dumps),
            health: alerts.map(|alerts| Alerts::start(alerts.webhook) as Arc<_>),
            connect: Some(Box::new(connect)),
        };
        let gateway = Gateway::start(&config, &registry, attachments).await?;
        let api = Api::new(Arc::clone(&live), token);
        let admin = admin.map(|bound| bound.serve(pages(StatusPages::with_dashboard), api));
        tokio::spawn(keep_rates(Arc::clone(&registry)));
        for (name, address) in gateway.addresses() {
            tracing::info!(listener = %name, %address, workers = config.workers, "listening");
        }
        if let Some(admin) = &admin {
            tracing::info!(address = %admin.address(), "admin address");
        }
        tracing::info!(version = status::VERSION, startup = ?started.elapsed(), "gatewayd is up");
        Ok(Self { gateway, log, dumps, shutdown_timeout: config.shutdown_timeout, _admin: admin })
    }

    pub(crate) fn addresses(&self) -> &[(String, std::net::SocketAddr)] {
        self.gateway.addresses()
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout
    }

    /// Drains; true where every request in flight finished in time.
    pub(crate) async fn shut_down(self) -> bool {
        let drained = self.gateway.shut_down(self.shutdown_timeout).await;
        if let Some(log) = self.log {
            log.flush(LAST_LINES);
        }
        self.dumps.flush(LAST_LINES);
        drained
    }
}

/// Lets rates be about the last minute whether or not anyone looks at them.
async fn keep_rates(registry: Arc<Registry>) {
    let mut tick = tokio::time::interval(RATE_INTERVAL);
    loop {
        tick.tick().await;
        registry.tick(Instant::now());
    }
}

/// Shows what was noticed at load, for the person who started it.
fn warn(warnings: &[Diagnostic]) {
    use std::io::IsTerminal;
    for warning in warnings {
        exit::say(warning.render(std::io::stderr().is_terminal()).trim_end());
    }
}
