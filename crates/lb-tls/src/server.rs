//! The side of listeners: what clients are shown, and what is asked of them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection, WebPkiClientVerifier};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::certificate::{CertificateFiles, FileError, FileProblem};
use crate::error::TlsError;
use crate::files::{Reload, Watched};
use crate::names::Names;
use crate::self_signed::SelfSigned;
use crate::session::Session;
use crate::suites::{MinVersion, provider};
use crate::tickets::{TicketKeys, Ticketer, Trusted};
use crate::{certificate, failure, quic, roots};

/// What a listener's TLS is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// What clients are shown.
    pub certificates: Certificates,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// These cipher suites alone, in this order, by their IANA names; all good ones where nothing is said.
    pub ciphers: Option<Vec<String>>,
    /// Whether clients show a certificate too.
    pub client_auth: Option<ClientAuth>,
    /// Application protocols, the favourite first (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
    /// Whether QUIC is spoken too, for HTTP/3.
    pub http3: bool,
}

/// What clients are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificates {
    /// From files, chosen by the name that a client asks for; the first where none fits.
    Files(Vec<CertificateFiles>),
    /// Made at the start, for trials: for this machine's own names and the listener's address. Kept for as long as the listener goes on,
    /// whichever process has it.
    SelfSigned(Option<IpAddr>),
}

/// Certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM file of those who sign them.
    pub ca: PathBuf,
    /// Whether a client without one is turned away. One with a bad certificate always is.
    pub is_required: bool,
}

impl ServerOptions {
    /// With these certificates and the defaults: TLS 1.2 and 1.3, no client certificates, HTTP/1.1.
    #[must_use]
    pub fn new(certificates: Certificates) -> Self {
        let alpn = vec![b"http/1.1".to_vec()];
        Self {
            certificates,
            min_version: MinVersion::default(),
            ciphers: None,
            client_auth: None,
            alpn,
            http3: false,
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self.client_auth.iter().map(|auth| auth.ca.clone()).collect();
        if let Certificates::Files(pairs) = &self.certificates {
            files.extend(pairs.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]));
            files.extend(pairs.iter().filter_map(|pair| pair.ocsp.clone()));
        }
        files
    }
}

/// What a listener's TLS leaves to the one that takes its place, in this process or another: what its clients have been given and shown.
/// Whoever has it can read what they send.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerKeys {
    #[serde(flatten)]
    tickets: TicketKeys,
    /// The certificate of its own making, where it has one.
    #[serde(default)]
    self_signed: Option<SelfSigned>,
}

impl std::fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerKeys").field("tickets", &self.tickets).finish_non_exhaustive()
    }
}

/// A listener's TLS, shared by all workers.
pub struct ServerTls {
    options: ServerOptions,
    current: ArcSwap<Current>,
    watched: Mutex<Watched>,
}

struct Current {
    config: Arc<ServerConfig>,
    quic: Option<Arc<dyn quinn_proto::crypto::ServerConfig>>,
    until: Option<SystemTime>,
    /// Sessions outlive a change of certificates.
    tickets: Arc<Ticketer>,
    self_signed: Option<SelfSigned>,
    /// Responses of OCSP that will be over, and are not yet as far as anyone has been told.
    staples: Mutex<Vec<(SystemTime, PathBuf)>>,
}

