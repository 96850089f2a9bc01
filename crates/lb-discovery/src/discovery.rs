//! Every source that is configured, each followed by a task of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_observe::SourceState;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use crate::backoff::Backoff;
use crate::config::{Place, SourceConfig, UpstreamSources};
use crate::feed::Feed;
use crate::member::Member;
use crate::source::Source;
use crate::source::dns::Dns;
use crate::source::docker::Docker;
use crate::source::etcd::Etcd;
use crate::source::file::File;
use crate::source::registered::{Registered, Registering, RegistrationCounts, Registrations};

/// Reads a file's text, whose name tells its format, or says what is wrong with it.
pub type ReadDocument = fn(&Path, &str) -> Result<Value, String>;

/// The sources there are. Dropping it ends them.
pub struct Discovery {
    read: ReadDocument,
    followed: Mutex<Vec<Followed>>,
    /// What the process before knew, until it is asked for.
    handed: Mutex<BTreeMap<String, Vec<Registered>>>,
    /// The same of sources.
    known: Mutex<Vec<KnownMembers>>,
    changed: Arc<Notify>,
}

/// The last good set of a source, for another process that has the same source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownMembers {
    /// The upstream's name.
    pub upstream: String,
    /// Which of its sources.
    pub source: String,
    /// Who is there.
    pub members: Vec<Member>,
}

/// One source and who follows it.
struct Followed {
    upstream: String,
    config: SourceConfig,
    feed: Arc<Feed>,
    registrations: Option<Arc<Registrations>>,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Without a source. `read` reads files.
    #[must_use]
    pub fn new(read: ReadDocument) -> Self {
        let (followed, handed, known) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { read, followed, handed, known, changed: Arc::default() }
    }

    /// The same, with what sources had told the process before: it stays until they tell this one.
    #[must_use]
    pub fn with_known(mut self, known: Vec<KnownMembers>) -> Self {
        self.known = Mutex::new(known);
        self
    }

    /// The last good set of each source that has had any; registrations are told by [`registered`](Self::registered).
    #[must_use]
    pub fn known(&self) -> Vec<KnownMembers> {
        let followed = self.followed();
        let of = |it: &Followed| KnownMembers {
            upstream: it.upstream.clone(),
            source: it.config.place.identity(),
            members: it.feed.present().to_vec(),
        };
        let told = followed.iter().filter(|it| it.registrations.is_none()).map(of);
        told.filter(|it| !it.members.is_empty()).collect()
    }

    /// The same, with what was registered at the process before, by upstream. Upstreams where nobody may register let it go.
    #[must_use]
    pub fn with_registered(mut self, handed: BTreeMap<String, Vec<Registered>>) -> Self {
        self.handed = Mutex::new(handed);
        self
    }

    /// Everyone who is registered, by upstream.
    #[must_use]
    pub fn registered(&self) -> BTreeMap<String, Vec<Registered>> {
        let followed = self.followed();
        let registrations = followed.iter().filter_map(|it| Some((&it.upstream, it.registrations.as_ref()?)));
        registrations.map(|(upstream, it)| (upstream.clone(), it.list())).collect()
    }

    /// What has become of registrations so far, of all upstreams.
    #[must_use]
    pub fn counts(&self) -> RegistrationCounts {
        let followed = self.followed();
        let counts = followed.iter().filter_map(|it| it.registrations.as_ref()).map(|it| it.counts());
        counts.fold(RegistrationCounts::default(), |all, it| RegistrationCounts {
            changes: all.changes + it.changes,
            renewals: all.renewals + it.renewals,
        })
    }

