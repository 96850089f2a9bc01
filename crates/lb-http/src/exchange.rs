//! The life of a request, in one place: route, policies, pick, pool, forward, relay, record.
//!
//! One future a request, polled inside its connection's task. Dropping it gives the lease back, closes the
//! upstream connection that was in use and records the exchange as broken off.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode, Uri};
use lb_dump::Side;
use lb_h1::{Fields, RequestHead, Upgrade, drop_underscore_names};
use lb_health::FailureKind;
use lb_policy::{BodyFilter, ClientInfo, RequestParts, ResponseParts, Verdict};
use lb_router::{RequestView, Routed};

use crate::answer::{self, Manner, Plan};
use crate::attempt::{Answer, Outgoing};
use crate::body::Passage;
use crate::config::{Redirect, Timeouts};
use crate::conversation::{Conversation, Gone, Next};
use crate::decisions;
use crate::fields::REQUEST_ID;
use crate::forward::forward;
use crate::forward_proxy;
use crate::forwarded::{self, Hop};
use crate::grpc;
use crate::reject::Reject;
use crate::relay::{CLIENT_STALLED, Relayed, relay};
use crate::snapshot::{Rule, RulePolicy};
use crate::target::{self, Asked, Matched, Target};
use crate::ticket::Ticket;
use crate::tunnel::{self, End, Tunnel};
use crate::upload::Upload;
use crate::upstream::{ConnectError, Connection};
use crate::watch::{Phase, later};

/// Who answers.
enum Outcome {
    /// A backend has.
    Backend(Answer),
    /// The gateway does: a status page, or a policy.
    Own(Response<Bytes>),
}

/// Serves one request.
pub(crate) async fn serve(conversation: &mut Conversation, mut request: Box<RequestHead>) -> Next {
    let client = Rc::clone(&conversation.client);
    let manner = Manner::of(&request);
    let mut upload = Upload::new(request.framing, request.expect_continue);
    let asked = match Asked::of(&mut request) {
        Ok(asked) => asked,
        Err(rejected) => return Box::pin(refuse_head(conversation, rejected)).await,
    };
    let mut ticket = Ticket::open(&client, asked, &request.headers);
    if manner.is_grpc
        && let Some(deadline) = grpc::deadline(&request.headers)
    {
        client.watch.end_by(Some(later(ticket.started(), deadline)));
    }
    if forward_proxy::takes(&ticket) {
        return Box::pin(forward_proxy::serve(&mut ticket, conversation, manner, *request, &mut upload))
            .await;
    }
    match answer(&mut ticket, conversation, *request, &mut upload).await {
        Ok(Outcome::Backend(answer)) if answer.head.upgrade.is_some() => {
            Next::Switched(switch(ticket, conversation, manner, answer))
        }
        Ok(Outcome::Backend(answer))
            if conversation.transport.is_connect() && answer.head.status.is_success() =>
        {
            drop(answer);
            Box::pin(refuse(&mut ticket, conversation, manner, Reject::NotSwitched, &mut upload)).await
        }
        Ok(Outcome::Backend(answer)) => pass_on(&mut ticket, conversation, manner, answer, &mut upload).await,
        // What is no backend's answer is boxed, so that an exchange with one needs no room for it.
        Ok(Outcome::Own(response)) => {
            Box::pin(own(&mut ticket, conversation, manner, response, &mut upload)).await
        }
        Err(Reject::ClientGone) => {
            ticket.release_mirror(&mut upload, None);
            ticket.carried(upload.bytes(), 0);
            Next::Break
        }
        Err(rejected) => Box::pin(refuse(&mut ticket, conversation, manner, rejected, &mut upload)).await,
    }
}

