//! Work of the control side that takes its time.

use std::io;

use rustix::process::setpriority_process;
use tokio::sync::oneshot;

/// How far such work gives way to workers where they want the same core (nice(1)): a third of a core that is wanted by both,
/// and all that they leave.
const NICE: i32 = 5;

/// Does the work on a thread of its own, which gives way to those that serve requests.
///
/// # Errors
/// There can be no thread, or the work has panicked.
pub async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("background".to_owned()).spawn(move || {
        // Linux has it of the thread that calls. Where it is refused, the work goes on as it is.
        let _ = setpriority_process(None, NICE);
        let _ = done.send(work());
    })?;
    result.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_gives_way_and_its_caller_does_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let during = in_background(nice).await.unwrap();
        assert_eq!((during, nice()), (before + NICE, before));
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        assert!(in_background(|| assert_eq!(1, 2)).await.is_err());
    }
}