impl Current {
    /// What there is to say of responses that have come to their end.
    fn expired_staples(&self, now: SystemTime) -> Vec<String> {
        let mut staples = self.staples.lock().unwrap_or_else(PoisonError::into_inner);
        let over = staples.extract_if(.., |(until, _)| *until <= now);
        over.map(|(_, file)| {
            format!("{}: the OCSP response has expired; clients are not shown it any more", file.display())
        })
        .collect()
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads the files and sets everything up; beside it what an operator should know of them. With the keys of another one, whose
    /// place it takes, that one's sessions are resumed, and its certificate is shown on where it was of its own making.
    ///
    /// # Errors
    /// Which file is wrong, and how to mend it.
    pub fn new(
        options: ServerOptions,
        earlier: Option<&ServerKeys>,
    ) -> Result<(Self, Vec<String>), TlsError> {
        let watched = Mutex::new(Watched::new(options.files()));
        let tickets = |trust| Ticketer::new(trust, earlier.map(|earlier| &earlier.tickets)).map(Arc::new);
        let self_signed = earlier.and_then(|earlier| earlier.self_signed.as_ref());
        let (current, notices) = build(&options, tickets, self_signed)?;
        Ok((Self { options, current: ArcSwap::from_pointee(current), watched }, notices))
    }

    /// For whoever takes its place.
    pub fn keys(&self) -> ServerKeys {
        let current = self.current.load();
        ServerKeys { tickets: current.tickets.keys(), self_signed: current.self_signed.clone() }
    }

    /// A session for a connection that has just been accepted.
    ///
    /// # Errors
    /// The configuration cannot be used, which [`new`](Self::new) has ruled out.
    pub fn accept(&self) -> Result<Session, TlsError> {
        let config = Arc::clone(&self.current.load().config);
        Ok(Session::server(UnbufferedServerConnection::new(config)?))
    }

    /// Speaks TLS over a connection of its own, for whoever is asked seldom; beside it the certificate that the client has shown (DER).
    ///
    /// # Errors
    /// Why the handshake failed, in words.
    pub async fn wrap(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(tokio_rustls::server::TlsStream<TcpStream>, Option<Vec<u8>>)> {
        let config = Arc::clone(&self.current.load().config);
        let stream =
            tokio_rustls::TlsAcceptor::from(config).accept(stream).await.map_err(failure::in_words)?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.map(|certificate| certificate.to_vec());
        Ok((stream, shown))
    }

    /// What a connection of HTTP/3 begins with, where that is spoken; the same until files change.
    pub fn quic(&self) -> Option<Arc<dyn quinn_proto::crypto::ServerConfig>> {
        self.current.load().quic.clone()
    }

    /// When the first of the certificates ends.
    pub fn valid_until(&self) -> Option<SystemTime> {
        self.current.load().until
    }

    /// Looks at the files, and takes them up where they have changed. To be called every second or so.
    pub fn look(&self) -> Reload {
        let now = self.current.load_full();
        now.tickets.turn();
        if !self.watched.lock().unwrap_or_else(PoisonError::into_inner).look() {
            return match now.expired_staples(SystemTime::now()) {
                over if over.is_empty() => Reload::Unchanged,
                over => Reload::Stale(over),
            };
        }
        // Whoever was let in by a certificate that is believed no more must not come back by a ticket.
        let tickets = |trust| match trust == now.tickets.trust() {
            true => Ok(Arc::clone(&now.tickets)),
            false => Ticketer::new(trust, None).map(Arc::new),
        };
        match build(&self.options, tickets, now.self_signed.as_ref()) {
            Ok((current, notices)) => {
                self.current.store(Arc::new(current));
                Reload::Done(notices)
            }
            Err(error) => Reload::Rejected(error),
        }
    }
}

fn build(
    options: &ServerOptions,
    tickets: impl FnOnce(Trusted) -> Result<Arc<Ticketer>, TlsError>,
    earlier: Option<&SelfSigned>,
) -> Result<(Current, Vec<String>), TlsError> {
    let now = SystemTime::now();
    let (identities, self_signed) = match &options.certificates {
        Certificates::Files(pairs) => {
            (pairs.iter().map(|pair| pair.load(now)).collect::<Result<Vec<_>, _>>()?, None)
        }
        Certificates::SelfSigned(address) => {
            let own = SelfSigned::new(*address, earlier, now).map_err(TlsError::Setup)?;
            (vec![own.identity().map_err(TlsError::Setup)?], Some(own))
        }
    };
    let until = identities.iter().map(|identity| identity.until).min().ok_or(TlsError::NoCertificate)?;
    let notices = identities.iter().flat_map(|identity| identity.notices.clone()).collect();
    let staples = identities.iter().filter_map(|identity| identity.staple.as_ref());
    let staples = staples.filter_map(|staple| Some((staple.until?, staple.file.clone())));
    let staples = Mutex::new(staples.collect());
    let provider = provider(options.ciphers.as_deref(), options.min_version)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(options.min_version.versions())?;
    let (builder, trust) = match &options.client_auth {
        None => (builder.with_no_client_auth(), Trusted::nobody()),
        Some(auth) => {
            let believed = certificate::certificates(&auth.ca)?;
            let trust = Trusted::by(&believed, auth.is_required);
            let roots = roots::of(&auth.ca, believed)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if auth.is_required { verifier } else { verifier.allow_unauthenticated() };
            let unusable = |error: rustls::server::VerifierBuilderError| {
                FileError::new(&auth.ca, FileProblem::UnusableRoot(error.to_string()))
            };
            (builder.with_client_cert_verifier(verifier.build().map_err(unusable)?), trust)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Names::of(identities)));
    config.alpn_protocols.clone_from(&options.alpn);
    let tickets = tickets(trust)?;
    config.ticketer = Arc::clone(&tickets) as _;
    // Tickets hold the state of sessions: nothing is kept here, and every worker can resume.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Ours is the order, as `ciphers` has it.
    config.ignore_client_order = true;
    // Clients use one at a time and get a new one with each connection.
    config.send_tls13_tickets = 1;
    let quic = if options.http3 { Some(quic::server(&config)?) } else { None };
    let config = Arc::new(config);
    Ok((Current { config, quic, until: Some(until), tickets, self_signed, staples }, notices))
}
