//! HTTP/3 from those who mean no good.

use lb_testkit::{Backend, PATIENCE, eventually};

use super::{LISTENER, run, start};
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
                    # To reset one beyond the bound would be another offence: STREAM_LIMIT_ERROR.
                    while client._quic._streams_blocked_bidi and not client.terminated:
                        client.transmit()
                        await asyncio.sleep(0.001)
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

#[test]
fn fields_that_are_small_packed_and_large_unpacked_are_counted_unpacked() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    let script = "
from aioquic.buffer import Buffer
def headers(section):
    buffer = Buffer(capacity=16)
    buffer.push_uint_var(1)
    buffer.push_uint_var(len(section))
    return buffer.data + section
# GET, https, /, and an authority; then the longest line of the static table, two bytes each.
HEAD = bytes([0, 0, 0xc0 | 17, 0xc0 | 23, 0xc0 | 1, 0x50, 1]) + b'a'
async def main():
    for section in [HEAD + bytes([0xff, 85 - 63]) * 30_000, HEAD + bytes([0xff, 85 - 63]) * 600]:
        async with connected() as client:
            for _ in range(20):
                stream = client._quic.get_next_available_stream_id()
                client._quic.send_stream_data(stream, headers(section), True)
                client.transmit()
                got = client.stream(stream)
                await client.until('an end', lambda: client.terminated or got.over or got.stopped is not None)
                assert got.status in (431, None), got.heads
                if client.terminated:
                    break
    # Lines of a dynamic table, which nobody has asked for; in the head, and as instructions.
    async with connected() as client:
        stream = client._quic.get_next_available_stream_id()
        client._quic.send_stream_data(stream, headers(bytes([5, 0, 0x80])), True)
        client.transmit()
        await client.until('an end', lambda: client.terminated)
        assert client.terminated.error_code == 0x200, client.terminated
    async with connected() as client:
        encoder = client._quic.get_next_available_stream_id(is_unidirectional=True)
        client._quic.send_stream_data(encoder, b'\\x02' + b'\\x3f\\xe1\\xff\\x03' + b'\\x41a\\x7f\\x81\\x10' * 1000 + b'x' * 100_000)
        client.transmit()
        for _ in range(5):
            if client.terminated:
                break
            assert (await client.get('/fine')).status == 200 or client.terminated
    async with connected() as client:
        assert (await client.get('/fine')).status == 200
run(main)
";
    run(&gateway, script);
    // Buffers are about as large by then as they become. Were the fields kept unpacked, it would be a hundred megabytes a run.
    let before = gateway.resident_bytes();
    run(&gateway, script);
    assert!(gateway.resident_bytes() < before + (32 << 20));
    assert!(backend.requests().iter().all(|request| request.target == "/fine"));
    assert!(!gateway.errors().contains("panicked"), "{}", gateway.errors());
}

#[test]
fn whoever_does_not_show_its_address_gets_little_and_holds_up_nobody() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        "
import time
from aioquic.quic.connection import QuicConnection
def first_packets():
    configuration = QuicConfiguration(is_client=True, alpn_protocols=['h3'], server_name='localhost')
    quic = QuicConnection(configuration=configuration)
    quic.connect((HOST, PORT), now=time.time())
    return [data for data, _ in quic.datagrams_to_send(now=time.time())]
def ask(count):
    sockets = []
    for _ in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sent = 0
        for data in first_packets():
            sent += sock.sendto(data, (HOST, PORT))
        sock.setblocking(False)
        sockets.append((sock, sent))
    return sockets
def answers(sock):
    got = []
    while True:
        try:
            got.append(sock.recv(65536))
        except BlockingIOError:
            return got
async def main():
    silent = ask(100)
    await asyncio.sleep(2)
    kinds = []
    for sock, sent in silent:
        got = answers(sock)
        # quinn begins a last datagram while anything of three times as much is left.
        assert sum(map(len, got)) <= 3 * sent + 1452, (sent, [len(data) for data in got])
        kinds.append([data[0] & 0x30 == 0x30 for data in got])
    assert not any(kinds[0]), 'the first ones are believed'
    assert any(kinds[-1]) and len(kinds[-1]) == 1, 'the later ones are asked to come again: %r' % kinds[-1]
    async with connected() as client:
        assert client._quic._retry_source_connection_id is not None, 'so is everybody then'
        assert (await client.get('/fine')).status == 200, 'and is served'
run(main)
",
    );
    assert_eq!(backend.hits(), 1);
}

#[test]
fn more_streams_than_may_be_open_wait_and_those_that_stand_still_are_let_go() {
    let backend = Backend::echo("b");
    let listener = LISTENER.replace("http3 = true", "http3 = { max_concurrent_streams = 16 }");
    let gateway = crate::support::gateway(&format!(
        "{listener}header_timeout = \"1s\"\n{}",
        rule("idle_timeout = \"1s\"", &[&backend])
    ));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        stalled = [client.open('POST', '/stalled', fields=[('content-length', '10')], end=False) for _ in range(40)]
        late = client.open('GET', '/late')
        await asyncio.sleep(0.3)
        assert client.stream(late).status is None, 'there is no room for it yet'
        got = await client.answer(late)
        assert got.status == 200, (got.heads, got.reset)
        for stream in stalled:
            got = client.stream(stream)
            await client.until('an end', lambda: got.over or got.stopped is not None)
            assert got.status in (408, None), got.heads
    async with connected() as client:
        for _ in range(16):
            stream = client._quic.get_next_available_stream_id()
            client._quic.send_stream_data(stream, b'\\x01\\x40')
        client.transmit()
        late = client.open('GET', '/late')
        got = await client.answer(late)
        assert got.status == 200, 'heads that do not come are let go as well: %r' % got.reset
run(main)
",
    );
    assert!(backend.requests().iter().all(|request| request.target == "/late"));
}

#[test]
fn heads_that_are_late_are_no_answers_and_requests_without_an_end_have_theirs() {
    let backend = Backend::echo("b");
    let listener = LISTENER.replace("http3 = true", "http3 = true\nheader_timeout = \"500ms\"");
    let gateway = crate::support::gateway(&format!("{listener}{}", rule("", &[&backend])));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        late = client._quic.get_next_available_stream_id()
        client._quic.send_stream_data(late, b'\\x01\\x20ab')
        client.transmit()
        got = await client.answer(late)
        assert got.reset == 0x10d and got.stopped == 0x10d, (got.reset, got.stopped, got.ended, got.heads)
        # A tunnel that nobody makes, and a request of which only its stream's end would tell that it has no body.
        tunnel = client._quic.get_next_available_stream_id()
        client.head(tunnel, [(':method', 'CONNECT'), (':authority', 'a.example:443')], False)
        endless = client.open('GET', '/endless', end=False)
        for stream, status in [(tunnel, 405), (endless, 200)]:
            if stream == endless:
                await asyncio.sleep(1)
                client.send(endless, b'', True)
            got = await client.answer(stream)
            assert got.status == status, (got.heads, got.reset)
run(main)
",
    );
}
