//! Whether a backend that says nothing is still there: it is asked by PING (RFC 9113 §6.7).
//!
//! A machine that has lost its power, or a cable that was pulled, closes no connection. Of one that has streams and brings nothing for
//! an interval a sign of life is asked; where nothing comes then, the connection is over, and what was asked on it can be asked
//! elsewhere. Until there is a sign, it is given no other requests. One that had no streams for so long is asked with the next one.
//!
//! Servers of gRPC break off with those that ask too often while they themselves have no messages to send, by default more than
//! [`FEW`] times within [`LONG`] (`too_many_pings`). So that is all that a silence is asked at its beginning. Of a machine that is gone the
//! system tells meanwhile, which probes below HTTP/2 at the same pace (`Transport::look_after`) and which no program counts; a program
//! that stands still on a machine that is well is what only the next PING tells.
//!
//! Cost: a timer a connection, which is set and looked into once in an interval however many requests there are, and a look at the
//! clock whenever something has come.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lb_h2::{Connection, Heard, Pings};
use tokio::time::{Instant, Sleep};

/// How often one that sends no messages is asked in a row,
const FEW: u32 = 3;
/// and how long it then has peace.
const LONG: Duration = Duration::from_secs(300);

/// Looks after one connection.
pub(super) struct KeepAlive {
    pings: Pings,
    timer: Pin<Box<Sleep>>,
    /// Whether the timer will wake the connection's task, which is always the same one.
    is_armed: bool,
    heard_at: Instant,
    state: State,
    /// How often it has been asked since its last message.
    asked: u32,
    /// Whether a sign of life is owed.
    is_silent: Rc<Cell<bool>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Something came lately, or nothing is awaited.
    Still,
    /// Nothing has come for an interval, and nobody waited for it.
    Idle,
    /// It has been asked.
    Asked,
}

impl KeepAlive {
    /// For a connection that has just been opened. `is_silent` is true while a sign of life is owed.
    pub(super) fn new(pings: Pings, is_silent: Rc<Cell<bool>>) -> Self {
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(later(now, pings.interval)));
        Self { pings, timer, is_armed: false, heard_at: now, state: State::Still, asked: 0, is_silent }
    }

    /// Ready once the backend is taken for dead. To be called whenever the connection is driven, ahead of sending.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<()> {
        self.hear(connection.take_heard());
        if self.state == State::Idle && connection.open_streams() > 0 && self.asked < FEW {
            self.ask(connection);
        }
        while !self.is_armed || self.timer.is_elapsed() {
            self.is_armed = true;
            ready!(self.timer.as_mut().poll(cx));
            let now = self.timer.deadline().max(Instant::now());
            let due = later(self.heard_at, self.patience());
            match self.state {
                State::Asked => return Poll::Ready(()),
                State::Still | State::Idle if due > now => self.set(due),
                State::Still | State::Idle if connection.open_streams() == 0 => {
                    self.state = State::Idle;
                    self.set(later(now, self.pings.interval));
                }
                State::Still | State::Idle => self.ask(connection),
            }
        }
        Poll::Pending
    }

    fn set(&mut self, due: Instant) {
        self.timer.as_mut().reset(due);
        self.is_armed = false;
    }

    fn hear(&mut self, heard: Heard) {
        if heard == Heard::Nothing {
            return;
        }
        self.heard_at = Instant::now();
        let had_peace = self.asked >= FEW;
        if heard == Heard::Messages {
            self.asked = 0;
        }
        let is_answered = self.state == State::Asked;
        self.state = State::Still;
        if is_answered || had_peace && self.asked == 0 {
            self.is_silent.set(false);
            let due = later(self.heard_at, self.patience());
            self.set(due);
        }
    }

    fn ask(&mut self, connection: &Connection) {
        connection.ping();
        self.state = State::Asked;
        self.asked = self.asked.saturating_add(1);
        self.is_silent.set(true);
        self.set(later(Instant::now(), self.pings.timeout));
    }

    /// How long it may say nothing.
    fn patience(&self) -> Duration {
        if self.asked < FEW { self.pings.interval } else { self.pings.interval.max(LONG) }
    }
}

fn later(now: Instant, time: Duration) -> Instant {
    crate::watch::later(now.into_std(), time).into()
}

#[cfg(test)]
mod tests {
    use lb_h2::{BackendLimits, ClientStream, Http2Limits};

