//! Relays whatever comes, one read and one write at a time, with compio's io_uring: `uring PORT ORIGIN_PORT`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::spawn;
use relays::ports;

#[compio::main]
async fn main() -> io::Result<()> {
    let [port, origin] = ports()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (client, _) = listener.accept().await?;
        spawn(relay(client, (Ipv4Addr::LOCALHOST, origin).into())).detach();
    }
}

async fn relay(mut client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let mut backend = TcpStream::connect(origin).await?;
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let (count, answered);
        (count, buffer) = pass(&mut client, &mut backend, buffer).await?;
        (answered, buffer) = pass(&mut backend, &mut client, buffer).await?;
        if count == 0 || answered == 0 {
            return Ok(());
        }
    }
}

async fn pass(from: &mut TcpStream, to: &mut TcpStream, mut buffer: Vec<u8>) -> io::Result<(usize, Vec<u8>)> {
    buffer.clear();
    let BufResult(read, buffer) = from.read(buffer).await;
    let count = read?;
    let BufResult(written, buffer) = to.write_all(buffer).await;
    written.map(|()| (count, buffer))
}
