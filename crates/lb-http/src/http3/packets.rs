//! The packets of a listener of HTTP/3, through an upgrade: whose they are, and how they come to the process that they belong to.
//!
//! Both processes have the same UDP socket, which gives each packet to whichever reads first. So only one of them reads: the process
//! before until the next one serves, and the next one from then on. Every connection identifier that an endpoint gives out bears its
//! generation (`identifiers.rs`); what bears an earlier one is passed on to the process before, by a socket pair that nobody else has,
//! and through it to the one before that. All of them send by the socket itself. The process before stops reading with the step by which it tells the
//! next one to begin, and what comes in between waits in the socket, so nobody is refused. What is not taken at once on its way
//! between two processes is lost, as any packet may be. The keys go over with the socket: what one process has signed, the next
//! one knows, and a client whose connection has ended unheard is told by whoever has the socket then.
//!
//! Cost: without an upgrade a test a batch; after one, a look at each packet's head until the process before has ended.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use lb_tls::QuicKeys;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UnixDatagram;

use super::identifiers::{Identifiers, is_earlier};

/// Bytes ahead of a packet that is passed on: where it comes from, where it was sent to, and its mark of congestion.
const LEAD: usize = 40;
/// The most that a datagram can be.
const MAX_DATAGRAM: usize = 64 << 10;
/// Buffers of the sockets, as far as the system allows.
const SOCKET_BUFFER: usize = 2 << 20;
/// How often a socket is asked for that another process has.
const BIND_INTERVAL: Duration = Duration::from_millis(100);
/// How often in a row reading may fail before others have their turn.
const MOST_FAILURES: u32 = 16;
/// By which the process before tells that it reads no more.
const YOURS: &[u8] = &[0];

/// A listener's socket for packets, for as long as this process has it.
pub(crate) struct Packets {
    address: SocketAddr,
    /// Not there yet where the process before does not hand it over.
    socket: OnceLock<UdpSocket>,
    generation: u8,
    keys: QuicKeys,
    /// The way to the process before.
    before: Mutex<Option<OwnedFd>>,
    /// The way to the next process, once one has been started.
    after: Mutex<Option<OwnedFd>>,
}

/// A listener's socket for the packets of HTTP/3, on its way to the next process.
#[derive(Debug)]
pub struct InheritedPackets {
    /// The listener's name.
    pub name: String,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// The socket.
    pub socket: UdpSocket,
    /// The way to the process before.
    pub before: OwnedFd,
    /// How many processes have had the socket before, modulo 256.
    pub generation: u8,
    /// What the process before signs with, where it tells.
    pub keys: Option<QuicKeys>,
}

