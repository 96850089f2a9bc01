//! Requests that are due at even intervals, whatever the answers do, and how long after that each was answered.
//!
//! What is late counts: latency is from when a request was due, though every connection still waited for an answer then. h2load
//! keeps a rate for each of its connections and measures from when it sends. Its medians were ten times these, and stayed up
//! for the rest of a row after a single wait; probably its connections' timers stand together from there on, and it sends in bursts.
//!
//! One thread, so that it can be put on a core, and ahead of what else runs there.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::interrupt::Interrupt;
use super::process::Core;

/// Connections that take turns. All of them wait for an answer only where the gateway is a long way behind.
const CONNECTIONS: usize = 1024;
/// How much is sent at once where nothing else wakes the generator: what is due within this time.
const STEP: Duration = Duration::from_micros(100);
/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST: &[u8] =
    b"GET /1k HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\nUser-Agent: gatewayd-bench\r\n\r\n";
/// Stands for the timer among connections.
const TIMER: u64 = u64::MAX;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) port: u16,
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) time: Duration,
    /// Real-time priority, where this user may give it.
    pub(crate) priority: Option<u8>,
}

/// What became of a request that was answered.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    /// Since the begin.
    pub(crate) due: Duration,
    pub(crate) latency: Duration,
    pub(crate) good: bool,
}

/// What became of all of them.
pub(crate) struct Answers {
    pub(crate) began: Instant,
    /// In the order in which answers came.
    pub(crate) all: Vec<Answer>,
    /// Requests without one.
    pub(crate) lost: u64,
}

impl Load {
    /// Sends everything, on a thread of its own.
    pub(crate) fn run(self, interrupt: &Interrupt) -> Result<Answers> {
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                let mut core = CpuSet::new();
                core.set(usize::from(Core::Load.number()));
                sched_setaffinity(None, &core)?;
                if let Some(priority) = self.priority {
                    let thread = gettid().as_raw_nonzero().to_string();
                    let arguments = ["--fifo", "--pid", &priority.to_string(), &thread];
                    let raised = Command::new("chrt").args(arguments).output()?;
                    ensure!(raised.status.success(), "chrt failed");
                }
                Generator::new(self)?.run(interrupt)
            });
            running.join().map_err(|_| anyhow::anyhow!("the load failed"))?
        })
    }

    fn count(self) -> u64 {
        // One a step, and no part of one.
        let each = Duration::from_secs_f64(1.0 / self.rate);
        u64::try_from(self.time.as_nanos() / each.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    fn due(self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

struct Generator {
    load: Load,
    epoll: std::os::fd::OwnedFd,
    timer: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    /// Places of those that wait for no answer; the one that has for longest is first.
    idle: VecDeque<usize>,
    answers: Answers,
    /// How long a good answer is, as the first of all was.
    usual: usize,
}

struct Connection {
    stream: TcpStream,
    /// What it waits for the answer of.
    asked: Option<u64>,
    /// What has come of that.
    come: Vec<u8>,
}

impl Generator {
    fn new(load: Load) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let answers = Answers {
            began: Instant::now(),
            all: Vec::with_capacity(usize::try_from(load.count())?),
            lost: 0,
        };
        let mut new = Self {
            load,
            epoll,
            timer,
            connections: Vec::with_capacity(CONNECTIONS),
            idle: (0..CONNECTIONS).collect(),
            answers,
            usual: usize::MAX,
        };
        for place in 0..CONNECTIONS {
            let connection = new.connect(place)?;
            new.connections.push(connection);
        }
        Ok(new)
    }

    fn connect(&self, place: usize) -> Result<Connection> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.load.port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
        Ok(Connection { stream, asked: None, come: Vec::new() })
    }

    fn run(mut self, interrupt: &Interrupt) -> Result<Answers> {
        let count = self.load.count();
        let mut next = 0;
        let mut events = Vec::with_capacity(256);
        self.answers.began = Instant::now();
        while (self.answers.all.len() as u64) + self.answers.lost < count {
            let since = self.answers.began.elapsed();
            while next < count
                && self.load.due(next) <= since
                && let Some(place) = self.idle.pop_front()
            {
                self.send(place, next)?;
                next += 1;
            }
            if since > self.load.time + PATIENCE {
                self.answers.lost = count - self.answers.all.len() as u64;
                break;
            }
            let wait = if next < count { self.load.due(next).saturating_sub(since) } else { PATIENCE };
            self.wake_after(wait.max(STEP))?;
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                match event.data.u64() {
                    TIMER => interrupt.check()?,
                    place => self.read(usize::try_from(place)?)?,
                }
            }
        }
        Ok(self.answers)
    }

    fn wake_after(&self, wait: Duration) -> Result<()> {
        let it_value =
            Timespec { tv_sec: i64::try_from(wait.as_secs())?, tv_nsec: wait.subsec_nanos().into() };
        let time = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time)?;
        Ok(())
    }

    fn send(&mut self, place: usize, number: u64) -> Result<()> {
        let connection = self.connections.get_mut(place).context("there are as many")?;
        connection.asked = Some(number);
        match connection.stream.write_all(REQUEST) {
            Ok(()) => Ok(()),
            Err(_) => self.replace(place),
        }
    }

    /// Puts a new connection in the place of one that is broken; what it waited for is lost.
    fn replace(&mut self, place: usize) -> Result<()> {
        let new = self.connect(place)?;
        let connection = self.connections.get_mut(place).context("there are as many")?;
        let old = std::mem::replace(connection, new);
        if old.asked.is_some() {
            self.answers.lost += 1;
            self.idle.push_back(place);
        }
        Ok(())
    }

    fn read(&mut self, place: usize) -> Result<()> {
        let mut piece = [0; 4096];
        let connection = self.connections.get_mut(place).context("there are as many")?;
        let read = match connection.stream.read(&mut piece) {
            Ok(0) => return self.replace(place),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return self.replace(place),
        };
        connection.come.extend_from_slice(piece.get(..read).unwrap_or_default());
        let good = connection.come.starts_with(b"HTTP/1.1 200");
        let is_over = match length(&connection.come, self.usual) {
            Some(length) => connection.come.len() >= length,
            None => false,
        };
        if is_over && let Some(number) = connection.asked.take() {
            if good {
                self.usual = connection.come.len();
            }
            connection.come.clear();
            let due = self.load.due(number);
            let latency = self.answers.began.elapsed().saturating_sub(due);
            self.answers.all.push(Answer { due, latency, good });
            self.idle.push_back(place);
        }
        Ok(())
    }
}

/// How long the answer is that has begun to come; one that has come to the usual length is looked at no closer.
fn length(come: &[u8], usual: usize) -> Option<usize> {
    if come.len() == usual {
        return Some(usual);
    }
    let head = come.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(come.get(..head)?).to_ascii_lowercase();
    let body: usize = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    Some(head + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_over_with_its_body() {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(length(answer, usize::MAX), Some(answer.len()));
        assert_eq!(length(&answer[..30], usize::MAX), None);
        assert_eq!(length(answer, answer.len()), Some(answer.len()));
    }
}
