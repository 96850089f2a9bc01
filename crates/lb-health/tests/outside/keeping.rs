//! Probes on a connection that is kept from one to the next.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::common::{monitor, request, serve, supervisor, until, watched};
use lb_health::{ProbeConfig, Watched};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// How often a backend was connected to, and how often it was asked.
#[derive(Default)]
struct Visits {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

/// A backend that answers so many requests on a connection and then closes it, saying so or not.
async fn backend(visits: &Arc<Visits>, most: usize, says_so: bool) -> SocketAddr {
    let visits = Arc::clone(visits);
    serve(move |stream| {
        let visits = Arc::clone(&visits);
        visits.connections.fetch_add(1, SeqCst);
        answer(stream, visits, most, says_so)
    })
    .await
}

async fn answer(mut stream: TcpStream, visits: Arc<Visits>, most: usize, says_so: bool) {
    for number in 1..=most {
        let head = request(&mut stream).await;
        if head.is_empty() {
            return;
        }
        assert!(!head.contains("Connection:"), "{head}");
        visits.requests.fetch_add(1, SeqCst);
        let last = if says_so && number == most { "Connection: keep-alive, Close\r\n" } else { "" };
        // In chunks and with a length by turns: both must be read to the end.
        let answer = if number % 2 == 0 {
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{last}\r\nok")
        } else {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{last}\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n")
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn often(addresses: &[SocketAddr]) -> Watched {
    let mut probe = ProbeConfig::http("/health");
    (probe.interval, probe.timeout) = (Duration::from_millis(20), Duration::from_millis(20));
    // Slow machines answer late, which is no matter here.
    probe.tries = NonZeroU32::new(5).unwrap();
    probe.keep_alive = true;
    watched(probe, addresses)
}

/// Probes until there were so many, and says how many connections that took. Nobody has become unhealthy by then.
async fn connections(visits: &Visits, address: SocketAddr, requests: usize) -> usize {
    let (supervisor, kept) = supervisor();
    let monitor = monitor("app", vec![("b", often(&[address]))]);
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    until("it is probed", || visits.requests.load(SeqCst) >= requests).await;
    let connections = visits.connections.load(SeqCst);
    running.abort();
    assert_eq!(kept.changes(), []);
    connections
}

#[tokio::test]
async fn a_connection_that_the_backend_leaves_open_is_asked_on_again() {
    let visits = Arc::new(Visits::default());
    let address = backend(&visits, usize::MAX, false).await;
    let connections = connections(&visits, address, 30).await;
    // One more for each probe that a slow machine answered too late.
    assert!(connections <= 10, "{connections} connections for 30 probes");
}

#[tokio::test]
async fn a_backend_that_closes_what_is_idle_is_well_all_the_same() {
    for says_so in [true, false] {
        let visits = Arc::new(Visits::default());
        let address = backend(&visits, 1, says_so).await;
        let connections = connections(&visits, address, 20).await;
        assert!(connections >= 20, "{connections}");
    }
}
