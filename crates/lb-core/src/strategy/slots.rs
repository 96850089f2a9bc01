//! What the hashing strategies share: a table of slots, each owned by a backend, and the bound on what one may hold. They differ
//! only in who gets which slot.

use crate::context::PickContext;
use crate::number::{below, modulo};
use crate::set::BackendSet;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::{Build, Needs, Strategy};

/// The option of all hashing strategies.
pub(super) const BOUND: OptionInfo = OptionInfo {
    name: "bound",
    summary: "the most a backend may hold in flight, as a multiple of its share of all; what is above goes elsewhere",
    kind: OptionKind::Float { min: 1.0, max: f64::INFINITY, default: f64::INFINITY },
};

/// Other slots of a key looked at before every backend is.
const OTHER_SLOTS: u32 = 8;

/// A hashing strategy: the key's slot says the backend.
#[derive(Debug)]
pub(super) struct Slots {
    owners: Box<[u32]>,
    bound: Option<Bound>,
}

/// Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): a backend at its bound passes keys on, here to
/// the owner of another slot of the key, always the same one (random jumps: Chen, Coleman, Shrivastava 2021). Costs a sum over
/// the counts in flight: O(n), a quarter of a nanosecond each. Requests that are picked for at the same instant do not see each
/// other, so a bound can be passed by as many as there are threads.
#[derive(Debug)]
struct Bound {
    /// Each backend's share of the weights, times the bound.
    shares: Box<[f64]>,
}

impl Slots {
    pub(super) fn new(owners: Box<[u32]>, build: &Build<'_>) -> Self {
        let factor = build.options.float(BOUND.name);
        let weights = build.set.weights();
        // By the greatest first: the sum of huge weights would be infinite.
        let greatest = weights.iter().max().map_or(1.0, |weight| weight.get());
        let sum: f64 = weights.iter().map(|weight| weight.get() / greatest).sum();
        let shares = weights.iter().map(|weight| weight.get() / greatest / sum * factor).collect();
        Self { owners, bound: factor.is_finite().then_some(Bound { shares }) }
    }

    fn owner(&self, request: &PickContext<'_>) -> Option<usize> {
        self.owners.get(below(request.hash(), self.owners.len())).map(|owner| *owner as usize)
    }

    #[cold]
    fn next_with_room(
        &self,
        backends: &BackendSet,
        request: &PickContext<'_>,
        first: usize,
        room: impl Fn(usize) -> bool,
    ) -> usize {
        let other = |more| {
            let attempt = request.attempt.wrapping_add(more);
            self.owner(&PickContext { attempt, ..*request }).filter(|owner| room(*owner))
        };
        let in_steps = |visit: u64| {
            let index =
                modulo((first as u64).wrapping_add(visit.wrapping_mul(backends.step())), backends.len());
            room(index).then_some(index)
        };
        // The bounds add up to more than what is in flight, so someone has room, but for what others took meanwhile.
        (1..=OTHER_SLOTS)
            .find_map(other)
            .or_else(|| (1..backends.len() as u64).find_map(in_steps))
            .unwrap_or(first)
    }
}

impl Strategy for Slots {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let first = self.owner(request)?;
        let Some(bound) = &self.bound else { return Some(first) };
        // This request included.
        let all = (backends.in_flight() + 1) as f64;
        let room = |index: usize| match (backends.get(index), bound.shares.get(index)) {
            (Some(backend), Some(share)) => f64::from(backend.mirrored()) < (all * share).ceil(),
            _ => false,
        };
        if room(first) {
            return Some(first);
        }
        Some(self.next_with_room(backends, request, first, room))
    }

    fn needs(&self) -> Needs {
        Needs { counts: self.bound.is_some(), outcomes: false }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use crate::strategy::{ALL, OptionKind};
    use crate::{Backend, BackendOptions, Balancer, Lease, PickContext, StrategyConfig, Weight, key};

    /// Requests of clients of whom a few send nearly everything.
    fn requests() -> impl Iterator<Item = PickContext<'static>> {
        (0..3_000_u64).map(|n| {
            let client = if n % 4 == 0 { n } else { n % 3 };
            PickContext::keyed(key::of_bytes(&client.to_le_bytes()), Instant::now())
        })
    }

    #[test]
    fn no_backend_holds_more_than_the_bound_on_its_share() {
        for info in ALL.iter().filter(|info| info.options.iter().any(|option| option.name == "bound")) {
            for bound in [1.0, 1.25, 2.0] {
                let weights = [1, 1, 2, 1, 3];
                let all: Vec<_> = weights
                    .iter()
                    .enumerate()
                    .map(|(n, weight)| {
                        let options = BackendOptions::named(format!("http://10.0.0.{n}"));
                        Arc::new(Backend::new(BackendOptions { weight: Weight::from(*weight), ..options }))
                    })
                    .collect();
                let balancer =
                    Balancer::new(StrategyConfig::named(info.name).with("bound", bound), all.clone())
                        .unwrap();
                let mut held: Vec<Lease> = Vec::new();
                for request in requests() {
                    held.push(balancer.acquire(&request).unwrap());
                    for (backend, weight) in all.iter().zip(weights) {
                        let most = (bound * held.len() as f64 * f64::from(weight) / 8.0).ceil();
                        assert!(
                            f64::from(backend.active()) <= most,
                            "{}: {} of {most}",
                            info.name,
                            backend.active()
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn without_a_bound_the_default_is_none() {
        assert_eq!(super::BOUND.kind.default_value(), f64::INFINITY.into());
        assert!(matches!(super::BOUND.kind, OptionKind::Float { min: 1.0, .. }));
    }
}
