//! What probing ten thousand backends costs: processor time of the supervisor's thread, a probe.
//!
//! `cargo bench -p lb-health`. Ten thousand backends, each probed every five seconds, are 2000 probes a second; the goal is
//! 5 % of a core, so 25 µs a probe, most of which is the kernel's for a fresh connection.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use lb_core::{Backend, BackendOptions, Balancer, StrategyConfig};
use lb_health::{
    HealthConfig, HealthMonitor, ProbeConfig, ProbeTarget, Supervisor, SupervisorOptions, UpstreamOptions,
    Watched,
};
use rustix::time::{ClockId, clock_gettime};

const BACKENDS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = serve()?;
    let watched = Watched {
        config: HealthConfig {
            probe: Some(ProbeConfig {
                interval: INTERVAL,
                timeout: INTERVAL,
                ..ProbeConfig::http("/health")
            }),
            ..Default::default()
        },
        target: Some(ProbeTarget {
            authority: address.to_string(),
            base_path: String::new(),
            addresses: Arc::new(move || Arc::new(vec![address])),
            secure: None,
            preamble: Vec::new(),
        }),
    };
    let names = (0..BACKENDS).map(|number| format!("http://backend-{number}"));
    let backends = names.map(|name| Arc::new(Backend::new(BackendOptions::named(name)))).collect();
    let balancer = Arc::new(Balancer::new(StrategyConfig::named("round_robin"), backends)?);
    let monitor =
        HealthMonitor::new("app", balancer, vec![watched; BACKENDS as usize], UpstreamOptions::default())?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let used = runtime.block_on(async {
        let supervisor = Supervisor::new(SupervisorOptions::default());
        supervisor.enforce(vec![Arc::clone(&monitor)]);
        let running = tokio::spawn(supervisor.run());
        tokio::time::sleep(2 * INTERVAL).await;
        let before = processor_time();
        tokio::time::sleep(MEASURED).await;
        let used = processor_time() - before;
        running.abort();
        used
    });
    let probes = f64::from(BACKENDS) * MEASURED.as_secs_f64() / (INTERVAL.as_secs_f64() * 0.95);
    println!(
        "{BACKENDS} backends every {INTERVAL:?}: {:.1} % of a core, {:.1} µs a probe, {} eligible",
        100.0 * used.as_secs_f64() / MEASURED.as_secs_f64(),
        1e6 * used.as_secs_f64() / probes,
        monitor.balancer().eligible(),
    );
    Ok(())
}

/// A backend on threads of its own, whose time is not counted.
fn serve() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    Ok(address)
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
