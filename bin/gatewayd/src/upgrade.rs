//! Another process of the program in the place of this one, while requests go on: SIGUSR2, or `gatewayd upgrade`.
//!
//! The new one is started from the same path, where another version may stand by now, with the same arguments. It is given the
//! listening sockets themselves and what no file says, and reads its configuration as at any start. Once it says that it
//! serves, this one leaves the sockets to it and drains. Until then both may accept, and where the new one fails, ends or is
//! late, nothing has happened here.

pub(crate) mod channel;
mod program;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lb_discovery::{KnownMembers, Registered};
use lb_http::{Inherited, InheritedPackets, InheritedSocket, Reloader};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::{oneshot, watch};

use self::channel::{
    Answer, Described, FORM, Hello, ListenerKeys, PacketKeys, Purpose, SOCKETS_A_MESSAGE, State,
};
use self::program::Program;
use crate::edits::Edit;
use crate::reload::Reloading;
use crate::systemd;

/// How long the new process may take to serve, where nothing else is asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process that has given up may take to end.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Puts another process in the place of this one.
pub(crate) struct Upgrader {
    program: Program,
    reloader: Reloader,
    /// Nothing is reloaded meanwhile.
    reloading: Arc<Reloading>,
    admin: Mutex<Option<(SocketAddr, TcpListener)>>,
    one_at_a_time: tokio::sync::Mutex<()>,
    succeeded: watch::Sender<Option<Successor>>,
}

/// The process that serves in place of this one.
#[derive(Debug, Clone)]
pub(crate) struct Successor {
    pub(crate) pid: u32,
    pub(crate) version: String,
}

/// Why this process goes on by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    /// Only one at a time.
    #[error("an upgrade is under way already")]
    UnderWay,
    /// There is a successor.
    #[error("another process serves in place of this one already")]
    Succeeded,
    /// A container ends with its first process.
    #[error("this process is the first of its container, which would end with it; replace the container")]
    First,
    /// The file cannot be run, or is not to be.
    #[error(transparent)]
    Program(#[from] program::ProgramError),
    /// The system does not let it happen.
    #[error("cannot hand over: {0}")]
    System(#[from] io::Error),
    /// The new process has given up.
    #[error("the new process ended before it served ({status}){}", said(.text))]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its last words, if it had any.
        text: Option<String>,
    },
    /// It takes too long.
    #[error("the new process did not serve within {0:?} and was ended")]
    Late(Duration),
}

fn said(text: &Option<String>) -> String {
    text.as_ref().map_or_else(String::new, |text| format!(": {}", text.trim_end()))
}

impl Upgrader {
    pub(crate) fn new(
        reloader: Reloader,
        reloading: Arc<Reloading>,
        admin: Option<(SocketAddr, TcpListener)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            program: Program::of_this_process(),
            reloader,
            reloading,
            admin: Mutex::new(admin),
            one_at_a_time: tokio::sync::Mutex::default(),
            succeeded: watch::Sender::new(None),
        })
    }

    /// Waits until another process serves in place of this one.
    pub(crate) async fn succeeded(&self) -> Successor {
        let mut succeeded = self.succeeded.subscribe();
        // The sender lives as long as this.
        match succeeded.wait_for(Option::is_some).await.map(|successor| successor.clone()) {
            Ok(Some(successor)) => successor,
            _ => std::future::pending().await,
        }
    }

    /// Starts the new process and waits until it serves. Goes on to its end if whoever asked does not wait for it.
    pub(crate) async fn upgrade(
        self: &Arc<Self>,
        cause: &'static str,
        patience: Duration,
    ) -> Result<Successor, UpgradeError> {
        let this = Arc::clone(self);
        let upgrading = tokio::spawn(async move {
            let result = this.put_in_place(patience).await;
            match &result {
                Ok(Successor { pid, version }) => {
                    tracing::info!(component = "upgrade", cause, pid, version, "another process serves");
                }
                Err(error) => {
                    tracing::error!(component = "upgrade", cause, %error, "no upgrade; this process goes on");
                }
            }
            result
        });
        upgrading.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    async fn put_in_place(&self, patience: Duration) -> Result<Successor, UpgradeError> {
        let Ok(_one_at_a_time) = self.one_at_a_time.try_lock() else { return Err(UpgradeError::UnderWay) };
        if self.succeeded.borrow().is_some() {
            return Err(UpgradeError::Succeeded);
        }
        if std::process::id() == 1 {
            return Err(UpgradeError::First);
        }
        self.program.check()?;
        let unchanged = self.reloading.pause().await;
        let edits = unchanged.edits().list().to_vec();
        let discovery = self.reloading.discovery();
        let known = Known { edits, registered: discovery.registered(), discovered: discovery.known() };
        let inherited = self.reloader.hand_over().await?;
        let admin = self.admin()?;
        let program = self.program.clone();
        let (done, outcome) = oneshot::channel();
        // A thread of its own: the end of this process does not wait for it.
        std::thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            let _ = done.send(start(&program, inherited, known, admin, patience));
        })?;
        let successor = outcome.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))?;
        self.reloading.succeeded(unchanged);
        systemd::main_process(successor.pid);
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.succeeded.send_replace(Some(successor.clone()));
        Ok(successor)
    }

    fn admin(&self) -> io::Result<Option<InheritedSocket>> {
        let admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((address, socket)) = &*admin else { return Ok(None) };
        let (name, address) = (String::new(), Some(*address));
        Ok(Some(InheritedSocket { name, address, socket: socket.try_clone()? }))
    }
}

