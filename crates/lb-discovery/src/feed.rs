//! What a source tells, and what is kept of it: the last good set, and how the source does.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lb_observe::SourceState;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::config::SourceConfig;
use crate::member::Member;
use crate::source::SourceError;

/// Where a source tells of members.
pub struct Feed {
    upstream: String,
    kind: &'static str,
    place: String,
    max_members: NonZeroUsize,
    keep: Duration,
    told: Mutex<Told>,
    /// Set with the first answer, good or bad.
    answered: watch::Sender<bool>,
    /// Woken when members have changed.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Told {
    members: Arc<Vec<Member>>,
    updated: Option<SystemTime>,
    changed: Option<SystemTime>,
    error: Option<String>,
    notice: Option<String>,
    nobody_since: Option<Instant>,
    answers: u64,
    failures: u64,
}

impl Feed {
    pub(crate) fn new(upstream: &str, config: &SourceConfig, changed: Arc<Notify>) -> Self {
        Self {
            upstream: upstream.to_owned(),
            kind: config.place.kind(),
            place: config.place.to_string(),
            max_members: config.max_members,
            keep: config.keep,
            told: Mutex::default(),
            answered: watch::Sender::new(false),
            changed,
        }
    }

    /// These are all members there are, in any order; and what was left out of them, if anything.
    pub fn members(&self, members: Vec<Member>, notice: Option<String>) {
        let (members, beyond) = in_order(members, self.max_members.get());
        let beyond = (beyond > 0)
            .then(|| format!("{beyond} members beyond max_members = {} are left out", self.max_members));
        let notice = [beyond, notice].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
        let now = SystemTime::now();
        let mut told = self.told();
        let was_broken = told.error.take();
        let is_new = *told.members != members || told.updated.is_none();
        let notice_is_new = notice.is_some() && told.notice != notice;
        (told.updated, told.nobody_since, told.answers) = (Some(now), None, told.answers + 1);
        told.notice.clone_from(&notice);
        let count = members.len();
        let is_emptied = count == 0 && !told.members.is_empty();
        if is_new {
            (told.members, told.changed) = (Arc::new(members), Some(now));
        }
        drop(told);
        let Self { upstream, kind: source, place, .. } = self;
        if let Some(notice) = notice.filter(|_| notice_is_new) {
            tracing::warn!(component = "discovery", upstream, source, place, notice, "members left out");
        }
        if was_broken.is_some() {
            tracing::info!(
                component = "discovery",
                upstream,
                source,
                place,
                members = count,
                "answers again"
            );
        }
        if is_emptied {
            tracing::warn!(
                component = "discovery",
                upstream,
                source,
                place,
                "the answer is that nobody is left"
            );
        }
        if is_new {
            tracing::debug!(component = "discovery", upstream, source, place, members = count, "members");
            self.changed.notify_one();
        }
        self.answered.send_replace(true);
    }

    /// The same, told by whoever has just begun to answer. That there is nobody may then be all that it knows as yet, of a store whose
    /// data is lost or an engine that has just started: until it has told of somebody (`is_known`, kept by whoever asks it) the last
    /// good set stays for a time, as where the answer is an error.
    pub(crate) fn members_anew(
        &self,
        members: Vec<Member>,
        notice: Option<String>,
        is_known: &mut bool,
        nobody: impl FnOnce() -> String,
    ) {
        *is_known |= !members.is_empty();
        if *is_known || self.present().is_empty() {
            return self.members(members, notice);
        }
        let reason =
            [Some(nobody()), notice].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
        self.failed(&SourceError::Nobody(reason.unwrap_or_default()));
    }

    /// How long the last good members stay where the answer may be wrong.
    pub(crate) fn keep(&self) -> Duration {
        self.keep
    }

    /// When the last good set is given up, if that there is nobody is still the answer then.
    pub(crate) fn gives_up(&self) -> Option<Instant> {
        let told = self.told();
        told.nobody_since.filter(|_| !told.members.is_empty()).map(|since| since + self.keep)
    }

    /// There is nothing new to tell.
    pub fn failed(&self, error: &SourceError) {
        let mut told = self.told();
        told.failures += 1;
        let reason = error.to_string();
        let is_news = told.error.as_ref() != Some(&reason);
        told.error = Some(reason.clone());
        let mut is_given_up = false;
        if matches!(error, SourceError::Nobody(_)) {
            let since = *told.nobody_since.get_or_insert_with(Instant::now);
            is_given_up = since.elapsed() >= self.keep && !told.members.is_empty();
            if is_given_up {
                (told.members, told.changed) = (Arc::default(), Some(SystemTime::now()));
            }
        }
        let members = told.members.len();
        drop(told);
        let Self { upstream, kind: source, place, keep, .. } = self;
        if is_news {
            let said = match error {
                SourceError::Nobody(_) => "nobody, it says; the last good answer stays for `keep`",
                SourceError::Failed(_) => "no answer; the last good one stays",
            };
            tracing::warn!(
                component = "discovery",
                upstream,
                source,
                place,
                members,
                error = reason,
                "{said}"
            );
        }
        if is_given_up {
            tracing::warn!(
                component = "discovery",
                upstream,
                source,
                place,
                ?keep,
                "nobody for longer than `keep`"
            );
            self.changed.notify_one();
        }
        self.answered.send_replace(true);
    }

    /// These were the last good set before this feed was: they stay until there is an answer.
    pub(crate) fn begin_with(&self, members: Vec<Member>) {
        let (members, _) = in_order(members, self.max_members.get());
        self.told().members = Arc::new(members);
    }

    pub(crate) fn present(&self) -> Arc<Vec<Member>> {
        Arc::clone(&self.told().members)
    }

