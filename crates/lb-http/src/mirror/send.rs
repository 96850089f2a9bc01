//! Sends copies, reads their answers to the end and throws them away. On the control side's runtime, one task a copy.
//!
//! A copy is sent once, to a backend of the mirror's upstream as its strategy has it, and never again. What it says of that backend's
//! health is left to the upstream's probes.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use http::{StatusCode, Version, header};
use lb_core::{Lease, Outcome, PickContext};
use lb_h1::{
    Asked as AskedFor, BodyDecoder, BodyLimits, ConnectionHeader, Decoded, ParseState, RequestLine,
    encode_request_head, parse_response,
};
use lb_observe::decision::{Comparison, CopyOutcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{Digest, Job, RequestCopy};
use crate::config::HostHeader;
use crate::send::response_limits;
use crate::snapshot::Target;
use crate::target;

/// What is read at a time.
const PIECE: usize = 16 << 10;

/// Sends what comes, until nobody is left who might send anything.
pub(crate) async fn run(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(one(job));
    }
}

async fn one(job: Job) {
    let Job { copy, body, answered } = job;
    let began = Instant::now();
    let context = PickContext::keyed(copy.key, began);
    let upstream = Arc::clone(&copy.upstream);
    let lease = upstream.balancer.acquire(&context).ok();
    let chosen = lease.and_then(|lease| Some((upstream.targets.get(lease.position())?, lease)));
    let backend = chosen.as_ref().map(|(target, _)| Arc::clone(&target.url));
    let result = match chosen {
        None => Err(io::Error::other("no backend of the upstream takes requests")),
        Some((target, lease)) => {
            let exchange = exchange(&copy, target, &lease, &body);
            let result = tokio::time::timeout(copy.timeout, exchange).await;
            let result = result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if result.is_err() {
                lease.record(Outcome { latency: None, ok: false });
            }
            // Its place is free before whoever waits for one is told.
            drop(lease);
            upstream.queue.freed();
            result
        }
    };
    let took = began.elapsed();
    // So is the rule's before its figures tell.
    let stats = Arc::clone(&copy.place.0);
    drop(copy.place);
    let outcome = match result {
        Ok((status, digest)) => {
            stats.sent();
            let compared = answered.map(|(primary, primary_digest)| {
                stats.compared(status == primary, digest == primary_digest);
                let compared = compare((status, digest), (primary, primary_digest));
                if compared != Comparison::Alike {
                    let (mirrored, primary) = (status.as_u16(), primary.as_u16());
                    let path = copy.asked.uri.path();
                    tracing::debug!(
                        upstream = upstream.name,
                        path,
                        primary,
                        mirrored,
                        "a mirrored request was answered otherwise"
                    );
                }
                compared
            });
            CopyOutcome::Answered { backend, status, took, compared }
        }
        Err(error) => {
            stats.failed();
            tracing::debug!(upstream = upstream.name, %error, "a mirrored request has no answer");
            CopyOutcome::Failed { backend, error: error.to_string(), took }
        }
    };
    if let Some(slip) = copy.slip {
        slip.fill(outcome);
    }
}

fn compare(mirrored: (StatusCode, u64), primary: (StatusCode, u64)) -> Comparison {
    match (mirrored.0 == primary.0, mirrored.1 == primary.1) {
        (false, _) => Comparison::OtherStatus,
        (true, false) => Comparison::OtherBody,
        (true, true) => Comparison::Alike,
    }
}

/// The answer's status, and a hash of its body.
async fn exchange(
    copy: &RequestCopy,
    target: &Target,
    lease: &Lease,
    body: &[u8],
) -> io::Result<(StatusCode, u64)> {
    let addresses = target.endpoint.addresses();
    let stream = TcpStream::connect(&addresses[..]).await?;
    let _ = stream.set_nodelay(true);
    match &target.tls {
        None => ask(stream, copy, target, lease, body).await,
        Some(tls) => ask(tls.tls.wrap(stream, b"http/1.1").await?, copy, target, lease, body).await,
    }
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    copy: &RequestCopy,
    target: &Target,
    lease: &Lease,
    body: &[u8],
) -> io::Result<(StatusCode, u64)> {
    let sent_at = Instant::now();
    let mut out = head(copy, target)?;
    out.extend_from_slice(body);
    stream.write_all(&out).await?;
    stream.flush().await?;
    let asked = AskedFor { method: &copy.asked.method, upgrade: None };
    let (mut inbox, mut parse) = (BytesMut::new(), ParseState::default());
    let head = loop {
        let parsed =
            parse_response(&mut inbox, &response_limits(), asked, &mut parse).map_err(io::Error::other)?;
        match parsed {
            Some(head) if head.is_interim() => {}
            Some(head) => break head,
            None if read(&mut stream, &mut inbox).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    };
    lease.record(Outcome { latency: Some(sent_at.elapsed()), ok: !head.status.is_server_error() });
    let (mut body, mut digest) =
        (BodyDecoder::for_response(head.framing, BodyLimits::default()), Digest::default());
    loop {
        match body.decode(&mut inbox).map_err(io::Error::other)? {
            Decoded::Data(piece) if copy.compare => digest.add(&piece),
            Decoded::Data(_) | Decoded::Trailers(_) => {}
            Decoded::End => return Ok((head.status, digest.value())),
            Decoded::NeedMore => {
                if read(&mut stream, &mut inbox).await? == 0 {
                    body.close().map_err(io::Error::other)?;
                }
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), inbox: &mut BytesMut) -> io::Result<usize> {
    inbox.reserve(PIECE);
    stream.read_buf(inbox).await
}

fn head(copy: &RequestCopy, target: &Target) -> io::Result<BytesMut> {
    let mut headers = copy.headers.clone();
    match &copy.host_header {
        HostHeader::Preserve if copy.asked.host.is_some() => {}
        HostHeader::Preserve | HostHeader::Backend => headers.insert(&header::HOST, &target.authority),
        HostHeader::Literal(host) => headers.insert(&header::HOST, host),
    }
    let mut out = BytesMut::new();
    let line = RequestLine {
        method: &copy.asked.method,
        target: &target::forwarded(&copy.asked.uri, &target.base_path, &copy.path),
        version: Version::HTTP_11,
    };
    encode_request_head(&mut out, line, &headers, copy.framing, ConnectionHeader::Close)
        .map_err(io::Error::other)?;
    Ok(out)
}
