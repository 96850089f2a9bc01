//! What is known of an exchange while it lasts, and its record when it ends.
//!
//! The ticket travels from the request to the response body and is recorded when it is dropped: exactly once,
//! however the exchange ends.

mod spans;
mod trail;

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use lb_core::{Lease, Outcome};
use lb_dump::{Capture, Ending, Side, Tee};
use lb_h1::Fields;
use lb_health::{self as health, Attempt};
use lb_observe::{Exchange, FailureKind, Protocol, Trace, Trail};

use crate::client::Client;
use crate::config::Timeouts;
use crate::decisions;
use crate::fields::REQUEST_ID;
use crate::forward_proxy;
use crate::forwarded;
use crate::mirror::RequestCopy;
use crate::reject::{Reject, client_closed_request};
use crate::relay::CLIENT_STALLED;
use crate::request_id;
use crate::snapshot::{Rule, Snapshot, Target, Upstream};
use crate::target::Asked;
use crate::upload::Upload;
use crate::worker::Pinned;

/// One exchange.
pub(crate) struct Ticket {
    client: Rc<Client>,
    snapshot: Pinned,
    started: Instant,
    request_id: HeaderValue,
    /// Where there is tracing.
    trace: Option<Trace>,
    /// Where decision records are kept.
    trail: Option<Box<Trail>>,
    /// The upstream that backends are chosen of, where that is taken down.
    upstream: Option<usize>,
    /// The copy that is made of the request.
    mirror: Option<Box<RequestCopy>>,
    /// The part of the rule's split that it goes to.
    part: Option<usize>,
    address: IpAddr,
    trusted_peer: bool,
    /// Whether there was a request to read method and path from.
    is_read: bool,
    asked: Rc<Asked>,
    rule: Option<usize>,
    backend: Option<(usize, usize)>,
    lease: Option<Lease>,
    /// Until it is known how the attempt ended for the backend's health.
    permit: Option<Attempt>,
    /// Whether it is one of its rule's limited number.
    is_limited: bool,
    backend_active: u32,
    backend_healthy: bool,
    attempts: u32,
    upstream_latency: Option<Duration>,
    status: StatusCode,
    code: Option<&'static str>,
    error: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
    /// When the whole answer had been handed over.
    completed: Option<Instant>,
    held: Vec<Box<dyn Any>>,
    /// Where the exchange is dumped.
    dump: Option<Rc<Capture>>,
}

impl Ticket {
    /// Opens the record of a request that has just come: its id, and who sent it.
    pub(crate) fn open(client: &Rc<Client>, asked: Asked, headers: &Fields) -> Self {
        let snapshot = client.worker.snapshot();
        let trusted_peer = forwarded::is_trusted(client.peer, &snapshot.trusted_proxies);
        let address = match trusted_peer {
            true => forwarded::client_behind(client.peer, headers, &snapshot.trusted_proxies),
            false => client.peer,
        };
        let request_id = headers
            .get(&REQUEST_ID)
            .filter(|id| request_id::is_acceptable(id))
            .and_then(|id| HeaderValue::from_bytes(id).ok())
            .unwrap_or_else(|| client.worker.request_ids.next());
        let trace = snapshot.trace_sample.map(|sample| Trace::begin(headers, sample));
        let trail = client.worker.trail(client.peer, trusted_peer);
        Self {
            client: Rc::clone(client),
            snapshot,
            started: Instant::now(),
            request_id,
            trace,
            trail,
            upstream: None,
            mirror: None,
            part: None,
            address,
            trusted_peer,
            is_read: true,
            asked: Rc::new(asked),
            rule: None,
            backend: None,
            lease: None,
            permit: None,
            is_limited: false,
            backend_active: 0,
            backend_healthy: false,
            attempts: 0,
            upstream_latency: None,
            status: client_closed_request(),
            code: None,
            error: None,
            bytes_in: 0,
            bytes_out: 0,
            completed: None,
            held: Vec::new(),
            dump: None,
        }
    }

    /// Opens the record of bytes that never became a request.
    pub(crate) fn unread(client: &Rc<Client>) -> Self {
        let mut ticket = Self::open(client, Asked::nothing(), &Fields::default());
        ticket.is_read = false;
        ticket.trace = None;
        ticket
    }

    /// Opens the record of a connection that is passed on as it is.
    pub(crate) fn connection(client: &Rc<Client>) -> Self {
        Self::unread(client)
    }

    pub(crate) fn client(&self) -> &Rc<Client> {
        &self.client
    }

