//! Work of the control side that takes its time.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How far such work gives way to workers where they want the same core (nice(1)), by how long whoever waits for it has waited: at
/// first it gets little but what they leave (a seventieth of a core that both want at all times), later an eighth, and in the end a
/// half. What it gets of a core that workers want comes in slices of milliseconds, which their requests wait for. No thread can take
/// back what it gave without privileges, so each step of a longer task is a thread.
const NICE: [(Duration, i32); 3] =
    [(Duration::from_millis(200), LEAST), (Duration::from_millis(450), 9), (Duration::MAX, 0)];

/// Does the work on a thread of its own, which gives way to those that serve requests.
///
/// # Errors
/// There can be no thread, or the work has panicked.
pub async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    in_background_since(Instant::now(), work).await
}

/// The same for a step of something that began then; the longer ago that was, the less it gives way.
///
/// # Errors
/// There can be no thread, or the work has panicked.
pub async fn in_background_since<T: Send + 'static>(
    begun: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let nice = nice_after(begun.elapsed());
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        // Linux has it of the thread that calls. Where it is refused, the work goes on as it is.
        let _ = rustix::process::getpriority_process(None)
            .and_then(|before| setpriority_process(None, (before + nice).min(LEAST)));
        let _ = done.send(work());
    })?;
    result.await.map_err(io::Error::other)
}

/// The niceness of who gives way most.
const LEAST: i32 = 19;

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
    }

    #[test]
    fn the_longer_it_takes_the_less_it_gives_way() {
        let waited = [0, 199, 200, 449, 450, 100_000].map(Duration::from_millis);
        assert_eq!(waited.map(nice_after), [19, 19, 9, 9, 0, 0]);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        assert!(in_background(|| assert_eq!(1, 2)).await.is_err());
    }
}
