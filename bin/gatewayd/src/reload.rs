//! Another configuration in the place of the one in force, one change at a time: a file that has changed (SIGHUP, `gatewayd
//! reload`, or the file itself under `run --watch`), or another layer above it ([`Effective`]).
//!
//! A file is read and checked on the very code of `run` and `check`, off the path of requests. What is refused changes
//! nothing and is said in the log and to whoever asked; of a file also in `gatewayd_config_reloads_total` and `/proxy-status`.

mod edit;

use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use lb_admin::{ConfigurationView, EditView, ReloadView};
use lb_config::{AccessLogConfig, AdminConfig, AlertsConfig, Diagnostic, Loaded, TracingConfig};
use lb_discovery::Discovery;
use lb_http::config::ListenerTls;
use lb_http::{Plan, Reloader, in_background_since};
use lb_observe::control::{self, Reload};
use serde_json::{Value, json};

use crate::api::Token;
use crate::discovery;
use crate::edits::Edit;
use crate::effective::{Base, Composed, Effective};
use crate::exit::{self, Failure};
use crate::logging;
use crate::run;
use crate::status::{Described, LiveStatus};
use crate::wire::Shutdown;

pub(crate) use self::edit::Made;

/// Where a configuration is read from, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) strategy: Option<String>,
}

impl Source {
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        run::load(self.path.clone(), self.strategy.as_deref())
    }

    /// The same in two steps, each in its turn in the background.
    async fn load_in_background(self, begun: Instant) -> Result<Loaded, Failure> {
        let failed = |error: std::io::Error| Failure::Other(error.into());
        let sources = run::sources(self.path, self.strategy.as_deref());
        let collected = in_background_since(begun, move || lb_config::collect(&sources)).await;
        let collected = collected.map_err(failed)??;
        Ok(in_background_since(begun, move || collected.understand()).await.map_err(failed)??)
    }

    /// The files that it names for values.
    pub(crate) fn value_files(&self) -> Vec<PathBuf> {
        lb_config::value_files(&run::sources(self.path.clone(), self.strategy.as_deref()))
    }
}

/// What is said where there is no file to be read again.
pub(crate) const NO_FILE: &str = "this gateway runs without a configuration file";

/// What is said once another process has what this one had.
pub(crate) const SUCCEEDED: &str =
    "another process serves in place of this one, which changes nothing any more: connect anew and ask again";

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    Command,
    File,
    Discovery,
}

/// Reloads a running gateway.
pub(crate) struct Reloading {
    /// Nothing where there is no file.
    source: Option<Source>,
    reloader: Reloader,
    discovery: Arc<Discovery>,
    live: Arc<LiveStatus>,
    token: Token,
    started_with: Beside,
    /// Held from reading the file to its being in force, so that what was read last is in force last.
    effective: tokio::sync::Mutex<Effective>,
    shutdown: Arc<Mutex<Shutdown>>,
    has_reloaded: AtomicBool,
    /// Set while `effective` is held.
    is_succeeded: AtomicBool,
}

/// What the process was started with beside the engine.
pub(crate) struct Beside {
    pub(crate) admin: Option<AdminConfig>,
    pub(crate) alerts: Option<AlertsConfig>,
    pub(crate) access_log: AccessLogConfig,
    pub(crate) tracing: Option<TracingConfig>,
}

/// What a configuration changes, or has changed.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Everything a reload needs.
pub(crate) struct Parts {
    pub(crate) source: Option<Source>,
    pub(crate) effective: Effective,
    pub(crate) reloader: Reloader,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) live: Arc<LiveStatus>,
    pub(crate) token: Token,
    pub(crate) beside: Beside,
    pub(crate) shutdown: Arc<Mutex<Shutdown>>,
}

