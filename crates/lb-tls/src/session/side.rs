//! rustls without its buffers, whichever side of the connection it is on: one step at a time, for reading and for writing.

use std::io;

use rustls::HandshakeKind;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use crate::sink::Sink;

/// A connection of rustls.
pub(super) enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What rustls asks for next.
pub(super) enum Step {
    /// To be asked again.
    Again,
    /// The peer's next bytes.
    Blocked,
    /// Nothing: plaintext may be sent.
    Open,
    /// The peer will send nothing more.
    Ended,
    /// Nothing more can be sent either.
    Closed,
}

/// What writing has come to.
pub(super) struct Written {
    pub(super) written: usize,
    pub(super) discard: usize,
    pub(super) is_last: bool,
}

impl Side {
    pub(super) fn speaks_first(&self) -> bool {
        matches!(self, Self::Client(_))
    }

    pub(super) fn is_resumed(&self) -> bool {
        let kind = match self {
            Self::Server(connection) => connection.handshake_kind(),
            Self::Client(connection) => connection.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }

    pub(super) fn alpn_protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Server(connection) => connection.alpn_protocol(),
            Self::Client(connection) => connection.alpn_protocol(),
        }
    }

    pub(super) fn peer_certificate(&self) -> Option<&[u8]> {
        let chain = match self {
            Self::Server(connection) => connection.peer_certificates(),
            Self::Client(connection) => connection.peer_certificates(),
        };
        chain.and_then(|chain| chain.first()).map(CertificateDer::as_ref)
    }

    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Server(connection) => connection.wants_write(),
            Self::Client(connection) => connection.wants_write(),
        }
    }

    /// Does what is asked for while reading; how much of `received` was used, and what is next.
    pub(super) fn read(
        &mut self,
        received: &mut [u8],
        outgoing: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Self::Server(connection) => take_step(connection.process_tls_records(received), outgoing, sink),
            Self::Client(connection) => take_step(connection.process_tls_records(received), outgoing, sink),
        }
    }

    /// Does what is asked for while writing. What is incomplete of `incoming` must be shown, since rustls remembers where its
    /// pieces are.
    pub(super) fn write(
        &mut self,
        incoming: &mut [u8],
        room: &mut [u8],
        plain: &mut Vec<u8>,
        is_ended: &mut bool,
        write: &impl Fn(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<Written> {
        match self {
            Self::Server(connection) => {
                write_step(connection.process_tls_records(incoming), room, plain, is_ended, write)
            }
            Self::Client(connection) => {
                write_step(connection.process_tls_records(incoming), room, plain, is_ended, write)
            }
        }
    }
}

/// The writing side of rustls, whichever side of the connection it is.
pub(super) trait Traffic {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<D> Traffic for rustls::unbuffered::WriteTraffic<'_, D> {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        rustls::unbuffered::WriteTraffic::encrypt(self, plaintext, room)
    }

    fn close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        self.queue_close_notify(room)
    }
}

/// Does what rustls asks for while reading; how much was used, and what is next.
fn take_step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    outgoing: &mut Vec<u8>,
    sink: &mut impl Sink,
) -> (usize, Result<Step, rustls::Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut result = Ok(Step::Again);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        sink.put(record.payload);
                        discard += record.discard;
                    }
                    Err(error) => result = Err(error),
                }
            }
            result
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let start = outgoing.len();
            // The first call says how much room is needed.
            match data.encode(outgoing.get_mut(start..).unwrap_or_default()) {
                Err(EncodeError::InsufficientSize(size)) => {
                    outgoing.resize(start + size.required_size, 0);
                    let written = data.encode(outgoing.get_mut(start..).unwrap_or_default()).unwrap_or(0);
                    outgoing.truncate(start + written);
                }
                Err(EncodeError::AlreadyEncoded) | Ok(_) => {}
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Open),
        Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
        Ok(ConnectionState::Closed) => Ok(Step::Closed),
        // Early data is never accepted.
        Ok(_) => Err(rustls::Error::General("an unknown state".into())),
    };
    (discard, step)
}

/// Does what rustls asks for while writing.
fn write_step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    room: &mut [u8],
    plain: &mut Vec<u8>,
    is_ended: &mut bool,
    write: &impl Fn(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
) -> io::Result<Written> {
    let mut done = Written { written: 0, discard: status.discard, is_last: false };
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            done.written = write(&mut traffic, room).map_err(io::Error::other)?;
            done.is_last = true;
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            done.written = data.encode(room).map_err(io::Error::other)?;
        }
        Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(Ok(record)) = traffic.next_record() {
                plain.extend_from_slice(record.payload);
                done.discard += record.discard;
            }
        }
        Ok(ConnectionState::PeerClosed) => *is_ended = true,
        Ok(_) => return Err(io::ErrorKind::BrokenPipe.into()),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
    Ok(done)
}
