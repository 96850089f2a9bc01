//! A connection as a server reads it, told as lines of text that a table can hold.

use bytes::BytesMut;
use lb_h1::{
    Asked, BodyDecoder, BodyError, BodyLimits, Decoded, HeadLimits, ParseState, RequestError, RequestHead,
    ResponseError, ResponseHead, parse_request, parse_response,
};

/// What a connection brought. Equal for equal bytes, whatever pieces they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// `METHOD target version framing`, then the fields as kept.
    Head(String, Vec<String>),
    Data(Vec<u8>),
    Trailers(Vec<String>),
    /// The body is complete.
    End,
    /// The status to answer with, and the name of the error.
    Refused(u16, String),
}

/// Reads requests off `pieces` until they end, one is refused, or one does not keep the connection.
pub(crate) fn serve<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &HeadLimits) -> Vec<Event> {
    let mut connection = Connection::default();
    for piece in pieces {
        connection.buf.extend_from_slice(piece);
        if let Err((status, name)) = connection.read(limits) {
            connection.push(Event::Refused(status, name));
            break;
        }
        if connection.closed {
            break;
        }
    }
    connection.events
}

/// As [`serve`], for the one piece, and checked against the same bytes one by one and cut in two anywhere.
pub(crate) fn serve_however_cut(bytes: &[u8]) -> Vec<Event> {
    let limits = HeadLimits::default();
    let whole = serve([bytes], &limits);
    assert_eq!(serve(bytes.chunks(1), &limits), whole, "byte by byte: {}", bytes.escape_ascii());
    if bytes.len() < 600 {
        for at in 1..bytes.len() {
            let (a, b) = bytes.split_at(at);
            assert_eq!(serve([a, b], &limits), whole, "cut at {at}: {}", bytes.escape_ascii());
        }
    }
    whole
}

/// What the first head says, or `STATUS ErrorName`.
pub(crate) fn verdict(bytes: &[u8]) -> String {
    match serve_however_cut(bytes).first() {
        Some(Event::Head(summary, _)) => summary.clone(),
        Some(Event::Refused(status, name)) => format!("{status} {name}"),
        Some(other) => panic!("{other:?}"),
        None => "incomplete".to_owned(),
    }
}

#[track_caller]
pub(crate) fn check(table: &[(&str, &str)]) {
    for (bytes, expected) in table {
        assert_eq!(verdict(bytes.as_bytes()), *expected, "{}", bytes.escape_default());
    }
}

/// Fields behind a request line and Host.
#[track_caller]
pub(crate) fn check_fields(start: &str, table: &[(&str, &str)]) {
    for (fields, expected) in table {
        let bytes = format!("{start} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(verdict(bytes.as_bytes()), *expected, "{}", bytes.escape_default());
    }
}

#[derive(Default)]
struct Connection {
    buf: BytesMut,
    state: ParseState,
    body: Option<BodyDecoder>,
    keep_alive: bool,
    closed: bool,
    events: Vec<Event>,
}

impl Connection {
    fn read(&mut self, limits: &HeadLimits) -> Result<(), (u16, String)> {
        while !self.closed {
            if let Some(body) = &mut self.body {
                match body.decode(&mut self.buf).map_err(|error| body_refusal(&error))? {
                    Decoded::NeedMore => return Ok(()),
                    Decoded::Data(data) => self.push(Event::Data(data.to_vec())),
                    Decoded::Trailers(trailers) => self.push(Event::Trailers(lines(&trailers))),
                    Decoded::End => {
                        self.push(Event::End);
                        self.body = None;
                        self.closed = !self.keep_alive;
                    }
                }
            } else {
                let Some(head) = parse_request(&mut self.buf, limits, &mut self.state)
                    .map_err(|error| (error.status().as_u16(), name(&error)))?
                else {
                    return Ok(());
                };
                self.push(Event::Head(summary(&head), lines(&head.headers.to_map())));
                self.body = Some(BodyDecoder::for_request(head.framing, BodyLimits::default()));
                self.keep_alive = head.keep_alive;
            }
        }
        Ok(())
    }

    /// Pieces of data are one, wherever they were cut.
    fn push(&mut self, event: Event) {
        match (self.events.last_mut(), event) {
            (Some(Event::Data(earlier)), Event::Data(data)) => earlier.extend(data),
            (_, event) => self.events.push(event),
        }
    }
}

pub(crate) fn summary(head: &RequestHead) -> String {
    let mut text =
        format!("{} {} {:?} {:?}", head.method, head.target.raw().escape_ascii(), head.version, head.framing);
    if !head.keep_alive {
        text += " close";
    }
    if head.expect_continue {
        text += " continue";
    }
    if let Some(upgrade) = &head.upgrade {
        text += &format!(" {upgrade:?}");
    }
    if head.underscore_names {
        text += " underscore";
    }
    if head.hop_by_hop.te_trailers {
        text += " trailers";
    }
    text
}

pub(crate) fn lines(headers: &http::HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())).collect()
}

/// The name of the innermost variant: `HostMissing`, `BareLineFeed`.
pub(crate) fn name(error: &dyn std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let text = text.strip_prefix("Head(").or_else(|| text.strip_prefix("Trailers(")).unwrap_or(&text);
    text.split([' ', '{', ')']).next().unwrap_or_default().to_owned()
}

fn body_refusal(error: &BodyError) -> (u16, String) {
    (error.status().as_u16(), name(error))
}

/// The one request head in `bytes`, or why it is refused.
pub(crate) fn request(bytes: &[u8]) -> Result<Option<RequestHead>, RequestError> {
    parse_request(&mut BytesMut::from(bytes), &HeadLimits::default(), &mut ParseState::default())
}

/// The one response head in `bytes`; fed whole and byte by byte.
pub(crate) fn response(bytes: &[u8], asked: Asked<'_>) -> Result<Option<ResponseHead>, ResponseError> {
    let limits = HeadLimits::default();
    let whole = parse_response(&mut BytesMut::from(bytes), &limits, asked, &mut ParseState::default());
    let (mut buf, mut state) = (BytesMut::new(), ParseState::default());
    let mut piecewise = Ok(None);
    for byte in bytes {
        buf.extend_from_slice(&[*byte]);
        piecewise = parse_response(&mut buf, &limits, asked, &mut state);
        if !matches!(piecewise, Ok(None)) {
            break;
        }
    }
    assert_eq!(format!("{whole:?}"), format!("{piecewise:?}"), "{}", bytes.escape_ascii());
    whole
}
