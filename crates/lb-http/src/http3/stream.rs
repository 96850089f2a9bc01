//! One request over HTTP/3: between its stream and an exchange that takes it for a connection of HTTP/1.1.
//!
//! A pipe of [`PIPE`] bytes each way stands between the two, and all of it is one task: the exchange, what it is sent and what it
//! sends. What the pipe does not take waits on the client's side, where QUIC's windows hold it back. A stream that breaks off is to
//! the exchange a client that has left; an exchange that breaks off is a reset, never an end.
//!
//! A stream that becomes WebSocket (RFC 9220) has bytes both ways in DATA frames once the backend has agreed, and each side ends by
//! itself.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h3::error::{Code, StreamError};
use h3::quic::{RecvStream as _, SendStream as _};
use h3::server::{RequestResolver, RequestStream};
use http::{HeaderValue, Method, Request, header};
use lb_h1::{
    Asked, BodyDecoder, BodyLimits, CHUNK_END, Decoded, HeadLimits, LAST_CHUNK, ParseState, ResponseHead,
    Upgrade, chunk_head, encode_trailers, parse_response,
};
use lb_h2::{BodyLine, Trailers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::quic::{Aside, Connection, RecvStream, SendStream, Stopped};
use crate::client::Client;
use crate::config::Timeouts;
use crate::conversation::{Conversation, Next};
use crate::http2::{Tenant, answer_one};
use crate::serve::in_time;
use crate::transport::{Ends, FarEnds, Transport};

/// Bytes that may be under way between a stream and its exchange, each way.
const PIPE: usize = 16 << 10;
/// Room for a usual head.
const HEAD_ESTIMATE: usize = 1 << 10;

type Incoming = RequestStream<RecvStream, Bytes>;

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With its answer.
    Answered,
    /// The client has left.
    Left,
    /// What the client sent is no message.
    Malformed,
    /// The exchange has broken off.
    Broken,
    /// What the stream has become has broken off.
    Severed,
}

/// How the body of the request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
    /// It is none: bytes of another protocol, until the client has said all.
    Tunnel,
}

/// Serves a stream's request.
pub(super) async fn serve(
    mut resolver: RequestResolver<Connection, Bytes>,
    aside: Aside,
    client: Rc<Client>,
    tenant: Tenant,
) {
    let Aside { stopped, is_websocket } = aside;
    let mut stopped = Some(stopped);
    let limit = client.listener.config.limits.header_timeout;
    let first = std::future::poll_fn(|cx| resolver.frame_stream.poll_next(cx));
    let Ok(first) = timeout(limit, first).await else {
        return refuse(resolver, Code::H3_REQUEST_INCOMPLETE);
    };
    // One that is malformed has been told so, or dropped with its connection.
    let Ok(resolved) = resolver.accept_with_frame(first) else { return tenant.was_reset() };
    let Ok(resolved) = timeout(limit, resolved.resolve()).await else { return };
    let Ok((request, stream)) = resolved else { return tenant.was_reset() };
    let (send, mut recv) = stream.split();
    let mut out = Out { stream: send, is_over: false };
    let end = match open(&request, &mut recv, is_websocket.get(), limit).await {
        Ok(Opened { head, body, first, upgrade }) => {
            let method = if upgrade.is_some() { Method::GET } else { request.method().clone() };
            let carry = Carry { method, upgrade, body, first, stopped: &mut stopped };
            run(carry, head, &mut out, &mut recv, &client).await
        }
        Err(end) => end,
    };
    let code = match end {
        End::Answered => {
            recv.stop_sending(Code::H3_NO_ERROR);
            if let Some(stopped) = stopped {
                // What has been sent may still be on its way, and would be lost with the connection.
                let _ = timeout(Timeouts::default().idle, stopped).await;
            }
            return;
        }
        // The same tells of a connection's reset (RFC 9220 §3).
        End::Left | End::Severed => Code::H3_REQUEST_CANCELLED,
        End::Malformed => Code::H3_MESSAGE_ERROR,
        End::Broken => Code::H3_INTERNAL_ERROR,
    };
    if matches!(end, End::Left | End::Malformed) {
        tenant.was_reset();
    }
    recv.stop_sending(code);
    out.break_off(code);
}

