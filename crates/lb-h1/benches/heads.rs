//! What a head costs: a bare one and a browser's, read and written, as they pass through a gateway.
//!
//! `cargo bench -p lb-h1`. The receive buffer is filled by a copy in each round, as `recv` would do it; the
//! line `copy` says how much of each figure that is.

#![allow(clippy::unwrap_used, reason = "the heads are known to be good")]
#![allow(missing_docs, reason = "what criterion's macros make has none")]

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Method, Version};
use lb_h1::{
    Asked, BodyDecoder, BodyFraming, BodyLimits, ConnectionHeader, DateCache, Decoded, HeadLimits,
    ParseState, RequestHead, RequestLine, ResponseFraming, ResponseHead, ResponseLine, chunk_head,
    encode_request_head, encode_response_head, parse_request, parse_response,
};

const SMALL_REQUEST: &[u8] = b"GET /1k HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

const BROWSER_REQUEST: &[u8] = b"GET /products/4711/reviews?sort=newest&page=2 HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1; cart=a1b2c3d4e5f60718\r\n\
    Referer: https://shop.example.com/products/4711\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Mode: navigate\r\n\r\n";

const SMALL_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n";

const USUAL_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx\r\n\
    Date: Thu, 20 Nov 2025 19:13:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: private, max-age=0\r\n\
    ETag: \"5f1d-64a2b9c1d2e3f\"\r\n\
    Vary: Accept-Encoding\r\n\
    Set-Cookie: session=0123456789abcdef0123456789abcdef; Path=/; Secure; HttpOnly; SameSite=Lax\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\r\n";

fn read_request(buf: &mut BytesMut, state: &mut ParseState, bytes: &[u8]) -> RequestHead {
    buf.extend_from_slice(bytes);
    parse_request(buf, &HeadLimits::default(), state).unwrap().unwrap()
}

fn read_response(buf: &mut BytesMut, state: &mut ParseState, bytes: &[u8]) -> ResponseHead {
    buf.extend_from_slice(bytes);
    let asked = Asked { method: &Method::GET, upgrade: None };
    parse_response(buf, &HeadLimits::default(), asked, state).unwrap().unwrap()
}

fn write_request(out: &mut BytesMut, head: &RequestHead) {
    out.clear();
    let line = RequestLine { method: &head.method, target: head.target.raw(), version: Version::HTTP_11 };
    encode_request_head(out, line, &head.headers, head.framing, ConnectionHeader::Implied).unwrap();
}

fn write_response(out: &mut BytesMut, head: &ResponseHead, dates: &mut DateCache) {
    out.clear();
    let line = ResponseLine { status: head.status, reason: head.reason(), version: Version::HTTP_11 };
    let date = dates.at(784_111_777);
    encode_response_head(out, line, &head.headers, head.framing, ConnectionHeader::Implied, Some(date))
        .unwrap();
}

fn requests(c: &mut Criterion) {
    for (name, bytes) in [("small", SMALL_REQUEST), ("browser", BROWSER_REQUEST)] {
        let mut group = c.benchmark_group(format!("request/{name} ({} B)", bytes.len()));
        let (mut buf, mut out) = (BytesMut::with_capacity(16 * 1024), BytesMut::with_capacity(16 * 1024));
        let mut state = ParseState::default();
        group.bench_function("copy", |b| {
            b.iter(|| {
                buf.extend_from_slice(black_box(bytes));
                black_box(buf.split().freeze());
            });
        });
        group.bench_function("parse", |b| b.iter(|| read_request(&mut buf, &mut state, black_box(bytes))));
        let head = read_request(&mut buf, &mut state, bytes);
        group.bench_function("encode", |b| b.iter(|| write_request(&mut out, black_box(&head))));
        group.bench_function("both", |b| {
            b.iter(|| {
                let head = read_request(&mut buf, &mut state, black_box(bytes));
                write_request(&mut out, &head);
            });
        });
    }
}

fn responses(c: &mut Criterion) {
    for (name, bytes) in [("small", SMALL_RESPONSE), ("usual", USUAL_RESPONSE)] {
        let mut group = c.benchmark_group(format!("response/{name} ({} B)", bytes.len()));
        let (mut buf, mut out) = (BytesMut::with_capacity(16 * 1024), BytesMut::with_capacity(16 * 1024));
        let (mut state, mut dates) = (ParseState::default(), DateCache::default());
        group.bench_function("parse", |b| b.iter(|| read_response(&mut buf, &mut state, black_box(bytes))));
        let head = read_response(&mut buf, &mut state, bytes);
        group.bench_function("encode", |b| b.iter(|| write_response(&mut out, black_box(&head), &mut dates)));
        group.bench_function("both", |b| {
            b.iter(|| {
                let head = read_response(&mut buf, &mut state, black_box(bytes));
                write_response(&mut out, &head, &mut dates);
            });
        });
    }
}

/// 64 KiB of body in chunks of one size, decoded out of one buffer.
fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("body, 64 KiB");
    for size in [16, 1024, 8192] {
        let mut wire = Vec::new();
        for _ in 0..(64 * 1024 / size) {
            wire.extend_from_slice(chunk_head(size).as_ref());
            wire.resize(wire.len() + size, b'x');
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        group.bench_function(format!("chunks of {size}"), |b| {
            let mut buf = BytesMut::with_capacity(512 * 1024);
            b.iter(|| {
                buf.extend_from_slice(black_box(&wire));
                let mut body = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
                while black_box(body.decode(&mut buf).unwrap()) != Decoded::End {}
            });
        });
    }
    group.bench_function("with a length", |b| {
        let wire = vec![b'x'; 64 * 1024];
        let mut buf = BytesMut::with_capacity(512 * 1024);
        b.iter(|| {
            buf.extend_from_slice(black_box(&wire));
            let mut body =
                BodyDecoder::for_response(ResponseFraming::Length(64 * 1024), BodyLimits::default());
            while black_box(body.decode(&mut buf).unwrap()) != Decoded::End {}
        });
    });
}

/// A head that comes byte by byte costs what its length costs, not the square of it: the two lines differ by
/// the factor that their names do.
fn piecewise(c: &mut Criterion) {
    let mut group = c.benchmark_group("request, byte by byte");
    for kib in [2, 16] {
        let fields = format!("X-Fill: {}\r\n", "y".repeat(118)).repeat(kib * 8);
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let limits = HeadLimits { max_fields: 1000, ..HeadLimits::default() };
        group.bench_function(format!("{kib} KiB"), |b| {
            let (mut buf, mut state) = (BytesMut::with_capacity(64 * 1024), ParseState::default());
            b.iter(|| {
                bytes.as_bytes().iter().find_map(|byte| {
                    buf.extend_from_slice(&[*byte]);
                    parse_request(&mut buf, &limits, &mut state).unwrap()
                })
            });
        });
    }
}

criterion_group!(benches, requests, responses, bodies, piecewise);
criterion_main!(benches);
