//! The side of backends: who is believed, and what we show.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::certificate::CertificateFiles;
use crate::error::TlsError;
use crate::files::{Reload, Watched};
use crate::session::Session;
use crate::suites::{MinVersion, provider};
use crate::verify::{Pin, Verifier};
use crate::{failure, roots};

/// Sessions that are kept to be resumed, of one backend: one for each connection that may be opened at once.
const SESSIONS: usize = 64;

/// What the TLS to one backend is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The name that the certificate must be for, and that is asked for (SNI); an address is not asked for.
    pub server_name: String,
    /// Who is believed.
    pub trust: Trust,
    /// One of these keys, if there are any.
    pub pins: Vec<Pin>,
    /// What is shown to a backend that asks.
    pub certificate: Option<CertificateFiles>,
    /// Application protocols that are offered, the favourite first (RFC 7301).
    pub alpn: Vec<Vec<u8>>,
}

impl ClientOptions {
    /// That a certificate can be for `server_name`.
    ///
    /// # Errors
    /// [`TlsError::ServerName`].
    pub fn check_name(&self) -> Result<(), TlsError> {
        self.name().map(drop)
    }

    fn name(&self) -> Result<ServerName<'static>, TlsError> {
        ServerName::try_from(self.server_name.clone())
            .map_err(|_| TlsError::ServerName(self.server_name.clone()))
    }
}

/// Who is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whoever a root of this machine vouches for.
    System,
    /// Whoever one in this PEM file vouches for.
    Ca(PathBuf),
    /// Whoever has a pinned key; anyone where there are no pins.
    Anyone,
}

/// The TLS to one backend, shared by all workers and its probes.
pub struct ClientTls {
    options: ClientOptions,
    name: ServerName<'static>,
    current: ArcSwap<ClientConfig>,
    watched: Mutex<Watched>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files and sets everything up; beside it what an operator should know of them.
    ///
    /// # Errors
    /// Which file is wrong, and how to mend it.
    pub fn new(options: ClientOptions) -> Result<(Self, Vec<String>), TlsError> {
        let name = options.name()?;
        let mut files: Vec<PathBuf> = match &options.trust {
            Trust::Ca(file) => vec![file.clone()],
            Trust::System | Trust::Anyone => Vec::new(),
        };
        files.extend(options.certificate.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]));
        let watched = Mutex::new(Watched::new(files));
        let (config, notices) = build(&options)?;
        Ok((Self { options, name, current: ArcSwap::from_pointee(config), watched }, notices))
    }

    /// A session for a connection that has just been opened; `only` is offered in place of all application protocols.
    ///
    /// # Errors
    /// The configuration cannot be used, which [`new`](Self::new) has ruled out.
    pub fn connect(&self, only: Option<&[u8]>) -> Result<Session, TlsError> {
        let (config, name) = (self.current.load_full(), self.name.clone());
        let connection = match only {
            None => UnbufferedClientConnection::new(config, name)?,
            Some(only) => UnbufferedClientConnection::new_with_alpn(config, name, vec![only.to_vec()])?,
        };
        Ok(Session::client(connection))
    }

    /// Speaks TLS over a connection of its own, for whoever asks seldom; `alpn` is what is offered.
    ///
    /// # Errors
    /// Why the handshake failed, in words.
    pub async fn wrap(
        &self,
        stream: TcpStream,
        alpn: &'static [u8],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut config = ClientConfig::clone(&self.current.load());
        config.alpn_protocols = vec![alpn.to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(self.name.clone(), stream).await.map_err(failure::in_words)
    }

    /// Looks at the files, and takes them up where they have changed. To be called every second or so.
    pub fn look(&self) -> Reload {
        if !self.watched.lock().unwrap_or_else(PoisonError::into_inner).look() {
            return Reload::Unchanged;
        }
        match build(&self.options) {
            Ok((config, notices)) => {
                self.current.store(Arc::new(config));
                Reload::Done(notices)
            }
            Err(error) => Reload::Rejected(error),
        }
    }
}

fn build(options: &ClientOptions) -> Result<(ClientConfig, Vec<String>), TlsError> {
    let provider = provider(None, MinVersion::default())?;
    let roots = match &options.trust {
        Trust::System => {
            Some(Arc::clone(roots::system().as_ref().map_err(|error| TlsError::NoRoots(error.clone()))?))
        }
        Trust::Ca(file) => Some(roots::of_file(file)?),
        Trust::Anyone => None,
    };
    let chain = roots.map(|roots| {
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::Setup(error.to_string()))
    });
    let verifier =
        Verifier { chain: chain.transpose()?, pins: options.pins.clone(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(MinVersion::default().versions())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let (mut config, notices) = match &options.certificate {
        None => (builder.with_no_client_auth(), Vec::new()),
        Some(pair) => {
            let identity = pair.load(std::time::SystemTime::now())?;
            let key = rustls::sign::SingleCertAndKey::from(identity.key);
            (builder.with_client_cert_resolver(Arc::new(key)), identity.notices)
        }
    };
    config.alpn_protocols.clone_from(&options.alpn);
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok((config, notices))
}
