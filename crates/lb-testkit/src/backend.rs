//! Backends that follow a script and record what they saw.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::message::{Framing, Head, Request};
use crate::wire::Wire;

type Script = Arc<dyn Fn(&mut Conn) + Send + Sync>;

/// A TCP server on 127.0.0.1 that runs a script for each connection, on a thread of its own.
///
/// Dropping it closes its port and its connections. A request that is not well-formed HTTP/1.1 fails the test then.
pub struct Backend {
    address: SocketAddr,
    seen: Arc<Seen>,
    script: Script,
    accepting: Option<JoinHandle<()>>,
}

/// What a backend has seen, shared with its connections.
#[derive(Debug, Default)]
struct Seen {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    bytes: Arc<AtomicUsize>,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    violations: Mutex<Vec<String>>,
    open: Mutex<BTreeMap<usize, TcpStream>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Backend {
    /// A backend that runs `script` for each connection and closes it afterwards.
    pub fn scripted(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::scripted_at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// The same, on a given address.
    ///
    /// # Panics
    /// Where the address is taken.
    pub fn scripted_at(address: SocketAddr, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let mut backend = Self { address, seen: Arc::default(), script: Arc::new(script), accepting: None };
        backend.start();
        backend
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Listen (again), on the same port as before.
    ///
    /// # Panics
    /// Where the port is taken.
    pub fn start(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let listener = TcpListener::bind(self.address).expect("a backend's port is free");
        self.address = listener.local_addr().unwrap();
        self.seen.stopped.store(false, SeqCst);
        let (seen, script) = (Arc::clone(&self.seen), Arc::clone(&self.script));
        self.accepting = Some(std::thread::spawn(move || accept(&listener, &seen, &script)));
    }

    /// Close the port and every connection.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.seen.stopped.store(true, SeqCst);
        TcpStream::connect(self.address).ok();
        accepting.join().ok();
        self.close_connections();
    }

    /// Close every connection and go on listening.
    pub fn close_connections(&self) {
        for stream in self.seen.open.lock().unwrap().values() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(SeqCst)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.seen.open.lock().unwrap().len()
    }

    /// How many of the open connections the peer has closed, whether or not their scripts look.
    pub fn connections_closed_by_peer(&self) -> usize {
        self.seen.open.lock().unwrap().values().filter(|stream| closed_by_peer(stream)).count()
    }

    /// How many bytes it has received on all connections.
    pub fn bytes_received(&self) -> usize {
        self.seen.bytes.load(SeqCst)
    }

    /// The most requests it has had in hand at one time.
    pub fn peak(&self) -> usize {
        self.seen.peak.load(SeqCst)
    }

    /// How many requests it has in hand now.
    pub fn in_flight(&self) -> usize {
        self.seen.in_flight.load(SeqCst)
    }

    /// The requests it has received so far, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// How many requests it has received so far.
    pub fn hits(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
        let violations = std::mem::take(&mut *self.seen.violations.lock().unwrap());
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "a backend was sent what is not HTTP: {violations:?}");
        }
    }
}

fn accept(listener: &TcpListener, seen: &Arc<Seen>, script: &Script) {
    for stream in listener.incoming() {
        if seen.stopped.load(SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = seen.accepted.fetch_add(1, SeqCst);
        if let Ok(copy) = stream.try_clone() {
            seen.open.lock().unwrap().insert(connection, copy);
        }
        let (seen, script) = (Arc::clone(seen), Arc::clone(script));
        std::thread::spawn(move || {
            let mut wire = Wire::new(stream);
            wire.count_into(Arc::clone(&seen.bytes));
            let mut conn = Conn { wire: Some(wire), connection, in_hand: false, seen };
            script(&mut conn);
        });
    }
}

/// Whether nothing is left to read and nothing will come, or the connection was reset.
fn closed_by_peer(stream: &TcpStream) -> bool {
    /// Linux: look at what is there, without taking it and without waiting.
    const MSG_PEEK_DONTWAIT: i32 = 0x02 | 0x40;
    let mut byte = [std::mem::MaybeUninit::uninit()];
    match socket2::SockRef::from(stream).recv_with_flags(&mut byte, MSG_PEEK_DONTWAIT) {
        Ok(count) => count == 0,
        Err(error) => !crate::wire::is_timeout(&error),
    }
}

/// One accepted connection, in the hands of a backend's script.
pub struct Conn {
    wire: Option<Wire>,
    connection: usize,
    in_hand: bool,
    seen: Arc<Seen>,
}

impl Conn {
    /// Which of the backend's connections this is, from 0.
    pub fn connection(&self) -> usize {
        self.connection
    }

    /// Receive a whole request and record it. `None` where the peer closed, now or in its middle.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.request_head()?;
        if request.header("expect").is_some() {
            self.try_send("HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        let framing = request.head.declared().unwrap_or(Framing::None);
        let read = self.read_body(framing);
        (request.body, request.trailers) = self.accept_or_note(read)?;
        self.record(request.clone());
        Some(request)
    }

    /// Receive a request's head alone; it is not recorded before [`record`](Self::record).
    pub fn request_head(&mut self) -> Option<Request> {
        self.answered();
        let read = self.read_head();
        let head: Head = self.accept_or_note(read)??;
        let words: Vec<&str> = head.start.split(' ').collect();
        let [method, target, version @ ("HTTP/1.1" | "HTTP/1.0")] = words[..] else {
            self.seen.violations.lock().unwrap().push(head.start.clone());
            return None;
        };
        self.in_hand = true;
        let now = self.seen.in_flight.fetch_add(1, SeqCst) + 1;
        self.seen.peak.fetch_max(now, SeqCst);
        Some(Request {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            head,
            body: Vec::new(),
            trailers: Vec::new(),
            connection: self.connection,
        })
    }

    /// Keep a request for [`Backend::requests`].
    pub fn record(&self, request: Request) {
        self.seen.requests.lock().unwrap().push(request);
    }

    /// Send the last bytes of a response: the request no longer counts as in hand.
    pub fn reply(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.answered();
        self.try_send(bytes).is_ok()
    }

    /// Close with a reset.
    pub fn reset(&mut self) {
        self.answered();
        self.seen.open.lock().unwrap().remove(&self.connection);
        if let Some(wire) = self.wire.take() {
            wire.reset();
        }
    }

    /// Wait until the peer closes; what it sends meanwhile is read and dropped.
    pub fn wait_for_close(&mut self) {
        while self.read_some(64 << 10).is_ok_and(|bytes| !bytes.is_empty()) {}
    }

    fn answered(&mut self) {
        if std::mem::take(&mut self.in_hand) {
            self.seen.in_flight.fetch_sub(1, SeqCst);
        }
    }

    fn accept_or_note<T>(&self, read: io::Result<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                if error.kind() == ErrorKind::InvalidData {
                    self.seen.violations.lock().unwrap().push(error.to_string());
                }
                None
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.answered();
        // Closing must be seen by the peer although `open` holds a copy of the socket.
        if let Some(copy) = self.seen.open.lock().unwrap().remove(&self.connection)
            && self.wire.is_some()
        {
            copy.shutdown(Shutdown::Write).ok();
        }
    }
}

impl Deref for Conn {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        self.wire.as_ref().expect("the connection was reset")
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut Wire {
        self.wire.as_mut().expect("the connection was reset")
    }
}
