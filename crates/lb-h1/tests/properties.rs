//! Laws over generated input: nothing panics, cutting changes nothing, and what was read is written so that
//! it is read the same again.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use lb_h1::{
    Asked, BodyDecoder, BodyFraming, BodyLimits, ConnectionHeader, Decoded, HeadLimits, ParseState,
    RequestLine, ResponseFraming, ResponseLine, chunk_head, encode_request_head, encode_response_head,
    encode_trailers, parse_request, parse_response,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{lines, serve};

/// Pieces of requests, good and bad, so that generated input gets past the first line.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /a?b HTTP/1.1\r\n",
        b"GET http://a/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x-y\r\n",
        b"Expect: 100-continue\r\n",
        b"Upgrade: websocket\r\n",
        b"X-Y: z\r\n",
        b"X_Y:\t z \r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"1;a=b\r\nx\r\n",
        b"hello",
    ];
    vec(prop_oneof![8 => select(known).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..4)], 0..12)
        .prop_map(|fragments| fragments.concat())
}

/// A good request with a few bytes changed, put in or taken out.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    const GOOD: &[u8] = b"POST /path/to?q=1 HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\n\
        Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    vec((any::<Index>(), any::<u8>(), 0..3u8), 0..4).prop_map(|changes| {
        let mut bytes = GOOD.to_vec();
        for (index, byte, how) in changes {
            let at = index.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// `bytes` cut at these places.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn header_name() -> impl Strategy<Value = HeaderName> {
    let known = vec!["accept", "cookie", "x-forwarded-for", "etag", "sec-ch-ua", "via", "vary"];
    prop_oneof![
        select(known).prop_map(HeaderName::from_static),
        "[a-z0-9!#$%&'*+.^`|~-]{1,70}".prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap()),
    ]
    // What the codec writes itself, and what it reads by other rules than these.
    .prop_filter("not the codec's own", |name| {
        !["te", "host", "upgrade", "expect", "connection", "keep-alive", "content-length"]
            .contains(&name.as_str())
    })
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    vec(prop_oneof![b' '..=b'~', Just(b'\t'), 0x80..=0xffu8], 0..100)
        .prop_map(|bytes| HeaderValue::from_bytes(bytes.trim_ascii()).unwrap())
}

fn header_map() -> impl Strategy<Value = HeaderMap> {
    vec((header_name(), header_value()), 0..12).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        map
    })
}

fn body_framing() -> impl Strategy<Value = BodyFraming> {
    let length = (0..=i64::MAX.unsigned_abs()).prop_map(BodyFraming::Length);
    prop_oneof![Just(BodyFraming::None), length, Just(BodyFraming::Chunked)]
}

