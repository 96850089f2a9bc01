//! WebSocket over HTTP/3 (RFC 9220) to backends of HTTP/1.1: by the byte, and with libraries on both sides.

use std::time::Duration;

use lb_testkit::{Backend, PATIENCE, WEBSOCKET_DIALOGUE, eventually};

use super::{client, run, said, start};
use crate::support::websocket::{AGREED, Library, echo};
use crate::support::{gateway, rule};

const STATUS_LISTENER: &str = "[[listeners]]\nname = \"web\"\naddress = \"{listen}\"\ntls = \"self-signed\"\nhttp3 = true\nstatus_endpoints = true\n\
    [[listeners]]\naddress = \"{listen2}\"\nstatus_endpoints = true\n";

#[test]
fn bytes_pass_both_ways_until_both_sides_have_said_all() {
    let backend = Backend::scripted(echo);
    let gateway =
        gateway(&format!("{STATUS_LISTENER}{}", rule("name = \"r\"\npath = \"/chat\"", &[&backend])));
    run(
        &gateway,
        "
import json
async def main():
    async with connected() as client:
        async def active():
            page = json.loads((await client.get('/proxy-status')).body)
            return page['upstreams'][0]['backends'][0]['active_connections']
        await client.get('/health')
        assert client.h3.received_settings[0x8] == 1, client.h3.received_settings
        stream = client.extended('/chat?x=1', fields=[('sec-websocket-protocol', 'chat')])
        got = client.stream(stream)
        await client.until('an answer', lambda: got.heads)
        assert got.status == 200 and not got.ended, got.heads
        fields = got.fields()
        assert fields['sec-websocket-protocol'] == 'chat' and fields['x-request-id'], fields
        assert not {'sec-websocket-accept', 'connection', 'upgrade', 'content-length'} & set(fields), fields
        client.send(stream, b'hello')
        await client.until('an echo', lambda: got.body == b'hello')
        client.send(stream, bytes([0, 255, 10]))
        await client.until('an echo', lambda: got.body == b'hello' + bytes([0, 255, 10]))
        assert await active() == 1
        client.send(stream, b'last', True)
        got = await client.answer(stream)
        assert got.ended and got.body[8:] == b'lastbye', 'its end passes on, and so does that of the backend: %r' % got.body
        for _ in range(100):
            if await active() == 0:
                break
            await asyncio.sleep(0.05)
        assert await active() == 0
run(main)
",
    );
    let seen = backend.requests().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/chat?x=1"));
    for (name, value) in [
        ("host", "a.example"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let key = seen.header("sec-websocket-key").unwrap_or_default();
    assert!(key.len() == 24 && key.ends_with("=="), "16 bytes: {key}");
}

#[test]
fn a_refusal_is_an_answer_like_any_other_and_success_without_a_switch_is_none() {
    let (refuses, pages) =
        (Backend::fixed("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), Backend::echo("b"));
    let gateway = start(&format!("{}{}", rule("path = \"/no\"", &[&refuses]), rule("", &[&pages])));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        for _ in range(2):
            got = await client.answer(client.extended('/no'))
            assert got.status == 403 and got.body == b'no' and got.ended, (got.heads, got.body)
        got = await client.answer(client.extended('/'))
        assert got.status == 502 and b'upstream_reset' in got.body, (got.heads, got.body)
        got = await client.answer(client.extended('/', protocol='webtransport'))
        assert got.status == 502, got.heads
run(main)
",
    );
}

#[test]
fn what_is_no_extended_connect_is_refused() {
    let backend = Backend::scripted(echo);
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        "
CONNECT = [(':method', 'CONNECT'), (':protocol', 'websocket'), (':scheme', 'https'), (':authority', 'a'), (':path', '/')]
BAD = [
    CONNECT + [('content-length', '3')],
    CONNECT + [('connection', 'upgrade')],
    CONNECT[:4],
    CONNECT[:2] + CONNECT[3:],
    [(':method', 'GET')] + CONNECT[1:],
    CONNECT[:1] + [(':protocol', 'web socket')] + CONNECT[2:],
    CONNECT[:1] + [(':protocol', 'websocket,other')] + CONNECT[2:],
    CONNECT[:2] + CONNECT[1:],
]
async def main():
    for fields in BAD:
        async with connected() as client:
            stream = client._quic.get_next_available_stream_id()
            client.head(stream, fields, False)
            client.transmit()
            got = await client.answer(stream)
            assert client.terminated or got.reset is not None or got.status >= 400, (fields, got.heads, got.reset)
run(main)
",
    );
    assert_eq!(backend.hits(), 0);
}

#[test]
fn a_side_that_breaks_ends_the_other() {
    let breaking = Backend::scripted(|conn| {
        conn.request();
        conn.reply(AGREED);
        conn.read_exact(1).unwrap();
        conn.reset();
    });
    let holding = Backend::scripted(echo);
    let gateway = start(&format!("{}{}", rule("path = \"/breaks\"", &[&breaking]), rule("", &[&holding])));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        stream = client.extended('/breaks')
        await client.until('an answer', lambda: client.stream(stream).heads)
        client.send(stream, b'x')
        got = await client.answer(stream)
        assert not got.ended and got.reset == 0x10c, (got.ended, got.reset)
        stream = client.extended('/')
        await client.until('an answer', lambda: client.stream(stream).heads)
        client._quic.reset_stream(stream, 0x10c)
        client.transmit()
        got = await client.answer(stream)
        assert not got.ended, got.body
        assert (await client.get('/page')).status == 200
run(main)
",
    );
    eventually("the backend is let go", PATIENCE, || holding.open_connections() == 0);
}

#[test]
fn silence_has_a_bound_of_its_own_and_no_other() {
    let backend = Backend::scripted(echo);
    let timeouts = "timeout = \"200ms\"\nidle_timeout = \"200ms\"\ntunnel_timeout = \"3s\"";
    let listener = super::LISTENER.to_owned() + "keep_alive_timeout = \"600ms\"\n";
    let gateway = gateway(&format!("{listener}{}", rule(timeouts, &[&backend])));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        stream = client.extended('/')
        got = client.stream(stream)
        await client.until('an answer', lambda: got.heads)
        await asyncio.sleep(2)
        client.send(stream, b'still there')
        await client.until('an echo', lambda: got.body == b'still there')
        got = await client.answer(stream)
        assert not got.ended and got.reset == 0x10c, (got.ended, got.reset, client.terminated)
run(main)
",
    );
    eventually("the side of the backend is closed too", PATIENCE, || backend.open_connections() == 0);
}

