//! Who is believed: the roots of this machine, or those of a file.
//!
//! The machine's own store is asked and no list is compiled in: its owner keeps it up to date and may have taken roots out,
//! which a copy of ours would put back.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::certificate::{FileError, FileProblem, certificates};

/// What this machine believes, read once in the life of the process.
pub(crate) fn system() -> &'static Result<Arc<RootCertStore>, String> {
    static SYSTEM: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        match (usable, found.errors.first()) {
            (0, Some(error)) => Err(error.to_string()),
            (0, None) => Err("there are none".to_owned()),
            _ => Ok(Arc::new(roots)),
        }
    })
}

/// Whether a root of this machine has this name, in DER with its outer tag.
pub(crate) fn system_knows(name: &[u8]) -> bool {
    // Trust anchors keep the inside of the sequence alone.
    let Ok(roots) = system() else { return false };
    roots.roots.iter().any(|root| name.ends_with(root.subject.as_ref()) && !root.subject.as_ref().is_empty())
}

/// The roots of a PEM file.
pub(crate) fn of_file(file: &Path) -> Result<Arc<RootCertStore>, FileError> {
    of(file, certificates(file)?)
}

/// The same from what was in the file.
pub(crate) fn of(
    file: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Arc<RootCertStore>, FileError> {
    let mut roots = RootCertStore::empty();
    let mut refused = None;
    for certificate in certificates {
        if let Err(error) = roots.add(certificate) {
            refused = Some(error.to_string());
        }
    }
    match refused {
        Some(reason) if roots.is_empty() => Err(FileError::new(file, FileProblem::UnusableRoot(reason))),
        _ => Ok(Arc::new(roots)),
    }
}
