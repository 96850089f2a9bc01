//! The proxies: how each is found and started. Its settings are the templates in `benches/peers/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::interrupt::Interrupt;
use super::ports::Ports;
use super::process::{Core, Running};
use super::scenario::Transport;

/// How one proxy is started.
pub(crate) struct PeerInfo {
    /// As given to `--peer`, and its program's name.
    pub(crate) name: &'static str,
    /// Files of `benches/peers/` that are filled in for it; those for TLS and for gRPC are of the same names, in folders.
    templates: &'static [&'static str],
    /// Its arguments, with the same places to fill in as the templates.
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Makes it print its version.
    version: &'static str,
    /// Whether `cargo xtask bench proxy` runs it.
    pub(crate) first: bool,
    /// Whether it is run where TCP is passed on, and nowhere else.
    only_tcp: bool,
}

/// What the ratios refer to.
pub(crate) const NGINX: &str = "nginx";

/// The same nginx a second time: how far apart the two are is the run's noise.
pub(crate) const CONTROL: &str = "nginx again";

const NGINX_PEER: PeerInfo = PeerInfo {
    name: NGINX,
    templates: &["nginx.conf"],
    arguments: &["-p", "{{dir}}", "-c", "{{dir}}/nginx.conf"],
    environment: &[],
    version: "-v",
    first: true,
    only_tcp: false,
};

/// Every proxy, in the order of tables; nginx twice.
pub(crate) const ALL: &[PeerInfo] = &[
    NGINX_PEER,
    PeerInfo {
        name: "gatewayd",
        templates: &["gatewayd.toml"],
        arguments: &["run", "-c", "{{dir}}/gatewayd.toml"],
        environment: &[],
        version: "--version",
        first: true,
        only_tcp: false,
    },
    PeerInfo {
        name: "haproxy",
        templates: &["haproxy.cfg"],
        arguments: &["-db", "-f", "{{dir}}/haproxy.cfg"],
        environment: &[],
        version: "-v",
        first: true,
        only_tcp: false,
    },
    PeerInfo {
        name: "envoy",
        templates: &["envoy.yaml"],
        arguments: &[
            "-c",
            "{{dir}}/envoy.yaml",
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ],
        environment: &[],
        version: "--version",
        first: false,
        only_tcp: false,
    },
    PeerInfo {
        name: "traefik",
        templates: &["traefik.yaml", "traefik-rules.yaml"],
        arguments: &["--configFile={{dir}}/traefik.yaml"],
        environment: &[("GOMAXPROCS", "1")],
        version: "version",
        first: false,
        only_tcp: false,
    },
    PeerInfo {
        name: "caddy",
        templates: &["Caddyfile"],
        arguments: &["run", "--config", "{{dir}}/Caddyfile", "--adapter", "caddyfile"],
        environment: &[("GOMAXPROCS", "1")],
        version: "version",
        first: false,
        only_tcp: false,
    },
    PeerInfo {
        name: "pingora",
        templates: &[],
        arguments: &["{{port}}", "{{origin_1}}", "{{origin_2}}", "{{origin_3}}"],
        environment: &[],
        version: "--version",
        first: false,
        only_tcp: false,
    },
    PeerInfo {
        name: "epoll-floor",
        templates: &[],
        arguments: &["{{port}}", "{{origin_1}}", "{{origin_2}}", "{{origin_3}}"],
        environment: &[],
        version: "--version",
        first: false,
        only_tcp: true,
    },
    PeerInfo { name: CONTROL, ..NGINX_PEER },
];

/// The gateway with a hundred rules, for what its start costs then.
pub(crate) const HUNDRED_RULES: PeerInfo = gatewayd(
    "gatewayd, 100 rules",
    &["gatewayd-100-rules.toml"],
    &["run", "-c", "{{dir}}/gatewayd-100-rules.toml"],
);

/// The gateway with other settings than its own.
const fn gatewayd(
    name: &'static str,
    templates: &'static [&'static str],
    arguments: &'static [&'static str],
) -> PeerInfo {
    PeerInfo {
        name,
        templates,
        arguments,
        environment: &[],
        version: "--version",
        first: false,
        only_tcp: false,
    }
}

