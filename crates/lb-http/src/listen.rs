//! Opening listeners: one socket a worker on each address, so that the kernel spreads connections and no worker
//! waits for another. Sockets that someone else has opened are shared out as they are.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that may wait to be accepted, on each socket.
const BACKLOG: i32 = 4096;

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken.
    #[error(
        "listener {name}: {address} is in use by another process; stop that one or give this listener another address"
    )]
    InUse {
        /// The listener's name.
        name: String,
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses it.
    #[error("listener {name}: cannot listen on {address}: {source}{}", hint(.source))]
    Io {
        /// The listener's name.
        name: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl ListenError {
    pub(crate) fn new(name: &str, address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { name: name.to_owned(), address },
            _ => Self::Io { name: name.to_owned(), address, source },
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// The sockets of a listener, each once. The control side keeps them, to hand them on in an upgrade; workers have
/// duplicates.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Opens one socket for each worker, all on one address. Port 0 is chosen once, for all of them.
    ///
    /// With `SO_REUSEPORT` a second process could share the port unnoticed, so a socket without it is bound first:
    /// that fails where anyone else listens on the port. It does not listen itself: a client that connected to it would
    /// be reset. Where `shares_port` says that a listener of our own has the port (at another address), anyone else would have
    /// been noticed then.
    pub(crate) fn open(
        name: &str,
        address: SocketAddr,
        workers: usize,
        shares_port: bool,
    ) -> Result<Self, ListenError> {
        let failed = |source: io::Error| ListenError::new(name, address, source);
        let probe = bind(address, shares_port).map_err(failed)?;
        let local = probe.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
        drop(probe);
        (0..workers)
            .map(|_| {
                let socket = bind(local, true)?;
                // Accepted sockets inherit it, and so need no call of their own.
                socket.set_tcp_nodelay(true)?;
                socket.listen(BACKLOG)?;
                socket.set_nonblocking(true)?;
                Ok(socket.into())
            })
            .collect::<io::Result<_>>()
            .map(Self)
            .map_err(failed)
    }

    /// Takes sockets up that someone else has opened.
    pub(crate) fn inherit(
        name: &str,
        address: SocketAddr,
        sockets: Vec<TcpListener>,
    ) -> Result<Self, ListenError> {
        let take_up = |socket: &TcpListener| {
            let socket = SockRef::from(socket);
            if !socket.is_listener()? {
                socket.listen(BACKLOG)?;
            }
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)
        };
        let taken_up = sockets.iter().try_for_each(take_up);
        taken_up.map(|()| Self(sockets)).map_err(|source| ListenError::new(name, address, source))
    }

    /// Where they listen.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.0.first()?.local_addr().ok()
    }

    /// A duplicate of each.
    pub(crate) fn duplicates(&self) -> io::Result<Vec<TcpListener>> {
        self.0.iter().map(TcpListener::try_clone).collect()
    }

    /// What each worker accepts from. Where there are more sockets than workers, some have several: no queue is left alone.
    /// Where there are fewer, several workers accept from one.
    pub(crate) fn deal(
        &self,
        name: &str,
        address: SocketAddr,
        workers: usize,
    ) -> Result<Vec<Vec<TcpListener>>, ListenError> {
        let count = self.0.len().max(1);
        let of_worker = |worker: usize| {
            let own = self.0.iter().enumerate().filter(move |(place, _)| match count >= workers {
                true => place % workers == worker,
                false => worker % count == *place,
            });
            own.map(|(_, socket)| socket.try_clone()).collect()
        };
        let dealt: io::Result<_> = (0..workers).map(of_worker).collect();
        dealt.map_err(|source| ListenError::new(name, address, source))
    }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_in_use_is_noticed_even_when_its_owner_shares_it() {
        let any = "127.0.0.1:0".parse().unwrap();
        let first = Sockets::open("web", any, 2, false).unwrap();
        let address = first.0[0].local_addr().unwrap();
        assert_eq!(first.0[1].local_addr().unwrap(), address);
        let error = Sockets::open("web", address, 1, false).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        let any = "127.0.0.1:0".parse().unwrap();
        for (sockets, workers, expect) in
            [(2, 2, vec![1, 1]), (3, 2, vec![2, 1]), (1, 3, vec![1, 1, 1]), (2, 3, vec![1, 1, 1])]
        {
            let opened = Sockets::open("web", any, sockets, false).unwrap();
            let dealt = opened.deal("web", any, workers).unwrap();
            assert_eq!(dealt.iter().map(Vec::len).collect::<Vec<_>>(), expect, "{sockets} for {workers}");
        }
    }
}
