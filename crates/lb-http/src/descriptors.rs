//! File descriptors: as many as the system allows this process, and how many of them clients may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for what is not a client's or a backend's: listeners, runtimes, the admin address, probes, files.
const RESERVED: u64 = 32;
/// Clients that are served at once where the system allows more than anyone needs.
const MOST: usize = 100_000;

/// Raises the process's limit as far as it may, and says how many client connections it has room for: each may need
/// one to a backend too.
pub(crate) fn client_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    room(current)
}

/// `None` is no limit.
fn room(descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return MOST };
    let half = descriptors.saturating_sub(RESERVED) / 2;
    usize::try_from(half).unwrap_or(MOST).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_half_of_what_is_not_reserved() {
        assert_eq!(room(Some(64)), 16);
        assert_eq!(room(Some(1024)), 496);
        assert_eq!(room(Some(3)), 1, "too few is said by the system, not by us");
        assert_eq!(room(Some(1 << 30)), MOST);
        assert_eq!(room(None), MOST);
    }
}
