//! What both sides have said of themselves (RFC 9113 §6.5).

use crate::fault::Reason;
use crate::frame::{FIRST_WINDOW, MAX_MAX_FRAME, MAX_WINDOW, MIN_MAX_FRAME, setting};
use crate::hpack::TABLE_SIZE;

/// Streams at once to a peer that has not said how many it takes.
const FIRST_STREAMS: u32 = 100;

/// What the peer has set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theirs {
    pub(super) window: i64,
    pub(super) max_frame: usize,
    pub(super) max_streams: u32,
    /// The last size of its table, and the smallest since this was looked at.
    pub(super) table_size: usize,
    pub(super) smallest_table: usize,
    pub(super) takes_connect: bool,
    /// Whether it has said anything yet.
    pub(super) are_here: bool,
}

impl Default for Theirs {
    fn default() -> Self {
        Self {
            window: FIRST_WINDOW,
            max_frame: MIN_MAX_FRAME as usize,
            max_streams: FIRST_STREAMS,
            table_size: TABLE_SIZE,
            smallest_table: TABLE_SIZE,
            takes_connect: false,
            are_here: false,
        }
    }
}

impl Theirs {
    /// Takes the payload of a frame, whose length has been judged.
    pub(super) fn read(&mut self, payload: &[u8], is_from_client: bool) -> Result<(), Reason> {
        if !std::mem::replace(&mut self.are_here, true) {
            // Who has not said how many is not meant to be asked one by one.
            self.max_streams = u32::MAX;
        }
        for entry in payload.as_chunks::<6>().0 {
            let [a, b, c, d, e, f] = *entry;
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                setting::HEADER_TABLE_SIZE => {
                    self.table_size = usize::try_from(value).unwrap_or(usize::MAX);
                    self.smallest_table = self.smallest_table.min(self.table_size);
                }
                // Only a client may say that it takes what we never send.
                setting::ENABLE_PUSH if value > u32::from(is_from_client) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                setting::MAX_CONCURRENT_STREAMS => self.max_streams = value,
                setting::INITIAL_WINDOW_SIZE if i64::from(value) > MAX_WINDOW => {
                    return Err(Reason::FLOW_CONTROL_ERROR);
                }
                setting::INITIAL_WINDOW_SIZE => self.window = i64::from(value),
                setting::MAX_FRAME_SIZE if !(MIN_MAX_FRAME..=MAX_MAX_FRAME).contains(&value) => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                setting::MAX_FRAME_SIZE => self.max_frame = usize::try_from(value).unwrap_or(usize::MAX),
                setting::ENABLE_CONNECT_PROTOCOL if value > 1 || self.takes_connect && value == 0 => {
                    return Err(Reason::PROTOCOL_ERROR);
                }
                setting::ENABLE_CONNECT_PROTOCOL => self.takes_connect = value == 1,
                _ => {}
            }
        }
        Ok(())
    }
}
