//! A client's connection that begins with a PROXY header: from peers that are believed alone, within its time.
//!
//! What follows the header is left in the socket, so that TLS and HTTP begin as on any other connection. Dropping the future closes
//! the connection. Cost: a listener without the protocol never comes here.

use std::io;
use std::rc::Rc;

use lb_observe::PreambleFailure;
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::{Ends, HeaderError, MAX_HEADER, parse};
use crate::client::Client;
use crate::config::ProxiedListener;
use crate::serve;

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Malformed(#[from] HeaderError),
    #[error("no whole PROXY header came in time")]
    Late,
    #[error("the connection ended ahead of a whole PROXY header")]
    Closed,
}

/// Serves a connection for whomever its header names.
pub(crate) async fn connection(mut stream: TcpStream, mut client: Rc<Client>) {
    let listener = Rc::clone(&client.listener);
    let Some(ProxiedListener { timeout, .. }) = &listener.config.proxy_protocol else { return };
    let worker = Rc::clone(&client.worker);
    let read = match tokio::time::timeout(*timeout, read(&mut stream)).await {
        Ok(read) => read,
        Err(_) => Err(Refused::Late),
    };
    match read {
        // The sender speaks for itself.
        Ok(None) => {}
        Ok(Some(ends)) => {
            let Ok(seat) = worker.seat(ends.source.ip(), &listener) else { return };
            if let Some(client) = Rc::get_mut(&mut client) {
                client.comes_from(ends, seat);
            }
        }
        Err(refused) => {
            let (name, peer) = (&listener.config.name, client.peer);
            let failure = match refused {
                Refused::Malformed(_) => PreambleFailure::Malformed,
                Refused::Late => PreambleFailure::Timeout,
                Refused::Closed => PreambleFailure::Closed,
            };
            listener.stats.preamble_failed(worker.index, failure);
            // Load balancers connect and leave to see whether anyone listens.
            if !matches!(refused, Refused::Closed) && worker.may_complain() {
                tracing::warn!(listener = %name, %peer, error = %refused, "a connection without a good PROXY header is closed");
            }
            return;
        }
    }
    drop(listener);
    serve::connection(stream, client).await;
}

/// Takes a header and not a byte more.
async fn read(stream: &mut TcpStream) -> Result<Option<Ends>, Refused> {
    let mut header = Vec::new();
    let mut space = [0; 512];
    loop {
        let seen = peek(stream, &mut space).await.map_err(|_| Refused::Closed)?;
        if seen.is_empty() {
            return Err(Refused::Closed);
        }
        let taken = header.len();
        header.extend_from_slice(seen);
        let parsed = parse(&header)?;
        // What has been looked at and makes no whole header is all part of it.
        let length = parsed.map_or(header.len(), |(length, _)| length);
        take(stream, length.saturating_sub(taken)).await.map_err(|_| Refused::Closed)?;
        if let Some((_, ends)) = parsed {
            return Ok(ends);
        }
        if header.len() > MAX_HEADER {
            return Err(HeaderError::TooLong.into());
        }
    }
}

/// Looks at what has come.
async fn peek<'a>(stream: &TcpStream, space: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut buffer = ReadBuf::new(space);
    let count = std::future::poll_fn(|cx| stream.poll_peek(cx, &mut buffer)).await?;
    Ok(space.get(..count).unwrap_or_default())
}

/// Takes so many bytes, which are there.
async fn take(stream: &mut TcpStream, mut count: usize) -> io::Result<()> {
    let mut space = [0; 512];
    while count > 0 {
        let space = space.get_mut(..count.min(512)).unwrap_or_default();
        let taken = stream.read(space).await?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count = count.saturating_sub(taken);
    }
    Ok(())
}
