//! Passwords that have been found to be right, so that what takes long is not done for each request. Neither they nor anything that could be
//! tried out elsewhere is kept: each stands for itself by a MAC under a key that this process alone has.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};

use super::Password;

/// So many are remembered at least, and twice as many at most: those that have been seen last.
const REMEMBERED: usize = 1024;

/// See the module. Whoever waits for it waits for a look into a table.
pub struct Verified {
    /// `None` where there were no random numbers, and nothing is remembered then.
    key: Option<Key>,
    known: Mutex<Generations>,
}

/// A password that was shown together with the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark([u8; 32]);

#[derive(Default)]
struct Generations {
    young: HashSet<Mark>,
    old: HashSet<Mark>,
}

impl Default for Verified {
    fn default() -> Self {
        let mut secret = [0; 32];
        let key = aws_lc_rs::rand::fill(&mut secret).ok().map(|()| Key::new(HMAC_SHA256, &secret));
        Self { key, known: Mutex::default() }
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

impl Verified {
    /// What stands for this password, shown as the one that is kept.
    #[must_use]
    pub fn mark(&self, kept: &Password, shown: &[u8]) -> Option<Mark> {
        let mut mac = Context::with_key(self.key.as_ref()?);
        mac.update(&kept.identity().len().to_le_bytes());
        mac.update(kept.identity());
        mac.update(shown);
        mac.sign().as_ref().try_into().ok().map(Mark)
    }

    /// Whether it was found to be right.
    #[must_use]
    pub fn knows(&self, mark: Mark) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.young.contains(&mark) {
            return true;
        }
        let is_known = known.old.remove(&mark);
        if is_known {
            known.insert(mark);
        }
        is_known
    }

    /// It was found to be right.
    pub fn remember(&self, mark: Mark) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(mark);
    }
}

impl Generations {
    fn insert(&mut self, mark: Mark) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_known_as_the_same_password_alone() {
        let verified = Verified::default();
        let (one, other) = (Password::of(b"one"), Password::of(b"other"));
        let mark = verified.mark(&one, b"one").unwrap();
        assert!(!verified.knows(mark));
        verified.remember(mark);
        assert!(verified.knows(verified.mark(&one, b"one").unwrap()));
        for (kept, shown) in [(&one, &b"on"[..]), (&one, b"onee"), (&one, b""), (&other, b"one")] {
            assert!(!verified.knows(verified.mark(kept, shown).unwrap()));
        }
        assert_ne!(Verified::default().mark(&one, b"one"), Some(mark), "another process has another key");
    }

    #[test]
    fn the_least_used_are_forgotten() {
        let verified = Verified::default();
        let kept = Password::of(b"");
        let mark = |number: usize| verified.mark(&kept, &number.to_le_bytes()).unwrap();
        for number in 0..10 * REMEMBERED {
            verified.remember(mark(number));
            assert!(verified.knows(mark(0)), "in use at {number}");
        }
        assert!(!verified.knows(mark(1)));
        assert!(verified.knows(mark(10 * REMEMBERED - 1)));
        let known = verified.known.lock().unwrap();
        assert!(known.young.len() + known.old.len() <= 2 * REMEMBERED);
    }
}