/// Finds who answers, and waits for the answer's head.
async fn answer(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    request: RequestHead,
    upload: &mut Upload,
) -> Result<Outcome, Reject> {
    let (snapshot, client) = (ticket.snapshot(), Rc::clone(ticket.client()));
    let (asked, mut headers) = (Rc::clone(ticket.asked()), request.headers);
    client.watch.begin(Phase::Wait, ticket.started(), Timeouts::default().response_head);

    // One reading of the request, for rules, policies and backend alike.
    if let Some(answer) = without_a_path(&asked)? {
        return Ok(Outcome::Own(answer));
    }
    if request.underscore_names && !snapshot.underscores_in_headers {
        drop_underscore_names(&mut headers);
    }
    client.tell_identity(&snapshot.identity_headers, &mut headers);
    let target = Target::read(&asked.uri, asked.host.as_deref(), snapshot.merge_slashes)?;

    // Status endpoints, where the listener has them, stand ahead of every rule.
    if client.listener.config.status_endpoints
        && client.worker.has_page(&target.path)
        && let Some(page) = Box::pin(client.worker.page(&asked.method, &headers, &target)).await
    {
        return Ok(Outcome::Own(page));
    }

    // Route: the first rule that matches.
    let view = RequestView {
        method: &asked.method,
        host: target.host,
        path: &target.path,
        query: target.query,
        headers: &Matched(&headers),
    };
    if decisions::are_told() {
        decisions::routed(ticket, &snapshot, &view);
    }
    let matched = match snapshot.router.route(&view) {
        Routed::Rule(matched) => matched,
        Routed::MethodNotAllowed { allow } => return Err(Reject::MethodNotAllowed(allow)),
        Routed::None => return Err(Reject::NoRule),
    };
    let (index, path) = (matched.index, matched.rewrite(&target.path));
    let rule = snapshot.rules.get(index).ok_or(Reject::NoRule)?;
    upload.tee(ticket.ruled(index, headers.received()));

    // Tell the backend about the client. Fields that end at this hop are left out when the head is written.
    headers.insert(&REQUEST_ID, ticket.request_id());
    let hop = Hop {
        peer: &client.peer_value,
        client: ticket.address(),
        trusted: ticket.trusted_peer(),
        scheme: client.scheme(),
        host: asked.host.as_deref(),
    };
    forwarded::apply(&mut headers, &hop);

    // Policies: each lets the request pass, answers it or refuses it.
    client.watch.begin(Phase::Wait, ticket.started(), rule.timeouts.response_head);
    if let Some(response) = run_policies(ticket, rule, conversation, &asked, &mut headers).await? {
        return Ok(Outcome::Own(response));
    }

    if let Some(redirect) = &rule.redirect {
        return redirected(redirect, &asked.uri, &path).map(Outcome::Own);
    }

    // Choose, attempt, perhaps again: until the response head is here.
    ticket.enter(rule)?;
    // With a body to come there is nothing to switch yet; and h2c would speak past every rule.
    let upgrade = request.upgrade.as_ref().filter(|upgrade| **upgrade != Upgrade::H2c && upload.is_empty());
    let mut outgoing =
        Outgoing { asked: &asked, headers, path: &path, upload, upgrade, version: request.version };
    forward(ticket, rule, conversation, &mut outgoing).await.map(Outcome::Backend)
}

/// Requests that are about the gateway itself, or about a tunnel.
fn without_a_path(asked: &Asked) -> Result<Option<Response<Bytes>>, Reject> {
    if asked.method == Method::CONNECT {
        let allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        return Err(Reject::MethodNotAllowed(HeaderValue::from_static(allow)));
    }
    // `OPTIONS *` (RFC 9110 §9.3.7); the codec refuses * with any other method.
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok((asked.uri.path() == "*").then_some(response))
}

/// The answer of a rule that sends its clients elsewhere.
pub(crate) fn redirected(redirect: &Redirect, uri: &Uri, path: &str) -> Result<Response<Bytes>, Reject> {
    let location = [redirect.origin.as_bytes(), &target::forwarded(uri, "", path)].concat();
    let location = HeaderValue::from_bytes(&location)
        .map_err(|_| Reject::bad_request("the rewritten path is not a valid location"))?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The rule's policies in their order; an answer ends the exchange. Whoever is made to wait may leave.
async fn run_policies(
    ticket: &mut Ticket,
    rule: &Rule,
    conversation: &mut Conversation,
    asked: &Asked,
    headers: &mut Fields,
) -> Result<Option<Response<Bytes>>, Reject> {
    let info = ClientInfo { address: ticket.address(), secure: ticket.client().is_secure() };
    for RulePolicy { policy, stats } in &*rule.policies {
        let parts = RequestParts { method: &asked.method, uri: &asked.uri, headers };
        let mut verdict = policy.on_request(parts, &info);
        loop {
            verdict = match verdict {
                Verdict::Continue => break,
                Verdict::Hold(permit) => {
                    ticket.hold(permit);
                    break;
                }
                Verdict::Refuse(refusal) => {
                    if let Some(stats) = stats {
                        stats.rejected(ticket.client().worker.index);
                    }
                    return Err(Reject::Refused(refusal));
                }
                Verdict::Answer(response) => return Ok(Some(*response)),
                Verdict::Delay(delay, then) => {
                    while_there(conversation, tokio::time::sleep(delay)).await?;
                    *then
                }
                Verdict::Wait(future) => while_there(conversation, future).await?,
            };
        }
    }
    Ok(None)
}

/// Waits for a policy, for as long as there is time and the client is there. Dropping it drops the future.
async fn while_there<F: Future>(conversation: &mut Conversation, future: F) -> Result<F::Output, Reject> {
    let client = Rc::clone(&conversation.client);
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if client.watch.is_expired() {
            return Poll::Ready(Err(Reject::Held));
        }
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        conversation.poll_gone(cx).map(|Gone| Err(Reject::ClientGone))
    })
    .await
}

