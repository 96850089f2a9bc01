//! The run: events in the order of their time, one request after the other through the balancer, as a gateway would send them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lb_core::strategy::find;
use lb_core::{
    AcquireError, Backend, BackendOptions, Balancer, BalancerOptions, Lease, Outcome, PickContext,
    StrategyError, key,
};

use crate::scenario::{Load, Scenario};
use crate::server::State;
use crate::time::{exponential, whole};

/// A request that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Who answered: a position in [`Scenario::servers`].
    pub server: usize,
    /// From the pick to the answer.
    pub latency: Duration,
}

/// Why a scenario cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The strategy cannot be had as it was written.
    #[error(transparent)]
    Strategy(#[from] StrategyError),
    /// No server takes requests.
    #[error("a request found no server: {0}")]
    Acquire(#[from] AcquireError),
    /// No request would ever come.
    #[error("a load of nothing has no latency")]
    NoLoad,
}

/// Plays a scenario and tells of each measured request as it is answered. Equal seeds give equal runs.
///
/// # Errors
/// An unknown strategy or option, no server that takes requests, or no load.
pub fn run(scenario: &Scenario, seed: u64, mut each: impl FnMut(Answer)) -> Result<(), SimulationError> {
    let mut world = World::new(scenario, seed)?;
    world.stand()?;
    world.open()?;
    while world.unanswered > 0 {
        let Some(Reverse(event)) = world.events.pop() else { break };
        world.now = event.at;
        world.handle(event.what, &mut each)?;
    }
    Ok(())
}

/// What happens at a moment. The number makes the order of events total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: u64,
    number: u64,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// A request comes.
    Comes,
    /// The request in this slot is answered.
    Answered(usize),
    /// A shared server answers its next, if this version still holds.
    Ends { server: usize, version: u64 },
    /// A shared server's neighbours come or go.
    Changes(usize),
}

#[derive(Debug)]
struct Request {
    lease: Lease,
    sent: u64,
    measured: bool,
    server: usize,
}

