//! One end of a TCP connection that speaks HTTP/1.1 byte by byte: sends anything, reads strictly.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::message::{Fields, Framing, Head};

/// A connection and the bytes read from it but not yet asked for.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    received: Vec<u8>,
    counter: Option<Arc<AtomicUsize>>,
}

impl Wire {
    /// Take over a connection; reads give up after [`PATIENCE`].
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new(), received: Vec::new(), counter: None }
    }

    /// Add the number of bytes read from now on to `counter`.
    pub fn count_into(&mut self, counter: Arc<AtomicUsize>) {
        self.counter = Some(counter);
    }

    /// The connection itself, for what this type does not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Every byte of the heads and bodies read so far, as it came.
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Send bytes; an error is the caller's, since a peer may rightly have closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Send bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the peer does not take what is sent");
    }

    /// No more will be sent (FIN).
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// Close with a reset (RST) instead of an orderly end.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).ok();
    }

    /// Read a head, up to and with the empty line. `Ok(None)` where the peer closed before its first byte.
    pub fn read_head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.fill()? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(broken(ErrorKind::UnexpectedEof, "the head ends in its middle", &self.buffer))
                };
            }
        };
        let raw = self.take(end);
        Head::parse(&raw).map(Some).map_err(|problem| broken(ErrorKind::InvalidData, &problem, &raw))
    }

    /// Read a body in the given framing, with its trailers.
    pub fn read_body(&mut self, framing: Framing) -> io::Result<(Vec<u8>, Fields)> {
        match framing {
            Framing::None => Ok((Vec::new(), Vec::new())),
            Framing::Length(length) => Ok((self.read_exact(length)?, Vec::new())),
            Framing::Chunked => self.read_chunked(),
            Framing::Close => {
                while self.fill()? != 0 {}
                let all = self.buffer.len();
                Ok((self.take(all), Vec::new()))
            }
        }
    }

    fn read_chunked(&mut self) -> io::Result<(Vec<u8>, Fields)> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default();
            let strict = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(size, 16)
                .ok()
                .filter(|_| strict)
                .ok_or_else(|| broken(ErrorKind::InvalidData, "this is not a chunk size", line.as_bytes()))?;
            if size == 0 {
                break;
            }
            body.extend(self.read_exact(size)?);
            let end = self.read_exact(2)?;
            if end != b"\r\n" {
                return Err(broken(ErrorKind::InvalidData, "a chunk does not end with CRLF", &end));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok((body, trailers));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| broken(ErrorKind::InvalidData, "this is not a trailer", line.as_bytes()))?;
            trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Read one line that ends with CRLF, without it.
    pub fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.take(end + 2);
                // A field's value may hold bytes that are no UTF-8 (RFC 9110 section 5.5).
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(broken(ErrorKind::UnexpectedEof, "the message ends in its middle", &self.buffer));
            }
        }
    }

    /// Read exactly this many bytes.
    pub fn read_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(broken(ErrorKind::UnexpectedEof, "the body ends in its middle", &self.buffer));
            }
        }
        Ok(self.take(count))
    }

    /// Read whatever comes next, at most `limit` bytes; empty at the end. Not kept in [`received`](Self::received).
    pub fn read_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.buffer.resize(limit, 0);
            let result = retry(|| self.stream.read(&mut self.buffer));
            self.buffer.truncate(*result.as_ref().unwrap_or(&0));
            self.count(result?);
        }
        let rest = self.buffer.split_off(limit.min(self.buffer.len()));
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// A line before the first request, with its end, as a PROXY header is; nothing where the peer closes before its end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            match self.read_some(1) {
                Ok(byte) if !byte.is_empty() => line.extend(byte),
                _ => return None,
            }
        }
        String::from_utf8(line).ok()
    }

    /// Everything until the peer closes, in order or with a reset.
    ///
    /// # Panics
    /// Where it does not close within [`PATIENCE`].
    #[track_caller]
    pub fn read_to_close(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => panic!("the peer does not close"),
                Err(_) => break,
            }
        }
        let all = self.buffer.len();
        self.take(all)
    }

    /// Whether the peer closes (or resets) within `deadline` without sending anything more.
    pub fn closes_within(&mut self, deadline: Duration) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        self.stream.set_read_timeout(Some(deadline)).unwrap();
        let start = Instant::now();
        let closed = match self.fill() {
            Ok(count) => count == 0,
            Err(error) => !is_timeout(&error) && start.elapsed() <= deadline,
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        closed
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 << 10];
        let count = retry(|| self.stream.read(&mut piece))?;
        self.buffer.extend_from_slice(&piece[..count]);
        self.count(count);
        Ok(count)
    }

    fn count(&self, bytes: usize) {
        if let Some(counter) = &self.counter {
            counter.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        let taken = std::mem::replace(&mut self.buffer, rest);
        self.received.extend_from_slice(&taken);
        taken
    }
}

/// A read timeout, which Linux reports as `WouldBlock`.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn broken(kind: ErrorKind, problem: &str, bytes: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
    io::Error::new(kind, format!("{problem}: {shown:?}"))
}
