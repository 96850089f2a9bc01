//! TLS as QUIC has it (RFC 9001): 1.3 alone, `h3` agreed on, and nothing taken ahead of the handshake's end (0-RTT). And the keys that
//! QUIC has of its own.

use std::any::Any;
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac, rand};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey, ServerConfig as Crypto};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use rustls::{ProtocolVersion, ServerConfig};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::error::TlsError;

/// Bytes of a secret.
const SECRET: usize = 32;

/// What the endpoints of a listener sign with: tokens by which clients show their address (RFC 9000 §8.1), and resets of connections
/// that nobody knows any more (§10.3). Whoever has them can make up both. They stay the same for as long as the socket is open.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuicKeys {
    token: [u8; SECRET],
    reset: [u8; SECRET],
}

impl QuicKeys {
    /// New ones.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new() -> Result<Self, TlsError> {
        let mut keys = Self { token: [0; SECRET], reset: [0; SECRET] };
        let filled = rand::fill(&mut keys.token).and_then(|()| rand::fill(&mut keys.reset));
        filled.map_err(|_| TlsError::Setup("there are no random numbers".to_owned()))?;
        Ok(keys)
    }

    /// For tokens.
    #[must_use]
    pub fn token(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.token))
    }

    /// For resets.
    #[must_use]
    pub fn reset(&self) -> Arc<dyn HmacKey> {
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &self.reset))
    }
}

impl Drop for QuicKeys {
    fn drop(&mut self) {
        self.token.zeroize();
        self.reset.zeroize();
    }
}

impl std::fmt::Debug for QuicKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuicKeys").finish_non_exhaustive()
    }
}

/// The same certificates, clients and tickets as over TCP.
pub(crate) fn server(config: &ServerConfig) -> Result<Arc<dyn Crypto>, TlsError> {
    let suites = &config.crypto_provider().cipher_suites;
    if !suites.iter().any(|suite| suite.version().version == ProtocolVersion::TLSv1_3) {
        return Err(TlsError::NoQuicCipher);
    }
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.max_early_data_size = 0;
    // First packets are sealed by this suite, whichever the two agree on (RFC 9001 §5.2).
    let initial = TLS13_AES_128_GCM_SHA256.tls13().and_then(rustls::Tls13CipherSuite::quic_suite);
    let initial = initial.ok_or(TlsError::NoQuicCipher)?;
    let quic = QuicServerConfig::with_initial(Arc::new(config), initial);
    Ok(Arc::new(quic.map_err(|error| TlsError::Setup(error.to_string()))?))
}

/// A client's own certificate, in DER, of what QUIC knows of it.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "as QUIC hands it out")]
pub fn quic_certificate(identity: Box<dyn Any>) -> Option<Vec<u8>> {
    let chain = identity.downcast_ref::<Vec<CertificateDer<'static>>>()?;
    chain.first().map(|certificate| certificate.to_vec())
}
