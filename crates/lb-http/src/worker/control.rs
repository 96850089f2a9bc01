//! The control side, as workers need it: what takes its time is done there.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::forward_proxy::Passwords;

/// Names of clients' that are looked up at a time; more wait.
const MAX_LOOKUPS: usize = 64;

/// See the module.
pub(crate) struct Control {
    pub(crate) runtime: Handle,
    /// Names that clients ask for and that are being looked up: a bound on the control side's threads that wait for an answer.
    pub(crate) lookups: Arc<Semaphore>,
    /// Who has said who they are.
    pub(crate) passwords: Passwords,
}

impl Control {
    /// The runtime that this is called in.
    pub(crate) fn here() -> Self {
        let lookups = Arc::new(Semaphore::new(MAX_LOOKUPS));
        Self { runtime: Handle::current(), lookups, passwords: Passwords::default() }
    }
}