/// What was told to this process alone.
struct Known {
    edits: Vec<Edit>,
    registered: BTreeMap<String, Vec<Registered>>,
    discovered: Vec<KnownMembers>,
}

/// Starts the new process, hands over, and waits until it serves. Where it does not, it has ended when this returns.
fn start(
    program: &Program,
    inherited: Inherited,
    known: Known,
    admin: Option<InheritedSocket>,
    patience: Duration,
) -> Result<Successor, UpgradeError> {
    let deadline = Instant::now() + patience;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)?;
    let mut child = program.spawn(theirs)?;
    let mut answer = hand_over(&ours, inherited, known, admin, deadline).and_then(|()| {
        channel::set_patience(&ours, deadline.saturating_duration_since(Instant::now()))?;
        channel::receive::<Answer>(&ours)
    });
    // Whoever gives up says why and ends, perhaps while it is still being told: its words wait behind the news of its end, which sending
    // and receiving may each be the first to hear.
    for _ in 0..2 {
        if answer.as_ref().is_err_and(has_ended) {
            answer = channel::receive::<Answer>(&ours);
        }
    }
    let text = match answer {
        Ok(Some((Answer::Ready { version }, _))) => return Ok(Successor { pid: child.id(), version }),
        Ok(Some((Answer::Failed { text }, _))) => Some(text),
        Ok(None) => None,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            end(&mut child, Duration::ZERO)?;
            return Err(UpgradeError::Late(patience));
        }
        // It does not listen any more: that is for its status to tell.
        Err(error) if has_ended(&error) => None,
        Err(error) => {
            end(&mut child, Duration::ZERO)?;
            return Err(error.into());
        }
    };
    Err(UpgradeError::Ended { status: end(&mut child, END_PATIENCE)?, text })
}

/// Whether the other end has been closed.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn hand_over(
    channel: &OwnedFd,
    mut inherited: Inherited,
    known: Known,
    admin: Option<InheritedSocket>,
    deadline: Instant,
) -> io::Result<()> {
    channel::set_patience(channel, deadline.saturating_duration_since(Instant::now()))?;
    let keys = |it: &mut InheritedPackets| {
        let (listener, address) = (it.name.clone(), it.address);
        Some(PacketKeys { listener, address, keys: it.keys.take()? })
    };
    let state = channel::nameless(&State {
        packets: inherited.packets.iter_mut().filter_map(keys).collect(),
        health: inherited.health.take(),
        edits: known.edits,
        registered: known.registered,
        discovered: known.discovered,
        rollbacks: std::mem::take(&mut inherited.rollbacks),
        tickets: std::mem::take(&mut inherited.keys).into_iter().map(ListenerKeys::of).collect(),
    })?;
    let sockets = described(inherited, admin)?;
    channel::send(channel, &Hello { form: FORM, sockets: sockets.len() }, &[state.as_fd()])?;
    for sockets in sockets.chunks(SOCKETS_A_MESSAGE) {
        let (described, descriptors): (Vec<_>, Vec<_>) =
            sockets.iter().map(|(described, socket)| (described, socket.as_fd())).unzip();
        channel::send(channel, &described, &descriptors)?;
    }
    Ok(())
}

/// Every socket with what is said of it.
fn described(inherited: Inherited, admin: Option<InheritedSocket>) -> io::Result<Vec<(Described, OwnedFd)>> {
    let listeners = inherited.sockets.into_iter().map(|socket| (Purpose::Listener, socket));
    let mut sockets = Vec::new();
    for (purpose, it) in listeners.chain(admin.map(|socket| (Purpose::Admin, socket))) {
        let address = it.address.map_or_else(|| it.socket.local_addr(), Ok)?;
        sockets.push((Described { purpose, name: it.name, address, generation: 0 }, it.socket.into()));
    }
    for InheritedPackets { name, address, socket, before, generation, .. } in inherited.packets {
        let describe = |purpose| Described { purpose, name: name.clone(), address, generation };
        sockets.push((describe(Purpose::Packets), socket.into()));
        sockets.push((describe(Purpose::PacketsBefore), before));
    }
    Ok(sockets)
}

/// Waits for a process that is about to end, and ends it where it does not.
fn end(child: &mut Child, patience: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()
}

impl fmt::Debug for Upgrader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrader").field("program", &self.program).finish_non_exhaustive()
    }
}
