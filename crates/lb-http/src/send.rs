//! One request on one connection, from its head's first byte to the answer's head.
//!
//! Three things go on at once: the request goes out, the answer is waited for, and the client is watched for
//! leaving. All of it is polled from the exchange's own task.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{Method, Version};
use lb_h1::{
    Asked, ConnectionHeader, HeadLimits, ParseState, ResponseFraming, ResponseHead, ResponseLine, Upgrade,
    encode_response_head, parse_response,
};

use crate::conversation::{Conversation, Gone};
use crate::pace::Pace;
use crate::reject::Reject;
use crate::transport::Transport;
use crate::upload::{Progress, Upload, UploadError};
use crate::upstream::SendError;
use crate::watch::Phase;

/// Interim responses that one request may bring (502 above).
pub(crate) const MAX_INTERIM: u32 = 32;

/// A request on its way.
pub(crate) struct Sending<'a> {
    pub(crate) conversation: &'a mut Conversation,
    pub(crate) backend: &'a mut Transport,
    pub(crate) upload: &'a mut Upload,
    /// The encoded head.
    pub(crate) head: BytesMut,
    pub(crate) url: &'a Arc<str>,
    pub(crate) method: &'a Method,
    /// What the connection is to become.
    pub(crate) upgrade: Option<&'a Upgrade>,
    /// Whether the client can be sent 103.
    pub(crate) takes_interim: bool,
    pub(crate) idle: Duration,
    /// How fast the body must come, where that is said.
    pub(crate) pace: Option<Pace>,
    pub(crate) response_head: Duration,
}

/// What became of it.
pub(crate) enum Sent {
    /// The response head is here.
    Answered(ResponseHead),
    /// The backend or its connection failed, before or after some of its answer had come.
    Broken { error: SendError, is_answered: bool },
    /// The client is to blame, or time is up.
    Rejected(Reject),
}

impl Sending<'_> {
    /// Runs until the response head is here. Dropped before that, the backend's connection must be dropped too.
    pub(crate) async fn run(&mut self) -> Sent {
        let head = std::mem::take(&mut self.head);
        if let Err(error) = self.upload.begin(head, &mut self.conversation.transport) {
            return rejected(error);
        }
        let mut parse = ParseState::default();
        let mut interim = 0;
        std::future::poll_fn(|cx| self.poll(cx, &mut parse, &mut interim)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, parse: &mut ParseState, interim: &mut u32) -> Poll<Sent> {
        if self.conversation.client.watch.is_expired() {
            return Poll::Ready(self.late());
        }
        if let Err(error) = self.poll_upload(cx) {
            return Poll::Ready(rejected(error));
        }
        if let Some(pace) = self.pace.as_mut().filter(|_| !self.upload.is_over()) {
            let watch = &self.conversation.client.watch;
            pace.look(self.upload.bytes(), self.upload.waits_for_client(), watch, Phase::Upload);
        }
        if let Poll::Ready(sent) = self.poll_answer(cx, parse, interim) {
            return Poll::Ready(sent);
        }
        if self.upload.is_over()
            && let Poll::Ready(Gone) = self.conversation.poll_gone(cx)
        {
            return Poll::Ready(Sent::Rejected(Reject::ClientGone));
        }
        Poll::Pending
    }

    /// Moves the body on, and its deadline with it.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), UploadError> {
        if self.upload.is_over() {
            return Ok(());
        }
        let Conversation { client, transport, .. } = &mut *self.conversation;
        match self.upload.poll(cx, &client.worker, transport, self.backend)? {
            Progress::None => {}
            Progress::Some => client.watch.begin(Phase::Upload, Instant::now(), self.idle),
            // A request without a body went at once, and its time was taken then.
            Progress::Over if client.watch.phase() == Phase::Wait => {}
            Progress::Over => client.watch.begin(Phase::Wait, Instant::now(), self.response_head),
        }
        Ok(())
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>, parse: &mut ParseState, interim: &mut u32) -> Poll<Sent> {
        loop {
            let asked = Asked { method: self.method, upgrade: self.upgrade };
            let parsed = match ready!(self.backend.poll_head(cx, &response_limits(), asked)) {
                None => parse_response(&mut self.backend.inbox, &response_limits(), asked, parse),
                head => Ok(head),
            };
            match parsed {
                Ok(Some(head)) if head.is_interim() => {
                    *interim += 1;
                    if *interim > MAX_INTERIM {
                        let error = SendError::TooManyInterim { backend: Arc::clone(self.url) };
                        return Poll::Ready(Sent::Broken { error, is_answered: true });
                    }
                    self.pass_interim(cx, &head);
                    continue;
                }
                Ok(Some(head)) => return Poll::Ready(Sent::Answered(head)),
                Ok(None) => {}
                Err(source) => {
                    let error = SendError::Malformed { backend: Arc::clone(self.url), source };
                    return Poll::Ready(Sent::Broken { error, is_answered: true });
                }
            }
            let mut scratch = Conversation::scratch(&self.conversation.client);
            let error = match self.backend.poll_fill(cx, &mut scratch) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => continue,
                Poll::Ready(Ok(_)) => SendError::Closed { backend: Arc::clone(self.url) },
                Poll::Ready(Err(source)) => SendError::Io { backend: Arc::clone(self.url), source },
            };
            let is_answered = *interim > 0 || !self.backend.inbox.is_empty();
            return Poll::Ready(Sent::Broken { error, is_answered });
        }
    }

    /// 103 goes to the client, as far as its socket takes it; 100 and 102 were for us.
    fn pass_interim(&mut self, cx: &mut Context<'_>, head: &ResponseHead) {
        if head.status.as_u16() != 103 || !self.takes_interim {
            return;
        }
        let line = ResponseLine { status: head.status, reason: None, version: Version::HTTP_11 };
        let (framing, connection) = (ResponseFraming::None, ConnectionHeader::Implied);
        let outbox = &mut self.conversation.outbox;
        if encode_response_head(outbox, line, &head.headers, framing, connection, None).is_ok() {
            // What does not go now goes ahead of the answer; a client that has left is noticed there.
            let _ = self.conversation.poll_flush(cx);
        }
    }

    /// Whose fault it is that time is up.
    fn late(&self) -> Sent {
        Sent::Rejected(match self.upload.waits_for_client() {
            true => Reject::RequestTimeout,
            false => Reject::UpstreamTimeout,
        })
    }
}

pub(crate) fn response_limits() -> HeadLimits {
    HeadLimits { max_fields: 256, ..HeadLimits::default() }
}

fn rejected(error: UploadError) -> Sent {
    Sent::Rejected(match error {
        UploadError::ClientGone => Reject::ClientGone,
        UploadError::Malformed(error) => {
            Reject::bad_request(format!("the request body is malformed: {error}"))
        }
    })
}
