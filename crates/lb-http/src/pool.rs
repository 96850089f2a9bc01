//! One worker's idle upstream connections: a stack for each backend, so that the warmest is taken first.
//!
//! No lock and no key to hash: a backend's connections stand at its [`Slot`]. Bounds hold for the process: each
//! worker keeps its share of them. Backends that are configured no more have no slot here, so that what comes back from
//! them is closed.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Instant;

use crate::config::PoolConfig;
use crate::forward_proxy::Kept;
use crate::multiplex::Multiplex;
use crate::slots::Slot;
use crate::upstream::{Connection, Purpose};

/// The idle connections of one worker.
pub(crate) struct Pool {
    config: Cell<PoolConfig>,
    /// By the slots' places.
    idle: RefCell<Vec<Stack>>,
    count: Cell<usize>,
    /// Of backends that are configured no more: closed a few at a time.
    parting: RefCell<Vec<Stack>>,
    /// Connections to servers that are nobody's backends.
    pub(crate) foreign: Kept,
}

/// Where a connection is kept between requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Home {
    /// At a backend's place.
    Backend(Slot),
    /// By the address of a server that a client has asked for.
    Foreign(SocketAddr),
}

/// One backend's connections.
#[derive(Default)]
struct Stack {
    /// Whose turn it is at this place; 0 is nobody's.
    turn: u32,
    idle: Vec<Idle>,
    /// Connections of HTTP/2, in the use of any number of exchanges.
    shared: Vec<Multiplex>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// A pool with this worker's share of the bounds.
    pub(crate) fn new(config: PoolConfig, workers: usize) -> Self {
        Self {
            config: Cell::new(share(config, workers)),
            idle: RefCell::default(),
            count: Cell::new(0),
            parting: RefCell::default(),
            foreign: Kept::default(),
        }
    }

    /// Takes up a configuration: its bounds, and whose turn it is at each place. The connections of all others are to be closed
    /// ([`part`](Self::part)).
    pub(crate) fn reconfigure(&self, config: PoolConfig, workers: usize, turns: &[u32]) {
        self.config.set(share(config, workers));
        let mut idle = self.idle.borrow_mut();
        let mut parting = self.parting.borrow_mut();
        let kept = turns.len().min(idle.len());
        parting.extend(idle.drain(kept..).filter(Stack::has_connections));
        idle.resize_with(turns.len(), Stack::default);
        for (stack, &turn) in idle.iter_mut().zip(turns) {
            if stack.turn != turn {
                let gone = std::mem::replace(stack, Stack { turn, ..Stack::default() });
                parting.extend(Some(gone).filter(Stack::has_connections));
            }
        }
        self.count.set(idle.iter().map(|stack| stack.idle.len()).sum());
    }

