//! One HTTP request, for the control side: commands to the admin address, and alerts.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Sends one request to `authority` (`host:port`) on a connection of its own; all of it within `deadline`.
pub(crate) async fn send(
    authority: &str,
    mut request: Request<Full<Bytes>>,
    deadline: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let host = authority.parse().context("not a host and a port")?;
    request.headers_mut().insert(header::HOST, host);
    let exchange = async {
        let stream =
            TcpStream::connect(authority).await.with_context(|| format!("cannot connect to {authority}"))?;
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
    };
    tokio::time::timeout(deadline, exchange)
        .await
        .with_context(|| format!("{authority} did not answer in time"))?
}
