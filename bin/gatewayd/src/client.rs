//! One HTTP request, for the control side: commands to the admin address, alerts and traces.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use lb_config::Called;
use lb_tls::ClientTls;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Something that is called again and again.
pub(crate) struct Callee {
    url: Uri,
    authority: String,
    /// Who calls, where the URL says so.
    credentials: Option<HeaderValue>,
    tls: Option<ClientTls>,
}

impl Callee {
    /// # Errors
    /// Its TLS cannot be set up: a file has gone since the configuration was read.
    pub(crate) fn new(called: Called) -> anyhow::Result<Self> {
        let Called { url, tls } = called;
        let host = url.host().with_context(|| format!("{url} has no host"))?;
        let usual = if tls.is_some() { 443 } else { 80 };
        let authority = format!("{host}:{}", url.port_u16().unwrap_or(usual));
        // What an operator should know of its files was said when the configuration was read.
        let tls = tls.map(|options| ClientTls::new(options).map(|(tls, _)| tls)).transpose()?;
        let credentials = url.authority().and_then(|authority| credentials(authority.as_str()));
        Ok(Self { url, authority, credentials, tls })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &Uri {
        &self.url
    }

    /// Sends one request, whose target is a path, on a connection of its own; all of it within `deadline`.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        deadline: Duration,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        if let Some(credentials) = &self.credentials {
            request.headers_mut().entry(header::AUTHORIZATION).or_insert_with(|| credentials.clone());
        }
        if let Some(tls) = &self.tls {
            // A file that has become useless leaves what there was.
            let _ = tls.look();
        }
        send(&self.authority, self.tls.as_ref(), request, deadline).await
    }
}

/// The `user:password` before an authority's `@` as Basic has it (RFC 7617).
fn credentials(authority: &str) -> Option<HeaderValue> {
    let (user_info, _) = authority.rsplit_once('@')?;
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let [user, password] = [user, password].map(|part| percent_decode_str(part).collect::<Vec<u8>>());
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64.encode([&user[..], b":", &password].concat())))
            .ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A connection, in the clear or by TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to `authority` (`host:port`).
pub(crate) async fn connect(authority: &str, tls: Option<&ClientTls>) -> anyhow::Result<Box<dyn Stream>> {
    let stream =
        TcpStream::connect(authority).await.with_context(|| format!("cannot connect to {authority}"))?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let stream = tls.wrap(stream, b"http/1.1").await;
    Ok(Box::new(stream.with_context(|| format!("no TLS with {authority}"))?))
}

/// Sends one request to `authority` (`host:port`) on a connection of its own; all of it within `deadline`.
pub(crate) async fn send(
    authority: &str,
    tls: Option<&ClientTls>,
    mut request: Request<Full<Bytes>>,
    deadline: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let host = authority.parse().context("not a host and a port")?;
    request.headers_mut().insert(header::HOST, host);
    let exchange = async { ask(connect(authority, tls).await?, request).await };
    tokio::time::timeout(deadline, exchange)
        .await
        .with_context(|| format!("{authority} did not answer in time"))?
}

async fn ask(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        closed = connection => {
            closed?;
            answer.await
        }
    }
}
