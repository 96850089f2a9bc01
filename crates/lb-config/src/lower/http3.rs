//! HTTP/3 of a listener: bounds, and what clients are told of it.

use lb_http::config::Http3Limits;

use super::Context;
use super::http2::{CONNECTION_WINDOWS, STREAM_WINDOWS, size, streams};
use crate::written::listener::{Http3, Listener};
use crate::written::values::SwitchOr;

/// The bounds; `None` where it is off, or wrong.
pub(super) fn limits(context: &mut Context<'_>, listener: &Listener) -> Option<Http3Limits> {
    let written = listener.http3.as_ref()?;
    let none = Http3::default();
    let table = match &written.value {
        SwitchOr::Switch(false) => return None,
        SwitchOr::Switch(true) => &none,
        SwitchOr::Table(table) if table.enabled == Some(false) => return None,
        SwitchOr::Table(table) => table,
    };
    if listener.tls.is_none() {
        context
            .error_at_key(written.id, "HTTP/3 is spoken by TLS alone, and this listener has none", "no `tls`")
            .help("add `tls = { cert = \"…\", key = \"…\" }`, or \"self-signed\" for trials");
        return None;
    }
    if let Some(proxied) = &listener.proxy_protocol
        && !matches!(&proxied.value, SwitchOr::Switch(false))
        && !matches!(&proxied.value, SwitchOr::Table(table) if table.enabled == Some(false))
    {
        context
            .error_at_key(
                written.id,
                "HTTP/3 has no connections of TCP that a PROXY header could begin",
                "not here",
            )
            .help("remove it, or `proxy_protocol`");
        return None;
    }
    if listener.forward_proxy.is_some() {
        context
            .error_at_key(written.id, "a forward proxy speaks HTTP/1.1 alone", "not here")
            .help("remove it, or give HTTP/3 a listener of its own");
        return None;
    }
    let default = Http3Limits::default();
    let advertised_port = table.advertised_port.as_ref().and_then(|port| {
        let number = u16::try_from(port.value).ok().filter(|number| *number > 0);
        if number.is_none() {
            let message = format!("`advertised_port` must lie between 1 and 65535, and is {}", port.value);
            context.error(port.id, message, "not a port");
        }
        number
    });
    Some(Http3Limits {
        max_streams: streams(context, table.max_concurrent_streams.as_ref(), default.max_streams),
        stream_window: size(context, table.stream_window.as_ref(), default.stream_window, STREAM_WINDOWS),
        connection_window: size(
            context,
            table.connection_window.as_ref(),
            default.connection_window,
            CONNECTION_WINDOWS,
        ),
        max_resets: table.max_resets_per_minute.as_ref().map_or(default.max_resets, |count| count.value),
        advertised_port,
        advertised_for: table.advertised_for.map_or(default.advertised_for, |time| time.0),
    })
}
