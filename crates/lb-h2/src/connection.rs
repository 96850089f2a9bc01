//! One HTTP/2 connection, without its I/O (RFC 9113): bytes that have been read go in, bytes to be written come out, and streams are
//! read and written in between.
//!
//! It lives on one thread. Whoever drives it reads the socket into [`Connection::receive`], takes new streams in, sends what is
//! [pending](Connection::with_pending), and is woken when a stream has something to say. Streams have tasks of their own; each is woken
//! for what it waits for.
//!
//! Cost: a frame is read where it stands, a body is copied once into its stream, and a head becomes lines at once. What is sent is
//! written once, into room that the thread's connections hand to each other. A connection that is idle owns its tables of fields and
//! little else.
//!
//! Bounds: bodies that have come and not been read, by the windows of their streams, so that none holds up another: a client's begin with
//! 64 KiB, and as they are read those of a connection may have so much more between them; what waits to be sent, by [`FULL`](out::FULL) and what the rules
//! oblige us to say, beyond which nothing is read; heads, by their limit; and what a peer does to make work of nothing, by
//! [`Forbearance`].

mod alive;
mod ends;
mod heads;
mod out;
mod receive;
mod send;
mod settings;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

pub use self::alive::Heard;
use self::out::{FULL, Out};
use self::receive::Reading;
pub(crate) use self::send::{Ask, Tell, open};
use self::settings::Theirs;
use self::stream::Stream;
use crate::fault::{Fault, Reason};
use crate::frame::{FIRST_WINDOW, LAST_STREAM, kind, setting};
use crate::head::{Request, Scratch};
use crate::hpack::{Decoder, Encoder};
use crate::limits::{BackendLimits, Http2Limits};
use crate::{ClientStream, PREFACE};

/// What may wait to be sent before nothing is read any more: bodies, and what every frame that is read may oblige us to say.
const OVERFULL: usize = FULL + (64 << 10);
/// The opaque data of the PING that a first GOAWAY is followed by.
const FAREWELL: [u8; 8] = *b"farewell";

/// One connection. Its clones are the same one.
#[derive(Debug, Clone)]
pub struct Connection(Rc<Shared>);

/// What a connection and its streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: RefCell<Core>,
    /// Whether the driver has been woken since it looked last.
    is_woken: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

/// Which side is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// What we have told the peer of ourselves.
#[derive(Debug, Clone, Copy)]
struct Ours {
    max_streams: u32,
    /// What a stream begins with.
    first_window: i64,
    /// What it may come to.
    window: i64,
    connection_window: i64,
    max_frame: u32,
    /// What a head may count (RFC 9113 §6.5.2).
    max_head: usize,
}

/// How the connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Open,
    /// The peer has been told that it will be told.
    Warned,
    /// The peer has been told which stream was the last.
    Leaving,
    Over(Fault),
}

#[derive(Debug)]
struct Core {
    role: Role,
    ours: Ours,
    /// Whether the peer has read them.
    is_known: bool,
    theirs: Theirs,
    stage: Stage,
    reading: Reading,
    decoder: Decoder,
    scratch: Scratch,
    encoder: Encoder,
    /// A block of fields on its way into frames.
    block: Vec<u8>,
    out: Out,
    streams: Slab<Stream>,
    keys: HashMap<u32, usize, ahash::RandomState>,
    /// Streams that are open, of those that count.
    open: u32,
    /// Streams that have been promised to whoever is about to open them.
    promised: u32,
    /// Whether nobody will ask for streams any more.
    is_released: bool,
    /// The last stream that the peer has opened.
    last_peer: u32,
    /// The next that we open.
    next_own: u32,
    /// Streams that have come and not been taken in.
    accepted: VecDeque<(usize, Request)>,
    /// Streams that were over before they could be taken in.
    strays: u32,
    /// Streams that wait for room in the connection.
    queue: VecDeque<usize>,
    /// Streams to a backend that are over but for its end, oldest first.
    left: VecDeque<usize>,
    /// Streams of the client's that have been reset from here.
    reset: HashSet<u32, ahash::RandomState>,
    reset_in_order: VecDeque<u32>,
    /// The last stream that the peer has been told of.
    announced: Option<u32>,
    recv_window: i64,
    unreleased: i64,
    /// By how much the windows of streams may still grow, all together.
    spare: i64,
    send_window: i64,
    forbearance: Forbearance,
    heard: Heard,
}

/// How much work for nothing is still borne: empty frames, settings, frames of streams that are over, malformed heads.
#[derive(Debug)]
struct Forbearance {
    left: f64,
    since: Instant,
}

