//! What HTTP/2 clients may ask for.

use lb_http::config::{Http2Limits, ListenerTls};

use super::Context;
use crate::written::listener::Http2;
use crate::written::values::{At, Size, SwitchOr};

/// The largest window (RFC 9113 §6.9.1), and the smallest that does not stop every body.
const WINDOWS: (u64, u64) = (1 << 10, (1 << 31) - 1);
/// RFC 9113 §6.5.2.
const FRAMES: (u64, u64) = (16 << 10, (1 << 24) - 1);
/// More could not be told from an attack.
const MAX_STREAMS: u32 = 100_000;

/// The bounds; `None` where HTTP/2 is off.
pub(super) fn limits(
    context: &mut Context<'_>,
    written: Option<&At<SwitchOr<Http2>>>,
) -> Option<Http2Limits> {
    let default = Http2Limits::default();
    let table = match written.map(|written| &written.value) {
        None | Some(SwitchOr::Switch(true)) => return Some(default),
        Some(SwitchOr::Switch(false)) => return None,
        Some(SwitchOr::Table(table)) => table,
    };
    let max_streams = table.max_concurrent_streams.as_ref().map_or(default.max_streams, |count| {
        if !(1..=MAX_STREAMS).contains(&count.value) {
            let message = format!(
                "`max_concurrent_streams` must lie between 1 and {MAX_STREAMS}, and is {}",
                count.value
            );
            context.error(count.id, message, "too small or too large");
        }
        count.value
    });
    let mut size = |written: &Option<At<Size>>, default, (least, most)| {
        let Some(size) = written else { return default };
        if !(least..=most).contains(&size.value.0) {
            let (name, shown) = (context.tree.name(size.id), context.quote(size.id));
            let message = format!("`{name}` must lie between {least} and {most} bytes, and is {shown}");
            context.error(size.id, message, "too small or too large");
        }
        u32::try_from(size.value.0).unwrap_or(default)
    };
    let limits = Http2Limits {
        max_streams,
        stream_window: size(&table.stream_window, default.stream_window, WINDOWS),
        connection_window: size(&table.connection_window, default.connection_window, (64 << 10, WINDOWS.1)),
        max_frame_size: size(&table.max_frame_size, default.max_frame_size, FRAMES),
        max_resets: table.max_resets_per_minute.as_ref().map_or(default.max_resets, |count| count.value),
    };
    (table.enabled != Some(false)).then_some(limits)
}

/// TLS that offers it too, ahead of HTTP/1.1.
pub(super) fn offered(mut tls: ListenerTls, is_on: bool) -> ListenerTls {
    if is_on {
        tls.options.alpn.insert(0, b"h2".to_vec());
    }
    tls
}
