//! Edits by operators: put in force, taken back when their time is over, kept where that is asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use lb_admin::EditView;
use lb_core::Weight;
use lb_http::BackendChange;
use lb_http::config::GatewayConfig;

use super::{Cause, Reloading, SUCCEEDED};
use crate::edits::{self, Edit, Refusal, Terms, What};
use crate::effective::Effective;

/// How often edits are looked at for those whose time is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// An edit that is in force.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Of what is in force now.
    pub(crate) version: u64,
    /// What was changed, as it stood and as it stands.
    pub(crate) before: String,
    pub(crate) after: String,
    /// Backends that were told, where it is theirs.
    pub(crate) told: usize,
    /// The edit, unless it only took others back.
    pub(crate) edit: Option<Edit>,
    /// Why it is in force, but will not be so, or will be again, after a restart.
    pub(crate) not_kept: Option<String>,
}

impl Reloading {
    /// The edits in force, and their version.
    pub(crate) async fn edits(&self) -> (u64, Vec<Edit>) {
        let effective = self.effective.lock().await;
        (effective.edits().version(), effective.edits().list().to_vec())
    }

    /// Changes the configuration. Goes on to its end if whoever asked does not wait for it.
    pub(crate) async fn edit(self: &Arc<Self>, what: What, terms: Terms) -> Result<Made, Refusal> {
        let this = Arc::clone(self);
        self.by_itself(async move {
            let mut effective = this.effective.lock().await;
            this.may(&effective, &terms)?;
            let what = what.spelt(|upstream, backend| effective.spelt(Some(upstream), backend));
            let (base, now) = (&effective.base().config, effective.compose().config);
            let (before, planned) = (what.state(&now), what.plan(base, &now)?);
            if let What::Add { upstream, backend, .. } = &what {
                effective.check_backend(upstream, backend).map_err(|why| {
                    Refusal::new(StatusCode::BAD_REQUEST, "bad_backend", format!("{backend}: {why}"))
                })?;
            }
            let mut next = effective.clone();
            // A backend that an edit had added is removed by taking that back.
            let was_added = matches!(&what, What::Remove { .. })
                && next
                    .edits()
                    .list()
                    .iter()
                    .any(|it| matches!(it.what, What::Add { .. }) && what.ends(&it.what));
            let planned = planned.filter(|_| !was_added);
            next.edits_mut().record(|other| what.ends(other), planned.clone(), &terms, SystemTime::now())?;
            let not_kept = this.put_edits_in_force(&mut effective, next).await?;
            let edit = planned.and_then(|_| effective.edits().list().last().cloned());
            let after = what.state(&effective.compose().config);
            Ok(Made { version: effective.edits().version(), before, after, told: 0, edit, not_kept })
        })
        .await
    }

    /// Changes what the backends of a URL are offered.
    pub(crate) async fn edit_backend(
        self: &Arc<Self>,
        upstream: Option<String>,
        backend: String,
        change: BackendChange,
        terms: Terms,
    ) -> Result<Made, Refusal> {
        let this = Arc::clone(self);
        self.by_itself(async move {
            let mut effective = this.effective.lock().await;
            this.may(&effective, &terms)?;
            let now = effective.compose().config;
            let backend = effective.spelt(upstream.as_deref(), backend);
            edits::check_backend(&now, upstream.as_deref(), &backend)?;
            let before = this.live.offered(upstream.as_deref(), &backend);
            let drain = || What::Drain { upstream: upstream.clone(), backend: backend.clone() };
            let (what, is_made) = match change {
                BackendChange::Drain => (drain(), true),
                BackendChange::Undrain => (drain(), false),
                BackendChange::Weight(weight) => {
                    let (upstream, backend) = (upstream.clone(), backend.clone());
                    (What::Weight { upstream, backend, weight: weight.get() }, true)
                }
            };
            let mut next = effective.clone();
            let recorded = is_made.then(|| what.clone());
            if !is_made && let Some(only) = &upstream {
                let all = upstreams_of(&now, &backend);
                next.edits_mut().spare(&backend, only, &all);
            }
            next.edits_mut().record(|other| what.ends(other), recorded, &terms, SystemTime::now())?;
            let not_kept = this.put_edits_in_force(&mut effective, next).await?;
            // Nothing before this touches the backends: what is refused has changed nothing.
            let told = this.tell(upstream.as_deref(), &backend, change);
            let edit = effective.edits().list().last().filter(|_| is_made).cloned();
            let after = this.live.offered(upstream.as_deref(), &backend);
            Ok(Made { version: effective.edits().version(), before, after, told, edit, not_kept })
        })
        .await
    }

