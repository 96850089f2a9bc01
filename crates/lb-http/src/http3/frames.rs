//! The sequence of frames on a stream (RFC 9114 §7.1), as far as their lengths go.

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// What kind of stream it is comes first.
    StreamKind,
    Kind,
    Length {
        kind: u64,
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
        Self { stage: Stage::Kind, max, number: Number::default() }
    }

    /// Of a stream one way, which says itself whether it is one of control.
    pub(super) fn of_control(max: u64) -> Self {
        Self { stage: Stage::StreamKind, max, number: Number::default() }
    }

    /// Looks at the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.stage {
                Stage::Free => return Ok(()),
                Stage::Payload { left } => {
                    let count = left.min(bytes.len() as u64);
                    bytes =
                        usize::try_from(count).ok().and_then(|count| bytes.get(count..)).unwrap_or_default();
                    self.stage = payload(left - count);
                    continue;
                }
                Stage::StreamKind | Stage::Kind | Stage::Length { .. } => bytes = rest,
            }
            let Some(number) = self.number.push(byte) else { continue };
            self.stage = match self.stage {
                Stage::StreamKind if number == CONTROL => Stage::Kind,
                Stage::StreamKind => Stage::Free,
                Stage::Kind if number == WEBTRANSPORT => return Err(FrameError::Unspoken),
                Stage::Kind => Stage::Length { kind: number },
                Stage::Length { kind } if kind != DATA && number > self.max => {
                    return Err(FrameError::TooLong(number));
                }
                Stage::Length { .. } => payload(number),
                stage => stage,
            };
        }
        Ok(())
    }

    /// The stream has ended.
    pub(super) fn end(&self) -> Result<(), FrameError> {
        let may_end = match self.stage {
            Stage::Kind | Stage::StreamKind => self.number.is_empty(),
            Stage::Free => true,
            Stage::Length { .. } | Stage::Payload { .. } => false,
        };
        if may_end { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

fn payload(left: u64) -> Stage {
    if left == 0 { Stage::Kind } else { Stage::Payload { left } }
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

    /// Whatever the pieces.
    fn check(frames: fn(u64) -> Frames, bytes: &[u8]) -> Result<(), FrameError> {
        let whole = |piece: usize| {
            let mut frames = frames(100);
            bytes.chunks(piece).try_for_each(|piece| frames.pass(piece))?;
            frames.end()
        };
        let result = whole(bytes.len().max(1));
        assert!((1..=bytes.len()).all(|piece| whole(piece) == result), "{bytes:x?}");
        result
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
