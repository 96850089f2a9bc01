//! The backends a strategy chooses among: dense, immutable, swapped whole. Health, draining, weight 0 and priority were
//! applied before, so no strategy repeats them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::backend::Backend;
use crate::board::Run;
use crate::key;
use crate::number::{GOLDEN, mix, spread_step};
use crate::weight::Weight;

/// The eligible backends, with the weights they had when the set was made.
///
/// ```
/// use std::sync::Arc;
/// use lb_core::{Backend, BackendOptions, BackendSet};
/// let set = BackendSet::new(&[Arc::new(Backend::new(BackendOptions::named("a")))]);
/// assert_eq!(set.get(0).map(|backend| backend.name()), Some("a"));
/// ```
#[derive(Debug, Default)]
pub struct BackendSet {
    backends: Box<[Arc<Backend>]>,
    weights: Box<[Weight]>,
    positions: Box<[usize]>,
    identities: Box<[u64]>,
    runs: Box<[Run]>,
    configured: usize,
    unit_weight: f64,
    step: u64,
}

impl BackendSet {
    /// The backends of a weight above 0, whatever their health, draining and priority: for tests, benchmarks and callers that
    /// keep their own eligibility.
    pub fn new(configured: &[Arc<Backend>]) -> Self {
        let weights = configured.iter().map(|backend| backend.weight()).enumerate();
        Self::of(configured, &weights.filter(|(_, weight)| !weight.is_zero()).collect::<Vec<_>>())
    }

    /// Those of `configured` at these positions, with these weights, each above 0.
    pub(crate) fn of(configured: &[Arc<Backend>], members: &[(usize, Weight)]) -> Self {
        let identities = identities(configured);
        let member = |(position, _): &(usize, Weight)| configured.get(*position).map(Arc::clone);
        let backends: Box<[_]> = members.iter().filter_map(member).collect();
        Self {
            weights: members.iter().map(|(_, weight)| *weight).collect(),
            positions: members.iter().map(|(position, _)| *position).collect(),
            identities: members
                .iter()
                .filter_map(|(position, _)| identities.get(*position).copied())
                .collect(),
            runs: Run::of(backends.iter().map(|backend| backend.cell())),
            configured: configured.len(),
            unit_weight: unit_weight(configured),
            step: spread_step(backends.len() as u64),
            backends,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.backends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    /// One of them, by its index in this set.
    pub fn get(&self, index: usize) -> Option<&Arc<Backend>> {
        self.backends.get(index)
    }

    /// All of them, by index.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Backend>> {
        self.backends.iter()
    }

    /// Their weights when the set was made, each above 0.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Where the backend of this index stands in the configured order.
    pub fn position(&self, index: usize) -> Option<usize> {
        self.positions.get(index).copied()
    }

    /// A hash of each backend's name, the same in every process; of equal names each has its own. Keyed strategies hash by it,
    /// so that a choice depends on who is in the set and never on where it stands.
    pub fn identities(&self) -> &[u64] {
        &self.identities
    }

    /// How many backends are configured, eligible or not: what a table's size depends on, so that it stays when one fails.
    pub fn configured(&self) -> usize {
        self.configured
    }

    /// The power of two below the mean weight of all configured backends: what a strategy may count weights in without its counts
    /// changing when another backend fails.
    pub(crate) fn unit_weight(&self) -> f64 {
        self.unit_weight
    }

    /// All mirrored counts together.
    pub(crate) fn in_flight(&self) -> u64 {
        self.counts().fold(0, |sum, count| sum + u64::from(count))
    }

    /// The mirrored counts, by index.
    pub(crate) fn counts(&self) -> impl Iterator<Item = u32> {
        self.runs.iter().flat_map(Run::counts).map(|count| count.load(Relaxed))
    }

    /// The least load of all, and whose it is: `load` is told each backend's mirrored count and kept latency, and its entry in
    /// `own`. It must not be NaN.
    #[inline]
    pub(crate) fn least(&self, own: &[f64], load: impl Fn(u32, u64, f64) -> f64) -> (f64, usize) {
        let (mut least, mut whose, mut start, mut rest) = (f64::INFINITY, 0, 0, own);
        for run in &self.runs {
            let Some((these, others)) = rest.split_at_checked(run.len()) else { break };
            let (of_run, place) = run.least(these, &load);
            if of_run < least {
                (least, whose) = (of_run, start + place);
            }
            (start, rest) = (start + run.len(), others);
        }
        (least, whose)
    }

    /// A step through the set that visits every index once and neighbours far apart.
    pub(crate) fn step(&self) -> u64 {
        self.step
    }

    /// Whether the other holds the same backends with the same weights in the same order.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.weights == other.weights
            && self.positions == other.positions
            && self.configured == other.configured
            && self.backends.iter().zip(&other.backends).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }
}

impl<'a> IntoIterator for &'a BackendSet {
    type Item = &'a Arc<Backend>;
    type IntoIter = std::slice::Iter<'a, Arc<Backend>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn unit_weight(configured: &[Arc<Backend>]) -> f64 {
    let weights = || configured.iter().map(|backend| backend.weight().get());
    let greatest = weights().fold(f64::MIN_POSITIVE, f64::max);
    // By the greatest first: the sum of huge weights would be infinite.
    let mean = weights().map(|weight| weight / greatest).sum::<f64>() / configured.len().max(1) as f64;
    (mean.max(f64::MIN_POSITIVE).log2() + greatest.log2()).floor().clamp(-1022.0, 1023.0).exp2()
}

/// Names hashed; the second and later backend of a name is told apart by its number, or it would never be chosen.
fn identities(configured: &[Arc<Backend>]) -> Vec<u64> {
    let mut seen: HashMap<&str, u64> = HashMap::with_capacity(configured.len());
    configured
        .iter()
        .map(|backend| {
            let times = seen.entry(backend.name()).or_insert(0);
            let identity =
                mix(key::of_bytes(backend.name().as_bytes()).wrapping_add(times.wrapping_mul(GOLDEN)));
            *times += 1;
            identity
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendOptions;

    fn backends(names: &[&str]) -> Vec<Arc<Backend>> {
        names.iter().map(|name| Arc::new(Backend::new(BackendOptions::named(*name)))).collect()
    }

    #[test]
    fn positions_and_identities_are_those_of_the_configured_order() {
        let all = backends(&["a", "b", "c"]);
        let set = BackendSet::of(&all, &[(0, Weight::ONE), (2, Weight::ONE)]);
        assert_eq!((set.len(), set.configured()), (2, 3));
        assert_eq!((set.position(0), set.position(1), set.position(2)), (Some(0), Some(2), None));
        assert_eq!(set.identities()[1], BackendSet::new(&all).identities()[2]);
    }

    #[test]
    fn a_backend_added_twice_has_two_identities() {
        let set = BackendSet::new(&backends(&["a", "a"]));
        assert_ne!(set.identities()[0], set.identities()[1]);
    }
}
