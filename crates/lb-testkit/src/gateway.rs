//! A gateway as its users run it: a process, a configuration file, sockets.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Client, fetch};
use crate::message::Response;
use crate::ports::Port;
use crate::process::Process;
use crate::wait::{PATIENCE, eventually};

/// How a gateway is to be started. Placeholders stand in configuration,
/// arguments and environment alike: `{listen}`, `{listen2}`,
/// `{admin}` for free addresses of 127.0.0.1, `{dir}` for the temporary directory it runs in.
#[derive(Debug)]
pub struct Launch {
    program: String,
    directory: TempDir,
    ports: BTreeMap<&'static str, Port>,
    config: Option<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    files: Option<u32>,
}

impl Launch {
    /// With a program and nothing else.
    pub fn new(program: &str) -> Self {
        let names = ["listen", "listen2", "admin"];
        Self {
            program: program.to_owned(),
            directory: TempDir::new().unwrap(),
            ports: names.map(|name| (name, Port::free())).into(),
            config: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            files: None,
        }
    }

    /// A TOML configuration; where it names no `{listen}`, a listener there is added.
    #[must_use]
    pub fn config(self, toml: &str) -> Self {
        self.config_file("gatewayd.toml", &with_listener(toml))
    }

    /// A configuration file of this name (its ending tells the format), as it is.
    #[must_use]
    pub fn config_file(mut self, name: &str, text: &str) -> Self {
        self.config = Some((name.to_owned(), text.to_owned()));
        self
    }

    /// Arguments in place of `run -c FILE`.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// A variable in the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A bound on open files.
    #[must_use]
    pub fn max_open_files(mut self, files: u32) -> Self {
        self.files = Some(files);
        self
    }

    /// The temporary directory, for more files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A port reserved for this gateway: `listen`, `listen2` or `admin`.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.ports[name].address()
    }

    /// Start it and wait until it listens at every address that it was told, and `{listen}` accepts.
    ///
    /// # Panics
    /// Where it ends before that, with what it said.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let mut gateway = self.spawn();
        let address = gateway.address();
        let named = gateway.launch.named();
        let end = Instant::now() + PATIENCE;
        while !named.iter().copied().all(is_listened_at) || TcpStream::connect(address).is_err() {
            if let Some(status) = gateway.wait(Duration::ZERO) {
                panic!("the gateway ended with {status}:\n{}{}", gateway.output(), gateway.errors());
            }
            assert!(Instant::now() < end, "the gateway does not listen:\n{}", gateway.errors());
            std::thread::sleep(Duration::from_millis(5));
        }
        gateway
    }

    /// Start it and wait for nothing.
    ///
    /// # Panics
    /// Where the program does not start.
    #[track_caller]
    pub fn spawn(self) -> Gateway {
        let mut command = self.command();
        Gateway { process: Process::spawn(&mut command), launch: self }
    }

    /// Run it to its end.
    ///
    /// # Panics
    /// Where it does not end within [`PATIENCE`].
    #[track_caller]
    pub fn run(self) -> Output {
        let mut gateway = self.spawn();
        let Some(status) = gateway.wait(PATIENCE) else {
            panic!("the program still runs:\n{}{}", gateway.output(), gateway.errors())
        };
        Output { status, stdout: gateway.output().into_bytes(), stderr: gateway.errors().into_bytes() }
    }

    fn command(&self) -> Command {
        let mut arguments: Vec<String> = self.arguments.iter().map(|argument| self.fill(argument)).collect();
        if let Some((name, text)) = &self.config {
            let file = self.directory.path().join(name);
            std::fs::write(&file, self.fill(text)).unwrap();
            if arguments.is_empty() {
                arguments = vec!["run".to_owned(), "-c".to_owned(), file.display().to_string()];
            }
        }
        let mut command = match self.files {
            None => Command::new(&self.program),
            Some(files) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {files} && exec \"$0\" \"$@\"")).arg(&self.program);
                shell
            }
        };
        command.args(arguments).current_dir(self.directory.path());
        for name in ["LB_STRATEGY", "LB_HEALTH_CHECK", "LB_STATS_ENABLED", "GATEWAYD_TOKEN", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, self.fill(value))));
        command
    }

    /// The addresses that its configuration, arguments and environment name.
    fn named(&self) -> Vec<SocketAddr> {
        let config = self.config.iter().map(|(_, text)| text);
        let environment = self.environment.iter().map(|(_, value)| value);
        let texts: Vec<&String> = config.chain(&self.arguments).chain(environment).collect();
        let is_named = |name: &str| texts.iter().any(|text| text.contains(&format!("{{{name}}}")));
        let ports = self.ports.iter().filter(|(name, _)| is_named(name));
        ports.map(|(_, port)| port.address()).collect()
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("{dir}", &self.directory.path().display().to_string());
        for (name, port) in &self.ports {
            text = text.replace(&format!("{{{name}}}"), &port.address().to_string());
        }
        text
    }
}

