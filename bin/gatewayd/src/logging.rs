//! Log lines on standard error: JSON for machines, text for people.
//!
//! `GATEWAYD_LOG`, or else `RUST_LOG`, sets levels at the start ([`Directives`]); the admin address changes them while the
//! process runs, for good or for a while. Of a process that serves nobody waits for lines to be read ([`lines`]).

mod directives;
mod lines;

use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::cli::LogFormat;
pub(crate) use directives::Directives;

/// How long the end of the process waits for what is still to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where levels are read from, in this order.
const VARIABLES: [&str; 2] = ["GATEWAYD_LOG", "RUST_LOG"];

static LEVEL: OnceLock<Level> = OnceLock::new();
/// Whether lines are text.
static IS_TEXT: OnceLock<bool> = OnceLock::new();

/// Which lines are written.
pub(crate) struct Level {
    filter: reload::Handle<Targets, Registry>,
    state: Mutex<State>,
}

struct State {
    /// Until it is changed.
    lasting: Directives,
    /// For a while, and until when.
    passing: Option<(Directives, SystemTime)>,
    /// Ends what is passing.
    timer: Option<AbortHandle>,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) level: Directives,
    /// Until when, and what then.
    pub(crate) until: Option<(SystemTime, Directives)>,
}

/// Starts logging for the process.
pub(crate) fn start(format: LogFormat) {
    let written = VARIABLES.into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let read = written.map(|(name, text)| (name, text.parse::<Directives>()));
    let lasting = read.as_ref().and_then(|(_, read)| read.clone().ok()).unwrap_or_default();
    let (filter, handle) = reload::Layer::new(lasting.filter());
    let is_terminal = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(lines::Writer);
    let registry = tracing_subscriber::registry().with(filter);
    let is_text = match format {
        LogFormat::Json => false,
        LogFormat::Text => true,
        LogFormat::Auto => is_terminal,
    };
    match is_text {
        true => registry.with(lines.with_ansi(is_terminal)).init(),
        false => registry.with(lines.json().flatten_event(true)).init(),
    }
    let _once = IS_TEXT.set(is_text);
    let state = Mutex::new(State { lasting, passing: None, timer: None });
    let _once = LEVEL.set(Level { filter: handle, state });
    if let Some((name, Err(error))) = read {
        tracing::warn!(%error, "{name} is not used");
    }
}

/// From now on nobody waits for lines to be read: for a process that serves.
pub(crate) fn serve() {
    lines::start(is_text());
}

/// Says a line for people, in its turn among those of the log.
pub(crate) fn say(line: &str) {
    lines::say(format!("{line}\n").as_bytes());
}

/// Waits for a while until all that has been said is written: for the end of the process.
pub(crate) fn finish() {
    lines::flush(LAST_LINES);
}

/// Whether people read the log: what has several lines is then written as it is, and not into a field.
pub(crate) fn is_text() -> bool {
    IS_TEXT.get().copied().unwrap_or(true)
}

/// The process's level.
pub(crate) fn level() -> Option<&'static Level> {
    LEVEL.get()
}

impl Level {
    pub(crate) fn in_force(&self) -> InForce {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.passing {
            Some((level, until)) => {
                InForce { level: level.clone(), until: Some((*until, state.lasting.clone())) }
            }
            None => InForce { level: state.lasting.clone(), until: None },
        }
    }

    /// Changes it until the next change, or for a while. To be called within a tokio runtime.
    pub(crate) fn change(&'static self, level: Directives, lasts: Option<Duration>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = state.timer.take() {
            timer.abort();
        }
        self.put_in_force(&level);
        match lasts {
            None => {
                state.lasting = level;
                state.passing = None;
            }
            Some(lasts) => {
                state.passing = Some((level, SystemTime::now() + lasts));
                let timer = tokio::spawn(async move {
                    tokio::time::sleep(lasts).await;
                    self.pass();
                });
                state.timer = Some(timer.abort_handle());
            }
        }
    }

    /// What was for a while is over.
    fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.timer = None;
        if state.passing.take().is_some() {
            self.put_in_force(&state.lasting);
            tracing::info!(component = "admin", directives = %state.lasting, "log level is what it was before");
        }
    }

    fn put_in_force(&self, level: &Directives) {
        // It fails only where logging itself has gone.
        let _in_force = self.filter.reload(level.filter());
    }
}
