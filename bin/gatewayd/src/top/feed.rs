//! Follows `/api/live` on a thread of its own, and begins anew when the gateway goes away or something else is asked for.
//!
//! The request is HTTP/1.0, so that the answer is the events and nothing else: no chunks, no keep-alive.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::model::Event;
use crate::cli::AdminAt;
use crate::operate::ADDRESS_HELP;

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
    wanted: Arc<Mutex<Wanted>>,
}

/// What is asked for, and the connection that answers it.
struct Wanted {
    query: String,
    stream: Option<TcpStream>,
}

impl Feed {
    /// Begins to follow a query.
    pub(super) fn follow(admin: &AdminAt, query: &str) -> anyhow::Result<Self> {
        let (sender, heard) = mpsc::channel();
        let wanted = Arc::new(Mutex::new(Wanted { query: query.to_owned(), stream: None }));
        let (admin, shared) = (admin.clone(), Arc::clone(&wanted));
        std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || listen(&admin, &shared, &sender))
            .context("cannot start a thread")?;
        Ok(Self { heard, wanted })
    }

    /// What has come since the last call.
    pub(super) fn heard(&self) -> impl Iterator<Item = Heard> {
        self.heard.try_iter()
    }

    /// Asks for something else from now on.
    pub(super) fn ask(&self, query: &str) {
        let mut wanted = lock(&self.wanted);
        query.clone_into(&mut wanted.query);
        if let Some(stream) = wanted.stream.take() {
            // Ends the read that the thread is in.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn listen(admin: &AdminAt, wanted: &Mutex<Wanted>, heard: &Sender<Heard>) {
    loop {
        let query = lock(wanted).query.clone();
        let ended = listen_once(admin, &query, wanted, heard);
        if lock(wanted).query != query {
            continue;
        }
        let reason =
            ended.err().map_or_else(|| "it closed the connection".to_owned(), |error| format!("{error:#}"));
        if heard.send(Heard::Lost(reason)).is_err() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn listen_once(
    admin: &AdminAt,
    query: &str,
    wanted: &Mutex<Wanted>,
    heard: &Sender<Heard>,
) -> anyhow::Result<()> {
    let mut events = Events::open(admin, query)?;
    lock(wanted).stream = Some(events.stream.get_ref().try_clone()?);
    while let Some(text) = events.next()? {
        let event = serde_json::from_str(&text).context("not a gateway of this version")?;
        if heard.send(Heard::Event(event)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The second event, which knows how fast things go, as JSON.
pub(super) fn second(admin: &AdminAt, query: &str) -> anyhow::Result<String> {
    let mut events = Events::open(admin, query)
        .map_err(|error| anyhow!("no gateway at {}: {error:#}\n  help: {ADDRESS_HELP}", admin.address()))?;
    match (events.next()?, events.next()?) {
        (Some(_), Some(second)) => Ok(second),
        _ => {
            bail!("what answers at {} is no gateway's admin address\n  help: {ADDRESS_HELP}", admin.address())
        }
    }
}

/// The events of one connection.
struct Events {
    stream: BufReader<TcpStream>,
}

impl Events {
    fn open(admin: &AdminAt, query: &str) -> anyhow::Result<Self> {
        let address = admin.address();
        let mut stream = connect(address.authority())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let token = admin
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        write!(stream, "GET /api/live?{query} HTTP/1.0\r\nHost: {address}\r\n{token}\r\n")?;
        let mut stream = BufReader::new(stream);
        let status = line(&mut stream)?.unwrap_or_default();
        match status.split(' ').nth(1) {
            Some("200") => {}
            Some("503") => bail!("too many dashboards and terminals watch it already"),
            _ => bail!("what answers is no gateway's admin address: {:?}", status.trim()),
        }
        let mut are_events = false;
        while let Some(field) = line(&mut stream)?.filter(|line| !line.trim().is_empty()) {
            are_events |= field.to_ascii_lowercase().starts_with("content-type: text/event-stream");
        }
        match are_events {
            true => Ok(Self { stream }),
            false => bail!("what answers is no gateway's admin address"),
        }
    }

    /// The next event's data.
    fn next(&mut self) -> io::Result<Option<String>> {
        while let Some(line) = line(&mut self.stream)? {
            if let Some(data) = line.strip_prefix("data: ") {
                return Ok(Some(data.trim_end().to_owned()));
            }
        }
        Ok(None)
    }
}

fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let mut failed = None;
    for address in address.to_socket_addrs().with_context(|| format!("{address:?}: expected HOST:PORT"))? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.map_or_else(|| anyhow::anyhow!("the name has no address"), anyhow::Error::from))
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = io::Read::take(stream, MAX_LINE).read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

fn lock(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}
