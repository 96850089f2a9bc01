//! Copies of requests for another upstream, whose answers nobody gets: to see what it would have said.
//!
//! A copy never delays or changes the primary exchange. It is taken while that goes on, and sent once that is over, from the control
//! side and on a connection of its own; there may be so many at a time, and what comes beyond is dropped and counted. A body is copied
//! as it passes, up to a bound: a request with a larger one is not mirrored. Cost to a request that is mirrored: a copy of its head and
//! of its body, and with `compare` a hash of its answer's body, which then passes through the gateway's memory; to any other of the
//! rule a random number, and to one of a rule without a mirror a comparison.

mod copy;
mod send;

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use lb_h1::{BodyFraming, Fields};
use lb_observe::MirrorStats;
use lb_observe::decision::{CopyOutcome, CopySlip};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::attempt::Outgoing;
use crate::choice::key_of;
use crate::config::{HostHeader, MirrorConfig};
use crate::snapshot::{Builder, Upstream};
use crate::target::Asked;
use crate::ticket::Ticket;

pub(crate) use copy::{BodyCopy, Copied};
pub(crate) use send::run;

/// Why a request has no copy.
const TOO_LARGE: &str = "its body is larger than what is copied (`max_body`)";

/// Where copies go on their way to the control side. Bounded by what each rule may have under way.
pub(crate) type Jobs = mpsc::UnboundedSender<Job>;

/// A rule's mirror, in force.
pub(crate) struct Mirror {
    config: MirrorConfig,
    host_header: HostHeader,
    stats: Arc<MirrorStats>,
    /// The upstream's name.
    name: Arc<str>,
}

/// Where a copy of a request may go beside its backend.
#[derive(Debug, Clone, Serialize)]
pub struct MirrorAnswer {
    /// The upstream that gets copies.
    pub upstream: String,
    /// The share of such requests that is copied, from 0 to 1.
    pub share: f64,
    /// Whether its answers are compared with those that clients get.
    pub compare: bool,
    /// Why this request has no copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A request that is copied while it is served.
pub(crate) struct RequestCopy {
    upstream: Arc<Upstream>,
    /// What its strategy hashes.
    key: u64,
    asked: Asked,
    headers: Fields,
    path: String,
    framing: BodyFraming,
    host_header: HostHeader,
    timeout: Duration,
    compare: bool,
    place: Place,
    /// Where a decision record tells of it.
    slip: Option<CopySlip>,
}

/// A copy that is to be sent.
pub(crate) struct Job {
    copy: RequestCopy,
    body: Bytes,
    /// What the primary answered, where that is compared.
    answered: Option<(StatusCode, u64)>,
}

/// One of those that a rule may have under way, over reloads too, and the figures that they are counted in.
struct Place(Arc<MirrorStats>);

/// A hash of a body that passes.
#[derive(Debug, Default)]
pub(crate) struct Digest(DefaultHasher);

impl Mirror {
    pub(crate) fn build(rule: &str, config: &MirrorConfig, host: &HostHeader, builder: Builder<'_>) -> Self {
        let name = &config.name;
        Self {
            config: config.clone(),
            host_header: host.clone(),
            stats: builder.registry.mirror(rule, name, builder.workers),
            name: Arc::from(&**name),
        }
    }

    /// The upstream's place.
    pub(crate) fn upstream(&self) -> usize {
        self.config.upstream
    }

    /// The largest body that is copied.
    pub(crate) fn max_body(&self) -> usize {
        self.config.max_body
    }

    /// What it does with such a request.
    pub(crate) fn explain(&self, method: &Method) -> MirrorAnswer {
        let MirrorConfig { name, percent, methods, compare, .. } = &self.config;
        let names = || methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let is_meant = methods.is_empty() || methods.contains(method);
        MirrorAnswer {
            upstream: name.clone(),
            share: if is_meant { percent.min(100.0) / 100.0 } else { 0.0 },
            compare: *compare,
            why: (!is_meant).then(|| format!("only {} is copied", names())),
        }
    }

