//! Passwords as far as they are kept: by their SHA-256, which is compared in a time that tells nothing.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// The SHA-256 of a password.
///
/// ```
/// use lb_tls::PasswordDigest;
///
/// let digest: PasswordDigest =
///     "sha256:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8".parse()?;
/// assert!(digest.is_of(b"password"));
/// assert!(!digest.is_of(b"Password"));
/// # Ok::<(), lb_tls::PasswordError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordDigest([u8; 32]);

/// What was written is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no SHA-256: write `sha256:` and 64 hexadecimal digits or 44 characters of base64")]
pub struct PasswordError;

impl std::fmt::Debug for PasswordDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordDigest(…)")
    }
}

impl PasswordDigest {
    /// Of a password; `None` where there is no SHA-256, which there is.
    #[must_use]
    pub fn of(password: &[u8]) -> Option<Self> {
        let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
        suite.common.hash_provider.hash(password).as_ref().try_into().ok().map(Self)
    }

    /// Whether it is this password's. The time that takes depends on the length of what is shown alone.
    #[must_use]
    pub fn is_of(&self, password: &[u8]) -> bool {
        let Some(shown) = Self::of(password) else { return false };
        // Whoever measured how far two digests agree would learn of the digest, not of the password; and this is not to be measured.
        let difference = self.0.iter().zip(shown.0).fold(0, |all, (one, other)| all | (one ^ other));
        std::hint::black_box(difference) == 0
    }
}

impl FromStr for PasswordDigest {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        let digest = text.trim().strip_prefix("sha256:").ok_or(PasswordError)?;
        let bytes = match digest.len() {
            64 => (0..32)
                .map(|at| u8::from_str_radix(digest.get(2 * at..2 * at + 2).unwrap_or("?"), 16))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| PasswordError)?,
            _ => STANDARD.decode(digest).map_err(|_| PasswordError)?,
        };
        bytes.try_into().map(Self).map_err(|_| PasswordError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_in_two_ways_and_shown_in_none() {
        let digest = PasswordDigest::of(b"password").unwrap();
        let base64 = "sha256:XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=";
        assert_eq!(base64.parse(), Ok(digest.clone()));
        assert_eq!(format!("{digest:?}"), "PasswordDigest(…)");
        for text in [
            "password",
            "sha256:",
            "sha256:zz",
            "sha1:5e884898",
            "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        ] {
            assert_eq!(text.parse::<PasswordDigest>(), Err(PasswordError), "{text}");
        }
    }

    #[test]
    fn no_other_password_will_do() {
        let digest = PasswordDigest::of(b"secret").unwrap();
        assert!(digest.is_of(b"secret"));
        for other in [&b""[..], b"secre", b"secret ", b"Secret", &[b's'; 1000]] {
            assert!(!digest.is_of(other));
        }
    }
}