const LOG: PeerInfo =
    gatewayd("gatewayd, access log", &["gatewayd-log.toml"], &["run", "-c", "{{dir}}/gatewayd-log.toml"]);

const DUMP: PeerInfo =
    gatewayd("gatewayd, dump", &["gatewayd-dump.toml"], &["run", "-c", "{{dir}}/gatewayd-dump.toml"]);

const OFF: PeerInfo = PeerInfo {
    environment: &[("LB_STATS_ENABLED", "false")],
    ..gatewayd("gatewayd, off", &["gatewayd-off.toml"], &["run", "-c", "{{dir}}/gatewayd-off.toml"])
};

/// The gateway with more turned on, run only where `--peer` names it.
const VARIANTS: &[PeerInfo] = &[LOG, DUMP];

/// The gateway with more and less turned on, for what each costs. First and last are the same.
pub(crate) const COSTS: &[PeerInfo] = &[
    OFF,
    gatewayd(
        "gatewayd, default",
        &["gatewayd-default.toml"],
        &["run", "-c", "{{dir}}/gatewayd-default.toml"],
    ),
    gatewayd(
        "gatewayd, admin address",
        &["gatewayd-admin.toml"],
        &["run", "-c", "{{dir}}/gatewayd-admin.toml"],
    ),
    LOG,
    DUMP,
    PeerInfo { name: "gatewayd, off again", ..OFF },
];

/// A proxy whose program was found.
pub(crate) struct Peer {
    pub(crate) info: &'static PeerInfo,
    program: PathBuf,
    /// The line it prints for its version.
    pub(crate) version: String,
}

impl Peer {
    /// Look the program up: `given` first, then PATH, then what `--install-peers` installed.
    pub(crate) fn find(info: &'static PeerInfo, given: Option<&Path>) -> Result<Self> {
        let program = match given {
            Some(path) => fs::canonicalize(path).with_context(|| format!("{}", path.display()))?,
            None => super::install::find(info.program()).with_context(|| {
                let hint = if info.first { "" } else { " (--install-peers may help)" };
                format!("no program `{}` here{hint}", info.program())
            })?,
        };
        let output = Command::new(&program).arg(info.version).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()));
        // Some name themselves by their whole path, which says nothing to a reader of the table.
        let path = program.display().to_string();
        let version = line.unwrap_or("unknown").replace(&path, info.program());
        Ok(Self { info, program, version })
    }

    /// Start it in a directory of its own, in front of `origins`.
    pub(crate) fn start(
        &self,
        start: &Start<'_>,
        directory: &Path,
        origins: [u16; 3],
        ports: &mut Ports,
        interrupt: &Interrupt,
    ) -> Result<Proxy> {
        let mut proxy = self.launch(start, directory, origins, ports)?;
        proxy.running.wait_for_port(proxy.port, interrupt)?;
        Ok(proxy)
    }

    /// Its program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The same program with other settings.
    pub(crate) fn with(&self, info: &'static PeerInfo) -> Self {
        Self { info, program: self.program.clone(), version: self.version.clone() }
    }

    /// Starts it and waits for nothing.
    pub(crate) fn launch(
        &self,
        start: &Start<'_>,
        directory: &Path,
        origins: [u16; 3],
        ports: &mut Ports,
    ) -> Result<Proxy> {
        let directory = directory.join(self.info.name.replace([' ', ','], "-"));
        fs::create_dir_all(&directory)?;
        let values = Values { directory: &directory, port: ports.take()?, admin: ports.take()?, origins };
        let folder = start.transport.folder();
        let has_settings = |template: &&str| peers(folder).join(template).exists();
        let is_known = !self.info.templates.is_empty() && self.info.templates.iter().all(has_settings);
        ensure!(
            folder.is_empty() || is_known || self.info.only_tcp,
            "there are no settings for it in benches/peers/{folder}"
        );
        for template in self.info.templates {
            render(folder, template, &values)?;
        }
        let program = self.program.display().to_string();
        let arguments = self.info.arguments.iter().map(|text| values.fill_in(text));
        let mut words = start.wrapper.iter().cloned().chain([program]).chain(arguments);
        let program = words.next().map(PathBuf::from).unwrap_or_default();
        let running = Running::start(
            self.info.program(),
            Core::Proxy,
            &program,
            &words.collect::<Vec<_>>(),
            self.info.environment,
            &directory,
        )?;
        Ok(Proxy { name: self.info.name, port: values.port, admin: values.admin, running })
    }
}

