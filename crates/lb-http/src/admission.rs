//! How many client connections there may be, in all and from one address, so that nobody can take every descriptor.
//!
//! Asked once a connection, never for a request. In all: nobody is turned away, accepting rests until one leaves, and the
//! kernel keeps who waits. From one address: whoever is above the bound is closed at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::AddressLimit;

/// Locks, so that workers seldom meet at one.
const SHARDS: usize = 16;

/// What has been admitted, shared by all workers.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Client connections in all.
    max: AtomicUsize,
    /// Connections of each address that is counted; an address without one has no entry.
    addresses: [Mutex<HashMap<IpAddr, u32>>; SHARDS],
}

/// One of an address's connections; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct Seat {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max: AtomicUsize::new(max), addresses: Default::default() })
    }

    /// Client connections in all at most.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Relaxed)
    }

    /// Changes that. Who is above it stays.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// A seat for an address that is to be counted, unless it has as many as it may.
    pub(crate) fn seat(self: &Arc<Self>, address: IpAddr, limit: AddressLimit) -> Option<Seat> {
        let address = place(address);
        let mut shard = self.shard(address);
        let count = shard.entry(address).or_insert(0);
        if *count >= limit.connections.get() {
            return None;
        }
        *count += 1;
        Some(Seat { admission: Arc::clone(self), address })
    }

    fn shard(&self, address: IpAddr) -> std::sync::MutexGuard<'_, HashMap<IpAddr, u32>> {
        let last = match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[7],
        };
        let [first, ..] = &self.addresses;
        let shard = self.addresses.get(usize::from(last) % SHARDS).unwrap_or(first);
        // A count is right whatever became of the thread that held the lock.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.admission.shard(self.address).entry(self.address) {
            *entry.get_mut() = entry.get().saturating_sub(1);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What counts as one address: in IPv6 the network of 64 bits, since whoever has one address there has them all.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl AddressLimit {
    /// Whether connections from this address are counted at all. Our own proxies speak for many.
    pub(crate) fn counts(self, address: IpAddr, is_trusted: impl FnOnce() -> bool) -> bool {
        let is_spared = self.spares_this_machine && address.to_canonical().is_loopback();
        !is_spared && !is_trusted()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const TWO: AddressLimit =
        AddressLimit { connections: NonZeroU32::MIN.saturating_add(1), spares_this_machine: true };

    #[test]
    fn a_seat_that_is_given_up_can_be_taken_again_and_leaves_nothing_behind() {
        let admission = Admission::new(10);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let seats = [admission.seat(address, TWO), admission.seat(address, TWO)];
        assert!(seats.iter().all(Option::is_some));
        assert!(admission.seat(address, TWO).is_none());
        assert!(
            admission.seat("192.0.2.17".parse().unwrap(), TWO).is_some(),
            "another address of the same shard"
        );
        let [first, _second] = seats;
        drop(first);
        assert!(admission.seat(address, TWO).is_some());
        drop(_second);
        assert!(admission.addresses.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_ipv4_in_ipv6_is_ipv4() {
        let of = |text: &str| place(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn trusted_proxies_and_by_default_this_machine_are_not_counted() {
        let [near, far]: [IpAddr; 2] = ["127.0.0.1", "192.0.2.1"].map(|text| text.parse().unwrap());
        assert!(!TWO.counts(near, || false));
        assert!(TWO.counts(far, || false));
        assert!(!TWO.counts(far, || true));
        assert!(AddressLimit { spares_this_machine: false, ..TWO }.counts(near, || false));
    }
}
