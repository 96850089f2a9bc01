//! Blocks of fields as they are written.
//!
//! What is worth remembering is told by being seen twice: a field enters the table the second time it is met, so that values which
//! never come again leave it to those that do. Its bytes are packed then, once; all else goes as it is, since packing costs more than
//! the bytes that it saves on the way to a neighbour.

use std::collections::VecDeque;
use std::sync::LazyLock;

use lb_h1::KnownName;

use super::{ENTRY_OVERHEAD, TABLE_SIZE, fixed, huffman};

/// How many fields are looked up in one step; two that meet in one place have the later one found alone.
const PLACES: usize = 256;
/// How many fields that were seen once are remembered.
const SEEN: usize = 128;

/// The writer of one connection's blocks.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Newest first.
    table: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// The smallest and the last size since the last block, where the peer has set another one.
    resized: Option<(usize, usize)>,
    /// How many have ever entered the table.
    entered: u32,
    /// By a field's hash: which it was of those that entered.
    places: Box<[u32; PLACES]>,
    /// The same by a name's.
    names: Box<[u32; PLACES]>,
    seen: Box<[u32; SEEN]>,
    hasher: ahash::RandomState,
}

#[derive(Debug)]
struct Entry {
    hash: u32,
    /// The name, and the value behind it.
    text: Box<[u8]>,
    name_len: usize,
}

impl Entry {
    fn is(&self, hash: u32, name: &[u8], value: &[u8]) -> bool {
        self.hash == hash && self.text.split_at_checked(self.name_len) == Some((name, value))
    }

    fn size(&self) -> usize {
        self.text.len() + ENTRY_OVERHEAD
    }
}

/// How a field may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Once it has been seen before.
    Yes,
    /// It is another one each time.
    No,
    /// By nobody on the way: it is a secret (RFC 7541 §7.1.3).
    Never,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            table: VecDeque::new(),
            size: 0,
            max_size: TABLE_SIZE,
            resized: None,
            entered: 0,
            places: Box::new([0; PLACES]),
            names: Box::new([0; PLACES]),
            seen: Box::new([0; SEEN]),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Encoder {
    /// The peer has said how large a table it keeps; ours need not be as large.
    pub(crate) fn resize(&mut self, size: usize) {
        let size = size.min(TABLE_SIZE);
        let smallest = self.resized.map_or(self.max_size, |(smallest, _)| smallest).min(size);
        if size != self.max_size || self.resized.is_some() {
            self.resized = Some((smallest, size));
        }
        self.max_size = size;
        self.evict(size);
    }

    /// Begins a block. A new size of the table stands ahead of all fields (RFC 7541 §4.2).
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, last)) = self.resized.take() {
            if smallest < last {
                integer(out, 0x20, 5, smallest);
            }
            integer(out, 0x20, 5, last);
        }
    }

    /// `:status`.
    pub(crate) fn status(&mut self, status: http::StatusCode, out: &mut Vec<u8>) {
        let number = match status.as_u16() {
            200 => 8,
            204 => 9,
            206 => 10,
            304 => 11,
            400 => 12,
            404 => 13,
            500 => 14,
            _ => return self.write(out, (8, b":status"), status.as_str().as_bytes(), Memory::Yes),
        };
        out.push(0x80 | number);
    }

    /// `:method`.
    pub(crate) fn method(&mut self, method: &http::Method, out: &mut Vec<u8>) {
        match method.as_str() {
            "GET" => out.push(0x82),
            "POST" => out.push(0x83),
            other => self.write(out, (2, b":method"), other.as_bytes(), Memory::Yes),
        }
    }

    /// `:scheme`.
    pub(crate) fn scheme(&mut self, is_secure: bool, out: &mut Vec<u8>) {
        out.push(if is_secure { 0x87 } else { 0x86 });
    }

    /// `:authority`.
    pub(crate) fn authority(&mut self, authority: &[u8], out: &mut Vec<u8>) {
        self.write(out, (1, b":authority"), authority, Memory::Yes);
    }

    /// `:path`. There are few that a gRPC client calls, and many of others.
    pub(crate) fn path(&mut self, path: &[u8], is_one_of_few: bool, out: &mut Vec<u8>) {
        match path {
            b"/" => out.push(0x84),
            _ => {
                let memory = if is_one_of_few { Memory::Yes } else { Memory::No };
                self.write(out, (4, b":path"), path, memory);
            }
        }
    }

    /// `:protocol` (RFC 8441).
    pub(crate) fn protocol(&mut self, protocol: &[u8], out: &mut Vec<u8>) {
        self.write(out, (0, b":protocol"), protocol, Memory::Yes);
    }

    /// Any other field. Its name may have capitals, which HTTP/2 has not.
    pub(crate) fn field(&mut self, known: Option<KnownName>, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match known {
            Some(known) => {
                let (number, memory) = KNOWN.get(known.row()).copied().unwrap_or((0, Memory::No));
                self.write(out, (number, known.as_str().as_bytes()), value, memory);
            }
            None if name.iter().any(u8::is_ascii_uppercase) => {
                self.write(out, (0, &name.to_ascii_lowercase()), value, Memory::Yes);
            }
            None => self.write(out, (0, name), value, Memory::Yes),
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, (number, name): (u8, &[u8]), value: &[u8], memory: Memory) {
        if memory != Memory::Yes {
            let bits = if memory == Memory::Never { 0x10 } else { 0 };
            return literal(out, (bits, 4), self.number(number, name), (name, value), false);
        }
        let hash = self.hash(&(name, value));
        if let Some(index) = self.find(hash, name, value) {
            return integer(out, 0x80, 7, index);
        }
        let number = self.number(number, name);
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        // What would drive everything else out is not worth it.
        if size > self.max_size / 2 || !self.was_seen(hash) {
            return literal(out, (0, 4), number, (name, value), false);
        }
        literal(out, (0x40, 6), number, (name, value), true);
        self.enter(hash, name, value);
    }

    fn hash(&self, what: &impl std::hash::Hash) -> u32 {
        // Nothing is remembered by 0.
        let [a, b, c, d, ..] = self.hasher.hash_one(what).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) | 1
    }

    /// Whether this has been met before, as far as that is remembered.
    fn was_seen(&mut self, hash: u32) -> bool {
        let Some(seen) = self.seen.get_mut((hash >> 8) as usize % SEEN) else { return false };
        std::mem::replace(seen, hash) == hash
    }

    /// The number of a field that the table holds.
    fn find(&self, hash: u32, name: &[u8], value: &[u8]) -> Option<usize> {
        let (place, entry) = self.entry(*self.places.get((hash >> 8) as usize % PLACES)?)?;
        entry.is(hash, name, value).then_some(fixed::COUNT + 1 + place)
    }

    /// The number of a name: the fixed table's, or that of a field that has it; 0 where it has to be spelt out.
    fn number(&self, fixed: u8, name: &[u8]) -> usize {
        if fixed > 0 { usize::from(fixed) } else { self.named(name).unwrap_or(0) }
    }

    /// The number of a field of this name that the table holds.
    fn named(&self, name: &[u8]) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let hash = self.hash(&name);
        let (place, entry) = self.entry(*self.names.get((hash >> 8) as usize % PLACES)?)?;
        (entry.text.get(..entry.name_len) == Some(name)).then_some(fixed::COUNT + 1 + place)
    }

    /// The field that was this one of those that entered, and its place from the newest.
    fn entry(&self, entered: u32) -> Option<(usize, &Entry)> {
        let place = usize::try_from(self.entered.wrapping_sub(entered)).ok()?;
        self.table.get(place).map(|entry| (place, entry))
    }

    fn enter(&mut self, hash: u32, name: &[u8], value: &[u8]) {
        let entry = Entry { hash, text: [name, value].concat().into(), name_len: name.len() };
        self.evict(self.max_size.saturating_sub(entry.size()));
        self.size += entry.size();
        self.table.push_front(entry);
        self.entered = self.entered.wrapping_add(1);
        if let Some(place) = self.places.get_mut((hash >> 8) as usize % PLACES) {
            *place = self.entered;
        }
        let hash = self.hash(&name);
        if let Some(place) = self.names.get_mut((hash >> 8) as usize % PLACES) {
            *place = self.entered;
        }
    }

    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.table.pop_back()
        {
            self.size = self.size.saturating_sub(oldest.size());
        }
    }
}

