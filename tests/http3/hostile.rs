//! HTTP/3 from those who mean no good.

use lb_testkit::{Backend, PATIENCE, eventually};

use super::{run, start};
use crate::support::rule;

#[test]
fn heads_that_are_malformed_reach_nobody() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        "
PSEUDO = [(':method', 'GET'), (':scheme', 'https'), (':authority', 'a.example'), (':path', '/')]
BAD = [
    PSEUDO + [('connection', 'close')],
    PSEUDO + [('transfer-encoding', 'chunked')],
    PSEUDO + [('upgrade', 'websocket')],
    PSEUDO + [('te', 'gzip')],
    PSEUDO + [('host', 'b.example')],
    PSEUDO + [('Upper', '1')],
    PSEUDO + [('x y', '1')],
    PSEUDO + [('x', 'a\\r\\nb: c')],
    PSEUDO + [(':odd', '1')],
    PSEUDO[:3],
    PSEUDO[1:],
    [PSEUDO[0], PSEUDO[1], PSEUDO[3]],
    [PSEUDO[0], (':scheme', 'gopher'), PSEUDO[2], PSEUDO[3]],
    PSEUDO + [('content-length', '3')],
    PSEUDO + [('content-length', 'x')],
    PSEUDO + [('content-length', '0'), ('content-length', '1')],
    [(':method', 'CONNECT'), (':protocol', 'unheard-of')] + PSEUDO[1:],
]
async def main():
    import aioquic.h3.connection as h3
    h3.validate_headers = lambda *a, **k: None
    for fields in BAD:
        async with connected() as client:
            stream = client._quic.get_next_available_stream_id()
            client.head(stream, fields, True)
            client.transmit()
            got = await client.answer(stream)
            assert client.terminated or got.reset is not None or got.status == 400, (fields, got.heads, got.reset)
    async with connected() as client:
        for length in ['2', '9']:
            got = await client.answer(client.open('POST', '/', fields=[('content-length', length)], body=b'four'))
            assert got.status is None and got.reset is not None or got.status == 400, (length, got.heads)
        assert (await client.get('/fine')).status == 200
run(main)
",
    );
    let whole: Vec<_> = backend.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(whole, ["/fine"]);
}

#[test]
fn heads_that_are_too_large_are_told_so() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        got = await client.get('/', fields=[('x-long', 'x' * 4_000)] * 10)
        assert got.status == 431 and b'headers_too_large' in got.body, (got.heads, got.body)
        got = await client.get('/', fields=[('x-%d' % number, '1') for number in range(200)])
        assert got.status == 431 and b'headers_too_large' in got.body, (got.heads, got.body)
        got = await client.get('/', fields=[('x-long', 'x' * 4_000)] * 80)
        assert got.status in (431, None), got.heads
        if not client.terminated:
            assert (await client.get('/')).status == 200
run(main)
",
    );
    gateway.log_line("it is logged", |line| line["status_code"] == 431);
}

#[test]
fn frames_that_are_unknown_are_passed_over_and_endless_ones_are_not_gathered() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    run(
        &gateway,
        "
from aioquic.buffer import Buffer
def frame(kind, length, payload):
    buffer = Buffer(capacity=32)
    buffer.push_uint_var(kind)
    buffer.push_uint_var(length)
    return buffer.data + payload
async def main():
    async with connected() as client:
        stream = client._quic.get_next_available_stream_id()
        client._quic.send_stream_data(stream, frame(0x21, 5, b'hello') + frame(0xabcd, 0, b''))
        client.head(stream, [(':method', 'GET'), (':scheme', 'https'), (':authority', 'a'), (':path', '/')], True)
        client.transmit()
        assert (await client.answer(stream)).status == 200
    for kind in [0x21, 0x1, 0x41]:
        async with connected() as client:
            stream = client._quic.get_next_available_stream_id()
            client._quic.send_stream_data(stream, frame(kind, 1 << 30, b'x' * 60_000))
            client.transmit()
            got = client.stream(stream)
            await client.until('an end', lambda: client.terminated or got.over or got.stopped is not None)
    async with connected() as client:
        stream = client.open('POST', '/cut', end=False)
        client._quic.send_stream_data(stream, frame(0, 100, b'half'))
        client.transmit()
        await asyncio.sleep(0.2)
        client._quic.send_stream_data(stream, b'', True)
        client.transmit()
        got = await client.answer(stream)
        assert client.terminated or got.reset is not None, got.heads
        async with connected() as other:
            assert (await other.get('/fine')).status == 200
run(main)
",
    );
    assert!(gateway.resident_bytes() < before + (20 << 20));
    assert!(!gateway.errors().contains("panicked"), "{}", gateway.errors());
    let whole = |target: &str| backend.requests().iter().any(|request| request.target == target);
    assert!(whole("/fine") && !whole("/cut"), "a body that was cut is not passed for the whole");
}

#[test]
fn a_flood_of_streams_that_are_thrown_away_is_cut_off_and_others_are_served() {
    let backend = Backend::slow("b", std::time::Duration::from_millis(20));
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        "
async def main():
    async with connected() as other, connected() as client:
        opened = 0
        while not client.terminated and opened < 20_000:
            try:
                for _ in range(20):
                    stream = client.open('GET', '/flood')
                    client._quic.reset_stream(stream, 0x10c)
                    client._quic.stop_stream(stream, 0x10c)
                    opened += 1
            except Exception:
                break
            client.transmit()
            await asyncio.sleep(0.002)
        await client.until('the end', lambda: client.terminated)
        assert client.terminated.error_code == 0x107, client.terminated
        assert (await other.get('/fine')).status == 200
run(main)
",
    );
    assert!(backend.hits() < 1000, "{} requests reached the backend", backend.hits());
}

#[test]
fn bodies_and_readers_that_stand_still_have_their_time() {
    let body = "x".repeat(8 << 20);
    let large = Backend::fixed(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let backend = Backend::echo("b");
    let idle = "idle_timeout = \"500ms\"";
    let gateway = start(&format!(
        "{}{}",
        rule(&format!("path = \"/large\"\n{idle}"), &[&large]),
        rule(idle, &[&backend])
    ));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        slow = client.open('POST', '/slow', fields=[('content-length', '100')], end=False)
        client.send(slow, b'a')
        got = await client.answer(slow)
        assert got.status == 408 or got.reset is not None, (got.heads, got.reset)
    async with connected(max_stream_data=70_000) as client:
        client._quic._local_max_stream_data_bidi_local = 70_000
        write = client._quic._write_stream_limits
        client._quic._write_stream_limits = lambda *a, **k: None
        reading = client.open('GET', '/large')
        got = await client.answer(reading)
        assert got.reset is not None and not got.ended, (len(got.body), got.reset)
run(main)
",
    );
    eventually("the backend is let go", PATIENCE, || large.open_connections() == 0);
}

#[test]
fn whatever_comes_by_udp_is_borne() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 20, 1200, 1472, 9000] {
        for first in [0x00_u8, 0x40, 0xc0, 0xff] {
            let mut packet = vec![0x5a_u8; length];
            if let Some(byte) = packet.first_mut() {
                *byte = first;
            }
            let _ = socket.send_to(&packet, gateway.address());
        }
    }
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        assert (await client.get('/')).status == 200
run(main)
",
    );
}
