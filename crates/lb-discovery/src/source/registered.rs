//! Members that come and tell: each registers under an id for a time, and again before that is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::feed::Feed;
use crate::member::Member;
use crate::source::{Source, SourceError};

/// The registrations of one upstream.
#[derive(Debug)]
pub struct Registrations {
    max: usize,
    entries: Mutex<BTreeMap<String, Entry>>,
    changed: Notify,
    changes: AtomicU64,
    renewals: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    member: Member,
    until: Instant,
}

/// One registration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Who it is for.
    pub member: Member,
    /// How long it holds if nothing is heard of it.
    pub remaining: Duration,
}

/// Counts what becomes of registrations: whoever keeps them looks when these are others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistrationCounts {
    /// Members that came, went by themselves, or became others.
    pub changes: u64,
    /// Those that were only heard of again.
    pub renewals: u64,
}

/// What a registration came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeardOf {
    /// It was not there.
    New,
    /// It stays as it was, for longer.
    Again,
    /// It was another member that was there under this id.
    Another,
}

/// There are as many registrations as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {0} registrations already, and `max_members` allows no more")]
pub struct RegistrationsFull(pub usize);

impl Registrations {
    /// With those that the process before had; more than there may be are let go.
    pub(crate) fn new(max: usize, known: Vec<Registered>) -> Self {
        let now = Instant::now();
        let entries = known
            .into_iter()
            .take(max)
            .map(|Registered { id, member, remaining }| (id, Entry { member, until: now + remaining }));
        Self {
            max,
            entries: Mutex::new(entries.collect()),
            changed: Notify::new(),
            changes: AtomicU64::new(0),
            renewals: AtomicU64::new(0),
        }
    }

    /// Takes a member up, or hears from it again.
    ///
    /// # Errors
    /// [`RegistrationsFull`], for new ones.
    pub fn register(&self, id: &str, member: Member, ttl: Duration) -> Result<HeardOf, RegistrationsFull> {
        let now = Instant::now();
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.until > now);
        if entries.len() >= self.max && !entries.contains_key(id) {
            return Err(RegistrationsFull(self.max));
        }
        let is_the_same = entries.get(id).is_some_and(|before| before.member == member);
        let before = entries.insert(id.to_owned(), Entry { member, until: now + ttl });
        drop(entries);
        let mark = if is_the_same { &self.renewals } else { &self.changes };
        mark.fetch_add(1, Relaxed);
        self.changed.notify_one();
        Ok(match (before, is_the_same) {
            (None, _) => HeardOf::New,
            (Some(_), true) => HeardOf::Again,
            (Some(_), false) => HeardOf::Another,
        })
    }

    /// Lets a member go; whether it was there.
    pub fn remove(&self, id: &str) -> bool {
        let removed = self.entries().remove(id);
        self.changes.fetch_add(1, Relaxed);
        self.changed.notify_one();
        removed.is_some_and(|entry| entry.until > Instant::now())
    }

    /// Everyone, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Registered> {
        let now = Instant::now();
        let entries = self.entries();
        let live = entries.iter().filter(|(_, entry)| entry.until > now);
        live.map(|(id, entry)| Registered {
            id: id.clone(),
            member: entry.member.clone(),
            remaining: entry.until - now,
        })
        .collect()
    }

    /// See [`RegistrationCounts`].
    pub(crate) fn counts(&self) -> RegistrationCounts {
        RegistrationCounts { changes: self.changes.load(Relaxed), renewals: self.renewals.load(Relaxed) }
    }

    /// Who is there, and when the first of them will not be if nothing is heard of it.
    fn present(&self) -> (Vec<Member>, Option<Instant>) {
        let now = Instant::now();
        let mut entries = self.entries();
        entries.retain(|_, entry| entry.until > now);
        let first = entries.values().map(|entry| entry.until).min();
        (entries.values().map(|entry| entry.member.clone()).collect(), first)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // An entry is put in or taken out whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source that is fed by registrations.
pub(crate) struct Registering(pub(crate) Arc<Registrations>);

#[async_trait]
impl Source for Registering {
    async fn follow(&self, feed: &Feed) -> SourceError {
        loop {
            let (members, first) = self.0.present();
            feed.members(members, None);
            match first {
                None => self.0.changed.notified().await,
                Some(first) => {
                    tokio::select! {
                        () = self.0.changed.notified() => {}
                        () = tokio::time::sleep_until(first) => {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_registration_holds_for_its_time_and_is_renewed_by_a_heartbeat() {
        let registrations = Registrations::new(2, Vec::new());
        assert_eq!(registrations.register("a", Member::at("a:1"), TTL), Ok(HeardOf::New));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(registrations.register("a", Member::at("a:1"), TTL), Ok(HeardOf::Again));
        assert_eq!(registrations.register("b", Member::at("b:2"), TTL), Ok(HeardOf::New));
        assert_eq!(registrations.register("b", Member::at("b:1"), TTL), Ok(HeardOf::Another));
        assert_eq!(registrations.register("c", Member::at("c:1"), TTL), Err(RegistrationsFull(2)));
        assert!(registrations.remove("b") && !registrations.remove("b"));
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(registrations.list().len(), 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(registrations.list(), []);
        assert_eq!(registrations.register("c", Member::at("c:1"), TTL), Ok(HeardOf::New));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_process_before_knew_holds_for_the_rest_of_its_time() {
        let before = Registrations::new(2, Vec::new());
        before.register("a", Member::at("a:1"), TTL).unwrap();
        before.register("b", Member::at("b:1"), 2 * TTL).unwrap();
        tokio::time::advance(Duration::from_secs(4)).await;
        let after = Registrations::new(2, before.list());
        assert_eq!(after.list(), before.list());
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(after.list().iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(Registrations::new(0, before.list()).list(), [], "there is a bound");
    }
}
