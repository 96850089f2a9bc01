//! Versions and cipher suites. There is one provider of cryptography, aws-lc-rs, and only suites with forward secrecy and
//! authenticated encryption.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::error::TlsError;

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246) and 1.3 (RFC 8446). Older ones are not spoken at all (RFC 8996).
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

impl MinVersion {
    pub(crate) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        static ONE: [&SupportedProtocolVersion; 1] = [&TLS13];
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &ONE,
        }
    }
}

/// The names of all cipher suites, the best first, as IANA has them.
#[must_use]
pub fn cipher_suites() -> Vec<String> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().map(name).collect()
}

/// The provider with these suites alone, in this order; with all of them where nothing is said.
pub(crate) fn provider(
    ciphers: Option<&[String]>,
    least: MinVersion,
) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    let Some(ciphers) = ciphers else { return Ok(Arc::new(provider)) };
    let find = |wanted: &String| {
        let mut all = aws_lc_rs::ALL_CIPHER_SUITES.iter();
        let found = all.find(|suite| name(suite).eq_ignore_ascii_case(wanted)).copied();
        found.ok_or_else(|| TlsError::UnknownCipher { name: wanted.clone() })
    };
    provider.cipher_suites = ciphers.iter().map(find).collect::<Result<_, _>>()?;
    let fits =
        |suite: &SupportedCipherSuite| least.versions().iter().any(|version| suite.version() == *version);
    if !provider.cipher_suites.iter().any(fits) {
        return Err(TlsError::NoCipher);
    }
    Ok(Arc::new(provider))
}

/// rustls calls those of TLS 1.3 `TLS13_…`, IANA `TLS_…`.
fn name(suite: &SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or_default();
    name.replace("TLS13_", "TLS_")
}
