//! A client's stream: the request as a head and bytes that can be read, the answer as what is taken.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{Method, StatusCode, header};
use lb_h1::{
    Asked, Date, Fields, HeadLimits, ParseState, RequestHead, ResponseFraming, ResponseHead, Upgrade,
    parse_response, response_parts,
};

use crate::connection::{Accepted, StreamRef, Tell};
use crate::fault::{Fault, Reason};
use crate::head::Refused;
use crate::incoming::Incoming;
use crate::maps::is_grpc;
use crate::outgoing::{Outgoing, PIECE, Trailers};
use crate::upgrade;

/// One request and its answer.
///
/// Dropped before the answer's end, it resets the stream: with `INTERNAL_ERROR` where a part of the answer has gone, so that
/// nobody takes it for the whole.
#[derive(Debug)]
pub struct ServerStream {
    method: Method,
    /// What it is to become; then it has bytes both ways in place of bodies.
    upgrade: Option<Upgrade>,
    is_switched: bool,
    incoming: Incoming,
    stream: StreamRef,
    /// Bytes of the answer's head.
    head: BytesMut,
    parse: ParseState,
    answer: Option<Outgoing>,
    is_reset: bool,
    /// Whether it was gone when the answer's head was sent.
    is_gone: bool,
}

/// How a request begins.
#[derive(Debug)]
pub enum Opening {
    /// With a head that keeps to every rule.
    Head(Box<RequestHead>),
    /// With one that does not; read as bytes, it tells why.
    Text(BytesMut),
    /// With one that is longer than it may be.
    TooLong,
}

impl ServerStream {
    /// Takes a stream, and gives its request's head.
    ///
    /// # Errors
    /// [`Refused`] where its client has thrown it away already.
    pub fn open(accepted: Accepted, limits: &HeadLimits) -> Result<(Self, Opening), Refused> {
        let Accepted { stream, request } = accepted;
        if stream.fault().is_some() {
            return Err(Refused);
        }
        let opening = match request.draft {
            None => Opening::TooLong,
            Some(draft) => match draft.clone().read_request(limits) {
                Some(head) => Opening::Head(Box::new(head)),
                None => Opening::Text(draft.into_bytes()),
            },
        };
        let stream = Self {
            method: request.method,
            upgrade: request.upgrade,
            is_switched: false,
            incoming: Incoming::new(request.is_chunked, stream.has_all()),
            stream,
            head: BytesMut::new(),
            parse: ParseState::default(),
            answer: None,
            is_reset: false,
            is_gone: false,
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
        match self.incoming.poll_read(cx, &self.stream, out) {
            Poll::Ready(Ok(0)) if !out.is_empty() => self.poll_over(cx),
            Poll::Ready(Err(error)) => {
                self.is_reset = true;
                Poll::Ready(Err(error))
            }
            read => read,
        }
    }

    /// Whether trailers may still come behind the request's body, whose length was told: until its end is here.
    #[must_use]
    pub fn may_bring_trailers(&self) -> bool {
        !self.is_switched && self.stream.is_end_due()
    }

    /// Waits for the end of the request's body, all of which has been read: with trailers, where some have come.
    pub fn poll_trailers(&self, cx: &Context<'_>) -> Poll<Option<Trailers>> {
        self.stream.poll_end(cx).map(Trailers::of)
    }

    /// Whether the end of the answer's body is told by itself, by [`finish`](Self::finish), where its length is.
    pub fn hold(&mut self, is_held: bool) {
        if let Some(answer) = &mut self.answer {
            answer.hold(is_held);
        }
    }

    /// Tells the end of the answer's body, all of which has been taken and has gone, with these trailers.
    ///
    /// # Errors
    /// The stream is over.
    pub fn finish(&mut self, cx: &Context<'_>, trailers: Option<Trailers>) -> io::Result<()> {
        self.answer.as_mut().map_or(Ok(()), |answer| answer.finish(cx, &self.stream, trailers))
    }

    /// Ready once the client has reset it or its connection is over.
    pub fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.stream.poll_fault(cx).map(|_| self.is_reset = true)
    }

    fn poll_over(&mut self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if self.is_switched {
            // Whoever is told of the end is told of a reset behind it, too.
            return match self.stream.poll_fault(cx) {
                Poll::Ready(fault) => Poll::Ready(Err(fault.into_io())),
                Poll::Pending => Poll::Ready(Ok(0)),
            };
        }
        if self.answer.as_ref().is_some_and(Outgoing::is_ended) {
            return Poll::Pending;
        }
        let fault = ready!(self.stream.poll_fault(cx));
        self.is_reset = true;
        Poll::Ready(Err(fault.into_io()))
    }

    /// Whether it can be given the answer's head as it is, by [`take_head`](Self::take_head): no other has been begun, and it is not to
    /// become another protocol.
    #[must_use]
    pub fn takes_head(&self) -> bool {
        self.upgrade.is_none() && self.head.is_empty() && self.answer.is_none()
    }

