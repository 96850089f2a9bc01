//! HTTP/2 with a client: one task for the connection, and one for each of its streams.
//!
//! The connection's task lets the `h2` crate read and write frames, takes new streams in and keeps the connection's own time:
//! idle, or sending out what its last streams left. A stream is served as a connection of one request would be (`lb-h2` makes it
//! look like one), with deadlines of its own, so that one that stands still costs the others nothing.
//!
//! Cost: a client that speaks HTTP/1.1 pays nothing: its first bytes tell. A stream costs a task, a timer and what
//! `lb-h2` says. Dropping the connection's future ends its streams as if the client had left.

mod io;
mod streams;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use lb_h1::{HeadError, RequestError, RequestHead};
use lb_h2::{Opening, ServerStream, head_size};

use self::io::Io;
pub(crate) use self::streams::{Streams, Tenant};
use crate::client::Client;
use crate::config::{Http2Limits, Timeouts};
use crate::conversation::{Conversation, Next, NoHead};
use crate::exchange;
use crate::reject::Reject;
use crate::serve::in_time;
use crate::transport::Transport;
use crate::watch::{Phase, within_deadline};

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
pub(crate) async fn serve(conversation: Conversation) {
    let client = Rc::clone(&conversation.client);
    let limits = &client.listener.config.limits;
    let Some(http2) = limits.http2 else { return };
    let conversation = Rc::new(RefCell::new(conversation));
    client.watch.begin(Phase::Head, Instant::now(), limits.header_timeout);
    let server = http2.server(limits.max_header_bytes);
    let io = Io::new(Rc::clone(&conversation));
    let shaken = {
        let mut handshake = pin!(server.handshake::<_, Bytes>(io.clone()));
        let handshake = std::future::poll_fn(|cx| {
            let shaken = handshake.as_mut().poll(cx);
            // Where that fails, reading tells.
            let _ = io.poll_send(cx);
            shaken
        });
        within_deadline(&client.watch, handshake).await
    };
    let Ok(shaken) = shaken else { return };
    if let Ok(connection) = shaken {
        let mut server = Server::new(connection, Rc::clone(&client), http2);
        let mut leaving = pin!(client.listener.gate.leaving());
        std::future::poll_fn(|cx| {
            // Told at once, also where nothing else happens here: what is on its way meanwhile is served.
            if !server.is_leaving && leaving.as_mut().poll(cx).is_ready() {
                server.leave();
            }
            if server.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match io.poll_send(cx) {
                Poll::Ready(Err(_)) => Poll::Ready(()),
                sent => {
                    server.keep_stage(sent.is_pending());
                    Poll::Pending
                }
            }
        })
        .await;
    }
    drop(io);
    // What was said last must arrive, though the client may still be talking.
    if let Some(conversation) = Rc::into_inner(conversation) {
        conversation.into_inner().linger().await;
    }
}

/// One connection.
struct Server {
    connection: Connection<Io, Bytes>,
    client: Rc<Client>,
    streams: Rc<Streams>,
    max_streams: u32,
    stage: Stage,
    /// Whether the client has been told to go.
    is_leaving: bool,
}

/// What the connection itself is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing: each of its streams has its own time.
    Busy,
    /// It sends what streams that are over have left.
    Sending,
    /// It waits for requests.
    Idle,
    /// It waits for the client's leave.
    Leaving,
}

impl Server {
    fn new(connection: Connection<Io, Bytes>, client: Rc<Client>, limits: Http2Limits) -> Self {
        let streams = Streams::new(limits.max_resets, Instant::now());
        // The first request has the time of a head.
        let stage = Stage::Idle;
        Self { connection, client, streams, max_streams: limits.max_streams, stage, is_leaving: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.client.watch.is_expired() && !self.goes_on() {
            return Poll::Ready(());
        }
        self.streams.wake_by(cx.waker());
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.admit(request, respond),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if self.streams.is_restless() && !std::mem::replace(&mut self.is_leaving, true) {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Tells the client that it may finish what it has begun, and no more.
    fn leave(&mut self) {
        if !std::mem::replace(&mut self.is_leaving, true) {
            self.connection.graceful_shutdown();
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
            Stage::Sending | Stage::Leaving => false,
        }
    }

    /// To be looked at once all that can be has been sent; `is_behind` where something is left.
    fn keep_stage(&mut self, is_behind: bool) {
        let stage = if self.streams.are_open() {
            Stage::Busy
        } else if is_behind || self.connection.has_streams() {
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
            Stage::Leaving => watch.begin(Phase::Linger, now, FAREWELL),
        }
    }

    /// Takes a stream in.
    fn admit(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        // Streams that are over for the client may not be so for us yet; there are bounds to that.
        if self.streams.open() >= self.max_streams.saturating_mul(2) {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        let fields = request.headers().len();
        match ServerStream::open(request, respond, &self.client.listener.head_limits) {
            Ok((stream, opening)) => {
                let is_too_long =
                    head_size(opening.bytes(), fields) > self.client.listener.config.limits.max_header_bytes;
                let (head, text) = match opening {
                    Opening::Head(head) => (Some(head), BytesMut::new()),
                    Opening::Text(text) => (None, text),
                };
                let tenant = self.streams.enter();
                let conversation =
                    Conversation::new(Transport::served(stream, text), Client::stream(&self.client));
                drop(tokio::task::spawn_local(serve_stream(conversation, head, tenant, is_too_long)));
            }
            Err(_) => self.streams.count_reset(Instant::now()),
        }
    }
}

/// Serves one stream's one request.
async fn serve_stream(
    mut conversation: Conversation,
    head: Option<Box<RequestHead>>,
    tenant: Tenant,
    is_too_long: bool,
) {
    let client = Rc::clone(&conversation.client);
    let answered = async {
        if is_too_long {
            let limit = client.listener.config.limits.max_header_bytes;
            let rejected = Reject::Head(RequestError::Head(HeadError::TooLarge { limit }));
            _ = Box::pin(exchange::refuse_head(&mut conversation, rejected)).await;
        } else {
            _ = answer_one(&mut conversation, head).await;
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
