//! A server at work: what it has been given, and when it will answer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use crate::scenario::{Service, Spare};
use crate::time::{Time, exponential, whole};

/// A server's state. Times are nanoseconds of virtual time, requests are named by their slot.
#[derive(Debug)]
pub(crate) enum State {
    Queue { time: Time, free_at: u64 },
    Delay(Time),
    Shared(Shared),
}

impl State {
    pub(crate) fn new(service: &Service, rng: &mut Rng) -> Self {
        match *service {
            Service::Queue(time) => Self::Queue { time, free_at: 0 },
            Service::Delay(time) => Self::Delay(time),
            Service::Shared { work, cores, spare } => Self::Shared(Shared {
                work,
                cores,
                spare,
                speed: cores + drawn(spare, rng),
                done: 0.0,
                at: 0,
                jobs: BinaryHeap::new(),
                version: 0,
            }),
        }
    }
}

/// Processor sharing in O(log n) an event: work done is counted for one request and holds for each of them, as they share
/// evenly; a request is answered when that count reaches what it stood at when it came plus its own work.
#[derive(Debug)]
pub(crate) struct Shared {
    work: Time,
    cores: f64,
    spare: Spare,
    /// Cores at present.
    speed: f64,
    /// Nanoseconds of one core's work that each request present all the time has had.
    done: f64,
    /// When `done` was true.
    at: u64,
    /// By the `done` at which each is answered: numbers from 0 up order as their bits do.
    jobs: BinaryHeap<Reverse<(u64, usize)>>,
    /// Counts changes: an end that was foretold before the last of them is none.
    version: u64,
}

impl Shared {
    /// Takes a request in.
    pub(crate) fn begin(&mut self, slot: usize, now: u64, rng: &mut Rng) {
        self.advance(now);
        let end = self.done + self.work.draw(rng) as f64;
        self.jobs.push(Reverse((end.to_bits(), slot)));
    }

    /// Its next answer: when, and the version it holds for.
    pub(crate) fn foretell(&mut self) -> Option<(u64, u64)> {
        self.version += 1;
        let Reverse((end, _)) = self.jobs.peek()?;
        let left = (f64::from_bits(*end) - self.done).max(0.0);
        Some((self.at.saturating_add(whole((left / self.rate()).ceil())), self.version))
    }

    /// The request that is answered now, if what was foretold still holds.
    pub(crate) fn end(&mut self, now: u64, version: u64) -> Option<usize> {
        if version != self.version {
            return None;
        }
        self.advance(now);
        self.jobs.pop().map(|Reverse((_, slot))| slot)
    }

    /// Neighbours come or go; gives back when they will again, in nanoseconds from now.
    pub(crate) fn change(&mut self, now: u64, rng: &mut Rng) -> u64 {
        self.advance(now);
        self.speed = self.cores + drawn(self.spare, rng);
        self.lasts(rng)
    }

    /// How long the present neighbours stay; for ever where there are none.
    pub(crate) fn lasts(&self, rng: &mut Rng) -> u64 {
        if self.spare.lasts.is_zero() {
            return u64::MAX;
        }
        whole(self.spare.lasts.as_nanos() as f64 * exponential(rng)).max(1)
    }

    fn advance(&mut self, now: u64) {
        self.done += now.saturating_sub(self.at) as f64 * self.rate();
        self.at = now;
    }

    /// Cores a request has.
    fn rate(&self) -> f64 {
        (self.speed / self.jobs.len().max(1) as f64).min(1.0)
    }
}

fn drawn(spare: Spare, rng: &mut Rng) -> f64 {
    if rng.f64() < spare.none { 0.0 } else { spare.most * rng.f64() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_requests_on_one_core_take_twice_as_long_and_on_two_cores_they_do_not() {
        for (cores, expected) in [(1.0, [2_000_000, 2_000_000]), (2.0, [1_000_000, 1_000_000])] {
            let work = Time { exactly: Duration::from_millis(1), ..Time::default() };
            let mut rng = Rng::with_seed(1);
            let State::Shared(mut server) =
                State::new(&Service::Shared { work, cores, spare: Spare::NONE }, &mut rng)
            else {
                panic!("it is shared");
            };
            server.begin(0, 0, &mut rng);
            server.begin(1, 0, &mut rng);
            let ends = [0, 1].map(|_| {
                let (at, version) = server.foretell().unwrap();
                server.end(at, version).unwrap();
                at
            });
            assert_eq!(ends, expected, "{cores} cores");
        }
    }
}
