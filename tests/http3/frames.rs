//! Frames of HTTP/3 as clients may cut them, and what it costs who cuts them small.

use lb_testkit::{Backend, PATIENCE, eventually};

use super::{client, run, said, start};
use crate::support::rule;

/// Frames by their kind and what is in them.
const FRAME: &str = "
from aioquic.buffer import Buffer
def frame(kind, payload, length=None):
    buffer = Buffer(capacity=32)
    buffer.push_uint_var(kind)
    buffer.push_uint_var(len(payload) if length is None else length)
    return buffer.data + payload
";

#[test]
fn empty_frames_of_data_are_no_end() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        &format!(
            "{FRAME}
async def main():
    async with connected() as client:
        for method, fields in [('POST', []), ('POST', [('content-length', '4')]), ('DELETE', []), ('GET', [])]:
            body = [] if method == 'GET' else [b'fo', b'', b'', b'ur']
            pieces = [frame(0, part) for part in [b''] + body + [b'']]
            for sent in [pieces, [b''.join(pieces)], [bytes([byte]) for byte in b''.join(pieces)]]:
                stream = client.open(method, '/' + method, fields=fields, end=False)
                for piece in sent:
                    if client.stream(stream).stopped is not None:
                        break
                    client._quic.send_stream_data(stream, piece)
                    client.transmit()
                    await asyncio.sleep(0.002)
                if client.stream(stream).stopped is None:
                    client._quic.send_stream_data(stream, b'', True)
                    client.transmit()
                got = await client.answer(stream)
                assert got.status == 200, (method, fields, got.heads, got.reset, client.terminated)
run(main)
"
        ),
    );
    for request in backend.requests() {
        let expected = if request.method == "GET" { "" } else { "four" };
        assert_eq!(request.text(), expected, "{}", request.method);
    }
}

/// A body of which each byte has a frame of its own takes the gateway longer than it takes a client to send it.
#[test]
fn frames_that_are_not_used_yet_are_left_to_the_windows() {
    let backend = Backend::scripted(|conn| {
        conn.request_head();
        while conn.read_some(1 << 16).is_ok_and(|bytes| !bytes.is_empty()) {}
    });
    let gateway = start(&rule("", &[&backend]));
    // Everything has the size that it comes to in use.
    let small = |megabytes: usize| {
        format!(
            "
async def main():
    async with connected() as client:
        stream = client.open('POST', '/', end=False)
        piece = b'\\x00\\x01x' * 20_000
        for _ in range({megabytes} * 1_000_000 // len(piece)):
            client._quic.send_stream_data(stream, piece)
            client.transmit()
            sender = client._quic._streams[stream].sender
            while len(sender._buffer) > 200_000 and not client.terminated:
                await asyncio.sleep(0.001)
        while sender._buffer and not client.terminated:
            await asyncio.sleep(0.01)
        assert not client.terminated, client.terminated
run(main)
"
        )
    };
    run(&gateway, &small(1));
    let before = gateway.resident_bytes();
    let sending = client(&gateway, &small(20));
    let mut sending = Some(sending);
    let mut most = before;
    while let Some(mut child) = sending.take() {
        most = most.max(gateway.resident_bytes());
        match child.try_wait().unwrap() {
            Some(_) => drop(said(child)),
            None => sending = Some(child),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(most < before + (6 << 20), "{} KiB more", (most - before) >> 10);
}

#[test]
fn a_frame_that_comes_byte_by_byte_takes_the_room_that_it_needs() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("", &[&backend]));
    let trickle = format!(
        "{FRAME}
async def trickle(client, stream, data):
    for byte in data:
        client._quic.send_stream_data(stream, bytes([byte]))
        client.transmit()
        await asyncio.sleep(0)
async def main():
    async with connected() as client:
        # Behind a head, and on the stream of control.
        streams = [client.open('POST', '/', end=False) for _ in range(4)]
        control = client.h3._local_control_stream_id
        pieces = [frame(0x21, b'x' * 1500, 60_000)] * 2 + [frame(1, b'x' * 1500, 60_000)] * 2
        await asyncio.gather(*[trickle(client, stream, piece) for stream, piece in zip(streams, pieces)],
                             trickle(client, control, frame(0x21, b'x' * 1500, 60_000)))
        print('sent', flush=True)
        await asyncio.sleep(1)
        assert not client.terminated, client.terminated
    async with connected() as other:
        assert (await other.get('/fine')).status == 200
run(main)
"
    );
    let before = gateway.resident_bytes();
    let mut sending = Some(client(&gateway, &trickle));
    let mut most = before;
    while let Some(mut child) = sending.take() {
        most = most.max(gateway.resident_bytes());
        match child.try_wait().unwrap() {
            Some(_) => assert_eq!(said(child), "sent"),
            None => sending = Some(child),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(most < before + (24 << 20), "{} KiB more", (most - before) >> 10);
    eventually("the backend is let go", PATIENCE, || backend.open_connections() <= 1);
}

/// What a client has been sent is not what it has got: a way that is slow has some of it for seconds.
#[test]
fn the_last_of_an_answer_arrives_by_a_slow_way_also_where_the_client_is_told_to_go() {
    let body = "x".repeat(900_000);
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let backend = Backend::fixed(large);
    let mut gateway = start(&rule("", &[&backend]));
    let folder = tempfile::TempDir::new().unwrap();
    let begun = folder.path().join("begun");
    let mut child = client(
        &gateway,
        &format!(
            "
BEGUN = '{}'
class Way(asyncio.DatagramProtocol):
    def __init__(self, to):
        self.to = to
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        self.to(data, address)
async def main():
    loop, there, waiting = asyncio.get_running_loop(), [], asyncio.Queue()
    _, near = await loop.create_datagram_endpoint(
        lambda: Way(lambda data, address: (there.append(address), far.transport.sendto(data))), local_addr=(HOST, 0))
    _, far = await loop.create_datagram_endpoint(
        lambda: Way(lambda data, address: waiting.qsize() < 60 and waiting.put_nowait(data)), remote_addr=(HOST, PORT))
    async def carry():
        while True:
            for _ in range(10):
                near.transport.sendto(await waiting.get(), there[-1])
            await asyncio.sleep(0.12)
    carrying = asyncio.create_task(carry())
    globals()['PORT'] = near.transport.get_extra_info('sockname')[1]
    async with connected(max_data=8_000_000, max_stream_data=8_000_000) as client:
        large = client.open('GET', '/')
        await client.until('a beginning', lambda: client.stream(large).body)
        open(BEGUN, 'w').close()
        got = await client.answer(large)
        assert got.ended and len(got.body) == 900_000, (len(got.body), got.reset, client.terminated)
run(main)
",
            begun.display()
        ),
    );
    eventually("it has begun", PATIENCE, || begun.exists() || child.try_wait().unwrap().is_some());
    gateway.sigterm();
    said(child);
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}
