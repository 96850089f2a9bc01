//! Certificates and keys from files, with errors that name the file and what is wrong with it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::ocsp::Staple;

/// Bytes of a certificate or key file at most; the largest bundle of roots in use is a quarter of that.
const LARGEST_FILE: u64 = 1 << 20;
/// A certificate that is over within this time is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// A certificate chain and its key, each a PEM file. They may be the same file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that lead to a root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What its authority says of it, in DER (RFC 6960), for clients that ask for that with it.
    pub ocsp: Option<PathBuf>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and how to mend it.
    pub problem: Box<FileProblem>,
}

impl FileError {
    pub(crate) fn new(file: &Path, problem: FileProblem) -> Self {
        Self { file: file.to_owned(), problem: Box::new(problem) }
    }
}

/// See [`FileError`].
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It cannot be opened or read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It has no PEM in it.
    #[error("is not PEM: it has no line `-----BEGIN …-----`{hint}")]
    NotPem {
        /// What it seems to be.
        hint: &'static str,
    },
    /// PEM of other things.
    #[error("has no certificate{hint}")]
    NoCertificate {
        /// What it has.
        hint: &'static str,
    },
    /// PEM of other things.
    #[error("has no private key{hint}")]
    NoKey {
        /// What it has.
        hint: &'static str,
    },
    /// The PEM is cut off or garbled.
    #[error("is broken PEM: {0}")]
    BrokenPem(String),
    /// What is in it is no X.509 certificate.
    #[error("certificate {position} in it is malformed: {reason}")]
    Malformed {
        /// From 1.
        position: usize,
        /// What the parser said.
        reason: String,
    },
    /// It is over.
    #[error("the certificate has expired: it was valid until {until}")]
    Expired {
        /// When it ended.
        until: String,
    },
    /// It has not begun.
    #[error("the certificate is not valid yet: it begins on {from}; is this machine's clock right?")]
    NotYet {
        /// When it begins.
        from: String,
    },
    /// A link is missing or out of order.
    #[error(
        "the chain is broken: certificate {position} was issued by `{issuer}`, but `{subject}` follows it; begin with the server's own \
         certificate and let each be followed by its issuer's"
    )]
    BrokenChain {
        /// From 1.
        position: usize,
        /// Who issued it.
        issuer: String,
        /// Who stands behind it.
        subject: String,
    },
    /// The key is of a kind that cannot be used.
    #[error(
        "the private key cannot be used: {0}; RSA of 2048 bits and more, ECDSA P-256, P-384, P-521 and Ed25519 can"
    )]
    UnusableKey(String),
    /// The two do not belong together.
    #[error("the private key does not match the certificate in {}", cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
    },
    /// A root that cannot be one.
    #[error("no certificate in it can be used as a root: {0}")]
    UnusableRoot(String),
}

/// A chain with its key, ready for handshakes.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: CertifiedKey,
    /// The names it is for, in lower case; wildcards with their `*.`.
    pub(crate) names: Vec<String>,
    /// When it ends.
    pub(crate) until: SystemTime,
    /// What an operator should know.
    pub(crate) notices: Vec<String>,
    /// What its authority says of it.
    pub(crate) staple: Option<Staple>,
}

impl CertificateFiles {
    pub(crate) fn load(&self, now: SystemTime) -> Result<Identity, FileError> {
        let chain = certificates(&self.cert)?;
        let at = |problem| FileError::new(&self.cert, problem);
        let facts = Facts::of(&chain, now).map_err(at)?;
        let key = private_key(&self.key)?;
        let at = |problem| FileError::new(&self.key, problem);
        let signing =
            any_supported_type(&key).map_err(|error| at(FileProblem::UnusableKey(error.to_string())))?;
        let key = CertifiedKey::new(chain, signing);
        if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) = key.keys_match()
        {
            return Err(at(FileProblem::Mismatch { cert: self.cert.clone() }));
        }
        let file = self.cert.display();
        let mut notices: Vec<_> = facts.notices.iter().map(|notice| format!("{file}: {notice}")).collect();
        let staple = self.ocsp.as_ref().and_then(|file| match Staple::load(file, &key.cert, now) {
            Ok(staple) => Some(staple),
            // Without it clients come in all the same.
            Err(error) => {
                notices
                    .push(format!("{}: the OCSP response {error}; clients are not shown it", file.display()));
                None
            }
        });
        Ok(Identity { key, names: facts.names, until: facts.until, notices, staple })
    }
}

/// What a chain says of itself.
struct Facts {
    names: Vec<String>,
    until: SystemTime,
    notices: Vec<String>,
}

