//! Keys of session tickets (RFC 5077, RFC 8446 §4.6.1), which can go over to the process that takes this one's place.
//!
//! A key seals tickets for six hours and opens them for six more, then it is forgotten. Those of rustls do the same, but cannot be
//! had out of it. Cost: a ticket is sealed and opened by one pass of AES-256-GCM; nothing waits for a lock but whoever makes a key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::error::TlsError;

/// How long a key seals tickets. Nonces are random, which is good for 2³² tickets a key: 198 000 a second.
const SEALS: u64 = 6 * 3600;
/// How long it opens them.
const OPENS: u64 = 2 * SEALS;
/// The longest ticket that is looked at: one with a chain of client certificates in it is a few kilobytes.
const LONGEST: usize = 16 << 10;
/// Bytes of the name that a ticket bears of its key.
const NAME: usize = 16;

/// Ticket keys on their way to another process, with what they are for. Whoever has them can read what clients send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TicketKeys {
    trust: Trusted,
    keys: Vec<TicketKey>,
}

/// One key as it goes over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TicketKey {
    name: [u8; NAME],
    secret: [u8; 32],
    /// When it was made, in seconds since 1970.
    made: u64,
}

/// Whose certificates let clients in, as a digest. A ticket stands for what was seen then: it is of no use where that would not do now.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trusted([u8; 32]);

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKeys({})", self.keys.len())
    }
}

impl Drop for TicketKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Trusted {
    /// Nobody is asked for a certificate.
    pub(crate) fn nobody() -> Self {
        Self::of(&[], &[])
    }

    /// Those that these roots vouch for.
    pub(crate) fn by(roots: &[CertificateDer<'_>], is_required: bool) -> Self {
        Self::of(&[1, u8::from(is_required)], roots)
    }

    fn of(kind: &[u8], roots: &[CertificateDer<'_>]) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(kind);
        for root in roots {
            digest.update(&root.len().to_le_bytes());
            digest.update(root);
        }
        Self(digest.finish().as_ref().try_into().unwrap_or_default())
    }
}

/// Seals and opens tickets. See the module.
pub(crate) struct Ticketer {
    trust: Trusted,
    /// The newest first; never empty.
    keys: ArcSwap<Vec<Arc<Key>>>,
    making: Mutex<()>,
}

/// A key that is in use.
struct Key {
    cipher: RandomizedNonceKey,
    parts: TicketKey,
}

impl Key {
    fn new(now: u64) -> Result<Self, TlsError> {
        let mut parts = TicketKey { name: [0; NAME], secret: [0; 32], made: now };
        let filled =
            aws_lc_rs::rand::fill(&mut parts.name).and_then(|()| aws_lc_rs::rand::fill(&mut parts.secret));
        filled.map_err(|_| TlsError::Setup("there are no random numbers".to_owned()))?;
        Self::of(parts)
    }

    fn of(parts: TicketKey) -> Result<Self, TlsError> {
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, &parts.secret);
        let cipher = cipher.map_err(|_| TlsError::Setup("no cipher for session tickets".to_owned()))?;
        Ok(Self { cipher, parts })
    }

    fn opens(&self, now: u64) -> bool {
        now.saturating_sub(self.parts.made) < OPENS
    }
}

impl Ticketer {
    /// With the keys of the one before, as far as they are for the same clients and have not had their time.
    pub(crate) fn new(trust: Trusted, earlier: Option<&TicketKeys>) -> Result<Self, TlsError> {
        let now = seconds();
        let mut keys = Vec::new();
        for parts in earlier.filter(|earlier| earlier.trust == trust).iter().flat_map(|it| &it.keys).take(2) {
            // A clock that was ahead must not give a key more than its time.
            let key = Key::of(TicketKey { made: parts.made.min(now), ..parts.clone() })?;
            keys.extend(key.opens(now).then(|| Arc::new(key)));
        }
        if keys.is_empty() {
            keys.push(Arc::new(Key::new(now)?));
        }
        Ok(Self { trust, keys: ArcSwap::from_pointee(keys), making: Mutex::new(()) })
    }

    /// Its keys, for whoever takes its place.
    pub(crate) fn keys(&self) -> TicketKeys {
        let keys = self.keys.load().iter().map(|key| key.parts.clone()).collect();
        TicketKeys { trust: self.trust, keys }
    }

    pub(crate) fn trust(&self) -> Trusted {
        self.trust
    }

    /// Makes a new key and forgets old ones where it is time to. To be called every second or so, so that keys are forgotten in time
    /// where nobody comes.
    pub(crate) fn turn(&self) {
        self.turn_at(seconds());
    }