/// What a well-known name's fields are written by: its number in the fixed table (0 where it has none), and how they are remembered.
static KNOWN: LazyLock<[(u8, Memory); KnownName::COUNT]> = LazyLock::new(|| {
    let mut rows = fixed::NUMBERS.map(|number| (number, Memory::Yes));
    for (known, (_, memory)) in KnownName::all().zip(&mut rows) {
        *memory = match known.as_str() {
            "authorization" | "proxy-authorization" | "cookie" | "set-cookie" => Memory::Never,
            "content-length" | "content-range" | "range" | "etag" | "if-none-match" | "last-modified"
            | "if-modified-since" | "location" | "age" => Memory::No,
            _ if known.is_fleeting() => Memory::No,
            _ => Memory::Yes,
        };
    }
    rows
});

/// A field that the table does not hold.
fn literal(
    out: &mut Vec<u8>,
    (bits, prefix): (u8, u32),
    number: usize,
    (name, value): (&[u8], &[u8]),
    is_packed: bool,
) {
    integer(out, bits, prefix, number);
    if number == 0 {
        string(out, name, is_packed);
    }
    string(out, value, is_packed);
}

fn string(out: &mut Vec<u8>, text: &[u8], is_packed: bool) {
    if is_packed {
        let length = huffman::encoded_len(text);
        if length < text.len() {
            integer(out, 0x80, 7, length);
            return huffman::encode(text, out);
        }
    }
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// An integer behind these bits, with a prefix of so many (RFC 7541 §5.1).
#[inline]
fn integer(out: &mut Vec<u8>, bits: u8, prefix: u32, value: usize) {
    let most = (1_usize << prefix) - 1;
    let low = |value: usize| value.to_le_bytes()[0];
    if value < most {
        return out.push(bits | low(value));
    }
    out.push(bits | low(most));
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}