    pub(crate) fn answers(&self) -> u64 {
        self.told().answers
    }

    /// Returns once there was an answer, good or bad.
    pub(crate) async fn answered(&self) {
        // The sender is this feed's own.
        let _ = self.answered.subscribe().wait_for(|answered| *answered).await;
    }

    pub(crate) fn state(&self) -> SourceState {
        let told = self.told();
        SourceState {
            upstream: self.upstream.clone(),
            kind: self.kind,
            place: self.place.clone(),
            members: told.members.len(),
            updated: told.updated,
            changed: told.changed,
            error: told.error.clone(),
            notice: told.notice.clone(),
            answers: told.answers,
            failures: told.failures,
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // What is in it is of use whatever happened.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By URL, each once, and no more than `max`; how many are left out.
fn in_order(members: Vec<Member>, max: usize) -> (Vec<Member>, usize) {
    let mut by_url = BTreeMap::new();
    for member in members {
        by_url.entry(member.url.clone()).or_insert(member);
    }
    let beyond = by_url.len().saturating_sub(max);
    (by_url.into_values().take(max).collect(), beyond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Place, RegistrationConfig};

    fn feed(max_members: usize) -> Feed {
        let config = SourceConfig {
            place: Place::Registration(RegistrationConfig {}),
            max_members: NonZeroUsize::new(max_members).unwrap(),
            keep: Duration::from_secs(60),
        };
        Feed::new("app", &config, Arc::default())
    }

    fn urls(feed: &Feed) -> Vec<String> {
        feed.present().iter().map(|member| member.url.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_stays_while_there_is_none_and_for_a_time_while_there_is_nobody() {
        let feed = feed(10);
        feed.members(vec![Member::at("b:1"), Member::at("a:1"), Member::at("b:1")], None);
        assert_eq!(urls(&feed), ["a:1", "b:1"]);
        feed.failed(&SourceError::Failed("no way".to_owned()));
        tokio::time::advance(Duration::from_secs(1000)).await;
        feed.failed(&SourceError::Failed("no way".to_owned()));
        assert_eq!(urls(&feed).len(), 2);
        feed.failed(&SourceError::Nobody("none".to_owned()));
        tokio::time::advance(Duration::from_secs(59)).await;
        feed.failed(&SourceError::Nobody("none".to_owned()));
        assert_eq!(urls(&feed).len(), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        feed.failed(&SourceError::Nobody("none".to_owned()));
        assert_eq!(urls(&feed).len(), 0);
        let state = feed.state();
        assert_eq!((state.failures, state.error.as_deref()), (5, Some("none")));
        feed.members(vec![Member::at("a:1")], None);
        assert_eq!((feed.state().error, urls(&feed).len()), (None, 1));
    }

    #[test]
    fn a_set_has_a_bound_and_what_is_beyond_is_said() {
        let feed = feed(2);
        feed.members(["c:1", "a:1", "b:1"].map(Member::at).into(), Some("one is odd".to_owned()));
        assert_eq!(urls(&feed), ["a:1", "b:1"]);
        assert_eq!(
            feed.state().notice.as_deref(),
            Some("1 members beyond max_members = 2 are left out; one is odd")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_known_before_stays_as_long_as_any_good_set() {
        let feed = feed(2);
        feed.begin_with(["c:1", "a:1", "b:1"].map(Member::at).into());
        feed.failed(&SourceError::Failed("no way".to_owned()));
        assert_eq!(urls(&feed), ["a:1", "b:1"]);
        feed.failed(&SourceError::Nobody("none".to_owned()));
        tokio::time::advance(Duration::from_secs(60)).await;
        feed.failed(&SourceError::Nobody("none".to_owned()));
        assert_eq!(urls(&feed).len(), 0);
        feed.begin_with(vec![Member::at("a:1")]);
        feed.members(Vec::new(), None);
        assert_eq!(urls(&feed).len(), 0, "an answer is an answer");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_believed_of_whoever_has_told_of_somebody() {
        let feed = feed(2);
        let nobody = || "no key".to_owned();
        let mut is_known = false;
        feed.members_anew(Vec::new(), None, &mut is_known, nobody);
        assert_eq!((feed.state().error, feed.gives_up()), (None, None), "there was nobody to be kept");
        feed.members_anew(vec![Member::at("a:1")], None, &mut is_known, nobody);
        assert!(is_known);
        feed.members_anew(Vec::new(), None, &mut is_known, nobody);
        assert_eq!((urls(&feed).len(), feed.state().error), (0, None));
        feed.members(vec![Member::at("a:1")], None);
        let mut is_known = false;
        feed.members_anew(Vec::new(), Some("odd".to_owned()), &mut is_known, nobody);
        assert_eq!((urls(&feed).len(), feed.state().error.as_deref()), (1, Some("no key; odd")));
        assert_eq!(feed.gives_up(), Some(Instant::now() + Duration::from_secs(60)));
        tokio::time::advance(Duration::from_secs(60)).await;
        feed.members_anew(Vec::new(), None, &mut is_known, nobody);
        assert_eq!((urls(&feed).len(), feed.gives_up()), (0, None));
    }

    #[tokio::test]
    async fn only_another_set_wakes_anyone() {
        let feed = feed(2);
        feed.members(vec![Member::at("a:1")], None);
        feed.changed.notified().await;
        feed.members(vec![Member::at("a:1")], None);
        feed.failed(&SourceError::Failed("no way".to_owned()));
        assert!(tokio::time::timeout(Duration::from_millis(1), feed.changed.notified()).await.is_err());
        feed.answered().await;
    }
}
