//! Which backend a request goes to next: the strategy's choice, past open circuits and what was tried, and a wait
//! for a free place where every backend is at its limit.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use lb_core::{AcquireError, KeySource, Lease, PickContext, key};
use lb_h1::Fields;
use lb_health::Attempt;
use smallvec::SmallVec;

use crate::attempt::Outgoing;
use crate::conversation::{Conversation, Gone};
use crate::queue::{LOOK_INTERVAL, Place};
use crate::reject::Reject;
use crate::snapshot::Upstream;
use crate::target::Asked;
use crate::ticket::Ticket;
use crate::watch::{Phase, later};

/// A place at a backend, and its circuit's permission to use it.
pub(crate) struct Choice {
    pub(crate) lease: Lease,
    pub(crate) permit: Attempt,
    /// Whether it had to be waited for.
    pub(crate) waited: bool,
}

/// The choices of one request.
pub(crate) struct Choices<'a> {
    upstream: &'a Upstream,
    /// What the strategy hashes.
    key: u64,
    tried: SmallVec<[usize; 4]>,
}

impl<'a> Choices<'a> {
    pub(crate) fn new(upstream: &'a Upstream, ticket: &Ticket, outgoing: &Outgoing<'_>) -> Self {
        Self { upstream, key: key_of(upstream, ticket, outgoing), tried: SmallVec::new() }
    }

    /// Those of a connection that is all one request, of which nothing is known but where it comes from.
    pub(crate) fn by_address(upstream: &'a Upstream, ticket: &Ticket) -> Self {
        Self { upstream, key: key::of_address(ticket.address()), tried: SmallVec::new() }
    }

    /// This backend has failed the request.
    pub(crate) fn exclude(&mut self, position: usize) {
        self.tried.push(position);
    }

    /// Backends that are not asked again.
    pub(crate) fn tried(&self) -> &[usize] {
        &self.tried
    }

    /// The next backend, at once or not at all.
    pub(crate) fn next(&mut self, now: Instant) -> Result<Choice, AcquireError> {
        let moment = now.into();
        loop {
            let attempt = u32::try_from(self.tried.len()).unwrap_or(u32::MAX);
            let context = PickContext { key: self.key, now: moment, tried: &self.tried, attempt };
            let lease = self.upstream.balancer.acquire(&context)?;
            match self.upstream.monitor.admit(lease.position(), now) {
                Some(permit) => return Ok(Choice { lease, permit, waited: false }),
                // A circuit that has just opened keeps it out; that is no attempt.
                None => self.tried.push(lease.position()),
            }
        }
    }

    /// Another backend beside this one, which has not failed yet.
    pub(crate) fn beside(&mut self, position: usize, now: Instant) -> Option<Choice> {
        self.tried.push(position);
        let next = self.next(now).ok();
        self.tried.retain(|tried| *tried != position);
        next
    }

    /// The next backend; where every one is at its limit, waits for a place, in the order of arrival and until
    /// `deadline` at most.
    pub(crate) async fn next_in_turn(
        &mut self,
        conversation: &mut Conversation,
        deadline: Instant,
        now: Instant,
    ) -> Result<Choice, Reject> {
        let queue = &self.upstream.queue;
        if queue.is_empty() {
            match self.next(now) {
                Ok(choice) => return Ok(choice),
                Err(AcquireError::AllFull) => {}
                Err(AcquireError::NoneEligible | AcquireError::AllTried) => return Err(Reject::NoBackend),
            }
        }
        let place = queue.join().ok_or(Reject::Overloaded(QUEUE_FULL))?;
        conversation.client.watch.begin_until(Phase::Wait, later(now, queue.timeout()).min(deadline));
        self.wait(conversation, &place).await
    }

    async fn wait(&mut self, conversation: &mut Conversation, place: &Place<'_>) -> Result<Choice, Reject> {
        let client = Rc::clone(&conversation.client);
        // What a connection that is passed on has to say is for the backend, and so is its end: only that it breaks off is for us.
        let may_listen = client.listener.config.tcp.is_none();
        // Who finds others waiting lets them go first.
        let mut may_look = place.is_first();
        loop {
            if may_look {
                match self.next(Instant::now()) {
                    Ok(choice) => return Ok(Choice { waited: true, ..choice }),
                    // What was tried may be free for others.
                    Err(AcquireError::AllFull) if !self.tried.is_empty() => place.pass_on(),
                    Err(AcquireError::AllFull) => {}
                    Err(AcquireError::NoneEligible | AcquireError::AllTried) => {
                        return Err(Reject::NoBackend);
                    }
                }
            }
            let mut pause = pin!(tokio::time::sleep(LOOK_INTERVAL));
            let looks = std::future::poll_fn(|cx| {
                if client.watch.is_expired() {
                    return Poll::Ready(Err(Reject::Overloaded(WAITED)));
                }
                let has_left = match may_listen {
                    true => matches!(conversation.poll_gone(cx), Poll::Ready(Gone)),
                    false => conversation.transport.is_broken(),
                };
                if has_left {
                    return Poll::Ready(Err(Reject::ClientGone));
                }
                if place.poll_called(cx).is_ready() {
                    return Poll::Ready(Ok(true));
                }
                pause.as_mut().poll(cx).map(|()| Ok(place.is_first()))
            });
            may_look = looks.await?;
        }
    }
}

/// Why nobody waits longer for a place.
const QUEUE_FULL: &str =
    "every backend was at its max_connections, and as many waited as may (`queue.max_pending`)";
const WAITED: &str =
    "every backend was at its max_connections, and none had a place in time (`queue.timeout`)";

/// What the upstream's strategy hashes of a request that goes there.
pub(crate) fn key_of(upstream: &Upstream, ticket: &Ticket, outgoing: &Outgoing<'_>) -> u64 {
    key(&upstream.key, outgoing.asked, &outgoing.headers, outgoing.path, ticket.address())
}

/// What the upstream's strategy hashes: the named part of the request, or the client's address where it has none.
pub(crate) fn key(source: &KeySource, asked: &Asked, headers: &Fields, path: &str, address: IpAddr) -> u64 {
    let field = |name: &str| headers.get_named(name);
    let part = match source {
        KeySource::Address => None,
        KeySource::Path => Some(path.as_bytes()),
        KeySource::Header(name) => field(name),
        KeySource::Query(name) => asked.uri.query().and_then(|query| parameter(query, '&', name)),
        KeySource::Cookie(name) => field("cookie")
            .and_then(|cookies| std::str::from_utf8(cookies).ok())
            .and_then(|cookies| parameter(cookies, ';', name)),
    };
    part.map_or_else(|| key::of_address(address), key::of_bytes)
}

/// The value of `name=value` in a list.
fn parameter<'a>(list: &'a str, separator: char, name: &str) -> Option<&'a [u8]> {
    let mut pairs = list.split(separator).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        assert_eq!(parameter("a=1; sid=42; sid2=7", ';', "sid"), Some(&b"42"[..]));
        assert_eq!(parameter("id=1&x=2", '&', "x"), Some(&b"2"[..]));
        assert_eq!(parameter("", '&', "x"), None);
    }
}
