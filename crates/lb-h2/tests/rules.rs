//! What RFC 9113 says a server has to make of frames, rule by rule, in the order of its sections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod frames;

use frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING, POST, PRIORITY,
    PRIORITY_FLAG, PUSH_PROMISE, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, setting,
};
use lb_h2::Reason;

/// What becomes of the last frames that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection is over, for this reason.
    Connection(Reason),
    /// The stream is.
    Stream(u32, Reason),
    /// Neither.
    None,
}

fn end(peer: &mut Peer) -> End {
    let said = peer.said();
    let reason = |frame: &frames::Frame| {
        Reason(u32::from_be_bytes(frame.payload[frame.payload.len() - 4..].try_into().unwrap()))
    };
    if let Some(frame) = said.iter().find(|frame| frame.kind == GOAWAY) {
        return End::Connection(reason(frame));
    }
    match said.iter().find(|frame| frame.kind == RST_STREAM) {
        Some(frame) => End::Stream(frame.stream, reason(frame)),
        None => End::None,
    }
}

/// A request that has been answered by nobody yet.
fn open(peer: &mut Peer, stream: u32, is_ended: bool) {
    let flags = END_HEADERS | if is_ended { END_STREAM } else { 0 };
    peer.send(&frame(HEADERS, flags, stream, &block(if is_ended { &GET } else { &POST })));
}

#[track_caller]
fn is_met(section: &str, act: impl FnOnce(&mut Peer), expected: End) {
    let mut peer = Peer::of_server();
    act(&mut peer);
    assert_eq!(end(&mut peer), expected, "RFC 9113 §{section}");
}

#[test]
fn connections_begin_with_preface_and_settings() {
    let mut peer = Peer::silent_of_server();
    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(end(&mut peer), End::Connection(Reason::PROTOCOL_ERROR), "RFC 9113 §3.4");
    let mut peer = Peer::silent_of_server();
    peer.send(lb_h2::PREFACE);
    peer.send(&frame(PING, 0, 0, &[0; 8]));
    assert_eq!(end(&mut peer), End::Connection(Reason::PROTOCOL_ERROR), "RFC 9113 §3.4");
}

#[test]
fn frames_have_a_size_and_those_of_no_known_type_are_passed_over() {
    is_met("4.1", |peer| peer.send(&frame(0xbe, 0xff, 7, b"whatever")), End::None);
    is_met("4.1", |peer| peer.send(&frame(PING, 0xfe, 0x8000_0000, &[0; 8])), End::None);
    let large = vec![0; (16 << 10) + 1];
    is_met("4.2", |peer| peer.send(&frame(PING, 0, 0, &large)), End::Connection(Reason::FRAME_SIZE_ERROR));
    is_met(
        "4.2",
        |peer| {
            open(peer, 1, false);
            peer.send(&frame(DATA, 0, 1, &large));
        },
        End::Connection(Reason::FRAME_SIZE_ERROR),
    );
}

#[test]
fn blocks_of_fields_are_whole_and_well_packed() {
    is_met(
        "4.3",
        |peer| peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff])),
        End::Connection(Reason::COMPRESSION_ERROR),
    );
    for between in
        [frame(PING, 0, 0, &[0; 8]), frame(HEADERS, END_HEADERS, 3, &block(&GET)), frame(0xbe, 0, 0, &[])]
    {
        is_met(
            "4.3",
            |peer| {
                peer.send(&frame(HEADERS, END_STREAM, 1, &block(&GET)));
                peer.send(&between);
            },
            End::Connection(Reason::PROTOCOL_ERROR),
        );
    }
    is_met(
        "4.3",
        |peer| {
            let block = block(&GET);
            peer.send(&frame(HEADERS, END_STREAM, 1, &block[..5]));
            peer.send(&frame(CONTINUATION, 0, 1, &block[5..9]));
            peer.send(&frame(CONTINUATION, END_HEADERS, 1, &block[9..]));
            assert!(peer.accepts(), "a head in pieces is one");
        },
        End::None,
    );
}

