//! A stream to a backend: the request as what is taken, the answer as a head and bytes that can be read.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{StatusCode, header};
use lb_h1::{
    Asked, BodyFraming, Draft, Fields, HeadLimits, ParseState, RequestError, RequestHead, RequestLine,
    ResponseFraming, ResponseHead, parse_request, request_parts,
};

use crate::connection::{Ask, Promise, StreamRef, open};
use crate::fault::{Fault, Reason};
use crate::head::{BodyLine, Response};
use crate::incoming::Incoming;
use crate::maps::is_grpc;
use crate::outgoing::{Outgoing, PIECE, Trailers};
use crate::upgrade::Switch;

/// One request and its answer. Dropped before both are over, it resets its stream.
#[derive(Debug)]
pub struct ClientStream {
    /// Until it is opened.
    promise: Option<Promise>,
    is_secure: bool,
    /// Bytes of the request's head.
    head: BytesMut,
    parse: ParseState,
    stream: Option<StreamRef>,
    asked: Option<Outgoing>,
    is_head: bool,
    /// What the stream is asked to become; then it has bytes both ways in place of bodies.
    switch: Option<Switch>,
    answer: Answer,
    /// Bytes of the answer that are read first: its head, or one ahead of it.
    lead: BytesMut,
}

#[derive(Debug)]
enum Answer {
    /// There is no request yet.
    None,
    Awaited,
    /// Its head is here.
    Here(Incoming),
    /// There will be none. The reason is told once.
    Failed(Option<io::Error>),
}

