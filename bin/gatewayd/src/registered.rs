//! Registrations that outlive the process: a file beside `server.state_file`.
//!
//! It follows changes within half a second, and heartbeats, of which there are many, every five seconds; at the end it is written once
//! more. Each is kept with the end of its time as the wall clock shows it, so that it holds for the rest of that after a restart, and for
//! nothing longer.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lb_discovery::{Discovery, Member, Registered};
use serde::{Deserialize, Serialize};

use crate::kept::{self, Kind};
use crate::reload::Reloading;

pub(crate) const KIND: Kind = Kind { ending: ".registrations", version: 1, max_size: 64 << 20 };
/// How often it is looked whether something has changed.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long heartbeats may be missing in the file.
const RENEWALS_INTERVAL: Duration = Duration::from_secs(5);
/// How long after a file that could not be written the next try is.
const RETRY: Duration = Duration::from_secs(10);
/// A registration holds for no longer, whatever clocks say.
pub(crate) const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);

/// By upstream.
type ByUpstream<T> = BTreeMap<String, Vec<T>>;

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    registrations: ByUpstream<SavedOne>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedOne {
    id: String,
    member: Member,
    until_ms: u64,
}

/// Who was registered when an earlier process ended, with what is left of their time. What is of no use is said and set aside.
pub(crate) fn read(state_file: &Path) -> ByUpstream<Registered> {
    let file = KIND.file(state_file);
    let saved = match KIND.read::<Saved>(&file) {
        Ok(saved) => saved,
        Err(reason) => {
            kept::set_aside(&file, "registrations", &reason);
            None
        }
    };
    let now = unix_ms(SystemTime::now());
    let rest = |one: SavedOne| {
        let remaining = Duration::from_millis(one.until_ms.checked_sub(now).filter(|left| *left > 0)?);
        Some(Registered { id: one.id, member: one.member, remaining: remaining.min(LONGEST_TTL) })
    };
    let saved = saved.map(|saved| saved.registrations).unwrap_or_default();
    let known: ByUpstream<_> = saved
        .into_iter()
        .map(|(upstream, all)| (upstream, all.into_iter().filter_map(rest).collect()))
        .collect();
    let count: usize = known.values().map(Vec::len).sum();
    if count > 0 {
        tracing::info!(
            component = "discovery",
            count,
            "registrations of an earlier run hold for the rest of their time"
        );
    }
    known
}

/// Keeps registrations for the next start, until another process does.
pub(crate) async fn keep(reloading: Arc<Reloading>, state_file: PathBuf) {
    let discovery = Arc::clone(reloading.discovery());
    let mut kept = discovery.counts();
    let mut kept_at = Instant::now();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if reloading.is_succeeded() {
            return;
        }
        let now = discovery.counts();
        let is_renewed = now.renewals != kept.renewals && kept_at.elapsed() >= RENEWALS_INTERVAL;
        if now.changes == kept.changes && !is_renewed {
            continue;
        }
        match save(&discovery, &state_file).await {
            Ok(()) => (kept, kept_at) = (now, Instant::now()),
            Err(error) => {
                let file = KIND.file(&state_file);
                let file = file.display();
                tracing::error!(component = "discovery", %file, %error, "registrations cannot be kept for the next start");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Keeps them now, where any upstream has some.
///
/// # Errors
/// What the system said.
pub(crate) async fn save(discovery: &Discovery, state_file: &Path) -> io::Result<()> {
    let registered = discovery.registered();
    if registered.is_empty() {
        return Ok(());
    }
    let now = SystemTime::now();
    let one =
        |it: Registered| SavedOne { id: it.id, member: it.member, until_ms: unix_ms(now + it.remaining) };
    let all = |(upstream, all): (String, Vec<Registered>)| (upstream, all.into_iter().map(one).collect());
    let saved = Saved { registrations: registered.into_iter().map(all).collect() };
    let file = KIND.file(state_file);
    tokio::task::spawn_blocking(move || KIND.write(&file, &saved))
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn unix_ms(moment: SystemTime) -> u64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