#[test]
fn streams_are_in_states() {
    let idle = [
        frame(DATA, END_STREAM, 1, b"x"),
        frame(RST_STREAM, 0, 1, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
    ];
    for first in idle {
        is_met("5.1 idle", |peer| peer.send(&first), End::Connection(Reason::PROTOCOL_ERROR));
    }
    is_met(
        "5.1 half-closed",
        |peer| {
            open(peer, 1, true);
            let held = peer.accept();
            peer.send(&frame(DATA, END_STREAM, 1, b"x"));
            peer.keep(held);
        },
        End::Stream(1, Reason::STREAM_CLOSED),
    );
    is_met(
        "5.1 half-closed",
        |peer| {
            open(peer, 1, true);
            let held = peer.accept();
            peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&GET)));
            peer.keep(held);
        },
        End::Stream(1, Reason::STREAM_CLOSED),
    );
    is_met("5.1.1", |peer| open(peer, 2, true), End::Connection(Reason::PROTOCOL_ERROR));
    is_met(
        "5.1.1",
        |peer| {
            open(peer, 5, true);
            open(peer, 3, true);
        },
        End::Connection(Reason::STREAM_CLOSED),
    );
    is_met(
        "5.1.2",
        |peer| (0..200).for_each(|number| open(peer, number * 2 + 1, true)),
        End::Stream(257, Reason::REFUSED_STREAM),
    );
    is_met("5.3", |peer| peer.send(&frame(PRIORITY, 0, 1, &[0; 5])), End::None);
}

#[test]
fn data_counts_and_is_padded_within_its_frame() {
    is_met("6.1", |peer| peer.send(&frame(DATA, 0, 0, b"x")), End::Connection(Reason::PROTOCOL_ERROR));
    is_met(
        "6.1",
        |peer| {
            open(peer, 1, false);
            peer.send(&frame(DATA, PADDED, 1, &[5, 1, 2]));
        },
        End::Connection(Reason::PROTOCOL_ERROR),
    );
    is_met(
        "6.1",
        |peer| {
            open(peer, 1, false);
            peer.send(&frame(DATA, PADDED | END_STREAM, 1, &[2, b'o', b'k', 0, 0]));
        },
        End::None,
    );
    is_met(
        "6.2",
        |peer| peer.send(&frame(HEADERS, END_HEADERS, 0, &block(&GET))),
        End::Connection(Reason::PROTOCOL_ERROR),
    );
    is_met(
        "6.2",
        |peer| peer.send(&frame(HEADERS, END_HEADERS | PADDED, 1, &[200, 0x82])),
        End::Connection(Reason::PROTOCOL_ERROR),
    );
    is_met(
        "6.2",
        |peer| {
            let padded = [&[3, 0, 0, 0, 0, 9][..], &block(&GET), &[0; 3]].concat();
            peer.send(&frame(HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITY_FLAG, 1, &padded));
            assert!(peer.accepts());
        },
        End::None,
    );
}

#[test]
fn frames_of_control_have_their_length_and_their_stream() {
    let row = |kind, flags, stream, payload: &[u8], reason| {
        is_met("6", |peer| peer.send(&frame(kind, flags, stream, payload)), End::Connection(reason));
    };
    row(PRIORITY, 0, 0, &[0; 5], Reason::PROTOCOL_ERROR);
    row(PRIORITY, 0, 1, &[0; 4], Reason::FRAME_SIZE_ERROR);
    row(RST_STREAM, 0, 0, &[0; 4], Reason::PROTOCOL_ERROR);
    row(RST_STREAM, 0, 1, &[0; 3], Reason::FRAME_SIZE_ERROR);
    row(SETTINGS, ACK, 0, &[0; 6], Reason::FRAME_SIZE_ERROR);
    row(SETTINGS, 0, 1, &[], Reason::PROTOCOL_ERROR);
    row(SETTINGS, 0, 0, &[0; 5], Reason::FRAME_SIZE_ERROR);
    row(SETTINGS, 0, 0, &setting(2, 2), Reason::PROTOCOL_ERROR);
    row(SETTINGS, 0, 0, &setting(4, 1 << 31), Reason::FLOW_CONTROL_ERROR);
    row(SETTINGS, 0, 0, &setting(5, (16 << 10) - 1), Reason::PROTOCOL_ERROR);
    row(SETTINGS, 0, 0, &setting(5, 1 << 24), Reason::PROTOCOL_ERROR);
    row(PUSH_PROMISE, END_HEADERS, 1, &[0; 8], Reason::PROTOCOL_ERROR);
    row(PING, 0, 1, &[0; 8], Reason::PROTOCOL_ERROR);
    row(PING, 0, 0, &[0; 7], Reason::FRAME_SIZE_ERROR);
    row(GOAWAY, 0, 1, &[0; 8], Reason::PROTOCOL_ERROR);
    row(GOAWAY, 0, 0, &[0; 7], Reason::FRAME_SIZE_ERROR);
    row(WINDOW_UPDATE, 0, 0, &[0; 3], Reason::FRAME_SIZE_ERROR);
    row(WINDOW_UPDATE, 0, 0, &[0; 4], Reason::PROTOCOL_ERROR);
    row(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes(), Reason::FLOW_CONTROL_ERROR);
    row(CONTINUATION, END_HEADERS, 1, &block(&GET), Reason::PROTOCOL_ERROR);
    is_met("6.5.2", |peer| peer.send(&frame(SETTINGS, 0, 0, &setting(0x7777, 7))), End::None);
}