    use super::*;

    /// A client and a server, and how often the server has been asked.
    struct Pair {
        client: Connection,
        server: Connection,
        keep: KeepAlive,
    }

    fn shuttle(from: &Connection, to: &Connection) {
        let bytes = from.with_pending(|bytes| (bytes.len(), bytes.to_vec()));
        if !bytes.is_empty() {
            let _ = to.receive(&bytes);
        }
    }

    impl Pair {
        fn new() -> Self {
            let pings = Pings { interval: Duration::from_secs(10), timeout: Duration::from_secs(5) };
            let pair = Self {
                client: Connection::client(&BackendLimits::default()),
                server: Connection::server(&Http2Limits::default(), 32 << 10),
                keep: KeepAlive::new(pings, Rc::default()),
            };
            shuttle(&pair.client, &pair.server);
            shuttle(&pair.server, &pair.client);
            shuttle(&pair.client, &pair.server);
            pair
        }

        /// What is sent by itself within so many seconds, in bytes, where nothing comes back; ready where that is the end.
        async fn wait(&mut self, seconds: u64) -> (usize, Poll<()>) {
            let end = Instant::now() + Duration::from_secs(seconds);
            let mut sent = 0;
            loop {
                let next = tokio::time::timeout_at(
                    end,
                    std::future::poll_fn(|cx| {
                        if self.keep.poll(cx, &self.client).is_ready() {
                            return Poll::Ready(true);
                        }
                        if self.client.pending() > 0 { Poll::Ready(false) } else { Poll::Pending }
                    }),
                );
                match next.await {
                    Ok(true) => return (sent, Poll::Ready(())),
                    Ok(false) => sent += self.client.with_pending(|bytes| (bytes.len(), bytes.len())),
                    Err(_) => return (sent, Poll::Pending),
                }
            }
        }
    }

    fn ask(connection: &Connection) -> ClientStream {
        let mut stream = connection.stream(false);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(stream.poll_write(&mut cx, head), Poll::Ready(Ok(_))));
        stream
    }

    /// A PING with its head.
    const PING: usize = 17;

    #[tokio::test(start_paused = true)]
    async fn a_silent_backend_is_asked_and_then_given_up() {
        let mut pair = Pair::new();
        assert_eq!(pair.wait(60).await, (0, Poll::Pending), "nobody waits for anything");
        let _stream = ask(&pair.client);
        shuttle(&pair.client, &pair.server);
        assert_eq!(pair.wait(4).await, (PING, Poll::Pending), "it has been silent for long");
        assert!(pair.keep.is_silent.get());
        assert_eq!(pair.wait(2).await, (0, Poll::Ready(())));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_is_let_live_and_asked_no_more_often_than_servers_bear() {
        let mut pair = Pair::new();
        assert_eq!(pair.wait(1).await.0, 0);
        let _stream = ask(&pair.client);
        shuttle(&pair.client, &pair.server);
        let mut asked = Vec::new();
        for second in 0..2000 {
            let (sent, over) = pair.wait(1).await;
            assert_eq!(over, Poll::Pending, "{second}");
            if sent > 0 {
                asked.push(second);
                // The answer to a PING, which is no message.
                let _ = pair.client.receive(&[0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
        let soon = asked.iter().filter(|second| **second < 300).count();
        assert_eq!(soon, 3, "{asked:?}");
        assert!(asked.len() > 6 && asked[3..].windows(2).all(|two| two[1] - two[0] >= 299), "{asked:?}");
        assert!(!pair.keep.is_silent.get());
    }

    #[tokio::test(start_paused = true)]
    async fn messages_give_it_back_its_first_patience() {
        let mut pair = Pair::new();
        let _stream = ask(&pair.client);
        shuttle(&pair.client, &pair.server);
        let mut asked = 0;
        for _ in 0..200 {
            asked += pair.wait(1).await.0 / PING;
            let _ = pair.client.receive(&[0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(asked, 0, "something came each second");
        for _ in 0..60 {
            if pair.wait(1).await.0 > 0 {
                let _ = pair.client.receive(&[0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
        assert_eq!(pair.keep.asked, FEW);
        // DATA of a stream that is over.
        let _ = pair.client.receive(&[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88]);
        assert_eq!(pair.wait(9).await.0, 0);
        assert_eq!(pair.wait(2).await.0, PING);
    }
}