impl Forbearance {
    const MOST: f64 = 1000.0;
    const A_SECOND: f64 = 50.0;

    fn new() -> Self {
        Self { left: Self::MOST, since: Instant::now() }
    }

    fn spend(&mut self) -> Result<(), Reason> {
        self.left -= 1.0;
        if self.left >= 0.0 {
            return Ok(());
        }
        // The time is asked for only once all is spent.
        let back = self.since.elapsed().max(Duration::from_millis(1)).as_secs_f64() * Self::A_SECOND;
        if back < 1.0 {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        *self = Self { left: back.min(Self::MOST) - 1.0, since: Instant::now() };
        Ok(())
    }
}

/// A stream that a client has opened, to be made a [`ServerStream`](crate::ServerStream).
#[derive(Debug)]
pub struct Accepted {
    pub(crate) stream: StreamRef,
    pub(crate) request: Request,
}

impl Accepted {
    /// Does not take it in: its client may ask again.
    pub fn refuse(self) {
        self.stream.reset(Reason::REFUSED_STREAM);
    }
}

/// Why a connection cannot go on. The peer has been told, as far as what is pending is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended;

impl Connection {
    /// A server's side. Heads may count as much as `max_header_bytes` says (RFC 9113 §6.5.2); longer ones are told from others, so
    /// that they can be answered.
    #[must_use]
    pub fn server(limits: &Http2Limits, max_header_bytes: usize) -> Self {
        let ours = Ours {
            max_streams: limits.max_streams,
            // A client that has not read of a smaller one takes it for as much.
            first_window: i64::from(limits.stream_window).min(FIRST_WINDOW),
            window: i64::from(limits.stream_window),
            connection_window: i64::from(limits.connection_window),
            max_frame: limits.max_frame_size,
            max_head: max_header_bytes,
        };
        let mut core = Core::new(Role::Server, ours);
        core.introduce(&[
            (setting::MAX_CONCURRENT_STREAMS, ours.max_streams),
            (setting::INITIAL_WINDOW_SIZE, u32::try_from(ours.first_window).unwrap_or(limits.stream_window)),
            (setting::MAX_FRAME_SIZE, ours.max_frame),
            (setting::MAX_HEADER_LIST_SIZE, u32::try_from(max_header_bytes).unwrap_or(u32::MAX)),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ]);
        Self::of(core)
    }

    /// A client's side, but for `max_streams`, which whoever opens streams has to keep.
    #[must_use]
    pub fn client(limits: &BackendLimits) -> Self {
        let ours = Ours {
            max_streams: 0,
            first_window: i64::from(limits.stream_window),
            window: i64::from(limits.stream_window),
            connection_window: i64::from(limits.connection_window),
            max_frame: limits.max_frame_size,
            max_head: usize::try_from(limits.max_header_bytes).unwrap_or(usize::MAX),
        };
        let mut core = Core::new(Role::Client, ours);
        core.out.put(PREFACE);
        core.introduce(&[
            (setting::ENABLE_PUSH, 0),
            (setting::INITIAL_WINDOW_SIZE, limits.stream_window),
            (setting::MAX_FRAME_SIZE, ours.max_frame),
            (setting::MAX_HEADER_LIST_SIZE, limits.max_header_bytes),
        ]);
        Self::of(core)
    }

    fn of(core: Core) -> Self {
        Self(Rc::new(Shared {
            core: RefCell::new(core),
            is_woken: Cell::new(false),
            driver: RefCell::new(None),
        }))
    }

    /// To be called whenever the driver runs, ahead of all else: streams wake this task when they have something to say.
    pub fn drive(&self, cx: &Context<'_>) {
        self.0.is_woken.set(false);
        let mut driver = self.0.driver.borrow_mut();
        match &mut *driver {
            Some(known) => known.clone_from(cx.waker()),
            None => *driver = Some(cx.waker().clone()),
        }
    }

    /// Whether it is to be read from: what is pending must not grow without bound.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        let core = self.0.core.borrow();
        core.out.len() < OVERFULL && !core.is_over()
    }

    /// Takes bytes that have been read.
    ///
    /// # Errors
    /// [`Ended`] where the peer has broken a rule that is the connection's: it and all its streams are over.
    pub fn receive(&self, bytes: &[u8]) -> Result<(), Ended> {
        let mut core = self.0.core.borrow_mut();
        if core.is_over() {
            return Err(Ended);
        }
        core.receive(bytes).map_err(|reason| {
            core.go_away(reason);
            Ended
        })
    }