#[test]
fn settings_and_pings_are_answered() {
    let mut peer = Peer::of_server();
    peer.said();
    peer.send(&frame(SETTINGS, 0, 0, &setting(4, 7)));
    peer.send(&frame(PING, 0, 0, b"thinking"));
    peer.send(&frame(PING, ACK, 0, b"unasked!"));
    let said = peer.said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!((said[0].kind, said[0].flags, said[0].payload.len()), (SETTINGS, ACK, 0));
    assert_eq!((said[1].kind, said[1].flags, &said[1].payload[..]), (PING, ACK, &b"thinking"[..]));
}

#[test]
fn windows_of_streams_are_their_own() {
    is_met(
        "6.9",
        |peer| {
            open(peer, 1, false);
            let held = peer.accept();
            peer.send(&frame(WINDOW_UPDATE, 0, 1, &[0; 4]));
            peer.keep(held);
        },
        End::Stream(1, Reason::PROTOCOL_ERROR),
    );
    is_met(
        "6.9.1",
        |peer| {
            open(peer, 1, false);
            let held = peer.accept();
            peer.send(&frame(WINDOW_UPDATE, 0, 1, &0x7fff_ffff_u32.to_be_bytes()));
            peer.keep(held);
        },
        End::Stream(1, Reason::FLOW_CONTROL_ERROR),
    );
    is_met(
        "6.9.1",
        |peer| {
            open(peer, 1, false);
            let held = peer.accept();
            (0..70).for_each(|_| peer.send(&frame(DATA, 0, 1, &[0; 4 << 10])));
            peer.keep(held);
        },
        End::Stream(1, Reason::FLOW_CONTROL_ERROR),
    );
    is_met(
        "6.9.2",
        |peer| {
            open(peer, 1, false);
            let held = peer.accept();
            peer.send(&frame(WINDOW_UPDATE, 0, 1, &0x7fff_0000_u32.to_be_bytes()));
            peer.send(&frame(SETTINGS, 0, 0, &setting(4, 0x7fff_ffff)));
            peer.keep(held);
        },
        End::Connection(Reason::FLOW_CONTROL_ERROR),
    );
}

/// By how much a stream's window has been opened, or the connection's (0).
fn opened(said: &[frames::Frame], stream: u32) -> u32 {
    let updates = said.iter().filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == stream);
    updates.map(|frame| u32::from_be_bytes(frame.payload[..].try_into().unwrap())).sum()
}

fn read_all(stream: &mut lb_h2::ServerStream) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut room = vec![0; 64 << 10];
    while let std::task::Poll::Ready(Ok(1..)) = stream.poll_read(&mut cx, &mut room) {}
}

