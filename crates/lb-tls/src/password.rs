//! Passwords as far as they are kept: hashed, with a salt and slowly, or by a bare SHA-256. Either is compared in a time that tells
//! nothing.

mod verified;

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use self::verified::{Mark, Verified};

/// The most rounds of bcrypt, as a power of two: some seconds of a core.
const MAX_BCRYPT_COST: u32 = 15;
/// The most memory of Argon2, in KiB, and what that may be times the passes over it: about a second.
const MAX_ARGON2_MEMORY: u32 = 256 << 10;
const MAX_ARGON2_WORK: u64 = 1 << 20;

/// A password as it is kept.
///
/// ```
/// use lb_tls::Password;
///
/// let password: Password = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a".parse()?;
/// assert!(password.is_slow());
/// assert!(password.is_of(b"secret"));
/// assert!(!password.is_of(b"Secret"));
/// # Ok::<(), lb_tls::PasswordError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Kept);

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    Sha256([u8; 32]),
    Bcrypt(Box<str>),
    Argon2(Box<str>),
}

/// What was written is no hash of a password, or none that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Neither of the forms.
    #[error("this is no hash of a password: they begin with `$argon2id$`, `$2y$` or `sha256:`")]
    Unknown,
    /// `sha256:` and something else.
    #[error("this is no SHA-256: write `sha256:` and 64 hexadecimal digits or 44 characters of base64")]
    Sha256,
    /// As bcrypt, but broken.
    #[error("this is no hash by bcrypt: {0}")]
    Bcrypt(String),
    /// As Argon2, but broken.
    #[error("this is no hash by Argon2: {0}")]
    Argon2(String),
    /// To check it once would take too long.
    #[error(
        "this hash takes too long to check: bcrypt has a cost of at most {MAX_BCRYPT_COST}, Argon2 at most 256 MiB (`m=262144`), and 1 GiB times its passes"
    )]
    TooSlow,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// Of a password that is at hand: by its SHA-256.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(Kept::Sha256(sha256(password)))
    }

    /// Whether to check one takes long on purpose: it is not to be done where others wait.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        !matches!(self.0, Kept::Sha256(_))
    }

    /// Whether it is this one. The time that takes does not depend on how much of it is right.
    #[must_use]
    pub fn is_of(&self, shown: &[u8]) -> bool {
        match &self.0 {
            Kept::Sha256(digest) => verify_slices_are_equal(digest, &sha256(shown)).is_ok(),
            Kept::Bcrypt(text) => bcrypt::verify(shown, text).unwrap_or(false),
            Kept::Argon2(text) => PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(shown, &hash).is_ok()),
        }
    }

    /// What tells it from all others.
    fn identity(&self) -> &[u8] {
        match &self.0 {
            Kept::Sha256(digest) => digest,
            Kept::Bcrypt(text) | Kept::Argon2(text) => text.as_bytes(),
        }
    }
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let text = text.trim();
        if let Some(digest) = text.strip_prefix("sha256:") {
            return parse_sha256(digest)
                .map(|digest| Self(Kept::Sha256(digest)))
                .ok_or(PasswordError::Sha256);
        }
        if text.starts_with("$argon2") {
            return check_argon2(text).map(|()| Self(Kept::Argon2(text.into())));
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|start| text.starts_with(start)) {
            let parts = text.parse::<bcrypt::HashParts>();
            let parts = parts.map_err(|error| PasswordError::Bcrypt(error.to_string()))?;
            return match parts.get_cost() {
                4..=MAX_BCRYPT_COST => Ok(Self(Kept::Bcrypt(text.into()))),
                0..4 => Err(PasswordError::Bcrypt("its cost is below 4".to_owned())),
                _ => Err(PasswordError::TooSlow),
            };
        }
        Err(PasswordError::Unknown)
    }
}

fn check_argon2(text: &str) -> Result<(), PasswordError> {
    let broken = |error: &dyn fmt::Display| PasswordError::Argon2(error.to_string());
    let hash = PasswordHash::new(text).map_err(|error| broken(&error))?;
    let params = Params::try_from(&hash).map_err(|error| broken(&error))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(broken(&"it has no salt, or nothing that was made with it"));
    }
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_ARGON2_MEMORY || work > MAX_ARGON2_WORK {
        return Err(PasswordError::TooSlow);
    }
    Ok(())
}

fn sha256(password: &[u8]) -> [u8; 32] {
    digest(&SHA256, password).as_ref().try_into().unwrap_or_default()
}

fn parse_sha256(digest: &str) -> Option<[u8; 32]> {
    let bytes = match digest.len() {
        64 => (0..32)
            .map(|at| u8::from_str_radix(digest.get(2 * at..2 * at + 2)?, 16).ok())
            .collect::<Option<Vec<_>>>()?,
        _ => STANDARD.decode(digest).ok()?,
    };
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `password`, from the tests of Argon2's authors.
    const ARGON2: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    const SHA256: &str = "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";

    #[test]
    fn a_digest_is_written_in_two_ways_and_none_is_shown() {
        let digest = Password::of(b"password");
        assert_eq!("sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=".parse(), Ok(digest.clone()));
        assert_eq!(SHA256.parse(), Ok(digest.clone()));
        assert_eq!(format!("{digest:?}"), "Password(…)");
        assert_eq!(format!("{:?}", ARGON2.parse::<Password>().unwrap()), "Password(…)");
    }

    #[test]
    fn no_other_password_will_do() {
        for (kept, is_slow) in [(SHA256, false), (ARGON2, true)] {
            let kept: Password = kept.parse().unwrap();
            assert_eq!(kept.is_slow(), is_slow);
            assert!(kept.is_of(b"password"));
            for other in [&b""[..], b"passwor", b"password ", b"Password", &[b'p'; 1000]] {
                assert!(!kept.is_of(other));
            }
        }
    }

    #[test]
    fn what_is_no_hash_or_takes_for_ever_is_refused() {
        let bcrypt = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
        for (text, error) in [
            ("password", "no hash of a password"),
            ("", "no hash of a password"),
            ("$apr1$x$y", "no hash of a password"),
            ("5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "no hash of a password"),
            ("sha256:", "no SHA-256"),
            ("sha256:zz", "no SHA-256"),
            (&SHA256.replace("5e88", "5eé"), "no SHA-256"),
            (&bcrypt[..59], "no hash by bcrypt"),
            (&bcrypt.replace("$05$", "$xx$"), "no hash by bcrypt"),
            (&bcrypt.replace("$05$", "$03$"), "cost is below 4"),
            (&bcrypt.replace("$05$", "$31$"), "too long"),
            ("$argon2id$", "no hash by Argon2"),
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "no hash by Argon2"),
            (&ARGON2.replace("p=1", "p=0"), "no hash by Argon2"),
            (&ARGON2.replace("m=256", "m=4000000000"), "too long"),
            (&ARGON2.replace("m=256,t=2", "m=262144,t=5"), "too long"),
        ] {
            let said = text.parse::<Password>().unwrap_err().to_string();
            assert!(said.contains(error), "{text}: {said}");
        }
    }
}
