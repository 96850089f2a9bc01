//! A backend as a process of its own, so that it can be killed and frozen: answers by number, and misbehaves when told.
//!
//! The program that runs the harness is started once more for each, and gives itself over to [`serve_if_asked`].

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::behaviour::Behaviour;
use crate::ledger::Ledger;
use crate::message::{Wire, pattern};

/// The variable that a backend's settings come in.
pub(crate) const SETTINGS: &str = "LB_FAULTS_BACKEND";
/// Asks for another behaviour, which follows.
pub(crate) const BEHAVE: &str = "/-/behave?";

/// What a backend is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Its place among the backends of its scenario.
    pub(crate) position: usize,
    pub(crate) address: SocketAddr,
    pub(crate) ledger: PathBuf,
    /// How long it works on each request.
    pub(crate) service_ms: u64,
    /// How many it works on at once; the others wait their turn.
    pub(crate) places: usize,
    /// Ends when this process does.
    pub(crate) parent: u32,
}

/// Be a backend until killed, where the environment asks for one; otherwise return at once.
///
/// # Panics
/// Where its address is taken.
pub fn serve_if_asked() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, serve(settings)).unwrap();
}

struct State {
    settings: Settings,
    behaviour: RefCell<Behaviour>,
    ledger: Ledger,
    places: Semaphore,
}

async fn serve(settings: Settings) -> io::Result<()> {
    let listener = TcpListener::bind(settings.address).await?;
    tokio::task::spawn_local(end_with(settings.parent));
    let state = Rc::new(State {
        behaviour: RefCell::new(Behaviour::Well),
        ledger: Ledger::open(&settings.ledger)?,
        places: Semaphore::new(settings.places),
        settings,
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Rc::clone(&state);
        tokio::task::spawn_local(async move {
            // A connection that breaks is the peer's affair.
            state.converse(Wire::new(stream)).await.ok();
        });
    }
}

/// Nobody is left to kill an orphan.
async fn end_with(parent: u32) {
    while std::os::unix::process::parent_id() == parent {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    std::process::exit(0);
}

impl State {
    async fn converse(&self, mut wire: Wire) -> io::Result<()> {
        while let Some(head) = wire.head().await? {
            let target = head.word(1).to_owned();
            if let Some(behaviour) = target.strip_prefix(BEHAVE) {
                *self.behaviour.borrow_mut() = behaviour.parse().map_err(io::Error::other)?;
                wire.send(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
                continue;
            }
            let behaviour = self.behaviour.borrow().clone();
            if !target.starts_with("/r/") {
                // A probe, or somebody who looks.
                let status = if behaviour == Behaviour::Well { "200 OK" } else { "503 Unwell" };
                wire.send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await?;
                continue;
            }
            let (id, bytes) = asked(&target);
            let in_hand = self.ledger.received(id, head.word(0));
            let body = wire.body(&head).await?;
            if body != pattern(id, body.len()) {
                self.ledger.wrong_body(id);
            }
            self.work(&mut wire, &behaviour).await?;
            drop(in_hand);
            if !self.answer(&mut wire, &behaviour, id, bytes).await? {
                wire.reset();
                return Ok(());
            }
        }
        Ok(())
    }

    /// Take the time that a request takes, unless the other side leaves meanwhile.
    async fn work(&self, wire: &mut Wire, behaviour: &Behaviour) -> io::Result<()> {
        let time = Duration::from_millis(self.settings.service_ms);
        let time = match behaviour {
            Behaviour::Slow(more) => time + *more,
            Behaviour::Silent => Duration::from_secs(3600),
            _ => time,
        };
        let working = async {
            let _place = self.places.acquire().await;
            tokio::time::sleep(time).await;
        };
        tokio::select! {
            () = working => Ok(()),
            () = wire.closed() => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Answer as the behaviour has it; false where the connection is to be reset now.
    async fn answer(
        &self,
        wire: &mut Wire,
        behaviour: &Behaviour,
        id: u64,
        bytes: usize,
    ) -> io::Result<bool> {
        let position = self.settings.position;
        let (status, bytes) = match behaviour {
            Behaviour::Status(status) => (*status, 0),
            _ => (200, bytes),
        };
        // Both ways in which a body's end is told from its being broken off.
        let is_chunked = id.is_multiple_of(3) && (1..4096).contains(&bytes);
        let framing = match is_chunked {
            true => format!("Transfer-Encoding: chunked\r\n\r\n{bytes:x}"),
            false => format!("Content-Length: {bytes}\r\n"),
        };
        let mut answer = format!(
            "HTTP/1.1 {status} Any\r\nX-Answered-By: {position}\r\nX-Answer-To: {id}\r\n{framing}\r\n"
        )
        .into_bytes();
        let cut = match behaviour {
            Behaviour::Reset => Some(0),
            Behaviour::ResetMidHead => Some(answer.len() / 2),
            Behaviour::ResetMidBody => Some(answer.len() + bytes / 2),
            _ => None,
        };
        answer.extend(pattern(id, bytes));
        if is_chunked {
            answer.extend(b"\r\n0\r\n\r\n");
        }
        wire.send(&answer[..cut.unwrap_or(answer.len())]).await?;
        if cut.is_some() {
            // Long enough for the bytes to arrive before the reset discards them.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(cut.is_none())
    }
}

/// Number and size out of `/r/NUMBER?bytes=SIZE`.
fn asked(target: &str) -> (u64, usize) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let id = path.rsplit('/').next().and_then(|id| id.parse().ok());
    let bytes = query.strip_prefix("bytes=").and_then(|bytes| bytes.parse().ok());
    (id.unwrap_or(0), bytes.unwrap_or(0))
}
