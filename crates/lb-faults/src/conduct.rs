//! How a client carries on: most wait for their answer, some leave in the middle of things.

use std::io;
use std::time::Duration;

use crate::message::{Wire, pattern};

/// What a client does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Sends it and waits for the whole answer.
    Whole,
    /// Sends it and resets the connection soon after.
    Abort,
    /// Sends half of the head and closes.
    HalfHead,
    /// Says that a body follows, sends half of it and closes.
    HalfUpload,
    /// Reads half of a large answer and closes.
    HangUp,
    /// Reads a large answer a little at a time, to its end.
    Crawl,
    /// Reads very little of a very large answer at a time, for as long as it is let.
    Dawdle,
    /// Sends a byte of a body now and then, for as long as it is let.
    Trickle,
}

impl Conduct {
    /// Those that leave, or take their time.
    pub(crate) const UNRULY: &[Conduct] =
        &[Conduct::Abort, Conduct::HalfHead, Conduct::HalfUpload, Conduct::HangUp, Conduct::Crawl];
    /// Those that would stay for ever.
    pub(crate) const ENDLESS: &[Conduct] = &[Conduct::Dawdle, Conduct::Trickle];

    /// Whether it sees its request through.
    pub(crate) fn is_patient(self) -> bool {
        matches!(self, Conduct::Whole | Conduct::Crawl)
    }

    /// How large an answer it asks for, where one of the usual size would not do.
    pub(crate) fn bytes(self) -> Option<usize> {
        match self {
            Conduct::HangUp => Some(4 << 20),
            Conduct::Crawl => Some(256 << 10),
            // More than all buffers on the way hold.
            Conduct::Dawdle => Some(8 << 20),
            _ => None,
        }
    }

    /// Do what it does before it leaves. The connection is closed afterwards, with a reset for [`Abort`](Conduct::Abort).
    pub(crate) async fn leave(self, mut wire: Wire, head: &str, id: u64) -> io::Result<()> {
        match self {
            Conduct::Abort => {
                wire.send(head.as_bytes()).await?;
                tokio::time::sleep(Duration::from_millis(id % 7)).await;
                wire.reset();
            }
            Conduct::HalfHead => wire.send(&head.as_bytes()[..head.len() / 2]).await?,
            Conduct::HalfUpload => {
                wire.send(head.as_bytes()).await?;
                wire.send(&pattern(id, UPLOAD / 2)).await?;
                tokio::time::sleep(Duration::from_millis(id % 13)).await;
            }
            Conduct::HangUp => {
                wire.send(head.as_bytes()).await?;
                let head = wire.head().await?;
                let length = head.and_then(|head| head.field("content-length")?.parse().ok()).unwrap_or(0);
                // An error is shorter than what it was going to read.
                wire.exact(length.min(32 << 10)).await?;
            }
            Conduct::Dawdle => {
                wire.send(head.as_bytes()).await?;
                while wire.fill(8 << 10).await? > 0 {
                    wire.forget();
                    tokio::time::sleep(REST).await;
                }
            }
            Conduct::Trickle => {
                wire.send(head.as_bytes()).await?;
                // Until there is an answer, which is none to a request that is still being sent.
                while tokio::time::timeout(REST, wire.head()).await.is_err() {
                    wire.send(b"x").await?;
                }
            }
            Conduct::Whole | Conduct::Crawl => {}
        }
        Ok(())
    }
}

/// The size of an upload that is broken off.
pub(crate) const UPLOAD: usize = 64 << 10;
/// From one byte to the next of a client that would stay for ever.
const REST: Duration = Duration::from_millis(100);
/// What a client that crawls reads at a time, and how long it rests then.
pub(crate) const CRAWL: (usize, Duration) = (16 << 10, Duration::from_millis(20));