impl Reloading {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { source, effective, reloader, discovery, live, token, beside, shutdown } = parts;
        Arc::new(Self {
            source,
            reloader,
            discovery,
            live,
            token,
            started_with: beside,
            effective: tokio::sync::Mutex::new(effective),
            shutdown,
            has_reloaded: AtomicBool::new(false),
            is_succeeded: AtomicBool::new(false),
        })
    }

    /// The file, if there is one.
    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    /// Whether there ever was another configuration than the present one.
    pub(crate) fn has_reloaded(&self) -> bool {
        self.has_reloaded.load(Relaxed)
    }

    /// Puts the file as it is now in force. Goes on to its end if whoever asked does not wait for it.
    pub(crate) async fn reload(self: &Arc<Self>, cause: Cause) -> Result<Done, Failure> {
        let this = Arc::clone(self);
        let reloading = tokio::spawn(async move {
            let mut effective = this.effective.lock().await;
            this.must_serve()?;
            let result = this.put_file_in_force(&mut effective).await;
            this.tell_of_file(cause, &result);
            result
        });
        reloading.await.unwrap_or_else(|error| Err(Failure::Other(error.into())))
    }

    /// Changes a layer above the file and puts what comes of it in force; `None` where nothing does. Goes on to its end if
    /// whoever asked does not wait for it. What is refused leaves the layers as they were.
    pub(crate) async fn change(
        self: &Arc<Self>,
        cause: Cause,
        edit: impl FnOnce(&mut Effective) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Option<Plan>, Failure> {
        let this = Arc::clone(self);
        let changing = tokio::spawn(async move {
            let mut effective = this.effective.lock().await;
            this.must_serve()?;
            let mut next = effective.clone();
            edit(&mut next)?;
            let result = this.put_layer_in_force(&mut effective, next).await;
            match &result {
                Ok(Some(plan)) => tracing::info!(component = "reload", %cause, %plan, "backends changed"),
                Ok(None) => {}
                Err(failure) => tracing::error!(
                    component = "reload",
                    %cause,
                    error = failure.first_line(),
                    "change rejected; the configuration before stays in force"
                ),
            }
            result
        });
        changing.await.unwrap_or_else(|error| Err(Failure::Other(error.into())))
    }

    /// Lets no other configuration come in force while this is held.
    pub(crate) async fn pause(&self) -> tokio::sync::MutexGuard<'_, Effective> {
        self.effective.lock().await
    }

    /// From now on nothing is changed here, nor kept for the next start: another process has been given all that there was. Takes what
    /// [`pause`](Self::pause) gave, as nothing may come between.
    pub(crate) fn succeeded(&self, paused: tokio::sync::MutexGuard<'_, Effective>) {
        self.is_succeeded.store(true, Relaxed);
        drop(paused);
    }

    /// Whether another process has what this one had. Certain only where `effective` is held.
    pub(crate) fn is_succeeded(&self) -> bool {
        self.is_succeeded.load(Relaxed)
    }

    fn must_serve(&self) -> Result<(), Failure> {
        if self.is_succeeded() { Err(Failure::Refused(SUCCEEDED.to_owned())) } else { Ok(()) }
    }

    /// What the file as it is now would change.
    pub(crate) async fn plan(&self) -> Result<Done, Failure> {
        let loaded = self.load(Instant::now()).await?;
        let effective = self.effective.lock().await.clone();
        let mut next = effective.with_base(Base::of(&loaded));
        // Places that are new are not asked.
        next.rediscover(&self.discovery);
        let dropped = next.prune_edits(Some(&effective));
        let plan = self.reloader.plan(next.compose().config).await?;
        let warnings = with_dropped(loaded.warnings.clone(), &dropped);
        Ok(Done { plan: self.with_rest(plan, &loaded), warnings })
    }

    /// Who is discovered.
    pub(crate) fn discovery(&self) -> &Arc<Discovery> {
        &self.discovery
    }

    async fn put_layer_in_force(
        &self,
        effective: &mut Effective,
        next: Effective,
    ) -> Result<Option<Plan>, Failure> {
        let composed = next.compose();
        if composed.config == effective.compose().config {
            *effective = next;
            return Ok(None);
        }
        let plan = self.put_in_force(effective, next, composed, Instant::now()).await?;
        Ok(Some(plan))
    }

    async fn put_file_in_force(&self, effective: &mut Effective) -> Result<Done, Failure> {
        let begun = Instant::now();
        let loaded = self.load(begun).await?;
        let before = effective.clone();
        let mut next = effective.with_base(Base::of(&loaded));
        self.discovery.prepare(&loaded.discover, discovery::PATIENCE).await;
        next.rediscover(&self.discovery);
        let dropped = next.prune_edits(Some(&before));
        let composed = next.compose();
        let result = self.put_in_force(effective, next, composed, begun).await;
        self.discovery.settle(&effective.base().discover);
        let plan = result?;
        // What is wrong with that has been said.
        let _ = self.save_edits(&before, effective).await;
        self.show_edits(effective);
        let plan = self.with_rest(plan, &loaded);
        *self.shutdown.lock().unwrap_or_else(PoisonError::into_inner) = Shutdown::of(&loaded.config);
        // Without the table there is nobody to ask for it, and a token that was there is not lifted.
        if let Some(admin) = loaded.admin {
            self.token.set(admin.token);
        }
        let warnings = with_dropped(loaded.warnings, &dropped);
        Ok(Done { plan, warnings })
    }

    async fn put_in_force(
        &self,
        effective: &mut Effective,
        next: Effective,
        composed: Composed,
        begun: Instant,
    ) -> Result<Plan, Failure> {
        let (config, places) = (Arc::clone(&composed.config), Arc::clone(&next.base().places));
        let described = in_background_since(begun, move || Described::of(&config, places)).await;
        let described = described.map_err(|error| Failure::Other(error.into()))?;
        let plan = self.reloader.reload(Arc::clone(&composed.config), begun).await;
        let plan = plan.map_err(|error| Failure::at(error, &composed.config, &next.base().places))?;
        composed.say_left_out();
        self.has_reloaded.store(true, Relaxed);
        self.live.describe(described);
        *effective = next;
        self.tell_backends(effective);
        Ok(plan)
    }

    /// Reads the file, on a thread where that may take its time.
    async fn load(&self, begun: Instant) -> Result<Loaded, Failure> {
        let source = self.source.clone();
        let source = source.ok_or_else(|| Failure::Refused(NO_FILE.to_owned()))?;
        let mut loaded = source.load_in_background(begun).await?;
        if self.started_with.tracing.is_none() {
            // Spans would go nowhere.
            Arc::make_mut(&mut loaded.config).trace_sample = None;
        }
        Ok(loaded)
    }

    /// Adds what is not the engine's.
    fn with_rest(&self, mut plan: Plan, loaded: &Loaded) -> Plan {
        let Beside { admin, alerts, access_log, tracing } = &self.started_with;
        let address = |admin: &Option<AdminConfig>| match admin {
            Some(admin) => admin.address.to_string(),
            None => "none".to_owned(),
        };
        let (now, next) = (address(admin), address(&loaded.admin));
        if now != next {
            plan.needs_restart("admin.address", now, next);
        }
        let tls = |admin: &Option<AdminConfig>| admin.as_ref().and_then(|admin| admin.tls.clone());
        let (now, next) = (tls(admin), tls(&loaded.admin));
        if now != next {
            let shown = |tls: &Option<ListenerTls>| if tls.is_some() { "on" } else { "off" };
            plan.needs_restart("admin.tls", shown(&now), shown(&next));
        }
        if *alerts != loaded.alerts {
            let shown = |alerts: &Option<AlertsConfig>| if alerts.is_some() { "on" } else { "off" };
            plan.needs_restart("alerts", shown(alerts), shown(&loaded.alerts));
        }
        if *access_log != loaded.access_log {
            let shown = |log: &AccessLogConfig| if log.enabled { "on" } else { "off" };
            plan.needs_restart("access_log", shown(access_log), shown(&loaded.access_log));
        }
        if *tracing != loaded.tracing {
            let shown = |tracing: &Option<TracingConfig>| match tracing {
                Some(tracing) => tracing.endpoint.shown(),
                None => "none".to_owned(),
            };
            plan.needs_restart("tracing.endpoint", shown(tracing), shown(&loaded.tracing));
        }
        plan
    }

    /// Says how it went: log, metric, status.
    fn tell_of_file(&self, cause: Cause, result: &Result<Done, Failure>) {
        let file = self.source.iter().map(|source| source.path.display()).next();
        let file = file.map(tracing::field::display);
        match result {
            Ok(Done { plan, warnings }) => {
                control::reloaded(Reload::Ok);
                for warning in warnings {
                    tracing::warn!(component = "reload", "{warning}");
                }
                tracing::info!(component = "reload", %cause, file, %plan, "configuration reloaded");
                self.live.reloaded(Ok(plan.to_string()));
            }
            Err(failure) => {
                control::reloaded(Reload::Rejected);
                // For people it stands below the line, as `check` prints it.
                let is_text = logging::is_text();
                let diagnostics = (!is_text).then(|| failure.text(false));
                tracing::error!(
                    component = "reload",
                    %cause,
                    file,
                    diagnostics = diagnostics.as_deref().map(str::trim_end),
                    "configuration rejected; the one before stays in force"
                );
                if is_text {
                    exit::say(failure.text(std::io::stderr().is_terminal()).trim_end());
                }
                self.live.reloaded(Err(failure.first_line()));
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "SIGHUP",
            Self::Command => "the admin API",
            Self::File => "the file changed",
            Self::Discovery => "discovery",
        })
    }
}

