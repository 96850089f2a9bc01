//! What HTTP/2 clients may ask for, and backends may answer.

use std::num::NonZeroU32;

use lb_http::config::{BackendLimits, Http2Limits, ListenerTls, Pings};

use super::Context;
use crate::written::listener::Http2;
use crate::written::upstream::{BackendHttp2, Ping};
use crate::written::values::{At, Size, SwitchOr, Time};

/// The largest window (RFC 9113 §6.9.1), and the smallest that does not stop every body.
pub(super) const STREAM_WINDOWS: (u64, u64) = (1 << 10, (1 << 31) - 1);
pub(super) const CONNECTION_WINDOWS: (u64, u64) = (64 << 10, STREAM_WINDOWS.1);
/// RFC 9113 §6.5.2.
const FRAMES: (u64, u64) = (16 << 10, (1 << 24) - 1);
/// Fields of an answer's head. More is refused of backends of HTTP/1.1, too.
const ANSWER_HEADS: (u64, u64) = (1 << 10, 64 << 10);
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
    let windows = [&table.stream_window, &table.connection_window, &table.max_frame_size];
    let [stream_window, connection_window, max_frame_size] = windows_of(context, windows);
    let limits = Http2Limits {
        max_streams: streams(context, table.max_concurrent_streams.as_ref(), default.max_streams),
        stream_window,
        connection_window,
        max_frame_size,
        max_resets: table.max_resets_per_minute.as_ref().map_or(default.max_resets, |count| count.value),
    };
    (table.enabled != Some(false)).then_some(limits)
}

/// The bounds on connections to a backend.
pub(super) fn to_backends(context: &mut Context<'_>, written: Option<&At<BackendHttp2>>) -> BackendLimits {
    let default = BackendLimits::default();
    let Some(At { value: table, .. }) = written else { return default };
    let most = table.max_concurrent_streams.as_ref();
    let windows = [&table.stream_window, &table.connection_window, &table.max_frame_size];
    let [stream_window, connection_window, max_frame_size] = windows_of(context, windows);
    BackendLimits {
        max_streams: most.and_then(|most| NonZeroU32::new(streams(context, Some(most), most.value))),
        stream_window,
        connection_window,
        max_frame_size,
        max_header_bytes: size(
            context,
            table.max_header_size.as_ref(),
            default.max_header_bytes,
            ANSWER_HEADS,
        ),
        pings: pings(table.ping.as_ref()),
    }
}

/// The windows of a stream and of a connection, and the largest frame, by default the same with everybody.
fn windows_of(context: &mut Context<'_>, written: [&Option<At<Size>>; 3]) -> [u32; 3] {
    let default = Http2Limits::default();
    let [stream, connection, frame] = written.map(Option::as_ref);
    [
        size(context, stream, default.stream_window, STREAM_WINDOWS),
        size(context, connection, default.connection_window, CONNECTION_WINDOWS),
        size(context, frame, default.max_frame_size, FRAMES),
    ]
}

/// When a silent connection is asked for a sign of life, if it is.
fn pings(written: Option<&At<SwitchOr<Ping>>>) -> Option<Pings> {
    let default = Pings::default();
    match written.map(|written| &written.value) {
        None | Some(SwitchOr::Switch(true)) => Some(default),
        Some(SwitchOr::Switch(false)) => None,
        Some(SwitchOr::Table(Ping { interval, timeout })) => Some(Pings {
            interval: interval.map_or(default.interval, |Time(interval)| interval),
            timeout: timeout.map_or(default.timeout, |Time(timeout)| timeout),
        }),
    }
}

/// Bounds that are written for a backend, or for all of an upstream, where HTTP/2 is never spoken.
pub(super) fn unused(context: &mut Context<'_>, written: &At<BackendHttp2>) {
    context
        .error_at_key(
            written.id,
            "`http2` has bounds for a backend that is not spoken to by HTTP/2",
            "of no use",
        )
        .help("say `protocol = \"h2\"`, \"h2c\" or, for `https`, \"auto\", or remove it");
}

/// How many streams there may be at once.
pub(super) fn streams(context: &mut Context<'_>, written: Option<&At<u32>>, default: u32) -> u32 {
    let Some(count) = written else { return default };
    if !(1..=MAX_STREAMS).contains(&count.value) {
        let message =
            format!("`max_concurrent_streams` must lie between 1 and {MAX_STREAMS}, and is {}", count.value);
        context.error(count.id, message, "too small or too large");
    }
    count.value
}

/// A number of bytes within bounds.
pub(super) fn size(
    context: &mut Context<'_>,
    written: Option<&At<Size>>,
    default: u32,
    (least, most): (u64, u64),
) -> u32 {
    let Some(size) = written else { return default };
    if !(least..=most).contains(&size.value.0) {
        let (name, shown) = (context.tree.name(size.id), context.quote(size.id));
        let message = format!("`{name}` must lie between {least} and {most} bytes, and is {shown}");
        context.error(size.id, message, "too small or too large");
    }
    u32::try_from(size.value.0).unwrap_or(default)
}

/// TLS that offers it too, ahead of HTTP/1.1.
pub(super) fn offered(mut tls: ListenerTls, is_on: bool) -> ListenerTls {
    if is_on {
        tls.options.alpn.insert(0, b"h2".to_vec());
    }
    tls
}
