//! Files beside `server.state_file` that outlive the process, each a JSON document that says its version.
//!
//! One is written whole beside the one there is and put in its place (`lb_health::whole`, as the state file itself). What is broken, too large, or of another version is said and not
//! taken up; the gateway starts without, and sets it aside, so that nothing of it is lost by what is written next.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lb_health::whole;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{edits, registered, rolled_back};

/// One kind of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What its name ends with, behind the state file's.
    pub(crate) ending: &'static str,
    /// The form of its content.
    pub(crate) version: u32,
    /// A file that is larger was not written here.
    pub(crate) max_size: u64,
}

/// All of them.
const KINDS: [Kind; 3] = [edits::KIND, registered::KIND, rolled_back::KIND];

#[derive(Serialize)]
struct Document<'a, T> {
    version: u32,
    #[serde(flatten)]
    content: &'a T,
}

impl Kind {
    /// Where it is, by the state file's path.
    pub(crate) fn file(self, state_file: &Path) -> PathBuf {
        let mut name = state_file.as_os_str().to_owned();
        name.push(self.ending);
        name.into()
    }

    /// What was kept; nothing where there is no file.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(crate) fn read<T: DeserializeOwned>(self, file: &Path) -> Result<Option<T>, String> {
        /// What every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let size = match std::fs::metadata(file) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if size > self.max_size {
            return Err("it is too large to be written by this program".to_owned());
        }
        let text = std::fs::read(file).map_err(|error| error.to_string())?;
        let broken = |error: serde_json::Error| format!("it is broken: {error}");
        let Versioned { version } = serde_json::from_slice(&text).map_err(broken)?;
        if version != self.version {
            return Err(format!("its form is version {version}, not {}", self.version));
        }
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    /// Keeps this.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn write<T: Serialize>(self, file: &Path, content: &T) -> io::Result<()> {
        whole::replace(file, &serde_json::to_vec_pretty(&Document { version: self.version, content })?)
    }
}

/// Removes what writers of the state file, and of all beside it, have left that were killed at it. Only while nobody writes.
pub(crate) fn clear_leftovers(state_file: &Path) {
    let beside = KINDS.iter().map(|kind| kind.file(state_file));
    let files: usize = beside.chain([state_file.to_owned()]).map(|file| whole::clear_leftovers(&file)).sum();
    if files > 0 {
        tracing::info!(
            component = "admin",
            files,
            "unfinished files of an earlier run beside the state file are removed"
        );
    }
}

/// Puts a file that is of no use where nothing is written over it, and says so. `what` is in it.
pub(crate) fn set_aside(file: &Path, what: &str, reason: &str) {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut aside = file.as_os_str().to_owned();
    aside.push(format!(".unread-{seconds}"));
    let aside = PathBuf::from(aside);
    match std::fs::rename(file, &aside) {
        Ok(()) => tracing::warn!(
            component = "admin", file = %file.display(), reason, set_aside = %aside.display(),
            "{what} of an earlier run are not taken up"
        ),
        Err(error) => tracing::error!(
            component = "admin", file = %file.display(), reason, %error,
            "{what} of an earlier run are not taken up, and cannot be set aside: the next ones are written over them"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Content {
        numbers: Vec<u32>,
    }

    const KIND: Kind = Kind { ending: ".numbers", version: 2, max_size: 200 };

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = KIND.file(&folder.path().join("x.state"));
        assert_eq!(KIND.read::<Content>(&file), Ok(None));
        let content = Content { numbers: vec![1, 2] };
        KIND.write(&file, &content).unwrap();
        assert_eq!(KIND.read(&file), Ok(Some(content)));
        let long = format!("{{\"version\": 2, \"numbers\": [{}1]}}", "1, ".repeat(100));
        for (text, reason) in [
            ("", "it is broken"),
            ("{\"version\": 2, \"numbers\": [1", "it is broken"),
            ("{\"version\": 2, \"numbers\": 1}", "it is broken"),
            ("{\"numbers\": []}", "it is broken"),
            ("{\"version\": 3, \"numbers\": \"of another form\"}", "its form is version 3, not 2"),
            (&long, "too large"),
        ] {
            std::fs::write(&file, text).unwrap();
            let refused = KIND.read::<Content>(&file).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_of_no_use_is_set_aside_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.state.numbers");
        std::fs::write(&file, "of another version").unwrap();
        set_aside(&file, "numbers", "its form is version 3, not 2");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
        assert!(left.len() == 1 && left[0].display().to_string().contains("x.state.numbers.unread-"));
        assert_eq!(std::fs::read_to_string(&left[0]).unwrap(), "of another version");
    }
}
