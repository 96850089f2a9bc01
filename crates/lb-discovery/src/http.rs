//! HTTP/1.1 for sources that are asked by it: one request a connection, over TCP, TLS or a unix socket.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lb_tls::{ClientOptions, ClientTls};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

/// From connecting to the head of the answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// From there to the end of an answer that has one.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// The most of an answer, or of a line of one that goes on.
const LARGEST: usize = 64 << 20;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp {
        /// `host:port`
        authority: String,
        /// How it is believed, by TLS.
        tls: Option<ClientOptions>,
    },
    /// Over a unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { authority, tls: Some(_) } => write!(f, "https://{authority}"),
            Self::Tcp { authority, tls: None } => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An answer whose head has come. Dropping it closes its connection.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Incoming,
    /// What came of the next line.
    line: Vec<u8>,
    connection: JoinHandle<()>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Asks, and returns when the head of the answer has come.
pub(crate) async fn ask(peer: &Peer, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let host = match peer {
        Peer::Tcp { authority, .. } => authority.as_str(),
        Peer::Unix(_) => "localhost",
    };
    let host = host.parse().map_err(|_| format!("{host} is no host"))?;
    request.headers_mut().insert(header::HOST, host);
    let asked = async {
        match peer {
            Peer::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(cannot_connect)?;
                exchange(stream, request).await
            }
            Peer::Tcp { authority, tls } => {
                let stream = TcpStream::connect(authority).await.map_err(cannot_connect)?;
                // Who goes without a word is missed after half a minute.
                let keepalive = TcpKeepalive::new()
                    .with_time(Duration::from_secs(15))
                    .with_interval(Duration::from_secs(5))
                    .with_retries(3);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
                match tls {
                    None => exchange(stream, request).await,
                    Some(options) => {
                        let (tls, _) = ClientTls::new(options.clone()).map_err(|error| error.to_string())?;
                        let stream = tls.wrap(stream, b"http/1.1").await;
                        exchange(stream.map_err(|error| format!("no TLS: {error}"))?, request).await
                    }
                }
            }
        }
    };
    tokio::time::timeout(HEAD_TIMEOUT, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err has it")]
fn cannot_connect(error: std::io::Error) -> String {
    format!("cannot connect: {error}")
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let connection = tokio::spawn(async move {
        // What breaks is seen where the answer is read.
        let _ = connection.await;
    });
    match sender.send_request(request).await {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(Answer { status: head.status, body, line: Vec::new(), connection })
        }
        Err(error) => {
            connection.abort();
            Err(error.to_string())
        }
    }
}

impl Answer {
    /// All of an answer that is a success; what is said instead where it is none.
    pub(crate) async fn whole(mut self) -> Result<Bytes, String> {
        let body = Limited::new(&mut self.body, LARGEST).collect();
        let body = tokio::time::timeout(BODY_TIMEOUT, body)
            .await
            .map_err(|_| "the answer is too slow".to_owned())?;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        if self.status.is_success() {
            return Ok(body);
        }
        let said: String = String::from_utf8_lossy(&body).trim().chars().take(200).collect();
        Err(format!("the answer is {}: {said}", self.status))
    }

    /// The next line of an answer that goes on; `None` at its end. Cancel-safe.
    pub(crate) async fn next_line(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let rest = self.line.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.line, rest)));
            }
            if self.line.len() > LARGEST {
                return Err("a line of the answer has no end".to_owned());
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.line.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(format!("the answer broke off: {error}")),
            }
        }
    }
}