    /// The connection has ended beneath its streams.
    pub fn close(&self, error: &io::Error) {
        self.0.core.borrow_mut().end(&Fault::Io(error.kind(), error.to_string()));
    }

    /// The next stream that the client has opened.
    #[must_use]
    pub fn accept(&self) -> Option<Accepted> {
        let (key, request) = self.0.core.borrow_mut().accepted.pop_front()?;
        Some(Accepted { stream: StreamRef { shared: Rc::clone(&self.0), key }, request })
    }

    /// How many streams were over before they could be taken in, since this was asked last: malformed, or reset at once.
    #[must_use]
    pub fn take_strays(&self) -> u32 {
        std::mem::take(&mut self.0.core.borrow_mut().strays)
    }

    /// Shows what is to be sent next to `send`, which says how much of it has gone. Streams that wait for room have it then.
    pub fn with_pending<T>(&self, send: impl FnOnce(&[u8]) -> (usize, T)) -> T {
        let mut core = self.0.core.borrow_mut();
        let (count, result) = send(core.out.pending());
        core.out.sent(count);
        core.wake_queue();
        result
    }

    /// How many bytes are to be sent.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.core.borrow().out.len()
    }

    /// How many streams are open that anyone waits for, those among them that have not been taken in.
    #[must_use]
    pub fn open_streams(&self) -> u32 {
        self.0.core.borrow().awaited()
    }

    /// Whether nothing more will come of it: all of its streams are over, and no more will be opened.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.core.borrow().is_done()
    }

    /// Whether it ends in peace: what is pending are answers.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.0.core.borrow().stage == Stage::Leaving
    }

    /// Tells the client that it may finish what it has begun, and no more, in two steps (RFC 9113 §6.8): what it sends before it has
    /// heard of it is served, too.
    pub fn leave(&self) {
        let mut core = self.0.core.borrow_mut();
        if core.stage == Stage::Open {
            core.stage = Stage::Warned;
            core.put_go_away(LAST_STREAM, Reason::NO_ERROR);
            core.out.frame(kind::PING, 0, 0, &FAREWELL);
        }
    }

    /// Breaks off, and tells the peer why.
    pub fn abort(&self, reason: Reason) {
        self.0.core.borrow_mut().go_away(reason);
    }

    /// Whether the peer has said what it takes.
    #[must_use]
    pub fn is_introduced(&self) -> bool {
        self.0.core.borrow().theirs.are_here
    }

    /// Whether the peer takes an extended CONNECT (RFC 8441), as far as it has said.
    #[must_use]
    pub fn takes_connect(&self) -> bool {
        self.0.core.borrow().theirs.takes_connect
    }

    /// Nobody will ask for streams any more: once those that there are are over, it is done.
    pub fn release(&self) {
        self.0.core.borrow_mut().is_released = true;
        self.0.wake_driver();
    }

    /// Whether the peer takes another stream now; `None` where it takes no more for good.
    #[must_use]
    pub fn has_room(&self) -> Option<bool> {
        let core = self.0.core.borrow();
        // One that takes nothing of what it is sent is not given more.
        let is_free = core.out.len() < FULL && core.open + core.promised < core.theirs.max_streams;
        core.may_open().then_some(is_free)
    }

    /// A stream that is opened by the first request head.
    #[must_use]
    pub fn stream(&self, is_secure: bool) -> ClientStream {
        self.0.core.borrow_mut().promised += 1;
        ClientStream::new(Promise(self.clone()), is_secure)
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.0
    }
}

impl Shared {
    /// A stream has something to say.
    fn wake_driver(&self) {
        if !self.is_woken.replace(true)
            && let Some(driver) = &*self.driver.borrow()
        {
            driver.wake_by_ref();
        }
    }
}

impl Core {
    fn new(role: Role, ours: Ours) -> Self {
        Self {
            role,
            ours,
            is_known: false,
            theirs: Theirs::default(),
            stage: Stage::Open,
            reading: Reading::new(role == Role::Server),
            decoder: Decoder::default(),
            scratch: Scratch::default(),
            encoder: Encoder::default(),
            block: Vec::new(),
            out: Out::default(),
            streams: Slab::new(),
            keys: HashMap::default(),
            open: 0,
            promised: 0,
            is_released: false,
            last_peer: 0,
            next_own: 1,
            accepted: VecDeque::new(),
            strays: 0,
            queue: VecDeque::new(),
            left: VecDeque::new(),
            reset: HashSet::default(),
            reset_in_order: VecDeque::new(),
            announced: None,
            recv_window: ours.connection_window.max(FIRST_WINDOW),
            // A window smaller than the first cannot be asked for: it is one that is not opened as far again.
            unreleased: (ours.connection_window - FIRST_WINDOW).min(0),
            spare: ours.connection_window,
            send_window: FIRST_WINDOW,
            forbearance: Forbearance::new(),
            heard: Heard::Nothing,
        }
    }

