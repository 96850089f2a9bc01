//! How connections of HTTP/3 come to a worker: from the listener's endpoint, which one of them reads, to whichever has the fewest.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use quinn::Incoming;
use tokio::task::JoinSet;

use super::{Admit, Carrier, Handover};
use crate::admission::Seat;
use crate::client::Client;
use crate::http3::endpoint::{Open, Retiring};
use crate::http3::packets::Packets;
use crate::http3::{self, Arrival, identifiers};
use crate::listeners::{Gate, ListenerId};
use crate::proxy_protocol::Ends;

/// The endpoints that this worker reads. Each is kept until the last of its connections is over, whichever worker has it.
#[derive(Default)]
pub(super) struct Endpoints {
    open: RefCell<Vec<(ListenerId, Retiring)>>,
    /// What takes connections in, and what waits for the last of them.
    tasks: RefCell<JoinSet<()>>,
}

impl Endpoints {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
    }

    fn open(&self, listener: ListenerId, endpoint: Retiring) {
        self.open.borrow_mut().push((listener, endpoint));
    }

    /// Takes no more connections on a listener's endpoint.
    fn retire(&self, listener: ListenerId) {
        self.retire_where(|id| id == listener);
    }

    /// Takes no more connections on any.
    pub(super) fn retire_all(&self) {
        self.retire_where(|_| true);
    }

    fn retire_where(&self, is_meant: impl Fn(ListenerId) -> bool) {
        for (_, endpoint) in self.open.borrow_mut().extract_if(.., |(id, _)| is_meant(*id)) {
            endpoint.begin();
            self.spawn(endpoint.ended());
        }
    }

    /// Waits for the last connection on any.
    pub(super) async fn ended(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            if tasks.is_empty() {
                return;
            }
            // One may begin another.
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl Admit {
    /// Takes connections in until the listener is closed or left.
    pub(super) fn open_quic(&self, listener: ListenerId, gate: Rc<Gate>, packets: Arc<Packets>) {
        self.endpoints.spawn(self.clone().accept_quic(listener, gate, packets));
    }

    async fn accept_quic(self, listener: ListenerId, gate: Rc<Gate>, packets: Arc<Packets>) {
        let Some(now) = self.listeners.get(listener) else { return };
        let Some(tls) = now.tls.clone() else { return };
        let opened = tokio::select! {
            opened = Open::open(packets, &tls, &now.config.limits) => opened,
            () = gate.leaving() => return,
        };
        let mut open = match opened {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, listener = %now.config.name, "HTTP/3 cannot be spoken");
                return;
            }
        };
        drop(now);
        self.endpoints.open(listener, open.retiring());
        loop {
            let incoming = tokio::select! {
                biased;
                incoming = open.endpoint.accept() => incoming,
                // Who had come before is served: nobody else knows of them.
                () = gate.leaving() => break,
            };
            let Some(incoming) = incoming else { break };
            self.admit_quic(incoming, listener, &mut open);
        }
        self.endpoints.retire(listener);
    }

    fn admit_quic(&self, incoming: Incoming, id: ListenerId, open: &mut Open) {
        let Some(listener) = self.listeners.get(id) else { return incoming.refuse() };
        let (peer, limits) = (incoming.remote_address(), &listener.config.limits);
        if !incoming.remote_address_validated() && open.is_pressed() && incoming.may_retry() {
            // Whoever does not come again has cost one packet.
            let _ = identifiers::nobodys(|| incoming.retry());
            return;
        }
        let config = match (&listener.tls, limits.http3) {
            (Some(tls), Some(_)) => open.config(tls, limits),
            _ => None,
        };
        let (Some(config), false) = (config, self.worker.shared.is_full()) else { return incoming.refuse() };
        let Ok(seat) = self.worker.seat(peer.ip(), &listener) else { return incoming.refuse() };
        let destination = open.destination(incoming.local_ip()).unwrap_or(listener.config.address);
        let arrival = Arrival { incoming, config, destination, handshake: open.handshake() };
        self.place_quic(arrival, peer, id, seat);
    }

    /// Keeps a connection, or hands it to a worker that has clearly fewer.
    fn place_quic(&self, arrival: Arrival, peer: SocketAddr, listener: ListenerId, seat: Option<Seat>) {
        let idlest = self.worker.idlest();
        if idlest != self.worker.index
            && let Some(sender) = self.peers.get(idlest)
            && let Ok(permit) = sender.try_reserve()
        {
            self.count(idlest);
            let carrier = Carrier::Quic(Box::new(arrival));
            return permit.send(Handover { carrier, peer, listener, seat });
        }
        self.count(self.worker.index);
        self.serve_quic(arrival, peer, listener, seat);
    }

    pub(super) fn serve_quic(
        &self,
        arrival: Arrival,
        peer: SocketAddr,
        listener: ListenerId,
        seat: Option<Seat>,
    ) {
        let Some(listener) = self.listeners.get(listener) else { return self.worker.closed() };
        let destination = arrival.destination;
        let mut client = Client::new(Rc::clone(&self.worker), listener, peer.ip(), seat);
        if self.worker.pinned.borrow().names_clients
            && let Some(client) = Rc::get_mut(&mut client)
        {
            client.joins(Ends { source: peer, destination });
        }
        drop(tokio::task::spawn_local(http3::serve(arrival, client)));
    }
}
