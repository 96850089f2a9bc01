//! A stream to a backend: the request as what is taken, the answer as a head and bytes that can be read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::response::Parts;
use http::uri::Scheme;
use http::{Method, Request, header};
use lb_h1::{
    Asked, AuthorityFault, BodyFraming, Draft, Fields, HeadLimits, ParseState, RequestError, RequestHead,
    RequestLine, ResponseFraming, ResponseHead, parse_request, request_map,
};

use crate::fault::{broken, unsent};
use crate::head::{self, BodyLine};
use crate::incoming::Incoming;
use crate::outgoing::{Outgoing, PIECE};
use crate::upgrade::Switch;

/// One request and its answer. Dropped before both are over, it resets its stream.
pub struct ClientStream {
    send: SendRequest<Bytes>,
    scheme: Scheme,
    /// Bytes of the request's head.
    head: BytesMut,
    parse: ParseState,
    /// The head, where it came as it is.
    ready: Option<(Request<()>, ResponseFraming)>,
    asked: Option<Outgoing>,
    is_head: bool,
    /// What the stream is asked to become; then it has bytes both ways in place of bodies.
    switch: Option<Switch>,
    answer: Answer,
    /// Bytes of the answer that are read first: its head, or one ahead of it.
    lead: BytesMut,
}

enum Answer {
    /// There is no request yet.
    None,
    Awaited(ResponseFuture),
    /// Its head is here.
    Here(Box<Incoming>),
    /// There will be none. The reason is told once.
    Failed(Option<io::Error>),
}

/// A head that has come.
enum Came {
    Head {
        parts: Parts,
        body: BodyLine,
    },
    /// The consent to speak another protocol.
    Consent(Draft),
}

impl Came {
    fn draft(&self) -> Draft {
        match self {
            Self::Head { parts, body } => head::draft_response(parts.status, &parts.headers, *body),
            Self::Consent(draft) => draft.clone(),
        }
    }
}

impl ClientStream {
    /// A stream that is opened by the first request head. `send` must be a handle of its own.
    #[must_use]
    pub fn new(send: SendRequest<Bytes>, scheme: Scheme) -> Self {
        Self {
            send,
            scheme,
            head: BytesMut::new(),
            parse: ParseState::default(),
            ready: None,
            asked: None,
            is_head: false,
            switch: None,
            answer: Answer::None,
            lead: BytesMut::new(),
        }
    }

