//! The sequence of frames on a stream (RFC 9114 §7.1), as far as their lengths go: what of it may go on to `h3`, and what is better kept
//! until it is whole.

use std::ops::Range;

use bytes::BytesMut;

/// DATA, whose length is nobody's concern here: it passes piece by piece.
const DATA: u64 = 0x0;
/// The beginning of a stream of WebTransport, which has no length and is not spoken here.
const WEBTRANSPORT: u64 = 0x41;
/// A control stream (RFC 9114 §6.2.1).
const CONTROL: u64 = 0x0;

/// What is wrong with a sequence of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// A frame that has to be gathered is longer than may be.
    #[error("a frame of {0} bytes is longer than may be gathered")]
    TooLong(u64),
    /// One of another protocol.
    #[error("a frame that is not spoken here")]
    Unspoken,
    /// The stream has ended in the middle of a frame.
    #[error("the stream ends in the middle of a frame")]
    Truncated,
}

/// Where in its frames a stream stands.
#[derive(Debug)]
pub(super) struct Frames {
    stage: Stage,
    max: u64,
    number: Number,
    /// Bytes of a frame that is not whole, or of what says its kind and length.
    begun: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What kind of stream it is comes first.
    StreamKind,
    Kind,
    Length {
        kind: u64,
    },
    Data {
        left: u64,
    },
    Payload {
        left: u64,
    },
    /// It has no frames.
    Free,
}

impl Frames {
    /// Of a request; frames other than DATA have at most so many bytes.
    pub(super) fn of_request(max: u64) -> Self {
        Self { stage: Stage::Kind, max, number: Number::default(), begun: 0 }
    }

    /// Of a stream one way, which says itself whether it is one of control.
    pub(super) fn of_control(max: u64) -> Self {
        Self { stage: Stage::StreamKind, max, number: Number::default(), begun: 0 }
    }

    /// Looks at what has come, from here on, and takes frames of DATA out that have nothing in them: `h3` takes one for the body's end.
    pub(super) fn pass(&mut self, bytes: &mut BytesMut, from: usize) -> Result<(), FrameError> {
        // What stays of the bytes, what stays behind it but has to be moved there, and what is looked at next.
        let (mut kept, mut moved, mut at) = (from, from, from);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (stage, count) = match (self.stage, rest) {
                (Stage::Free, _) => (Stage::Free, rest.len()),
                (Stage::Data { left }, _) => {
                    let count = within(left, rest);
                    (data(left - count as u64), count)
                }
                (Stage::Payload { left }, _) => {
                    let count = within(left, rest);
                    self.begun += count;
                    (self.payload(left - count as u64), count)
                }
                (stage, [byte, ..]) => {
                    self.begun += 1;
                    let next = self.number.push(*byte).map(|number| self.next(stage, number));
                    (next.transpose()?.unwrap_or(stage), 1)
                }
                (stage, []) => (stage, 0),
            };
            at += count;
            if stage == (Stage::Data { left: 0 }) {
                kept = joined(bytes, kept, moved..at).saturating_sub(std::mem::take(&mut self.begun));
                moved = at;
                self.stage = Stage::Kind;
            } else {
                self.stage = stage;
            }
        }
        let end = joined(bytes, kept, moved..at);
        bytes.truncate(end);
        Ok(())
    }

    /// What a number says.
    fn next(&mut self, stage: Stage, number: u64) -> Result<Stage, FrameError> {
        Ok(match stage {
            Stage::StreamKind => {
                self.begun = 0;
                if number == CONTROL { Stage::Kind } else { Stage::Free }
            }
            Stage::Kind if number == WEBTRANSPORT => return Err(FrameError::Unspoken),
            Stage::Kind => Stage::Length { kind: number },
            Stage::Length { kind: DATA } => {
                if number > 0 {
                    self.begun = 0;
                }
                Stage::Data { left: number }
            }
            Stage::Length { .. } if number > self.max => return Err(FrameError::TooLong(number)),
            Stage::Length { .. } => self.payload(number),
            stage => stage,
        })
    }

    fn payload(&mut self, left: u64) -> Stage {
        if left > 0 {
            return Stage::Payload { left };
        }
        self.begun = 0;
        Stage::Kind
    }

    /// How many of the last bytes are part of something that is not whole.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Whether it is a stream without frames.
    pub(super) fn has_none(&self) -> bool {
        self.stage == Stage::Free
    }

    /// The stream has ended.
    pub(super) fn end(&self) -> Result<(), FrameError> {
        let may_end = match self.stage {
            Stage::Kind | Stage::StreamKind => self.number.is_empty(),
            Stage::Free => true,
            Stage::Length { .. } | Stage::Data { .. } | Stage::Payload { .. } => false,
        };
        if may_end { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

fn data(left: u64) -> Stage {
    if left == 0 { Stage::Kind } else { Stage::Data { left } }
}

/// Moves a part up to the end of what is kept; where that ends then.
fn joined(bytes: &mut [u8], kept: usize, part: Range<usize>) -> usize {
    let end = kept + part.len();
    if kept < part.start {
        bytes.copy_within(part, kept);
    }
    end
}

/// As much as is left of something, or there.
fn within(left: u64, rest: &[u8]) -> usize {
    usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()))
}

