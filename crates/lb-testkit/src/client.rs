//! A client that sends exact bytes.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};

use socket2::{Domain, Socket, Type};

use crate::PATIENCE;
use crate::message::{Framing, Response};
use crate::wire::Wire;

/// A connection to a gateway (or to a backend).
#[derive(Debug)]
pub struct Client(Wire);

impl Client {
    /// Connect.
    ///
    /// # Panics
    /// Where the peer does not accept.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => Self(Wire::new(stream)),
            Err(error) => panic!("{address} does not accept: {error}"),
        }
    }

    /// Connect from another address of this machine, for instance 127.0.0.9.
    ///
    /// # Panics
    /// Where the peer does not accept, or the address is not ours.
    #[track_caller]
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self(Wire::new(socket.into()))
    }

    /// Connect with a small receive buffer, so that an answer left unread soon holds its sender back.
    ///
    /// # Panics
    /// Where the peer does not accept.
    #[track_caller]
    pub fn connect_slow_reader(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self(Wire::new(socket.into()))
    }

    /// The connection alone, for instance to reset it.
    pub fn into_wire(self) -> Wire {
        self.0
    }

    /// Read one whole response to a request that was not HEAD; 1xx are responses too.
    ///
    /// # Panics
    /// Where none comes, or a malformed one.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response("GET").expect("no well-formed response")
    }

    /// Read one whole response to a request of this method.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the peer closed first, `InvalidData` where it is malformed.
    pub fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.response_head(method)?;
        (response.body, response.trailers) = self.0.read_body(response.framing)?;
        Ok(response)
    }

    /// Read a response's head and leave its body for later.
    ///
    /// # Errors
    /// As [`try_response`](Self::try_response).
    pub fn response_head(&mut self, method: &str) -> io::Result<Response> {
        let head = self.0.read_head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let invalid =
            || io::Error::new(io::ErrorKind::InvalidData, format!("not a status line: {:?}", head.start));
        let mut words = head.start.splitn(3, ' ');
        let version = words.next().filter(|version| ["HTTP/1.1", "HTTP/1.0"].contains(version));
        let version = version.ok_or_else(invalid)?.to_owned();
        let status = words.next().filter(|status| status.len() == 3).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(invalid)?;
        words.next().ok_or_else(invalid)?;
        let framing = match status {
            _ if method == "HEAD" => Framing::None,
            100..200 | 204 | 304 => Framing::None,
            _ => head.declared().unwrap_or(Framing::Close),
        };
        Ok(Response { version, status, head, framing, body: Vec::new(), trailers: Vec::new() })
    }

    /// Send a request without a body and read its response; the connection stays open.
    ///
    /// # Panics
    /// Where no well-formed response comes.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        self.0.send(head(method, target, fields));
        self.try_response(method).expect("no well-formed response")
    }

    /// `GET` a target; the connection stays open.
    ///
    /// # Panics
    /// Where no well-formed response comes.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[])
    }
}

impl Deref for Client {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.0
    }
}

/// Send a request without a body on a connection of its own and read its response.
///
/// # Panics
/// Where no well-formed response comes.
#[track_caller]
pub fn fetch(address: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
    Client::connect(address).request(method, target, fields)
}

fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: gateway.localhost\r\n");
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}