impl Packets {
    /// Binds a socket.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Arc<Self>> {
        Self::of(address, Some(bind(address)?), 0, None, None)
    }

    /// A socket that is to be bound once the process before has let go of the address.
    pub(crate) fn awaited(address: SocketAddr) -> io::Result<Arc<Self>> {
        Self::of(address, None, 0, None, None)
    }

    /// A socket that the process before still reads.
    pub(crate) fn inherited(inherited: InheritedPackets) -> io::Result<Arc<Self>> {
        let InheritedPackets { address, socket, before, generation, keys, .. } = inherited;
        Self::of(address, Some(socket), generation, Some(before), keys)
    }

    fn of(
        address: SocketAddr,
        socket: Option<UdpSocket>,
        generation: u8,
        before: Option<OwnedFd>,
        keys: Option<QuicKeys>,
    ) -> io::Result<Arc<Self>> {
        let keys = keys.map_or_else(QuicKeys::new, Ok).map_err(io::Error::other)?;
        let socket = socket.map_or_else(OnceLock::new, OnceLock::from);
        let (before, after) = (Mutex::new(before), Mutex::default());
        Ok(Arc::new(Self { address, socket, generation, keys, before, after }))
    }

    /// What the next process needs; nothing where there is no socket yet. What was given to one that came to nothing is void.
    pub(crate) fn hand_over(&self, name: &str, address: SocketAddr) -> io::Result<Option<InheritedPackets>> {
        let Some(socket) = self.socket.get() else { return Ok(None) };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (after, before) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let _ = set_socket_send_buffer_size(&before, SOCKET_BUFFER);
        let _ = set_socket_recv_buffer_size(&after, SOCKET_BUFFER);
        let (name, socket) = (name.to_owned(), socket.try_clone()?);
        *lock(&self.after) = Some(after);
        let generation = self.generation.wrapping_add(1);
        let keys = Some(self.keys.clone());
        Ok(Some(InheritedPackets { name, address, socket, before, generation, keys }))
    }

    /// The socket, once it is there.
    async fn socket(&self) -> io::Result<UdpSocket> {
        loop {
            if let Some(socket) = self.socket.get() {
                return socket.try_clone();
            }
            if let Ok(socket) = bind(self.address) {
                // Nobody else does this.
                let _ = self.socket.set(socket);
                continue;
            }
            tokio::time::sleep(BIND_INTERVAL).await;
        }
    }

    /// The socket as an endpoint of this runtime reads and writes it. To be called once.
    pub(super) async fn open(self: Arc<Self>) -> io::Result<Arc<Reader>> {
        let socket = TokioRuntime.wrap_udp_socket(self.socket().await?)?;
        let before = lock(&self.before).take().map(way).transpose()?.map(Arc::new);
        let stage = if before.is_some() { Stage::Waiting } else { Stage::Reading };
        let state = State { stage, before, after: None, reader: None, room: Vec::new() };
        Ok(Arc::new(Reader { packets: self, socket, state: Mutex::new(state) }))
    }

    /// Gives out identifiers of this generation.
    pub(super) fn identifiers(&self) -> Identifiers {
        Identifiers(self.generation)
    }

    /// What is signed with on this socket, whichever process has it.
    pub(super) fn keys(&self) -> &QuicKeys {
        &self.keys
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // A burst is lost otherwise while the worker is busy; less than this does as well.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket that an endpoint reads and writes.
pub(super) struct Reader {
    packets: Arc<Packets>,
    socket: Arc<dyn AsyncUdpSocket>,
    state: Mutex<State>,
}

/// Where the packets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// From nowhere: the process before still reads them.
    Waiting,
    /// From the socket.
    Reading,
    /// From the next process, which reads the socket.
    Left,
}

struct State {
    stage: Stage,
    /// The way to the process before, while that lives.
    before: Option<Arc<UnixDatagram>>,
    /// The way to the next one, once the socket has been left to it.
    after: Option<UnixDatagram>,
    /// Who waits for packets.
    reader: Option<Waker>,
    /// A packet on its way between processes.
    room: Vec<u8>,
}

impl Reader {
    /// Leaves the socket to the next process, as soon as this one has it. Where there is none any more, this one goes on with it.
    pub(super) fn leave(&self) {
        let Some(after) = lock(&self.packets.after).take() else { return };
        let Ok(after) = way(after) else { return };
        let mut state = lock(&self.state);
        state.after = Some(after);
        if state.stage == Stage::Reading {
            state.leave();
        }
        state.wake();
    }

