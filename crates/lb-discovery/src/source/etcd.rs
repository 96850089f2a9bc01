//! Members under a prefix in etcd, by its JSON gateway: listed, then watched from that revision on.
//!
//! A watch that is cancelled, as when what it would begin with has been compacted, begins again with a list; so does one that is
//! a few minutes old, so that nothing that went unseen stays so. Where there is a user each list begins with a token of its own, so one
//! that has expired, or was taken back, is not asked with twice. A value that is no backend leaves the one before of its key.
//!
//! A list without a backend may be of an etcd that has lost its data: what there was stays for a time, and is asked for again at its end.
//! Where it has, which a revision tells that lies before one that was seen, those who come again first take nobody else's place: who is not
//! listed yet stays for the same time. What the watch tells after a list with a backend is believed at once, also that the last has gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{EtcdConfig, EtcdUser};
use crate::feed::Feed;
use crate::http::{Answer, Peer, ask};
use crate::member::Member;
use crate::source::{Source, SourceError};

/// How long a watch goes on before all is listed again.
const RESYNC: Duration = Duration::from_secs(5 * 60);
/// From one list to the next at least.
const BREATH: Duration = Duration::from_millis(250);
/// Events within this time are told of together.
const TOGETHER: Duration = Duration::from_millis(50);

pub(crate) struct Etcd {
    config: EtcdConfig,
    max_members: usize,
    /// Which of the peers is asked.
    turn: AtomicUsize,
    known: Mutex<Known>,
}

/// What is under the prefix.
#[derive(Default)]
struct Known {
    members: BTreeMap<String, Member>,
    /// Keys whose value is no backend, and why.
    odd: BTreeMap<String, String>,
    /// Members of data that was lost since, who have not come again, and until when they may.
    lost: BTreeMap<String, (Member, Instant)>,
    /// Of the last list.
    revision: i64,
}

/// What etcd knows a user by, for a time.
#[derive(Deserialize)]
struct Authenticated {
    token: String,
}

#[derive(Deserialize)]
struct Listed {
    header: Header,
    #[serde(default)]
    kvs: Vec<Pair>,
    #[serde(default)]
    count: Option<String>,
}

/// Numbers of 64 bits are strings.
#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Watched {
    result: Option<Events>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Events {
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    canceled: bool,
    /// Where what it would begin with is gone: the first that is there.
    compact_revision: Option<String>,
    #[serde(default)]
    cancel_reason: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "type")]
    kind: String,
    kv: Pair,
}

impl Etcd {
    pub(crate) fn new(config: &EtcdConfig, max_members: usize) -> Self {
        Self { config: config.clone(), max_members, turn: AtomicUsize::new(0), known: Mutex::default() }
    }