impl PeerInfo {
    /// Whether it has a part where clients speak so.
    pub(crate) fn takes(&self, transport: Transport) -> bool {
        !self.only_tcp || transport == Transport::Tcp
    }

    /// What stands before the comma of a variant.
    pub(crate) fn program(&self) -> &'static str {
        match self.name.split_once(',') {
            _ if self.name == CONTROL => NGINX,
            Some((program, _)) => program,
            None => self.name,
        }
    }
}

/// How a proxy is to be run.
pub(crate) struct Start<'a> {
    /// The program and arguments that run it.
    pub(crate) wrapper: &'a [String],
    /// How it listens.
    pub(crate) transport: Transport,
}

impl Start<'_> {
    /// By itself, listening in the clear.
    pub(crate) const CLEAR: Self = Self { wrapper: &[], transport: Transport::Clear };
}

/// A proxy that listens.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// Where its template has it answer its operators, if it does.
    pub(crate) admin: u16,
    pub(crate) running: Running,
}

/// What is filled into a template's `{{…}}`.
pub(crate) struct Values<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) port: u16,
    pub(crate) admin: u16,
    pub(crate) origins: [u16; 3],
}

impl Values<'_> {
    fn fill_in(&self, text: &str) -> String {
        let [one, two, three] = self.origins.map(|port| port.to_string());
        // Without the right to change users nginx warns of the directive; as root its worker must reach the directory.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        text.replace("{{dir}}", &self.directory.display().to_string())
            .replace("{{port}}", &self.port.to_string())
            .replace("{{admin}}", &self.admin.to_string())
            .replace("{{origin_1}}", &one)
            .replace("{{origin_2}}", &two)
            .replace("{{origin_3}}", &three)
            .replace("{{user}}", user)
            .replace("{{nginx_stream}}", nginx_stream())
            .replace("{{kibibyte}}", &"x".repeat(1024))
    }
}

/// Has nginx load the module that passes connections on, where it is a file of its own, as on Debian.
fn nginx_stream() -> &'static str {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if Path::new(module).exists() { "load_module /usr/lib/nginx/modules/ngx_stream_module.so;" } else { "" }
}

fn peers(folder: &str) -> PathBuf {
    Path::new("benches/peers").join(folder)
}

/// Fill a template of a folder of `benches/peers/` in; gives back the path of the file written.
pub(crate) fn render(folder: &str, template: &str, values: &Values<'_>) -> Result<String> {
    let path = peers(folder).join(template);
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let target = values.directory.join(template);
    fs::write(&target, values.fill_in(&text))?;
    Ok(target.display().to_string())
}

/// Every proxy that can be named, in the order of tables, and the control.
pub(crate) fn all() -> impl Iterator<Item = &'static PeerInfo> {
    ALL.iter().chain(VARIANTS)
}

/// The named proxies beside nginx and its control, or those of the benchmark where none is named.
pub(crate) fn select(names: &[String], only_first: bool) -> Result<Vec<&'static PeerInfo>> {
    let known: Vec<&str> = all().map(|info| info.name).filter(|&name| name != CONTROL).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no proxy `{name}`; there are {}", known.join("; "));
    }
    let wanted = |info: &PeerInfo| {
        if names.is_empty() {
            return !info.name.contains(',') && (info.first || !only_first);
        }
        info.program() == NGINX || names.iter().any(|name| name == info.name)
    };
    Ok(all().filter(|info| wanted(info)).collect())
}
