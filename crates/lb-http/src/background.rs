//! Work of the control side that takes its time.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How far work gives way that somebody waits for, by how long they have waited: niceness (nice(1)) as against workers that want the
/// same core. At first it takes what they leave and a twelfth, in pieces too short for a request to notice; with more of the core,
/// requests would queue up behind it. What has taken long all the same, beside a worker that leaves nothing, gets a half. No thread can
/// take back what it gave without privileges, so each step of a longer task is a thread.
const NICE: [(Duration, i32); 2] = [(Duration::from_millis(600), 11), (Duration::MAX, 0)];

/// The niceness of work that nobody waits for: it takes what workers leave. It is also the most that there is, whose pieces are so short
/// that most of its time goes by in filling caches anew, two and a half times what it takes by itself.
const LEAST: i32 = 19;

/// Does work that nobody waits for on a thread of its own, which gives way to those that serve requests.
///
/// # Errors
/// There can be no thread, or the work has panicked.
pub async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    at(LEAST, work).await
}

/// The same for a step of something that somebody has waited for since then; the longer ago that was, the less it gives way.
///
/// # Errors
/// There can be no thread, or the work has panicked.
pub async fn in_background_since<T: Send + 'static>(
    begun: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    at(nice_after(begun.elapsed()), work).await
}

async fn at<T: Send + 'static>(nice: i32, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        // Linux has it of the thread that calls. Where it is refused, the work goes on as it is.
        let _ = rustix::process::getpriority_process(None)
            .and_then(|before| setpriority_process(None, (before + nice).min(LEAST)));
        let _ = done.send(work());
    })?;
    result.await.map_err(io::Error::other)
}

fn nice_after(waited: Duration) -> i32 {
    NICE.iter().find(|(until, _)| waited < *until).map_or(0, |(_, nice)| *nice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_gives_way_and_its_caller_does_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let during = in_background(nice).await.unwrap();
        assert_eq!((during, nice()), ((before + LEAST).min(LEAST), before));
        let awaited = in_background_since(Instant::now(), nice).await.unwrap();
        assert_eq!((awaited, nice()), ((before + 11).min(LEAST), before));
    }

    #[test]
    fn the_longer_it_takes_the_less_it_gives_way() {
        let waited = [0, 599, 600, 100_000].map(Duration::from_millis);
        assert_eq!(waited.map(nice_after), [11, 11, 0, 0]);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        assert!(in_background(|| assert_eq!(1, 2)).await.is_err());
    }
}
