//! The bodies of an exchange, streamed piece by piece with back-pressure: nothing is read before it can be sent.
//!
//! Dropping either body at any time is safe: it closes the upstream connection it still uses, and the exchange is
//! recorded as broken off.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use lb_policy::{BodyFilter, FilterError};

use crate::client::Client;
use crate::pool::Slot;
use crate::ticket::Ticket;
use crate::upstream::Connection;
use crate::watch::Phase;

/// A request body on its way to a backend.
pub(crate) struct ClientBody(Option<(Incoming, Rc<Client>)>);

impl ClientBody {
    /// The body that came with a request's head.
    pub(crate) fn new(incoming: Incoming, client: &Rc<Client>) -> Self {
        let has_body = !incoming.is_end_stream();
        client.upload.begin(has_body);
        Self(has_body.then(|| (incoming, Rc::clone(client))))
    }

    /// No body at all.
    pub(crate) fn empty() -> Self {
        Self(None)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((incoming, client)) = &mut self.0 else { return Poll::Ready(None) };
        let frame = Pin::new(&mut *incoming).poll_frame(cx);
        match &frame {
            Poll::Pending => client.upload.starved(),
            Poll::Ready(None) => client.upload.took(0, true, &client.watch),
            Poll::Ready(Some(Ok(frame))) => {
                client.upload.took(data_len(frame), incoming.is_end_stream(), &client.watch);
            }
            Poll::Ready(Some(Err(_))) => client.upload.broke(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(incoming, _)| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |(incoming, _)| incoming.size_hint())
    }
}

/// Why a response body stops before its end. The client's connection is cut, so that no client takes the part
/// for the whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// The backend broke off.
    #[error("the backend broke off its response: {0}")]
    Backend(#[from] hyper::Error),
    /// A policy's filter gave up.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

/// A response body on its way to a client, with the record of its exchange.
pub(crate) struct GatewayBody {
    source: Source,
    ticket: Ticket,
}

enum Source {
    /// Everything has been handed over.
    Done,
    /// An answer of the gateway's own.
    Own(Bytes),
    /// A backend's.
    Relay(Relay),
}

/// A backend's body and the connection that it comes from.
struct Relay {
    incoming: Incoming,
    connection: Option<Box<Connection>>,
    slot: Slot,
    idle: Duration,
    began: bool,
    filter: Option<Box<dyn BodyFilter>>,
}

impl GatewayBody {
    /// An answer of the gateway's own.
    pub(crate) fn own(body: Bytes, mut ticket: Ticket) -> Self {
        ticket.complete();
        let source = if body.is_empty() { Source::Done } else { Source::Own(body) };
        Self { source, ticket }
    }

    /// A backend's answer. `idle` bounds the wait between two pieces.
    pub(crate) fn relay(
        incoming: Incoming,
        connection: Box<Connection>,
        slot: Slot,
        idle: Duration,
        filter: Option<Box<dyn BodyFilter>>,
        ticket: Ticket,
    ) -> Self {
        let ended = incoming.is_end_stream();
        let relay = Relay { incoming, connection: Some(connection), slot, idle, began: false, filter };
        let mut body = Self { source: Source::Relay(relay), ticket };
        if ended {
            body.finish_backend();
            if body.relay_filter().is_none() {
                body.complete();
            }
        }
        body
    }

    fn relay_filter(&mut self) -> Option<&mut Box<dyn BodyFilter>> {
        match &mut self.source {
            Source::Relay(relay) => relay.filter.as_mut(),
            _ => None,
        }
    }

    /// The backend's part is over: its connection may serve someone else.
    fn finish_backend(&mut self) {
        let Source::Relay(relay) = &mut self.source else { return };
        if let Some(connection) = relay.connection.take() {
            self.ticket.release_backend();
            self.ticket.client().worker.pool.put(relay.slot, connection, Instant::now());
        }
    }

    fn complete(&mut self) {
        self.source = Source::Done;
        self.ticket.complete();
    }
}

impl Relay {
    /// The next piece from the backend, driving its connection where none is ready.
    fn poll_backend(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending()
            && let Some(connection) = &mut self.connection
        {
            connection.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        if frame.is_ready() {
            // The first piece comes with the head, whose time was taken.
            if std::mem::replace(&mut self.began, true) {
                client.watch.begin(Phase::Relay, Instant::now(), self.idle);
            }
        }
        frame
    }
}

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let this = &mut *self;
        loop {
            let relay = match &mut this.source {
                Source::Done => return Poll::Ready(None),
                Source::Own(body) => {
                    let body = std::mem::take(body);
                    this.ticket.sent(body.len());
                    this.source = Source::Done;
                    return Poll::Ready(Some(Ok(Frame::data(body))));
                }
                Source::Relay(relay) => relay,
            };
            let frame = match ready!(relay.poll_backend(cx, this.ticket.client())) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let error = RelayError::from(error);
                    this.ticket.broke("upstream_reset", error.to_string());
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.finish_backend();
                    let rest = this.relay_filter().map(|filter| filter.finish()).transpose();
                    this.complete();
                    return Poll::Ready(match rest {
                        Ok(rest) => rest.filter(|rest| !rest.is_empty()).map(|rest| {
                            this.ticket.sent(rest.len());
                            Ok(Frame::data(rest))
                        }),
                        Err(error) => Some(Err(error.into())),
                    });
                }
            };
            let Some(filter) = &mut relay.filter else {
                let ended = relay.incoming.is_end_stream();
                this.ticket.sent(data_len(&frame));
                if ended {
                    this.finish_backend();
                    this.complete();
                }
                return Poll::Ready(Some(Ok(frame)));
            };
            // Trailers of a body that was changed would vouch for one that no longer exists.
            let Ok(piece) = frame.into_data() else { continue };
            let piece = match filter.push(piece) {
                Ok(piece) => piece,
                Err(error) => {
                    this.ticket.broke("filter_failed", error.to_string());
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            if !piece.is_empty() {
                this.ticket.sent(piece.len());
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Done => SizeHint::with_exact(0),
            Source::Own(body) => SizeHint::with_exact(body.len() as u64),
            Source::Relay(relay) if relay.filter.is_some() => SizeHint::default(),
            Source::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}

fn data_len(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}
