//! `bench probes`: what it costs to probe ten thousand backends every five seconds, as processor time of a whole gateway above that
//! of the same gateway without probes: on a connection for each probe, and on kept ones, which the goal is for. The backends are
//! addresses of 127.0.0.0/8, behind which one listener of this process answers; its time is not counted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Zoned;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

use super::interrupt::Interrupt;
use super::machine::Machine;
use super::ports::Ports;
use super::process::{Core, Running};
use super::{Args, check, compare, table};

const BACKENDS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(5);
/// Above idle, in per cent of a core.
const GOAL: f64 = 5.0;
/// One gateway over its time.
#[derive(Debug, Serialize)]
struct Figures {
    name: &'static str,
    seconds: f64,
    processor_ms: f64,
    /// Answers that the backends gave in that time.
    probes: u64,
    healthy: u32,
    resident_kib: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = match &args.binary {
        Some(file) => file.clone(),
        None => compare::build_gatewayd()?,
    };
    let interrupt = Interrupt::install()?;
    let directory = tempfile::Builder::new().prefix("gatewayd-probes-").tempdir()?;
    let answered = Arc::new(AtomicU64::new(0));
    let backend = serve(&answered)?;
    let mut ports = Ports::new();
    let mut all = Vec::new();
    let probing =
        |more| format!("health_check = {{ path = \"/health\", interval = \"5s\", timeout = \"2s\"{more} }}");
    for (name, lines) in [
        ("idle", String::new()),
        ("a connection for each probe", probing("")),
        ("kept connections", probing(", keep_alive = true")),
    ] {
        let port = ports.take()?;
        let file = directory.path().join(format!("{}.toml", name.replace(' ', "-")));
        fs::write(&file, config(port, backend, &lines))?;
        let arguments = ["run".to_owned(), "-c".to_owned(), file.display().to_string()];
        let mut gateway = Running::start(name, Core::Proxy, &program, &arguments, &[], directory.path())?;
        gateway.wait_for_port(port, &interrupt)?;
        // The first probes all come at once, the second ones spread over an interval.
        interrupt.sleep(INTERVAL * 2)?;
        let (began, probes, processor) = (Instant::now(), answered.load(Relaxed), gateway.cpu_time());
        interrupt.sleep(Duration::from_secs(args.seconds))?;
        let ran = gateway.cpu_time().ran - processor.ran;
        let figures = Figures {
            name,
            seconds: began.elapsed().as_secs_f64(),
            processor_ms: ran as f64 / 1e6,
            probes: answered.load(Relaxed) - probes,
            healthy: healthy(port)?,
            resident_kib: gateway.resident_kib(),
        };
        eprintln!("  {name}: {:.2} % of a core, {} probes", figures.core(), figures.probes);
        all.push(figures);
    }
    let text = report(&all);
    println!("\n{text}");
    write(args, &text, &all)?;
    for probing in all.iter().skip(1) {
        let (name, probes) = (probing.name, probing.probes);
        let due = probing.seconds / INTERVAL.as_secs_f64() * f64::from(BACKENDS);
        ensure!(probes as f64 >= due * 0.99, "{name}: {probes} probes are fewer than the {due:.0} due");
        ensure!(
            probing.healthy == BACKENDS,
            "{name}: {} of {BACKENDS} backends are healthy",
            probing.healthy
        );
    }
    let above = all.last().context("nothing was measured")?.above(&all);
    ensure!(above <= GOAL, "{above:.2} % of a core above idle are more than {GOAL} %");
    Ok(())
}

impl Figures {
    /// In per cent.
    fn core(&self) -> f64 {
        self.processor_ms / 10.0 / self.seconds.max(0.001)
    }

    /// In per cent above the first, which does nothing.
    fn above(&self, all: &[Self]) -> f64 {
        self.core() - all.first().map_or(0.0, Self::core)
    }
}

fn config(port: u16, backend: u16, lines: &str) -> String {
    let mut backends = String::new();
    for number in 0..BACKENDS {
        // 127.1.0.0 and what follows.
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + number);
        _ = write!(backends, "\"{address}:{backend}\", ");
    }
    format!(
        "[server]\nworkers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:{port}\"\nstatus_endpoints = true\n\
         [[rules]]\nname = \"fleet\"\nbackends = [{backends}]\n{lines}\n"
    )
}