/// Whether somebody listens there: as the kernel has it, since a connection is one that backends of a TCP listener would count.
fn is_listened_at(address: SocketAddr) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{:04X}", address.port());
    // This thread's network may be another than its process's.
    let sockets = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
    sockets.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some(LISTEN)
    })
}

/// A listener on `{listen}`, where there is none.
fn with_listener(toml: &str) -> String {
    let listener = "\n[[listeners]]\nname = \"web\"\naddress = \"{listen}\"\n";
    format!("{toml}{}", if toml.contains("{listen}") { "" } else { listener })
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    // Before `launch`: the process ends before its directory and its ports are given up.
    process: Process,
    launch: Launch,
}

impl Gateway {
    /// Start `program` with a TOML configuration and wait until it listens.
    ///
    /// # Panics
    /// Where it ends before that.
    #[track_caller]
    pub fn start(program: &str, toml: &str) -> Self {
        Launch::new(program).config(toml).start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.launch.address("listen")
    }

    /// The address that stood for another placeholder.
    pub fn address_of(&self, name: &str) -> SocketAddr {
        self.launch.address(name)
    }

    /// The temporary directory it runs in.
    pub fn directory(&self) -> &Path {
        self.launch.directory()
    }

    /// Its configuration file.
    ///
    /// # Panics
    /// Where it was started without one.
    pub fn config_file(&self) -> PathBuf {
        let (name, _) = self.launch.config.as_ref().expect("it has a configuration file");
        self.directory().join(name)
    }

    /// A TOML configuration as [`Launch::config`] would write it.
    pub fn filled(&self, toml: &str) -> String {
        self.launch.fill(&with_listener(toml))
    }

    /// Write another TOML configuration over its file.
    ///
    /// # Panics
    /// Where that cannot be written.
    #[track_caller]
    pub fn write_config(&self, toml: &str) {
        std::fs::write(self.config_file(), self.filled(toml)).unwrap();
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// `GET` on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        fetch(self.address(), "GET", target, &[])
    }

    /// A request without a body on a connection of its own.
    #[track_caller]
    pub fn fetch(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Response {
        fetch(self.address(), method, target, fields)
    }

    /// Send exact bytes on a connection of their own and read all that comes until it closes.
    #[track_caller]
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = self.client();
        client.try_send(bytes).ok();
        client.read_to_close()
    }

    /// The lines of its standard error that are JSON objects.
    pub fn log(&self) -> Vec<Value> {
        self.errors().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Wait for a log line for which `condition` holds, and return it.
    ///
    /// # Panics
    /// Where none comes within [`PATIENCE`].
    #[track_caller]
    pub fn log_line(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(what, PATIENCE, || {
            found = self.log().into_iter().find(&condition);
            found.is_some()
        });
        found.unwrap()
    }

    /// Ask it to drain and end.
    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    /// Its exit code.
    ///
    /// # Panics
    /// Where it still runs after `deadline`.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> Option<i32> {
        match self.wait(deadline) {
            Some(status) => status.code(),
            None => panic!("the gateway still runs after {deadline:?}:\n{}", self.errors()),
        }
    }
}

impl Deref for Gateway {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Gateway {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
