//! Opening listeners: one socket a worker on each address, so that the kernel spreads connections and no worker
//! waits for another.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

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

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

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
) -> Result<Vec<TcpListener>, ListenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { name: name.to_owned(), address },
        _ => ListenError::Io { name: name.to_owned(), address, source },
    };
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
        .map_err(failed)
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
        let first = open("web", any, 2, false).unwrap();
        let address = first[0].local_addr().unwrap();
        assert_eq!(first[1].local_addr().unwrap(), address);
        let error = open("web", address, 1, false).unwrap_err();
        assert!(error.to_string().contains("in use by another process"), "{error}");
    }
}