/// A number of variable length (RFC 9000 §16), as far as it has come.
#[derive(Debug, Default)]
struct Number {
    value: u64,
    missing: u32,
}

impl Number {
    fn is_empty(&self) -> bool {
        self.missing == 0
    }

    /// The number, once it is whole.
    fn push(&mut self, byte: u8) -> Option<u64> {
        if self.missing == 0 {
            self.value = u64::from(byte & 0x3f);
            self.missing = (1 << (byte >> 6)) - 1;
        } else {
            self.value = self.value << 8 | u64::from(byte);
            self.missing -= 1;
        }
        (self.missing == 0).then_some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on of these bytes, whatever the pieces.
    fn passed(frames: fn(u64) -> Frames, bytes: &[u8]) -> Result<Vec<u8>, FrameError> {
        let by = |piece: usize| {
            let (mut frames, mut kept, mut passed) = (frames(100), BytesMut::new(), Vec::new());
            for piece in bytes.chunks(piece) {
                let from = kept.len();
                kept.extend_from_slice(piece);
                frames.pass(&mut kept, from)?;
                passed.extend_from_slice(&kept.split_to(kept.len() - frames.begun()));
            }
            frames.end().map(|()| {
                assert!(kept.is_empty(), "{kept:?}");
                passed
            })
        };
        let result = by(bytes.len().max(1));
        assert!((1..=bytes.len()).all(|piece| by(piece) == result), "{bytes:x?}");
        result
    }

    /// That all of it goes on, or why none does.
    fn check(frames: fn(u64) -> Frames, bytes: &[u8]) -> Result<(), FrameError> {
        passed(frames, bytes).map(|passed| assert_eq!(passed, bytes))
    }

    #[test]
    fn frames_are_bounded_and_data_is_not() {
        let request = Frames::of_request;
        assert_eq!(check(request, &[1, 2, 9, 9, 0, 1, 7]), Ok(()));
        assert_eq!(check(request, &[]), Ok(()));
        assert_eq!(
            check(request, &[1, 0x40, 100].iter().copied().chain([0; 100]).collect::<Vec<_>>()),
            Ok(())
        );
        assert_eq!(check(request, &[1, 0x40, 101]), Err(FrameError::TooLong(101)));
        assert_eq!(
            check(request, &[0x21, 0x80, 1, 0, 0]),
            Err(FrameError::TooLong(65_536)),
            "unknown ones too"
        );
        let long = [&[0, 0x40, 200][..], &[0; 200]].concat();
        assert_eq!(check(request, &long), Ok(()));
        assert_eq!(check(request, &[0x40, 0x41, 0]), Err(FrameError::Unspoken));
    }

    #[test]
    fn data_that_is_none_is_left_out() {
        let request = Frames::of_request;
        for (bytes, expected) in [
            (&[0, 0][..], &[][..]),
            (&[0, 0, 0, 0, 0, 0], &[]),
            (&[0, 0, 0, 1, 7, 0, 0, 0, 1, 8, 0, 0], &[0, 1, 7, 0, 1, 8]),
            (&[1, 1, 9, 0, 0, 1, 2, 0, 0], &[1, 1, 9, 1, 2, 0, 0]),
            (&[0x40, 0, 0x80, 0, 0, 0, 0x21, 0], &[0x21, 0]),
        ] {
            assert_eq!(passed(request, bytes).as_deref(), Ok(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn what_is_not_whole_is_kept_and_data_is_not() {
        let begun = |bytes: &[u8]| {
            let mut frames = Frames::of_request(100);
            let mut kept = BytesMut::from(bytes);
            frames.pass(&mut kept, 0).unwrap();
            frames.begun()
        };
        for (bytes, expected) in [
            (&[0, 9, 1][..], 0),
            (&[0, 0x40], 2),
            (&[0, 1, 7, 1], 1),
            (&[1, 3, 9, 9], 4),
            (&[1, 3, 9, 9, 9], 0),
            (&[0, 1, 7, 0, 0, 1, 2, 9], 3),
        ] {
            assert_eq!(begun(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_stream_ends_between_frames_alone() {
        let request = Frames::of_request;
        for bytes in [&[1][..], &[0x40], &[0, 0x40], &[0, 3, 1], &[0, 3]] {
            assert_eq!(check(request, bytes), Err(FrameError::Truncated), "{bytes:?}");
        }
    }

    #[test]
    fn streams_one_way_say_what_they_are() {
        let control = Frames::of_control;
        assert_eq!(check(control, &[0, 4, 0]), Ok(()));
        assert_eq!(check(control, &[0, 4, 0x40, 101]), Err(FrameError::TooLong(101)));
        assert_eq!(check(control, &[2, 0xff, 0xff, 0xff]), Ok(()), "it has no frames");
    }
}
