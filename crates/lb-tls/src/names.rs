//! Which certificate a client is shown: by the name it asks for (RFC 6066 §3), the exact one before a wildcard, and the first
//! of the list where none fits.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Identity;

/// Certificates by name. Several may be for one name, as of ECDSA and RSA: the first that the client can verify is shown.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    all: Vec<Arc<CertifiedKey>>,
}

impl Names {
    pub(crate) fn of(identities: Vec<Identity>) -> Self {
        let mut table = Self::default();
        for Identity { key, names, .. } in identities {
            let key = Arc::new(key);
            for name in names {
                let keys = match name.strip_prefix("*.") {
                    Some(parent) => table.wildcard.entry(parent.to_owned()).or_default(),
                    None => table.exact.entry(name).or_default(),
                };
                keys.push(Arc::clone(&key));
            }
            table.all.push(key);
        }
        table
    }

    fn of_name(&self, name: &str) -> Option<&[Arc<CertifiedKey>]> {
        let name = name.trim_end_matches('.');
        let exact = self.exact.get(name);
        // A wildcard stands for one label (RFC 6125 §6.4.3).
        let keys = exact.or_else(|| self.wildcard.get(name.split_once('.')?.1));
        keys.map(Vec::as_slice)
    }

    fn pick(&self, name: Option<&str>, can: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| self.of_name(name)).unwrap_or_default();
        let fitting = || named.iter().chain(&self.all).find(|key| can(key));
        fitting().or_else(|| self.all.first()).cloned()
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.pick(hello.server_name(), |key| key.key.choose_scheme(schemes).is_some())
    }
}