    fn turn_at(&self, now: u64) {
        let is_due = |keys: &[Arc<Key>]| {
            keys.first().is_none_or(|key| now.saturating_sub(key.parts.made) >= SEALS)
                || keys.iter().any(|key| !key.opens(now))
        };
        if !is_due(&self.keys.load()) {
            return;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.keys.load_full();
        if !is_due(&keys) {
            return;
        }
        // Without random numbers the present key goes on.
        let Ok(new) = Key::new(now) else { return };
        let still = keys.iter().filter(|key| key.opens(now)).take(1).cloned();
        self.keys.store(Arc::new(std::iter::once(Arc::new(new)).chain(still).collect()));
    }

    fn seal(&self, state: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.first()?;
        let mut sealed = state.to_vec();
        let nonce = key.cipher.seal_in_place_append_tag(Aad::from(key.parts.name), &mut sealed).ok()?;
        Some([&key.parts.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open_at(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.parts.name == *name && key.opens(now))?;
        let mut state = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.cipher.open_in_place(nonce, Aad::from(*name), &mut state).ok()?.len();
        state.truncate(length);
        Some(state)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(OPENS).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.turn();
        self.seal(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if cipher.len() > LONGEST {
            return None;
        }
        self.open_at(cipher, seconds())
    }
}

impl std::fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticketer").finish_non_exhaustive()
    }
}

/// The time, as another process reads it too.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticketer(earlier: Option<&TicketKeys>) -> Ticketer {
        Ticketer::new(Trusted::nobody(), earlier).unwrap()
    }

    #[test]
    fn a_ticket_opens_under_its_key_for_twelve_hours_and_is_sealed_anew_each_time() {
        let ticketer = ticketer(None);
        let now = seconds();
        let ticket = ticketer.seal(b"state").unwrap();
        assert_ne!(ticket, ticketer.seal(b"state").unwrap());
        ticketer.turn_at(now + SEALS - 2);
        assert_eq!(ticketer.keys().keys.len(), 1);
        ticketer.turn_at(now + SEALS + 1);
        let newer = ticketer.seal(b"newer").unwrap();
        assert_ne!(ticket[..NAME], newer[..NAME]);
        let open = |ticket, after| ticketer.open_at(ticket, now + after);
        assert_eq!(open(&ticket, SEALS + 1).as_deref(), Some(&b"state"[..]));
        assert_eq!(open(&newer, SEALS + 1).as_deref(), Some(&b"newer"[..]));
        assert_eq!(open(&ticket, OPENS + 1), None, "late");
        ticketer.turn_at(now + OPENS + 2);
        assert_eq!(open(&ticket, 0), None, "the key is forgotten");
        assert_eq!(ticketer.keys().keys.len(), 2);
        ticketer.turn_at(now + 10 * OPENS);
        assert_eq!(ticketer.keys().keys.len(), 1);
    }

    #[test]
    fn what_is_no_ticket_of_ours_opens_nothing() {
        let ticketer = ticketer(None);
        let ticket = ticketer.seal(b"state").unwrap();
        for at in 0..ticket.len() {
            let mut bad = ticket.clone();
            bad[at] ^= 1;
            assert_eq!(ticketer.decrypt(&bad), None, "{at}");
            assert_eq!(ticketer.decrypt(&ticket[..at]), None, "{at}");
        }
        assert_eq!(ticketer.decrypt(&vec![0; LONGEST + 1]), None);
        assert_eq!(ticketer.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
    }

    #[test]
    fn keys_go_over_where_the_same_clients_are_believed() {
        let before = ticketer(None);
        let ticket = before.seal(b"state").unwrap();
        let text = serde_json::to_string(&before.keys()).unwrap();
        let keys: TicketKeys = serde_json::from_str(&text).unwrap();
        assert_eq!(ticketer(Some(&keys)).decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(format!("{keys:?}"), "TicketKeys(1)");

        let roots = [CertificateDer::from(vec![1, 2, 3])];
        for trust in [Trusted::by(&roots, true), Trusted::by(&roots, false), Trusted::by(&[], true)] {
            let other = Ticketer::new(trust, Some(&keys)).unwrap();
            assert_eq!(other.decrypt(&ticket), None);
        }
    }

    #[test]
    fn keys_from_a_clock_that_is_ahead_or_of_long_ago_have_no_more_than_their_time() {
        let mut keys = ticketer(None).keys();
        keys.keys[0].made = u64::MAX;
        assert!(ticketer(Some(&keys)).keys().keys[0].made <= seconds());
        keys.keys[0].made = 0;
        assert_ne!(ticketer(Some(&keys)).keys().keys[0].name, keys.keys[0].name);
    }
}