    pub(crate) fn snapshot(&self) -> Pinned {
        Rc::clone(&self.snapshot)
    }

    /// What was asked for.
    pub(crate) fn asked(&self) -> &Rc<Asked> {
        &self.asked
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// The client's address, the peer's own unless that is a trusted proxy.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn trusted_peer(&self) -> bool {
        self.trusted_peer
    }

    /// A rule takes the request, whose head came like this. What is returned takes its body down.
    pub(crate) fn ruled(&mut self, rule: usize, raw_head: &[u8]) -> Option<Tee> {
        self.rule = Some(rule);
        self.dump = self.rule()?.dump.as_ref()?.begin(raw_head);
        self.tee(Side::Request)
    }

    /// Takes down what of a body passes, where the exchange is dumped with its bodies.
    pub(crate) fn tee(&self, side: Side) -> Option<Tee> {
        self.dump.as_ref()?.tee(side)
    }

    /// Where the exchange is dumped.
    pub(crate) fn dump(&self) -> Option<&Capture> {
        self.dump.as_deref()
    }

    /// Attempts so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The rule that takes the request.
    pub(crate) fn rule_index(&self) -> Option<usize> {
        self.rule
    }

    /// The request is mirrored to this upstream, or why not.
    pub(crate) fn mirror(&mut self, upstream: &Arc<str>, copy: Result<Box<RequestCopy>, &'static str>) {
        self.mirror = self.mirrored(upstream, copy);
    }

    /// Whether the answer is to be hashed, to be compared with the mirror's.
    pub(crate) fn compares(&self) -> bool {
        self.mirror.as_ref().is_some_and(|copy| copy.compares())
    }

    /// The exchange is as good as over: its copy goes out, with what there is to compare.
    pub(crate) fn release_mirror(&mut self, upload: &mut Upload, digest: Option<u64>) {
        if let (Some(copy), Some(body)) = (self.mirror.take(), upload.take_copy()) {
            let worker = &self.client.worker;
            let answered = digest.map(|digest| (self.status, digest));
            copy.release(worker.mirrors(), worker.index, body, answered);
        }
    }

    /// Keeps what a policy wants kept until the end.
    pub(crate) fn hold(&mut self, permit: Box<dyn Any>) {
        self.held.push(permit);
    }

    /// Takes a place among its rule's requests, where their number is limited.
    pub(crate) fn enter(&mut self, rule: &Rule) -> Result<(), Reject> {
        let Some((limiter, stats)) = &rule.limiter else { return Ok(()) };
        if !limiter.enter() {
            stats.rejected(self.client.worker.index);
            return Err(Reject::Shed);
        }
        self.is_limited = true;
        Ok(())
    }

    /// The backend of the present attempt, by its place in the upstream.
    pub(crate) fn position(&self) -> Option<usize> {
        self.backend.map(|(_, position)| position)
    }

    /// Another attempt begins, at this backend.
    pub(crate) fn attempt(&mut self, upstream: usize, lease: Lease, permit: Attempt) {
        self.give_back();
        // What the attempt before has brought is not this one's.
        (self.status, self.upstream_latency) = (client_closed_request(), None);
        self.permit = Some(permit);
        self.attempts += 1;
        self.backend = Some((upstream, lease.position()));
        self.backend_active = lease.backend().active();
        self.backend_healthy = lease.backend().is_healthy();
        self.lease = Some(lease);
    }

    /// Whether a half-open circuit's fate hangs on the present attempt.
    pub(crate) fn is_trial(&self) -> bool {
        self.permit.as_ref().is_some_and(Attempt::is_trial)
    }

    /// The attempt failed, whatever is to follow: the backend is judged, and its place is free.
    pub(crate) fn attempt_over(&mut self, reject: &Reject) {
        if !reject.is_local() {
            self.feed_back(false, None);
        }
        self.judge(reject);
        self.span_failed(reject.code());
        self.give_back();
    }

    /// The attempt failed and another one is to follow.
    pub(crate) fn attempt_failed(&mut self, reject: &Reject) {
        self.attempt_over(reject);
        let (Some((_, _, target)), Some(kind)) = (self.target(), FailureKind::of_code(reject.code())) else {
            return;
        };
        let worker = &self.client.worker;
        target.stats.record_retried(worker.index, kind, worker.wall_clock(Instant::now()));
        decisions::failed(self, target, reject);
    }

    /// The backend answered, but its answer is given up and another attempt is to follow.
    pub(crate) fn attempt_discarded(&mut self) {
        self.permit = None;
        self.step_discarded();
        self.give_back();
        let Some((_, _, target)) = self.target() else { return };
        let worker = &self.client.worker;
        let now = worker.wall_clock(Instant::now());
        target.stats.record_discarded(worker.index, self.status, self.upstream_latency, now);
        decisions::discarded(self, target, self.status);
    }

