//! WebSocket by its name on a stream of HTTP/3 (RFC 9220), for `h3`, which takes an extended CONNECT for malformed unless it knows
//! the protocol, and does not know this one.
//!
//! The first field section of a request is looked through ahead of `h3`. Where its `:protocol` is `websocket`, one that `h3` does know
//! stands there instead, and what it was is told aside. Nothing else is touched, so that whatever is malformed is so for `h3` as well.
//!
//! Cost: one search of a head for eight bytes; a head that comes whole, as most do, is passed on as it is.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};

/// HEADERS (RFC 9114 §7.2.2).
const HEADERS: u64 = 0x1;
/// DATA, which comes behind a head or is out of place.
const DATA: u64 = 0x0;
/// The name, as it is and in Huffman's code (RFC 7541, appendix B). No table of QPACK has it.
const NAME: [&[u8]; 2] = [b":protocol", &[0xb9, 0x5d, 0x87, 0x49, 0xc8, 0x7a, 0x3f]];
/// The value, likewise.
const WEBSOCKET: [&[u8]; 2] = [b"websocket", &[0xf0, 0x58, 0xd0, 0x72, 0x75, 0x2a, 0x7f]];
/// A field line of a literal name and value, with a protocol that `h3` knows.
const KNOWN: &[u8] = b"\x27\x02:protocol\x0bconnect-udp";
/// In four bytes any length has room that a head may have.
const LENGTH_IN_FOUR: u32 = 0x8000_0000;

/// Whether a stream is to become WebSocket, known once its head is.
#[derive(Debug, Clone, Default)]
pub(super) struct IsWebSocket(Rc<Cell<bool>>);

impl IsWebSocket {
    pub(super) fn get(&self) -> bool {
        self.0.get()
    }
}

/// The beginning of a request's stream, up to its head's end. Frames must have been bounded ahead of it.
#[derive(Debug, Default)]
pub(super) struct Lead {
    /// The beginning of a frame that is not whole.
    kept: BytesMut,
    is_over: bool,
    is_websocket: IsWebSocket,
}

impl Lead {
    /// What it will tell.
    pub(super) fn is_websocket(&self) -> IsWebSocket {
        self.is_websocket.clone()
    }

    /// Takes the next bytes, and gives what can go on.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        if self.is_over {
            return piece;
        }
        let mut bytes = if self.kept.is_empty() {
            piece
        } else {
            self.kept.extend_from_slice(&piece);
            self.kept.split().freeze()
        };
        match head(&bytes) {
            Head::Awaited { from } => {
                self.kept.extend_from_slice(bytes.get(from..).unwrap_or_default());
                bytes.truncate(from);
                bytes
            }
            Head::None => self.end(bytes),
            Head::Here { frame, section } => {
                let known = bytes.get(section).and_then(with_known_protocol);
                let Some(known) = known else { return self.end(bytes) };
                self.is_websocket.0.set(true);
                let mut rewritten = BytesMut::with_capacity(bytes.len() + KNOWN.len());
                rewritten.extend_from_slice(bytes.get(..frame.start).unwrap_or_default());
                rewritten.put_u8(0x1);
                rewritten.put_u32(LENGTH_IN_FOUR | u32::try_from(known.len()).unwrap_or_default());
                rewritten.extend_from_slice(&known);
                rewritten.extend_from_slice(bytes.get(frame.end..).unwrap_or_default());
                self.end(rewritten.freeze())
            }
        }
    }

    fn end(&mut self, bytes: Bytes) -> Bytes {
        self.is_over = true;
        self.kept = BytesMut::new();
        bytes
    }
}

/// The first head in a sequence of frames.
enum Head {
    /// It is not here, or not whole; from here on bytes are needed once more.
    Awaited {
        from: usize,
    },
    /// There is none.
    None,
    Here {
        frame: Range<usize>,
        section: Range<usize>,
    },
}

fn head(bytes: &[u8]) -> Head {
    let mut at = 0;
    loop {
        let mut rest = Reader { bytes, at };
        let Some((kind, length)) = rest.number().zip(rest.number()) else {
            return Head::Awaited { from: at };
        };
        if kind == DATA {
            return Head::None;
        }
        let end = usize::try_from(length).ok().and_then(|length| rest.at.checked_add(length));
        let Some(end) = end.filter(|end| *end <= bytes.len()) else { return Head::Awaited { from: at } };
        if kind == HEADERS {
            return Head::Here { frame: at..end, section: rest.at..end };
        }
        at = end;
    }
}

/// The section with a protocol that `h3` knows, where it names WebSocket.
fn with_known_protocol(section: &[u8]) -> Option<Vec<u8>> {
    let names = |name: &[u8]| section.windows(name.len()).any(|window| window == name);
    if !NAME.into_iter().any(names) {
        return None;
    }
    let line = protocol_line(section)?;
    let (before, behind) = (section.get(..line.start)?, section.get(line.end..)?);
    Some([before, KNOWN, behind].concat())
}

