//! Hedged requests (Dean and Barroso, "The Tail at Scale", 2013): where an answer lets itself be waited for, a second
//! backend is asked too, and whoever answers first is heard.
//!
//! For idempotent requests without a body, within the retry budget, and never while a circuit's trial is at stake. The
//! loser's connection is closed and its place given back. Off unless written; a rule without it pays one comparison.
//! Interim answers (103) are not passed on. Dropping the future closes both connections.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::Method;
use lb_h1::{Asked, ParseState, ResponseHead, parse_response};
use lb_observe::FailureKind;
use lb_observe::histogram::Summary;

use crate::attempt::{Answer, Cause, Failed, Limits, Outgoing, encode};
use crate::choice::{Choice, Choices};
use crate::client::Client;
use crate::config::HedgeAfter;
use crate::conversation::{Conversation, Gone};
use crate::decisions;
use crate::pool::Home;
use crate::reject::{Reject, client_closed_request};
use crate::send::{MAX_INTERIM, response_limits};
use crate::snapshot::{Rule, Target, Upstream};
use crate::ticket::Ticket;
use crate::upstream::{ConnectError, Connection, Purpose, SendError};
use crate::watch::Phase;

/// How long the first backend is waited for; `None` where this request goes to one backend alone.
pub(crate) fn patience(rule: &Rule, upstream: &Upstream, outgoing: &Outgoing<'_>) -> Option<Duration> {
    let after = rule.hedge?;
    if !outgoing.asked.method.is_idempotent() || !outgoing.upload.is_empty() || outgoing.upgrade.is_some() {
        return None;
    }
    match after {
        HedgeAfter::Fixed(after) => Some(after),
        HedgeAfter::P95 => upstream.slow.get(),
    }
}

/// How long 95 of 100 answers of an upstream took of late; kept by the control side.
#[derive(Debug, Default)]
pub(crate) struct Percentile {
    nanos: AtomicU64,
    /// What had been answered at a few moments of the last minute.
    readings: Mutex<VecDeque<(Instant, Summary)>>,
}

/// How far back answers count: what an upstream took yesterday says nothing of today.
const WINDOW: Duration = Duration::from_secs(60);
/// From one reading that is kept to the next.
const STEP: Duration = Duration::from_secs(5);
/// Of fewer answers than this nothing is learnt.
const FEW: u64 = 20;

impl Percentile {
    fn get(&self) -> Option<Duration> {
        match self.nanos.load(Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// Looks at the figures of the upstream's backends. To be called about once a second.
    pub(crate) fn learn(&self, targets: &[Target], now: Instant) {
        let mut all = Summary::default();
        targets.iter().for_each(|target| target.stats.add_latency(&mut all));
        self.take(all, now);
    }

    /// Takes a reading of all answers up to now.
    fn take(&self, all: Summary, now: Instant) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        // The one at or before the window's start stays, to count from.
        while readings.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            readings.pop_front();
        }
        let of_late = readings.front().map_or_else(|| all.clone(), |(_, before)| all.since(before));
        if readings.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= STEP) {
            readings.push_back((now, all));
        }
        let is_enough = of_late.count() >= FEW || self.get().is_none();
        if let Some(slow) = of_late.quantile(0.95).filter(|_| is_enough) {
            self.nanos.store(u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }
}

/// A request on its way to one backend.
struct Leg<'a> {
    target: &'a Target,
    position: usize,
    /// `None` for the first: that is the ticket's.
    choice: Option<Choice>,
    run: Pin<Box<dyn Future<Output = Ended> + 'a>>,
    failed: Option<Failed>,
}

/// A response head, the connection it came on, and when the request was sent there.
struct Arrived {
    head: ResponseHead,
    connection: Connection,
    sent_at: Instant,
}

/// What became of it.
type Ended = Result<Box<Arrived>, Failed>;

/// What happened next.
enum Event {
    /// This leg has the answer.
    Answered(usize, Box<Arrived>),
    /// None of them will.
    Lost,
    /// It takes long.
    Slow,
    /// The client left, or time is up.
    Rejected(Reject),
}

