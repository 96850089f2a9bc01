//! Connection identifiers: by what they bear, each packet finds the process that knows its connection.
//!
//! An identifier bears the generation of the process that gave it out. Those of a Retry bear none: who comes back with one is
//! nobody's yet, and belongs to whichever process reads the socket by then (RFC 9000 §8.1.2).

use std::cell::Cell;
use std::time::Duration;

use quinn::{ConnectionId, ConnectionIdGenerator};
use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes of an identifier: the generation, the same inverted, and what nobody can guess.
const ID: usize = 10;
/// Generations back that a packet may be of. Few processes drain at a time, and what a client chooses must hardly ever look alike.
const REACH: u8 = 8;

thread_local! {
    static NOBODYS: Cell<bool> = const { Cell::new(false) };
}

/// What is given out within this, on this thread, bears no generation.
pub(crate) fn nobodys<T>(within: impl FnOnce() -> T) -> T {
    NOBODYS.set(true);
    let result = within();
    NOBODYS.set(false);
    result
}

/// Gives out connection identifiers.
pub(super) struct Identifiers(pub(super) u8);

impl ConnectionIdGenerator for Identifiers {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID];
        let [generation, inverted, rest @ ..] = &mut id;
        let is_nobodys = NOBODYS.get();
        (*generation, *inverted) = (self.0, if is_nobodys { self.0 } else { !self.0 });
        if getrandom(&mut *rest, GetRandomFlags::empty()).is_err() {
            rest.fill_with(|| fastrand::u8(..));
        }
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Whether a packet belongs to a process before the one of this generation.
pub(super) fn is_earlier(packet: &[u8], generation: u8) -> bool {
    let id = match packet.first() {
        // A long head says in every version how long the identifier is (RFC 8999 §5.1).
        Some(first) if first & 0x80 != 0 => match packet.get(5) {
            Some(&length) if usize::from(length) == ID => packet.get(6..6 + ID),
            _ => None,
        },
        _ => packet.get(1..=ID),
    };
    let Some([of, inverted, ..]) = id else { return false };
    *of == !*inverted && (1..=REACH).contains(&generation.wrapping_sub(*of))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet with a short head, or a long one, to this identifier.
    fn packet(is_long: bool, id: &[u8]) -> Vec<u8> {
        let length = u8::try_from(id.len()).unwrap();
        let head: &[u8] = if is_long { &[0xc0, 0, 0, 0, 1, length] } else { &[0x40] };
        [head, id, &[7; 20]].concat()
    }

    #[test]
    fn a_packet_belongs_to_whoever_gave_its_identifier_out() {
        for generation in [0_u8, 1, 7, 250, 255] {
            let id = Identifiers(generation).generate_cid();
            assert_ne!(id, Identifiers(generation).generate_cid());
            for is_long in [false, true] {
                let packet = packet(is_long, &id);
                assert!(!is_earlier(&packet, generation), "its own");
                assert!(is_earlier(&packet, generation.wrapping_add(1)));
                assert!(is_earlier(&packet, generation.wrapping_add(2)));
                assert!(!is_earlier(&packet, generation.wrapping_sub(1)), "a later one's");
                assert!(!is_earlier(&packet, generation.wrapping_add(REACH + 1)));
            }
        }
        // What a client has chosen.
        for id in [&[1; 8][..], &[0; 10], &[9; 20], &[]] {
            assert!(!is_earlier(&packet(true, id), 1), "{id:?}");
        }
        for short in [&[][..], &[0x40], &[0xc0, 0, 0, 0, 1, 10, 0, 255], &[0x40, 0, 255]] {
            assert!(!is_earlier(short, 1), "{short:?}");
        }
    }

    #[test]
    fn who_comes_back_from_a_retry_is_nobodys() {
        let mut identifiers = Identifiers(3);
        let id = nobodys(|| identifiers.generate_cid());
        assert!((0..=255).all(|generation| !is_earlier(&packet(true, &id), generation)));
        let id = identifiers.generate_cid();
        assert!(is_earlier(&packet(true, &id), 4), "the next one is somebody's again");
    }
}