    /// The most recently used connection that is still alive; dead ones found on the way are dropped. A backend that leaves the choice
    /// may have connections of both kinds: while there is one of HTTP/2, it is taken, unless the exchange is to become another protocol
    /// and the backend does not take that there.
    pub(crate) fn take(&self, slot: Slot, purpose: Purpose) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(slot.place).filter(|stack| stack.turn == slot.turn)?;
        if !stack.shared.is_empty()
            && let Some(stream) = stack.stream(&self.config.get(), purpose, Instant::now())
        {
            return Some(stream);
        }
        while let Some(mut entry) = stack.idle.pop() {
            self.count.set(self.count.get().saturating_sub(1));
            if entry.connection.is_alive() {
                return Some(entry.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request where it belongs.
    pub(crate) fn keep(&self, home: Home, connection: Connection, now: Instant) {
        match home {
            Home::Backend(slot) => self.put(slot, connection, now),
            Home::Foreign(address) if self.config.get().max_idle_per_backend > 0 => {
                self.foreign.put(address, connection, now);
            }
            Home::Foreign(_) => {}
        }
    }

    /// Whether a backend's connections of HTTP/2 may become another protocol, as far as one is here and it has said so.
    pub(crate) fn takes_connect(&self, slot: Slot) -> Option<bool> {
        let idle = self.idle.borrow();
        idle.get(slot.place).filter(|stack| stack.turn == slot.turn)?.takes_connect()
    }

    /// Keeps a connection for the next request, or closes it where a bound says so or the backend has gone. Where the backend's share is
    /// full, the connection that has been idle longest makes room.
    fn put(&self, slot: Slot, mut connection: Connection, now: Instant) {
        if connection.transport.is_multiplexed() {
            // Its stream is over; the connection itself is here.
            return;
        }
        let config = self.config.get();
        let worn = config.max_requests_per_connection.is_some_and(|max| connection.requests() >= max.get())
            || config.max_connection_age.is_some_and(|max| now.duration_since(connection.created()) >= max);
        if worn
            || connection.is_personal()
            || !connection.transport.inbox.is_empty()
            || config.max_idle_per_backend == 0
        {
            return;
        }
        connection.mark_reused();
        let mut idle = self.idle.borrow_mut();
        let Some(stack) = idle.get_mut(slot.place).filter(|stack| stack.turn == slot.turn) else { return };
        let stack = &mut stack.idle;
        if stack.len() >= config.max_idle_per_backend {
            stack.remove(0);
        } else if self.count.get() >= config.max_idle {
            return;
        } else {
            self.count.set(self.count.get() + 1);
        }
        stack.push(Idle { connection, since: now });
    }

    /// Keeps a connection of HTTP/2 that is in use already, for other exchanges; not more of them than of any other.
    pub(crate) fn share(&self, slot: Slot, multiplex: Multiplex) {
        let mut idle = self.idle.borrow_mut();
        let Some(stack) = idle.get_mut(slot.place).filter(|stack| stack.turn == slot.turn) else { return };
        if stack.shared.len() < self.config.get().max_idle_per_backend {
            stack.shared.push(multiplex);
        }
    }

    /// Closes connections that have been idle too long or that their backend has closed. Called once a second.
    pub(crate) fn sweep(&self, now: Instant) {
        let config = self.config.get();
        let mut kept = 0;
        for Stack { idle, shared, .. } in self.idle.borrow_mut().iter_mut() {
            shared.retain(|shared| {
                let is_idle = shared.streams() == 0;
                shared.has_room().is_some()
                    && !(is_idle && now.duration_since(shared.used()) >= config.idle_timeout)
            });
            idle.retain_mut(|entry| {
                now.duration_since(entry.since) < config.idle_timeout && entry.connection.is_alive()
            });
            kept += idle.len();
        }
        self.count.set(kept);
        self.foreign.sweep(now, config.idle_timeout);
    }

    /// Closes connections of a few backends that are configured no more; whether there are others. All at once, that would be
    /// milliseconds in which nobody is served.
    pub(crate) fn part(&self) -> bool {
        const BACKENDS: usize = 8;
        let mut parting = self.parting.borrow_mut();
        let left = parting.len().saturating_sub(BACKENDS);
        let gone = parting.split_off(left);
        drop(parting);
        drop(gone);
        left > 0
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        self.parting.borrow_mut().clear();
        self.idle.borrow_mut().clear();
        self.count.set(0);
        self.foreign.clear();
    }
}

impl Stack {
    fn has_connections(&self) -> bool {
        !self.idle.is_empty() || !self.shared.is_empty()
    }

    /// What the latest says that has said anything.
    fn takes_connect(&self) -> Option<bool> {
        self.shared.iter().rev().find_map(Multiplex::takes_connect)
    }

    /// A stream on the first connection with room that does; those ahead of it that are over or worn are let go.
    fn stream(&mut self, config: &PoolConfig, purpose: Purpose, now: Instant) -> Option<Connection> {
        let mut place = 0;
        loop {
            let shared = self.shared.get_mut(place)?;
            let worn = config.max_requests_per_connection.is_some_and(|max| shared.requests() >= max.get())
                || config.max_connection_age.is_some_and(|max| now.duration_since(shared.created()) >= max);
            let does = purpose == Purpose::Exchange || shared.takes_connect() == Some(true);
            match shared.has_room().filter(|_| !worn) {
                Some(true) if does => return Some(Connection::stream(shared, now)),
                Some(_) => place += 1,
                None => drop(self.shared.remove(place)),
            }
        }
    }
}

/// A worker's part of bounds that hold for the whole process; at least one connection a backend.
fn share(config: PoolConfig, workers: usize) -> PoolConfig {
    let part = |bound: usize| if bound == 0 { 0 } else { (bound / workers.max(1)).max(1) };
    PoolConfig {
        max_idle: part(config.max_idle),
        max_idle_per_backend: part(config.max_idle_per_backend),
        ..config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_shared_out_and_zero_stays_zero() {
        let config = PoolConfig { max_idle: 10, max_idle_per_backend: 1, ..PoolConfig::default() };
        let part = share(config, 4);
        assert_eq!((part.max_idle, part.max_idle_per_backend), (2, 1));
        let none = share(PoolConfig { max_idle_per_backend: 0, ..config }, 4);
        assert_eq!(none.max_idle_per_backend, 0);
    }
}