/// Makes the attempt that the ticket has been told of, and after `patience` another one beside it.
pub(crate) async fn race<'a>(
    ticket: &mut Ticket,
    rule: &'a Rule,
    (place, upstream, position): (usize, &'a Upstream, usize),
    conversation: &mut Conversation,
    outgoing: &mut Outgoing<'_>,
    choices: &mut Choices<'_>,
    patience: Duration,
) -> Result<Answer, Failed> {
    let (client, method) = (Rc::clone(ticket.client()), outgoing.asked.method.clone());
    let method = &method;
    let target = upstream.targets.get(position).ok_or(Reject::NoBackend).map_err(Failed::for_good)?;
    let limits = Limits::of(ticket, rule, target, outgoing);
    let now = Instant::now();
    client.watch.begin(Phase::Wait, now, limits.left(now));
    let head = encode(rule, target, outgoing).map_err(Failed::for_good)?;
    let run = Box::pin(ask(&client, ticket.address(), rule, target, method, head));
    let mut legs = vec![Leg { target, position, choice: None, run, failed: None }];
    let mut pause = pin!(tokio::time::sleep(patience));
    let mut may_hedge = !ticket.is_trial();
    loop {
        let event = std::future::poll_fn(|cx| {
            if client.watch.is_expired() {
                return Poll::Ready(Event::Rejected(Reject::UpstreamTimeout));
            }
            if let Poll::Ready(event) = poll(&mut legs, cx) {
                return Poll::Ready(event);
            }
            if let Poll::Ready(Gone) = conversation.poll_gone(cx) {
                return Poll::Ready(Event::Rejected(Reject::ClientGone));
            }
            if may_hedge && pause.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Slow);
            }
            Poll::Pending
        });
        match event.await {
            Event::Answered(winner, arrived) => {
                let Arrived { head, connection, sent_at } = *arrived;
                let winner = legs.swap_remove(winner);
                let loser = legs.pop();
                if let Some(choice) = winner.choice {
                    // The first one's end is told before the second one takes its place.
                    match loser.map(|loser| (loser.target, loser.failed)) {
                        Some((_, Some(failed))) => ticket.attempt_failed(&failed.rejected),
                        Some((target, None)) => overtaken(&client, target),
                        None => {}
                    }
                    ticket.attempt(place, choice.lease, choice.permit);
                    ticket.rival_won();
                } else if let Some(loser) = loser {
                    ticket.rival_lost(loser.failed.as_ref().map(|failed| failed.rejected.code()));
                    lost(&client, upstream, loser);
                }
                let came_at = Instant::now();
                ticket.answered(head.status, sent_at, came_at);
                return Ok(Answer { head, came_at, connection, home: Home::Backend(winner.target.slot) });
            }
            Event::Lost => {
                for leg in legs.drain(1..) {
                    ticket.rival_lost(leg.failed.as_ref().map(|failed| failed.rejected.code()));
                    choices.exclude(leg.position);
                    lost(&client, upstream, leg);
                }
                let failed = legs.pop().and_then(|leg| leg.failed);
                return Err(failed.unwrap_or_else(|| Failed::for_good(Reject::NoBackend)));
            }
            Event::Rejected(rejected) => {
                ticket.rival_lost(Some(rejected.code()));
                if legs.len() > 1 {
                    legs.truncate(1);
                    upstream.queue.freed();
                }
                return Err(limits.failed(rejected));
            }
            Event::Slow => {
                may_hedge = false;
                let Some(choice) = rival(rule, upstream, choices, position) else { continue };
                let position = choice.lease.position();
                let Some(target) = upstream.targets.get(position) else { continue };
                decisions::hedged(ticket, target, patience);
                let active = choice.lease.backend().active();
                ticket.begin_rival_span(&mut outgoing.headers, target, (position, active));
                let head = encode(rule, target, outgoing).map_err(Failed::for_good)?;
                let run = Box::pin(ask(&client, ticket.address(), rule, target, method, head));
                legs.push(Leg { target, position, choice: Some(choice), run, failed: None });
                upstream.stats.retried(client.worker.index);
                upstream.budget.count_rival();
            }
        }
    }
}