    /// The upstream's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The copy of a request, where it is one of the share that has one; or why it has none. An upgrade has none: nobody would speak
    /// for it.
    pub(crate) fn copy(
        &self,
        ticket: &Ticket,
        outgoing: &Outgoing<'_>,
        upstream: &Arc<Upstream>,
    ) -> Result<Box<RequestCopy>, &'static str> {
        let MirrorConfig { percent, methods, max_body, max_pending, .. } = &self.config;
        if *percent < 100.0 && fastrand::f64() * 100.0 >= *percent {
            return Err("it is not of the share that is copied (`percent`)");
        }
        if outgoing.upgrade.is_some() {
            return Err("it asks for another protocol, which nobody would speak for a copy");
        }
        if !methods.is_empty() && !methods.contains(&outgoing.asked.method) {
            return Err("its method is none of `methods`");
        }
        let (worker, framing) = (ticket.client().worker.index, outgoing.upload.framing());
        if matches!(framing, BodyFraming::Length(length) if length > *max_body as u64) {
            self.stats.too_large(worker);
            return Err(TOO_LARGE);
        }
        let Some(place) = Place::take(&self.stats, *max_pending) else {
            self.stats.dropped(worker);
            return Err("as many copies were under way as may be (`max_pending`)");
        };
        Ok(Box::new(RequestCopy {
            upstream: Arc::clone(upstream),
            key: key_of(upstream, ticket, outgoing),
            asked: outgoing.asked.clone(),
            headers: outgoing.headers.clone(),
            path: outgoing.path.to_owned(),
            framing,
            host_header: self.host_header.clone(),
            timeout: self.config.timeout,
            compare: self.config.compare,
            place,
            slip: None,
        }))
    }
}

impl RequestCopy {
    /// Whether the primary's answer is to be hashed.
    pub(crate) fn compares(&self) -> bool {
        self.compare
    }

    /// The primary exchange is over: the copy goes out, if all of its body is there. `answered` is what there is to compare with.
    pub(crate) fn release(
        self: Box<Self>,
        jobs: &Jobs,
        worker: usize,
        body: Copied,
        answered: Option<(StatusCode, u64)>,
    ) {
        match body {
            Copied::Whole(body) => {
                let answered = answered.filter(|_| self.compare);
                // Nobody is there to take it only once the gateway ends.
                let _ = jobs.send(Job { copy: *self, body, answered });
            }
            Copied::TooLarge => {
                self.place.0.too_large(worker);
                self.ended(CopyOutcome::NotSent(TOO_LARGE));
            }
            Copied::Broken => self.broke_off(worker),
        }
    }

    /// Has a decision record tell of it.
    pub(crate) fn tell(&mut self) -> CopySlip {
        self.slip.get_or_insert_default().clone()
    }

    fn ended(&self, outcome: CopyOutcome) {
        if let Some(slip) = &self.slip {
            slip.fill(outcome);
        }
    }

    /// The primary exchange was broken off.
    pub(crate) fn broke_off(self: Box<Self>, worker: usize) {
        self.place.0.dropped(worker);
        self.ended(CopyOutcome::NotSent("the request broke off before all of it was there"));
    }
}

impl Place {
    fn take(stats: &Arc<MirrorStats>, most: u32) -> Option<Self> {
        stats.begin(most).then(|| Self(Arc::clone(stats)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Digest {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.0.write(piece);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_hashes_alike_in_whatever_pieces_it_comes() {
        let digest = |pieces: &[&[u8]]| {
            let mut digest = Digest::default();
            pieces.iter().for_each(|piece| digest.add(piece));
            digest.value()
        };
        let whole = digest(&[b"a body of some length"]);
        assert_eq!(whole, digest(&[b"a", b"", b" body of", b" some length"]));
        assert_ne!(whole, digest(&[b"a body of some lengths"]));
    }

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let stats = lb_observe::Registry::default().mirror("r", "u", 1);
        let (first, second) = (Place::take(&stats, 2), Place::take(&stats, 2));
        assert!(first.is_some() && second.is_some() && Place::take(&stats, 2).is_none());
        drop(first);
        assert!(Place::take(&stats, 2).is_some());
    }
}
