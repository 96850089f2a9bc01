//! Chunked bodies both ways: cutting changes nothing, nothing behind the end is touched, and what was read is written so
//! that it is read the same again.
#![no_main]

use bytes::BytesMut;
use http::HeaderMap;
use lb_h1::{
    BodyDecoder, BodyError, BodyFraming, BodyLimits, CHUNK_END, Decoded, LAST_CHUNK, chunk_head,
    encode_trailers,
};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Default, PartialEq, Eq)]
struct Body {
    data: Vec<u8>,
    trailers: HeaderMap,
    is_complete: bool,
    left: usize,
    error: Option<String>,
}

fuzz_target!(|data: &[u8]| {
    let Some((step, data)) = data.split_first() else { return };
    let limits = BodyLimits { max_extension_bytes: 64, max_trailer_bytes: 128, max_trailer_fields: 4 };
    let whole = read([data].into_iter(), limits);
    let pieces = read(data.chunks(usize::from(*step).max(1)), limits);
    // What stands in the buffer when it goes wrong depends on how much of it had come; what was passed on must not lie.
    assert_eq!(
        (whole.is_complete, &whole.trailers, &whole.error),
        (pieces.is_complete, &pieces.trailers, &pieces.error)
    );
    if whole.error.is_none() {
        assert_eq!(whole.data, pieces.data);
    }
    assert!(!(whole.is_complete && whole.error.is_some()));
    passed_on_means_the_same(data.chunks(usize::from(*step).max(1)), limits, &whole);
    if whole.is_complete {
        let mut out = BytesMut::new();
        for piece in whole.data.chunks(7) {
            out.extend_from_slice(chunk_head(piece.len()).as_ref());
            out.extend_from_slice(piece);
            out.extend_from_slice(CHUNK_END);
        }
        encode_trailers(&mut out, &whole.trailers);
        let again = read([&out[..]].into_iter(), BodyLimits::default());
        assert!(again.is_complete && again.left == 0, "{}", out.escape_ascii());
        assert_eq!((again.data, again.trailers), (whole.data, whole.trailers));
    }
});

/// What a relay passes on of it as it stands, and the rest framed anew, is read as the body was.
fn passed_on_means_the_same<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: BodyLimits, whole: &Body) {
    let mut decoder = BodyDecoder::for_request(BodyFraming::Chunked, limits);
    let (mut buffer, mut out, mut is_ended, mut is_broken) = (BytesMut::new(), BytesMut::new(), false, false);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !is_ended && !is_broken {
            let (passed, _) = decoder.pass_chunks(&buffer).expect("it is chunked");
            out.extend_from_slice(&buffer.split_to(passed));
            if decoder.is_complete() {
                is_ended = true;
                break;
            }
            match decoder.decode(&mut buffer) {
                Ok(Decoded::Data(piece)) => {
                    out.extend_from_slice(chunk_head(piece.len()).as_ref());
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(CHUNK_END);
                }
                Ok(Decoded::Trailers(trailers)) => {
                    encode_trailers(&mut out, &trailers);
                    is_ended = true;
                }
                Ok(Decoded::End) => {
                    out.extend_from_slice(LAST_CHUNK);
                    is_ended = true;
                }
                Ok(Decoded::NeedMore) => break,
                Err(_) => is_broken = true,
            }
        }
    }
    assert_eq!((is_ended, is_broken), (whole.is_complete, whole.error.is_some()));
    let again = read([&out[..]].into_iter(), BodyLimits::default());
    assert!(again.error.is_none(), "{}", out.escape_ascii());
    assert_eq!(again.is_complete, is_ended);
    if !is_broken {
        assert_eq!((&again.data, &again.trailers), (&whole.data, &whole.trailers));
    }
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: BodyLimits) -> Body {
    let mut decoder = BodyDecoder::for_request(BodyFraming::Chunked, limits);
    let (mut buffer, mut body) = (BytesMut::new(), Body::default());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if let Err(error) = step(&mut decoder, &mut buffer, &mut body) {
            body.error = Some(format!("{error:?}"));
            break;
        }
    }
    body.is_complete = decoder.is_complete();
    body.left = buffer.len();
    body
}

fn step(decoder: &mut BodyDecoder, buffer: &mut BytesMut, body: &mut Body) -> Result<(), BodyError> {
    loop {
        match decoder.decode(buffer)? {
            Decoded::Data(piece) => body.data.extend_from_slice(&piece),
            Decoded::Trailers(trailers) => body.trailers = trailers,
            Decoded::End | Decoded::NeedMore => return Ok(()),
        }
    }
}