impl Done {
    /// For machines.
    pub(crate) fn json(&self, dry_run: bool) -> Value {
        let Plan { rules, reordered, listeners, upstreams, upstreams_unchanged, settings, restart } =
            &self.plan;
        let changes = |changes: &lb_http::Changes| {
            json!({
                "added": changes.added,
                "changed": changes.changed,
                "removed": changes.removed,
                "unchanged": changes.unchanged,
            })
        };
        let upstream = |it: &lb_http::UpstreamChange| {
            let changed: serde_json::Map<String, Value> =
                it.changed.iter().map(|(url, words)| (url.clone(), json!(words))).collect();
            json!({
                "name": it.name,
                "change": it.change,
                "backends_added": it.added,
                "backends_removed": it.removed,
                "backends_changed": changed,
                "settings": it.settings,
            })
        };
        let restart = restart.iter().map(|it| json!({ "key": it.key, "from": it.from, "to": it.to }));
        json!({
            "result": "ok",
            "dry_run": dry_run,
            "summary": self.plan.to_string(),
            "plan": {
                "rules": changes(rules),
                "rules_reordered": reordered,
                "listeners": changes(listeners),
                "upstreams": upstreams.iter().map(upstream).collect::<Vec<_>>(),
                "upstreams_unchanged": upstreams_unchanged,
                "settings": settings,
                "restart": restart.collect::<Vec<_>>(),
            },
            "warnings": self.warnings,
        })
    }
}

