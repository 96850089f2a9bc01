//! Where plaintext goes: a buffer that grows, or a slice of the caller's and, behind it, one that grows.

use bytes::BytesMut;

/// Takes plaintext, piece by piece.
pub trait Sink {
    /// Takes all of it.
    fn put(&mut self, plaintext: &[u8]);

    /// How much has been taken.
    fn taken(&self) -> usize;
}

/// At the end of a buffer.
#[derive(Debug)]
pub struct Append<'a> {
    buffer: &'a mut BytesMut,
    taken: usize,
}

impl<'a> Append<'a> {
    /// At the end of this one.
    pub fn to(buffer: &'a mut BytesMut) -> Self {
        Self { buffer, taken: 0 }
    }
}

impl Sink for Append<'_> {
    fn put(&mut self, plaintext: &[u8]) {
        self.buffer.extend_from_slice(plaintext);
        self.taken += plaintext.len();
    }

    fn taken(&self) -> usize {
        self.taken
    }
}

/// Into a slice; what finds no room there goes to the session's own buffer.
#[derive(Debug)]
pub(crate) struct Fill<'a> {
    pub(crate) slice: &'a mut [u8],
    pub(crate) filled: usize,
    pub(crate) rest: &'a mut Vec<u8>,
}

impl Sink for Fill<'_> {
    fn put(&mut self, plaintext: &[u8]) {
        let room = self.slice.get_mut(self.filled..).unwrap_or_default();
        let count = room.len().min(plaintext.len());
        if let (Some(room), Some(piece)) = (room.get_mut(..count), plaintext.get(..count)) {
            room.copy_from_slice(piece);
        }
        self.filled += count;
        self.rest.extend_from_slice(plaintext.get(count..).unwrap_or_default());
    }

    fn taken(&self) -> usize {
        self.filled
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, plaintext: &[u8]) {
        self.extend_from_slice(plaintext);
    }

    fn taken(&self) -> usize {
        self.len()
    }
}
