//! The listeners of one worker: opened, changed and closed while it runs, none at the cost of another.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use lb_observe::ListenerStats;
use lb_tls::ServerTls;
use tokio::sync::{Notify, mpsc};

use crate::client::Listener;
use crate::config::ListenerConfig;
use crate::http3::packets::Packets;

/// A listening address from its opening to its end, by whatever settings.
pub(crate) type ListenerId = u64;

/// A worker's part of one listener.
pub(crate) struct Opening {
    pub(crate) id: ListenerId,
    pub(crate) config: ListenerConfig,
    pub(crate) stats: Arc<ListenerStats>,
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// Where the address is new to the worker.
    pub(crate) sockets: Vec<std::net::TcpListener>,
    /// Where the packets of HTTP/3 come in, for the worker that reads them, where that is new.
    pub(crate) quic: Option<Arc<Packets>>,
    /// The port, also where it stands for port 0.
    pub(crate) port: u16,
}

/// What is to be accepted from, and what is not any more.
#[derive(Default)]
pub(crate) struct New {
    pub(crate) sockets: Vec<(ListenerId, Rc<Gate>, std::net::TcpListener)>,
    pub(crate) quic: Vec<(ListenerId, Rc<Gate>, Arc<Packets>)>,
    /// Of listeners that are none any more, to be closed after a while.
    pub(crate) retired: Vec<Rc<Gate>>,
}

/// What a worker is told when a configuration has been put in force.
pub(crate) struct Order {
    /// All listeners that there are from now on.
    pub(crate) listeners: Vec<Opening>,
    /// Dropped when it has been done.
    pub(crate) _done: mpsc::Sender<()>,
}

/// Whether connections may stay: shared by a listener's connections, whatever settings each began with.
#[derive(Default)]
pub(crate) struct Gate {
    /// Another process accepts in place of this one.
    left: Cell<bool>,
    /// The configuration has the listener no more: who is connected may ask once more, for a while.
    retired: Cell<bool>,
    closing: Cell<bool>,
    closed: Notify,
    /// Told of all of them.
    leaving: Notify,
}

impl Gate {
    /// Whether no more requests are taken.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether clients are to go with the answer to their next request.
    pub(crate) fn is_leaving(&self) -> bool {
        self.left.get() || self.retired.get() || self.closing.get()
    }

    /// Ready once nobody is to be accepted any more who is not waiting yet.
    pub(crate) async fn retiring(&self) {
        loop {
            let notified = self.leaving.notified();
            if self.retired.get() || self.closing.get() {
                return;
            }
            notified.await;
        }
    }

    /// Ready once it closes.
    pub(crate) async fn closing(&self) {
        let notified = self.closed.notified();
        if !self.closing.get() {
            notified.await;
        }
    }

    /// Ready once clients are to go.
    pub(crate) async fn leaving(&self) {
        let notified = self.leaving.notified();
        if !self.is_leaving() {
            notified.await;
        }
    }

    fn retire(&self) {
        self.retired.set(true);
        self.leaving.notify_waiters();
    }

    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.closed.notify_waiters();
        self.leaving.notify_waiters();
    }

    fn leave(&self) {
        self.left.set(true);
        self.leaving.notify_waiters();
    }
}

/// One worker's listeners.
#[derive(Default)]
pub(crate) struct Listeners {
    current: RefCell<BTreeMap<ListenerId, Rc<Listener>>>,
    /// Those the last order closed: another worker may still hand over what it accepted.
    gone: RefCell<BTreeMap<ListenerId, Rc<Listener>>>,
}

impl Listeners {
    pub(crate) fn get(&self, id: ListenerId) -> Option<Rc<Listener>> {
        let current = self.current.borrow().get(&id).cloned();
        current.or_else(|| self.gone.borrow().get(&id).cloned())
    }

    /// Takes up all listeners that there are from now on; gives the sockets that are to be accepted from. What is none any more
    /// retires, and is to be closed.
    pub(crate) fn replace(&self, openings: Vec<Opening>) -> New {
        let mut current = self.current.borrow_mut();
        let mut gone = std::mem::take(&mut *current);
        let mut opened = New::default();
        for Opening { id, config, stats, tls, sockets, quic, port } in openings {
            let gate = gone.remove(&id).map(|listener| Rc::clone(&listener.gate)).unwrap_or_default();
            opened.sockets.extend(sockets.into_iter().map(|socket| (id, Rc::clone(&gate), socket)));
            opened.quic.extend(quic.map(|packets| (id, Rc::clone(&gate), packets)));
            current.insert(id, Rc::new(Listener::new(config, stats, gate, tls, port)));
        }
        opened.retired = gone.values().map(|listener| Rc::clone(&listener.gate)).collect();
        opened.retired.iter().for_each(|gate| gate.retire());
        *self.gone.borrow_mut() = gone;
        opened
    }

    /// Another process accepts in place of this one from now on.
    pub(crate) fn leave(&self) {
        self.current.borrow().values().for_each(|listener| listener.gate.leave());
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        self.gone.borrow().values().for_each(|listener| listener.gate.close());
        self.replace(Vec::new()).retired.iter().for_each(|gate| gate.close());
    }
}
