//! Which backend is believed, where it is not the usual way: by its key alone, by its key too, or whoever it is.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

/// A key that is believed: the SHA-256 of its `SubjectPublicKeyInfo` (RFC 7469 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// What was written is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no SHA-256: write `sha256/` and 44 characters of base64, or 64 hexadecimal digits")]
pub struct PinError;

impl std::str::FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let text = text.trim();
        let digest = text.strip_prefix("sha256/").or_else(|| text.strip_prefix("sha256//")).unwrap_or(text);
        let bytes = match digest.len() {
            64 => (0..32)
                .map(|at| u8::from_str_radix(digest.get(2 * at..2 * at + 2).unwrap_or("?"), 16))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| PinError)?,
            _ => STANDARD.decode(digest.trim_start_matches('/')).map_err(|_| PinError)?,
        };
        bytes.try_into().map(Self).map_err(|_| PinError)
    }
}

/// Believes by chain, by pin, or by both.
#[derive(Debug)]
pub(crate) struct Verifier {
    /// Chain and name; `None` where these do not matter.
    pub(crate) chain: Option<Arc<WebPkiServerVerifier>>,
    /// One of these keys; any where there are none.
    pub(crate) pins: Vec<Pin>,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// The key is another one.
#[derive(Debug, thiserror::Error)]
#[error("the certificate's key is not the pinned one: it is sha256/{0}")]
struct NotPinned(String);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.pins.is_empty() {
            let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
            let digest = aws_digest(key.as_ref(), &self.provider)?;
            if !self.pins.iter().any(|pin| pin.0 == digest) {
                let other = OtherError(Arc::new(NotPinned(STANDARD.encode(digest))));
                return Err(Error::InvalidCertificate(CertificateError::Other(other)));
            }
        }
        match &self.chain {
            Some(chain) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// SHA-256, by the provider's own hash.
fn aws_digest(bytes: &[u8], provider: &CryptoProvider) -> Result<[u8; 32], Error> {
    let sha256 = provider.cipher_suites.iter().find_map(|suite| {
        let hash = suite.tls13()?.common.hash_provider;
        (hash.output_len() == 32).then_some(hash)
    });
    let hash = sha256.ok_or_else(|| Error::General("no SHA-256".into()))?.hash(bytes);
    hash.as_ref().try_into().map_err(|_| Error::General("no SHA-256".into()))
}
