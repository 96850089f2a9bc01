//! A client's stream: the request as a head and bytes that can be read, the answer as what is taken.

use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response, StatusCode, header};
use lb_h1::{
    Asked, Date, Fields, HeadLimits, ParseState, RequestHead, ResponseFraming, ResponseHead, Upgrade,
    parse_response, response_map,
};

use crate::fault::{broken, reset};
use crate::head::{self, BodyLine};
use crate::incoming::Incoming;
use crate::outgoing::{Outgoing, PIECE};
use crate::upgrade;

/// One request and its answer.
///
/// Dropped before the answer's end, it resets the stream: with `INTERNAL_ERROR` where a part of the answer has gone, so that
/// nobody takes it for the whole.
pub struct ServerStream {
    method: Method,
    /// What it is to become; then it has bytes both ways in place of bodies.
    upgrade: Option<Upgrade>,
    is_switched: bool,
    incoming: Incoming,
    respond: SendResponse<Bytes>,
    /// Bytes of the answer's head.
    head: BytesMut,
    parse: ParseState,
    /// The head, where it came as it is.
    ready: Option<(Response<()>, ResponseFraming)>,
    answer: Option<Outgoing>,
    is_reset: bool,
}

/// How a request begins.
#[derive(Debug)]
pub enum Opening {
    /// With a head that keeps to every rule.
    Head(Box<RequestHead>),
    /// With one that does not; read as bytes, it tells why.
    Text(BytesMut),
}

impl Opening {
    /// How many bytes its head has in HTTP/1.1.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Head(head) => head.headers.received().len(),
            Self::Text(text) => text.len(),
        }
    }
}

/// A request that is malformed (RFC 9113 §8.1.1): its stream is reset and nothing else becomes of it. Or one that its client has
/// thrown away already.
#[derive(Debug)]
pub struct Refused;

impl ServerStream {
    /// Takes a stream, and gives its request's head.
    ///
    /// # Errors
    /// [`Refused`] where `:authority` and Host differ or the scheme is none of ours; the stream has been reset then.
    pub fn open(
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        limits: &HeadLimits,
    ) -> Result<(Self, Opening), Refused> {
        let has_length = request.headers().contains_key(header::CONTENT_LENGTH);
        let upgrade = match upgrade::of(&request) {
            Ok(upgrade) => upgrade,
            Err(refused) => {
                respond.send_reset(Reason::PROTOCOL_ERROR);
                return Err(refused);
            }
        };
        let is_chunked = !request.body().is_end_stream() && !has_length && upgrade.is_none();
        let body = if is_chunked { BodyLine::Chunked } else { BodyLine::AsFields };
        let mut cx = Context::from_waker(Waker::noop());
        if respond.poll_reset(&mut cx).is_ready() {
            return Err(Refused);
        }
        let draft = || head::draft_request(&request, body, upgrade.as_ref());
        let opening = draft().and_then(|good| match good.read_request(limits) {
            Some(head) => Ok(Opening::Head(Box::new(head))),
            None => draft().map(|bad| Opening::Text(bad.into_bytes())),
        });
        let opening = opening.inspect_err(|_| respond.send_reset(Reason::PROTOCOL_ERROR))?;
        let method = if upgrade.is_some() { Method::GET } else { request.method().clone() };
        let incoming = Incoming::new(request.into_body(), is_chunked);
        let (head, parse) = (BytesMut::new(), ParseState::default());
        let stream = Self {
            method,
            upgrade,
            is_switched: false,
            incoming,
            respond,
            head,
            parse,
            ready: None,
            answer: None,
            is_reset: false,
        };
        Ok((stream, opening))
    }

