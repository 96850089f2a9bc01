//! Lines on their way to standard error, written by a thread of their own: whoever has something to say waits for no reader.
//!
//! A reader may stand still for good, as a stopped pager does or a collector that is stuck. So many bytes wait for it; what comes beyond is
//! lost and counted (`gatewayd_log_dropped_total`), and said as soon as anything can be said again.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use lb_observe::control;
use lb_observe::write_behind::{Batch, Sink, WriteBehind};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait to be written.
const MOST: usize = 1 << 20;

static LINES: OnceLock<WriteBehind<Waiting>> = OnceLock::new();

/// Lines that wait, and how many found no room behind them.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
}

impl Waiting {
    fn push(&mut self, line: &[u8]) -> bool {
        // What comes later must not pass as if nothing was missing before it.
        let has_room = self.lost == 0 && self.bytes.len() + line.len() <= MOST;
        match has_room {
            true => self.bytes.extend_from_slice(line),
            false => self.lost += 1,
        }
        has_room
    }
}

impl Batch for Waiting {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.lost == 0
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.lost = 0;
    }
}

/// Standard error.
struct ToReader {
    is_text: bool,
}

impl Sink for ToReader {
    type Batch = Waiting;

    fn write(&mut self, batches: &mut [Waiting]) {
        let mut out = io::stderr();
        for batch in batches {
            // Where nobody is there to read it, that is all there is to it.
            let _ = out.write_all(&batch.bytes);
            if batch.lost > 0 {
                let _ = out.write_all(missing(batch.lost, self.is_text).as_bytes());
            }
        }
    }
}

/// The line that stands where lines are missing.
fn missing(lines: u64, is_text: bool) -> String {
    let message = "log lines were lost here, since nobody read them in time";
    match is_text {
        true => format!("WARN {lines} {message}\n"),
        false => {
            let time = jiff::Timestamp::now();
            format!(
                "{}\n",
                serde_json::json!({"timestamp": time.to_string(), "level": "WARN", "message": message, "lines": lines})
            )
        }
    }
}

/// Begins to write. Where the system refuses a thread, lines are written by whoever has them.
pub(super) fn start(is_text: bool) {
    if let Ok(lines) = WriteBehind::start("log", 1, ToReader { is_text }) {
        let _once = LINES.set(lines);
    }
}

/// Says a line, with its end.
pub(super) fn say(line: &[u8]) {
    match LINES.get() {
        Some(lines) => {
            if !lines.with(0, |waiting| waiting.push(line)) {
                control::log_line_dropped();
            }
        }
        None => {
            let _ = io::stderr().write_all(line);
        }
    }
}

/// Waits until everything so far has been written, but no longer than so.
pub(super) fn flush(deadline: Duration) {
    if let Some(lines) = LINES.get() {
        lines.flush(deadline);
    }
}

/// Takes the lines of events.
pub(super) struct Writer;

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        say(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_passes_it() {
        let mut waiting = Waiting::default();
        let line = [b'x'; 1024];
        assert_eq!((0..2000).filter(|_| waiting.push(&line)).count(), MOST / line.len());
        assert!(!waiting.push(b"short"));
        assert_eq!(waiting.lost, 2000 - 1024 + 1);
        waiting.clear();
        assert!(waiting.is_empty() && waiting.push(b"short"));
    }

    #[test]
    fn the_line_in_the_place_of_lost_ones_is_one_of_the_log() {
        let line: serde_json::Value = serde_json::from_str(&missing(3, false)).unwrap();
        assert_eq!((&line["lines"], &line["level"]), (&3.into(), &"WARN".into()));
        assert!(missing(3, true).ends_with('\n'));
    }
}