/// Ends a stream that has had no request. Dropped, it would end as an answer does.
pub(super) fn refuse(mut resolver: RequestResolver<Connection, Bytes>, code: Code) {
    resolver.frame_stream.stream.stop_sending(code.value());
    resolver.frame_stream.reset(code.value());
}

/// The way to the client. Dropped before its end, it is reset, so that nobody takes a part for the whole.
struct Out {
    stream: RequestStream<SendStream, Bytes>,
    is_over: bool,
}

impl Out {
    fn break_off(&mut self, code: Code) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.stream.stop_stream(code);
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.break_off(Code::H3_INTERNAL_ERROR);
    }
}

/// A request as HTTP/1.1 has it, and the beginning of its body where that had to be waited for.
struct Opened {
    head: BytesMut,
    body: Body,
    first: First,
    /// What the stream is to become.
    upgrade: Option<Upgrade>,
}

enum First {
    /// Nothing is known of it.
    Unread,
    /// There is some.
    Piece(Bytes),
    /// There is none.
    None,
}

/// `limit` is how long it is waited for whether there is a body.
async fn open(
    request: &Request<()>,
    recv: &mut Incoming,
    is_websocket: bool,
    limit: Duration,
) -> Result<Opened, End> {
    let headers = request.headers();
    if lb_h2::names_a_connection(headers) {
        return Err(End::Malformed);
    }
    let upgrade = upgrade(request, is_websocket)?;
    // What is no number is refused where it is read.
    let number = |length: &HeaderValue| length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let length: Option<u64> = headers.get(header::CONTENT_LENGTH).map(number);
    // Only a stream's end tells that there is no body. Whoever has a right to send none is waited for; a call of gRPC may be waiting for
    // our answer itself.
    let usual = [Method::POST, Method::PUT, Method::PATCH, Method::CONNECT];
    let first = match length {
        None if upgrade.is_none() && !usual.contains(request.method()) => {
            match timeout(limit, recv.recv_data()).await {
                Ok(Ok(Some(mut piece))) => First::Piece(piece.copy_to_bytes(piece.remaining())),
                Ok(Ok(None)) => First::None,
                Ok(Err(error)) => return Err(ended_by(&error)),
                Err(_) => First::Unread,
            }
        }
        _ => First::Unread,
    };
    let (body, line) = match (length, &first) {
        _ if upgrade.is_some() => (Body::Tunnel, BodyLine::AsFields),
        (Some(length), _) => (Body::Length(length), BodyLine::AsFields),
        (None, First::None) => (Body::Length(0), BodyLine::AsFields),
        (None, _) => (Body::Chunked, BodyLine::Chunked),
    };
    let mut head = BytesMut::with_capacity(HEAD_ESTIMATE);
    lb_h2::write_request(&mut head, request, line, upgrade.as_ref()).map_err(|_| End::Malformed)?;
    Ok(Opened { head, body, first, upgrade })
}

/// What an extended CONNECT asks for.
fn upgrade(request: &Request<()>, is_websocket: bool) -> Result<Option<Upgrade>, End> {
    let Some(protocol) = request.extensions().get::<h3::ext::Protocol>() else { return Ok(None) };
    let uri = request.uri();
    let is_whole = *request.method() == Method::CONNECT
        && uri.scheme().is_some()
        && uri.path_and_query().is_some()
        && !request.headers().contains_key(header::CONTENT_LENGTH);
    let upgrade = match is_websocket {
        true => Some(Upgrade::WebSocket),
        false => Upgrade::read(protocol.as_str().as_bytes()),
    };
    upgrade.filter(|_| is_whole).map(Some).ok_or(End::Malformed)
}

async fn run(
    carry: Carry<'_>,
    head: BytesMut,
    out: &mut Out,
    recv: &mut Incoming,
    client: &Rc<Client>,
) -> End {
    let (near, far) = tokio::io::duplex(PIPE);
    let client = Client::stream(client);
    let is_connect = carry.upgrade.is_some();
    let is_whole = Cell::new(false);
    let ends = Rc::new(Ends::default());
    let far_ends = FarEnds(Rc::clone(&ends));
    let exchange = async {
        let transport = Transport::piped(near, head, is_connect, ends);
        let mut conversation = Conversation::new(transport, Rc::clone(&client));
        let answered = async {
            let next = answer_one(&mut conversation, None).await;
            is_whole.set(!matches!(next, Next::Break | Next::Reset));
        };
        in_time(&client, pin!(answered)).await;
    };
    let mut exchange = pin!(exchange);
    let is_switched = Cell::new(false);
    let mut carried = pin!(carry.run((far, far_ends), out, recv, &is_switched));
    tokio::select! {
        end = &mut carried => {
            // It sees that its client is gone, or has been done already.
            exchange.await;
            end
        }
        () = &mut exchange => {
            if !is_whole.get() {
                return if is_switched.get() { End::Severed } else { End::Broken };
            }
            // What is left is no more than the pipe holds, and what the client's windows do.
            timeout(Timeouts::default().idle, carried).await.unwrap_or(End::Broken)
        }
    }
}