/// The rule's policies on a response head, in reverse order; and the filter for its body, if one wants it.
fn run_response_policies(
    ticket: &Ticket,
    status: StatusCode,
    headers: &mut Fields,
) -> Option<Box<dyn BodyFilter>> {
    let snapshot = ticket.snapshot();
    let rule = ticket.rule_index().and_then(|index| snapshot.rules.get(index))?;
    let mut filter = None;
    for RulePolicy { policy, .. } in rule.policies.iter().rev() {
        policy.on_response(ResponseParts { status, headers });
        filter = filter.or_else(|| policy.body_filter(ResponseParts { status, headers }));
    }
    filter
}

/// A backend's answer: through the policies, and on to the client, piece by piece.
pub(crate) async fn pass_on(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    manner: Manner,
    mut answer: Answer,
    upload: &mut Upload,
) -> Next {
    let head = &mut answer.head;
    let client = Rc::clone(ticket.client());
    head.headers.insert(&REQUEST_ID, ticket.request_id());
    client.listener.advertise(&mut head.headers);
    let filter = run_response_policies(ticket, head.status, &mut head.headers);

    let plan = manner.plan(head, filter.is_some(), client.is_leaving() || !upload.is_complete());
    let mut passage = Passage::new(head.framing, plan.is_chunked, filter);
    passage.tee(ticket.tee(Side::Response));
    if ticket.compares() {
        passage.hash();
    }
    let (line, now) = ((head.status, &head.headers), answer.came_at);
    answer::write_head(conversation, line, head.reason(), &plan, manner, now, ticket.dump());
    let timeouts = ticket.timeouts();
    client.watch.begin(Phase::Relay, now, timeouts.idle);
    let relayed = relay(conversation, &mut answer.connection, &mut passage, upload, timeouts).await;
    ticket.carried(upload.bytes(), passage.bytes());
    let digest = passage.digest().filter(|_| matches!(relayed, Relayed::Whole));
    ticket.release_mirror(upload, digest);
    match relayed {
        Relayed::Whole => {
            let now = Instant::now();
            ticket.complete(now);
            ticket.release_backend();
            if answer.head.keep_alive && upload.is_sent() {
                client.worker.pool.keep(answer.home, answer.connection, now);
            }
            plan.next(conversation, upload)
        }
        Relayed::Broken(reason) => {
            ticket.broke("upstream_reset", reason, FailureKind::Reset);
            plan.broken()
        }
        Relayed::Cut { code, reason } => {
            ticket.cut(code, reason);
            if code == CLIENT_STALLED { Next::Reset } else { plan.broken() }
        }
        Relayed::Stalled => {
            let reason = "the backend moved nothing for idle_timeout".to_owned();
            ticket.broke("upstream_timeout", reason, FailureKind::Timeout);
            plan.broken()
        }
        Relayed::ClientGone => Next::Break,
    }
}

/// Passes a backend's consent to speak another protocol on.
fn switch(
    mut ticket: Ticket,
    conversation: &mut Conversation,
    manner: Manner,
    answer: Answer,
) -> Box<Switched> {
    let Answer { mut head, came_at, connection, .. } = answer;
    head.headers.insert(&REQUEST_ID, ticket.request_id());
    run_response_policies(&ticket, head.status, &mut head.headers);
    let plan = Plan::switched(head.upgrade.as_ref());
    let line = (head.status, &head.headers);
    answer::write_head(conversation, line, head.reason(), &plan, manner, came_at, ticket.dump());
    // The backend has done what health is judged by; what is said from now on is none of the gateway's business.
    ticket.switched(came_at);
    Box::new(Switched { ticket, connection })
}

