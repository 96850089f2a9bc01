//! A gateway with two echo backends, for measurements of how it bears what others do to it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use socket2::{Domain, Socket, Type};

use super::check;
use super::interrupt::Interrupt;
use super::ports::Ports;
use super::process::{Core, Running};

/// What is running, and where.
pub(crate) struct Scene {
    pub(crate) port: u16,
    pub(crate) gateway: Running,
    backends: Vec<(u16, Option<Running>)>,
    program: PathBuf,
    directory: PathBuf,
}

impl Scene {
    /// Start `program` with these lines for its listener and its own rules ahead of the one for the backends, and with no more
    /// than `files` open files.
    pub(crate) fn start(
        program: &Path,
        listener: &str,
        rules: &str,
        files: Option<u32>,
        directory: &Path,
        ports: &mut Ports,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let (port, backends) = (ports.take()?, [ports.take()?, ports.take()?]);
        let config = format!(
            "[server]\nworkers = 1\n[[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:{port}\"\nstatus_endpoints = true\n{listener}\n{rules}\n\
             [[rules]]\nname = \"echo\"\nbackends = [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]\n",
            backends[0], backends[1]
        );
        let file = directory.join(format!("gatewayd-{port}.toml"));
        fs::write(&file, config)?;
        let run = ["run".to_owned(), "-c".to_owned(), file.display().to_string()];
        let limited = files.map(|files| [format!("--nofile={files}"), program.display().to_string()]);
        let arguments: Vec<String> = limited.into_iter().flatten().chain(run).collect();
        let outer = if files.is_some() { Path::new("prlimit") } else { program };
        let mut gateway = Running::start("gatewayd", Core::Proxy, outer, &arguments, &[], directory)?;
        gateway.wait_for_port(port, interrupt)?;
        let mut scene = Self {
            port,
            gateway,
            backends: backends.map(|port| (port, None)).into(),
            program: program.to_owned(),
            directory: directory.to_owned(),
        };
        for number in 0..scene.backends.len() {
            scene.start_backend(number, interrupt)?;
        }
        Ok(scene)
    }

    /// End a backend as a crash would, and start it again on its port.
    pub(crate) fn restart_backend(&mut self, number: usize, interrupt: &Interrupt) -> Result<()> {
        if let Some((_, running)) = self.backends.get_mut(number) {
            drop(running.take());
        }
        self.start_backend(number, interrupt)
    }

    fn start_backend(&mut self, number: usize, interrupt: &Interrupt) -> Result<()> {
        let Some((port, running)) = self.backends.get_mut(number) else { return Ok(()) };
        let arguments = ["backend".to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")];
        let name = format!("backend-{port}");
        let mut started = Running::start(&name, Core::Load, &self.program, &arguments, &[], &self.directory)?;
        started.wait_for_port(*port, interrupt)?;
        *running = Some(started);
        Ok(())
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// How many descriptors the gateway has open.
    pub(crate) fn descriptors(&self) -> usize {
        let count = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.gateway.members().into_iter().map(count).sum()
    }

    /// The sum of a metric over its labels, where it is there.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = check::get(self.port, "/metrics").ok()?;
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

/// Connect from an address of this machine: attackers are to be told from well-behaved clients.
pub(crate) fn connect_from(
    source: Ipv4Addr,
    address: SocketAddr,
    receive_buffer: Option<usize>,
) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), Duration::from_secs(5))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}
