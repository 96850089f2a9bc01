//! A certificate of our own making, for trials. Whoever has trusted it once need not do so again while the listener goes on: it is kept
//! over reloads, and goes over to the process that takes this one's place.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::time::ASN1Time;
use zeroize::Zeroize;

use crate::certificate::Identity;

/// How long it lasts.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// One that ends sooner is not taken over.
const LEAST: Duration = Duration::from_secs(30 * 24 * 3600);
/// The names it is for, beside the listener's address.
const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

/// A certificate and its key, in DER. Whoever has it can pass for the listener.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SelfSigned {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// The address that it is for beside this machine's own names.
    address: Option<IpAddr>,
    /// When it ends, in seconds since 1970.
    until: u64,
}

impl Drop for SelfSigned {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl SelfSigned {
    /// Makes one, for this machine and `address`; or goes on with the one before, where that does as well.
    pub(crate) fn new(
        address: Option<IpAddr>,
        earlier: Option<&Self>,
        now: SystemTime,
    ) -> Result<Self, String> {
        let address = address.filter(|address| !address.is_unspecified() && !address.is_loopback());
        let least = seconds(now + LEAST);
        match earlier.filter(|it| it.address == address && it.until >= least && it.identity().is_ok()) {
            Some(earlier) => Ok(earlier.clone()),
            None => Self::make(address, now),
        }
    }

    fn make(address: Option<IpAddr>, now: SystemTime) -> Result<Self, String> {
        let mut names: Vec<String> = NAMES.map(str::to_owned).into();
        names.extend(address.map(|address| address.to_string()));
        let until = now + LIFETIME;
        let failed = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "gatewayd, self-signed for trials");
        params.not_before = date(now)?.to_datetime();
        params.not_after = date(until)?.to_datetime();
        let pair = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&pair).map_err(failed)?.der().to_vec();
        Ok(Self { certificate, key: pair.serialize_der(), address, until: seconds(until) })
    }

    /// What clients are shown.
    pub(crate) fn identity(&self) -> Result<Identity, String> {
        let key = PrivateKeyDer::try_from(&self.key[..]).map_err(str::to_owned)?;
        let signing = any_supported_type(&key).map_err(|error| error.to_string())?;
        let key = CertifiedKey::new(vec![CertificateDer::from(self.certificate.clone())], signing);
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(self.until);
        Ok(Identity { key, names: Vec::new(), until, notices: Vec::new(), staple: None })
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn date(time: SystemTime) -> Result<ASN1Time, String> {
    ASN1Time::from_timestamp(i64::try_from(seconds(time)).unwrap_or(i64::MAX))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_kept_for_the_same_address_until_it_is_about_to_end() {
        let (now, here) = (SystemTime::now(), Some("192.0.2.1".parse().unwrap()));
        let first = SelfSigned::new(here, None, now).unwrap();
        let after = |days: u64| now + Duration::from_secs(days * 24 * 3600);
        assert!(SelfSigned::new(here, Some(&first), after(300)).unwrap() == first);
        assert!(SelfSigned::new(here, Some(&first), after(350)).unwrap() != first);
        assert!(SelfSigned::new(None, Some(&first), now).unwrap() != first, "it is for other names");
        let mut broken = first.clone();
        broken.key.truncate(3);
        assert!(SelfSigned::new(here, Some(&broken), now).unwrap() != broken);
    }
}
