//! Where a backend's name leads at present. Looked up off the request path; a name without an answer keeps its
//! last good one and never holds up the start.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

/// How often names are looked up anew.
const REFRESH: Duration = Duration::from_secs(30);
/// The same, while some name has never had an answer.
const REFRESH_UNRESOLVED: Duration = Duration::from_secs(2);
/// The shortest time between two rounds.
const BREATH: Duration = Duration::from_millis(100);
/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Names that are looked up at once. Each takes a thread, of which the control side has others' work to do with, too.
const SIDE_BY_SIDE: usize = 256;
/// The most addresses that are kept of one name.
const MAX_ADDRESSES: usize = 32;

/// A host and port, and the addresses they stand for.
#[derive(Debug)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    is_name: bool,
    addresses: ArcSwap<Vec<SocketAddr>>,
    looked_up: Mutex<Option<Instant>>,
    /// Whether the system is being asked, however long ago somebody has ceased to wait for it.
    is_asked: AtomicBool,
}

impl Endpoint {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let addresses = literal.map(|address| SocketAddr::new(address, port)).into_iter().collect();
        Self {
            host: host.to_owned(),
            port,
            is_name: literal.is_none(),
            addresses: ArcSwap::from_pointee(addresses),
            looked_up: Mutex::new(None),
            is_asked: AtomicBool::new(false),
        }
    }

    /// The addresses to try, in order; empty while the name has none.
    pub(crate) fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    async fn resolve(self: &Arc<Self>) {
        let (host, port) = (self.host.clone(), self.port);
        let lookup = move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        self.ask(lookup, LOOKUP_TIMEOUT).await;
        *self.looked_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Looks it up on a thread, which cannot be called back: one that is late is not joined by others, and its answer still counts.
    async fn ask(
        self: &Arc<Self>,
        lookup: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
        patience: Duration,
    ) {
        let is_late = self.is_asked.swap(true, Ordering::AcqRel);
        let asked = Arc::clone(self);
        let asking = (!is_late).then(|| tokio::task::spawn_blocking(move || asked.found(lookup())));
        let is_done = match asking {
            Some(asking) => tokio::time::timeout(patience, asking).await.is_ok(),
            None => false,
        };
        if !is_done {
            tracing::warn!(host = %self.host, "name could not be resolved in time");
        }
    }

    /// Takes the system's answer up.
    fn found(&self, answer: io::Result<Vec<SocketAddr>>) {
        match answer {
            Ok(mut found) => {
                found.dedup();
                found.truncate(MAX_ADDRESSES);
                if !found.is_empty() && **self.addresses.load() != found {
                    tracing::debug!(host = %self.host, addresses = ?found, "name resolved");
                    self.addresses.store(Arc::new(found));
                }
            }
            Err(error) => tracing::warn!(host = %self.host, %error, "name cannot be resolved"),
        }
        self.is_asked.store(false, Ordering::Release);
    }

    /// When it is to be looked up next.
    fn due(&self, now: Instant) -> Instant {
        let pause = if self.is_unresolved() { REFRESH_UNRESOLVED } else { REFRESH };
        let last = *self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        last.map_or(now, |last| last + pause)
    }

    pub(crate) fn is_unresolved(&self) -> bool {
        self.addresses.load().is_empty()
    }
}

/// Looks every name up once, so many side by side.
pub(crate) async fn resolve_all(endpoints: &[Arc<Endpoint>]) {
    let mut lookups = tokio::task::JoinSet::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.is_name) {
        if lookups.len() >= SIDE_BY_SIDE {
            lookups.join_next().await;
        }
        let endpoint = Arc::clone(endpoint);
        lookups.spawn(async move { endpoint.resolve().await });
    }
    while lookups.join_next().await.is_some() {}
}

/// Keeps looking for as long as it is polled. Each name has its own time, so that who begins anew with each configuration does not
/// put it off.
pub(crate) async fn keep_resolving(endpoints: Vec<Arc<Endpoint>>) {
    let names: Vec<Arc<Endpoint>> = endpoints.into_iter().filter(|endpoint| endpoint.is_name).collect();
    if names.is_empty() {
        return;
    }
    loop {
        let now = Instant::now();
        let Some(first) = names.iter().map(|name| name.due(now)).min() else { return };
        tokio::time::sleep_until(first.max(now + BREATH).into()).await;
        let now = Instant::now();
        let due: Vec<_> = names.iter().filter(|name| name.due(now) <= now).cloned().collect();
        resolve_all(&due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_needs_no_look_up_and_a_bad_name_has_none() {
        let address = Endpoint::new("127.0.0.1", 81);
        assert_eq!(*address.addresses(), ["127.0.0.1:81".parse().unwrap()]);
        let name = Arc::new(Endpoint::new("no-such-name.invalid", 81));
        resolve_all(&[Arc::clone(&name)]).await;
        assert!(name.is_unresolved());
    }

    #[tokio::test]
    async fn a_name_that_is_still_being_asked_for_is_not_asked_for_again_and_its_answer_counts() {
        let name = Arc::new(Endpoint::new("a.invalid", 81));
        let [late, other]: [SocketAddr; 2] = ["127.0.0.1:81", "127.0.0.2:81"].map(|it| it.parse().unwrap());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let lookup = move || {
            assert!(held.recv().is_err());
            Ok(vec![late])
        };
        name.ask(lookup, Duration::from_millis(10)).await;
        for _ in 0..3 {
            name.ask(move || Ok(vec![other]), LOOKUP_TIMEOUT).await;
        }
        assert!(name.is_unresolved());
        drop(release);
        while name.is_asked.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(*name.addresses(), [late]);
        name.ask(move || Ok(vec![other]), LOOKUP_TIMEOUT).await;
        assert_eq!(*name.addresses(), [other]);
    }

    #[tokio::test]
    async fn localhost_resolves() {
        let name = Arc::new(Endpoint::new("localhost", 81));
        resolve_all(&[Arc::clone(&name)]).await;
        assert!(!name.is_unresolved());
    }
}