    /// Whether its client takes nothing for consent but consent: it wants to speak another protocol (RFC 8441).
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.upgrade.is_some()
    }

    /// Whether the client has reset it.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.is_reset
    }

    /// Reads the request's body; behind its end, waits for the client to leave, which is an error. A client that speaks another
    /// protocol may end its side alone: that is 0.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.incoming.is_ended() {
            return self.poll_over(cx);
        }
        match self.incoming.poll_read(cx, out) {
            Poll::Ready(Ok(0)) if !out.is_empty() => self.poll_over(cx),
            Poll::Ready(Err(error)) => {
                self.is_reset = true;
                Poll::Ready(Err(error))
            }
            read => read,
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.is_switched { Poll::Ready(Ok(0)) } else { self.poll_reset(cx).map(Err) }
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let left = match &mut self.answer {
            Some(answer) if answer.is_ended() => return Poll::Pending,
            Some(answer) => ready!(answer.poll_reset(cx)),
            None => match ready!(self.respond.poll_reset(cx)) {
                Ok(reason) => reset(reason),
                Err(error) => broken(error),
            },
        };
        self.is_reset = true;
        Poll::Ready(left)
    }

    /// Whether it can be given the answer's head as it is, by [`take_head`](Self::take_head): no other has been begun, and it is not to
    /// become another protocol.
    #[must_use]
    pub fn takes_head(&self) -> bool {
        self.upgrade.is_none() && self.head.is_empty() && self.ready.is_none() && self.answer.is_none()
    }

    /// Takes the answer's head in the place of its bytes. It leaves with what follows, or by being flushed.
    pub fn take_head(
        &mut self,
        status: StatusCode,
        headers: &Fields,
        framing: ResponseFraming,
        date: Option<&Date>,
    ) {
        let (headers, framing) = response_map((status, &self.method), headers, framing, date);
        self.ready = Some((head::answer(status, headers, framing), framing));
    }

    fn send_ready(&mut self) -> io::Result<()> {
        let Some((response, framing)) = self.ready.take() else { return Ok(()) };
        let is_ended = head::is_nothing(framing);
        let stream = self.respond.send_response(response, is_ended).map_err(broken)?;
        self.answer = Some(Outgoing::new(stream, framing, is_ended));
        Ok(())
    }

    /// Takes bytes of the answer: its head, whole or in parts, and its body.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send_ready()?;
        if let Some(answer) = &mut self.answer {
            return answer.poll_write(cx, bytes);
        }
        let count = bytes.len().min(PIECE);
        self.head.extend_from_slice(bytes.get(..count).unwrap_or_default());
        match self.send_heads(cx) {
            Ok(()) => Poll::Ready(Ok(count)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Takes a piece of the answer's body as it is, where its length was told and nothing of it waits; gives it back otherwise, to be
    /// written.
    ///
    /// # Errors
    /// As those of [`poll_write`](Self::poll_write).
    pub fn take(&mut self, cx: &mut Context<'_>, piece: Bytes) -> io::Result<Option<Bytes>> {
        self.send_ready()?;
        match &mut self.answer {
            Some(answer) => answer.take(cx, piece),
            None => Ok(Some(piece)),
        }
    }

    /// How many bytes of the answer have been taken that the client's window has had no room for.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.answer.as_ref().map_or(0, Outgoing::backlog)
    }

    /// Hands over what has been taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_ready()?;
        match &mut self.answer {
            Some(answer) => answer.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends the client's way, where it has been switched; any other ends with its message.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.answer {
            Some(answer) if self.is_switched => answer.poll_close(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends every head that is here whole, and what is behind the last one.
    fn send_heads(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.answer.is_none() {
            let asked = Asked { method: &self.method, upgrade: self.upgrade.as_ref() };
            let parsed = parse_response(&mut self.head, &own_limits(), asked, &mut self.parse);
            match parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                None => return Ok(()),
                Some(head) if head.is_interim() => {
                    let interim = head::response(&head);
                    self.respond.send_informational(interim).map_err(broken)?;
                }
                Some(head) => self.send_head(cx, &head)?,
            }
        }
        Ok(())
    }

    fn send_head(&mut self, cx: &mut Context<'_>, head: &ResponseHead) -> io::Result<()> {
        let is_ended = head::is_nothing(head.framing);
        let response = match self.upgrade {
            Some(_) => head::response_to_connect(head),
            None => head::response(head),
        };
        self.is_switched = head.upgrade.is_some();
        let stream = self.respond.send_response(response, is_ended).map_err(broken)?;
        let mut answer = Outgoing::new(stream, head.framing, is_ended);
        let body = std::mem::take(&mut self.head);
        // A head with its whole body in one write is the usual case, and fits.
        let taken = if body.is_empty() { Poll::Ready(Ok(0)) } else { answer.poll_write(cx, &body) };
        self.answer = Some(answer);
        match taken {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        match &mut self.answer {
            // As a connection is reset (RFC 8441 §5).
            Some(answer) if self.is_switched => answer.break_off(Reason::CANCEL),
            Some(answer) => answer.break_off(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::CANCEL),
        }
    }
}

/// For heads that the gateway itself has written.
fn own_limits() -> HeadLimits {
    HeadLimits { max_head_bytes: 1 << 20, max_line_bytes: 1 << 16, max_fields: 1024, max_empty_lines: 0 }
}
