//! Bodies: lengths, chunks, trailers, and every way to break them.

use bytes::BytesMut;
use http::HeaderMap;
use lb_h1::{BodyDecoder, BodyError, BodyFraming, BodyLimits, Decoded, ResponseFraming};

use crate::support::{lines, name};

/// All data, the trailers, and what is left in the buffer; or the error and the data ahead of it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    trailers: Option<Vec<String>>,
    rest: Vec<u8>,
    end: Result<bool, BodyError>,
}

fn read<'a>(framing: ResponseFraming, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let limits = BodyLimits { max_extension_bytes: 100, max_trailer_bytes: 200, max_trailer_fields: 4 };
    let mut body = BodyDecoder::for_response(framing, limits);
    let mut buf = BytesMut::new();
    let mut read = Read { data: Vec::new(), trailers: None, rest: Vec::new(), end: Ok(false) };
    for piece in pieces {
        buf.extend_from_slice(piece);
        // What has ended or failed is not asked again: the rest is another's.
        while read.end == Ok(false) {
            match body.decode(&mut buf) {
                Ok(Decoded::NeedMore) => break,
                Ok(Decoded::Data(data)) => {
                    assert!(!data.is_empty());
                    read.data.extend_from_slice(&data);
                }
                Ok(Decoded::Trailers(trailers)) => read.trailers = Some(lines(&trailers)),
                Ok(Decoded::End) => read.end = Ok(true),
                Err(error) => read.end = Err(error),
            }
        }
    }
    if read.end == Ok(true) {
        assert_eq!(body.decode(&mut buf), Ok(Decoded::End), "said again");
        read.rest = buf.to_vec();
    }
    read
}

fn read_however_cut(framing: ResponseFraming, bytes: &[u8]) -> Read {
    let whole = read(framing, [bytes]);
    assert_eq!(read(framing, bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    for at in 1..bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(read(framing, [a, b]), whole, "cut at {at}: {}", bytes.escape_ascii());
    }
    whole
}

fn chunked(bytes: &str) -> Read {
    read_however_cut(ResponseFraming::Chunked, bytes.as_bytes())
}

#[test]
fn a_body_with_a_length_ends_there() {
    let body = read_however_cut(ResponseFraming::Length(5), b"hello, next");
    assert_eq!((body.data, body.rest, body.end), (b"hello".to_vec(), b", next".to_vec(), Ok(true)));
    let none = read_however_cut(ResponseFraming::None, b"next");
    assert_eq!((none.data.len(), none.rest, none.end), (0, b"next".to_vec(), Ok(true)));
    assert_eq!(read_however_cut(ResponseFraming::Length(6), b"hello").end, Ok(false));
}

#[test]
fn chunks_are_put_together() {
    for (bytes, data) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
        ("A\r\nhelloworld\r\n000\r\n\r\n", "helloworld"),
        ("1\r\na\r\n1\r\nb\r\n02\r\ncd\r\n1;x=y\r\ne\r\n1\r\nf\r\n0\r\n\r\n", "abcdef"),
        ("5;ext=value\r\nhello\r\n0;last\r\n\r\n", "hello"),
        ("5\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n"),
    ] {
        let body = chunked(&format!("{bytes}rest"));
        assert_eq!(
            (body.data.as_slice(), body.trailers, body.end),
            (data.as_bytes(), None, Ok(true)),
            "{bytes:?}"
        );
        assert_eq!(body.rest, b"rest");
    }
}

#[test]
fn broken_chunks_are_refused_and_what_came_ahead_of_them_is_handed_out() {
    for (bytes, data, error) in [
        ("5\r\nhello0\r\n\r\n", "hello", BodyError::ChunkEnd),
        ("5\r\nhello!!\r\n0\r\n\r\n", "hello", BodyError::ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", "hello", BodyError::ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", "hello", BodyError::ChunkEnd),
        ("5\r\nhello\r\r\n0\r\n\r\n", "hello", BodyError::ChunkEnd),
        ("1\r\na\r\n1\r\nb\r\n-1\r\nc\r\n0\r\n\r\n", "ab", BodyError::ChunkSize),
        ("1\r\na\r\n1\r\nb\r\n1 \r\nc\r\n0\r\n\r\n", "ab", BodyError::ChunkSize),
        ("5\rhello\r\n0\r\n\r\n", "", BodyError::ChunkSize),
        ("5\nhello\r\n0\r\n\r\n", "", BodyError::ChunkSize),
        ("5;\nhello\r\n0\r\n\r\n", "", BodyError::ChunkExtension),
        ("5;a\nX\r\nhello\r\n0\r\n\r\n", "", BodyError::ChunkExtension),
        ("FFFFFFFFFFFFFFFF0\r\n", "", BodyError::ChunkSizeOverflow),
        ("0\r\n\n", "", BodyError::Trailers(lb_h1::HeadError::BareLineFeed)),
        ("hello", "", BodyError::ChunkSize),
    ] {
        let body = chunked(bytes);
        assert_eq!((body.data.as_slice(), body.end), (data.as_bytes(), Err(error)), "{bytes:?}");
    }
}

#[test]
fn chunk_extensions_are_bounded_in_sum() {
    let body = |chunks: usize| format!("{}0\r\n\r\n", "1;abcd\r\nx\r\n".repeat(chunks));
    assert_eq!(chunked(&body(16)).end, Ok(true));
    assert_eq!(chunked(&body(17)).end, Err(BodyError::ChunkExtensionsTooLong { limit: 100 }));
    let endless = format!("1;{}", "a".repeat(1000));
    assert_eq!(chunked(&endless).end, Err(BodyError::ChunkExtensionsTooLong { limit: 100 }));
}