proptest! {
    #[test]
    fn requests_are_read_the_same_however_they_are_cut(
        bytes in prop_oneof![fragments(), mutated(), vec(any::<u8>(), 0..200)],
        cuts in vec(any::<Index>(), 0..5),
    ) {
        let limits = HeadLimits { max_head_bytes: 120, max_line_bytes: 70, max_fields: 4, max_empty_lines: 1 };
        for limits in [HeadLimits::default(), limits] {
            let whole = serve([bytes.as_slice()], &limits);
            prop_assert_eq!(serve(bytes.chunks(1), &limits), whole.clone());
            prop_assert_eq!(serve(cut(&bytes, &cuts), &limits), whole);
        }
    }

    #[test]
    fn responses_are_read_the_same_however_they_are_cut(
        start in select(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.0 204\r\n", "HTTP/1.1 101 S\r\n", ""]),
        fields in fragments(),
        method in select(vec![Method::GET, Method::HEAD, Method::CONNECT]),
        upgrade in any::<bool>(),
    ) {
        let bytes = [start.as_bytes(), &fields].concat();
        let asked = Asked { method: &method, upgrade: upgrade.then_some(&lb_h1::Upgrade::WebSocket) };
        let _ = crate::support::response(&bytes, asked);
    }

    #[test]
    fn a_request_that_is_written_is_read_as_it_was(
        method in select(vec!["GET", "POST", "PURGE", "M-SEARCH", "DELETE", "OPTIONS", "VERSION-CONTROL"]),
        path in "/[!-\"$-;=?-\\[\\]-_a-~&&[^?]]{0,30}(\\?[!$-;=?-~]{0,30})?",
        headers in header_map(),
        framing in body_framing(),
        close in any::<bool>(),
    ) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut sent = headers.clone();
        sent.insert("host", HeaderValue::from_static("example.com"));
        sent.insert("transfer-encoding", HeaderValue::from_static("gzip, chunked"));
        sent.insert("content-length", HeaderValue::from_static("+1, 2"));
        let mut buf = BytesMut::new();
        let connection = if close { ConnectionHeader::Close } else { ConnectionHeader::Implied };
        let line = RequestLine { method: &method, target: path.as_bytes(), version: Version::HTTP_11 };
        encode_request_head(&mut buf, line, &sent, framing, connection).unwrap();

        let head = parse_request(&mut buf, &HeadLimits::default(), &mut ParseState::default()).unwrap().unwrap();
        let framing = match framing {
            BodyFraming::None if method == Method::POST => BodyFraming::Length(0),
            framing => framing,
        };
        prop_assert_eq!((head.method, head.framing, head.keep_alive), (method, framing, !close));
        prop_assert_eq!(head.target.raw(), path.as_bytes());
        let mut read = head.headers.to_map();
        for own in ["host", "content-length", "transfer-encoding", "connection"] {
            read.remove(own);
        }
        prop_assert_eq!(sorted(&read), sorted(&headers));
        prop_assert!(buf.is_empty());
    }

    #[test]
    fn a_response_that_is_written_is_read_as_it_was(
        status in (200..600u16).prop_filter("has a body", |status| ![204, 304].contains(status)),
        reason in "[ -~]{0,20}",
        headers in header_map(),
        framing in body_framing(),
    ) {
        let line = ResponseLine {
            status: StatusCode::from_u16(status).unwrap(),
            reason: Some(reason.as_bytes()),
            version: Version::HTTP_11,
        };
        let mut buf = BytesMut::new();
        encode_response_head(&mut buf, line, &headers, framing.into(), ConnectionHeader::Implied, None).unwrap();

        let asked = Asked { method: &Method::GET, upgrade: None };
        let head = parse_response(&mut buf, &HeadLimits::default(), asked, &mut ParseState::default()).unwrap().unwrap();
        prop_assert_eq!(head.status.as_u16(), status);
        prop_assert_eq!(head.reason().unwrap_or_default(), reason.as_bytes());
        prop_assert_eq!(head.declared, framing);
        let until_close = framing == BodyFraming::None;
        prop_assert_eq!(head.framing == ResponseFraming::UntilClose, until_close);
        let mut read = head.headers.to_map();
        read.remove("content-length");
        read.remove("transfer-encoding");
        prop_assert_eq!(sorted(&read), sorted(&headers));
    }

    #[test]
    fn whatever_is_taken_from_a_client_leaves_as_one_message_framed_alike(bytes in prop_oneof![fragments(), mutated()]) {
        let limits = HeadLimits::default();
        let Ok(Some(head)) = parse_request(&mut BytesMut::from(&bytes[..]), &limits, &mut ParseState::default()) else {
            return Ok(());
        };
        let mut out = BytesMut::new();
        let line = RequestLine { method: &head.method, target: head.target.raw(), version: head.version };
        encode_request_head(&mut out, line, &head.headers, head.framing, ConnectionHeader::Implied).unwrap();
        let again = parse_request(&mut out, &limits, &mut ParseState::default()).unwrap().unwrap();
        let with_length = |framing| if framing == BodyFraming::None { BodyFraming::Length(0) } else { framing };
        prop_assert_eq!(with_length(again.framing), with_length(head.framing));
        prop_assert_eq!((again.method, again.target, again.version), (head.method, head.target, head.version));
        prop_assert!(out.is_empty());
    }

    #[test]
    fn chunks_that_are_passed_on_mean_what_they_meant(bytes in chunked_body(), cuts in vec(any::<Index>(), 0..6)) {
        let pieces = cut(&bytes, &cuts);
        let (data, trailers, is_complete, is_broken) = meaning(&pieces);
        let (out, passed, was_refused) = relayed(&pieces);
        prop_assert_eq!(was_refused, is_broken);
        let (again, trailers_again, is_complete_again, is_broken_again) = meaning(&[&out]);
        // Of a broken body as much may have been passed on as was not broken; it must not look complete.
        prop_assert!(!is_broken_again);
        prop_assert_eq!(is_complete_again, is_complete);
        prop_assert_eq!(again.len(), passed);
        if !is_broken {
            prop_assert_eq!((&again, trailers_again), (&data, trailers));
        }
    }

    #[test]
    fn a_chunked_body_that_is_written_is_read_as_it_was(
        pieces in vec((1..3000usize, any::<u8>()), 0..12),
        trailers in header_map(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let pieces: Vec<Vec<u8>> =
            pieces.into_iter().map(|(length, byte)| (0..length).map(|i| byte.wrapping_add(i.to_le_bytes()[0])).collect()).collect();
        let mut wire = BytesMut::new();
        for piece in &pieces {
            wire.extend_from_slice(chunk_head(piece.len()).as_ref());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(lb_h1::CHUNK_END);
        }
        encode_trailers(&mut wire, &trailers);
        let limits = BodyLimits { max_trailer_bytes: 64 * 1024, ..BodyLimits::default() };
        let mut body = BodyDecoder::for_request(BodyFraming::Chunked, limits);
        let (mut buf, mut data, mut read) = (BytesMut::new(), Vec::new(), HeaderMap::new());
        for piece in cut(&wire, &cuts) {
            buf.extend_from_slice(piece);
            loop {
                match body.decode(&mut buf).unwrap() {
                    Decoded::Data(piece) => data.extend_from_slice(&piece),
                    Decoded::Trailers(trailers) => read = trailers,
                    Decoded::NeedMore | Decoded::End => break,
                }
            }
        }
        prop_assert!(body.is_complete() && buf.is_empty());
        prop_assert_eq!(data, pieces.concat());
        prop_assert!(read.iter().all(|(name, value)| trailers.get_all(name).iter().any(|sent| sent == value)));
    }
}

/// Chunked bodies with chunks large and small under lines plain and not, some with a byte changed.
fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![1..20_usize, 1000..1050_usize, 1025..6000_usize];
    let line_end = select(vec!["", ";a", ";a=\"b\""]);
    let chunk = (size, 0..3_usize, line_end).prop_map(|(size, zeros, end)| {
        let line = format!("{}{size:x}{end}\r\n", &"00"[..zeros.min(2)]);
        [line.as_bytes(), &vec![b'x'; size], b"\r\n"].concat()
    });
    let last = select(vec![
        "0\r\n\r\n",
        "00\r\n\r\n",
        "0;a\r\n\r\n",
        "0\r\nx-sum: 1\r\n\r\n",
        "0\r\nno\r\n\r\n",
        "0\r\n\r",
        "",
    ]);
    let fault = proptest::option::weighted(0.3, (any::<Index>(), any::<u8>()));
    (vec(chunk, 0..5), last, fault).prop_map(|(chunks, last, fault)| {
        let mut bytes = [chunks.concat(), last.as_bytes().to_vec(), b"NEXT".to_vec()].concat();
        if let Some((at, byte)) = fault {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// What a chunked body amounts to: data, trailers, whether it ended, and whether it was found broken.
fn meaning(pieces: &[&[u8]]) -> (Vec<u8>, Vec<String>, bool, bool) {
    let mut decoder = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
    let (mut buf, mut data, mut found) = (BytesMut::new(), Vec::new(), HeaderMap::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buf) {
                Ok(Decoded::Data(piece)) => data.extend_from_slice(&piece),
                Ok(Decoded::Trailers(trailers)) => found = trailers,
                Ok(Decoded::End | Decoded::NeedMore) => break,
                Err(_) => return (data, sorted(&found), false, true),
            }
        }
    }
    (data, sorted(&found), decoder.is_complete(), false)
}

/// The same body as a relay writes it that passes on what it may: what was written, how much of it was said to be
/// data, and whether the body was found broken.
fn relayed(pieces: &[&[u8]]) -> (Vec<u8>, usize, bool) {
    let mut decoder = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
    let (mut buf, mut out, mut data, mut is_ended) = (BytesMut::new(), BytesMut::new(), 0, false);
    for piece in pieces {
        buf.extend_from_slice(piece);
        while !is_ended {
            let (passed, of_data) = decoder.pass_chunks(&buf).unwrap();
            out.extend_from_slice(&buf.split_to(passed));
            data += of_data;
            if decoder.is_complete() {
                is_ended = true;
                break;
            }
            match decoder.decode(&mut buf) {
                Ok(Decoded::Data(piece)) => {
                    data += piece.len();
                    out.extend_from_slice(chunk_head(piece.len()).as_ref());
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(lb_h1::CHUNK_END);
                }
                Ok(Decoded::Trailers(trailers)) => {
                    encode_trailers(&mut out, &trailers);
                    is_ended = true;
                }
                Ok(Decoded::End) => {
                    out.extend_from_slice(lb_h1::LAST_CHUNK);
                    is_ended = true;
                }
                Ok(Decoded::NeedMore) => break,
                Err(_) => return (out.to_vec(), data, true),
            }
        }
    }
    (out.to_vec(), data, false)
}

fn sorted(headers: &HeaderMap) -> Vec<String> {
    let mut lines = lines(headers);
    lines.sort_unstable();
    lines
}
