//! Which upstream of several a request of one rule goes to: canaries, and changes of versions.
//!
//! A split is a balancer whose members are upstreams: without a key they take turns, so that of every so many requests each gets
//! exactly its share over the whole process; with one, a request's upstream follows from its key (rendezvous hashing), and as shares
//! change no more keys move than have to. Cost: one pick more a request, none to rules without a split.

use std::any::Any;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderName;
use lb_core::{Backend, BackendOptions, Balancer, KeySource, PickContext, StrategyConfig, Weight, key};
use lb_h1::Fields;
use lb_observe::SplitStats;
use serde::{Deserialize, Serialize};

use crate::attempt::Outgoing;
use crate::choice;
use crate::config::{ArmConfig, RollbackConfig, SplitConfig};
use crate::rollback::Rollback;
use crate::snapshot::{BuildError, Builder};
use crate::target::Asked;
use crate::ticket::Ticket;

/// A split in force.
pub(crate) struct Split {
    arms: Vec<Arm>,
    shares: Arc<Shares>,
    rollback: Option<RollbackConfig>,
    key: Option<KeySource>,
    header: Option<HeaderName>,
}

/// Who gets how many; goes on for as long as the shares are configured the same.
struct Shares {
    balancer: Balancer,
    taken_back: Mutex<Vec<Rollback>>,
}

struct Arm {
    name: String,
    upstream: usize,
    stats: Arc<SplitStats>,
}

/// What makes a split the same as another: where it is, whoever was taken back stays so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    parts: Vec<(String, f64)>,
    is_keyed: bool,
    turn: u64,
}

impl Setting {
    pub(crate) fn of(split: &SplitConfig) -> Self {
        let parts = split.arms.iter().map(|arm| (arm.name.clone(), arm.weight)).collect();
        Self { parts, is_keyed: split.key.is_some(), turn: split.turn }
    }
}

/// How a rule's requests are shared out.
#[derive(Debug, Clone, Serialize)]
pub struct SplitAnswer {
    /// How a request's upstream is found, in words.
    pub by: String,
    /// The upstream that it goes to; none where that depends on who comes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// Every upstream.
    pub arms: Vec<ArmAnswer>,
}

/// One upstream of a split.
#[derive(Debug, Clone, Serialize)]
pub struct ArmAnswer {
    /// Its name.
    pub upstream: String,
    /// Its weight.
    pub weight: f64,
    /// Its share of requests, from 0 to 1.
    pub share: f64,
}

impl Split {
    /// For the rule of this name at this place.
    pub(crate) fn build(
        (rule, place): (&str, usize),
        config: &SplitConfig,
        builder: Builder<'_>,
    ) -> Result<Self, BuildError> {
        let failed = |reason: String| BuildError::Split { rule: rule.to_owned(), reason };
        // Where shares are as they were, turns go on.
        let kept = builder.earlier.rule(rule, place).and_then(|(earlier, rule)| {
            let (earlier, split) = (earlier.split.as_ref()?, rule.split.as_ref()?);
            (Setting::of(earlier) == Setting::of(config)).then(|| Arc::clone(&split.shares))
        });
        let shares = match kept {
            Some(kept) => kept,
            None => {
                let arm = |arm: &ArmConfig| -> Result<_, BuildError> {
                    let weight = Weight::try_from(arm.weight).map_err(|error| failed(error.to_string()))?;
                    let options = BackendOptions { weight, ..BackendOptions::named(arm.name.as_str()) };
                    Ok(Arc::new(Backend::new(options)))
                };
                let arms = config.arms.iter().map(arm).collect::<Result<Vec<_>, _>>()?;
                let strategy = if config.key.is_some() { "rendezvous" } else { "weighted_round_robin" };
                let balancer = Balancer::new(StrategyConfig::named(strategy), arms);
                let balancer = balancer.map_err(|error| failed(error.to_string()))?;
                Arc::new(Shares { balancer, taken_back: Mutex::default() })
            }
        };
        let arm = |arm: &ArmConfig| Arm {
            name: arm.name.clone(),
            upstream: arm.upstream,
            stats: builder.registry.split(rule, &arm.name, builder.workers),
        };
        Ok(Self {
            arms: config.arms.iter().map(arm).collect(),
            shares,
            rollback: config.rollback.clone(),
            key: config.key.clone(),
            header: config.header.clone(),
        })
    }

    /// When one of the parts is taken back by itself.
    pub(crate) fn rollback(&self) -> Option<&RollbackConfig> {
        self.rollback.as_ref()
    }