/// Answers whatever address is asked, and keeps connections as it is asked to; gives back the port.
fn serve(answered: &Arc<AtomicU64>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let answered = Arc::clone(answered);
    std::thread::spawn(move || {
        // Else it would take turns with the gateway.
        let mut core = CpuSet::new();
        core.set(usize::from(Core::Load.number()));
        _ = sched_setaffinity(None, &core);
        if let Err(error) = answer_all(&listener, &answered) {
            eprintln!("the backends have stopped: {error}");
        }
    });
    Ok(port)
}

fn answer_all(listener: &TcpListener, answered: &AtomicU64) -> std::io::Result<()> {
    /// Stands for the listener.
    const LISTENER: u64 = u64::MAX;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut connections: HashMap<u64, TcpStream> = HashMap::new();
    let mut events = Vec::with_capacity(256);
    for number in 0.. {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for (place, event) in (0_u64..).zip(&events) {
            let id = event.data.u64();
            if id == LISTENER {
                let (stream, _) = listener.accept()?;
                let id = number * 256 + place;
                epoll::add(&epoll, &stream, epoll::EventData::new_u64(id), epoll::EventFlags::IN)?;
                connections.insert(id, stream);
            } else if let Some(stream) = connections.get_mut(&id) {
                let kept = answer(stream);
                answered.fetch_add(u64::from(kept.is_ok()), Relaxed);
                if !kept.unwrap_or(false) {
                    connections.remove(&id);
                }
            }
        }
    }
    Ok(())
}

/// Answers what has come, in one piece as a head so small does. Whether the connection is kept; an error where nothing was asked.
fn answer(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut head = [0; 1024];
    let read = stream.read(&mut head)?;
    if read == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let is_last = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).contains("Connection: close");
    let answer: &[u8] = if is_last {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    } else {
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    };
    stream.write_all(answer)?;
    Ok(!is_last)
}

fn healthy(port: u16) -> Result<u32> {
    let text = check::get(port, "/metrics")?;
    let up = |line: &&str| line.starts_with("gatewayd_backend_up{") && line.ends_with(" 1");
    Ok(u32::try_from(text.lines().filter(up).count())?)
}

fn report(all: &[Figures]) -> String {
    let mut text = String::new();
    let mut rows = vec![
        ["gateway", "core, %", "probes a second", "µs a probe", "healthy", "MiB"].map(str::to_owned).to_vec(),
    ];
    for figures in all {
        let each = (figures.probes > 0).then(|| figures.processor_ms * 1000.0 / figures.probes as f64);
        rows.push(vec![
            figures.name.to_owned(),
            format!("{:.2}", figures.core()),
            format!("{:.0}", figures.probes as f64 / figures.seconds),
            each.map_or_else(|| "–".to_owned(), |each| format!("{each:.1}")),
            figures.healthy.to_string(),
            format!("{:.1}", figures.resident_kib as f64 / 1024.0),
        ]);
    }
    table::write(&mut text, &rows);
    for figures in all.iter().skip(1) {
        _ = writeln!(
            text,
            "{BACKENDS} backends every {} s, {}: {:.2} % of a core above idle (wanted: at most {GOAL} %).\n",
            INTERVAL.as_secs(),
            figures.name,
            figures.above(all)
        );
    }
    text
}

fn write(args: &Args, text: &str, all: &[Figures]) -> Result<()> {
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(&args.out, &format!("{date}-probes"))?;
    let machine = Machine::look_up("not used".to_owned())?.table();
    let readme = format!(
        "# Probes, {date}\n\n```sh\ncargo xtask bench probes --seconds {}\n```\n\n{text}{machine}",
        args.seconds
    );
    fs::write(folder.join("README.md"), readme)?;
    fs::write(folder.join("raw.json"), serde_json::to_string_pretty(all)? + "\n")?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_probing_costs_is_what_it_adds() {
        let figures = |processor_ms| Figures {
            name: "",
            seconds: 10.0,
            processor_ms,
            probes: 0,
            healthy: 0,
            resident_kib: 0,
        };
        let all = [figures(20.0), figures(420.0)];
        assert!((all[1].above(&all) - 4.0).abs() < 1e-9);
    }
}