#[test]
fn trailers_are_kept_when_they_say_something_about_the_body_alone() {
    let body = chunked("1\r\nx\r\n0\r\nX-Checksum: abc\r\nGrpc-Status: 0\r\n\r\nrest");
    assert_eq!(body.trailers.unwrap(), ["x-checksum: abc", "grpc-status: 0"]);
    assert_eq!((body.end, body.rest.as_slice()), (Ok(true), &b"rest"[..]));
    for field in [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Host: evil",
        "Authorization: Bearer x",
        "Cookie: a=b",
        "Set-Cookie: a=b",
        "Content-Type: text/html",
        "Content-Anything: x",
        "Trailer: x",
        "Connection: close",
        "TE: trailers",
        "Upgrade: h2c",
        "Expect: 100-continue",
        "Cache-Control: no-store",
        "Range: bytes=0-",
        "If-None-Match: x",
        "Location: /",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Anything: x",
        "Forwarded: for=x",
        "Proxy-Anything: x",
        "Content_Length: 50",
        "x_y: z",
    ] {
        let body = chunked(&format!("0\r\n{field}\r\nX-Kept: 1\r\n\r\n"));
        assert_eq!((body.trailers.unwrap(), body.end), (vec!["x-kept: 1".to_owned()], Ok(true)), "{field}");
        let body = chunked(&format!("0\r\n{field}\r\n\r\n"));
        assert_eq!((body.trailers, body.end), (None, Ok(true)), "{field} alone");
    }
}

#[test]
fn trailers_keep_to_the_rules_of_fields_and_to_their_bounds() {
    for (section, error) in [
        ("X : y\r\n\r\n", "SpaceBeforeColon"),
        (" X: y\r\n\r\n", "FoldedLine"),
        ("X: y\r\n z\r\n\r\n", "FoldedLine"),
        ("X\r\n\r\n", "MissingColon"),
        ("X[: y\r\n\r\n", "FieldName"),
        ("X: \0\r\n\r\n", "FieldValue"),
        ("Content-Length: 5\r6\r\n\r\n", "FieldValue"),
        ("X: y\n\r\n", "BareLineFeed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "MissingColon"),
    ] {
        let body = chunked(&format!("0\r\n{section}"));
        assert_eq!(name(&body.end.unwrap_err()), error, "{section:?}");
    }
    let many = chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(5)));
    assert_eq!(many.end.as_ref().map_err(BodyError::status).unwrap_err(), 431, "{many:?}");
    let long = chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(200)));
    assert_eq!(name(&long.end.unwrap_err()), "TooLarge");
}

#[test]
fn small_chunks_that_are_there_together_come_as_one_piece() {
    let wire = format!("{}0\r\n\r\nnext", "10\r\n0123456789abcdef\r\n".repeat(100));
    let mut buf = BytesMut::from(wire.as_str());
    let mut body = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
    let Decoded::Data(data) = body.decode(&mut buf).unwrap() else { panic!("no data") };
    assert_eq!(data, "0123456789abcdef".repeat(100));
    assert_eq!(body.decode(&mut buf), Ok(Decoded::End));
    assert_eq!(buf, "next");
}

#[test]
fn data_is_a_slice_of_the_receive_buffer() {
    let mut buf = BytesMut::from(format!("1000\r\n{}\r\n0\r\n\r\n", "x".repeat(4096)).as_str());
    let place = buf.as_ptr();
    let mut body = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
    let Decoded::Data(data) = body.decode(&mut buf).unwrap() else { panic!("no data") };
    assert_eq!(data.as_ptr(), place.wrapping_add(6));
}

#[test]
fn a_body_without_a_length_ends_with_the_connection_and_no_other_may() {
    let mut body = BodyDecoder::for_response(ResponseFraming::UntilClose, BodyLimits::default());
    let mut buf = BytesMut::from("all of it");
    assert_eq!(body.decode(&mut buf), Ok(Decoded::Data("all of it".into())));
    assert_eq!(body.decode(&mut buf), Ok(Decoded::NeedMore));
    assert_eq!(body.close(), Ok(()));
    assert_eq!(body.decode(&mut buf), Ok(Decoded::End));

    for (framing, bytes) in [
        (ResponseFraming::Length(5), "hell"),
        (ResponseFraming::Chunked, "5\r\nhello\r\n"),
        (ResponseFraming::Chunked, "5\r\nhello\r\n0\r\n"),
        (ResponseFraming::Chunked, "0\r\n\r"),
    ] {
        let mut body = BodyDecoder::for_response(framing, BodyLimits::default());
        let mut buf = BytesMut::from(bytes);
        while body.decode(&mut buf).unwrap() != Decoded::NeedMore {}
        assert!(!body.is_complete());
        assert_eq!(body.close(), Err(BodyError::Truncated), "{bytes:?}");
    }
}

#[test]
fn bytes_that_went_another_way_are_counted() {
    let mut body = BodyDecoder::for_request(BodyFraming::Length(10), BodyLimits::default());
    let mut buf = BytesMut::from("abcdefgh");
    body.skip(7);
    assert_eq!(body.remaining(), Some(3));
    assert_eq!(body.decode(&mut buf), Ok(Decoded::Data("abc".into())));
    assert!(body.is_complete());
    assert_eq!(lines(&HeaderMap::new()).len(), 0);
}
