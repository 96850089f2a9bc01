//! The name that a client asks for, read from the beginning of its TLS (RFC 8446 §4.1.2, RFC 6066 §3) by whoever passes the
//! connection on without ending the TLS.

use rustls::server::Acceptor;

/// What a connection begins a record of a handshake with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// What the bytes of a connection's beginning come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// More of them are needed.
    Partial,
    /// A whole ClientHello, and the name that it asks for.
    Whole(Option<String>),
    /// They begin no TLS that could be read.
    None,
}

/// Reads a ClientHello, in however many records and pieces it comes.
///
/// ```
/// use lb_tls::{Hello, HelloReader};
///
/// let mut reader = HelloReader::default();
/// assert_eq!(reader.read(&[22, 3, 1]), Hello::Partial);
/// assert_eq!(HelloReader::default().read(b"GET / HTTP/1.1"), Hello::None);
/// ```
#[derive(Default)]
pub struct HelloReader {
    acceptor: Acceptor,
    has_begun: bool,
}

impl std::fmt::Debug for HelloReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HelloReader").finish_non_exhaustive()
    }
}

impl HelloReader {
    /// Reads on. Not to be called again once it has said anything but [`Hello::Partial`].
    pub fn read(&mut self, mut bytes: &[u8]) -> Hello {
        match bytes.first() {
            // No whole record is needed to tell another protocol by.
            Some(first) if !self.has_begun && *first != HANDSHAKE => return Hello::None,
            Some(_) => self.has_begun = true,
            None => {}
        }
        while !bytes.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Hello::None;
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return Hello::Whole(accepted.client_hello().server_name().map(str::to_owned));
                }
                Err(_) => return Hello::None,
            }
        }
        Hello::Partial
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::suites::{MinVersion, provider};

    /// The first bytes of a client that asks for this name, in records of so many bytes at most.
    fn hello(name: &str, record: Option<usize>) -> Vec<u8> {
        let builder = ClientConfig::builder_with_provider(provider(None, MinVersion::Tls12).unwrap());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.max_fragment_size = record;
        let mut client =
            ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn the_name_is_found_in_whatever_pieces_and_records_it_comes() {
        for record in [None, Some(40)] {
            let bytes = hello("db.example.com", record);
            for piece in [1, 7, bytes.len()] {
                let mut reader = HelloReader::default();
                let mut read = bytes.chunks(piece).map(|piece| reader.read(piece));
                let name = read.find(|hello| *hello != Hello::Partial);
                assert_eq!(name, Some(Hello::Whole(Some("db.example.com".to_owned()))), "{record:?} {piece}");
                assert_eq!(read.next(), None, "it is known with the last byte, not before");
            }
        }
    }

    #[test]
    fn a_client_that_asks_for_an_address_names_nobody() {
        assert_eq!(HelloReader::default().read(&hello("192.0.2.1", None)), Hello::Whole(None));
    }

    #[test]
    fn what_is_no_client_hello_is_told_at_once() {
        for bytes in [
            &b"\0\0\0\x08\x04\xd2\x16\x2f"[..],
            b"*1\r\n",
            &[22, 3, 1, 0, 4, 2, 0, 0, 0],
            &[22, 9, 9, 0, 1, 1],
        ] {
            assert_eq!(HelloReader::default().read(bytes), Hello::None, "{bytes:?}");
        }
    }
}
