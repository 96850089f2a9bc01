//! One request over HTTP/3: between its stream and an exchange that takes it for a connection of HTTP/1.1.
//!
//! A pipe of [`PIPE`] bytes each way stands between the two, and all of it is one task: the exchange, what it is sent and what it
//! sends. What the pipe does not take waits on the client's side, where QUIC's windows hold it back. A stream that breaks off is to
//! the exchange a client that has left; an exchange that breaks off is a reset, never an end.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::{HeaderValue, Method, Request, header};
use lb_h1::{
    Asked, BodyDecoder, BodyLimits, CHUNK_END, Decoded, HeadLimits, LAST_CHUNK, ParseState, ResponseHead,
    chunk_head, encode_trailers, parse_response,
};
use lb_h2::BodyLine;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::timeout;

use super::quic::{Connection, RecvStream, SendStream, Stopped};
use crate::client::Client;
use crate::config::Timeouts;
use crate::conversation::{Conversation, Next};
use crate::http2::{Tenant, answer_one};
use crate::serve::in_time;
use crate::transport::Transport;

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
}

/// How the body of the request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(u64),
    Chunked,
}

/// Serves a stream's request.
pub(super) async fn serve(
    resolver: RequestResolver<Connection, Bytes>,
    stopped: Option<Stopped>,
    client: Rc<Client>,
    tenant: Tenant,
) {
    let limit = client.listener.config.limits.header_timeout;
    // One that is refused or late is dropped, which ends it.
    let Ok(resolved) = timeout(limit, resolver.resolve_request()).await else { return };
    let Ok((request, stream)) = resolved else { return tenant.was_reset() };
    let (send, mut recv) = stream.split();
    let mut out = Out { stream: send, is_over: false };
    let Ok(opened) = timeout(limit, open(&request, &mut recv)).await else { return };
    let end = match opened {
        Ok(Opened { head, body, first }) => {
            let carry = Carry { method: request.method().clone(), body, first, stopped };
            run(carry, head, &mut out, &mut recv, &client).await
        }
        Err(end) => end,
    };
    let code = match end {
        End::Answered => {
            recv.stop_sending(Code::H3_NO_ERROR);
            return;
        }
        End::Left => Code::H3_REQUEST_CANCELLED,
        End::Malformed => Code::H3_MESSAGE_ERROR,
        End::Broken => Code::H3_INTERNAL_ERROR,
    };
    if end != End::Broken {
        tenant.was_reset();
    }
    recv.stop_sending(code);
    out.break_off(code);
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
}

enum First {
    /// Nothing is known of it.
    Unread,
    /// There is some.
    Piece(Bytes),
    /// There is none.
    None,
}

async fn open(request: &Request<()>, recv: &mut Incoming) -> Result<Opened, End> {
    let headers = request.headers();
    let is_foreign = request.extensions().get::<h3::ext::Protocol>().is_some();
    if is_foreign || lb_h2::names_a_connection(headers) {
        return Err(End::Malformed);
    }
    // What is no number is refused where it is read.
    let number = |length: &HeaderValue| length.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let length: Option<u64> = headers.get(header::CONTENT_LENGTH).map(number);
    // Only a stream's end tells that there is no body. Whoever has a right to send none is waited for; a call of gRPC may be waiting for
    // our answer itself.
    let first = match (length, request.method()) {
        (None, method) if *method != Method::POST && *method != Method::PUT && *method != Method::PATCH => {
            match recv.recv_data().await {
                Ok(Some(mut piece)) => First::Piece(piece.copy_to_bytes(piece.remaining())),
                Ok(None) => First::None,
                Err(error) => return Err(ended_by(&error)),
            }
        }
        _ => First::Unread,
    };
    let (body, line) = match (length, &first) {
        (Some(length), _) => (Body::Length(length), BodyLine::AsFields),
        (None, First::None) => (Body::Length(0), BodyLine::AsFields),
        (None, _) => (Body::Chunked, BodyLine::Chunked),
    };
    let mut head = BytesMut::with_capacity(HEAD_ESTIMATE);
    lb_h2::write_request(&mut head, request, line).map_err(|_| End::Malformed)?;
    Ok(Opened { head, body, first })
}

async fn run(carry: Carry, head: BytesMut, out: &mut Out, recv: &mut Incoming, client: &Rc<Client>) -> End {
    let (near, far) = tokio::io::duplex(PIPE);
    let client = Client::stream(client);
    let is_whole = Cell::new(false);
    let exchange = async {
        let mut conversation = Conversation::new(Transport::piped(near, head), Rc::clone(&client));
        let answered = async {
            let next = answer_one(&mut conversation).await;
            is_whole.set(!matches!(next, Next::Break | Next::Reset));
        };
        in_time(&client, pin!(answered)).await;
    };
    let mut exchange = pin!(exchange);
    let mut carried = pin!(carry.run(far, out, recv));
    tokio::select! {
        end = &mut carried => {
            // It sees that its client is gone, or has been done already.
            exchange.await;
            end
        }
        () = &mut exchange => {
            if !is_whole.get() {
                return End::Broken;
            }
            // What is left is no more than the pipe holds, and what the client's windows do.
            timeout(Timeouts::default().idle, carried).await.unwrap_or(End::Broken)
        }
    }
}

/// What passes between a stream and its exchange.
struct Carry {
    method: Method,
    body: Body,
    first: First,
    stopped: Option<Stopped>,
}

impl Carry {
    async fn run(self, pipe: DuplexStream, out: &mut Out, recv: &mut Incoming) -> End {
        let Self { method, body, first, stopped } = self;
        let (mut from, mut to) = tokio::io::split(pipe);
        let up = async {
            let uploaded = upload(recv, &mut to, body, first).await;
            match uploaded {
                Ok(()) => std::future::pending().await,
                Err(end) => end,
            }
        };
        let left = async {
            let is_stopped = match stopped {
                Some(stopped) => stopped.await,
                None => false,
            };
            if is_stopped { End::Left } else { std::future::pending().await }
        };
        tokio::select! {
            biased;
            end = download(out, &mut from, &method) => end,
            end = up => end,
            end = left => end,
        }
    }
}

/// Passes the request's body on; its end is not that of the pipe.
async fn upload(
    recv: &mut Incoming,
    pipe: &mut WriteHalf<DuplexStream>,
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
        Body::Length(0) => Ok(()),
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

/// Passes the answer on.
async fn download(out: &mut Out, pipe: &mut ReadHalf<DuplexStream>, method: &Method) -> End {
    match answer(out, pipe, method).await {
        Ok(()) => End::Answered,
        Err(Stop::Client) => End::Left,
        Err(Stop::Exchange) => End::Broken,
    }
}

/// Who is to blame that an answer has no end.
enum Stop {
    Client,
    Exchange,
}

async fn answer(out: &mut Out, pipe: &mut ReadHalf<DuplexStream>, method: &Method) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    let head = final_head(out, pipe, method, &mut buffer).await?;
    sent(out.stream.send_response(lb_h2::response(&head))).await?;
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
    out.is_over = true;
    sent(out.stream.finish()).await
}

async fn final_head(
    out: &mut Out,
    pipe: &mut ReadHalf<DuplexStream>,
    method: &Method,
    buffer: &mut BytesMut,
) -> Result<ResponseHead, Stop> {
    let mut parse = ParseState::default();
    loop {
        let parsed = parse_response(buffer, &own_limits(), Asked { method, upgrade: None }, &mut parse);
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
