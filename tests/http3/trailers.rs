//! Trailers behind bodies whose length was told (RFC 9114 §4.1), between clients of HTTP/3 and backends of HTTP/2.

use std::net::TcpListener;

use super::{LISTENER, client, said};
use crate::http2::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, block};
use crate::support::launch;

#[test]
fn they_pass_both_ways_however_late_they_come() {
    for pause in [0, 200] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let rules = format!("[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n");
        let gateway = launch().config(&format!("[server]\nworkers = 1\n{LISTENER}{rules}")).start();
        let pause = std::time::Duration::from_millis(pause);
        let asking = client(
            &gateway,
            &format!(
                "
async def main():
    async with connected() as client:
        up = client.open('POST', '/', fields=[('content-length', '3')], end=False)
        client.send(up, b'abc')
        await asyncio.sleep({})
        client.head(up, [('x-asked', '7')], True)
        client.transmit()
        got = await client.answer(up)
        assert got.body == b'hello' and got.trailers == {{'x-told': '8'}}, (got.heads, got.body, got.reset)
        assert got.fields(0)['content-length'] == '5', got.heads
        # An end that comes by itself, and a body without one.
        for path in ['/2', '/3']:
            got = await client.get(path)
            assert got.ended and got.trailers is None and got.body == b'ok', (got.heads, got.body)
run(main)
",
                pause.as_secs_f32()
            ),
        );
        let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
        let mut kinds = Vec::new();
        let mut trailers = Vec::new();
        while !kinds.last().is_some_and(|(_, is_last)| *is_last) {
            let frame = backend.until("the request", |frame| frame.stream == 1 && frame.kind <= HEADERS);
            kinds.push((frame.kind, frame.ends_stream()));
            trailers = frame.payload;
        }
        assert_eq!(kinds.last(), Some(&(HEADERS, true)), "{kinds:?}");
        assert!(trailers.windows(7).any(|piece| piece == b"x-asked"));
        let head = |length| [&[0x88], &block(&[("content-length", length)])[..]].concat();
        backend.send(HEADERS, END_HEADERS, 1, &head("5"));
        backend.send(DATA, 0, 1, b"hel");
        backend.send(DATA, 0, 1, b"lo");
        std::thread::sleep(pause);
        backend.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("x-told", "8")]));
        for stream in [3, 5] {
            backend.until("another request", |frame| frame.stream == stream && frame.kind == HEADERS);
            backend.send(HEADERS, END_HEADERS, stream, &head("2"));
            backend.send(DATA, if stream == 5 { END_STREAM } else { 0 }, stream, b"ok");
            if stream == 3 {
                std::thread::sleep(pause);
                backend.send(DATA, END_STREAM, stream, b"");
            }
        }
        said(asking);
    }
}
