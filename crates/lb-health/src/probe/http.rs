//! The smallest HTTP/1.1 client that can tell a healthy backend: one GET, one answer, no redirects.
//!
//! The answer must end, within 64 KiB and the caller's time: a health page without end says that something is wrong.

use httparse::Status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::ProbeError;
use crate::expect::StatusSet;

/// The largest answer that is read, head and body.
const MAX_ANSWER: usize = 64 << 10;
/// The most fields of a head.
const MAX_FIELDS: usize = 100;

/// What is asked of a backend.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) host: &'a str,
    pub(super) target: &'a str,
    pub(super) expect: &'a StatusSet,
    /// Whether the connection is wanted again.
    pub(super) keep_alive: bool,
}

/// Asks over an open connection. True where it can be asked on again.
pub(super) async fn probe(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Question<'_>,
) -> Result<bool, ProbeError> {
    let Question { host, target, expect, keep_alive } = question;
    let connection = if keep_alive { "" } else { "Connection: close\r\n" };
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatewayd-probe\r\nAccept: */*\r\n{connection}\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(ProbeError::Broken)?;
    let mut answer = Answer { stream, bytes: Vec::new(), read: 0 };
    let head = answer.head().await?;
    if !expect.contains(head.status) {
        return Err(ProbeError::Status { status: head.status, expected: expect.clone() });
    }
    match head.body {
        Body::Length(length) => answer.skip(length).await?,
        Body::Chunked => answer.skip_chunks().await?,
        Body::UntilEnd => {
            while answer.more().await? {}
            return Ok(false);
        }
    }
    Ok(keep_alive && head.keep_alive && answer.bytes.is_empty())
}

/// What matters of a response's head.
struct Head {
    status: u16,
    body: Body,
    /// Whether the backend leaves the connection open (RFC 9112 §9.3).
    keep_alive: bool,
}

/// Where a body ends (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Length(usize),
    Chunked,
    UntilEnd,
}

/// An answer as far as it has come.
struct Answer<S> {
    stream: S,
    /// Read and not yet made sense of.
    bytes: Vec<u8>,
    /// Bytes read in all.
    read: usize,
}

impl<S: AsyncRead + Unpin> Answer<S> {
    /// The final head; interim ones (RFC 9110 §15.2) are passed over.
    async fn head(&mut self) -> Result<Head, ProbeError> {
        loop {
            match parse_head(&self.bytes)? {
                Some((length, head)) => {
                    self.bytes.drain(..length.min(self.bytes.len()));
                    if !matches!(head.status, 100 | 102..200) {
                        return Ok(head);
                    }
                }
                None => self.need_more().await?,
            }
        }
    }

    /// Passes over so many bytes.
    async fn skip(&mut self, length: usize) -> Result<(), ProbeError> {
        let mut left = length;
        if left > MAX_ANSWER {
            return Err(ProbeError::TooLarge(MAX_ANSWER));
        }
        while left > self.bytes.len() {
            left -= self.bytes.len();
            self.bytes.clear();
            self.need_more().await?;
        }
        self.bytes.drain(..left);
        Ok(())
    }

    /// Passes over a chunked body and its trailer (RFC 9112 §7.1).
    async fn skip_chunks(&mut self) -> Result<(), ProbeError> {
        loop {
            match httparse::parse_chunk_size(&self.bytes) {
                Ok(Status::Complete((length, size))) => {
                    self.skip(length).await?;
                    if size == 0 {
                        return self.skip_trailer().await;
                    }
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    // With the line end that follows it.
                    self.skip(size.saturating_add(2)).await?;
                }
                Ok(Status::Partial) => self.need_more().await?,
                Err(_) => return Err(ProbeError::Malformed("a chunk has no size")),
            }
        }
    }

    async fn skip_trailer(&mut self) -> Result<(), ProbeError> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            match httparse::parse_headers(&self.bytes, &mut fields) {
                Ok(Status::Complete((length, _))) => {
                    self.bytes.drain(..length.min(self.bytes.len()));
                    return Ok(());
                }
                Ok(Status::Partial) => self.need_more().await?,
                Err(_) => return Err(ProbeError::Malformed("its trailer is malformed")),
            }
        }
    }

    async fn need_more(&mut self) -> Result<(), ProbeError> {
        if self.more().await? { Ok(()) } else { Err(ProbeError::Ended) }
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> Result<bool, ProbeError> {
        if self.read >= MAX_ANSWER {
            return Err(ProbeError::TooLarge(MAX_ANSWER));
        }
        self.bytes.reserve(1024);
        let read = self.stream.read_buf(&mut self.bytes).await.map_err(ProbeError::Broken)?;
        self.read += read;
        Ok(read > 0)
    }
}

/// A whole head and its length, or nothing while some of it is missing.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head)>, ProbeError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(ProbeError::Malformed("it has too many fields")),
        Err(_) => return Err(ProbeError::Malformed("its head is malformed")),
    };
    let status = response.code.unwrap_or_default();
    let body = match status {
        100..200 | 204 | 304 => Body::Length(0),
        _ => body_of(response.headers)?,
    };
    let keep_alive = response.version == Some(1) && !asks_to_close(response.headers);
    Ok(Some((length, Head { status, body, keep_alive })))
}

fn asks_to_close(fields: &[httparse::Header<'_>]) -> bool {
    let options = fields.iter().filter(|field| field.name.eq_ignore_ascii_case("connection"));
    options
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn body_of(fields: &[httparse::Header<'_>]) -> Result<Body, ProbeError> {
    let mut body = Body::UntilEnd;
    for field in fields {
        let value = field.value.trim_ascii();
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            return Ok(match last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                true => Body::Chunked,
                false => Body::UntilEnd,
            });
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            let digits = value.iter().all(u8::is_ascii_digit);
            let length = digits.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten();
            let length = length.ok_or(ProbeError::Malformed("its Content-Length is no length"))?;
            if !matches!(body, Body::UntilEnd) && body != Body::Length(length) {
                return Err(ProbeError::Malformed("it has two lengths"));
            }
            body = Body::Length(length);
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a probe makes of an answer after which the backend closes, in pieces of `piece` bytes.
    async fn judge(answer: &[u8], piece: usize) -> Result<(), String> {
        let mut stream = tokio_test_stream(answer, piece);
        let expect = StatusSet::default();
        let question = Question { host: "a", target: "/health", expect: &expect, keep_alive: false };
        probe(&mut stream, question).await.map(drop).map_err(|error| error.to_string())
    }

    /// Takes whatever is written and answers in pieces.
    fn tokio_test_stream(answer: &[u8], piece: usize) -> tokio::io::DuplexStream {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let answer = answer.to_vec();
        tokio::spawn(async move {
            for piece in answer.chunks(piece) {
                if far.write_all(piece).await.is_err() {
                    return;
                }
            }
            // Half-closed only, as a request may still be on its way.
            let _ = far.shutdown().await;
            let _ = tokio::io::copy(&mut far, &mut tokio::io::sink()).await;
        });
        near
    }

    #[tokio::test]
    async fn answers_are_judged_alike_however_they_are_cut() {
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_ANSWER));
        let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_ANSWER + 1);
        let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_ANSWER));
        for (answer, verdict) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", ""),
            ("HTTP/1.0 200 OK\r\n\r\nok", ""),
            ("HTTP/1.1 204 No Content\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n", ""),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
                "status 302, expected 200-299",
            ),
            ("HTTP/1.1 503 No\r\n\r\n", "status 503, expected 200-299"),
            ("HTTP/1.1 101 Switching\r\n\r\n", "status 101, expected 200-299"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
                "the connection ended in the middle of the answer",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
                "the connection ended in the middle of the answer",
            ),
            ("HTTP/1.1 200 OK\r\n", "the connection ended in the middle of the answer"),
            ("", "the connection ended in the middle of the answer"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "what came is no answer to a probe: its Content-Length is no length",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
                "what came is no answer to a probe: it has two lengths",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                "what came is no answer to a probe: a chunk has no size",
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n", "what came is no answer to a probe: its head is malformed"),
            (&announced, "the answer is larger than 64 KiB"),
            (&long, "the answer is larger than 64 KiB"),
            (&endless_head, "the answer is larger than 64 KiB"),
        ] {
            for piece in [1, 7, 1 << 20] {
                if piece == 1 && answer.len() > 1000 {
                    continue;
                }
                let judged = judge(answer.as_bytes(), piece).await.err().unwrap_or_default();
                let start = &answer[..answer.len().min(80)];
                assert_eq!(judged, verdict, "{start:?} in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn more_fields_than_is_bearable_are_refused() {
        let answer = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(
            judge(answer.as_bytes(), 512).await.unwrap_err(),
            "what came is no answer to a probe: it has too many fields"
        );
    }
}
