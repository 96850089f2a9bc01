//! As much of HTTP/1.1 as both ends of the load speak, over a tokio socket.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection and what was read from it but not yet asked for.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A start line and its fields, names in lower case.
pub(crate) struct Head {
    pub(crate) start: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The n-th word of the start line.
    pub(crate) fn word(&self, number: usize) -> &str {
        self.start.split(' ').nth(number).unwrap_or_default()
    }
}

/// What is read at a time.
const PIECE: usize = 8 << 10;

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).ok();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// A head; `None` where the peer closed before its first byte.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let raw: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return parse(&raw).map(Some);
            }
            if self.fill(PIECE).await? == 0 {
                let is_clean = self.buffer.is_empty();
                return if is_clean { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// A body as its head declares it; none where it declares nothing.
    pub(crate) async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if head.field("transfer-encoding").is_some() {
            return self.chunked().await;
        }
        let length = head.field("content-length").unwrap_or("0");
        self.exact(length.parse().map_err(|_| ErrorKind::InvalidData)?).await
    }

    /// Exactly this many bytes.
    pub(crate) async fn exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill(PIECE).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    async fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
            body.extend(self.exact(size).await?);
            // Nobody here sends trailers.
            self.exact(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line).map_err(|_| ErrorKind::InvalidData.into());
            }
            if self.fill(PIECE).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Wait until the peer closes, and for nothing else.
    pub(crate) async fn closed(&mut self) {
        while self.fill(PIECE).await.is_ok_and(|count| count > 0) {}
    }

    /// Close with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).ok();
    }

    /// Read on, so many bytes at most; 0 at the end.
    pub(crate) async fn fill(&mut self, most: usize) -> io::Result<usize> {
        self.buffer.reserve(most);
        (&mut self.stream).take(most as u64).read_buf(&mut self.buffer).await
    }

    /// Let go of what was read.
    pub(crate) fn forget(&mut self) {
        self.buffer.clear();
    }
}

fn parse(raw: &[u8]) -> io::Result<Head> {
    let text = std::str::from_utf8(raw).map_err(|_| ErrorKind::InvalidData)?;
    let mut lines = text.trim_end().split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok(Head { start, fields: fields.collect::<io::Result<_>>()? })
}

/// The body that belongs to a request's number: it can be told from any other's, and a part from the whole.
pub(crate) fn pattern(id: u64, bytes: usize) -> Vec<u8> {
    let mut body = format!("{id:09}\n").repeat(bytes.div_ceil(10)).into_bytes();
    body.truncate(bytes);
    body
}