    /// Ready once the process before has ended: until then its packets come through here.
    pub(super) async fn before_ended(&self) {
        let Some(before) = lock(&self.state).before.clone() else { return };
        while before.readable().await.is_ok() {
            match before.try_recv(&mut [0]) {
                Ok(count) if count > 0 => {
                    let mut state = lock(&self.state);
                    state.take();
                    state.wake();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("address", &self.packets.address).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Reader {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    /// What the system does not send (no buffers, no route, a firewall, a packet too large for the path) is lost, as any packet may be.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.socket.try_send(transmit) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::debug!(%error, address = %self.packets.address, to = %transmit.destination, "a packet is not sent");
                Ok(())
            }
            sent => sent,
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let state = &mut *lock(&self.state);
        state.waits(cx.waker());
        let mut failures = 0;
        loop {
            let count = match (state.stage, &state.before, &state.after) {
                (Stage::Waiting, Some(before), _) => {
                    if ready!(poll_receive(cx, before, &mut [0])).is_none() {
                        state.before = None;
                    }
                    state.take();
                    continue;
                }
                (Stage::Left, _, Some(_)) => match ready!(state.poll_passed(cx, buffers, meta)) {
                    Some(count) => count,
                    None => {
                        state.after = None;
                        continue;
                    }
                },
                (Stage::Reading, ..) => match ready!(self.socket.poll_recv(cx, buffers, meta)) {
                    Ok(count) => count,
                    // It is that of one packet, or of the moment: an error here would end the endpoint and all of its connections.
                    Err(error) => {
                        failures += 1;
                        if failures < MOST_FAILURES {
                            continue;
                        }
                        tracing::warn!(%error, address = %self.packets.address, "packets of HTTP/3 cannot be read");
                        // Others have their turn.
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                },
                // Where nobody is there to wait for, it is this process that reads.
                (Stage::Waiting, ..) => {
                    state.take();
                    continue;
                }
                (Stage::Left, ..) => {
                    state.stage = Stage::Reading;
                    continue;
                }
            };
            let kept = match state.before {
                None => count,
                Some(_) => state.pass_on(self.packets.generation, buffers, meta, count),
            };
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

impl State {
    /// Takes the socket, which the process before has left, or leaves it in turn where the next one waits for it already.
    fn take(&mut self) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Reading;
            self.leave();
        }
    }

    /// Leaves the socket to the next process, where there is one.
    fn leave(&mut self) {
        let Some(after) = &self.after else { return };
        // Not by the runtime, which takes a socket that it has not looked at yet for one without room.
        match send(after, YOURS, SendFlags::NOSIGNAL) {
            Ok(_) => self.stage = Stage::Left,
            Err(_) => self.after = None,
        }
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn waits(&mut self, waker: &Waker) {
        match &mut self.reader {
            Some(reader) => reader.clone_from(waker),
            None => self.reader = Some(waker.clone()),
        }
    }

    /// Passes on what belongs to processes before this one; how many of the buffers are left, ahead of the others.
    fn pass_on(
        &mut self,
        generation: u8,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        count: usize,
    ) -> usize {
        let mut kept = 0;
        for index in 0..count {
            let (Some(buffer), Some(of)) = (buffers.get_mut(index), meta.get_mut(index)) else { break };
            let (mut at, mut stays) = (0, 0);
            // One buffer may hold several packets, all of one length but the last.
            while at < of.len {
                let end = at.saturating_add(of.stride.max(1)).min(of.len);
                let Some(packet) = buffer.get(at..end) else { break };
                if !(is_earlier(packet, generation) && self.send_back(of, packet)) {
                    buffer.copy_within(at..end, stays);
                    stays += end - at;
                }
                at = end;
            }
            of.len = stays;
            if stays > 0 {
                buffers.swap(index, kept);
                meta.swap(index, kept);
                kept += 1;
            }
        }
        kept
    }

    /// Passes a packet on to the process before; whether there is one. What it does not take at once is lost.
    fn send_back(&mut self, meta: &RecvMeta, packet: &[u8]) -> bool {
        let Some(before) = &self.before else { return false };
        self.room.clear();
        write_lead(&mut self.room, meta);
        self.room.extend_from_slice(packet);
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        if before.try_send(&self.room).is_err_and(|error| gone.contains(&error.kind())) {
            self.before = None;
        }
        self.before.is_some()
    }

    /// What the next process passes on; nothing where that has ended.
    fn poll_passed(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<Option<usize>> {
        let Some(after) = &self.after else { return Poll::Ready(None) };
        self.room.resize(LEAD + MAX_DATAGRAM, 0);
        let mut count = 0;
        while let (Some(buffer), Some(meta)) = (buffers.get_mut(count), meta.get_mut(count)) {
            let received = match poll_receive(cx, after, &mut self.room) {
                Poll::Ready(Some(received)) => received,
                Poll::Ready(None) if count == 0 => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => break,
            };
            let Some((lead, packet)) = self.room.get(..received).and_then(|it| it.split_at_checked(LEAD))
            else {
                continue;
            };
            if let (Some(read), Some(room)) = (read_lead(lead), buffer.get_mut(..packet.len())) {
                room.copy_from_slice(packet);
                (*meta, meta.len, meta.stride) = (read, packet.len(), packet.len());
                count += 1;
            }
        }
        if count > 0 { Poll::Ready(Some(count)) } else { Poll::Pending }
    }
}

/// One message from another process; nothing at the end.
fn poll_receive(cx: &mut Context<'_>, from: &UnixDatagram, room: &mut [u8]) -> Poll<Option<usize>> {
    loop {
        if ready!(from.poll_recv_ready(cx)).is_err() {
            return Poll::Ready(None);
        }
        match from.try_recv(room) {
            Ok(count) if count > 0 => return Poll::Ready(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return Poll::Ready(None),
        }
    }
}

/// An end of a pair of sockets as this runtime reads and writes it. They keep messages apart as datagrams are, and unlike those tell the
/// end of the other side.
fn way(end: OwnedFd) -> io::Result<UnixDatagram> {
    UnixDatagram::from_std(end.into())
}

/// Writes what is known of a packet.
fn write_lead(out: &mut Vec<u8>, meta: &RecvMeta) {
    let (ip, port, scope) = match meta.addr {
        SocketAddr::V4(addr) => (addr.ip().to_ipv6_mapped(), addr.port(), 0),
        SocketAddr::V6(addr) => (*addr.ip(), addr.port(), addr.scope_id()),
    };
    let to = match meta.dst_ip {
        Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
        Some(IpAddr::V6(ip)) => ip,
        None => Ipv6Addr::UNSPECIFIED,
    };
    let kinds = u8::from(meta.addr.is_ipv4())
        | u8::from(meta.dst_ip.is_some()) << 1
        | u8::from(meta.dst_ip.is_some_and(|ip| ip.is_ipv4())) << 2;
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&port.to_be_bytes());
    out.extend_from_slice(&scope.to_be_bytes());
    out.extend_from_slice(&to.octets());
    out.extend_from_slice(&[kinds, meta.ecn.map_or(0, |ecn| ecn as u8)]);
}

/// The same back.
fn read_lead(lead: &[u8]) -> Option<RecvMeta> {
    let (ip, rest) = lead.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let (scope, rest) = rest.split_first_chunk::<4>()?;
    let (to, rest) = rest.split_first_chunk::<16>()?;
    let &[kinds, ecn] = rest else { return None };
    let ip_of = |octets: [u8; 16], is_v4: bool| match Ipv6Addr::from(octets) {
        ip if is_v4 => ip.to_ipv4_mapped().map(IpAddr::V4),
        ip => Some(IpAddr::V6(ip)),
    };
    let addr = match ip_of(*ip, kinds & 1 != 0)? {
        IpAddr::V4(ip) => SocketAddr::from((ip, u16::from_be_bytes(*port))),
        IpAddr::V6(ip) => {
            SocketAddrV6::new(ip, u16::from_be_bytes(*port), 0, u32::from_be_bytes(*scope)).into()
        }
    };
    let dst_ip = if kinds & 2 != 0 { ip_of(*to, kinds & 4 != 0) } else { None };
    Some(RecvMeta { addr, dst_ip, ecn: EcnCodepoint::from_bits(ecn), ..RecvMeta::default() })
}

#[cfg(test)]
mod tests;
