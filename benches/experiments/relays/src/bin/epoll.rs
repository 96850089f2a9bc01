//! Relays whatever comes, one read and one write at a time, with tokio's epoll: `epoll PORT ORIGIN_PORT`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use relays::ports;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

fn main() -> io::Result<()> {
    let [port, origin] = ports()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (client, _) = listener.accept().await?;
            spawn_local(relay(client, (Ipv4Addr::LOCALHOST, origin).into()));
        }
    })
}

async fn relay(mut client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let mut backend = TcpStream::connect(origin).await?;
    let mut buffer = vec![0; 8192];
    loop {
        let count = client.read(&mut buffer).await?;
        backend.write_all(&buffer[..count]).await?;
        let answered = backend.read(&mut buffer).await?;
        client.write_all(&buffer[..answered]).await?;
        if count == 0 || answered == 0 {
            return Ok(());
        }
    }
}