    /// Whether this one shares out as that one goes on doing.
    pub(crate) fn is_same(&self, shares: &Arc<dyn Any + Send + Sync>) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.shares), Arc::as_ptr(shares))
    }

    /// What [`Self::is_same`] knows it by.
    pub(crate) fn identity(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::clone(&self.shares) as _
    }

    /// The parts' names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.arms.iter().map(|arm| &*arm.name)
    }

    /// The parts' figures.
    pub(crate) fn stats(&self) -> impl Iterator<Item = &SplitStats> {
        self.arms.iter().map(|arm| &*arm.stats)
    }

    /// The parts' weights as they are in force.
    pub(crate) fn weights(&self) -> impl Iterator<Item = f64> {
        self.shares.balancer.backends().iter().map(|backend| backend.weight().get())
    }

    /// From now on this part gets only who names it.
    pub(crate) fn take_back(&self, place: usize, rollback: Rollback) {
        let (Some(backend), Some(arm)) = (self.shares.balancer.backends().get(place), self.arms.get(place))
        else {
            return;
        };
        backend.set_weight(Weight::ZERO);
        self.shares.balancer.rebuild();
        arm.stats.taken_back();
        self.shares.taken_back.lock().unwrap_or_else(PoisonError::into_inner).push(rollback);
    }

    /// The parts that were taken back.
    pub(crate) fn taken_back(&self) -> Vec<Rollback> {
        self.shares.taken_back.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts how a request of a part has ended.
    pub(crate) fn ended(&self, place: usize, worker: usize, is_failed: bool, took: Duration) {
        if let Some(arm) = self.arms.get(place) {
            arm.stats.record(worker, is_failed, took);
        }
    }

    /// The upstreams' places.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = usize> {
        self.arms.iter().map(|arm| arm.upstream)
    }

    /// The part that a request goes to, counted; its upstream's place, and how it was found.
    pub(crate) fn take(
        &self,
        ticket: &Ticket,
        outgoing: &Outgoing<'_>,
    ) -> Option<(usize, usize, &'static str)> {
        let Outgoing { asked, headers, path, .. } = outgoing;
        let (place, how) = self.pick(asked, headers, path, ticket.address(), ticket.started())?;
        let arm = self.arms.get(place)?;
        arm.stats.taken(ticket.client().worker.index);
        Some((place, arm.upstream, how))
    }

    fn pick(
        &self,
        asked: &Asked,
        headers: &Fields,
        path: &str,
        address: IpAddr,
        now: Instant,
    ) -> Option<(usize, &'static str)> {
        if let Some(place) = self.named(headers) {
            return Some((place, "the request named it"));
        }
        let (key, how) = match &self.key {
            None => (0, "in turn, by weight"),
            Some(source) => {
                // Hashed again, so that a strategy by the same key still spreads an upstream's part of the keys.
                let key = choice::key(source, asked, headers, path, address);
                (key::of_bytes(&key.to_le_bytes()), "by its key")
            }
        };
        let lease = self.shares.balancer.acquire(&PickContext::keyed(key, now)).ok()?;
        Some((lease.position(), how))
    }

    /// The arm that a request names.
    fn named(&self, headers: &Fields) -> Option<usize> {
        let named = headers.get(self.header.as_ref()?)?;
        self.arms.iter().position(|arm| arm.name.as_bytes() == named)
    }

    /// What becomes of a request, and the place of the upstream that it goes to, or most do. Nobody's turn is used up.
    pub(crate) fn explain(
        &self,
        asked: &Asked,
        headers: &Fields,
        path: &str,
        address: IpAddr,
    ) -> (SplitAnswer, usize) {
        let weights: Vec<f64> =
            self.shares.balancer.backends().iter().map(|backend| backend.weight().get()).collect();
        let all: f64 = weights.iter().sum();
        let is_named = self.named(headers).is_some();
        let picked = match is_named || self.key.is_some() {
            true => self.pick(asked, headers, path, address, Instant::now()).map(|(place, _)| place),
            false => None,
        };
        let by = match (&self.header, &self.key) {
            (Some(header), _) if is_named => format!("the request names it in {header}"),
            (_, Some(key)) => format!("by {key}"),
            _ => "in turn, by weight".to_owned(),
        };
        let largest = (0..weights.len()).max_by(|one, other| {
            let weight = |place: &usize| weights.get(*place).copied().unwrap_or_default();
            weight(one).total_cmp(&weight(other)).then(other.cmp(one))
        });
        let place = picked.or(largest).unwrap_or(0);
        let arms = self.arms.iter().zip(&weights).map(|(arm, weight)| ArmAnswer {
            upstream: arm.name.clone(),
            weight: *weight,
            share: if all > 0.0 { weight / all } else { 0.0 },
        });
        let choice = picked.and_then(|place| self.arms.get(place)).map(|arm| arm.name.clone());
        let upstream = self.arms.get(place).map_or(0, |arm| arm.upstream);
        (SplitAnswer { by, choice, arms: arms.collect() }, upstream)
    }
}
