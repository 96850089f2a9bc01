//! Clients that ask without a pause, while something is done to a gateway that none of them may notice.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::Request;
use tokio::task::{LocalSet, spawn_local};

use crate::client::Client;
use crate::http2::Http2;
use crate::pki::Authority;

/// Clients of HTTP/1.1 on connections that stay as long as they may, and on new ones for each request.
const STAYING: usize = 4;
const COMING: usize = 3;
/// Connections of HTTP/2, and requests at once on each.
const CONNECTIONS: usize = 3;
const STREAMS: usize = 8;

/// A load that goes on until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Asked>>,
}

/// What a load came to: every request was answered with 200.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests.
    pub answers: usize,
    /// How often a client that would have stayed was told to come again on another connection, and did.
    pub came_again: usize,
    /// Requests of HTTP/2 that the gateway said it had not taken, which were sent again.
    pub sent_again: usize,
}

impl Load {
    /// HTTP/1.1: four clients on connections that stay as long as they may, three on new ones for each request.
    pub fn on(address: SocketAddr) -> Self {
        let keeps = (0..STAYING + COMING).map(|client| client < STAYING);
        Self::of(keeps.map(|keeps| move |stop: &Arc<AtomicBool>| http1(address, keeps, stop)))
    }

    /// HTTP/2: three connections with eight requests at once on each, by prior knowledge, or over TLS with a certificate of this
    /// authority for localhost.
    pub fn http2(address: SocketAddr, authority: Option<&Authority>) -> Self {
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| Http2::new(address, authority)).collect();
        Self::of(clients.into_iter().map(|client| move |stop: &Arc<AtomicBool>| http2(client, stop)))
    }

    fn of<C: FnOnce(&Arc<AtomicBool>) -> Asked + Send + 'static>(clients: impl Iterator<Item = C>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |client: C| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || client(&stop))
        };
        Self { clients: clients.map(start).collect(), stop }
    }

    /// Stops it.
    ///
    /// # Panics
    /// Where a request was not answered, or not with 200.
    #[track_caller]
    pub fn finish(self) -> Asked {
        self.stop.store(true, SeqCst);
        let asked = self.clients.into_iter().map(|client| client.join().expect("a request failed"));
        asked.fold(Asked::default(), |sum, one| Asked {
            answers: sum.answers + one.answers,
            came_again: sum.came_again + one.came_again,
            sent_again: sum.sent_again + one.sent_again,
        })
    }
}

fn http1(address: SocketAddr, keeps: bool, stop: &AtomicBool) -> Asked {
    let mut client = Client::connect(address);
    let mut asked = Asked::default();
    while !stop.load(SeqCst) {
        let response = client.get("/load");
        assert_eq!(response.status, 200, "{}", response.text());
        asked.answers += 1;
        let is_told_to_go = response.header("connection") == Some("close");
        asked.came_again += usize::from(keeps && is_told_to_go);
        if !keeps || is_told_to_go {
            client = Client::connect(address);
        }
    }
    asked
}

fn http2(client: Http2, stop: &Arc<AtomicBool>) -> Asked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Rc::new(client);
    let ask = || {
        let (client, stop) = (Rc::clone(&client), Arc::clone(stop));
        async move {
            let request = Request::get("https://localhost/load").body(Bytes::new()).unwrap();
            let mut answers = 0;
            while !stop.load(SeqCst) {
                let response = client.ask(&request).await.expect("an answer");
                assert_eq!(response.status(), 200, "{:?}", response.body());
                answers += 1;
            }
            answers
        }
    };
    let answers = LocalSet::new().block_on(&runtime, async {
        let streams: Vec<_> = (0..STREAMS).map(|_| spawn_local(ask())).collect();
        let mut answers = 0;
        for stream in streams {
            answers += stream.await.expect("a request failed");
        }
        answers
    });
    Asked { answers, came_again: client.connections() - 1, sent_again: client.sent_again() }
}