impl Facts {
    fn of(chain: &[CertificateDer<'static>], now: SystemTime) -> Result<Self, FileProblem> {
        let parsed = chain.iter().enumerate().map(|(index, der)| match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(certificate),
            Ok(_) => Err(FileProblem::Malformed {
                position: index + 1,
                reason: "there is something behind its end".to_owned(),
            }),
            Err(error) => Err(FileProblem::Malformed { position: index + 1, reason: error.to_string() }),
        });
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        for (index, pair) in parsed.windows(2).enumerate() {
            if let [one, next] = pair
                && one.issuer().as_raw() != next.subject().as_raw()
            {
                let (issuer, subject) = (one.issuer().to_string(), next.subject().to_string());
                return Err(FileProblem::BrokenChain { position: index + 1, issuer, subject });
            }
        }
        let Some(leaf) = parsed.first() else { return Err(FileProblem::NoCertificate { hint: "" }) };
        let (from, until) = (leaf.validity().not_before, leaf.validity().not_after);
        if time(until.timestamp()) < now {
            return Err(FileProblem::Expired { until: until.to_string() });
        }
        if time(from.timestamp()) > now {
            return Err(FileProblem::NotYet { from: from.to_string() });
        }
        let mut notices = Vec::new();
        if !matches!(leaf.subject_alternative_name(), Ok(Some(_))) {
            notices.push(
                "the certificate is for no name: it has no subjectAltName, and clients look at nothing else"
                    .to_owned(),
            );
        }
        if time(until.timestamp()) < now + SOON {
            notices.push(format!("the certificate expires soon: it is valid until {until}"));
        }
        if let Some(last) = parsed.last()
            && last.issuer().as_raw() != last.subject().as_raw()
            && tells_of_its_issuer(last)
            && !crate::roots::system_knows(last.issuer().as_raw())
        {
            notices.push(format!(
                "the chain seems incomplete: it ends below `{}`, which is not in the file, and no root of this machine either; \
                 append that certificate, as most clients will not find it",
                last.issuer()
            ));
        }
        Ok(Self { names: names(leaf), until: time(until.timestamp()), notices })
    }
}

/// Public authorities say where their own certificate is to be had (RFC 5280 §4.2.2.1); those of a trial do not.
fn tells_of_its_issuer(certificate: &X509Certificate<'_>) -> bool {
    certificate
        .extensions()
        .iter()
        .any(|extension| matches!(extension.parsed_extension(), ParsedExtension::AuthorityInfoAccess(_)))
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

fn time(unix: i64) -> SystemTime {
    let seconds = Duration::from_secs(unix.unsigned_abs());
    let time = if unix < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Every certificate of a PEM file, in its order.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = contents(file)?;
    let at = |problem| FileError::new(file, problem);
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| at(FileProblem::BrokenPem(error.to_string())))?;
    if !found.is_empty() {
        return Ok(found);
    }
    let hint = if holds(&text, b"PRIVATE KEY-----") {
        ", but a private key; are the two files swapped?"
    } else if holds(&text, b"CERTIFICATE REQUEST-----") {
        ", but a request for one; the authority it is sent to makes a certificate of it"
    } else {
        "; it begins with a line `-----BEGIN CERTIFICATE-----`"
    };
    Err(at(FileProblem::NoCertificate { hint }))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = contents(file)?;
    let at = |problem| FileError::new(file, problem);
    // Ahead of the reader, which takes the older form of them for broken.
    if holds(&text, b"ENCRYPTED PRIVATE KEY-----") || holds(&text, b"Proc-Type: 4,ENCRYPTED") {
        let hint = " that can be read: it is encrypted; `openssl pkey -in FILE -out FILE.new` takes the passphrase off";
        return Err(at(FileProblem::NoKey { hint }));
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            let hint = if holds(&text, b"CERTIFICATE-----") {
                ", but a certificate; are the two files swapped?"
            } else if holds(&text, b"PUBLIC KEY-----") {
                ", but a public key, which everyone may have"
            } else {
                "; it begins with a line `-----BEGIN PRIVATE KEY-----`"
            };
            Err(at(FileProblem::NoKey { hint }))
        }
        Err(error) => Err(at(FileProblem::BrokenPem(error.to_string()))),
    }
}

/// A file's bytes, or why they cannot be had.
pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| reason(&error);
    // To open a pipe is to wait for whoever writes to it.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err("it is not a file".into());
    }
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    if !opened.metadata().map_err(unreadable)?.is_file() {
        return Err("it is not a file".into());
    }
    let mut bytes = Vec::new();
    opened.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("it is larger than {} MiB", LARGEST_FILE >> 20));
    }
    Ok(bytes)
}

/// A file's bytes, where they can be PEM.
fn contents(file: &Path) -> Result<Vec<u8>, FileError> {
    let at = |problem| FileError::new(file, problem);
    let bytes = bytes(file).map_err(|reason| at(FileProblem::Unreadable(reason)))?;
    // Some editors put a mark ahead of the text.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    if holds(&bytes, b"-----BEGIN ") {
        return Ok(bytes);
    }
    let hint = match bytes.as_slice() {
        [] => "; it is empty",
        // A DER sequence, as certificates and keys are.
        [0x30, length, ..] if matches!(length, 0x81..=0x83) || usize::from(*length) + 2 == bytes.len() => {
            "; it seems to be DER: `openssl x509 -inform der -in FILE -out FILE.pem` makes PEM of a certificate, \
             `openssl pkey -inform der` of a key"
        }
        _ => "",
    };
    Err(at(FileProblem::NotPem { hint }))
}

/// The system's words without its number.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".into(),
        std::io::ErrorKind::PermissionDenied => {
            "permission denied; it must be readable for the user that gatewayd runs as".into()
        }
        _ => error.to_string(),
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
