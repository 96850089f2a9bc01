//! Waiting with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Poll until `condition` holds.
///
/// # Panics
/// Where it does not within `deadline`; `what` says what was waited for.
#[track_caller]
pub fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
