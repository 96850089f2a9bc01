//! Where figures live: one handle per identity, for as long as the process or anyone holds it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::{BackendStats, ListenerStats, MirrorStats, PolicyStats, RuleStats, SplitStats, UpstreamStats};

/// All figures of a process, by identity.
///
/// Used on the control side alone: a configuration takes its handles when it is built, and a configuration that
/// follows it takes the same ones, so figures survive reloads. Lists come sorted.
#[derive(Debug, Default)]
pub struct Registry {
    rules: Table<String, RuleStats>,
    upstreams: Table<String, UpstreamStats>,
    backends: Table<(String, String), BackendStats>,
    listeners: Table<String, ListenerStats>,
    policies: Table<(String, String), PolicyStats>,
    leaves_backends_out: bool,
    splits: Table<(String, String), SplitStats>,
    mirrors: Table<(String, String), MirrorStats>,
}

impl Registry {
    /// Without figures of single backends: theirs stay at nothing, and `/metrics` leaves them out.
    pub fn without_backends() -> Self {
        Self { leaves_backends_out: true, ..Self::default() }
    }

    /// Whether figures of single backends are kept.
    pub fn keeps_backends(&self) -> bool {
        !self.leaves_backends_out
    }

    /// The figures of a rule.
    pub fn rule(&self, name: &str, workers: usize) -> Arc<RuleStats> {
        self.rules.get_or_create(name.to_owned(), || RuleStats::new(name, workers))
    }

    /// The figures of an upstream.
    pub fn upstream(&self, name: &str, workers: usize) -> Arc<UpstreamStats> {
        self.upstreams.get_or_create(name.to_owned(), || UpstreamStats::new(name, workers))
    }

    /// The figures of a backend, which is its upstream's name and its URL as configured.
    pub fn backend(&self, upstream: &str, url: &str, workers: usize) -> Arc<BackendStats> {
        let create = || BackendStats::new(upstream, url, workers, self.keeps_backends());
        self.backends.get_or_create((upstream.to_owned(), url.to_owned()), create)
    }

    /// The figures of a listener.
    pub fn listener(&self, name: &str, workers: usize) -> Arc<ListenerStats> {
        self.listeners.get_or_create(name.to_owned(), || ListenerStats::new(name, workers))
    }

    /// The figures of a policy in a rule.
    pub fn policy(&self, rule: &str, policy: &str, workers: usize) -> Arc<PolicyStats> {
        let create = || PolicyStats::new(rule, policy, workers);
        self.policies.get_or_create((rule.to_owned(), policy.to_owned()), create)
    }

    /// The figures of an upstream among those between which a rule's requests are shared out.
    pub fn split(&self, rule: &str, upstream: &str, workers: usize) -> Arc<SplitStats> {
        let create = || SplitStats::new(rule, upstream, workers);
        self.splits.get_or_create((rule.to_owned(), upstream.to_owned()), create)
    }

    /// The figures of a rule's mirror.
    pub fn mirror(&self, rule: &str, upstream: &str, workers: usize) -> Arc<MirrorStats> {
        let create = || MirrorStats::new(rule, upstream, workers);
        self.mirrors.get_or_create((rule.to_owned(), upstream.to_owned()), create)
    }

    /// Every rule.
    pub fn rules(&self) -> Vec<Arc<RuleStats>> {
        self.rules.all()
    }

    /// Every upstream.
    pub fn upstreams(&self) -> Vec<Arc<UpstreamStats>> {
        self.upstreams.all()
    }

    /// Every backend, by upstream.
    pub fn backends(&self) -> Vec<Arc<BackendStats>> {
        self.backends.all()
    }

    /// Every listener.
    pub fn listeners(&self) -> Vec<Arc<ListenerStats>> {
        self.listeners.all()
    }

    /// Every policy that can turn requests away, by rule.
    pub fn policies(&self) -> Vec<Arc<PolicyStats>> {
        self.policies.all()
    }

    /// Every upstream of every split, by rule.
    pub fn splits(&self) -> Vec<Arc<SplitStats>> {
        self.splits.all()
    }

    /// Every mirror, by rule.
    pub fn mirrors(&self) -> Vec<Arc<MirrorStats>> {
        self.mirrors.all()
    }

    /// Lets every rate look at its counter. To be called about every five seconds: rates then cover the last
    /// minute; without, they cover the time since they were last asked for.
    pub fn tick(&self, now: Instant) {
        for rule in self.rules() {
            rule.requests_per_second(now);
        }
        for backend in self.backends() {
            backend.requests_per_second(now);
        }
    }

    /// Forgets identities whose handles no one else holds: those of rules and backends that are configured no
    /// more and have no exchange left. To be called some time after a reload, so that backends which come and
    /// go do not add up without bound.
    pub fn sweep(&self) {
        self.rules.sweep();
        self.upstreams.sweep();
        self.backends.sweep();
        self.listeners.sweep();
        self.policies.sweep();
        self.splits.sweep();
        self.mirrors.sweep();
    }
}

#[derive(Debug)]
struct Table<K, V>(Mutex<BTreeMap<K, Arc<V>>>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord, V> Table<K, V> {
    fn get_or_create(&self, key: K, create: impl FnOnce() -> V) -> Arc<V> {
        Arc::clone(self.lock().entry(key).or_insert_with(|| Arc::new(create())))
    }

    fn all(&self) -> Vec<Arc<V>> {
        self.lock().values().cloned().collect()
    }

    fn sweep(&self) {
        self.lock().retain(|_, value| Arc::strong_count(value) > 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<K, Arc<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_keeps_its_figures() {
        let registry = Registry::default();
        registry.upstream("app", 2).retried(1);
        assert_eq!(registry.upstream("app", 2).retries(), 1);
        assert!(Arc::ptr_eq(
            &registry.backend("app", "http://a", 1),
            &registry.backend("app", "http://a", 1)
        ));
        assert!(!Arc::ptr_eq(
            &registry.backend("app", "http://a", 1),
            &registry.backend("next", "http://a", 1)
        ));
    }

    #[test]
    fn sweeping_forgets_only_what_nobody_holds() {
        let registry = Registry::default();
        let kept = registry.rule("kept", 1);
        registry.rule("gone", 1);
        registry.sweep();
        let names: Vec<String> = registry.rules().iter().map(|rule| rule.name().to_owned()).collect();
        assert_eq!(names, [kept.name()]);
    }

    #[test]
    fn lists_are_sorted() {
        let registry = Registry::default();
        for url in ["http://c", "http://a", "http://b"] {
            registry.backend("app", url, 1);
        }
        let urls: Vec<String> = registry.backends().iter().map(|b| b.backend().to_owned()).collect();
        assert_eq!(urls, ["http://a", "http://b", "http://c"]);
    }
}
