//! A certificate of our own making, for trials.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use x509_parser::time::ASN1Time;

use crate::certificate::Identity;

/// How long it lasts; it is made anew at each start.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// The names it is for, beside the listener's address.
const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

/// Makes one, for this machine and `address`.
pub(crate) fn make(address: Option<std::net::IpAddr>, now: SystemTime) -> Result<Identity, String> {
    let mut names: Vec<String> = NAMES.map(str::to_owned).into();
    let address = address.filter(|address| !address.is_unspecified() && !address.is_loopback());
    names.extend(address.map(|address| address.to_string()));
    let until = now + LIFETIME;
    let failed = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "gatewayd, self-signed for trials");
    params.not_before = date(now)?.to_datetime();
    params.not_after = date(until)?.to_datetime();
    let pair = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&pair).map_err(failed)?;
    let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(str::to_owned)?;
    let signing = any_supported_type(&key).map_err(|error| error.to_string())?;
    let key = CertifiedKey::new(vec![certificate.der().clone()], signing);
    Ok(Identity { key, names: Vec::new(), until, notices: Vec::new(), staple: None })
}

fn date(time: SystemTime) -> Result<ASN1Time, String> {
    let unix = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    ASN1Time::from_timestamp(i64::try_from(unix).unwrap_or(i64::MAX)).map_err(|error| error.to_string())
}
