//! Which backends of an upstream could get a request, and why the others not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use lb_core::{Backend, BackendOptions, Balancer, KeySource, PickContext, strategy};
use lb_health::{Circuit, Clock, HealthState, HealthView};
use serde::Serialize;

use crate::snapshot::Upstream;

/// Who could get a request.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamAnswer {
    /// The upstream's name.
    pub name: String,
    /// Its strategy's name.
    pub strategy: &'static str,
    /// How the strategy chooses, in a sentence.
    pub summary: &'static str,
    /// What the strategy hashes, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The backend that the key leads to; with other strategies it depends on who comes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// Every backend in its order.
    pub candidates: Vec<Candidate>,
}

/// One backend.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its URL as configured.
    pub url: String,
    /// Whether it could get the request.
    pub eligible: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Its weight.
    pub weight: f64,
    /// Requests in flight.
    pub active: u32,
    /// How many may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// What latency the strategies that learn take it to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
}

/// Who could get a request of which the strategy hashes this; `source` says what that is.
pub(super) fn of(upstream: &Upstream, source: &KeySource, key: u64) -> UpstreamAnswer {
    let views = upstream.monitor.views(&Clock::read());
    let backends = || upstream.targets.iter().map(|target| &*target.backend);
    let is_up = |backend: &Backend| backend.is_eligible();
    let group = backends().filter(|backend| is_up(backend)).map(Backend::priority).min();
    let mut candidates: Vec<Candidate> =
        backends().zip(views).map(|(backend, health)| candidate(backend, &health, group)).collect();
    if upstream.balancer.options().subset.is_some() {
        for (position, candidate) in candidates.iter_mut().enumerate() {
            if candidate.eligible && !upstream.balancer.selects(position) {
                candidate.eligible = false;
                candidate.why = Some("it is not in the `subset` of this gateway".to_owned());
            }
        }
    }
    let info = upstream.balancer.strategy();
    UpstreamAnswer {
        name: upstream.name.clone(),
        strategy: info.name,
        summary: strategy::find(info.name).map_or("", |row| row.summary),
        key: info.keyed.then(|| source.to_string()),
        choice: if info.keyed { keyed_choice(upstream, &candidates, key) } else { None },
        candidates,
    }
}

fn candidate(backend: &Backend, health: &HealthView, group: Option<u8>) -> Candidate {
    let max_connections = backend.max_connections().map(NonZeroU32::get);
    let why = why_not(backend, health, group, max_connections);
    let latency = backend.latency(Instant::now());
    Candidate {
        url: backend.name().to_owned(),
        eligible: why.is_none(),
        why,
        weight: backend.weight().get(),
        active: backend.active(),
        max_connections,
        latency_ms: latency.map(|latency| (latency.as_secs_f64() * 1e6).round() / 1e3),
    }
}

fn why_not(
    backend: &Backend,
    health: &HealthView,
    group: Option<u8>,
    max_connections: Option<u32>,
) -> Option<String> {
    let because = |what: &str| match &health.error {
        Some(error) => format!("{what}: {error}"),
        None => what.to_owned(),
    };
    if backend.is_draining() {
        return Some("it is being drained".to_owned());
    }
    if backend.weight().is_zero() {
        return Some("its weight is 0".to_owned());
    }
    if !backend.is_healthy() {
        return Some(match (health.circuit, health.state) {
            (Circuit::Open, _) => because("its circuit is open"),
            (_, HealthState::Ejected) => because("it is ejected for a while"),
            _ => because("it is unhealthy"),
        });
    }
    if group.is_some_and(|group| backend.priority() > group) {
        return Some("it is a backup, and others can be used".to_owned());
    }
    if max_connections.is_some_and(|max| backend.active() >= max) {
        return Some(format!("it has {} requests in flight, its max_connections", backend.active()));
    }
    None
}

/// Where a key leads: asked of a balancer like the upstream's, so that no figure and no turn of the real one changes.
fn keyed_choice(upstream: &Upstream, candidates: &[Candidate], key: u64) -> Option<String> {
    let shadow = |(backend, candidate): (&Arc<Backend>, &Candidate)| {
        let shadow = Backend::new(BackendOptions {
            name: backend.name().to_owned(),
            weight: backend.weight(),
            max_connections: None,
            priority: backend.priority(),
        });
        shadow.set_healthy(candidate.eligible);
        Arc::new(shadow)
    };
    let shadows = upstream.balancer.backends().iter().zip(candidates).map(shadow).collect();
    let balancer = &upstream.balancer;
    let shadow = Balancer::with_options(balancer.config().clone(), shadows, balancer.options()).ok()?;
    let lease = shadow.acquire(&PickContext { key, ..PickContext::new(Instant::now()) }).ok()?;
    Some(lease.backend().name().to_owned())
}
