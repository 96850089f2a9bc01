//! What was taken back of splits by itself, across a restart: a file beside `server.state_file`.
//!
//! It follows within a second, and is written once more at the end. Each is kept with the split that it is of, and holds only where that
//! is as it was: where the file shares out otherwise, or a split was set anew, the part is tried again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_http::{InheritedRollback, Reloader};
use serde::{Deserialize, Serialize};

use crate::kept::{self, Kind};
use crate::reload::Reloading;

pub(crate) const KIND: Kind = Kind { ending: ".rollbacks", version: 1, max_size: 4 << 20 };
/// How often it is looked whether something has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a file that could not be written the next try is.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    rollbacks: Vec<InheritedRollback>,
}

/// What an earlier process had taken back. What is of no use is said and set aside.
pub(crate) fn read(state_file: &Path) -> Vec<InheritedRollback> {
    let file = KIND.file(state_file);
    match KIND.read::<Saved>(&file) {
        Ok(saved) => saved.unwrap_or_default().rollbacks,
        Err(reason) => {
            kept::set_aside(&file, "splits that were taken back", &reason);
            Vec::new()
        }
    }
}

/// Keeps what is taken back for the next start.
pub(crate) struct RolledBack {
    reloader: Reloader,
    file: PathBuf,
    /// What the file has; not known where the process before wrote it.
    kept: Mutex<Option<Vec<InheritedRollback>>>,
}

impl RolledBack {
    pub(crate) fn new(
        reloader: Reloader,
        state_file: &Path,
        kept: Option<Vec<InheritedRollback>>,
    ) -> Arc<Self> {
        let file = KIND.file(state_file);
        Arc::new(Self { reloader, file, kept: Mutex::new(kept) })
    }

    /// Until another process does.
    pub(crate) async fn keep(self: Arc<Self>, reloading: Arc<Reloading>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if reloading.is_succeeded() {
                return;
            }
            if let Err(error) = self.save().await {
                let file = self.file.display();
                tracing::error!(component = "split", %file, %error, "what was taken back of splits cannot be kept for the next start");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Keeps it now, where it is not kept already.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) async fn save(&self) -> io::Result<()> {
        let rollbacks = self.reloader.taken_back();
        if self.kept().as_ref() == Some(&rollbacks) {
            return Ok(());
        }
        let (file, saved) = (self.file.clone(), Saved { rollbacks: rollbacks.clone() });
        let written = tokio::task::spawn_blocking(move || KIND.write(&file, &saved)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        *self.kept() = Some(rollbacks);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Option<Vec<InheritedRollback>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
