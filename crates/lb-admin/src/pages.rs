//! Which page answers which path.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use lb_observe::control::ControlMetrics;
use lb_observe::{Registry, prometheus};

use crate::negotiate::{Form, preferred};
use crate::page::{self, health};
use crate::spare::{MAX_KEPT, Spare};
use crate::view::{GatewayView, StatusSource};
use crate::{assets, response};

/// The paths that are always answered.
pub(crate) const STATUS_PATHS: [&str; 7] =
    ["/health", "/ready", "/ping", "/metrics", "/proxy-status", "/strategies", "/info"];

/// Metrics shorter than this are drawn in no time, with whatever memory, in bytes.
const SHORT: usize = 256 << 10;

/// The status pages of one listener.
///
/// ```
/// use lb_admin::{Features, GatewayView, StatusPages, StatusSource};
/// use std::sync::Arc;
///
/// struct Idle;
/// impl StatusSource for Idle {
///     fn view(&self) -> GatewayView {
///         GatewayView {
///             version: "1.0.0",
///             uptime: std::time::Duration::from_secs(5),
///             draining: false,
///             default_strategy: "round_robin".to_owned(),
///             strategies: Vec::new(),
///             listeners: Vec::new(),
///             rules: Vec::new(),
///             upstreams: Vec::new(),
///             features: Features { traffic_dump: false, health_check: false, sample_rate: 0.0 },
///             configuration: None,
///             discovery: Vec::new(),
///         }
///     }
/// }
///
/// let pages = StatusPages::new(Arc::new(Idle), Arc::default());
/// let health = pages.respond(&http::Method::GET, "/health", None, None).unwrap();
/// assert!(health.body().starts_with(br#"{"status":"ok","#));
/// assert!(pages.respond(&http::Method::GET, "/users", None, None).is_none());
/// ```
pub struct StatusPages {
    source: Arc<dyn StatusSource>,
    registry: Arc<Registry>,
    control: Option<Arc<ControlMetrics>>,
    home: Home,
    spare: Spare,
}

/// What stands at `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Nothing,
    Demo,
    Dashboard,
}

/// What a page is made from.
pub(crate) struct Scene<'a> {
    pub(crate) view: &'a GatewayView,
    pub(crate) registry: &'a Registry,
    pub(crate) control: Option<&'a ControlMetrics>,
    pub(crate) is_demo: bool,
    pub(crate) spare: &'a Spare,
    pub(crate) time: SystemTime,
    pub(crate) now: Instant,
}

/// Whether a status endpoint stands at this path.
#[must_use]
pub fn is_status_path(path: &str) -> bool {
    STATUS_PATHS.contains(&path)
}

impl StatusPages {
    /// Status pages that show what `source` and `registry` tell; nothing at `/`.
    pub fn new(source: Arc<dyn StatusSource>, registry: Arc<Registry>) -> Self {
        Self { source, registry, control: None, home: Home::Nothing, spare: Spare::default() }
    }

    /// With the control side's counters in `/metrics`.
    #[must_use]
    pub fn with_control(mut self, control: Arc<ControlMetrics>) -> Self {
        self.control = Some(control);
        self
    }

    /// With the interactive demo at `/`.
    #[must_use]
    pub fn with_demo(mut self) -> Self {
        self.home = Home::Demo;
        self
    }

    /// With the dashboard at `/`, for the admin address.
    #[must_use]
    pub fn with_dashboard(mut self) -> Self {
        self.home = Home::Dashboard;
        self
    }

    /// The answer to a request for a status page; `None` where the path is not one of them.
    ///
    /// `path` is the decoded, normalised path; `query` and `accept` are as received.
    pub fn respond(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        accept: Option<&str>,
    ) -> Option<Response<Bytes>> {
        self.answer(method, path, || self.at_once(path, accept).or_else(|| self.get(path, query, accept)))
    }

    /// The same where it is drawn in microseconds however many backends there are: `/health` and `/ready` for machines, which
    /// must not wait behind others' pages. `None` for all others.
    pub fn respond_at_once(
        &self,
        method: &Method,
        path: &str,
        accept: Option<&str>,
    ) -> Option<Response<Bytes>> {
        let page = self.at_once(path, accept)?;
        self.answer(method, path, || Some(page))
    }

    /// Whether the metrics, as long as they are now, have never been drawn: whoever scrapes first then waits for megabytes of
    /// memory that is new to the process, which takes several times what drawing does. [`warm_up`](Self::warm_up) is the remedy.
    pub fn are_cold(&self) -> bool {
        let needed = prometheus::room_for(&self.registry);
        (SHORT..=MAX_KEPT).contains(&needed) && self.spare.longest() < needed
    }

    /// Draws the metrics for nobody and keeps the memory. Takes as long as a first scrape.
    pub fn warm_up(&self) {
        self.get("/metrics", None, None);
    }

    fn answer(
        &self,
        method: &Method,
        path: &str,
        page: impl FnOnce() -> Option<Response<Bytes>>,
    ) -> Option<Response<Bytes>> {
        match *method {
            Method::GET => page(),
            Method::HEAD => page().map(response::without_body),
            _ if self.has(path) => Some(response::method_not_allowed(method)),
            _ => None,
        }
    }

    fn at_once(&self, path: &str, accept: Option<&str>) -> Option<Response<Bytes>> {
        match path {
            "/health" if preferred(accept) == Form::Json => {
                Some(response::negotiated(health::health(&self.source.tally())))
            }
            "/ready" => Some(health::ready(&self.source.tally())),
            _ => None,
        }
    }

    /// Whether a page stands at this path.
    pub fn has(&self, path: &str) -> bool {
        is_status_path(path) || self.asset(path).is_some()
    }

    fn get(&self, path: &str, query: Option<&str>, accept: Option<&str>) -> Option<Response<Bytes>> {
        if !STATUS_PATHS.contains(&path) {
            return self.asset(path).map(assets::Asset::respond);
        }
        let view = self.source.view();
        let scene = Scene {
            view: &view,
            registry: &self.registry,
            control: self.control.as_deref(),
            is_demo: self.home == Home::Demo,
            spare: &self.spare,
            time: SystemTime::now(),
            now: Instant::now(),
        };
        let page = match path {
            "/health" | "/ping" if preferred(accept) == Form::Html => page::ping::html(&scene),
            "/ping" => page::ping::json(&scene),
            "/metrics" => page::metrics::metrics(&scene, query),
            "/proxy-status" => page::proxy_status::proxy_status(&scene),
            "/strategies" => page::strategies::strategies(&scene),
            "/info" => page::info::info(&scene),
            _ => return None,
        };
        Some(if matches!(path, "/health" | "/ping") { response::negotiated(page) } else { page })
    }

    fn asset(&self, path: &str) -> Option<assets::Asset> {
        match (self.home, path) {
            (Home::Demo, "/") => Some(assets::DEMO),
            (Home::Dashboard, "/") => Some(assets::DASHBOARD),
            (Home::Demo, _) => assets::file(path, assets::OF_DEMO),
            (Home::Dashboard, _) => assets::file(path, assets::OF_DASHBOARD),
            (Home::Nothing, _) => assets::file(path, &[]),
        }
    }
}

impl std::fmt::Debug for StatusPages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusPages").field("home", &self.home).finish_non_exhaustive()
    }
}

/// A status code for a yes or no.
pub(crate) fn ok_or_unavailable(ok: bool) -> StatusCode {
    if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