/// What passes between a stream and its exchange.
struct Carry<'a> {
    method: Method,
    upgrade: Option<Upgrade>,
    body: Body,
    first: First,
    /// Until it is known.
    stopped: &'a mut Option<Stopped>,
}

impl Carry<'_> {
    /// `is_switched` is set once the stream is another protocol's.
    async fn run(
        self,
        (pipe, ends): (DuplexStream, FarEnds),
        out: &mut Out,
        recv: &mut Incoming,
        is_switched: &Cell<bool>,
    ) -> End {
        let Self { method, upgrade, body, first, stopped } = self;
        let (mut from, mut to) = tokio::io::split(pipe);
        let agreed = Notify::new();
        let both = async {
            let up = async {
                upload(recv, (&mut to, &ends.0), body, first).await?;
                if body == Body::Tunnel {
                    // Before that, the end would be taken for the client's leave.
                    agreed.notified().await;
                    return to.shutdown().await.map_err(|_| End::Severed);
                }
                std::future::pending().await
            };
            let down = async {
                let asked = Asked { method: &method, upgrade: upgrade.as_ref() };
                let switched = || {
                    is_switched.set(true);
                    agreed.notify_one();
                };
                match answer(out, (&mut from, &ends.0), asked, switched).await {
                    Ok(()) if is_switched.get() => Ok(()),
                    Ok(()) => Err(End::Answered),
                    Err(Stop::Client) => Err(End::Left),
                    Err(Stop::Exchange) if is_switched.get() => Err(End::Severed),
                    Err(Stop::Exchange) => Err(End::Broken),
                }
            };
            // The answer's end is the stream's, unless it has become something else: there each side ends by itself.
            match tokio::try_join!(biased; down, up) {
                Ok(((), ())) => End::Answered,
                Err(end) => end,
            }
        };
        let left = async {
            let has_left = std::future::poll_fn(|cx| match stopped {
                Some(known) => known.as_mut().poll(cx),
                None => Poll::Pending,
            })
            .await;
            *stopped = None;
            if has_left { End::Left } else { std::future::pending().await }
        };
        tokio::select! {
            biased;
            end = both => end,
            end = left => end,
        }
    }
}

/// Passes the request's body on; its end is not that of the pipe.
async fn upload(
    recv: &mut Incoming,
    (pipe, ends): (&mut WriteHalf<DuplexStream>, &Ends),
    body: Body,
    first: First,
) -> Result<(), End> {
    let mut left = body;
    if let First::Piece(piece) = first {
        pass(pipe, piece, &mut left).await?;
    } else if let First::None = first {
        return Ok(());
    }
    loop {
        match recv.recv_data().await {
            Ok(Some(mut piece)) => {
                let piece = piece.copy_to_bytes(piece.remaining());
                pass(pipe, piece, &mut left).await?;
            }
            Ok(None) => break,
            Err(error) => return Err(ended_by(&error)),
        }
    }
    let trailers = recv.recv_trailers().await.map_err(|error| ended_by(&error))?;
    match left {
        Body::Length(0) => {
            ends.request.tell(trailers.as_ref().map(Trailers::of_fields));
            Ok(())
        }
        Body::Tunnel => Ok(()),
        Body::Length(_) => Err(End::Malformed),
        Body::Chunked => {
            let mut last = BytesMut::new();
            match trailers {
                Some(trailers) => encode_trailers(&mut last, &trailers),
                None => last.extend_from_slice(LAST_CHUNK),
            }
            pipe.write_all(&last).await.map_err(|_| End::Broken)
        }
    }
}

