//! HTTP/2 with a client: one task for the connection, and one for each of its streams.
//!
//! The connection's task reads and writes for `lb-h2`, takes new streams in and keeps the connection's own time:
//! idle, or sending out what its last streams left. A stream is served as a connection of one request would be (`lb-h2` makes it
//! look like one), with deadlines of its own, so that one that stands still costs the others nothing.
//!
//! Cost: a client that speaks HTTP/1.1 pays nothing: its first bytes tell. A stream costs a task, a timer and what
//! `lb-h2` says. Dropping the connection's future ends its streams as if the client had left.

mod streams;
pub(crate) mod wire;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lb_h1::{HeadError, RequestError, RequestHead};
use lb_h2::{Accepted, Connection, Opening, Reason, ServerStream};

pub(crate) use self::streams::{Streams, Tenant};
use self::wire::{poll_receive, poll_send};
use crate::client::Client;
use crate::config::{Http2Limits, Timeouts};
use crate::conversation::{Conversation, Next, NoHead};
use crate::exchange;
use crate::reject::Reject;
use crate::serve::in_time;
use crate::transport::Transport;
use crate::watch::Phase;

/// How long a connection that is told to go may take to hear it.
const FAREWELL: Duration = Duration::from_secs(2);
/// Whether this client may speak HTTP/2 from here on.
pub(crate) fn may_begin(conversation: &Conversation) -> bool {
    // By TLS it has been agreed on ahead of it (RFC 9113 §3.2).
    let session = conversation.transport.session();
    conversation.client.listener.config.limits.http2.is_some()
        && session.is_none_or(|session| session.alpn_protocol() == Some(b"h2"))
}

/// Serves a client whose next bytes are HTTP/2's preface, until either side is done.
pub(crate) async fn serve(mut conversation: Conversation) {
    let client = Rc::clone(&conversation.client);
    let limits = &client.listener.config.limits;
    let Some(http2) = limits.http2 else { return };
    client.watch.begin(Phase::Head, Instant::now(), limits.header_timeout);
    let mut server = Server::new(http2, limits.max_header_bytes, Rc::clone(&client));
    let mut leaving = pin!(client.listener.gate.leaving());
    std::future::poll_fn(|cx| {
        // Told at once, also where nothing else happens here: what is on its way meanwhile is served.
        if !server.is_leaving && leaving.as_mut().poll(cx).is_ready() {
            server.leave();
        }
        server.poll(cx, &mut conversation.transport)
    })
    .await;
    drop(server);
    // What was said last must arrive, though the client may still be talking.
    conversation.linger().await;
}

/// How often a connection reads before its streams have their turn.
const READS: u32 = 4;

/// One connection.
struct Server {
    connection: Connection,
    client: Rc<Client>,
    streams: Rc<Streams>,
    max_streams: u32,
    stage: Stage,
    /// Whether the client has been told to go.
    is_leaving: bool,
}

/// Streams end as if the client had left.
impl Drop for Server {
    fn drop(&mut self) {
        self.connection.close(&io::Error::new(io::ErrorKind::ConnectionReset, "the connection is over"));
    }
}

/// What the connection itself is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits for what every connection begins with.
    Beginning,
    /// Nothing: each of its streams has its own time.
    Busy,
    /// It sends what streams that are over have left.
    Sending,
    /// It waits for requests.
    Idle,
    /// It waits for the client's leave.
    Leaving,
    /// All is over but for what is still to be sent.
    Over,
}

impl Server {
    fn new(limits: Http2Limits, max_header_bytes: usize, client: Rc<Client>) -> Self {
        Self {
            connection: Connection::server(&limits, max_header_bytes),
            client,
            streams: Streams::new(limits.max_resets, Instant::now()),
            max_streams: limits.max_streams,
            stage: Stage::Beginning,
            is_leaving: false,
        }
    }

