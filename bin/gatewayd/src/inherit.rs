//! The sockets that this process is given: by the one that it takes over from, or by systemd (sd_listen_fds(3)).

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use lb_discovery::{KnownMembers, Registered};
use lb_http::{Inherited, InheritedPackets, InheritedSocket};
use listenfd::ListenFd;
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;

use crate::edits::Edit;
use crate::exit::Failure;
use crate::status;
use crate::upgrade::channel::{
    self, Answer, Described, FORM, Hello, ListenerKeys, MAX_TEXT, PacketKeys, Purpose, State,
};

/// Says to a process that its standard input leads to the one of this id, from which it takes over.
pub(crate) const VARIABLE: &str = "GATEWAYD_TAKEOVER";
/// The name of the admin address's socket among systemd's.
const ADMIN: &str = "admin";
/// How long the process before may take to hand over what it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// What systemd has passed.
static FROM_SYSTEMD: Mutex<Vec<InheritedSocket>> = Mutex::new(Vec::new());

/// What this process is given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// For listeners.
    pub(crate) inherited: Inherited,
    /// What operators have changed, where there was a process before.
    pub(crate) edits: Option<Vec<Edit>>,
    /// Who had registered there, by upstream.
    pub(crate) registered: BTreeMap<String, Vec<Registered>>,
    /// What other sources had told.
    pub(crate) discovered: Vec<KnownMembers>,
    admin: Vec<TcpListener>,
}

impl Given {
    /// Takes up what there is; nothing, mostly.
    ///
    /// # Errors
    /// The process before has broken off.
    pub(crate) fn take() -> anyhow::Result<Self> {
        match takeover() {
            Some(channel) => Self::receive(channel).context("cannot take over"),
            None => {
                let mut passed = FROM_SYSTEMD.lock().unwrap_or_else(PoisonError::into_inner);
                let sockets = std::mem::take(&mut *passed);
                Ok(Self { inherited: Inherited { sockets, ..Inherited::default() }, ..Self::default() })
            }
        }
    }

    fn receive(channel: &OwnedFd) -> anyhow::Result<Self> {
        let ended = "the process before has ended";
        channel::set_patience(channel, PATIENCE)?;
        let (hello, state) = channel::receive::<Hello>(channel)?.context(ended)?;
        if hello.form != FORM {
            bail!("the process before speaks form {} of the hand-over, this one {FORM}", hello.form);
        }
        let mut given = Self::default();
        let mut keys = Vec::new();
        if let Some(state) = state.into_iter().next() {
            let State { health, edits, registered, discovered, rollbacks, tickets, packets } =
                channel::content(state)?;
            keys = packets;
            given.inherited.health = health;
            given.inherited.keys = tickets.into_iter().map(ListenerKeys::into_inherited).collect();
            given.inherited.rollbacks = rollbacks;
            given.edits = Some(edits);
            given.registered = registered;
            given.discovered = discovered;
        }
        let mut received = 0;
        let mut packets = None;
        while received < hello.sockets {
            let (described, descriptors) = channel::receive::<Vec<Described>>(channel)?.context(ended)?;
            if described.is_empty() || described.len() != descriptors.len() {
                bail!("a message has {} sockets and {} descriptors", described.len(), descriptors.len());
            }
            received += described.len();
            for (Described { purpose, name, address, generation }, descriptor) in
                described.into_iter().zip(descriptors)
            {
                match purpose {
                    Purpose::Listener => {
                        let (address, socket) = (Some(address), TcpListener::from(descriptor));
                        given.inherited.sockets.push(InheritedSocket { name, address, socket });
                    }
                    Purpose::Admin => given.admin.push(TcpListener::from(descriptor)),
                    Purpose::Packets => packets = Some(UdpSocket::from(descriptor)),
                    Purpose::PacketsBefore => {
                        let Some(socket) = packets.take() else { bail!("a socket for packets is missing") };
                        let is_of = |it: &mut PacketKeys| it.listener == name && it.address == address;
                        let keys = keys.extract_if(.., is_of).next().map(|it| it.keys);
                        let before = descriptor;
                        given.inherited.packets.push(InheritedPackets {
                            name,
                            address,
                            socket,
                            before,
                            generation,
                            keys,
                        });
                    }
                    Purpose::Unknown => {
                        tracing::warn!(%name, %address, "a socket of unknown purpose is closed");
                    }
                }
            }
        }
        Ok(given)
    }

    /// The admin address's socket, where there is one.
    pub(crate) fn take_admin(&mut self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let mut candidates = std::mem::take(&mut self.admin);
        candidates.retain(|socket| {
            let local = socket.local_addr().ok();
            local == Some(address) || (address.port() == 0 && local.is_some_and(|it| it.ip() == address.ip()))
        });
        if takeover().is_none() {
            candidates = self.inherited.take(ADMIN, address);
        }
        let Some(socket) = candidates.pop() else { return Ok(None) };
        socket.set_nonblocking(true)?;
        Ok(Some(socket))
    }
}

/// Takes systemd's sockets out of the environment. To be called while there is no other thread, which is when the environment
/// may be changed.
pub(crate) fn adopt_from_systemd() {
    if std::env::var_os("LISTEN_FDS").is_none() || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let mut sockets = FROM_SYSTEMD.lock().unwrap_or_else(PoisonError::into_inner);
    for place in 0..passed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        match passed.take_tcp_listener(place) {
            Ok(Some(socket)) => sockets.push(InheritedSocket { name, address: None, socket }),
            Ok(None) => {}
            Err(error) => tracing::warn!(%name, %error, "a descriptor from systemd is not used"),
        }
    }
}

/// The way to the process that this one takes over from, where it does.
fn takeover() -> Option<&'static OwnedFd> {
    static CHANNEL: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let open = || {
        let parent: u32 = std::env::var(VARIABLE).ok()?.parse().ok()?;
        let is_meant = std::os::unix::process::parent_id() == parent;
        let stdin = io::stdin();
        if !is_meant || socket_type(&stdin).ok()? != SocketType::SEQPACKET {
            return None;
        }
        let channel = stdin.as_fd().try_clone_to_owned().ok()?;
        if let Ok(null) = std::fs::File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(null);
        }
        Some(channel)
    };
    CHANNEL.get_or_init(open).as_ref()
}

/// Tells the process before that this one serves in its place.
///
/// # Errors
/// It has ended, or has given this one up: it was told to stop meanwhile, and so is this one.
pub(crate) fn ready() -> Result<(), Failure> {
    let Some(channel) = takeover() else { return Ok(()) };
    let answer = Answer::Ready { version: status::VERSION.to_owned() };
    channel::send(channel, &answer, &[])
        .context("the process that was to be taken over from has ended")
        .map_err(Failure::from)
}

/// Tells the process before that this one does not serve.
pub(crate) fn failed(failure: &Failure) {
    let Some(channel) = takeover() else { return };
    let mut text = failure.text(false);
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    // It sees this one end, too.
    let _ = channel::send(channel, &Answer::Failed { text }, &[]);
}
