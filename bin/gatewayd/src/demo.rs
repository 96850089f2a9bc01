//! `gatewayd demo`: the tutorial of four strategies, with its ten backends inside the process.

use std::net::SocketAddr;

use lb_config::{Format, Sources};

use crate::backend;
use crate::exit;
use crate::run::{control_runtime, until_stopped};
use crate::signals::Stop;
use crate::wire::{Home, Running};
use crate::{Outcome, status};

/// The demo's configuration, with a placeholder for each backend's address.
const CONFIGURATION: &str = include_str!("../../../config/demo.toml");
/// The ports that the tutorial's backends have; the demo's go by these names on ports of their own.
const PORTS: std::ops::RangeInclusive<u16> = 8081..=8090;

/// Runs the demo until a signal.
pub(crate) fn demo() -> Outcome {
    control_runtime()?.block_on(async {
        let stop = Stop::listen()?;
        let mut backends = Vec::new();
        let mut addresses = Vec::new();
        for port in PORTS {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let (address, task) = backend::start(any, Some(format!("localhost:{port}"))).await?;
            addresses.push((format!("DEMO_{port}"), address.to_string()));
            backends.push(task);
        }
        let sources = Sources::text("demo.toml", Format::Toml, CONFIGURATION).environment(addresses);
        let loaded = lb_config::load(&sources)?;
        let admin = loaded.admin.as_ref().map(|admin| admin.address);
        let running = Running::start(loaded, Home::Demo, None).await?;
        welcome(&running, admin);
        until_stopped(running, stop).await
    })
}

fn welcome(running: &Running, admin: Option<SocketAddr>) {
    let front = running.addresses().first().map_or_else(String::new, |(_, address)| address.to_string());
    let dashboard = admin.map_or_else(String::new, |admin| format!("\n  dashboard       http://{admin}/"));
    exit::say(&format!(
        "\ngatewayd {version} demo: four rules, four strategies, ten echo backends\n\
         \n  page            http://{front}/{dashboard}\n\
         \n  try             for i in 1 2 3 4 5 6; do curl -s http://{front}/api/v1/test$i; done\n\
         \n  Ctrl-C ends it.\n",
        version = status::VERSION,
    ));
}