/// What is left of an exchange whose two sides have switched to another protocol. It may last for hours, so nothing else is
/// kept.
pub(crate) struct Switched {
    ticket: Ticket,
    connection: Connection,
}

impl Switched {
    /// Carries whatever the two have to say. Dropping it breaks that off, and so is it where the client has not been told the end.
    pub(crate) async fn carry(mut self: Box<Self>, conversation: &mut Conversation) -> Next {
        let Self { ticket, connection } = &mut *self;
        let (timeouts, backend) = (ticket.timeouts(), &mut connection.transport);
        let mut tunnel = Tunnel::new(conversation, backend, (timeouts.tunnel, timeouts.idle));
        let ended = std::future::poll_fn(|cx| {
            let polled = tunnel.poll(cx, conversation, backend);
            // Whatever ends it, the record has what was carried by then.
            ticket.carried(tunnel.bytes_in(), tunnel.bytes_out());
            polled
        })
        .await;
        if ended == End::Over {
            ticket.complete(Instant::now());
        }
        if tunnel.is_told(tunnel::Side::Client) { Next::Close } else { Next::Break }
    }
}

/// An answer of the gateway's own.
async fn own(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    manner: Manner,
    response: Response<Bytes>,
    upload: &mut Upload,
) -> Next {
    let (head, body) = response.into_parts();
    let (status, mut headers) = (head.status, Fields::from(&head.headers));
    ticket.answered_here(status);
    run_response_policies(ticket, status, &mut headers);
    headers.insert(&REQUEST_ID, ticket.request_id());
    ticket.client().listener.advertise(&mut headers);
    let must_close = !upload.discard(&mut conversation.transport) || ticket.client().is_leaving();
    let plan = manner.plan_own(body.len(), must_close);
    let sent = answer::send_own(conversation, (status, &headers), &body, &plan, manner, ticket.dump()).await;
    ticket.carried(upload.bytes(), if manner.is_head { 0 } else { body.len() as u64 });
    match sent {
        Ok(()) => {
            ticket.complete(Instant::now());
            plan.next(conversation, upload)
        }
        Err(_) => Next::Break,
    }
}

/// An answer that says why there is none.
pub(crate) async fn refuse(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    manner: Manner,
    rejected: Reject,
    upload: &mut Upload,
) -> Next {
    ticket.release_mirror(upload, None);
    let rejected = overdue(ticket, rejected);
    let manner = Manner { keep_alive: manner.keep_alive && !rejected.closes(), ..manner };
    if manner.is_grpc {
        return refuse_call(ticket, conversation, manner, &rejected, upload).await;
    }
    let response = rejected.response(ticket.request_id());
    ticket.rejected(&rejected, response.status());
    own(ticket, conversation, manner, response, upload).await
}

/// The same to a call of gRPC. It is recorded with the status that any other request would have got.
async fn refuse_call(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    manner: Manner,
    rejected: &Reject,
    upload: &mut Upload,
) -> Next {
    let (response, status) = grpc::refusal(rejected, ticket.request_id());
    ticket.rejected(rejected, status);
    ticket.client().watch.end_by(None);
    let next = own(ticket, conversation, manner, response, upload).await;
    ticket.answered_here(status);
    next
}

/// Where the request's own deadline is over, that is why, and no backend is to blame.
fn overdue(ticket: &Ticket, rejected: Reject) -> Reject {
    match rejected {
        Reject::UpstreamTimeout
        | Reject::Held
        | Reject::RequestTimeout
        | Reject::Connect(ConnectError::Timeout { .. })
            if ticket.client().watch.is_at_end() =>
        {
            Reject::Deadline
        }
        rejected => rejected,
    }
}

/// Answers a connection whose bytes never became a request.
pub(crate) async fn refuse_head(conversation: &mut Conversation, rejected: Reject) -> Next {
    let mut ticket = Ticket::unread(&conversation.client);
    let mut nothing = Upload::new(lb_h1::BodyFraming::None, false);
    refuse(&mut ticket, conversation, Manner::LAST, rejected, &mut nothing).await;
    Next::Linger
}
