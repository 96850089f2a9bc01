//! The chunked transfer coding (RFC 9112 section 7.1).

use bytes::BytesMut;

use super::chunk_line::{ChunkLine, plain_line};
use super::trailers::TrailerSection;
use super::{Decoded, drop_front, take};
use crate::error::BodyError;
use crate::limits::BodyLimits;

/// Chunks of up to this many bytes are moved up to the one ahead of them instead of being handed out alone.
const SMALL_CHUNK: usize = 1024;
/// What is gathered that way at most before it is handed out.
const MAX_GATHERED: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Chunked {
    place: Place,
    line: ChunkLine,
    trailers: TrailerSection,
    /// Whether the chunk at hand is being passed on as it came: then all of it must be.
    is_verbatim: bool,
}

#[derive(Debug)]
enum Place {
    Line,
    /// How much of the chunk is still to come; never 0.
    Data(u64),
    /// CR LF behind the data.
    DataEnd,
    Trailers,
    Done,
}

impl Chunked {
    pub(super) fn new(limits: BodyLimits) -> Self {
        Self {
            place: Place::Line,
            line: ChunkLine::new(limits.max_extension_bytes),
            trailers: TrailerSection::new(limits),
            is_verbatim: false,
        }
    }

    /// How much of the front of `bytes` may be passed on as it stands, and how much of that is data: large chunks
    /// under a plain line, and a last chunk without trailers. What stands behind it is for [`decode`](Self::decode).
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (usize, usize) {
        let (mut passed, mut data) = (0, 0);
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            match &mut self.place {
                Place::Line if self.line.is_fresh() => match plain_line(rest) {
                    Some((0, line)) if rest.get(line..).is_some_and(|rest| rest.starts_with(b"\r\n")) => {
                        self.place = Place::Done;
                        return (passed + line + 2, data);
                    }
                    // Small ones are better gathered.
                    Some((size, line)) if size > SMALL_CHUNK => {
                        self.place = Place::Data(size as u64);
                        self.is_verbatim = true;
                        passed += line;
                    }
                    _ => return (passed, data),
                },
                Place::Data(remaining) if self.is_verbatim => {
                    let count = usize::try_from(*remaining).unwrap_or(usize::MAX).min(rest.len());
                    *remaining -= count as u64;
                    passed += count;
                    data += count;
                    if *remaining > 0 {
                        return (passed, data);
                    }
                    self.place = Place::DataEnd;
                }
                Place::DataEnd if self.is_verbatim && rest.starts_with(b"\r\n") => {
                    self.place = Place::Line;
                    self.is_verbatim = false;
                    passed += 2;
                }
                _ => return (passed, data),
            }
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.place, Place::Done)
    }

    pub(super) fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        loop {
            match &mut self.place {
                // Whatever of such a chunk has come was passed on.
                Place::Data(_) if self.is_verbatim => return Ok(Decoded::NeedMore),
                Place::Line => {
                    let (used, size) = self.line.feed(buf)?;
                    drop_front(buf, used);
                    self.place = match size {
                        None => return Ok(Decoded::NeedMore),
                        Some(0) => Place::Trailers,
                        Some(size) => Place::Data(size),
                    };
                }
                Place::Data(remaining) => {
                    let decoded = match usize::try_from(*remaining) {
                        Ok(size) if size <= SMALL_CHUNK && size < buf.len() => {
                            *remaining = 0;
                            gather(buf, size)
                        }
                        _ => take(buf, remaining),
                    };
                    if *remaining == 0 {
                        self.place = Place::DataEnd;
                    }
                    return Ok(decoded);
                }
                Place::DataEnd => match buf.as_ref() {
                    [b'\r', b'\n', ..] => {
                        drop_front(buf, 2);
                        self.place = Place::Line;
                    }
                    [] | [b'\r'] => return Ok(Decoded::NeedMore),
                    _ => return Err(BodyError::ChunkEnd),
                },
                Place::Trailers => match self.trailers.read(buf)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(trailers) => {
                        self.place = Place::Done;
                        if !trailers.is_empty() {
                            return Ok(Decoded::Trailers(trailers));
                        }
                    }
                },
                Place::Done => return Ok(Decoded::End),
            }
        }
    }
}

/// Hands out the chunk of `size` bytes at the front together with the small whole chunks behind it, moved
/// together inside the buffer: a sender of tiny chunks then costs a little copying, not a piece each.
/// Anything but another plain small chunk ends it and is judged in its own turn.
fn gather(buf: &mut BytesMut, size: usize) -> Decoded {
    let mut gathered = size;
    let mut next = size;
    while gathered < MAX_GATHERED {
        let Some((b"\r\n", rest)) = buf.get(next..).and_then(|rest| rest.split_at_checked(2)) else { break };
        let Some((size, line)) = plain_line(rest) else { break };
        let data = next + 2 + line;
        if size == 0 || size > SMALL_CHUNK || data + size > buf.len() {
            break;
        }
        buf.copy_within(data..data + size, gathered);
        gathered += size;
        next = data + size;
    }
    let data = buf.split_to(gathered).freeze();
    // What the moved chunks left behind.
    drop_front(buf, next - gathered);
    Decoded::Data(data)
}