    /// Follows what is wanted and not yet followed, and waits for the first answer of each, good or bad, but not longer than
    /// `patience`. What is not wanted any more goes on until [`settle`](Self::settle). Must be called within a runtime.
    pub async fn prepare(&self, wanted: &[UpstreamSources], patience: Duration) {
        let mut answers = JoinSet::new();
        for (upstream, source) in each(wanted) {
            let mut followed = self.followed();
            if followed.iter().any(|it| it.upstream == upstream && it.config == *source) {
                continue;
            }
            let new = self.follow(upstream, source, &followed);
            let feed = Arc::clone(&new.feed);
            answers.spawn(async move { feed.answered().await });
            followed.push(new);
        }
        let all = async { while answers.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(patience, all).await;
    }

    /// Follows nothing but what is wanted.
    pub fn settle(&self, wanted: &[UpstreamSources]) {
        self.followed().retain(|it| {
            each(wanted).any(|(upstream, source)| it.upstream == upstream && it.config == *source)
        });
    }

    /// The members of an upstream that these sources list, the first source that lists one first.
    #[must_use]
    pub fn members(&self, wanted: &UpstreamSources) -> Vec<Member> {
        let followed = self.followed();
        let mut members: Vec<Member> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for source in &wanted.sources {
            let it = followed.iter().find(|it| it.upstream == wanted.upstream && it.config == *source);
            let present = it.map(|it| it.feed.present()).unwrap_or_default();
            members.extend(present.iter().filter(|member| known.insert(member.url.clone())).cloned());
        }
        members
    }

    /// Returns when the members of some upstream have changed since it last did.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How every source does.
    #[must_use]
    pub fn states(&self) -> Vec<SourceState> {
        self.followed().iter().map(|it| it.feed.state()).collect()
    }

    /// Where members of this upstream register, if they may.
    #[must_use]
    pub fn registrations(&self, upstream: &str) -> Option<Arc<Registrations>> {
        let followed = self.followed();
        followed.iter().filter(|it| it.upstream == upstream).find_map(|it| it.registrations.clone())
    }

    /// What was known of the same place goes on, whether it was followed otherwise or by another process.
    fn follow(&self, upstream: &str, config: &SourceConfig, followed: &[Followed]) -> Followed {
        let before =
            followed.iter().rev().find(|it| it.upstream == upstream && it.config.place == config.place);
        let mut registrations = None;
        let max = config.max_members.get();
        let source: Box<dyn Source> = match &config.place {
            Place::File(file) => Box::new(File::new(file, self.read)),
            Place::Dns(dns) => Box::new(Dns::new(dns, max)),
            Place::Etcd(etcd) => Box::new(Etcd::new(etcd, max)),
            Place::Docker(docker) => Box::new(Docker::new(docker)),
            Place::Registration(_) => {
                let before = before.and_then(|it| it.registrations.as_ref()).map(|it| it.list());
                let known = before.or_else(|| lock(&self.handed).remove(upstream)).unwrap_or_default();
                let new = Arc::new(Registrations::new(max, known));
                registrations = Some(Arc::clone(&new));
                Box::new(Registering(new))
            }
        };
        let feed = Arc::new(Feed::new(upstream, config, Arc::clone(&self.changed)));
        if let Some(members) =
            before.map(|it| it.feed.present().to_vec()).or_else(|| self.take_known(upstream, config))
        {
            feed.begin_with(members);
        }
        let task = tokio::spawn(follow(source, Arc::clone(&feed)));
        Followed { upstream: upstream.to_owned(), config: config.clone(), feed, registrations, task }
    }

    fn take_known(&self, upstream: &str, config: &SourceConfig) -> Option<Vec<Member>> {
        let mut known = lock(&self.known);
        let source = config.place.identity();
        let place = known.iter().position(|it| it.upstream == upstream && it.source == source)?;
        Some(known.swap_remove(place).members)
    }

    fn followed(&self) -> MutexGuard<'_, Vec<Followed>> {
        lock(&self.followed)
    }
}

/// What it guards is put in or taken out whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn each(wanted: &[UpstreamSources]) -> impl Iterator<Item = (&str, &SourceConfig)> {
    wanted.iter().flat_map(|of| of.sources.iter().map(|source| (of.upstream.as_str(), source)))
}

/// Follows a source for as long as it is polled.
async fn follow(source: Box<dyn Source>, feed: Arc<Feed>) {
    let mut backoff = Backoff::new();
    loop {
        let before = feed.answers();
        let error = source.follow(&feed).await;
        feed.failed(&error);
        if feed.answers() != before {
            backoff.reset();
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FileConfig, RegistrationConfig};

    fn source(place: Place) -> SourceConfig {
        SourceConfig { place, max_members: SourceConfig::MAX_MEMBERS, keep: SourceConfig::KEEP }
    }

    fn read(_: &Path, text: &str) -> Result<Value, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_goes_on_being_wanted_goes_on_and_the_rest_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        std::fs::write(&path, r#"["a:1", "b:1"]"#).unwrap();
        let file = source(Place::File(FileConfig { path }));
        let api = source(Place::Registration(RegistrationConfig {}));
        let of = |sources: &[&SourceConfig]| UpstreamSources {
            upstream: "app".to_owned(),
            sources: sources.iter().map(|&source| source.clone()).collect(),
        };
        let discovery = Discovery::new(read);
        let both = of(&[&file, &api]);
        discovery.prepare(std::slice::from_ref(&both), Duration::from_secs(60)).await;
        let registrations = discovery.registrations("app").unwrap();
        registrations.register("1", Member::at("c:1"), Duration::from_secs(60)).unwrap();
        let urls = |of: &UpstreamSources| {
            let members = discovery.members(of);
            members.iter().map(|member| member.url.clone()).collect::<Vec<_>>()
        };
        while urls(&both).len() < 3 {
            discovery.changed().await;
        }
        assert_eq!(urls(&both), ["a:1", "b:1", "c:1"]);

        // The file is wanted no more; what was registered stays.
        let one = of(&[&api]);
        discovery.prepare(std::slice::from_ref(&one), Duration::ZERO).await;
        discovery.settle(std::slice::from_ref(&one));
        assert_eq!((urls(&one), discovery.states().len()), (vec!["c:1".to_owned()], 1));
        discovery.settle(&[]);
        assert!(discovery.registrations("app").is_none());
    }
}
