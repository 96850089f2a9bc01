//! TCP's congestion control: machines differ in their default, and large bodies show it even on loopback.

use std::fs;

const SETTING: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// cubic while this lives, where that is permitted; then what it was before.
pub(crate) struct Congestion {
    before: String,
    /// What the run was measured with.
    pub(crate) now: String,
}

impl Congestion {
    /// Set cubic for connections to come.
    pub(crate) fn cubic() -> Self {
        let before = current();
        // Without the right to do so the run goes on with what there is, and says so.
        drop(fs::write(SETTING, "cubic"));
        Self { before, now: current() }
    }
}

impl Drop for Congestion {
    fn drop(&mut self) {
        if self.before != self.now {
            drop(fs::write(SETTING, &self.before));
        }
    }
}

fn current() -> String {
    fs::read_to_string(SETTING).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