    /// Whether the backend takes an extended CONNECT (RFC 8441), as far as it has said. To any other an upgrade is not passed on.
    #[must_use]
    pub fn takes_connect(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Takes the request's head in the place of its bytes, where it asks for no upgrade. It leaves with what follows, or by being
    /// flushed.
    ///
    /// # Errors
    /// Where the head cannot stand in HTTP/2: its target or its Host.
    pub fn take_head(
        &mut self,
        line: RequestLine<'_>,
        headers: &Fields,
        framing: BodyFraming,
    ) -> Result<(), RequestError> {
        let (target, headers) = request_map(line, headers, framing)?;
        let request = head::ask(line.method, &target, headers, self.scheme.clone());
        let request = request.ok_or(RequestError::Host { fault: AuthorityFault::Byte })?;
        self.ready = Some((request, framing.into()));
        Ok(())
    }

    /// Takes bytes of the request: its head, whole or in parts, and its body.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send_ready()?;
        if let Some(asked) = &mut self.asked {
            return asked.poll_write(cx, bytes);
        }
        let count = bytes.len().min(PIECE);
        self.head.extend_from_slice(bytes.get(..count).unwrap_or_default());
        let parsed = parse_request(&mut self.head, &own_limits(), &mut self.parse);
        match parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            None => Poll::Ready(Ok(count)),
            Some(head) => Poll::Ready(self.ask(cx, &head).map(|()| count)),
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, head: &RequestHead) -> io::Result<()> {
        let mut request = head::request(head, self.scheme.clone()).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(upgrade) = &head.upgrade
            && self.takes_connect()
        {
            self.switch = Switch::ask(&mut request, upgrade);
        }
        let framing = if self.switch.is_some() { ResponseFraming::Tunnel } else { head.framing.into() };
        self.ready = Some((request, framing));
        let body = std::mem::take(&mut self.head);
        self.send_ready()?;
        let Some(asked) = self.asked.as_mut().filter(|_| !body.is_empty()) else { return Ok(()) };
        match asked.poll_write(cx, &body) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    /// Opens the stream. Where it cannot be opened, the answer tells why.
    fn send_ready(&mut self) -> io::Result<()> {
        let Some((request, framing)) = self.ready.take() else { return Ok(()) };
        self.is_head = *request.method() == Method::HEAD;
        let is_ended = head::is_nothing(framing);
        match self.send.send_request(request, is_ended) {
            Ok((answer, stream)) => {
                self.answer = Answer::Awaited(answer);
                self.asked = Some(Outgoing::new(stream, framing, is_ended));
                Ok(())
            }
            Err(error) => {
                self.answer = Answer::Failed(Some(unsent(error)));
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// Hands over what has been taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send_ready()?;
        match &mut self.asked {
            Some(asked) => asked.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends a way that is another protocol's; any other ends with its message.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.asked {
            Some(asked) if self.switch.is_some() => asked.poll_close(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The answer's head, or one ahead of it, in the place of its bytes; `None` where there are bytes to be read: of a head that
    /// breaks a rule, which tells of it, or of the body.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        asked: Asked<'_>,
    ) -> Poll<Option<ResponseHead>> {
        if !self.lead.is_empty() || !matches!(self.answer, Answer::Awaited(_)) {
            return Poll::Ready(None);
        }
        match ready!(self.poll_came(cx)) {
            Ok(came) => {
                let head = came.draft().read_response(limits, asked);
                if head.is_none() {
                    self.lead = came.draft().into_bytes();
                }
                Poll::Ready(head)
            }
            Err(error) => {
                self.answer = Answer::Failed(Some(error));
                Poll::Ready(None)
            }
        }
    }

    /// Waits for the next head.
    fn poll_came(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Came>> {
        let Answer::Awaited(answer) = &mut self.answer else { return Poll::Pending };
        if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
            let (parts, ()) = interim.map_err(broken)?.into_parts();
            return Poll::Ready(Ok(Came::Head { parts, body: BodyLine::AsFields }));
        }
        let response = ready!(Pin::new(answer).poll(cx)).map_err(broken)?;
        let (mut parts, stream) = response.into_parts();
        if let Some(switch) = self.switch.as_ref().filter(|_| parts.status.is_success()) {
            let consent = switch.consent(&mut parts.headers);
            self.answer = Answer::Here(Box::new(Incoming::new(stream, false)));
            return Poll::Ready(Ok(Came::Consent(consent)));
        }
        let is_bodiless = self.is_head || matches!(parts.status.as_u16(), 204 | 304);
        let body = match (parts.headers.contains_key(header::CONTENT_LENGTH), stream.is_end_stream()) {
            (false, false) => BodyLine::Chunked,
            (false, true) if !is_bodiless => BodyLine::Empty,
            (false, true) | (true, _) => BodyLine::AsFields,
        };
        let incoming = Incoming::new(stream, body == BodyLine::Chunked);
        self.answer = Answer::Here(Box::new(incoming));
        Poll::Ready(Ok(Came::Head { parts, body }))
    }

    /// Reads the answer; behind its end there is nothing.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if !self.lead.is_empty() {
                let count = self.lead.len().min(out.len());
                let text = self.lead.split_to(count);
                out.get_mut(..count).unwrap_or_default().copy_from_slice(&text);
                return Poll::Ready(Ok(count));
            }
            match &mut self.answer {
                // Nothing was asked, so nothing is to be waited for but the connection's end.
                Answer::None => return Poll::Pending,
                Answer::Awaited(_) => self.lead = ready!(self.poll_came(cx))?.draft().into_bytes(),
                Answer::Here(body) => return body.poll_read(cx, out),
                Answer::Failed(error) => {
                    let error = error.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if let Some(asked) = &mut self.asked {
            asked.break_off(Reason::CANCEL);
        }
    }
}

/// For heads that the gateway itself has written.
fn own_limits() -> HeadLimits {
    HeadLimits { max_head_bytes: 1 << 20, max_line_bytes: 1 << 17, max_fields: 1024, max_empty_lines: 0 }
}
