//! Probes against real sockets, of good backends and of every bad sort.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::common::{answer, closed, decisive, monitor, request, serve, status, supervisor, until, watched};
use lb_health::{Change, Clock, ProbeConfig, ProbeKind, Supervisor, SupervisorOptions, Watched};
use tokio::io::AsyncWriteExt;

/// What the first probe, at once, finds wrong; nothing where the backend is well.
async fn verdict(watched: Watched) -> Option<String> {
    let (supervisor, kept) = supervisor();
    let monitor = monitor("app", vec![("b", watched)]);
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    let view = || monitor.view(0, &Clock::read()).unwrap();
    until("the first probe ends", || view().last_probe.is_some()).await;
    until("it is settled", || monitor.balancer().eligible() == usize::from(view().healthy)).await;
    running.abort();
    let told = kept.changes();
    match view().healthy {
        true => assert_eq!(told, []),
        false => assert_eq!(told, [("b".to_owned(), Change::Unhealthy)]),
    }
    assert_eq!(kept.errors().first(), view().error.as_ref());
    view().error
}

fn of(address: SocketAddr) -> Watched {
    watched(decisive(ProbeConfig::http("/health")), &[address])
}

fn http(path: &str, host: Option<&str>, expect: &str) -> ProbeConfig {
    let (path, host) = (path.to_owned(), host.map(str::to_owned));
    decisive(ProbeConfig::new(ProbeKind::Http { path, host, expect: expect.parse().unwrap() }))
}

#[tokio::test]
async fn a_backend_that_answers_as_expected_is_well() {
    assert_eq!(verdict(of(answer(|_| status(200)).await)).await, None);
    assert_eq!(verdict(of(answer(|_| status(299)).await)).await, None);
    let redirects = answer(|_| status(301)).await;
    assert_eq!(verdict(watched(http("/", None, "200,301-308"), &[redirects])).await, None);
}

#[tokio::test]
async fn a_probe_asks_for_the_path_under_the_base_path_with_the_backends_host() {
    let asked = answer(|head| {
        let right = head.starts_with("GET /base/health?deep=1 HTTP/1.1\r\n")
            && head.contains("\r\nHost: backend.example:8080\r\n")
            && head.contains("\r\nConnection: close\r\n");
        status(if right { 200 } else { 418 })
    })
    .await;
    let mut probe = watched(http("/health?deep=1", None, "200"), &[asked]);
    probe.target.as_mut().unwrap().base_path = "/base".to_owned();
    assert_eq!(verdict(probe).await, None);
}

#[tokio::test]
async fn a_backend_that_knows_another_host_alone_is_unhealthy_until_that_host_is_written() {
    let picky =
        answer(|head| status(if head.contains("\r\nHost: app.internal\r\n") { 200 } else { 421 })).await;
    assert_eq!(verdict(of(picky)).await.unwrap(), "status 421, expected 200-299");
    assert_eq!(verdict(watched(http("/", Some("app.internal"), "200"), &[picky])).await, None);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    let elsewhere = answer(move |_| {
        counted.fetch_add(1, SeqCst);
        status(200)
    })
    .await;
    let redirects = answer(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/health\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    assert_eq!(verdict(of(redirects)).await.unwrap(), "status 302, expected 200-299");
    assert_eq!(visits.load(SeqCst), 0);
}

#[tokio::test]
async fn an_answer_of_megabytes_is_read_no_further_than_is_bearable() {
    let sent = Arc::new(AtomicUsize::new(0));
    for head in ["", "Content-Length: 100000000\r\n"] {
        let counted = Arc::clone(&sent);
        let address = serve(move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                request(&mut stream).await;
                let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes()).await;
                while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {
                    counted.fetch_add(1 << 16, SeqCst);
                }
            }
        })
        .await;
        assert_eq!(verdict(of(address)).await.unwrap(), "the answer is larger than 64 KiB");
    }
    // What lay in socket buffers, and not the hundred megabytes.
    assert!(sent.load(SeqCst) < 50_000_000);
}