/// The warnings of a file, and the edits that make no sense over it.
fn with_dropped(mut warnings: Vec<Diagnostic>, dropped: &[(Edit, String)]) -> Vec<Diagnostic> {
    let dropped = dropped.iter().map(|(edit, why)| {
        Diagnostic::warning(format!("an edit is dropped: {} (by {}): {why}", edit.what, edit.by))
    });
    warnings.extend(dropped);
    warnings
}

/// How the last reload ended, for pages.
#[derive(Debug, Clone)]
pub(crate) struct History {
    file: Option<String>,
    loaded_at: SystemTime,
    last: Option<ReloadView>,
    version: u64,
    edits: Vec<EditView>,
}

impl History {
    pub(crate) fn new(file: Option<String>) -> Self {
        Self { file, loaded_at: SystemTime::now(), last: None, version: 0, edits: Vec::new() }
    }

    pub(crate) fn reloaded(&mut self, result: Result<String, String>) {
        let time = SystemTime::now();
        if result.is_ok() {
            self.loaded_at = time;
        }
        self.last = Some(ReloadView { time, result });
    }

    pub(crate) fn edited(&mut self, version: u64, edits: Vec<EditView>) {
        self.version = version;
        self.edits = edits;
    }

    pub(crate) fn view(&self) -> ConfigurationView {
        ConfigurationView {
            file: self.file.clone(),
            loaded_at: self.loaded_at,
            reload: self.last.clone(),
            version: self.version,
            edits: self.edits.clone(),
        }
    }
}