    /// Takes an edit back.
    pub(crate) async fn revert(self: &Arc<Self>, id: u64, terms: Terms) -> Result<(Made, What), Refusal> {
        let this = Arc::clone(self);
        self.by_itself(async move {
            let mut effective = this.effective.lock().await;
            this.may(&effective, &terms)?;
            let mut next = effective.clone();
            let unknown =
                || Refusal::new(StatusCode::NOT_FOUND, "unknown_edit", "no edit in force has this id");
            let edit = next.edits_mut().take(id).ok_or_else(unknown)?;
            let before = this.stands(&effective, &edit.what);
            let not_kept = this.put_edits_in_force(&mut effective, next).await?;
            this.undo(&effective, &edit.what);
            let after = this.stands(&effective, &edit.what);
            let version = effective.edits().version();
            let made = Made { version, before, after, told: 0, edit: None, not_kept };
            Ok((made, edit.what))
        })
        .await
    }

    /// Takes edits back whose time is over; for as long as this process has them.
    pub(crate) async fn end_edits(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = SystemTime::now();
            let mut effective = self.effective.lock().await;
            if self.is_succeeded() {
                return;
            }
            if effective.edits().next_end().is_none_or(|end| end > now) {
                continue;
            }
            let mut next = effective.clone();
            let ended = next.edits_mut().expire(now);
            if let Err(refusal) = self.put_edits_in_force(&mut effective, next).await {
                tracing::error!(component = "admin", reason = refusal.detail, "edits cannot be taken back");
                tokio::time::sleep(LOOK_INTERVAL * 10).await;
                continue;
            }
            for edit in ended {
                self.undo(&effective, &edit.what);
                tracing::info!(component = "admin", edit = edit.id, what = %edit.what, "edit ended: its time is over");
            }
        }
    }

    /// Sets on backends what was kept of an earlier process, and shows what is in force.
    pub(crate) async fn resume_edits(&self) {
        let effective = self.effective.lock().await;
        self.tell_backends(&effective);
        for edit in effective.edits().list() {
            tracing::info!(component = "admin", edit = edit.id, what = %edit.what, "edit of an earlier run is in force");
        }
        self.show_edits(&effective);
    }

    /// Sets on backends what edits say of them: one that has come back, or is new in another upstream, does not know.
    pub(super) fn tell_backends(&self, effective: &Effective) {
        for edit in effective.edits().list() {
            match &edit.what {
                What::Weight { upstream, backend, weight } => {
                    if let Ok(weight) = Weight::try_from(*weight) {
                        self.tell(upstream.as_deref(), backend, BackendChange::Weight(weight));
                    }
                }
                What::Drain { upstream, backend } => {
                    self.tell(upstream.as_deref(), backend, BackendChange::Drain);
                }
                _ => {}
            }
        }
    }

    /// What an edit changes, as it stands, in words.
    fn stands(&self, effective: &Effective, what: &What) -> String {
        match what {
            What::Weight { upstream, backend, .. } | What::Drain { upstream, backend } => {
                self.live.offered(upstream.as_deref(), backend)
            }
            _ => what.state(&effective.compose().config),
        }
    }

    /// Shows what is in force.
    pub(super) fn show_edits(&self, effective: &Effective) {
        let edits = effective.edits();
        let time = |ms: u64| UNIX_EPOCH + Duration::from_millis(ms);
        let view = |edit: &Edit| EditView {
            id: edit.id,
            what: edit.what.to_string(),
            by: edit.by.clone(),
            made_at: time(edit.made_at_ms),
            expires_at: edit.expires_at_ms.map(time),
            persists: edit.persist,
        };
        self.live.edited(edits.version(), edits.list().iter().map(view).collect());
    }

    /// Keeps what is to be kept, where that is another set than before; why it could not be.
    pub(super) async fn save_edits(&self, before: &Effective, effective: &Effective) -> Option<String> {
        let kept = |it: &Effective| -> Vec<Edit> {
            it.edits().list().iter().filter(|edit| edit.persist).cloned().collect()
        };
        let (now, file) = (kept(effective), self.edits_file(effective)?);
        if now == kept(before) {
            return None;
        }
        let shown = file.display().to_string();
        let written = tokio::task::spawn_blocking(move || edits::write(&file, &now)).await;
        let error = written.unwrap_or_else(|error| Err(std::io::Error::other(error))).err()?;
        tracing::error!(component = "admin", file = shown, %error, "edits cannot be kept for the next start");
        Some(format!("{shown} cannot be written: {error}"))
    }

    /// Where edits are kept. The file's own `state_file` is that of the start, which is what it needs a restart to change.
    fn edits_file(&self, effective: &Effective) -> Option<PathBuf> {
        effective.base().config.state_file.as_deref().map(edits::file_of)
    }

    fn may(&self, effective: &Effective, terms: &Terms) -> Result<(), Refusal> {
        if self.is_succeeded() {
            return Err(Refusal::new(StatusCode::CONFLICT, "succeeded", SUCCEEDED));
        }
        effective.edits().check(terms.version)?;
        if terms.persist && self.edits_file(effective).is_none() {
            let detail = "`persist` needs a place: write `state_file = \"gatewayd.state\"` under [server]";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "no_state_file", detail));
        }
        Ok(())
    }

    /// Puts them in force, and keeps those that are to be kept; why that could not be.
    async fn put_edits_in_force(
        &self,
        effective: &mut Effective,
        next: Effective,
    ) -> Result<Option<String>, Refusal> {
        let before = effective.clone();
        let plan = self.put_layer_in_force(effective, next).await.map_err(|failure| {
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "rejected", failure.first_line())
        })?;
        if let Some(plan) = plan {
            tracing::info!(component = "reload", cause = %Cause::Command, %plan, "configuration edited");
        }
        let not_kept = self.save_edits(&before, effective).await;
        self.show_edits(effective);
        Ok(not_kept)
    }

    /// Sets on backends what they are configured with, where an edit that is over had set something else; and what other edits say of
    /// them.
    fn undo(&self, effective: &Effective, what: &What) {
        let (What::Drain { upstream, backend } | What::Weight { upstream, backend, .. }) = what else {
            return;
        };
        let edits = effective.edits();
        for it in &effective.compose().config.upstreams {
            let Some(found) = it.backends.iter().find(|it| it.url == *backend) else { continue };
            if !edits::is_meant(upstream.as_deref(), &it.name) {
                continue;
            }
            let change = match what {
                What::Drain { .. } if edits.drains(&it.name, backend) => continue,
                What::Drain { .. } => BackendChange::Undrain,
                _ => {
                    let weight = edits.weight(&it.name, backend).unwrap_or(found.weight);
                    let Ok(weight) = Weight::try_from(weight) else { continue };
                    BackendChange::Weight(weight)
                }
            };
            self.tell(Some(&it.name), backend, change);
        }
    }

    fn tell(&self, upstream: Option<&str>, backend: &str, change: BackendChange) -> usize {
        self.live.gateway().map_or(0, |gateway| gateway.change_backend(upstream, backend, change))
    }

    /// Runs a change to its end whether or not somebody waits for it.
    async fn by_itself<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        tokio::spawn(change).await.unwrap_or_else(|error| {
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string()))
        })
    }
}

/// The upstreams that have a backend at this URL.
fn upstreams_of(config: &GatewayConfig, backend: &str) -> Vec<String> {
    let have = config.upstreams.iter().filter(|it| it.backends.iter().any(|it| it.url == backend));
    have.map(|it| it.name.clone()).collect()
}
