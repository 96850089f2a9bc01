//! A client's bytes of HTTP/2: where they are cut changes nothing, and whatever comes is answered, refused or waited for.
#![no_main]

use std::task::{Context, Poll, Waker};

use lb_h1::HeadLimits;
use lb_h2::{Connection, Http2Limits, Opening, PREFACE, ServerStream};
use libfuzzer_sys::fuzz_target;

/// What a server says to it, and the bodies that it has read.
fn served(data: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
    let connection = Connection::server(&Http2Limits::default(), 8 << 10);
    let (mut said, mut bodies, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    let mut is_over = connection.receive(PREFACE).is_err();
    for piece in data.chunks(size) {
        is_over |= connection.receive(piece).is_err();
    }
    while let Some(accepted) = connection.accept() {
        if let Ok((stream, opening)) = ServerStream::open(accepted, &HeadLimits::default()) {
            assert!(!matches!(&opening, Opening::Head(head) if head.headers.received().is_empty()));
            streams.push(stream);
        }
    }
    for stream in &mut streams {
        let mut room = [0; 4096];
        while let Poll::Ready(Ok(count @ 1..)) = stream.poll_read(&mut cx, &mut room) {
            bodies.extend_from_slice(&room[..count]);
        }
    }
    connection.with_pending(|bytes| {
        said.extend_from_slice(bytes);
        (bytes.len(), ())
    });
    assert!(!is_over || connection.is_done());
    (said, bodies)
}

fuzz_target!(|data: &[u8]| {
    let whole = served(data, data.len().max(1));
    assert_eq!(whole, served(data, 1));
    assert_eq!(whole, served(data, 7));
});
