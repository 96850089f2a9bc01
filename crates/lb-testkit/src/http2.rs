//! A client of HTTP/2 that does with GOAWAY what it is for (RFC 9113 §6.8): what the server has not taken is sent again, on
//! another connection, and nothing else is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::pki::Authority;

/// How often one request is sent before that is a failure: each time the server must have said that it did not take it.
const MOST_TRIES: usize = 16;

/// A client with one connection at a time, which any number of requests share. To be used in a runtime of tokio.
pub struct Http2 {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    connection: Mutex<Option<Connection>>,
    connections: AtomicUsize,
    sent_again: AtomicUsize,
}

#[derive(Clone)]
struct Connection {
    number: usize,
    sender: SendRequest<Bytes>,
}

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

impl Http2 {
    /// By prior knowledge, or over TLS with a certificate of this authority for localhost.
    pub fn new(address: SocketAddr, authority: Option<&Authority>) -> Self {
        Self {
            address,
            tls: authority.map(connector),
            connection: Mutex::default(),
            connections: AtomicUsize::new(0),
            sent_again: AtomicUsize::new(0),
        }
    }

    /// Connections that it has had.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Requests that a server has said it did not take, and that were sent again.
    pub fn sent_again(&self) -> usize {
        self.sent_again.load(Relaxed)
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    /// The server does not accept, or its connection or this stream broke without its saying that it had not taken the request.
    pub async fn ask(&self, request: &Request<Bytes>) -> io::Result<Response<Bytes>> {
        for _ in 0..MOST_TRIES {
            let connection = self.connected().await?;
            let sender = match connection.sender.ready().await {
                Ok(sender) => sender,
                Err(error) if was_not_taken(&error) => {
                    self.forget(connection.number).await;
                    continue;
                }
                Err(error) => return Err(in_words("a connection ended without GOAWAY", &error)),
            };
            match exchange(sender, request).await {
                Err(error) if was_not_taken(&error) => {
                    self.sent_again.fetch_add(1, Relaxed);
                    self.forget(connection.number).await;
                }
                answer => return answer.map_err(|error| in_words("no answer", &error)),
            }
        }
        Err(io::Error::other(format!("refused {MOST_TRIES} times")))
    }

    async fn connected(&self) -> io::Result<Connection> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream: Pin<Box<dyn Stream>> = match &self.tls {
            None => Box::pin(stream),
            Some(tls) => Box::pin(tls.connect(ServerName::try_from("localhost").unwrap(), stream).await?),
        };
        let (sender, driver) =
            h2::client::handshake(stream).await.map_err(|error| in_words("no HTTP/2", &error))?;
        // What ends it is told to whoever waits for an answer.
        drop(tokio::spawn(driver));
        let number = self.connections.fetch_add(1, Relaxed) + 1;
        Ok(connection.insert(Connection { number, sender }).clone())
    }

    /// Another one is to be opened for the next request, unless it has been.
    async fn forget(&self, number: usize) {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(|known| known.number == number) {
            *connection = None;
        }
    }
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn exchange(
    mut sender: SendRequest<Bytes>,
    request: &Request<Bytes>,
) -> Result<Response<Bytes>, h2::Error> {
    let (head, body) = request.clone().into_parts();
    let (answer, mut upload) = sender.send_request(Request::from_parts(head, ()), body.is_empty())?;
    if !body.is_empty() {
        upload.send_data(body, true)?;
    }
    let (head, body) = answer.await?.into_parts();
    Ok(Response::from_parts(head, whole(body).await?))
}

async fn whole(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// Whether the server has said that nothing was done with the request (RFC 9113 §8.7): its stream is above the last one that a
/// GOAWAY names (`h2` reports GOAWAY to no other), or it was refused.
fn was_not_taken(error: &h2::Error) -> bool {
    let is_goodbye = error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR);
    is_goodbye || error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM)
}

fn in_words(what: &str, error: &h2::Error) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}

fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}