impl ClientStream {
    pub(crate) fn new(promise: Promise, is_secure: bool) -> Self {
        Self {
            promise: Some(promise),
            is_secure,
            head: BytesMut::new(),
            parse: ParseState::default(),
            stream: None,
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
        self.promise.as_ref().is_some_and(Promise::takes_connect)
    }

    /// Takes the request's head in the place of its bytes, where it asks for no upgrade. Where the stream cannot be opened, the answer
    /// tells why.
    ///
    /// # Errors
    /// Where the head cannot stand in HTTP/2: its target or its Host.
    pub fn take_head(
        &mut self,
        line: RequestLine<'_>,
        headers: &Fields,
        framing: BodyFraming,
    ) -> Result<(), RequestError> {
        let (authority, length) = request_parts(line, headers, framing)?;
        let is_grpc = is_grpc(headers.get(&header::CONTENT_TYPE));
        let ask = Ask {
            method: line.method,
            is_secure: self.is_secure,
            authority,
            path: line.target,
            protocol: None,
            headers,
            length,
            te_trailers: is_grpc,
            is_grpc,
        };
        // Why it cannot be sent is what is read in the answer's stead.
        _ = self.ask(&ask, framing.into());
        Ok(())
    }

    /// Takes bytes of the request: its head, whole or in parts, and its body.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some((asked, stream)) = self.asked.as_mut().zip(self.stream.as_ref()) {
            return asked.poll_write(cx, stream, bytes);
        }
        if matches!(self.answer, Answer::Failed(_)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(PIECE);
        self.head.extend_from_slice(bytes.get(..count).unwrap_or_default());
        let parsed = parse_request(&mut self.head, &own_limits(), &mut self.parse);
        match parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            None => Poll::Ready(Ok(count)),
            Some(head) => Poll::Ready(self.ask_head(cx, &head).map(|()| count)),
        }
    }

    fn ask_head(&mut self, cx: &Context<'_>, head: &RequestHead) -> io::Result<()> {
        let target = head.target.path_and_query();
        let line = RequestLine { method: &head.method, target: &target, version: head.version };
        let (authority, length) = request_parts(line, &head.headers, head.framing)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if let Some(upgrade) = &head.upgrade
            && self.takes_connect()
        {
            self.switch = Switch::of(&head.headers, upgrade);
        }
        let switch = self.switch.take();
        let is_grpc = is_grpc(head.headers.get(&header::CONTENT_TYPE));
        let ask = Ask {
            method: &head.method,
            is_secure: self.is_secure,
            authority,
            path: &target,
            protocol: switch.as_ref().map(Switch::protocol),
            headers: &head.headers,
            length: length.filter(|_| switch.is_none()),
            te_trailers: is_grpc || head.hop_by_hop.te_trailers,
            is_grpc,
        };
        let framing = if switch.is_some() { ResponseFraming::Tunnel } else { head.framing.into() };
        let asked = self.ask(&ask, framing);
        self.switch = switch;
        asked?;
        let body = std::mem::take(&mut self.head);
        match self.asked.as_mut().zip(self.stream.as_ref()).filter(|_| !body.is_empty()) {
            Some((asked, stream)) => asked.write_all(cx, stream, &body),
            None => Ok(()),
        }
    }

    /// Opens the stream. Where it cannot be opened, the answer tells why.
    fn ask(&mut self, ask: &Ask<'_>, framing: ResponseFraming) -> io::Result<()> {
        self.is_head = *ask.method == http::Method::HEAD;
        let is_ended = matches!(framing, ResponseFraming::None | ResponseFraming::Length(0));
        let Some(promise) = self.promise.take() else { return Err(io::ErrorKind::InvalidData.into()) };
        match open(&promise, ask, is_ended) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.answer = Answer::Awaited;
                self.asked = Some(Outgoing::new(framing, is_ended));
                Ok(())
            }
            Err(fault) => {
                self.answer = Answer::Failed(Some(fault.into_io()));
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    /// How many bytes of the request have been taken that the backend's window has had no room for.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.asked.as_ref().map_or(0, Outgoing::backlog)
    }

    /// Hands over what has been taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.asked.as_mut().zip(self.stream.as_ref()) {
            Some((asked, stream)) => asked.poll_flush(cx, stream),
            None if matches!(self.answer, Answer::Failed(_)) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends a way that is another protocol's; any other ends with its message.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.asked.as_mut().zip(self.stream.as_ref()) {
            Some((asked, stream)) if self.switch.is_some() => asked.poll_close(cx, stream),
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
        if !self.lead.is_empty() || !matches!(self.answer, Answer::Awaited) {
            return Poll::Ready(None);
        }
        match ready!(self.poll_came(cx)) {
            Ok(draft) => {
                let head = draft.clone().read_response(limits, asked);
                if head.is_none() {
                    self.lead = draft.into_bytes();
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
    fn poll_came(&mut self, cx: &Context<'_>) -> Poll<io::Result<Draft>> {
        let Some(stream) = &self.stream else { return Poll::Pending };
        let (response, is_ended) = ready!(stream.poll_head(cx)).map_err(Fault::into_io)?;
        let Response { mut draft, status, length, is_consent } = response;
        if is_consent && let Some(switch) = &self.switch {
            switch.add_consent(&mut draft);
            self.answer = Answer::Here(Incoming::new(false, is_ended));
            return Poll::Ready(Ok(draft));
        }
        if status.is_informational() {
            return Poll::Ready(Ok(draft));
        }
        let is_bodiless = self.is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = match (length.is_some(), is_ended) {
            (false, false) => BodyLine::Chunked,
            (false, true) if !is_bodiless => BodyLine::Empty,
            (false, true) | (true, _) => BodyLine::AsFields,
        };
        match body {
            BodyLine::AsFields => {}
            BodyLine::Chunked => draft.line(&header::TRANSFER_ENCODING, b"chunked"),
            BodyLine::Empty => draft.line(&header::CONTENT_LENGTH, b"0"),
        }
        self.answer = Answer::Here(Incoming::new(body == BodyLine::Chunked, is_ended));
        Poll::Ready(Ok(draft))
    }

    /// Whether trailers may still come behind the answer's body, whose length was told: until its end is here.
    #[must_use]
    pub fn may_bring_trailers(&self) -> bool {
        self.stream.as_ref().is_some_and(StreamRef::is_end_due)
    }

    /// Waits for the end of the answer's body, all of which has been read: with trailers, where some have come.
    pub fn poll_trailers(&self, cx: &Context<'_>) -> Poll<Option<Trailers>> {
        self.stream.as_ref().map_or(Poll::Ready(None), |stream| stream.poll_end(cx).map(Trailers::of))
    }

    /// Whether the end of the request's body is told by itself, by [`finish`](Self::finish), where its length is.
    pub fn hold(&mut self, is_held: bool) {
        if let Some(asked) = &mut self.asked {
            asked.hold(is_held);
        }
    }

    /// Tells the end of the request's body, all of which has been taken and has gone, with these trailers.
    ///
    /// # Errors
    /// The stream is over.
    pub fn finish(&mut self, cx: &Context<'_>, trailers: Option<Trailers>) -> io::Result<()> {
        match self.asked.as_mut().zip(self.stream.as_ref()) {
            Some((asked, stream)) => asked.finish(cx, stream, trailers),
            None => Ok(()),
        }
    }

    /// Ready once the backend has reset it or its connection is over.
    pub fn poll_reset(&self, cx: &Context<'_>) -> Poll<()> {
        self.stream.as_ref().map_or(Poll::Pending, |stream| stream.poll_fault(cx).map(|_| ()))
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
            match (&mut self.answer, &self.stream) {
                (Answer::Awaited, _) => self.lead = ready!(self.poll_came(cx))?.into_bytes(),
                (Answer::Here(body), Some(stream)) => return body.poll_read(cx, stream, out),
                (Answer::Failed(error), _) => {
                    let error = error.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                    return Poll::Ready(Err(error));
                }
                // Nothing was asked, so nothing is to be waited for but the connection's end.
                _ => return Poll::Pending,
            }
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if let Some((asked, stream)) = self.asked.as_mut().zip(self.stream.as_ref()) {
            asked.break_off(stream, Reason::CANCEL);
        }
    }
}

/// For heads that the gateway itself has written.
fn own_limits() -> HeadLimits {
    HeadLimits { max_head_bytes: 1 << 20, max_line_bytes: 1 << 17, max_fields: 1024, max_empty_lines: 0 }
}
