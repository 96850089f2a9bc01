//! One stream of a connection.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::BytesMut;

use crate::fault::Fault;
use crate::head::Response;

/// What the connection knows of a stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// Whether it counts among those that are open at once.
    pub(super) is_counted: bool,
    /// Where its request's head begins among all bytes that are sent, where it is one of ours.
    pub(super) begins_at: u64,

    /// Bytes of its body that have come and not been read.
    pub(super) body: BytesMut,
    /// The last chunk and what stands with it, once it has come.
    pub(super) trailers: Option<BytesMut>,
    /// Heads of answers that have come and not been looked at.
    pub(super) heads: VecDeque<Response>,
    /// Whether an answer's head has come, behind which another one is trailers.
    pub(super) has_head: bool,
    pub(super) is_recv_ended: bool,
    /// Bytes of the body that are still to come, where its length was told.
    pub(super) expected: Option<u64>,
    /// What the peer may still send.
    pub(super) recv_window: i64,
    /// What has been read and not been given back to that window.
    pub(super) unreleased: i64,
    /// By how much that window has grown since it began.
    pub(super) growth: i64,

    pub(super) is_send_ended: bool,
    /// What the peer has still room for.
    pub(super) send_window: i64,
    /// Whether it stands among those that wait for room in the connection.
    pub(super) is_queued: bool,

    /// Whether an answer has no body whatever its head says: HEAD was asked, or its status has none.
    pub(super) is_head: bool,
    /// Whether it has been asked to become another protocol.
    pub(super) may_switch: bool,

    /// Whether nobody holds it any more, and only the peer's end is awaited.
    pub(super) is_left: bool,

    pub(super) fault: Option<Fault>,
    /// Who is to be told: one task serves both directions.
    waker: Option<Waker>,
    /// Whether what comes is waited for.
    awaits_input: bool,
    /// Whether room to send is.
    awaits_room: bool,
}

impl Stream {
    pub(super) fn new(id: u32, recv_window: i64, send_window: i64) -> Self {
        Self {
            id,
            is_counted: true,
            begins_at: 0,
            body: BytesMut::new(),
            trailers: None,
            heads: VecDeque::new(),
            has_head: false,
            is_recv_ended: false,
            expected: None,
            recv_window,
            unreleased: 0,
            growth: 0,
            is_send_ended: false,
            send_window,
            is_queued: false,
            is_head: false,
            may_switch: false,
            is_left: false,
            fault: None,
            waker: None,
            awaits_input: false,
            awaits_room: false,
        }
    }

    /// Whether neither side has anything to say any more.
    pub(super) fn is_over(&self) -> bool {
        self.fault.is_some() || self.is_recv_ended && self.is_send_ended
    }

    /// Whether all of an exchange with a backend has been said and read but for the backend's end.
    pub(super) fn is_all_but_ended(&self) -> bool {
        let is_whole = self.expected == Some(0) || self.has_head && self.is_head;
        self.fault.is_none() && self.is_send_ended && !self.is_recv_ended && is_whole && self.body.is_empty()
    }

    /// Nobody is to be told any more.
    pub(super) fn leave(&mut self) {
        (self.is_left, self.waker) = (true, None);
    }

    pub(super) fn await_input(&mut self, cx: &Context<'_>) {
        self.awaits_input = true;
        self.keep(cx);
    }

    pub(super) fn await_room(&mut self, cx: &Context<'_>) {
        self.awaits_room = true;
        self.keep(cx);
    }

    fn keep(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(known) => known.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
    }

    /// Something has come.
    pub(super) fn wake_for_input(&mut self) {
        if std::mem::take(&mut self.awaits_input) {
            self.wake();
        }
    }

    /// There is room. Whether that was waited for.
    pub(super) fn wake_for_room(&mut self) -> bool {
        let did_wait = std::mem::take(&mut self.awaits_room);
        if did_wait {
            self.wake();
        }
        did_wait
    }

    /// It is over.
    pub(super) fn wake_for_both(&mut self) {
        self.awaits_input |= std::mem::take(&mut self.awaits_room);
        self.wake_for_input();
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