/// Where the field line stands that says `:protocol: websocket` (RFC 9204 §4.5).
fn protocol_line(section: &[u8]) -> Option<Range<usize>> {
    let mut lines = Reader { bytes: section, at: 0 };
    lines.prefixed(8)?;
    lines.prefixed(7)?;
    loop {
        let start = lines.at;
        match *section.get(start)? {
            // Both in a table.
            0x80.. => {
                lines.prefixed(6)?;
            }
            // A name in the table, and a value.
            0x40..0x80 => {
                lines.prefixed(4)?;
                lines.string(7)?;
            }
            0x20..0x40 => {
                let name = lines.string(3)?;
                let value = lines.string(7)?;
                if NAME.contains(&name) && WEBSOCKET.contains(&value) {
                    return Some(start..lines.at);
                }
            }
            // What refers to lines to come; there are none without a dynamic table.
            _ => return None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A number of variable length (RFC 9000 §16).
    fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = (1_usize << (first >> 6)) - 1;
        (0..more).try_fold(u64::from(first & 0x3f), |value, _| Some(value << 8 | u64::from(self.byte()?)))
    }

    /// A number that begins in the last bits of a byte (RFC 7541 §5.1).
    fn prefixed(&mut self, bits: u8) -> Option<usize> {
        let mask = u8::MAX >> (8 - bits);
        let mut value = usize::from(self.byte()? & mask);
        if value < usize::from(mask) {
            return Some(value);
        }
        for shift in [0, 7, 14] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        // No head is so long.
        None
    }

    /// A string, as it is or in Huffman's code: a bit ahead of its length says which, but both are known apart by their content.
    fn string(&mut self, bits: u8) -> Option<&'a [u8]> {
        let length = self.prefixed(bits)?;
        let string = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `:method: CONNECT` from the table, then these lines.
    fn section(lines: &[&[u8]]) -> Vec<u8> {
        [&[0, 0, 0xc0 | 15][..], &lines.concat()].concat()
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        [&[kind], &(0x4000 | length).to_be_bytes()[..], payload].concat()
    }

    /// What comes out however the bytes come in, and what is told.
    fn passed(bytes: &[u8]) -> (Vec<u8>, bool) {
        let by = |piece: usize| {
            let mut lead = Lead::default();
            let passed: Vec<_> =
                bytes.chunks(piece).map(|it| lead.pass(Bytes::copy_from_slice(it))).collect();
            ([passed.concat(), lead.kept.to_vec()].concat(), lead.is_websocket().get())
        };
        let whole = by(bytes.len());
        (1..bytes.len()).for_each(|piece| assert_eq!(by(piece), whole, "{piece}"));
        whole
    }

    const PATH: &[u8] = b"\x51\x05/chat";
    const LONG: &[u8] = b"\x23x-a\x7f\x80\x01";

    #[test]
    fn websocket_is_told_in_any_spelling_and_stands_for_what_is_known() {
        let huffman = [b"\x2f\x00", NAME[1], b"\x87", WEBSOCKET[1]].concat();
        for line in [&b"\x27\x02:protocol\x09websocket"[..], b"\x37\x02:protocol\x09websocket", &huffman] {
            let long = [LONG, &[b'x'; 255]].concat();
            let rest = frame(0, b"data");
            let bytes = [frame(0x21, b"odd"), frame(1, &section(&[PATH, &long, line, PATH])), rest].concat();
            let (out, told) = passed(&bytes);
            let known = section(&[PATH, &long, KNOWN, PATH]);
            let length = 0x8000_0000 | u32::try_from(known.len()).unwrap();
            let head = [&[1][..], &length.to_be_bytes(), &known].concat();
            assert_eq!(out, [frame(0x21, b"odd"), head, frame(0, b"data")].concat());
            assert!(told);
        }
    }

    #[test]
    fn everything_else_is_passed_as_it_is() {
        for bytes in [
            frame(1, &section(&[PATH])),
            frame(1, &section(&[b"\x27\x02:protocol\x0cwebtransport"])),
            frame(1, &section(&[b"\x27\x02:protocol\x09websock"])),
            frame(1, &section(&[b"\x23abc\x12:protocol websocket"])),
            frame(1, &section(&[b"\x1f", b"\x27\x02:protocol\x09websocket"])),
            [frame(0, b"data"), frame(1, &section(&[b"\x27\x02:protocol\x09websocket"]))].concat(),
            [frame(1, &section(&[PATH])), frame(1, &section(&[b"\x27\x02:protocol\x09websocket"]))].concat(),
            vec![1, 0x40, 200, 0],
            vec![0xff; 30],
        ] {
            assert_eq!(passed(&bytes), (bytes.clone(), false));
        }
    }
}
