//! Blocks of fields as they are read.

use std::collections::VecDeque;
use std::rc::Rc;

use lb_h1::KnownName;

use super::{ENTRY_OVERHEAD, Malformed, TABLE_SIZE, fixed, huffman};

/// One field of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) known: Option<KnownName>,
    pub(crate) name: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Whether its name can be one of HTTP/2, a pseudo-header's included, and its value one of HTTP (RFC 9113 §8.2.1).
    pub(crate) is_valid: bool,
}

impl Line<'_> {
    /// What it counts for a head (RFC 9113 §6.5.2).
    pub(crate) fn size(&self) -> usize {
        self.name.len() + self.value.len() + ENTRY_OVERHEAD
    }
}

/// The reader of one connection's blocks.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Newest first.
    table: VecDeque<Entry>,
    size: usize,
    /// What the peer has set, up to [`TABLE_SIZE`].
    max_size: usize,
    /// Strings that came in the Huffman code: a name, and a value behind it.
    text: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    known: Option<KnownName>,
    name: EntryName,
    value: Box<[u8]>,
    is_valid: bool,
}

/// A name that a table holds. Fields that refer to it have it with them: to be told again and again costs no copy.
#[derive(Debug, Clone)]
enum EntryName {
    Fixed(&'static [u8]),
    Shared(Rc<[u8]>),
}

impl EntryName {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Fixed(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl Entry {
    fn line(&self) -> Line<'_> {
        Line { known: self.known, name: self.name.bytes(), value: &self.value, is_valid: self.is_valid }
    }

    fn size(&self) -> usize {
        self.name.bytes().len() + self.value.len() + ENTRY_OVERHEAD
    }
}

/// Where a string stands: in the block, or unpacked.
#[derive(Clone, Copy)]
enum Text<'a> {
    Plain(&'a [u8]),
    Unpacked { start: usize, end: usize },
}

/// Where a name comes from.
#[derive(Clone, Copy)]
enum Name<'a> {
    Index(usize),
    Text(Text<'a>),
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: VecDeque::new(), size: 0, max_size: TABLE_SIZE, text: Vec::new() }
    }
}

