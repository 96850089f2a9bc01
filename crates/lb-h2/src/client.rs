//! A stream to a backend: the request as bytes that are taken, the answer as bytes that can be read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use http::uri::Scheme;
use http::{Method, header};
use lb_h1::{BodyFraming, HeadLimits, ParseState, RequestHead, ResponseFraming, parse_request};

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
    asked: Option<Outgoing>,
    is_head: bool,
    /// What the stream is asked to become; then it has bytes both ways in place of bodies.
    switch: Option<Switch>,
    answer: Answer,
}

enum Answer {
    /// There is no request yet.
    None,
    Awaited(ResponseFuture),
    /// Its head is read first.
    Here {
        head: BytesMut,
        body: Box<Incoming>,
    },
}

impl ClientStream {
    /// A stream that is opened by the first request head. `send` must be a handle of its own.
    #[must_use]
    pub fn new(send: SendRequest<Bytes>, scheme: Scheme) -> Self {
        let (head, parse) = (BytesMut::new(), ParseState::default());
        Self { send, scheme, head, parse, asked: None, is_head: false, switch: None, answer: Answer::None }
    }

    /// Whether the backend takes an extended CONNECT (RFC 8441), as far as it has said. To any other an upgrade is not passed on.
    #[must_use]
    pub fn takes_connect(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Takes bytes of the request: its head, whole or in parts, and its body.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(asked) = &mut self.asked {
            return asked.poll_write(cx, bytes);
        }
        // Where the backend has no room for a further stream, nothing is taken.
        ready!(self.send.poll_ready(cx)).map_err(unsent)?;
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
        self.is_head = head.method == Method::HEAD;
        if let Some(upgrade) = &head.upgrade
            && self.takes_connect()
        {
            self.switch = Switch::ask(&mut request, upgrade);
        }
        let is_ended =
            self.switch.is_none() && matches!(head.framing, BodyFraming::None | BodyFraming::Length(0));
        let framing = if self.switch.is_some() { ResponseFraming::Tunnel } else { head.framing.into() };
        let (answer, stream) = self.send.send_request(request, is_ended).map_err(unsent)?;
        self.answer = Answer::Awaited(answer);
        let mut asked = Outgoing::new(stream, framing, is_ended);
        let body = std::mem::take(&mut self.head);
        let taken = if body.is_empty() { Poll::Ready(Ok(0)) } else { asked.poll_write(cx, &body) };
        self.asked = Some(asked);
        match taken {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }

    /// Hands over what has been taken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// Reads the answer; behind its end there is nothing.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.answer {
                // Nothing was asked, so nothing is to be waited for but the connection's end.
                Answer::None => return Poll::Pending,
                Answer::Awaited(answer) => {
                    if let Poll::Ready(Some(interim)) = answer.poll_informational(cx) {
                        let (head, mut text) = (interim.map_err(broken)?, BytesMut::new());
                        head::write_response(&mut text, head.status(), head.headers(), BodyLine::AsFields);
                        let count = text.len().min(out.len());
                        let (Some(to), Some(from)) = (out.get_mut(..count), text.get(..count)) else {
                            continue;
                        };
                        to.copy_from_slice(from);
                        return Poll::Ready(if count == text.len() {
                            Ok(count)
                        } else {
                            Err(io::ErrorKind::InvalidData.into())
                        });
                    }
                    let response = ready!(Pin::new(answer).poll(cx)).map_err(broken)?;
                    let (mut parts, body) = response.into_parts();
                    if let Some(switch) = self.switch.as_ref().filter(|_| parts.status.is_success()) {
                        let mut head = BytesMut::new();
                        switch.write_consent(&mut head, &mut parts.headers);
                        self.answer = Answer::Here { head, body: Box::new(Incoming::new(body, false)) };
                        continue;
                    }
                    let has_length = parts.headers.contains_key(header::CONTENT_LENGTH);
                    let is_chunked = !has_length && !body.is_end_stream();
                    let mut head = BytesMut::new();
                    let line = if is_chunked { BodyLine::Chunked } else { BodyLine::AsFields };
                    head::write_response(&mut head, parts.status, &parts.headers, line);
                    let is_bodiless = self.is_head || matches!(parts.status.as_u16(), 204 | 304);
                    if !has_length && body.is_end_stream() && !is_bodiless {
                        // Nothing follows, which HTTP/1.1 has to be told.
                        head.truncate(head.len().saturating_sub(2));
                        head.extend_from_slice(b"content-length: 0\r\n\r\n");
                    }
                    self.answer = Answer::Here { head, body: Box::new(Incoming::new(body, is_chunked)) };
                }
                Answer::Here { head, .. } if !head.is_empty() => {
                    let count = head.len().min(out.len());
                    let text = head.split_to(count);
                    out.get_mut(..count).unwrap_or_default().copy_from_slice(&text);
                    return Poll::Ready(Ok(count));
                }
                Answer::Here { body, .. } => return body.poll_read(cx, out),
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
