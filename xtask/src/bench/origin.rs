//! The three origins behind every proxy: one nginx on core 1.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::check;
use super::interrupt::Interrupt;
use super::peer::{Values, render};
use super::ports::Ports;
use super::process::{Core, Running};
use super::scenario::Transport;

/// The running origins and their ports.
pub(crate) struct Origins {
    /// In the order of the templates' `origin_1` to `origin_3`.
    pub(crate) ports: [u16; 3],
    pub(crate) nginx: Running,
    /// Those that speak gRPC, where they were asked for.
    grpc: Option<([u16; 3], [Running; 3])>,
}

impl Origins {
    /// Start them with files of 64 KiB, 1 MiB and 16 MiB.
    pub(crate) fn start(directory: &Path, ports: &mut Ports, interrupt: &Interrupt) -> Result<Self> {
        let www = directory.join("www");
        fs::create_dir_all(&www)?;
        fs::write(www.join("64k"), "x".repeat(64 * 1024))?;
        fs::write(www.join("1m"), "x".repeat(1024 * 1024))?;
        fs::write(www.join("16m"), "x".repeat(16 * 1024 * 1024))?;
        // Never sent: the static module answers 405 to a POST only where the file exists.
        fs::write(www.join("upload"), "")?;

        let ports = [ports.take()?, ports.take()?, ports.take()?];
        let values = Values { directory, port: 0, admin: 0, origins: ports };
        let file = render("", "origin.conf", &values)?;
        let arguments = ["-p".to_owned(), directory.display().to_string(), "-c".to_owned(), file];
        let mut nginx = Running::start("origin", Core::Load, Path::new("nginx"), &arguments, &[], directory)?;
        for port in ports {
            nginx.wait_for_port(port, interrupt)?;
        }
        Ok(Self { ports, nginx, grpc: None })
    }

    /// Start three more that echo what is sent by HTTP/2 in the clear, with a trailer of gRPC: nghttpd, which has a port each.
    pub(crate) fn start_grpc(
        &mut self,
        directory: &Path,
        ports: &mut Ports,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let ports = [ports.take()?, ports.take()?, ports.take()?];
        let start = |port: u16| -> Result<Running> {
            let options = ["--no-tls", "--echo-upload", "--address=127.0.0.1", "--trailer=grpc-status: 0"];
            let arguments: Vec<String> =
                options.map(str::to_owned).into_iter().chain([port.to_string()]).collect();
            let name = format!("grpc-{port}");
            let program = Path::new("nghttpd");
            let mut running = Running::start(&name, Core::Load, program, &arguments, &[], directory)?;
            running.wait_for_port(port, interrupt)?;
            Ok(running)
        };
        let [one, two, three] = ports;
        self.grpc = Some((ports, [start(one)?, start(two)?, start(three)?]));
        Ok(())
    }

    /// Where proxies find those that speak as this has it.
    pub(crate) fn ports_for(&self, transport: Transport) -> [u16; 3] {
        match (transport, &self.grpc) {
            (Transport::Grpc, Some((ports, _))) => *ports,
            _ => self.ports,
        }
    }

    /// Connections accepted so far, the one that asks included.
    pub(crate) fn accepted(&self) -> Result<u64> {
        let answer = check::get(self.ports[0], "/connections")?;
        // stub_status: a line ` accepts handled requests` of three numbers follows its heading.
        let numbers = answer.lines().skip_while(|line| !line.starts_with("server accepts")).nth(1);
        let accepted = numbers.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
        accepted.context("the origin does not tell its connections")
    }
}
