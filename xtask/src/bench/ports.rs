//! Free ports on loopback, outside the range that outgoing connections take theirs from.

use std::net::TcpListener;

use anyhow::{Result, bail};

/// Hands out ports that nobody listens on, each once.
pub(crate) struct Ports {
    next: u16,
}

impl Ports {
    /// A run with a connection a request uses up the ephemeral range, so it is left alone (it starts at 32768 on Linux).
    const LAST: u16 = 32_000;

    /// Begins at a place that differs between processes, so that two runs do not look at the same ports first.
    pub(crate) fn new() -> Self {
        let offset = u16::try_from(std::process::id() % 10_000).unwrap_or(0);
        Self { next: 20_000 + offset }
    }

    /// The next port that could be bound exclusively just now.
    pub(crate) fn take(&mut self) -> Result<u16> {
        while self.next < Self::LAST {
            let port = self.next;
            self.next += 1;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no free port between 20000 and {} on 127.0.0.1", Self::LAST)
    }
}