impl Decoder {
    /// Reads a whole block, and shows each field.
    pub(crate) fn read(&mut self, mut block: &[u8], mut show: impl FnMut(Line<'_>)) -> Result<(), Malformed> {
        let mut is_first = true;
        while let Some(&first) = block.first() {
            match first {
                0x80.. => {
                    let index = integer(&mut block, 7)?;
                    show(self.line(index).ok_or(Malformed)?);
                }
                0x40.. => self.literal(&mut block, 6, true, &mut show)?,
                // The table's size may change ahead of the fields alone (RFC 7541 §4.2).
                0x20.. if is_first => {
                    self.max_size =
                        Some(integer(&mut block, 5)?).filter(|size| *size <= TABLE_SIZE).ok_or(Malformed)?;
                    self.evict(self.max_size);
                    continue;
                }
                0x20.. => return Err(Malformed),
                // That it must never be remembered is for whoever packs it again, which ours does by its name.
                _ => self.literal(&mut block, 4, false, &mut show)?,
            }
            is_first = false;
        }
        // A long value is not to be paid for by every later head.
        if self.text.capacity() > TABLE_SIZE {
            self.text = Vec::new();
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        is_kept: bool,
        show: &mut impl FnMut(Line<'_>),
    ) -> Result<(), Malformed> {
        self.text.clear();
        let name = match integer(block, prefix)? {
            0 => Name::Text(self.string(block)?),
            index => Name::Index(index),
        };
        let value = self.string(block)?;
        let line = self.put_together(name, value).ok_or(Malformed)?;
        show(line);
        if is_kept {
            let Line { known, value, is_valid, .. } = line;
            let value = value.into();
            let name = match (known, name) {
                (Some(known), _) => EntryName::Fixed(known.as_str().as_bytes()),
                (None, Name::Index(index)) => self.name(index).ok_or(Malformed)?,
                (None, Name::Text(_)) => EntryName::Shared(line.name.into()),
            };
            self.keep(Entry { known, name, value, is_valid });
        }
        Ok(())
    }

    fn put_together<'a>(&'a self, name: Name<'a>, value: Text<'a>) -> Option<Line<'a>> {
        let value = self.text_of(value);
        let (known, name, is_name) = match name {
            Name::Index(index) => {
                let line = self.line(index)?;
                // Of a kept field that is not valid, the name may be; such names are rare enough to be looked at again.
                (line.known, line.name, line.is_valid || is_name(line.name))
            }
            Name::Text(text) => {
                let name = self.text_of(text);
                let known = KnownName::find(name);
                (known, name, known.is_some() || is_name(name))
            }
        };
        Some(Line { known, name, value, is_valid: is_name && is_value(value) })
    }

    fn text_of<'a>(&'a self, text: Text<'a>) -> &'a [u8] {
        match text {
            Text::Plain(text) => text,
            Text::Unpacked { start, end } => self.text.get(start..end).unwrap_or_default(),
        }
    }

    fn string<'a>(&mut self, block: &mut &'a [u8]) -> Result<Text<'a>, Malformed> {
        let is_packed = block.first().is_some_and(|first| first & 0x80 != 0);
        let length = integer(block, 7)?;
        let (text, rest) = block.split_at_checked(length).ok_or(Malformed)?;
        *block = rest;
        if !is_packed {
            return Ok(Text::Plain(text));
        }
        let start = self.text.len();
        huffman::decode(text, &mut self.text)?;
        Ok(Text::Unpacked { start, end: self.text.len() })
    }

    /// The field of this number.
    fn line(&self, index: usize) -> Option<Line<'_>> {
        let place = index.checked_sub(1)?;
        match (fixed::FIELDS.get(place), fixed::NAMES.get(place)) {
            (Some((name, value)), Some(&known)) => {
                Some(Line { known, name: name.as_bytes(), value: value.as_bytes(), is_valid: true })
            }
            _ => self.table.get(place.checked_sub(fixed::COUNT)?).map(Entry::line),
        }
    }

    /// The name of the field of this number.
    fn name(&self, index: usize) -> Option<EntryName> {
        let place = index.checked_sub(1)?;
        match fixed::FIELDS.get(place) {
            Some((name, _)) => Some(EntryName::Fixed(name.as_bytes())),
            None => self.table.get(place.checked_sub(fixed::COUNT)?).map(|entry| entry.name.clone()),
        }
    }

    fn keep(&mut self, entry: Entry) {
        // One that has no room leaves none to others (RFC 7541 §4.4).
        self.evict(self.max_size.saturating_sub(entry.size()));
        if entry.size() <= self.max_size {
            self.size += entry.size();
            self.table.push_front(entry);
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

/// Whether a name can be one of HTTP/2: a token in lower case, behind a colon where it is a pseudo-header's.
fn is_name(name: &[u8]) -> bool {
    let name = name.strip_prefix(b":").unwrap_or(name);
    !name.is_empty() && name.len() < usize::from(u16::MAX) && name.iter().all(|&byte| is_name_byte(byte))
}

/// `tchar` (RFC 9110 §5.6.2) without capitals.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a value can be one of HTTP (RFC 9110 §5.5).
fn is_value(value: &[u8]) -> bool {
    // No early exit, so that the loop becomes vector instructions.
    !value.iter().fold(false, |bad, &byte| bad | (byte < b' ') & (byte != b'\t') | (byte == 0x7f))
}

/// An integer behind a prefix of so many bits (RFC 7541 §5.1). None here needs more than 28.
fn integer(block: &mut &[u8], prefix: u32) -> Result<usize, Malformed> {
    let (&first, rest) = block.split_first().ok_or(Malformed)?;
    *block = rest;
    let most = (1_usize << prefix) - 1;
    let mut value = usize::from(first) & most;
    if value < most {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let (&next, rest) = block.split_first().ok_or(Malformed)?;
        *block = rest;
        value += usize::from(next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}