    /// Says what the peer is to know first.
    fn introduce(&mut self, settings: &[(u16, u32)]) {
        let entry = |(name, value): &(u16, u32)| {
            let ([a, b], [c, d, e, f]) = (name.to_be_bytes(), value.to_be_bytes());
            [a, b, c, d, e, f]
        };
        let payload: Vec<u8> = settings.iter().flat_map(entry).collect();
        self.out.frame(kind::SETTINGS, 0, 0, &payload);
        let more = self.ours.connection_window - FIRST_WINDOW;
        if more > 0 {
            self.put_window_update(0, more);
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Whether streams can be opened at all.
    fn may_open(&self) -> bool {
        self.stage == Stage::Open && self.next_own <= LAST_STREAM
    }

    /// Whether all streams are over, and no more will come.
    fn is_done(&self) -> bool {
        let is_last = self.stage == Stage::Leaving || self.is_released;
        self.is_over() || is_last && self.awaited() == 0 && self.promised == 0
    }

    /// Streams that are open and not left.
    fn awaited(&self) -> u32 {
        self.open.saturating_sub(u32::try_from(self.left.len()).unwrap_or(u32::MAX))
    }

    fn put_go_away(&mut self, last: u32, reason: Reason) {
        let ([a, b, c, d], [e, f, g, h]) = (last.to_be_bytes(), reason.0.to_be_bytes());
        self.out.frame(kind::GOAWAY, 0, 0, &[a, b, c, d, e, f, g, h]);
    }

    fn put_window_update(&mut self, stream: u32, more: i64) {
        let more = u32::try_from(more).unwrap_or_default();
        self.out.frame(kind::WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
    }

    /// Ends the connection, and tells the peer why.
    fn go_away(&mut self, reason: Reason) {
        if !self.is_over() {
            let last = if self.role == Role::Server { self.last_peer } else { 0 };
            self.put_go_away(self.announced.unwrap_or(last), reason);
            self.end(&Fault::Connection(reason));
        }
    }

    /// Ends all streams.
    fn end(&mut self, fault: &Fault) {
        if self.is_over() {
            return;
        }
        self.stage = Stage::Over(fault.clone());
        self.accepted.clear();
        self.queue.clear();
        self.left.clear();
        for (_, stream) in &mut self.streams {
            if !stream.is_over() {
                let has_left = stream.begins_at < self.out.gone();
                stream.fault = Some(if has_left || self.role == Role::Server {
                    fault.clone()
                } else {
                    Fault::Unsent(Box::new(fault.clone()))
                });
            }
            stream.is_queued = false;
            stream.wake_for_both();
        }
        self.open = 0;
    }

    /// Lets streams that wait for room go on, as far as there is any.
    fn wake_queue(&mut self) {
        let mut room = FULL.saturating_sub(self.out.len());
        while room > 0
            && self.send_window > 0
            && let Some(key) = self.queue.pop_front()
        {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.is_queued = false;
                // One that waits no more leaves its turn to the next.
                if stream.wake_for_room() {
                    room = room.saturating_sub(send::TURN);
                }
            }
        }
    }
}

/// The place of a stream that is to be opened.
#[derive(Debug)]
pub(crate) struct Promise(Connection);

impl Promise {
    /// Whether the peer takes an extended CONNECT, as far as it has said.
    pub(crate) fn takes_connect(&self) -> bool {
        self.0.takes_connect()
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let Shared { core, .. } = &*self.0.0;
        let mut core = core.borrow_mut();
        core.promised = core.promised.saturating_sub(1);
        let is_done = core.is_done();
        drop(core);
        if is_done {
            self.0.0.wake_driver();
        }
    }
}

/// One stream, held by whoever reads and writes it. Dropped, it is forgotten; whoever drops it has ended it before.
#[derive(Debug)]
pub(crate) struct StreamRef {
    shared: Rc<Shared>,
    key: usize,
}

impl Drop for StreamRef {
    fn drop(&mut self) {
        let mut core = self.shared.core.borrow_mut();
        core.forget(self.key);
        core.wake_queue();
        let is_due = !core.out.is_empty() || !core.queue.is_empty() || core.is_done();
        drop(core);
        if is_due {
            self.shared.wake_driver();
        }
    }
}
