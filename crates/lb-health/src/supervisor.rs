//! The one task behind all monitors: probes when they are due, ends ejections and recovery times, settles what has changed,
//! keeps the state file.
//!
//! Probes run side by side, but never more than `max_probes` at once; all that waits is an entry in a heap, so ten thousand
//! backends cost no more tasks than are being probed at the moment. Their times spread by themselves: the second probe of a
//! backend comes at a random part of its interval after the first, and each interval varies by a tenth.

mod run;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::HashMap;
use tokio::sync::Notify;

use self::run::Run;
use crate::clock::Clock;
use crate::event::EventSink;
use crate::monitor::{HealthMonitor, Patron};
use crate::saved::{SavedState, StateError};

/// What a supervisor is given.
#[derive(Clone)]
pub struct SupervisorOptions {
    /// Told of every change, beside the log.
    pub sink: Option<Arc<dyn EventSink>>,
    /// Where what is known of bad backends is kept across restarts.
    pub state_file: Option<PathBuf>,
    /// What is known of bad backends already, in place of what the file says.
    pub known: Option<SavedState>,
    /// Probes at once, over all upstreams; each has one descriptor open. Default 512.
    pub max_probes: NonZeroUsize,
}

impl Default for SupervisorOptions {
    fn default() -> Self {
        const DEFAULT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);
        Self { sink: None, state_file: None, known: None, max_probes: DEFAULT }
    }
}

/// Looks after the monitors of a whole gateway.
///
/// [`enforce`](Self::enforce) what a configuration asks for, at the start and at each reload, and spawn [`run`](Self::run)
/// once; dropping that future ends everything, probes under way included.
///
/// ```
/// use std::{net::SocketAddr, sync::Arc};
/// use lb_core::{Backend, BackendOptions, Balancer, StrategyConfig};
/// use lb_health::{HealthConfig, HealthMonitor, ProbeConfig, ProbeTarget, Supervisor, UpstreamOptions, Watched};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Nobody listens here.
/// let address: SocketAddr = "127.0.0.1:1".parse()?;
/// let backend = Arc::new(Backend::new(BackendOptions::named("http://127.0.0.1:1")));
/// let balancer = Arc::new(Balancer::new(StrategyConfig::named("round_robin"), vec![backend])?);
///
/// let watched = Watched {
///     config: HealthConfig { probe: Some(ProbeConfig::http("/health")), ..Default::default() },
///     target: Some(ProbeTarget {
///         authority: address.to_string(),
///         base_path: String::new(),
///         addresses: Arc::new(move || Arc::new(vec![address])),
///         secure: None,
///         preamble: Vec::new(),
///     }),
/// };
/// let monitor = HealthMonitor::new("app", balancer, vec![watched], UpstreamOptions::default())?;
///
/// let supervisor = Supervisor::new(Default::default());
/// supervisor.enforce(vec![monitor]);
/// let running = tokio::spawn(supervisor.clone().run());
/// # running.abort();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

struct Shared {
    options: SupervisorOptions,
    wake: Arc<Notify>,
    force: Mutex<Force>,
}

/// What is in force.
#[derive(Default)]
struct Force {
    monitors: Vec<Arc<HealthMonitor>>,
    /// Counts the configurations; 0 before the first.
    generation: u64,
}

impl Supervisor {
    /// Has nothing to look after yet.
    pub fn new(options: SupervisorOptions) -> Self {
        Self { shared: Arc::new(Shared { options, wake: Arc::default(), force: Mutex::default() }) }
    }

    /// Puts the monitors of a configuration in force, one an upstream, in place of all there were. Each goes on where the one
    /// of the same name stood; at the start, where the state file says. Balancers are up to date when it returns.
    pub fn enforce(&self, monitors: Vec<Arc<HealthMonitor>>) {
        let clock = Clock::read();
        let mut force = self.force();
        let earlier = std::mem::take(&mut force.monitors);
        let saved = if force.generation == 0 { self.saved(&clock) } else { None };
        let earlier: HashMap<&str, &Arc<HealthMonitor>> =
            earlier.iter().map(|earlier| (&**earlier.upstream(), earlier)).collect();
        for monitor in &monitors {
            if let Some(earlier) = earlier.get(&**monitor.upstream()) {
                monitor.take_over(earlier, clock.now);
            }
            if let Some(saved) = &saved {
                saved.restore(monitor, &clock);
            }
            let Shared { wake, options, .. } = &*self.shared;
            monitor.enforce(Patron { wake: Arc::clone(wake), sink: options.sink.clone() });
            monitor.settle(clock.now);
        }
        force.monitors = monitors;
        force.generation += 1;
        drop(force);
        self.shared.wake.notify_one();
    }

    /// The monitors in force.
    pub fn monitors(&self) -> Vec<Arc<HealthMonitor>> {
        self.force().monitors.clone()
    }

    /// Writes the state file, where there is to be one: for the end of the program. While it runs, the file is written a
    /// second after each change.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self) -> Result<(), StateError> {
        match &self.shared.options.state_file {
            Some(file) => self.known().write(file),
            None => Ok(()),
        }
    }

    /// What is known of bad backends now.
    pub fn known(&self) -> SavedState {
        SavedState::of(&self.monitors(), &Clock::read())
    }

    /// Does everything. To be run once, on the control side's runtime, with time and I/O enabled.
    pub async fn run(self) {
        Run::new(self).run().await;
    }

    fn force(&self) -> MutexGuard<'_, Force> {
        self.shared.force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known at the start, or else what the state file says, if it says anything.
    fn saved(&self, clock: &Clock) -> Option<SavedState> {
        if let Some(known) = &self.shared.options.known {
            return Some(known.clone());
        }
        let file: &Path = self.shared.options.state_file.as_deref()?;
        match SavedState::read(file, clock) {
            Ok(saved) => Some(saved),
            Err(StateError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, %error, "the state file is ignored: every backend is taken for healthy");
                None
            }
        }
    }
}