    /// Ready when the connection is over, and all has been sent that could be.
    fn poll(&mut self, cx: &mut Context<'_>, transport: &mut Transport) -> Poll<()> {
        if self.client.watch.is_expired() && !self.goes_on() {
            return Poll::Ready(());
        }
        self.streams.wake_by(cx.waker());
        self.connection.drive(cx);
        let ended = self.poll_input(cx, transport);
        if self.streams.is_restless() {
            self.connection.abort(Reason::ENHANCE_YOUR_CALM);
        }
        let before = self.behind(transport);
        let is_blocked = !self.connection.wants_input();
        let sent = poll_send(cx, &self.connection, transport);
        match sent {
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) if self.connection.is_done() => return Poll::Ready(()),
            _ if is_lost(&ended) => return Poll::Ready(()),
            _ => {}
        }
        // What could not be taken in before there was room is now.
        if is_blocked && self.connection.wants_input() {
            cx.waker().wake_by_ref();
        }
        // While the connection sends what is left, a slow client that takes some of it has earned more time.
        if self.behind(transport) < before && self.client.watch.phase() == Phase::Relay {
            self.client.watch.progressed();
        }
        self.keep_stage(sent.is_pending());
        Poll::Pending
    }

    /// What is still to be sent.
    fn behind(&self, transport: &Transport) -> usize {
        self.connection.pending() + transport.backlog()
    }

    /// Takes in what has come, and streams that have begun with it.
    fn poll_input(&mut self, cx: &mut Context<'_>, transport: &mut Transport) -> Poll<io::Error> {
        for _ in 0..READS {
            if !self.connection.wants_input() {
                return Poll::Pending;
            }
            let mut scratch = Conversation::scratch(&self.client);
            let received = ready!(poll_receive(cx, &self.connection, transport, &mut scratch));
            drop(scratch);
            while let Some(accepted) = self.connection.accept() {
                self.admit(accepted);
            }
            let strays = self.connection.take_strays();
            (0..strays).for_each(|_| self.streams.count_reset(Instant::now()));
            if let Err(error) = received {
                return Poll::Ready(error);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the client that it may finish what it has begun, and no more.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.is_leaving, true) {
            self.connection.leave();
        }
    }

    /// Time is up for what the connection was doing.
    fn goes_on(&mut self) -> bool {
        match self.stage {
            Stage::Busy => {
                self.begin(Stage::Busy);
                true
            }
            Stage::Idle => {
                self.leave();
                self.begin(Stage::Leaving);
                true
            }
            Stage::Beginning | Stage::Sending | Stage::Leaving | Stage::Over => false,
        }
    }

    /// To be looked at once all that can be has been sent; `is_behind` where something is left.
    fn keep_stage(&mut self, is_behind: bool) {
        let stage = if self.connection.is_done() && !(is_behind && self.connection.is_leaving()) {
            Stage::Over
        } else if !self.connection.is_introduced() {
            Stage::Beginning
        } else if self.streams.are_open() {
            Stage::Busy
        } else if is_behind || self.connection.open_streams() > 0 {
            Stage::Sending
        } else if self.is_leaving {
            Stage::Leaving
        } else {
            Stage::Idle
        };
        if stage != self.stage {
            self.begin(stage);
        }
    }

    fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        let (watch, now) = (&self.client.watch, Instant::now());
        match stage {
            Stage::Busy => watch.begin(Phase::Wait, now, Duration::MAX),
            Stage::Sending => watch.begin(Phase::Relay, now, Timeouts::default().idle),
            Stage::Idle => self.client.begin_idle(now),
            Stage::Leaving | Stage::Over => watch.begin(Phase::Linger, now, FAREWELL),
            // It has the time that it began with.
            Stage::Beginning => {}
        }
    }

    /// Takes a stream in.
    fn admit(&mut self, accepted: Accepted) {
        // Streams that are over for the client may not be so for us yet; there are bounds to that.
        if self.streams.open() >= self.max_streams.saturating_mul(2) {
            return accepted.refuse();
        }
        match ServerStream::open(accepted, &self.client.listener.head_limits) {
            Ok((stream, opening)) => {
                let tenant = self.streams.enter();
                let (opening, text) = match opening {
                    Opening::Text(text) => (Opening::Text(BytesMut::new()), text),
                    opening => (opening, BytesMut::new()),
                };
                let conversation =
                    Conversation::new(Transport::served(stream, text), Client::stream(&self.client));
                drop(tokio::task::spawn_local(serve_stream(conversation, opening, tenant)));
            }
            Err(_) => self.streams.count_reset(Instant::now()),
        }
    }
}

/// Whether nothing more can be said, either.
fn is_lost(ended: &Poll<io::Error>) -> bool {
    matches!(ended, Poll::Ready(error) if error.kind() != io::ErrorKind::InvalidData)
}

/// Serves one stream's one request.
async fn serve_stream(mut conversation: Conversation, opening: Opening, tenant: Tenant) {
    let client = Rc::clone(&conversation.client);
    let answered = async {
        match opening {
            Opening::TooLong => {
                let limit = client.listener.config.limits.max_header_bytes;
                let rejected = Reject::Head(RequestError::Head(HeadError::TooLarge { limit }));
                _ = Box::pin(exchange::refuse_head(&mut conversation, rejected)).await;
            }
            Opening::Head(head) => _ = answer_one(&mut conversation, Some(head)).await,
            Opening::Text(_) => _ = answer_one(&mut conversation, None).await,
        }
    };
    // That it drains is the business of its connection.
    in_time(&client, pin!(answered)).await;
    if conversation.transport.is_reset() {
        tenant.was_reset();
    }
}

/// Answers one request, whose head is read first unless it is here; what that came to.
pub(crate) async fn answer_one(conversation: &mut Conversation, head: Option<Box<RequestHead>>) -> Next {
    let read = match head {
        Some(head) => Ok(head),
        None => conversation.read_head().await,
    };
    let rejected = match read {
        Ok(head) => {
            // Made in a box of its own: a task's future is moved into the task, and once more out of it at its end.
            let room = Box::new_uninit();
            let next = Box::into_pin(Box::write(room, exchange::serve(conversation, head))).await;
            return match next {
                Next::Switched(switched) => switched.carry(conversation).await,
                next => next,
            };
        }
        Err(NoHead::Refused(error)) => Reject::Head(error),
        Err(NoHead::Over | NoHead::Slow) => return Next::Break,
    };
    Box::pin(exchange::refuse_head(conversation, rejected)).await
}
