//! Follows `/api/live` on a thread of its own, and begins anew when the gateway goes away or something else is asked for.
//!
//! The request is HTTP/1.0, so that the answer is the events and nothing else: no chunks, no keep-alive.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Notify;

use super::model::Event;
use crate::cli::AdminAt;
use crate::client::{self, Stream};
use crate::operate::unanswered;
use crate::run::control_runtime;

/// For a connection, and for each event, which come once a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// A longer line is no event.
const MAX_LINE: u64 = 16 << 20;

/// What has come of late.
pub(super) enum Heard {
    Event(Box<Event>),
    /// The gateway does not answer, for this reason.
    Lost(String),
}

/// A thread that listens. It ends when this is dropped.
pub(super) struct Feed {
    heard: Receiver<Heard>,
    wanted: Arc<Wanted>,
}

/// What is asked for.
struct Wanted {
    query: Mutex<String>,
    /// It is something else.
    changed: Notify,
}

impl Feed {
    /// Begins to follow a query.
    pub(super) fn follow(admin: &AdminAt, query: &str) -> anyhow::Result<Self> {
        let (sender, heard) = mpsc::channel();
        let wanted = Arc::new(Wanted { query: Mutex::new(query.to_owned()), changed: Notify::new() });
        let (admin, shared, runtime) = (admin.clone(), Arc::clone(&wanted), control_runtime()?);
        std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || runtime.block_on(listen(&admin, &shared, &sender)))
            .context("cannot start a thread")?;
        Ok(Self { heard, wanted })
    }

    /// What has come since the last call.
    pub(super) fn heard(&self) -> impl Iterator<Item = Heard> {
        self.heard.try_iter()
    }

    /// Asks for something else from now on.
    pub(super) fn ask(&self, query: &str) {
        query.clone_into(&mut self.wanted.query());
        self.wanted.changed.notify_one();
    }
}

impl Wanted {
    fn query(&self) -> MutexGuard<'_, String> {
        self.query.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(admin: &AdminAt, wanted: &Wanted, heard: &Sender<Heard>) {
    loop {
        let query = wanted.query().clone();
        let ended = tokio::select! {
            ended = listen_once(admin, &query, heard) => ended,
            () = wanted.changed.notified() => continue,
        };
        let reason =
            ended.err().map_or_else(|| "it closed the connection".to_owned(), |error| format!("{error:#}"));
        if heard.send(Heard::Lost(reason)).is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen_once(admin: &AdminAt, query: &str, heard: &Sender<Heard>) -> anyhow::Result<()> {
    let mut events = Events::open(admin, query).await?;
    while let Some(text) = events.next().await? {
        let event = serde_json::from_str(&text).context("not a gateway of this version")?;
        if heard.send(Heard::Event(event)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The second event, which knows how fast things go, as JSON.
pub(super) fn second(admin: &AdminAt, query: &str) -> anyhow::Result<String> {
    let second = async {
        let opened = Events::open(admin, query).await;
        let mut events = opened
            .map_err(|error| unanswered(&error.context(format!("no gateway at {}", admin.address()))))?;
        match (events.next().await?, events.next().await?) {
            (Some(_), Some(second)) => Ok(second),
            _ => bail!("the gateway at {} closed the connection", admin.address()),
        }
    };
    control_runtime()?.block_on(second)
}

/// The events of one connection.
struct Events {
    stream: BufReader<Box<dyn Stream>>,
}

impl Events {
    async fn open(admin: &AdminAt, query: &str) -> anyhow::Result<Self> {
        let (address, tls) = (admin.address(), admin.tls()?);
        let token = admin
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let asked = format!("GET /api/live?{query} HTTP/1.0\r\nHost: {address}\r\n{token}\r\n");
        let opened = async {
            let mut stream = client::connect(address.authority(), tls.as_ref()).await?;
            stream.write_all(asked.as_bytes()).await?;
            stream.flush().await?;
            anyhow::Ok(stream)
        };
        let opened = tokio::time::timeout(PATIENCE, opened).await;
        let stream = opened.map_err(|_| anyhow!("it did not answer in time"))??;
        let mut events = Self { stream: BufReader::new(stream) };
        let status = events.line().await?.unwrap_or_default();
        match status.split(' ').nth(1) {
            Some("200") => {}
            Some("503") => bail!("too many dashboards and terminals watch it already"),
            _ => bail!("what answers is no gateway's admin address: {:?}", status.trim()),
        }
        let mut are_events = false;
        while let Some(field) = events.line().await?.filter(|line| !line.trim().is_empty()) {
            are_events |= field.to_ascii_lowercase().starts_with("content-type: text/event-stream");
        }
        match are_events {
            true => Ok(events),
            false => bail!("what answers is no gateway's admin address"),
        }
    }

    /// The next event's data.
    async fn next(&mut self) -> io::Result<Option<String>> {
        while let Some(line) = self.line().await? {
            if let Some(data) = line.strip_prefix("data: ") {
                return Ok(Some(data.trim_end().to_owned()));
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let mut bounded = (&mut self.stream).take(MAX_LINE);
        let read = tokio::time::timeout(PATIENCE, bounded.read_line(&mut line)).await;
        let read =
            read.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"))??;
        Ok((read > 0).then_some(line))
    }
}
