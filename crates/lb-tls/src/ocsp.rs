//! What an authority has said of a certificate (RFC 6960), shown to clients that ask for it together with the certificate (RFC 6066 §8).
//!
//! Clients turn away from a response that is old, revokes, or is for another certificate, where without one they would have come in.
//! So such a response is not shown. Its signature is the clients' to check, who know the authority.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use der::Decode;
use x509_ocsp::{BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, SingleResponse};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::bytes;

/// SHA-1 and SHA-256, as certificates are named by them.
const SHA1_NAME: &str = "1.3.14.3.2.26";
const SHA256_NAME: &str = "2.16.840.1.101.3.4.2.1";
/// What a response in PEM begins with, which it is not to be.
const PEM: &[u8] = b"-----BEGIN";

/// A response that clients can believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Staple {
    pub(crate) file: PathBuf,
    /// As it is sent.
    pub(crate) response: Vec<u8>,
    /// When it is over, where it says so.
    pub(crate) until: Option<SystemTime>,
}

/// Why a response is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StapleError {
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("is no OCSP response in DER{0}")]
    Malformed(&'static str),
    #[error("says nothing of any certificate: the responder answered `{0}`")]
    Refused(String),
    #[error("says nothing of this certificate; it is of another one, or of another authority")]
    Other,
    #[error("says that the certificate is revoked")]
    Revoked,
    #[error("says that the authority does not know the certificate")]
    Unknown,
    #[error("has expired: it was valid until {0}")]
    Expired(String),
    #[error("is not valid yet: it begins on {0}; is this machine's clock right?")]
    NotYet(String),
}

impl Staple {
    /// Reads one for the first certificate of a chain.
    pub(crate) fn load(
        file: &Path,
        chain: &[impl AsRef<[u8]>],
        now: SystemTime,
    ) -> Result<Self, StapleError> {
        let response = bytes(file).map_err(StapleError::Unreadable)?;
        let until = check(&response, chain, now)?;
        Ok(Self { file: file.to_owned(), response, until })
    }
}

/// When the response is over, where it is a good one.
fn check(
    response: &[u8],
    chain: &[impl AsRef<[u8]>],
    now: SystemTime,
) -> Result<Option<SystemTime>, StapleError> {
    let malformed = |_| {
        StapleError::Malformed(match response {
            [] => ": it is empty",
            _ if response.starts_with(PEM) => ", but PEM; `openssl ocsp … -respout FILE` writes DER",
            _ => "",
        })
    };
    let outer = OcspResponse::from_der(response).map_err(malformed)?;
    let Some(inner) = &outer.response_bytes else {
        return Err(StapleError::Refused(format!("{:?}", outer.response_status)));
    };
    let inner = BasicOcspResponse::from_der(inner.response.as_bytes()).map_err(malformed)?;
    let certificates: Vec<_> = chain
        .iter()
        .take(2)
        .filter_map(|der| X509Certificate::from_der(der.as_ref()).ok().map(|(_, certificate)| certificate))
        .collect();
    let [leaf, issuer @ ..] = &certificates[..] else { return Err(StapleError::Other) };
    let said =
        inner.tbs_response_data.responses.iter().find(|said| is_of(&said.cert_id, leaf, issuer.first()));
    let SingleResponse { cert_status, this_update, next_update, .. } = said.ok_or(StapleError::Other)?;
    match cert_status {
        CertStatus::Good(_) => {}
        CertStatus::Revoked(_) => return Err(StapleError::Revoked),
        CertStatus::Unknown(_) => return Err(StapleError::Unknown),
    }
    let until = next_update.as_ref().map(time);
    if until.is_some_and(|until| until <= now) {
        return Err(StapleError::Expired(next_update.as_ref().map_or_else(String::new, shown)));
    }
    if time(this_update) > now {
        return Err(StapleError::NotYet(shown(this_update)));
    }
    Ok(until)
}

/// Whether this names the certificate: by its number, its issuer's name, and the issuer's key where that is at hand.
fn is_of(id: &CertId, leaf: &X509Certificate<'_>, issuer: Option<&X509Certificate<'_>>) -> bool {
    let algorithm: &Algorithm = match id.hash_algorithm.oid.to_string().as_str() {
        SHA1_NAME => &SHA1_FOR_LEGACY_USE_ONLY,
        SHA256_NAME => &SHA256,
        _ => return false,
    };
    let hash = |bytes: &[u8]| digest(algorithm, bytes);
    let number = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    number(id.serial_number.as_bytes()) == number(leaf.raw_serial())
        && id.issuer_name_hash.as_bytes() == hash(leaf.issuer().as_raw()).as_ref()
        && issuer.is_none_or(|issuer| {
            id.issuer_key_hash.as_bytes() == hash(&issuer.public_key().subject_public_key.data).as_ref()
        })
}

fn time(time: &OcspGeneralizedTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + time.0.to_unix_duration()
}

fn shown(time: &OcspGeneralizedTime) -> String {
    time.0.to_date_time().to_string()
}