struct World<'a> {
    scenario: &'a Scenario,
    balancer: Balancer,
    servers: Vec<State>,
    rng: Rng,
    /// What virtual time counts from.
    start: Instant,
    now: u64,
    events: BinaryHeap<Reverse<Event>>,
    number: u64,
    in_flight: Vec<Option<Request>>,
    free: Vec<usize>,
    sent: u64,
    /// How many are sent in all.
    last: u64,
    unanswered: u64,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Result<Self, SimulationError> {
        // lb-core draws from its thread's generator.
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(!seed);
        let backends: Vec<Arc<Backend>> = (0..)
            .zip(&scenario.servers)
            .map(|(n, server)| {
                let options = BackendOptions::named(format!("server-{n}"));
                Arc::new(Backend::new(BackendOptions { weight: server.weight, ..options }))
            })
            .collect();
        Ok(Self {
            scenario,
            balancer: balancer(scenario, backends)?,
            servers: scenario.servers.iter().map(|server| State::new(&server.service, &mut rng)).collect(),
            rng,
            start: lb_core::epoch(),
            now: 0,
            events: BinaryHeap::new(),
            number: 0,
            in_flight: Vec::new(),
            free: Vec::new(),
            sent: 0,
            last: scenario.requests.saturating_add(scenario.warm_up.saturating_mul(2)),
            unanswered: scenario.requests,
        })
    }

    /// Gives the servers what they hold at the start.
    fn stand(&mut self) -> Result<(), SimulationError> {
        for (server, count) in self.scenario.standing.iter().enumerate() {
            let Some(backend) = self.balancer.backends().get(server) else { break };
            // A balancer over this one backend can choose no other.
            let only = balancer(self.scenario, vec![Arc::clone(backend)])?;
            for _ in 0..*count {
                let lease = only.acquire(&PickContext::new(self.instant()))?;
                self.serve(Request { lease, sent: 0, measured: false, server });
            }
        }
        Ok(())
    }

    /// Sets the first events.
    fn open(&mut self) -> Result<(), SimulationError> {
        for server in 0..self.servers.len() {
            if let Some(State::Shared(shared)) = self.servers.get(server) {
                let lasts = shared.lasts(&mut self.rng);
                self.push_after(lasts, What::Changes(server));
            }
        }
        match self.scenario.load {
            Load::Open { per_second } if per_second > 0.0 && per_second.is_finite() => self.next_comes(),
            Load::Closed { in_flight } if in_flight > 0 => {
                for _ in 0..in_flight {
                    self.send()?;
                }
            }
            _ => return Err(SimulationError::NoLoad),
        }
        Ok(())
    }

    fn handle(&mut self, what: What, each: &mut impl FnMut(Answer)) -> Result<(), SimulationError> {
        match what {
            What::Comes => {
                self.send()?;
                self.next_comes();
                Ok(())
            }
            What::Answered(slot) => self.answer(slot, each),
            What::Ends { server, version } => {
                let Some(State::Shared(shared)) = self.servers.get_mut(server) else { return Ok(()) };
                let Some(slot) = shared.end(self.now, version) else { return Ok(()) };
                self.foretell(server);
                self.answer(slot, each)
            }
            What::Changes(server) => {
                if let Some(State::Shared(shared)) = self.servers.get_mut(server) {
                    let lasts = shared.change(self.now, &mut self.rng);
                    self.push_after(lasts, What::Changes(server));
                    self.foretell(server);
                }
                Ok(())
            }
        }
    }

    fn next_comes(&mut self) {
        if let Load::Open { per_second } = self.scenario.load
            && self.sent < self.last
        {
            let gap = whole(1e9 / per_second * exponential(&mut self.rng));
            self.push_after(gap, What::Comes);
        }
    }

    fn send(&mut self) -> Result<(), SimulationError> {
        if self.sent == self.last {
            return Ok(());
        }
        let client = self.rng.u64(..self.scenario.clients.max(1));
        let request = PickContext::keyed(key::of_bytes(&client.to_le_bytes()), self.instant());
        let lease = self.balancer.acquire(&request)?;
        let from = self.scenario.warm_up;
        let measured = (from..from.saturating_add(self.scenario.requests)).contains(&self.sent);
        self.sent += 1;
        let server = lease.position();
        self.serve(Request { lease, sent: self.now, measured, server });
        Ok(())
    }

    fn serve(&mut self, request: Request) {
        let server = request.server;
        let slot = self.free.pop().unwrap_or(self.in_flight.len());
        if slot == self.in_flight.len() {
            self.in_flight.push(Some(request));
        } else if let Some(place) = self.in_flight.get_mut(slot) {
            *place = Some(request);
        }
        match self.servers.get_mut(server) {
            Some(State::Queue { time, free_at }) => {
                *free_at = (*free_at).max(self.now) + time.draw(&mut self.rng);
                let at = *free_at;
                self.push_at(at, What::Answered(slot));
            }
            Some(State::Delay(time)) => {
                let takes = time.draw(&mut self.rng);
                self.push_after(takes, What::Answered(slot));
            }
            Some(State::Shared(shared)) => {
                shared.begin(slot, self.now, &mut self.rng);
                self.foretell(server);
            }
            None => {}
        }
    }

    fn foretell(&mut self, server: usize) {
        if let Some(State::Shared(shared)) = self.servers.get_mut(server)
            && let Some((at, version)) = shared.foretell()
        {
            self.push_at(at, What::Ends { server, version });
        }
    }

    fn answer(&mut self, slot: usize, each: &mut impl FnMut(Answer)) -> Result<(), SimulationError> {
        let Some(request) = self.in_flight.get_mut(slot).and_then(Option::take) else { return Ok(()) };
        self.free.push(slot);
        let latency = Duration::from_nanos(self.now - request.sent);
        request.lease.record(Outcome { latency: Some(latency), ok: true });
        if request.measured {
            self.unanswered -= 1;
            each(Answer { server: request.server, latency });
        }
        drop(request);
        if matches!(self.scenario.load, Load::Closed { .. }) { self.send() } else { Ok(()) }
    }

    fn push_after(&mut self, nanos: u64, what: What) {
        self.push_at(self.now.saturating_add(nanos), what);
    }

    fn push_at(&mut self, at: u64, what: What) {
        self.number += 1;
        self.events.push(Reverse(Event { at, number: self.number, what }));
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }
}

fn balancer(scenario: &Scenario, backends: Vec<Arc<Backend>>) -> Result<Balancer, StrategyError> {
    let row = scenario.row.map_or_else(|| find(&scenario.strategy.name), Ok)?;
    Balancer::with_row(row, scenario.strategy.clone(), backends, BalancerOptions::default())
}
