//! Why a handshake failed or a session broke, in words for an operator and in kinds for figures.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer speaks HTTP without TLS.
    #[error("the other side speaks plain HTTP, not TLS")]
    PlainHttp,
    /// The peer closed before the handshake was over.
    #[error("the connection was closed during the TLS handshake")]
    Closed,
    /// A message without end.
    #[error("a TLS message is too long")]
    TooLong,
    /// The socket's error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The protocol's, or the certificate is not believed.
    #[error("{}", explain(.0))]
    Tls(Error),
}

/// Kinds of failures, for figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Plain HTTP on a port that speaks TLS.
    PlainHttp,
    /// Closed or broken off.
    Closed,
    /// No TLS, or broken TLS.
    Malformed,
    /// No version, cipher suite, group or protocol in common.
    Incompatible,
    /// The peer's certificate is missing or not believed.
    Certificate,
    /// The peer refused us, which is mostly our certificate.
    Refused,
}

impl HandshakeError {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::PlainHttp => FailureKind::PlainHttp,
            Self::Closed | Self::Io(_) => FailureKind::Closed,
            Self::TooLong => FailureKind::Malformed,
            Self::Tls(error) => match error {
                Error::PeerIncompatible(_) | Error::NoApplicationProtocol => FailureKind::Incompatible,
                Error::InvalidCertificate(_) | Error::NoCertificatesPresented => FailureKind::Certificate,
                Error::AlertReceived(_) => FailureKind::Refused,
                _ => FailureKind::Malformed,
            },
        }
    }
}

/// A sentence that says what to look at.
fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::NoCertificatesPresented => "the other side showed no certificate".into(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what the other side sent is not TLS".into()
        }
        Error::AlertReceived(alert) => alerted(*alert),
        Error::PeerIncompatible(why) => incompatible(why),
        Error::NoApplicationProtocol => "no application protocol (ALPN) in common".into(),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet".into()
        }
        CertificateError::UnknownIssuer => {
            "the certificate has an unknown issuer: it was signed by nobody that is believed here".into()
        }
        CertificateError::NotValidForName => "the certificate is not valid for the name asked for".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = match presented.is_empty() {
                true => "no name".to_owned(),
                // They come as `DnsName("a.example")`.
                false => {
                    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
                    presented.iter().take(5).map(bare).collect::<Vec<_>>().join(", ")
                }
            };
            let expected = expected.to_str();
            format!("the certificate is not valid for name {expected}: it is for {names}")
        }
        CertificateError::Revoked => "the certificate has been revoked".into(),
        CertificateError::BadSignature => "the certificate's signature is wrong".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate is not for this purpose".into()
        }
        CertificateError::Other(other) => other.0.to_string(),
        other => format!("the certificate is not acceptable: {other}"),
    }
}

fn alerted(alert: AlertDescription) -> String {
    let why = match alert {
        AlertDescription::UnknownCA => "it does not know who signed our certificate",
        AlertDescription::CertificateExpired => "it holds our certificate for expired",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept our certificate"
        }
        AlertDescription::CertificateRequired => "it wants a client certificate",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that is allowed here",
        AlertDescription::HandshakeFailure => "no cipher suite in common, or it wants a client certificate",
        AlertDescription::UnrecognisedName => "it does not know the name asked for",
        AlertDescription::NoApplicationProtocol => "no application protocol (ALPN) in common",
        other => return format!("the other side ended the handshake: {other:?}"),
    };
    format!("the other side ended the handshake: {why}")
}

fn incompatible(why: &PeerIncompatible) -> String {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => "no cipher suite in common".into(),
        PeerIncompatible::NoKxGroupsInCommon => "no key exchange group in common".into(),
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13 => {
            "no version of TLS in common: only 1.2 and 1.3 are spoken".into()
        }
        other => format!("the other side cannot do what is needed: {other:?}"),
    }
}

/// An error of a handshake that tokio's TLS made, said as those of [`HandshakeError`] are.
pub(crate) fn in_words(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner.cloned() {
        Some(inner) => io::Error::other(HandshakeError::Tls(inner)),
        None => error,
    }
}
