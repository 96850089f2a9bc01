//! The names in common use: found without hashing twice or allocating, written in their usual case.
//!
//! One row serves both directions. Reading, it gives the [`HeaderName`] for a static name (no allocation
//! also for those the `http` crate does not know) and what the codec itself has to do with the field.
//! Writing, it gives the spelling that clients and servers from before HTTP/2 expect. Names that stand in
//! no row work the same, a little slower, and are written in lower case.

use http::HeaderName;

mod table;

use table::{KNOWN, WIRES};

/// What the codec does with a field when it reads or writes a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing in particular.
    Plain,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Te,
    Upgrade,
    Expect,
    Date,
}

const NONE: u8 = 0;
/// Belongs to one connection: never copied to the next (RFC 9110 section 7.6.1). Expect is counted among them: who reads
/// the head answers it, and a backend that waited for a body which nobody holds back would be out of step.
const HOP: u8 = 1;
/// May not stand in a trailer section: framing, routing, authentication, request modifiers, and what
/// describes the content or controls the response (RFC 9110 section 6.5.1).
const NO_TRAILER: u8 = 2;
/// Says where a message ends or goes: naming it in Connection is an attack.
const FRAMING: u8 = 4;
/// Says where a message came from: naming it in Connection is ignored.
const FORWARDING: u8 = 8;

/// Has another value in nearly every message: nothing is won by remembering it.
const FLEETING: u8 = 16;

/// One well-known name.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: HeaderName,
    lower: &'static str,
    /// The name as written, with colon and space.
    pub(crate) wire: &'static str,
    pub(crate) kind: Kind,
    traits: u8,
    /// Its place in the table.
    row: usize,
}

impl Known {
    pub(crate) fn is_hop_by_hop(&self) -> bool {
        self.traits & HOP != 0
    }

    pub(crate) fn is_barred_from_trailers(&self) -> bool {
        self.traits & NO_TRAILER != 0
    }

    pub(crate) fn is_framing(&self) -> bool {
        self.traits & FRAMING != 0
    }

    pub(crate) fn is_fleeting(&self) -> bool {
        self.traits & FLEETING != 0
    }

    pub(crate) fn is_forwarding(&self) -> bool {
        self.traits & FORWARDING != 0
    }
}

/// A well-known name, found once, so that whoever reads many heads with it need not look for it in each.
///
/// ```
/// use lb_h1::KnownName;
///
/// let name = KnownName::find(b"content-length").expect("it is well known");
/// assert_eq!(name.as_str(), "content-length");
/// assert!(KnownName::find(b"x-of-mine").is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct KnownName(pub(crate) &'static Known);

impl KnownName {
    /// How many there are: [`row`](Self::row) is less.
    pub const COUNT: usize = WIRES.len();

    /// The name that is spelt so, in lower case.
    #[inline]
    #[must_use]
    pub fn find(lower: &[u8]) -> Option<Self> {
        find_by(lower, |known| known.lower.as_bytes() == lower).map(Self)
    }

    /// All of them, by their rows.
    pub fn all() -> impl Iterator<Item = Self> {
        KNOWN.iter().map(Self)
    }

    /// Its place among them.
    #[must_use]
    pub fn row(self) -> usize {
        self.0.row
    }

    /// In lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.lower
    }

    /// As the `http` crate has it.
    #[must_use]
    pub fn name(self) -> &'static HeaderName {
        &self.0.name
    }

    /// Whether it belongs to one connection of HTTP/1.1 (RFC 9110 §7.6.1), Expect among them, which ends at this hop.
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        self.0.is_hop_by_hop()
    }

    /// Whether it has another value in nearly every message.
    #[must_use]
    pub fn is_fleeting(self) -> bool {
        self.0.is_fleeting()
    }
}

impl PartialEq for KnownName {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for KnownName {}

impl PartialEq<HeaderName> for KnownName {
    fn eq(&self, other: &HeaderName) -> bool {
        self.0.name == *other
    }
}

/// The row of a name in any letter case.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Known> {
    // Nearly all peers write a name as the table does or in lower case, and comparing bytes as they are is
    // several times faster.
    find_by(name, |known| {
        known.wire.as_bytes().starts_with(name)
            || known.lower.as_bytes() == name
            || known.lower.as_bytes().eq_ignore_ascii_case(name)
    })
}

/// The row of a name out of a header map, which keeps them in lower case.
#[inline]
pub(crate) fn find_lower(name: &str) -> Option<&'static Known> {
    find_by(name.as_bytes(), |known| known.lower == name)
}

#[inline]
fn find_by(name: &[u8], is_it: impl Fn(&Known) -> bool) -> Option<&'static Known> {
    let mut slot = slot_of(name)?;
    loop {
        // Slot 0 of the index means empty; rows count from 1.
        let row = usize::from(INDEX.get(slot).copied()?).checked_sub(1)?;
        let known = KNOWN.get(row)?;
        if known.lower.len() == name.len() && is_it(known) {
            return Some(known);
        }
        slot = (slot + 1) % SLOTS;
    }
}

const SLOTS: usize = 1024;

/// Length and three letters tell nearly all rows apart; the rest is found by stepping on.
#[inline]
const fn slot_of(name: &[u8]) -> Option<usize> {
    let [length, ..] = name.len().to_le_bytes();
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return None };
    let (_, half) = name.split_at(name.len() / 2);
    let Some(middle) = half.first() else { return None };
    let mixed = u32::from_le_bytes([length, *first | 0x20, *middle | 0x20, *last | 0x20]);
    Some((mixed.wrapping_mul(0x9e37_79b1) >> 22) as usize)
}

static INDEX: [u8; SLOTS] = index();

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling")]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 256 rows")]
const fn index() -> [u8; SLOTS] {
    let mut index = [0; SLOTS];
    let mut row = 0;
    while row < WIRES.len() {
        let (name, _) = WIRES[row].as_bytes().split_at(WIRES[row].len() - ": ".len());
        if let Some(mut slot) = slot_of(name) {
            while index[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            index[slot] = row as u8 + 1;
        }
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_in_any_case_and_spells_its_own_name() {
        for known in &KNOWN {
            let wire = known.wire.strip_suffix(": ").expect("ends in colon and space");
            assert_eq!(wire.to_ascii_lowercase(), known.name.as_str());
            for spelling in [wire.to_owned(), wire.to_ascii_lowercase(), wire.to_ascii_uppercase()] {
                let found = find(spelling.as_bytes()).expect(&spelling);
                assert_eq!(found.name, known.name, "{spelling}");
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in ["", "x", "content_length", "content-lengt", "content-length ", "ho\u{17f}t", "x-foo"] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn looking_a_row_up_takes_few_steps() {
        let steps = |known: &Known| {
            let start = slot_of(known.name.as_str().as_bytes()).unwrap();
            (0..SLOTS).find(|step| {
                let row = usize::from(INDEX[(start + step) % SLOTS]);
                row > 0 && KNOWN[row - 1].name == known.name
            })
        };
        let most = KNOWN.iter().filter_map(steps).max();
        assert!(most <= Some(4), "{most:?}");
    }
}