    /// Takes the answer's head in the place of its bytes. That the client has gone is told by what follows.
    pub fn take_head(
        &mut self,
        status: StatusCode,
        headers: &Fields,
        framing: ResponseFraming,
        date: Option<&Date>,
    ) {
        let (length, framing) = response_parts((status, &self.method), framing);
        let date = date.filter(|_| !status.is_informational()).map(|date| &date[..]);
        let tell = Tell { status, headers, length, date, is_to_connect: false };
        self.is_gone = self.tell(tell, framing).is_err();
    }

    fn tell(&mut self, mut tell: Tell<'_>, framing: ResponseFraming) -> io::Result<()> {
        let is_ended = matches!(framing, ResponseFraming::None | ResponseFraming::Length(0));
        if is_ended && is_grpc(tell.headers.get(&header::CONTENT_TYPE)) {
            // Trailers alone, of which the length of HTTP/1.1 is no part.
            tell.length = None;
        }
        self.answer = Some(Outgoing::new(framing, is_ended));
        self.stream.tell(&tell, is_ended).map_err(Fault::into_io)
    }

    /// Takes bytes of the answer: its head, whole or in parts, and its body.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(answer) = &mut self.answer {
            let written = answer.poll_write(cx, &self.stream, bytes);
            self.is_reset |= matches!(written, Poll::Ready(Err(_)));
            return written;
        }
        let count = bytes.len().min(PIECE);
        self.head.extend_from_slice(bytes.get(..count).unwrap_or_default());
        match self.send_heads(cx) {
            Ok(()) => Poll::Ready(Ok(count)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Whether the answer's body can be read straight into its frames, by [`poll_fill`](Self::poll_fill), as far as is known.
    #[must_use]
    pub fn is_fillable(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| !answer.is_ended())
    }

    /// Has `read` fill the frames of the answer's body, where its length was told and nothing of it waits; `None` where it has to be
    /// written. 0 where nothing was read.
    pub fn poll_fill<E>(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut Context<'_>, &mut [IoSliceMut<'_>]) -> Poll<Result<usize, E>>,
    ) -> Option<Poll<io::Result<Result<usize, E>>>> {
        let filled = self.answer.as_mut()?.poll_fill(cx, &self.stream, read)?;
        self.is_reset |= matches!(filled, Poll::Ready(Err(_)));
        Some(filled)
    }

    /// How many bytes of the answer have been taken that the client's window has had no room for.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.answer.as_ref().map_or(0, Outgoing::backlog)
    }

    /// Hands over what has been taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.answer {
            _ if self.is_gone => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(answer) => answer.poll_flush(cx, &self.stream),
            None => Poll::Ready(Ok(())),
        };
        self.is_reset |= matches!(flushed, Poll::Ready(Err(_)));
        flushed
    }

    /// Ends the client's way, where it has been switched; any other ends with its message.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.answer {
            Some(answer) if self.is_switched => answer.poll_close(cx, &self.stream),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Sends every head that is here whole, and what is behind the last one.
    fn send_heads(&mut self, cx: &Context<'_>) -> io::Result<()> {
        while self.answer.is_none() {
            let asked = Asked { method: &self.method, upgrade: self.upgrade.as_ref() };
            let parsed = parse_response(&mut self.head, &own_limits(), asked, &mut self.parse);
            match parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                None => return Ok(()),
                Some(head) if head.is_interim() => {
                    let (status, headers) = (head.status, &head.headers);
                    let interim = Tell { status, headers, length: None, date: None, is_to_connect: false };
                    self.stream.tell(&interim, false).map_err(Fault::into_io)?;
                }
                Some(head) => self.send_head(cx, &head)?,
            }
        }
        Ok(())
    }

    fn send_head(&mut self, cx: &Context<'_>, head: &ResponseHead) -> io::Result<()> {
        let is_to_connect = self.upgrade.is_some();
        let status = if is_to_connect { upgrade::status(head.status) } else { head.status };
        self.is_switched = head.upgrade.is_some();
        let length = match head.declared {
            lb_h1::BodyFraming::Length(length) if !self.is_switched => Some(length),
            _ => None,
        };
        let tell = Tell { status, headers: &head.headers, length, date: None, is_to_connect };
        self.tell(tell, head.framing)?;
        let body = std::mem::take(&mut self.head);
        match self.answer.as_mut().filter(|_| !body.is_empty()) {
            Some(answer) => answer.write_all(cx, &self.stream, &body),
            None => Ok(()),
        }
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        match &mut self.answer {
            // As a connection is reset (RFC 8441 §5).
            Some(answer) if self.is_switched => answer.break_off(&self.stream, Reason::CANCEL),
            Some(answer) => answer.break_off(&self.stream, Reason::INTERNAL_ERROR),
            None => self.stream.reset(Reason::CANCEL),
        }
    }
}

/// For heads that the gateway itself has written.
fn own_limits() -> HeadLimits {
    HeadLimits { max_head_bytes: 1 << 20, max_line_bytes: 1 << 16, max_fields: 1024, max_empty_lines: 0 }
}
