//! The signals that end the program, the one that has it read its configuration again, and the one that has it replaced.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, and SIGUSR2.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    replace: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An end.
    Stop,
    /// Another process in the place of this one.
    Replace,
}

impl Stop {
    /// Begins to listen; from here on these signals no longer kill the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            replace: listen(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one that asks for an end.
    pub(crate) async fn next(&mut self) {
        while self.asked().await != Asked::Stop {}
    }

    /// Waits for the next one.
    pub(crate) async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.replace.recv() => Asked::Replace,
        }
    }
}

/// SIGHUP.
pub(crate) struct Hangup(Signal);

impl Hangup {
    /// Begins to listen; from here on the signal no longer kills the process.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        signal(SignalKind::hangup()).map(Self).context("cannot listen for signals")
    }

    /// Waits for the next one; several that come together are one.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}