    /// One list and the watch after it; `Ok` where there is to be another.
    async fn round(&self, peer: &Peer, feed: &Feed) -> Result<(), String> {
        let token = self.authenticate(peer).await?;
        let mut is_known = false;
        let revision = self.list(peer, token.as_ref(), feed, &mut is_known).await?;
        let until = Instant::now() + RESYNC;
        let until = feed.gives_up().into_iter().chain(self.known().lost_until()).fold(until, Instant::min);
        let mut watch = self.watch(peer, token.as_ref(), revision + 1).await?;
        loop {
            let Ok(line) = tokio::time::timeout_at(until, watch.next_line()).await else { return Ok(()) };
            let line = line?.ok_or("the watch ended")?;
            let mut goes_on = self.take_up(&line)?;
            let together = Instant::now() + TOGETHER;
            while let Ok(line) = tokio::time::timeout_at(together, watch.next_line()).await
                && goes_on
            {
                goes_on = self.take_up(&line?.ok_or("the watch ended")?)?;
            }
            self.tell(feed, &mut is_known);
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// A token, where there is a user.
    async fn authenticate(&self, peer: &Peer) -> Result<Option<HeaderValue>, String> {
        let Some(EtcdUser { name, password }) = &self.config.user else { return Ok(None) };
        let body = json!({ "name": name, "password": password });
        let answer = ask(peer, post("/v3/auth/authenticate", &body, None)).await?.whole().await;
        let answer = answer.map_err(|error| format!("user {name:?} is not let in: {error}"))?;
        let Authenticated { token } =
            serde_json::from_slice(&answer).map_err(|error| format!("not an answer of etcd: {error}"))?;
        let mut token = HeaderValue::try_from(token).map_err(|_| "etcd's token is no text".to_owned())?;
        token.set_sensitive(true);
        Ok(Some(token))
    }

    async fn list(
        &self,
        peer: &Peer,
        token: Option<&HeaderValue>,
        feed: &Feed,
        is_known: &mut bool,
    ) -> Result<i64, String> {
        // One more than there may be shows that there are more.
        let asked = json!({ "limit": self.max_members.saturating_add(1) });
        let answer = ask(peer, self.request("/v3/kv/range", token, asked)).await?.whole().await?;
        let listed: Listed =
            serde_json::from_slice(&answer).map_err(|error| format!("not an answer of etcd: {error}"))?;
        let revision = listed.header.revision.parse().map_err(|_| "etcd names no revision".to_owned())?;
        {
            let mut known = self.known();
            let before = std::mem::take(&mut *known);
            known.revision = revision;
            let now = Instant::now();
            known.lost = before.lost;
            known.lost.retain(|_, (_, until)| *until > now);
            if revision < before.revision {
                let until = now + feed.keep();
                known.lost.extend(before.members.iter().map(|(key, it)| (key.clone(), (it.clone(), until))));
            }
            for pair in &listed.kvs {
                let Some(key) = text(&pair.key) else { continue };
                let last = before.members.get(&key).cloned();
                known.put(key, &pair.value, last);
            }
        }
        let _ = listed.count;
        self.tell(feed, is_known);
        Ok(revision)
    }

    async fn watch(&self, peer: &Peer, token: Option<&HeaderValue>, revision: i64) -> Result<Answer, String> {
        let request = self.request("/v3/watch", token, json!({ "start_revision": revision.to_string() }));
        let answer = ask(peer, request).await?;
        if !answer.status.is_success() {
            answer.whole().await?;
            return Err("etcd does not let us watch".to_owned());
        }
        Ok(answer)
    }

    /// A request about the prefix.
    fn request(&self, path: &str, token: Option<&HeaderValue>, mut asked: Value) -> Request<Full<Bytes>> {
        let prefix = self.config.prefix.as_bytes();
        if let Some(asked) = asked.as_object_mut() {
            asked.insert("key".to_owned(), BASE64.encode(prefix).into());
            asked.insert("range_end".to_owned(), BASE64.encode(after(prefix)).into());
        }
        let body = match path {
            "/v3/watch" => json!({ "create_request": asked }),
            _ => asked,
        };
        post(path, &body, token)
    }

    /// What a line of the watch says; whether the watch goes on.
    fn take_up(&self, line: &[u8]) -> Result<bool, String> {
        let watched: Watched =
            serde_json::from_slice(line).map_err(|error| format!("not an event of etcd: {error}"))?;
        if let Some(error) = watched.error {
            return Err(format!("etcd ended the watch: {error}"));
        }
        let Some(Events { events, canceled, compact_revision, cancel_reason }) = watched.result else {
            return Ok(true);
        };
        if canceled && compact_revision.is_none() && !cancel_reason.is_empty() {
            // Another list would change nothing.
            return Err(format!("etcd cancelled the watch: {cancel_reason}"));
        }
        let mut known = self.known();
        for Event { kind, kv } in events {
            let Some(key) = text(&kv.key) else { continue };
            if kind == "DELETE" {
                known.members.remove(&key);
                known.odd.remove(&key);
                known.lost.remove(&key);
            } else if known.members.len() + known.odd.len() <= self.max_members
                || known.members.contains_key(&key)
                || known.odd.contains_key(&key)
            {
                let last = known.members.get(&key).cloned();
                known.put(key, &kv.value, last);
            }
        }
        Ok(!canceled)
    }

    /// Tells who is there. `is_known` once this list, or the watch after it, has told of anybody.
    fn tell(&self, feed: &Feed, is_known: &mut bool) {
        let known = self.known();
        let notice = known
            .odd
            .iter()
            .next()
            .map(|(key, reason)| format!("{} keys hold no backend; `{key}`: {reason}", known.odd.len()));
        let mut members: Vec<Member> = known.members.values().cloned().collect();
        let now = Instant::now();
        let lost = known.lost.values().filter(|(_, until)| *until > now);
        let lost: Vec<Member> = lost.map(|(member, _)| member.clone()).collect();
        drop(known);
        let mut notice = notice;
        if !members.is_empty() && !lost.is_empty() {
            let said =
                format!("etcd has lost its data: {} who have not come again stay for `keep`", lost.len());
            notice = Some(notice.map_or_else(|| said.clone(), |notice| format!("{said}; {notice}")));
            members.extend(lost);
        }
        let nobody = || format!("no key below `{}` holds a backend", self.config.prefix);
        feed.members_anew(members, notice, is_known, nobody);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // It is of use whatever happened.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn post(path: &str, body: &Value, token: Option<&HeaderValue>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().unwrap_or_default();
    let fields = request.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        fields.insert(header::AUTHORIZATION, token.clone());
    }
    request
}

impl Known {
    /// When the first of those is given up who have not come again.
    fn lost_until(&self) -> Option<Instant> {
        self.lost.values().map(|(_, until)| *until).min()
    }

    fn put(&mut self, key: String, value: &str, last: Option<Member>) {
        self.odd.remove(&key);
        self.lost.remove(&key);
        match member(value) {
            Ok(member) => {
                self.members.insert(key, member);
            }
            Err(reason) => {
                if let Some(last) = last {
                    self.members.insert(key.clone(), last);
                }
                self.odd.insert(key, reason);
            }
        }
    }
}

#[async_trait]
impl Source for Etcd {
    async fn follow(&self, feed: &Feed) -> SourceError {
        let turn = self.turn.load(Relaxed);
        let peers = &self.config.peers;
        let Some(peer) = peers.get(turn % peers.len().max(1)) else {
            return SourceError::Failed("no peer".to_owned());
        };
        loop {
            if let Err(reason) = self.round(peer, feed).await {
                self.turn.store(turn.wrapping_add(1), Relaxed);
                return SourceError::Failed(format!("{peer}: {reason}"));
            }
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// The first key after all that begin so.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // To the end of all.
    vec![0]
}

fn text(base64: &str) -> Option<String> {
    BASE64.decode(base64).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// A URL, a table as files have it, or what etcd's own clients write (`{"Op": 0, "Addr": "10.0.0.1:8080"}`).
fn member(value: &str) -> Result<Member, String> {
    let value = text(value).ok_or("its value is no text")?;
    let value = value.trim();
    if !value.starts_with(['{', '"', '[']) {
        return Member::of_value(&Value::from(value)).map_err(|error| error.to_string());
    }
    let document: Value = serde_json::from_str(value).map_err(|error| error.to_string())?;
    match document.get("Addr").and_then(Value::as_str) {
        Some(address) => Member::of_value(&Value::from(address)),
        None => Member::of_value(&document),
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        for (prefix, end) in
            [(&b"/a/"[..], &b"/a0"[..]), (b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")]
        {
            assert_eq!(after(prefix), end);
        }
    }

    #[test]
    fn a_watch_that_is_cancelled_begins_anew_or_says_why_it_cannot() {
        let config = EtcdConfig { peers: Vec::new(), prefix: "/a/".to_owned(), user: None };
        let etcd = Etcd::new(&config, 10);
        let compacted =
            br#"{"result":{"canceled":true,"compact_revision":"7","cancel_reason":"has been compacted"}}"#;
        assert_eq!(etcd.take_up(compacted), Ok(false));
        let denied = br#"{"result":{"canceled":true,"cancel_reason":"permission denied"}}"#;
        assert_eq!(etcd.take_up(denied), Err("etcd cancelled the watch: permission denied".to_owned()));
        assert_eq!(etcd.take_up(br#"{"result":{"created":true}}"#), Ok(true));
    }

    #[test]
    fn a_value_is_a_url_a_table_or_what_etcds_clients_write() {
        let read = |text: &str| member(&BASE64.encode(text));
        assert_eq!(read(" 10.0.0.1:80\n"), Ok(Member::at("10.0.0.1:80")));
        assert_eq!(read("\"10.0.0.1:80\""), Ok(Member::at("10.0.0.1:80")));
        assert_eq!(read(r#"{"url": "a:1", "weight": 3}"#).unwrap().weight, 3.0);
        assert_eq!(read(r#"{"Op": 0, "Addr": "a:1", "Metadata": null}"#), Ok(Member::at("a:1")));
        for nonsense in ["", "{", "{}", "[1]", "{\"url\": 7}"] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
        assert!(member("not base64!").is_err());
    }
}
