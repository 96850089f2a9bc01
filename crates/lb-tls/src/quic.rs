//! TLS as QUIC has it (RFC 9001): 1.3 alone, `h3` agreed on, and nothing taken ahead of the handshake's end (0-RTT).

use std::any::Any;
use std::sync::Arc;

use quinn_proto::crypto::ServerConfig as Crypto;
use quinn_proto::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use rustls::{ProtocolVersion, ServerConfig};

use crate::error::TlsError;

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
