//! What a process begins with beside its configuration: listening sockets that someone else has opened, and what the process
//! before knew.
//!
//! A listening socket is taken over, never bound anew: the connections that wait in its queue go with it, where closing it would
//! reset them.

use std::net::{IpAddr, SocketAddr, TcpListener};

use lb_health::SavedState;
use lb_tls::ServerKeys;
use serde::{Deserialize, Serialize};

pub use crate::http3::packets::InheritedPackets;
use crate::rollback::Rollback;
use crate::split::Setting;

/// Sockets and state of the process before, or of whoever listens on behalf of this one.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The listening sockets.
    pub sockets: Vec<InheritedSocket>,
    /// The sockets of HTTP/3.
    pub packets: Vec<InheritedPackets>,
    /// What the process before knew of its backends' health.
    pub health: Option<SavedState>,
    /// What the TLS of its listeners leaves to those that go on.
    pub keys: Vec<InheritedKeys>,
    /// Parts of splits that it has taken back.
    pub rollbacks: Vec<InheritedRollback>,
}

/// A part that was taken back, and the split that it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InheritedRollback {
    pub(crate) rollback: Rollback,
    pub(crate) of: Setting,
}

/// What the TLS of a listener leaves to the one that goes on.
#[derive(Debug, Clone)]
pub struct InheritedKeys {
    /// The listener's name.
    pub listener: String,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// They.
    pub keys: ServerKeys,
}

impl InheritedKeys {
    /// Those of the listener that goes on as this one: of its name and address, or else of its address.
    pub(crate) fn of<'a>(all: &'a [Self], name: &str, address: SocketAddr) -> Option<&'a ServerKeys> {
        let mut alike = all.iter().filter(|it| it.address == address);
        let same = alike.clone().find(|it| it.listener == name);
        same.or_else(|| alike.next()).map(|it| &it.keys)
    }
}

/// A listening socket that someone else has opened.
#[derive(Debug)]
pub struct InheritedSocket {
    /// The listener's name where it was opened; empty where it had none.
    pub name: String,
    /// The address that was asked for; `None` where the socket is all that is known.
    pub address: Option<SocketAddr>,
    /// It.
    pub socket: TcpListener,
}

impl Inherited {
    /// Takes the sockets of a listener: those that were opened for it, or that have its address, or that bear its name where
    /// nothing else is known of them.
    pub fn take(&mut self, name: &str, address: SocketAddr) -> Vec<TcpListener> {
        let same = |it: &InheritedSocket| it.address == Some(address) && it.name == name;
        // Port 0 is as good as no address.
        let alike = |it: &InheritedSocket| {
            let local = || it.socket.local_addr().ok();
            address.port() != 0
                && (it.address == Some(address) || local().is_some_and(|local| is_at(local, address)))
        };
        let named = |it: &InheritedSocket| it.address.is_none() && it.name == name;
        let taken = self.take_if(same);
        let taken = if taken.is_empty() { self.take_if(alike) } else { taken };
        if taken.is_empty() { self.take_if(named) } else { taken }
    }

    /// Takes a listener's socket of HTTP/3: the one that was opened for it, or that has its address.
    pub(crate) fn take_packets(&mut self, name: &str, address: SocketAddr) -> Option<InheritedPackets> {
        let same = |it: &InheritedPackets| it.address == address && it.name == name;
        let alike = |it: &InheritedPackets| {
            let local = || it.socket.local_addr().ok();
            address.port() != 0
                && (it.address == address || local().is_some_and(|local| is_at(local, address)))
        };
        let mut packets = self.packets.iter();
        let place = packets.position(same).or_else(|| self.packets.iter().position(alike))?;
        Some(self.packets.swap_remove(place))
    }

    fn take_if(&mut self, mut is_meant: impl FnMut(&InheritedSocket) -> bool) -> Vec<TcpListener> {
        self.sockets.extract_if(.., |it| is_meant(it)).map(|it| it.socket).collect()
    }
}

/// Whether a socket of this address is what a listener asks for. A socket for every address of both families is one for every
/// address of the older one, too.
fn is_at(local: SocketAddr, wanted: SocketAddr) -> bool {
    let is_any = |ip: IpAddr| ip.is_unspecified();
    local == wanted || (local.port() == wanted.port() && is_any(local.ip()) && is_any(wanted.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(name: &str, address: Option<&str>) -> (SocketAddr, InheritedSocket) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let address = address.map(|address| address.parse().unwrap());
        (local, InheritedSocket { name: name.to_owned(), address, socket })
    }

    #[test]
    fn a_listener_finds_its_sockets_by_name_and_address_then_by_address_then_by_name() {
        let any = "127.0.0.1:0";
        let (a, one) = socket("a", Some(any));
        let (b, other) = socket("b", Some(any));
        let (c, bare) = socket("unknown", None);
        let (d, named) = socket("d", None);
        let mut inherited = Inherited { sockets: vec![one, other, bare, named], ..Inherited::default() };
        let mut take = |name: &str, address: SocketAddr| -> Vec<_> {
            inherited.take(name, address).iter().map(|it| it.local_addr().unwrap()).collect()
        };
        assert_eq!(take("b", any.parse().unwrap()), [b]);
        assert_eq!(take("x", any.parse().unwrap()), [], "port 0 is no address");
        assert_eq!(take("x", a), [a], "its real address");
        assert_eq!(take("x", c), [c]);
        assert_eq!(take("d", "0.0.0.0:1".parse().unwrap()), [d]);
    }

    #[test]
    fn every_address_of_both_families_is_every_address() {
        let at = |local: &str, wanted: &str| is_at(local.parse().unwrap(), wanted.parse().unwrap());
        assert!(at("[::]:80", "0.0.0.0:80") && at("[::]:80", "[::]:80"));
        assert!(!at("[::]:80", "127.0.0.1:80") && !at("[::]:80", "0.0.0.0:81"));
    }
}
