//! `gatewayd demo`, which has its documented ports: one test at a time, over all test processes.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};

use lb_testkit::{Gateway, PATIENCE, eventually};

use crate::support::launch;

/// The demo, and the right to its ports.
pub(crate) struct Demo {
    pub(crate) gateway: Gateway,
    _ports: File,
}

/// Ports that documents name, so that they cannot be any free ones.
pub(crate) fn documented_ports(ports: &[u16]) -> File {
    let file = std::env::temp_dir().join("gatewayd-tests-documented-ports");
    // Another user's file can be locked too, but not written.
    let lock = File::create(&file).or_else(|_| File::open(&file)).unwrap();
    lock.lock().unwrap();
    for &port in ports {
        eventually(&format!("port {port} is free"), PATIENCE, || {
            TcpListener::bind(("127.0.0.1", port)).is_ok()
        });
    }
    lock
}

impl Demo {
    pub(crate) fn start() -> Self {
        let ports = documented_ports(&[8080, 8081]);
        let gateway = launch().args(&["demo"]).spawn();
        for address in [Self::address(), Self::dashboard()] {
            eventually(&format!("the demo listens on {address}"), PATIENCE, || {
                std::net::TcpStream::connect(address).is_ok()
            });
        }
        Self { gateway, _ports: ports }
    }

    pub(crate) fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    pub(crate) fn dashboard() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8081))
    }
}
