//! Ring hash: backends own arcs of a ring of hashes; a key belongs to the next point clockwise.
//!
//! Karger et al. 1997, the "ketama" of memcached, nginx, HAProxy and Envoy. Each backend has `points` points on the ring for
//! the mean weight, so shares differ from the weights by about 1 ÷ √points. When a backend goes, the keys of its arcs alone move.
//!
//! The ring is cut into slots owned by the first point at or after their start, so a pick is one load where others search: the
//! cuts move nobody, as losing a point changes only the slots it owned.
//!
//! Right where the same keys must go where another ring's would be expected to; else `rendezvous` has more even shares for less.

use crate::number::{GOLDEN, mix};
use crate::set::BackendSet;
use crate::strategy::options::{KEY, OptionInfo, OptionKind};
use crate::strategy::slots::{BOUND, Slots};
use crate::strategy::{Build, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "ring_hash",
    aliases: &["ring", "consistenthash", "ketama"],
    summary: "consistent hashing on a ring of points; only a lost backend's keys move",
    options: &[
        KEY,
        BOUND,
        OptionInfo {
            name: "points",
            summary: "points on the ring of a backend of mean weight: more even shares for a longer build",
            kind: OptionKind::Integer { min: 1, max: 100_000, default: 1024 },
        },
    ],
    weighted: true,
    keyed: true,
    build: |build| Box::new(Slots::new(owners(build), build)),
};

/// The most points on a ring, whatever is asked: they are sorted at every rebuild.
const MOST_POINTS: usize = 1 << 21;

const FEWEST_SLOTS: usize = 1 << 12;
const MOST_SLOTS: usize = 1 << 20;

fn owners(build: &Build<'_>) -> Box<[u32]> {
    let set = build.set;
    if set.is_empty() {
        return Box::default();
    }
    // By what is configured, not by what is eligible: neither points nor slots may change when another backend fails.
    let most = (MOST_POINTS / set.configured().max(1)).max(1);
    let each = usize::try_from(build.options.integer("points")).unwrap_or(1).min(most);
    let slots = (set.configured() * each * 4).clamp(FEWEST_SLOTS, MOST_SLOTS).next_power_of_two();
    let points = points(set, each);
    let shift = 64 - slots.trailing_zeros();
    let mut rest = points.iter().peekable();
    let first_from = |start: u64| {
        while rest.peek().is_some_and(|(place, ..)| *place < start) {
            rest.next();
        }
        // After the last point comes the first.
        rest.peek().copied().or(points.first()).map(|(.., owner)| *owner)
    };
    (0..slots as u64).map(|slot| slot << shift).filter_map(first_from).collect()
}

/// Place, identity and owner of each point, in order of place; of one place by identity, wherever a backend stands.
fn points(set: &BackendSet, each: usize) -> Vec<(u64, u64, u32)> {
    let mut points = Vec::new();
    for ((owner, identity), weight) in (0..).zip(set.identities()).zip(set.weights()) {
        let count = (weight.get() / set.unit_weight() * each as f64).round().clamp(1.0, MOST_POINTS as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped just above")]
        let count = count as u64;
        points.extend(
            (1..=count).map(|n| (mix(identity.wrapping_add(n.wrapping_mul(GOLDEN))), *identity, owner)),
        );
    }
    points.sort_unstable();
    points
}