#[test]
fn bodies_that_nobody_reads_shut_no_window_but_their_own() {
    let mut peer = Peer::of_server();
    let settings = peer.said();
    let settings = settings.iter().find(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap();
    let window = settings.payload.chunks(6).find(|entry| entry[..2] == [0, 4]).unwrap();
    assert_eq!(window[2..], 65_535_u32.to_be_bytes());
    peer.send(&frame(SETTINGS, ACK, 0, &[]));
    let mut sent = 0;
    for stream in (1..256).step_by(2) {
        open(&mut peer, stream, false);
        let held = peer.accept();
        peer.keep(held);
        for _ in 0..15 {
            peer.send(&frame(DATA, 0, stream, &[0; 4 << 10]));
            sent += 4 << 10;
        }
    }
    let said = peer.said();
    assert!(said.iter().all(|frame| frame.kind == WINDOW_UPDATE && frame.stream == 0), "{said:?}");
    assert!(opened(&said, 0) > sent - (1 << 19), "{} of {sent}", opened(&said, 0));
    peer.send(&frame(DATA, 0, 1, &[0; 4 << 10]));
    assert_eq!(end(&mut peer), End::Stream(1, Reason::FLOW_CONTROL_ERROR), "its own is shut");
}

#[test]
fn streams_that_are_read_have_larger_windows_within_what_the_connection_has_for_all() {
    let mut peer = Peer::of_server();
    peer.send(&frame(SETTINGS, ACK, 0, &[]));
    let read = |peer: &mut Peer, stream: u32| {
        open(peer, stream, false);
        let mut held = peer.accept().unwrap();
        (0..8).for_each(|_| peer.send(&frame(DATA, 0, stream, &[0; 4 << 10])));
        read_all(&mut held);
        let more = opened(&peer.said(), stream);
        (held, more - (32 << 10))
    };
    let (full, growth) = (256 << 10, (256 << 10) - 65_535);
    let mut grown = Vec::new();
    for stream in (1..=21).step_by(2) {
        grown.push(read(&mut peer, stream));
    }
    let told: Vec<u32> = grown.iter().map(|(_, more)| *more).collect();
    assert_eq!(told[..5], [growth; 5], "up to {full}");
    assert_eq!(told.iter().sum::<u32>(), 1 << 20, "all together: {told:?}");
    // Who ends gives it back.
    drop(grown);
    let (_held, more) = read(&mut peer, 23);
    assert_eq!(more, growth);
}

#[test]
fn what_is_known_to_come_whole_needs_no_more_room() {
    let mut peer = Peer::of_server();
    let fields = [&POST[..], &[("content-length", "50000")]].concat();
    peer.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    let mut held = peer.accept().unwrap();
    peer.said();
    (0..10).for_each(|_| peer.send(&frame(DATA, 0, 1, &[0; 4 << 10])));
    read_all(&mut held);
    assert_eq!(opened(&peer.said(), 1), 0);
}

#[test]
fn requests_are_well_formed() {
    let changed = |changes: &[(&'static str, &'static str)]| {
        let mut fields = GET.to_vec();
        for &(name, value) in changes {
            match fields.iter_mut().find(|field| field.0 == name && name.starts_with(':')) {
                Some(field) => field.1 = value,
                None => fields.push((name, value)),
            }
        }
        fields
    };
    let rows: [&[(&str, &str)]; 15] = [
        &[("X-Upper", "1")],
        &[(":unknown", "1")],
        &[(":status", "200")],
        &[("x", "1"), (":late", "1")],
        &[("connection", "close")],
        &[("te", "gzip")],
        &[("transfer-encoding", "chunked")],
        &[("content-length", "1")],
        &[("content-length", "x")],
        &[("host", "b.example")],
        &[(":path", "")],
        &[(":path", "http://a.example/")],
        &[(":scheme", "ftp")],
        &[(":method", "A B")],
        &[("x", "a\r\nb")],
    ];
    for changes in rows {
        is_met(
            "8",
            |peer| peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&changed(changes)))),
            End::Stream(1, Reason::PROTOCOL_ERROR),
        );
    }
    for missing in [0, 1, 3] {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        is_met(
            "8.3.1",
            |peer| peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))),
            End::Stream(1, Reason::PROTOCOL_ERROR),
        );
    }
    is_met(
        "8.3.1",
        |peer| {
            let twice = [&GET[..], &[(":path", "/b")]].concat();
            peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&twice)));
        },
        End::Stream(1, Reason::PROTOCOL_ERROR),
    );
    for trailers in [&[(":path", "/")][..], &[("X", "1")]] {
        is_met(
            "8.1",
            |peer| {
                open(peer, 1, false);
                peer.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)));
            },
            End::Stream(1, Reason::PROTOCOL_ERROR),
        );
    }
    is_met(
        "8.1",
        |peer| {
            open(peer, 1, false);
            peer.send(&frame(HEADERS, END_HEADERS, 1, &block(&[("x", "1")])));
        },
        End::Stream(1, Reason::PROTOCOL_ERROR),
    );
    is_met(
        "8.1.1",
        |peer| {
            let post = [&POST[..], &[("content-length", "4")]].concat();
            peer.send(&frame(HEADERS, END_HEADERS, 1, &block(&post)));
            peer.send(&frame(DATA, END_STREAM, 1, b"abc"));
        },
        End::Stream(1, Reason::PROTOCOL_ERROR),
    );
    is_met(
        "8.1.1",
        |peer| {
            let post = [&POST[..], &[("content-length", "2")]].concat();
            peer.send(&frame(HEADERS, END_HEADERS, 1, &block(&post)));
            peer.send(&frame(DATA, 0, 1, b"abc"));
        },
        End::Stream(1, Reason::PROTOCOL_ERROR),
    );
}