    /// The response head has come from the backend.
    pub(crate) fn answered(&mut self, status: StatusCode, sent_at: Instant, now: Instant) {
        let latency = now.saturating_duration_since(sent_at);
        self.status = status;
        self.upstream_latency = Some(latency);
        self.span_answered(status);
        self.step_answered(status, sent_at, now);
        if self.is_limited
            && let Some((limiter, _)) = self.rule().and_then(|rule| rule.limiter.as_ref())
        {
            limiter.answered(latency, now);
        }
        self.feed_back(!status.is_server_error(), Some(latency));
        if status.is_server_error() {
            self.backend_failed(health::FailureKind::Status(status.as_u16()));
        } else if self.permit.as_ref().is_some_and(Attempt::is_trial) {
            // A circuit does not wait for the end of a body.
            self.backend_succeeded(now);
        }
    }

    /// A backend has accepted a connection that is to be passed on.
    pub(crate) fn connected(&mut self, asked_at: Instant, now: Instant) {
        let latency = now.saturating_duration_since(asked_at);
        self.status = StatusCode::OK;
        self.upstream_latency = Some(latency);
        self.feed_back(true, Some(latency));
        if self.is_trial() {
            self.backend_succeeded(now);
        }
    }

    /// The backend agreed to speak another protocol: its attempt is a success however long that goes on. Its lease is kept.
    pub(crate) fn switched(&mut self, now: Instant) {
        self.backend_succeeded(now);
    }

    /// The gateway answers by itself.
    pub(crate) fn answered_here(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// The gateway answers by itself, since something is wrong.
    pub(crate) fn rejected(&mut self, reject: &Reject, status: StatusCode) {
        decisions::rejected(self, reject, status);
        if matches!(reject, Reject::Connect(_) | Reject::Send(_) | Reject::UpstreamTimeout) {
            if !reject.is_local() {
                self.feed_back(false, None);
            }
            self.judge(reject);
            self.span_failed(reject.code());
        }
        self.status = status;
        self.code = Some(reject.code());
        self.error = reject.reason();
        self.release_backend();
        if reject.is_local() {
            // It was never asked.
            self.backend = None;
        }
    }

    /// A body broke off after its head had been sent.
    pub(crate) fn broke(&mut self, code: &'static str, error: String, kind: health::FailureKind) {
        self.feed_back(false, None);
        self.backend_failed(kind);
        self.cut(code, error);
    }

    /// A body was cut after its head had been sent, and the backend is not to blame.
    pub(crate) fn cut(&mut self, code: &'static str, error: String) {
        self.span_failed(code);
        self.code = Some(code);
        self.error = Some(error);
    }

    /// The process ends before the exchange does: neither side is to blame.
    fn was_cut(&mut self) {
        self.error = Some("cut: shutdown_timeout was over before the exchange".to_owned());
        if self.status == client_closed_request() {
            self.status = StatusCode::SERVICE_UNAVAILABLE;
        }
    }

    /// How many bytes of the bodies went each way.
    pub(crate) fn carried(&mut self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in = bytes_in;
        self.bytes_out = bytes_out;
    }

    /// The attempt says nothing of the backend's health: it had every right to close an idle connection.
    pub(crate) fn forgive(&mut self) {
        self.permit = None;
    }

    /// The backend has done its part, or is given up.
    pub(crate) fn release_backend(&mut self) {
        if let Some(now) = self.completed {
            self.backend_succeeded(now);
        }
        self.permit = None;
        self.give_back();
    }

    /// Gives the backend's place back, and wakes whoever waits for one.
    fn give_back(&mut self) {
        if self.lease.take().is_none() {
            return;
        }
        self.span_ended();
        if let Some((upstream, _)) = self.backend() {
            upstream.queue.freed();
        }
    }

    /// What a failed attempt says of the backend; nothing where the client is to blame.
    fn judge(&mut self, reject: &Reject) {
        if let Some(kind) = reject.blames() {
            self.backend_failed(kind);
        }
    }

    fn backend_failed(&mut self, kind: health::FailureKind) {
        let permit = self.permit.take();
        if let (Some(mut permit), Some((upstream, position))) = (permit, self.backend()) {
            permit.failed(&upstream.monitor, position, kind, Instant::now());
        }
    }

    fn backend_succeeded(&mut self, now: Instant) {
        let permit = self.permit.take();
        if let (Some(mut permit), Some((upstream, position))) = (permit, self.backend()) {
            permit.succeeded(&upstream.monitor, position, now);
        }
    }

    /// The upstream of the last attempt, and the backend's place in it.
    fn backend(&self) -> Option<(&Upstream, usize)> {
        let (upstream, position) = self.backend?;
        Some((self.snapshot.upstreams.get(upstream)?, position))
    }

    /// The whole response has been handed over.
    pub(crate) fn complete(&mut self, now: Instant) {
        self.completed = Some(now);
    }

    fn feed_back(&self, ok: bool, latency: Option<Duration>) {
        if let Some(lease) = &self.lease {
            lease.record(Outcome { latency, ok });
        }
    }

    fn target(&self) -> Option<(&Snapshot, &Upstream, &Target)> {
        let (upstream, position) = self.backend()?;
        Some((&self.snapshot, upstream, upstream.targets.get(position)?))
    }

    /// The deadlines of the rule that takes the request, or of the listener that takes it for another server.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let of_proxy = || self.client.listener.config.forward_proxy.as_ref().map(|proxy| proxy.timeouts);
        self.rule().map(|rule| rule.timeouts).or_else(of_proxy).unwrap_or_default()
    }

