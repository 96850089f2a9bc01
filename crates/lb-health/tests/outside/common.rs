//! What these tests share: monitors, listening ears, and backends of any manners.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lb_core::{Backend, BackendOptions, Balancer, StrategyConfig};
use lb_health::{
    Change, EventSink, HealthConfig, HealthEvent, HealthMonitor, ProbeConfig, ProbeTarget, Supervisor,
    SupervisorOptions, UpstreamOptions, Watched,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than any machine needs; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Keeps every event it is told of.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<HealthEvent>>);

impl EventSink for Kept {
    fn changed(&self, event: &HealthEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Kept {
    pub(crate) fn changes(&self) -> Vec<(String, Change)> {
        self.0.lock().unwrap().iter().map(|event| (event.backend.clone(), event.change)).collect()
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().filter_map(|event| event.error.clone()).collect()
    }
}

pub(crate) fn supervisor() -> (Supervisor, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let sink = Arc::clone(&kept) as Arc<dyn EventSink>;
    (Supervisor::new(SupervisorOptions { sink: Some(sink), ..Default::default() }), kept)
}

/// One good or bad probe is enough, and the next one is far away.
pub(crate) fn decisive(mut probe: ProbeConfig) -> ProbeConfig {
    probe.interval = Duration::from_secs(3600);
    probe.timeout = Duration::from_secs(20);
    probe.healthy_threshold = NonZeroU32::MIN;
    probe.unhealthy_threshold = NonZeroU32::MIN;
    probe
}

pub(crate) fn watched(probe: ProbeConfig, addresses: &[SocketAddr]) -> Watched {
    let addresses = Arc::new(addresses.to_vec());
    Watched {
        config: HealthConfig { probe: Some(probe), ..Default::default() },
        target: Some(ProbeTarget {
            authority: "backend.example:8080".to_owned(),
            base_path: String::new(),
            addresses: Arc::new(move || Arc::clone(&addresses)),
            secure: None,
            preamble: Vec::new(),
        }),
    }
}

/// A monitor over backends of these names.
pub(crate) fn monitor(upstream: &str, members: Vec<(&str, Watched)>) -> Arc<HealthMonitor> {
    let backends =
        members.iter().map(|(name, _)| Arc::new(Backend::new(BackendOptions::named(*name)))).collect();
    let balancer = Balancer::new(StrategyConfig::named("round_robin"), backends).unwrap();
    let watched = members.into_iter().map(|(_, watched)| watched).collect();
    HealthMonitor::new(upstream, Arc::new(balancer), watched, UpstreamOptions::default()).unwrap()
}

/// An address where nobody listens.
pub(crate) fn closed() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// A backend that does this with each connection.
pub(crate) async fn serve<F, S>(serve: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Reads the head of a request.
pub(crate) async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A backend that answers each request with what `answer` makes of its head, and closes.
pub(crate) async fn answer(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> SocketAddr {
    let answer = Arc::new(answer);
    serve(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            let head = request(&mut stream).await;
            let _ = stream.write_all(answer(&head).as_bytes()).await;
        }
    })
    .await
}

pub(crate) fn status(status: u16) -> String {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n")
}
