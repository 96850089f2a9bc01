//! File descriptors: as many as the system allows this process, and how many of them clients may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for what is not a client's or a backend's: listeners, runtimes, the admin address, probes, files.
const RESERVED: u64 = 32;
/// One client in so many may have a long body on its way through the kernel.
const CLIENTS_A_PIPE: u8 = 16;
/// Clients that are served at once where the system allows more than anyone needs.
const MOST: usize = 100_000;

/// Raises the process's limit as far as it may, and says how many client connections it has room for: each may need
/// one to a backend too, and some a pipe.
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
    // Two for each, and two more for each of those that may have a pipe.
    let room =
        descriptors.saturating_sub(RESERVED) / u64::from(2 * CLIENTS_A_PIPE + 2) * u64::from(CLIENTS_A_PIPE);
    usize::try_from(room).unwrap_or(MOST).clamp(1, MOST)
}

/// How many pipes a worker may have open where there is room for so many clients.
pub(crate) fn pipes(clients: usize, workers: usize) -> usize {
    clients / usize::from(CLIENTS_A_PIPE) / workers.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_nearly_half_of_what_is_not_reserved() {
        assert_eq!(room(Some(66)), 16);
        assert_eq!(room(Some(1024)), 464);
        assert_eq!(room(Some(3)), 1, "too few is said by the system, not by us");
        assert_eq!(room(Some(1 << 30)), MOST);
        assert_eq!(room(None), MOST);
    }

    #[test]
    fn pipes_leave_every_client_its_two() {
        for descriptors in [66, 1024, 65_536] {
            let clients = room(Some(descriptors));
            let in_use = (2 * clients + 2 * pipes(clients, 1)) as u64 + RESERVED;
            assert!(in_use <= descriptors, "{in_use} of {descriptors}");
        }
    }
}
