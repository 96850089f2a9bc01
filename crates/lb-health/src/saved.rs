//! What is known of bad backends, across a restart: so that one that was dead is not the first to be tried.
//!
//! Only what speaks against a backend is kept, by upstream and URL, with times as the wall shows them. It is a hint: of what
//! probes said the first good one clears it, and no ejection outlasts its configured time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahash::HashMap;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::machine::breaker::Circuit;
use crate::monitor::HealthMonitor;
use crate::vitals::{Memory, ProbeMemory};
use crate::whole;

/// The form of the file.
const VERSION: u32 = 1;
/// What is older says nothing about now.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);
/// A file that is larger was not written here.
const MAX_SIZE: u64 = 64 << 20;

/// What is known of bad backends.
///
/// ```
/// use lb_health::{Clock, SavedState};
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("gatewayd.state");
/// let clock = Clock::read();
/// SavedState::of(&[], &clock).write(&file)?;
/// assert!(SavedState::read(&file, &clock)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedState {
    version: u32,
    saved_at_ms: u64,
    backends: Vec<SavedBackend>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SavedBackend {
    upstream: String,
    url: String,
    /// By its probes.
    unhealthy: bool,
    ejected_until_ms: Option<u64>,
    /// Not closed.
    open_until_ms: Option<u64>,
    since_ms: u64,
    error: Option<String>,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not what this program writes.
    #[error("it is no state file: {0}")]
    Broken(#[from] serde_json::Error),
    /// Another version of the program wrote it.
    #[error("its form is version {0}, not {VERSION}")]
    Version(u32),
    /// What it says is no longer of use.
    #[error("it is {} minutes old, more than {}", .0.as_secs() / 60, MAX_AGE.as_secs() / 60)]
    Old(Duration),
}

impl SavedState {
    /// What these monitors know.
    pub fn of(monitors: &[Arc<HealthMonitor>], clock: &Clock) -> Self {
        let saved = monitors.iter().flat_map(|monitor| {
            let saved = monitor
                .memories()
                .into_iter()
                .filter_map(|(url, memory)| SavedBackend::of(monitor.upstream(), url, &memory, clock));
            saved.collect::<Vec<_>>()
        });
        Self { version: VERSION, saved_at_ms: unix_ms(clock.wall), backends: saved.collect() }
    }

    /// Whether there is nothing bad to tell.
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is broken, of another version or too old: then nothing is known, which is no reason not to start.
    pub fn read(file: &Path, clock: &Clock) -> Result<Self, StateError> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if std::fs::metadata(file)?.len() > MAX_SIZE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large").into());
        }
        let text = std::fs::read(file)?;
        let Versioned { version } = serde_json::from_slice(&text)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let state: Self = serde_json::from_slice(&text)?;
        let age = Duration::from_millis(unix_ms(clock.wall).saturating_sub(state.saved_at_ms));
        if age > MAX_AGE { Err(StateError::Old(age)) } else { Ok(state) }
    }

    /// Writes a file beside the one there is and puts it in its place, so that there is a whole one at any time.
    ///
    /// # Errors
    /// It cannot be written; the old one is as it was.
    pub fn write(&self, file: &Path) -> Result<(), StateError> {
        whole::replace(file, &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// Tells a monitor what is known of its backends; how many that are.
    pub(crate) fn restore(&self, monitor: &HealthMonitor, clock: &Clock) -> usize {
        let positions: HashMap<&str, usize> = monitor.positions();
        let own = self.backends.iter().filter(|saved| *saved.upstream == **monitor.upstream());
        let known = own.filter_map(|saved| Some((saved, *positions.get(&*saved.url)?)));
        known.map(|(saved, position)| monitor.recall(position, saved.memory(clock), clock.now)).count()
    }
}

impl SavedBackend {
    fn of(upstream: &str, url: &str, memory: &Memory, clock: &Clock) -> Option<Self> {
        let ms = |instant: Instant| unix_ms(clock.wall_of(instant));
        let unhealthy = match &memory.probe {
            ProbeMemory::Whole(thresholds) => !thresholds.is_healthy(),
            ProbeMemory::Unhealthy => true,
            ProbeMemory::None => false,
        };
        let open_until = match memory.circuit {
            Circuit::Closed => None,
            // Half-open is open whose time is up.
            Circuit::HalfOpen | Circuit::Open => Some(memory.open_until.unwrap_or(clock.now)),
        };
        let bad = unhealthy || memory.ejected_until.is_some() || open_until.is_some();
        bad.then(|| Self {
            upstream: upstream.to_owned(),
            url: url.to_owned(),
            unhealthy,
            ejected_until_ms: memory.ejected_until.map(ms),
            open_until_ms: open_until.map(ms),
            since_ms: ms(memory.since),
            error: memory.error.clone(),
        })
    }

    fn memory(&self, clock: &Clock) -> Memory {
        let instant = |ms: u64| {
            let moment = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
            moment.map_or(clock.now, |moment| clock.instant_of(moment))
        };
        Memory {
            probe: if self.unhealthy { ProbeMemory::Unhealthy } else { ProbeMemory::None },
            ejected_until: self.ejected_until_ms.map(instant),
            circuit: if self.open_until_ms.is_some() { Circuit::Open } else { Circuit::Closed },
            open_until: self.open_until_ms.map(instant),
            streak: 0,
            error: self.error.clone(),
            since: instant(self.since_ms).min(clock.now),
            // It was known before.
            new_since: None,
            last_probe: None,
        }
    }
}

fn unix_ms(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
