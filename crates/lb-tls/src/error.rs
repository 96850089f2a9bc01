//! Why TLS cannot be set up.

use crate::certificate::FileError;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// No such cipher suite.
    #[error("there is no cipher suite `{name}`; there are {}", crate::suites::cipher_suites().join(", "))]
    UnknownCipher {
        /// As it was written.
        name: String,
    },
    /// Not one for the versions that are allowed.
    #[error("none of the cipher suites is for a version of TLS that is allowed")]
    NoCipher,
    /// QUIC speaks TLS 1.3 alone.
    #[error("HTTP/3 needs a cipher suite of TLS 1.3, and `ciphers` has none")]
    NoQuicCipher,
    /// There is nothing to show to clients.
    #[error("there is no certificate")]
    NoCertificate,
    /// There is nothing to believe backends by.
    #[error(
        "this machine has no roots to believe backends by ({0}): install ca-certificates, or name a file as `ca`"
    )]
    NoRoots(String),
    /// Not a name that a certificate can be for.
    #[error("`{0}` is neither a host name nor an address")]
    ServerName(String),
    /// The random number generator, or the self-signed certificate.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Setup(error.to_string())
    }
}
