//! How an answer is framed for its client, and what that means for the connection.

use std::time::Instant;

use http::{Method, StatusCode, Version};
use lb_dump::{Capture, Side};
use lb_h1::{
    ConnectionHeader, Fields, RequestHead, ResponseFraming, ResponseHead, ResponseLine, Upgrade,
    encode_response_head,
};

use crate::config::Timeouts;
use crate::conversation::{Conversation, Gone, Next};
use crate::grpc;
use crate::upload::Upload;
use crate::watch::Phase;

/// What of a request decides how it may be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Whether the client speaks HTTP/1.1.
    pub(crate) is_http_11: bool,
    /// Whether the client wants the connection kept.
    pub(crate) keep_alive: bool,
    /// Whether only the head is wanted.
    pub(crate) is_head: bool,
    /// Whether it is a call of gRPC, which is told of failures in its own way.
    pub(crate) is_grpc: bool,
}

/// How one answer goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan<'a> {
    /// What the head announces.
    announced: ResponseFraming,
    /// Whether the body is written in chunks.
    pub(crate) is_chunked: bool,
    keep_alive: bool,
    /// What the connection becomes.
    upgrade: Option<&'a Upgrade>,
}

impl Manner {
    /// For a client of which nothing is known but that it must be left.
    pub(crate) const LAST: Self =
        Self { is_http_11: true, keep_alive: false, is_head: false, is_grpc: false };

    pub(crate) fn of(head: &RequestHead) -> Self {
        Self {
            is_http_11: head.version >= Version::HTTP_11,
            keep_alive: head.keep_alive,
            is_head: head.method == Method::HEAD,
            is_grpc: head.method == Method::POST && grpc::is_call(&head.headers),
        }
    }

    /// For a backend's answer. A body that has a length keeps it, unless a filter changes it.
    pub(crate) fn plan(self, head: &ResponseHead, is_filtered: bool, must_close: bool) -> Plan<'static> {
        let keep_alive = self.keep_alive && !must_close;
        match head.framing {
            ResponseFraming::None => {
                Plan { announced: head.declared.into(), is_chunked: false, keep_alive, upgrade: None }
            }
            ResponseFraming::Length(length) if !is_filtered => Plan {
                announced: ResponseFraming::Length(length),
                is_chunked: false,
                keep_alive,
                upgrade: None,
            },
            _ if self.is_http_11 => {
                Plan { announced: ResponseFraming::Chunked, is_chunked: true, keep_alive, upgrade: None }
            }
            // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
            _ => Plan {
                announced: ResponseFraming::UntilClose,
                is_chunked: false,
                keep_alive: false,
                upgrade: None,
            },
        }
    }

    /// For an answer of the gateway's own.
    pub(crate) fn plan_own(self, length: usize, must_close: bool) -> Plan<'static> {
        let keep_alive = self.keep_alive && !must_close;
        Plan {
            announced: ResponseFraming::Length(length as u64),
            is_chunked: false,
            keep_alive,
            upgrade: None,
        }
    }
}

impl<'a> Plan<'a> {
    /// For a backend's 101: there is no body, and no next request.
    pub(crate) fn switched(upgrade: Option<&'a Upgrade>) -> Self {
        Self { announced: ResponseFraming::None, is_chunked: false, keep_alive: true, upgrade }
    }

    /// What becomes of the connection where the answer broke off. Chunks and lengths tell a part from the whole, the end of a
    /// connection does not.
    pub(crate) fn broken(&self) -> Next {
        match self.announced {
            ResponseFraming::UntilClose => Next::Reset,
            _ => Next::Break,
        }
    }

    /// What becomes of the connection once the answer has gone.
    pub(crate) fn next(&self, conversation: &Conversation, upload: &Upload) -> Next {
        if !upload.is_complete() {
            Next::Linger
        } else if self.keep_alive {
            Next::KeepAlive
        } else if conversation.transport.inbox.is_empty() {
            Next::Close
        } else {
            Next::Linger
        }
    }
}

/// Room for a usual head and a short body, so that they are written without growing.
const HEAD_ESTIMATE: usize = 2 << 10;

/// Writes an answer's head into the outbox, and into the dump where there is one.
pub(crate) fn write_head(
    conversation: &mut Conversation,
    (status, headers): (StatusCode, &Fields),
    reason: Option<&[u8]>,
    plan: &Plan<'_>,
    manner: Manner,
    now: Instant,
    dump: Option<&Capture>,
) {
    let date = conversation.client.worker.date(now);
    // A stream of HTTP/2 takes a head as it is; a dump wants the bytes, and what is ahead of it goes first.
    if conversation.outbox.is_empty()
        && dump.is_none()
        && let Some(stream) = conversation.transport.answered()
    {
        stream.take_head(status, headers, plan.announced, Some(&date));
        return;
    }
    let start = conversation.outbox.len();
    let connection = match (plan.upgrade, plan.keep_alive) {
        (Some(upgrade), _) => ConnectionHeader::Upgrade(upgrade),
        (None, false) => ConnectionHeader::Close,
        (None, true) if manner.is_http_11 => ConnectionHeader::Implied,
        (None, true) => ConnectionHeader::KeepAlive,
    };
    let announced = match (plan.announced, manner.is_http_11) {
        // An answer to HEAD may announce chunks that will never come; not to HTTP/1.0, which has none.
        (ResponseFraming::Chunked, false) => ResponseFraming::UntilClose,
        (announced, _) => announced,
    };
    let line = ResponseLine { status, reason, version: Version::HTTP_11 };
    conversation.outbox.reserve(HEAD_ESTIMATE);
    let written =
        encode_response_head(&mut conversation.outbox, line, headers, announced, connection, Some(&date));
    debug_assert!(written.is_ok(), "the framing goes with HTTP/1.1");
    if let Some(dump) = dump {
        dump.response_head(conversation.outbox.get(start..).unwrap_or_default());
    }
}

/// Sends an answer of the gateway's own, whole.
pub(crate) async fn send_own(
    conversation: &mut Conversation,
    head: (StatusCode, &Fields),
    body: &[u8],
    plan: &Plan<'_>,
    manner: Manner,
    dump: Option<&Capture>,
) -> Result<(), Gone> {
    let now = Instant::now();
    conversation.client.watch.begin(Phase::Relay, now, Timeouts::default().idle);
    write_head(conversation, head, None, plan, manner, now, dump);
    if !manner.is_head {
        if let Some(dump) = dump {
            dump.body(Side::Response, body);
        }
        conversation.outbox.extend_from_slice(body);
    }
    conversation.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPS: Manner = Manner { is_http_11: true, keep_alive: true, is_head: false, is_grpc: false };

    #[test]
    fn an_answer_of_ones_own_has_a_length() {
        let plan = KEEPS.plan_own(7, false);
        assert_eq!(plan.announced, ResponseFraming::Length(7));
        assert!(plan.keep_alive);
        assert!(!KEEPS.plan_own(7, true).keep_alive);
    }
}
