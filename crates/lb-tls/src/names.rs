//! Which certificate a client is shown: by the name it asks for (RFC 6066 §3), the exact one before a wildcard, and the first
//! of the list where none fits. What an authority says of it is shown with it for as long as it holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Identity;
use crate::ocsp::Staple;

/// Certificates by name. Several may be for one name, as of ECDSA and RSA: the first that the client can verify is shown.
#[derive(Debug, Default)]
pub(crate) struct Names {
    exact: HashMap<String, Vec<Arc<Shown>>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Vec<Arc<Shown>>>,
    all: Vec<Arc<Shown>>,
}

/// A certificate as clients are shown it.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// The same with what its authority says of it, and until when that holds.
    stapled: Option<(Arc<CertifiedKey>, Option<SystemTime>)>,
}

impl Shown {
    fn new(key: CertifiedKey, staple: Option<Staple>) -> Self {
        let stapled = staple.map(|staple| {
            let key = CertifiedKey { ocsp: Some(staple.response), ..key.clone() };
            (Arc::new(key), staple.until)
        });
        Self { key: Arc::new(key), stapled }
    }

    fn now(&self) -> Arc<CertifiedKey> {
        let holds = |until: &Option<SystemTime>| until.is_none_or(|until| SystemTime::now() < until);
        let stapled = self.stapled.as_ref().filter(|(_, until)| holds(until));
        Arc::clone(stapled.map_or(&self.key, |(stapled, _)| stapled))
    }
}

impl Names {
    pub(crate) fn of(identities: Vec<Identity>) -> Self {
        let mut table = Self::default();
        for Identity { key, names, staple, .. } in identities {
            let key = Arc::new(Shown::new(key, staple));
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

    fn of_name(&self, name: &str) -> Option<&[Arc<Shown>]> {
        let name = name.trim_end_matches('.');
        let exact = self.exact.get(name);
        // A wildcard stands for one label (RFC 6125 §6.4.3).
        let keys = exact.or_else(|| self.wildcard.get(name.split_once('.')?.1));
        keys.map(Vec::as_slice)
    }

    fn pick(&self, name: Option<&str>, can: impl Fn(&CertifiedKey) -> bool) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| self.of_name(name)).unwrap_or_default();
        let fitting = || named.iter().chain(&self.all).find(|shown| can(&shown.key));
        fitting().or_else(|| self.all.first()).map(|shown| shown.now())
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.pick(hello.server_name(), |key| key.key.choose_scheme(schemes).is_some())
    }
}