#[test]
fn neither_side_is_read_faster_than_the_other_takes() {
    let flooding = Backend::scripted(|conn| {
        conn.request();
        conn.reply(AGREED);
        while conn.try_send([b'x'; 64 << 10]).is_ok() {}
    });
    let deaf = Backend::scripted(|conn| {
        conn.request();
        conn.reply(AGREED);
        std::thread::sleep(Duration::from_secs(4));
    });
    let gateway = start(&format!("{}{}", rule("path = \"/flood\"", &[&flooding]), rule("", &[&deaf])));
    let before = gateway.resident_bytes();
    run(
        &gateway,
        "
async def main():
    async with connected(max_stream_data=70_000) as client:
        write, client._quic._write_stream_limits = client._quic._write_stream_limits, lambda *a, **k: None
        flood = client.extended('/flood')
        await client.until('an answer', lambda: client.stream(flood).heads)
        deaf = client.extended('/deaf')
        await client.until('an answer', lambda: client.stream(deaf).heads)
        for _ in range(64):
            client.send(deaf, b'y' * (1 << 20))
        await asyncio.sleep(2)
        got = len(client.stream(flood).body)
        assert 0 < got <= 70_000, got
run(main)
",
    );
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes more than before");
    eventually("both are let go", PATIENCE, || flooding.open_connections() + deaf.open_connections() == 0);
}

#[test]
fn it_outlives_a_reload_and_a_drain_waits_for_it() {
    let backend = Backend::scripted(echo);
    let mut gateway = start(&rule("", &[&backend]));
    let child = client(
        &gateway,
        "
async def main():
    async with connected() as client:
        stream = client.extended('/')
        got = client.stream(stream)
        async def echoes(text):
            before = len(got.body)
            client.send(stream, text)
            await client.until('an echo of %r' % text, lambda: got.body[before:] == text or got.over)
            assert not got.over, (got.reset, text)
        await client.until('an answer', lambda: got.heads)
        await echoes(b'first')
        for number in range(20):
            await echoes(b'reloaded %d' % number)
            await asyncio.sleep(0.1)
        await client.until('a goodbye', lambda: client.goaways() > 0)
        await echoes(b'draining')
        client.send(stream, b'', True)
        got = await client.answer(stream)
        assert got.ended and got.body.endswith(b'bye'), (got.reset, got.body)
run(main)
",
    );
    eventually("it is open", PATIENCE, || backend.hits() == 1);
    for _ in 0..3 {
        gateway.write_config(&format!("{}{}", super::LISTENER, rule("name = \"other\"", &[&backend])));
        gateway.signal("HUP");
        std::thread::sleep(Duration::from_millis(300));
    }
    std::thread::sleep(Duration::from_secs(2));
    gateway.sigterm();
    said(child);
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    assert!(!gateway.errors().contains("panicked"), "{}", gateway.errors());
}

#[test]
fn a_websocket_library_is_content() {
    let server = Library::start();
    let gateway = gateway(&format!(
        "{STATUS_LISTENER}[[rules]]\nname = \"r\"\npath = \"/chat\"\nbackends = [\"{}\"]\n",
        server.address()
    ));
    let told = run(
        &gateway,
        &format!(
            "{WEBSOCKET_DIALOGUE}
async def main():
    async with connected() as client:
        stream = client.extended('/chat', fields=[('sec-websocket-protocol', 'chat')])
        raw, dialogue = client.stream(stream), Dialogue(10_000)
        await client.until('an answer', lambda: raw.heads)
        assert raw.status == 200 and raw.fields()['sec-websocket-protocol'] == 'chat', raw.heads
        for piece in dialogue.steps():
            if piece is not None:
                client.send(stream, piece)
                continue
            await client.until('a frame', lambda: raw.body or raw.over)
            assert not raw.over, raw.reset
            came, raw.body = raw.body, b''
            dialogue.take(came)
        client.send(stream, b'', True)
        got = await client.answer(stream)
        assert got.ended, got.reset
        print(dialogue.closed)
run(main)
"
        ),
    );
    assert_eq!(told, "4001 as asked");
    eventually("its place is given back", PATIENCE, || {
        let status = lb_testkit::fetch(gateway.address_of("listen2"), "GET", "/proxy-status", &[]).json();
        status["upstreams"][0]["backends"][0]["active_connections"] == 0
    });
}