fn poll(legs: &mut [Leg<'_>], cx: &mut Context<'_>) -> Poll<Event> {
    for (index, leg) in legs.iter_mut().enumerate().filter(|(_, leg)| leg.failed.is_none()) {
        match leg.run.as_mut().poll(cx) {
            Poll::Ready(Ok(answer)) => return Poll::Ready(Event::Answered(index, answer)),
            Poll::Ready(Err(failed)) => leg.failed = Some(failed),
            Poll::Pending => {}
        }
    }
    match legs.iter().all(|leg| leg.failed.is_some()) {
        true => Poll::Ready(Event::Lost),
        false => Poll::Pending,
    }
}

/// Another backend that can be asked now, within the budget.
fn rival(rule: &Rule, upstream: &Upstream, choices: &mut Choices<'_>, position: usize) -> Option<Choice> {
    let (now, share) = (Instant::now(), rule.retries.budget);
    if !upstream.may_retry(share, now) {
        return None;
    }
    let rival = choices.beside(position, now);
    if rival.is_none() {
        upstream.budget.give_back(share);
    }
    rival
}

/// The second backend has failed, or the first has answered before it.
fn lost(client: &Client, upstream: &Upstream, leg: Leg<'_>) {
    let Leg { target, position, choice, run, failed } = leg;
    drop(run);
    let Some(mut choice) = choice else { return };
    let now = Instant::now();
    match failed {
        None => overtaken(client, target),
        Some(failed) => {
            choice.lease.failed();
            if let Some(kind) = failed.rejected.blames() {
                choice.permit.failed(&upstream.monitor, position, kind, now);
            }
            if let Some(kind) = FailureKind::of_code(failed.rejected.code()) {
                target.stats.record_retried(client.worker.index, kind, client.worker.wall_clock(now));
            }
        }
    }
    drop(choice);
    upstream.queue.freed();
}

/// An attempt was given up since another backend has answered: to this one its client has left.
fn overtaken(client: &Client, target: &Target) {
    let worker = &client.worker;
    let now = worker.wall_clock(Instant::now());
    target.stats.record_discarded(worker.index, client_closed_request(), None, now);
}

/// One backend asked: on a pooled connection, or a new one where there is none or it proves stale.
async fn ask(
    client: &Client,
    address: IpAddr,
    rule: &Rule,
    target: &Target,
    method: &Method,
    head: BytesMut,
) -> Ended {
    let failed = |rejected, cause| Failed { rejected, cause: Some(cause) };
    let mut pooled = client.worker.pool.take(target.slot, Purpose::Exchange);
    loop {
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => {
                let open = Connection::to(target, client, address, Purpose::Exchange);
                let timeout = || ConnectError::Timeout { backend: Arc::clone(&target.url) };
                let opened = tokio::time::timeout(rule.timeouts.connect, open).await;
                let opened = opened.unwrap_or_else(|_| Err(timeout()));
                opened.map_err(|error| failed(Reject::Connect(error), Cause::Connect))?
            }
        };
        connection.count_request();
        let (sent_at, mut out, mut parse) = (Instant::now(), head.clone(), ParseState::default());
        let mut interim = 0;
        let answer = std::future::poll_fn(|cx| {
            let _ = connection.transport.poll_flush(cx, &mut out);
            poll_head(client, target, method, &mut connection, &mut parse, &mut interim, cx)
        });
        match answer.await {
            Ok(head) => return Ok(Box::new(Arrived { head, connection, sent_at })),
            Err(SendError::Closed { .. } | SendError::Io { .. }) if connection.is_reused() => {}
            Err(error @ (SendError::Closed { .. } | SendError::Io { .. })) => {
                return Err(failed(Reject::Send(error), Cause::Reset));
            }
            Err(error) => return Err(Failed::for_good(Reject::Send(error))),
        }
    }
}

fn poll_head(
    client: &Client,
    target: &Target,
    method: &Method,
    connection: &mut Connection,
    parse: &mut ParseState,
    interim: &mut u32,
    cx: &mut Context<'_>,
) -> Poll<Result<ResponseHead, SendError>> {
    let backend = || Arc::clone(&target.url);
    loop {
        let asked = Asked { method, upgrade: None };
        match parse_response(&mut connection.transport.inbox, &response_limits(), asked, parse) {
            Ok(Some(head)) if head.is_interim() && *interim < MAX_INTERIM => {
                *interim += 1;
                continue;
            }
            Ok(Some(head)) if head.is_interim() => {
                return Poll::Ready(Err(SendError::TooManyInterim { backend: backend() }));
            }
            Ok(Some(head)) => return Poll::Ready(Ok(head)),
            Ok(None) => {}
            Err(source) => return Poll::Ready(Err(SendError::Malformed { backend: backend(), source })),
        }
        let mut scratch = Conversation::scratch(client);
        match connection.transport.poll_fill(cx, &mut scratch) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(SendError::Closed { backend: backend() })),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(source)) => {
                return Poll::Ready(Err(SendError::Io { backend: backend(), source }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_observe::Histogram;

    use super::*;

    #[test]
    fn what_answers_took_long_ago_is_forgotten_and_of_a_few_nothing_is_learnt() {
        let (percentile, histogram, start) = (Percentile::default(), Histogram::default(), Instant::now());
        let mut second = 0;
        let mut answered = |times: u32, took: Duration| {
            (0..times).for_each(|_| histogram.record(took));
            second += 1;
            percentile.take([&histogram].into_iter().collect(), start + Duration::from_secs(second));
            percentile.get().map(|slow| slow.as_millis())
        };
        let (quick, slow) = (Duration::from_millis(10), Duration::from_millis(200));
        assert_eq!(answered(0, quick), None);
        for _ in 0..600 {
            answered(100, quick);
        }
        assert_eq!(answered(100, quick), Some(9));
        for _ in 0..80 {
            answered(100, slow);
        }
        assert!((198..203).contains(&answered(100, slow).unwrap()), "it has been slow for a minute");
        for _ in 0..200 {
            answered(0, quick);
        }
        assert!((198..203).contains(&answered(5, quick).unwrap()), "five answers are too few");
        assert!(percentile.readings.lock().unwrap().len() <= 14, "memory is bounded");
    }
}