#[tokio::test]
async fn an_answer_without_end_or_none_at_all_is_given_up_in_time() {
    let endless = serve(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let silent = serve(|mut stream| async move {
        request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    for address in [endless, silent] {
        let mut probe = decisive(ProbeConfig::http("/health"));
        probe.timeout = Duration::from_millis(150);
        assert_eq!(verdict(watched(probe, &[address])).await.unwrap(), "no answer within 150ms");
    }
}

#[tokio::test]
async fn a_backend_that_refuses_or_breaks_off_is_unhealthy() {
    assert!(verdict(of(closed())).await.unwrap().starts_with("cannot connect: "));
    let nowhere = verdict(watched(decisive(ProbeConfig::http("/health")), &[])).await;
    assert_eq!(nowhere.unwrap(), "its name has no address at present");
    let breaks = serve(|mut stream| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").await;
    })
    .await;
    assert_eq!(verdict(of(breaks)).await.unwrap(), "the connection ended in the middle of the answer");
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let well = answer(|_| status(200)).await;
    let both = watched(decisive(ProbeConfig::http("/health")), &[closed(), well]);
    assert_eq!(verdict(both).await, None);
}

#[tokio::test]
async fn one_good_try_of_three_makes_a_good_probe() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let third = answer(move |_| status(if counted.fetch_add(1, SeqCst) % 3 == 2 { 200 } else { 500 })).await;
    let mut probe = decisive(ProbeConfig::http("/health"));
    probe.tries = NonZeroU32::new(3).unwrap();
    assert_eq!(verdict(watched(probe.clone(), &[third])).await, None);
    assert_eq!(tries.load(SeqCst), 3);
    probe.tries = NonZeroU32::new(2).unwrap();
    assert!(verdict(watched(probe, &[third])).await.is_some());
}

#[tokio::test]
async fn a_tcp_probe_wants_a_connection_and_nothing_more() {
    let silent = serve(|stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let tcp = || decisive(ProbeConfig::new(ProbeKind::Tcp));
    assert_eq!(verdict(watched(tcp(), &[silent])).await, None);
    assert!(verdict(watched(tcp(), &[closed()])).await.is_some());
}

/// A gRPC server of one method, which answers with these fields, this message and these trailers; "" is no message.
async fn grpc(
    head: &'static [(&str, &str)],
    message: &'static [u8],
    trailers: &'static [(&str, &str)],
) -> SocketAddr {
    let fields = |fields: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
        };
        fields.iter().map(pair).collect::<http::HeaderMap>()
    };
    serve(move |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert_eq!(request.uri(), "http://backend.example:8080/grpc.health.v1.Health/Check");
            assert_eq!(
                (request.method(), &request.headers()["te"]),
                (&http::Method::POST, &"trailers".parse().unwrap())
            );
            let mut response = http::Response::new(());
            *response.headers_mut() = fields(head);
            let mut body = respond.send_response(response, message.is_empty()).unwrap();
            if !message.is_empty() {
                body.send_data(bytes::Bytes::from_static(message), trailers.is_empty()).unwrap();
                if !trailers.is_empty() {
                    body.send_trailers(fields(trailers)).unwrap();
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_grpc_probe_wants_a_service_that_serves() {
    const OK: &[(&str, &str)] = &[("content-type", "application/grpc")];
    let serving = grpc(OK, &[0, 0, 0, 0, 2, 8, 1], &[("grpc-status", "0")]).await;
    let not_serving = grpc(OK, &[0, 0, 0, 0, 2, 8, 2], &[("grpc-status", "0")]).await;
    let unknown = grpc(&[("grpc-status", "5"), ("grpc-message", "unknown service")], &[], &[]).await;
    let failed = grpc(OK, &[0, 0, 0, 0, 2, 8, 1], &[("grpc-status", "13")]).await;
    let nonsense = grpc(OK, b"hello, world", &[]).await;
    let endless = grpc(OK, &[0; 8192], &[]).await;
    let http1 = answer(|_| status(200)).await;
    for (address, words) in [
        (serving, ""),
        (not_serving, "serving status 2, expected 1 (SERVING)"),
        (unknown, "grpc-status 5 unknown service"),
        (failed, "grpc-status 13"),
        (nonsense, "what came is no answer to a probe: its message is no HealthCheckResponse"),
        (endless, "the answer is larger than 4 KiB"),
        (http1, "the connection broke: "),
        (closed(), "cannot connect: "),
    ] {
        let kind = ProbeKind::Grpc { service: "app.Orders".to_owned(), host: None };
        let found = verdict(watched(decisive(ProbeConfig::new(kind)), &[address])).await.unwrap_or_default();
        assert!(found.starts_with(words) && found.is_empty() == words.is_empty(), "{found}, not {words}");
    }
}

#[tokio::test]
async fn no_more_probes_run_at_once_than_allowed() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now_open, most_open) = (Arc::clone(&open), Arc::clone(&most));
    let slow = serve(move |mut stream| {
        let (open, most) = (Arc::clone(&now_open), Arc::clone(&most_open));
        async move {
            request(&mut stream).await;
            most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            // Before the answer: the next probe begins when this one has it.
            open.fetch_sub(1, SeqCst);
            let _ = stream.write_all(status(200).as_bytes()).await;
        }
    })
    .await;
    let names: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let monitor = monitor("app", names.iter().map(|name| (&**name, of(slow))).collect());
    let max_probes = NonZeroUsize::new(4).unwrap();
    let supervisor = Supervisor::new(SupervisorOptions { max_probes, ..Default::default() });
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    until("all were probed", || {
        monitor.views(&Clock::read()).iter().all(|view| view.last_probe.is_some() && view.healthy)
    })
    .await;
    running.abort();
    assert!((2..=4).contains(&most.load(SeqCst)), "{most:?}");
}

#[tokio::test]
async fn a_backend_that_comes_and_goes_is_followed_and_probing_ends_with_the_supervisor() {
    let (well, visits) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let (now_well, counted) = (Arc::clone(&well), Arc::clone(&visits));
    let address = answer(move |_| {
        counted.fetch_add(1, SeqCst);
        status(if now_well.load(SeqCst) == 1 { 200 } else { 503 })
    })
    .await;
    let mut probe = ProbeConfig::http("/health");
    (probe.interval, probe.timeout) = (Duration::from_millis(20), Duration::from_millis(20));
    // Slow machines answer late, which is no matter here.
    probe.tries = NonZeroU32::new(5).unwrap();
    let (supervisor, kept) = supervisor();
    let monitor = monitor("app", vec![("b", watched(probe, &[address]))]);
    supervisor.enforce(vec![Arc::clone(&monitor)]);
    let running = tokio::spawn(supervisor.run());
    let eligible = || monitor.balancer().eligible();
    until("it is probed", || visits.load(SeqCst) > 1).await;
    well.store(0, SeqCst);
    until("it is out", || eligible() == 0).await;
    well.store(1, SeqCst);
    until("it is back", || eligible() == 1).await;
    assert_eq!(kept.changes()[..2], [("b".into(), Change::Unhealthy), ("b".into(), Change::Recovered)]);

    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    // One may be on its way still.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let visited = visits.load(SeqCst);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(visits.load(SeqCst), visited);
}
