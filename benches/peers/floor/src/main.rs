//! The least that a relay of TCP does by epoll: `epoll-floor PORT ORIGIN_PORT…`. One thread, the origins in turn, bytes and ends both
//! ways. No deadlines, no figures, no options of sockets; what a system call does not take waits.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, shutdown, socket_with, sockopt,
};

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
/// What a socket is watched for, once and for all.
const BOTH_WAYS: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::OUT)
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ET);
const ENDED: epoll::EventFlags = epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP);
/// The listening socket's among events.
const LISTENER: u64 = u64::MAX;

/// A client and its origin; one way each.
struct Pair {
    sockets: [OwnedFd; 2],
    /// What the other one has not taken of each.
    pending: [Vec<u8>; 2],
    /// There may be more to read of each.
    readable: [bool; 2],
    /// The end of each has come, so that no event tells of what is left.
    ended: [bool; 2],
    /// Each has said all, and the other one has been told.
    over: [bool; 2],
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1).peekable();
    if words.peek().is_some_and(|word| word == "--version") {
        println!("epoll-floor {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let ports = words.map(|word| word.parse()).collect::<Result<Vec<u16>, _>>()?;
    let [port, origins @ ..] = &ports[..] else { return Err("ports are wanted".into()) };
    let listener = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, *port))?;
    listen(&listener, 4096)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free = Vec::new();
    let mut turn = origins.iter().cycle();
    let mut events = Vec::with_capacity(512);
    let mut buffer = vec![0; 64 << 10];
    loop {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None::<&Timespec>) {
            Err(Errno::INTR) => continue,
            waited => waited?,
        };
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                let Ok(client) = accept_with(&listener, FLAGS) else { continue };
                let Some(&origin) = turn.next() else { return Err("an origin is wanted".into()) };
                let Ok(pair) = join(client, origin) else { continue };
                let place = free.pop().unwrap_or_else(|| {
                    pairs.push(None);
                    pairs.len() - 1
                });
                for (side, socket) in (0..).zip(&pair.sockets) {
                    epoll::add(&poll, socket, epoll::EventData::new_u64(place as u64 * 2 + side), BOTH_WAYS)?;
                }
                pairs[place] = Some(pair);
                continue;
            }
            let (place, side) = (token as usize / 2, token as usize % 2);
            let Some(pair) = &mut pairs[place] else { continue };
            let flags = event.flags;
            pair.ended[side] |= flags.intersects(ENDED);
            pair.readable[side] |= flags.intersects(ENDED.union(epoll::EventFlags::IN));
            let moved =
                pair.pass(side, &mut buffer).and_then(|()| match flags.contains(epoll::EventFlags::OUT) {
                    true => pair.pass(1 - side, &mut buffer),
                    false => Ok(()),
                });
            if moved.is_err() || pair.over == [true; 2] {
                pairs[place] = None;
                free.push(place);
            }
        }
    }
}

fn join(client: OwnedFd, origin: u16) -> Result<Pair, Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
    match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, origin)) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(Pair {
        sockets: [client, socket],
        pending: Default::default(),
        readable: [false; 2],
        ended: [false; 2],
        over: [false; 2],
    })
}

impl Pair {
    /// Passes on what this side has sent, as far as the other one takes it.
    fn pass(&mut self, side: usize, buffer: &mut [u8]) -> Result<(), Errno> {
        let [from, to] = [&self.sockets[side], &self.sockets[1 - side]];
        loop {
            let pending = &mut self.pending[side];
            if !pending.is_empty() {
                match send(to, pending, SendFlags::NOSIGNAL) {
                    Ok(count) => drop(pending.drain(..count)),
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(error) => return Err(error),
                }
                continue;
            }
            if !self.readable[side] || self.over[side] {
                return Ok(());
            }
            let count = match recv(from, &mut *buffer, RecvFlags::empty()) {
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => {
                    self.readable[side] = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if count == 0 {
                self.over[side] = true;
                if !self.over[1 - side] {
                    shutdown(to, Shutdown::Write)?;
                }
                return Ok(());
            }
            self.readable[side] = count == buffer.len() || self.ended[side];
            match send(to, &buffer[..count], SendFlags::NOSIGNAL) {
                Ok(sent) => pending.extend_from_slice(&buffer[sent..count]),
                Err(Errno::AGAIN | Errno::NOTCONN) => pending.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(error),
            }
        }
    }
}