#[test]
fn what_is_cut_anywhere_is_read_the_same() {
    let mut bytes = lb_h2::PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &block(&POST)));
    bytes.extend(frame(DATA, 0, 1, b"hello "));
    bytes.extend(frame(DATA, PADDED, 1, &[1, b'w', 0]));
    bytes.extend(frame(PING, 0, 0, b"12345678"));
    bytes.extend(frame(DATA, END_STREAM, 1, b"orld"));
    for size in 1..bytes.len() {
        let mut peer = Peer::silent_of_server();
        bytes.chunks(size).for_each(|piece| peer.send(piece));
        assert_eq!(end(&mut peer), End::None);
        assert_eq!(peer.body(), b"hello world", "in pieces of {size}");
    }
}

#[test]
fn frames_for_a_stream_that_went_reach_no_other() {
    let mut peer = Peer::of_server();
    open(&mut peer, 1, false);
    let first = peer.accept();
    // A frame that is begun, its stream dropped, and another stream in its place.
    let begun = frame(DATA, END_STREAM, 1, b"the first one's");
    peer.send(&begun[..12]);
    drop(first);
    peer.send(&begun[12..]);
    open(&mut peer, 3, false);
    peer.send(&frame(DATA, END_STREAM, 3, b"mine"));
    assert_eq!(peer.body(), b"mine");
}

#[test]
fn a_connection_that_leaves_serves_what_was_sent_before_it_was_heard_and_ignores_the_rest() {
    let mut peer = Peer::of_server();
    open(&mut peer, 1, true);
    let first = peer.accept();
    peer.said();
    peer.connection.leave();
    let said = peer.said();
    assert_eq!((said[0].kind, &said[0].payload[..4]), (GOAWAY, &0x7fff_ffff_u32.to_be_bytes()[..]));
    assert_eq!((said[1].kind, said[1].flags), (PING, 0));
    open(&mut peer, 3, true);
    let second = peer.accept();
    assert!(second.is_some(), "it was on its way");
    peer.send(&frame(PING, ACK, 0, &said[1].payload));
    let said = peer.said();
    assert_eq!((said[0].kind, &said[0].payload[..4]), (GOAWAY, &3_u32.to_be_bytes()[..]));
    open(&mut peer, 5, false);
    peer.send(&frame(DATA, END_STREAM, 5, b"too late"));
    assert!(peer.accept().is_none() && peer.said().is_empty() && !peer.connection.is_done());
    peer.send(&frame(PING, 0, 0, &[0; 7]));
    let said = peer.said();
    assert_eq!(
        (said[0].kind, &said[0].payload[..4]),
        (GOAWAY, &3_u32.to_be_bytes()[..]),
        "no later one was taken in"
    );
    drop((first, second));
    assert!(peer.connection.is_done());
}

#[test]
fn a_stream_that_is_dropped_is_reset_and_what_was_on_its_way_is_borne() {
    let mut peer = Peer::of_server();
    open(&mut peer, 1, false);
    drop(peer.accept());
    assert_eq!(end(&mut peer), End::Stream(1, Reason::CANCEL));
    // Its window and the connection's are open again for others, whatever still comes of it.
    for stream in (3..400).step_by(2) {
        (0..4).for_each(|_| peer.send(&frame(DATA, 0, stream - 2, &[0; 16 << 10])));
        open(&mut peer, stream, false);
        drop(peer.accept());
        assert_eq!(end(&mut peer), End::Stream(stream, Reason::CANCEL));
    }
    open(&mut peer, 401, true);
    assert!(peer.accepts());
}
