//! What a pick may know of the request: five words, copied, borrowed, never allocated.

use crate::moment::Moment;
use crate::number::{GOLDEN, mix};

/// What a pick may know of the request. Time comes in with it, so the crate needs no clock and tests need no sleep.
///
/// ```
/// use std::time::Instant;
/// use lb_core::{PickContext, key};
/// let request = PickContext { key: key::of_bytes(b"alice"), ..PickContext::new(Instant::now()) };
/// assert_eq!(request.attempt, 0);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PickContext<'a> {
    /// Hash of the client's address or of whatever else the strategy is keyed by ([`key`](crate::key)).
    pub key: u64,
    /// When the pick is made.
    pub now: Moment,
    /// Positions, in the balancer's configured order, that this request has tried already; they are not offered again.
    pub tried: &'a [usize],
    /// How many choices came before this one: 0 at first. The balancer counts it up when a choice is full or tried, and keyed
    /// strategies answer each value with another choice, the same one each time.
    pub attempt: u32,
}

impl PickContext<'static> {
    /// A first attempt with key 0.
    pub fn new(now: impl Into<Moment>) -> Self {
        Self { key: 0, now: now.into(), tried: &[], attempt: 0 }
    }

    /// A first attempt with a key.
    pub fn keyed(key: u64, now: impl Into<Moment>) -> Self {
        Self { key, now: now.into(), tried: &[], attempt: 0 }
    }
}

impl PickContext<'_> {
    /// 64 well-mixed bits of the key and the attempt: what keyed strategies look up.
    pub const fn hash(&self) -> u64 {
        mix(self.key.wrapping_add(GOLDEN.wrapping_mul(1 + self.attempt as u64)))
    }
}
