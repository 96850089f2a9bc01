//! A backend as a stopped process is one: the kernel's queue of its connections is full.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Listens on 127.0.0.1 and never accepts; what asks for a connection is dropped without a word, not refused.
#[derive(Debug)]
pub struct Jammed {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

impl Jammed {
    /// One whose queue is full by now.
    ///
    /// # Panics
    /// Where the system does not let it be.
    pub fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
        let waiting: Vec<_> = std::iter::from_fn(connect).take(100).collect();
        assert!(waiting.len() < 100, "its queue has no end");
        Self { address, _listener: listener, _waiting: waiting }
    }

    /// `http://` and its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Default for Jammed {
    fn default() -> Self {
        Self::new()
    }
}