async fn pass(pipe: &mut WriteHalf<DuplexStream>, piece: Bytes, left: &mut Body) -> Result<(), End> {
    if piece.is_empty() {
        return Ok(());
    }
    let written = match left {
        Body::Length(left) => {
            *left = left.checked_sub(piece.len() as u64).ok_or(End::Malformed)?;
            pipe.write_all(&piece).await
        }
        Body::Tunnel => pipe.write_all(&piece).await,
        Body::Chunked => {
            let head = chunk_head(piece.len());
            let framed = [head.as_ref(), &piece, CHUNK_END].concat();
            pipe.write_all(&framed).await
        }
    };
    match written {
        Ok(()) => Ok(()),
        // The exchange wants no more of it; its answer may still be on the way.
        Err(_) => std::future::pending().await,
    }
}

/// Who is to blame that an answer has no end.
enum Stop {
    Client,
    Exchange,
}

/// Passes the answer on; tells where it is the consent to another protocol.
async fn answer(
    out: &mut Out,
    (pipe, ends): (&mut ReadHalf<DuplexStream>, &Ends),
    asked: Asked<'_>,
    switched: impl FnOnce(),
) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    let head = final_head(out, pipe, asked, &mut buffer).await?;
    let response = match asked.upgrade {
        Some(_) => lb_h2::response_to_connect(&head),
        None => lb_h2::response(&head),
    };
    sent(out.stream.send_response(response)).await?;
    if head.upgrade.is_some() {
        switched();
    }
    let mut body = BodyDecoder::for_response(head.framing, BodyLimits::default());
    loop {
        match body.decode(&mut buffer).map_err(|_| Stop::Exchange)? {
            Decoded::NeedMore if read(pipe, &mut buffer).await? => {}
            Decoded::NeedMore => body.close().map_err(|_| Stop::Exchange)?,
            Decoded::Data(data) => sent(out.stream.send_data(data)).await?,
            Decoded::Trailers(trailers) => {
                sent(out.stream.send_trailers(trailers)).await?;
                break;
            }
            _ => break,
        }
    }
    if ends.is_held() {
        // A body whose length was told is here; its end may come with trailers.
        let trailers = tokio::select! {
            biased;
            trailers = std::future::poll_fn(|cx| ends.answer.poll(cx)) => trailers,
            _ = read(pipe, &mut buffer) => return Err(Stop::Exchange),
        };
        if let Some(trailers) = trailers.and_then(Trailers::into_fields) {
            sent(out.stream.send_trailers(trailers)).await?;
        }
    }
    out.is_over = true;
    sent(out.stream.finish()).await
}

async fn final_head(
    out: &mut Out,
    pipe: &mut ReadHalf<DuplexStream>,
    asked: Asked<'_>,
    buffer: &mut BytesMut,
) -> Result<ResponseHead, Stop> {
    let mut parse = ParseState::default();
    loop {
        let parsed = parse_response(buffer, &own_limits(), asked, &mut parse);
        match parsed.map_err(|_| Stop::Exchange)? {
            Some(head) if head.is_interim() => sent(out.stream.send_response(lb_h2::response(&head))).await?,
            Some(head) => return Ok(head),
            None if read(pipe, buffer).await? => {}
            None => return Err(Stop::Exchange),
        }
    }
}

/// Reads some; false at the end.
async fn read(pipe: &mut ReadHalf<DuplexStream>, buffer: &mut BytesMut) -> Result<bool, Stop> {
    buffer.reserve(PIPE);
    pipe.read_buf(buffer).await.map(|count| count > 0).map_err(|_| Stop::Exchange)
}

async fn sent(sending: impl Future<Output = Result<(), StreamError>>) -> Result<(), Stop> {
    sending.await.map_err(|error| match error {
        // What the peer does not take of a head is ours to mend.
        StreamError::HeaderTooBig { .. } => Stop::Exchange,
        _ => Stop::Client,
    })
}

/// What an error says of the request.
fn ended_by(error: &StreamError) -> End {
    match error {
        StreamError::RemoteTerminate { .. } | StreamError::ConnectionError { .. } => End::Left,
        _ => End::Malformed,
    }
}

/// For heads that the gateway itself has written.
fn own_limits() -> HeadLimits {
    HeadLimits { max_head_bytes: 1 << 20, max_line_bytes: 1 << 16, max_fields: 1024, max_empty_lines: 0 }
}