    /// Tells the rule's split how its part has served. A client that has left says nothing of it.
    fn count_part(&self, exchange: &Exchange<'_>) {
        let (Some(part), Some(split)) = (self.part, self.rule().and_then(|rule| rule.split.as_ref())) else {
            return;
        };
        let is_failed = exchange.status.is_server_error()
            || exchange.code.is_some_and(|code| code != CLIENT_STALLED && !exchange.status.is_client_error());
        if !exchange.aborted || is_failed {
            let took = exchange.upstream_latency.unwrap_or(exchange.duration);
            split.ended(part, exchange.worker, is_failed, took);
        }
    }

    fn rule(&self) -> Option<&Rule> {
        self.snapshot.rules.get(self.rule?)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(copy) = self.mirror.take() {
            copy.broke_off(self.client.worker.index);
        }
        let trail = self.trail.take();
        let now = self.completed.unwrap_or_else(Instant::now);
        if self.completed.is_none() && self.code.is_none() && self.client.worker.is_over() {
            self.was_cut();
        }
        let client = &self.client;
        client.begin_idle(now);
        let worker = &client.worker;
        let rule = self.rule();
        let target = self.target();
        let exchange = Exchange {
            rule: rule.map(|rule| &*rule.stats),
            upstream: target.map(|(_, upstream, _)| &*upstream.name),
            backend: target.map(|(_, _, target)| &*target.stats),
            strategy: target.map(|(_, upstream, _)| upstream.strategy),
            listener: &client.listener.config.name,
            protocol: if client.listener.config.tcp.is_some() { Protocol::Tcp } else { Protocol::Http },
            scheme: client.scheme(),
            method: if self.is_read { self.asked.method.as_str() } else { "" },
            path: if self.is_read { forward_proxy::shown(&self.asked) } else { "" },
            host: self.asked.host.as_deref().and_then(|host| str::from_utf8(host).ok()).unwrap_or_default(),
            status: self.status,
            code: self.code,
            error: self.error.as_deref(),
            request_id: self.request_id.to_str().unwrap_or_default(),
            trace: self.trace.as_ref(),
            client_ip: self.address,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            attempts: self.attempts,
            ended_at: worker.wall_clock(now),
            duration: now.saturating_duration_since(self.started),
            upstream_latency: self.upstream_latency,
            backend_active: self.backend_active,
            backend_healthy: self.backend_healthy,
            aborted: self.completed.is_none(),
            ..Exchange::new(worker.index)
        };
        for recorder in worker.recorders() {
            recorder.record(&exchange);
        }
        if let Some(trail) = trail {
            self.keep_trail(&exchange, trail);
        }
        self.count_part(&exchange);
        if let Some(dump) = &self.dump {
            dump.end(&Ending {
                backend: target.map_or("", |(_, _, target)| &target.url),
                client_ip: exchange.client_ip,
                request_id: exchange.request_id,
                uri: &self.asked.uri,
                status: exchange.status,
                attempts: exchange.attempts,
                aborted: exchange.aborted,
                ended_at: exchange.ended_at,
                duration: exchange.duration,
            });
        }
        if self.is_limited
            && let Some((limiter, _)) = self.rule().and_then(|rule| rule.limiter.as_ref())
        {
            limiter.leave();
        }
        self.give_back();
    }
}
