//! What both relays are told.

use std::io;

/// The two arguments: where to listen, and where the origin does.
pub fn ports() -> io::Result<[u16; 2]> {
    let mut ports = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    match (ports.next(), ports.next()) {
        (Some(port), Some(origin)) => Ok([port, origin]),
        _ => Err(io::Error::other("two ports are wanted: the relay's and the origin's")),
    }
}
