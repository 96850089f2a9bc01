//! A real Docker, or a Podman that speaks as one, in namespaces of its own: its network, its mounts and all its processes end with it,
//! whatever becomes of the test.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use lb_testkit::{PATIENCE, Process, eventually};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

/// Each container is an nginx of this machine, which says its container's name, and ends when it has answered what it was asked.
const NGINX: &str = "user root; worker_processes 1; pid /tmp/pid; error_log stderr;
events { worker_connections 512; }
http {
    access_log off; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server { listen 8080; location / { return 200 '{\"backend\":\"$hostname\"}'; } }
}";
/// At the port of its environment, where there is one.
const SERVE: &str = r#"CMD ["/bin/sh", "-c", "sed s/8080/${PORT:-8080}/ /etc/nginx.conf > /tmp/conf && exec /usr/sbin/nginx -c /tmp/conf -g 'daemon off;'"]"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Docker,
    /// Without the helpers that it needs for networks: all containers have the host's.
    Podman,
}

pub(super) struct Engine {
    kind: Kind,
    directory: TempDir,
    /// Where its groups of processes are, which outlive them.
    cgroup: String,
    server: Option<Process>,
    /// The first process of the namespaces, by that which made them. The others end with it.
    namespaces: Process,
}

impl Engine {
    /// Starts it, with an image `web`, and takes this thread, and whatever it starts from now on, into its network.
    ///
    /// # Errors
    /// Why this machine has none.
    pub(super) fn start(kind: Kind) -> Result<Self, String> {
        if fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) != 0)
        {
            return Err("containers need root".to_owned());
        }
        let program = match kind {
            Kind::Docker => "dockerd",
            Kind::Podman => "podman",
        };
        if Command::new(program).arg("--version").output().is_err() {
            return Err(format!("{program} is not installed"));
        }
        // They end with this thread, even where it has no time to end them.
        let mut unshare = Command::new("setpriv");
        unshare.args(["--pdeathsig", "KILL", "unshare"]);
        unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        let mut namespaces = Process::spawn(
            unshare.arg("ip link set lo up && mount -t tmpfs run /run && echo ready && exec sleep infinity"),
        );
        eventually("the namespaces are made, or not", PATIENCE, || {
            namespaces.output() == "ready\n" || namespaces.exited().is_some()
        });
        if namespaces.wait(std::time::Duration::ZERO).is_some() {
            return Err(format!("no namespaces of one's own: {}", namespaces.errors().trim()));
        }
        let cgroup = format!("/gatewayd-test-{}", namespaces.id());
        let mut engine = Self { kind, directory: TempDir::new().unwrap(), cgroup, server: None, namespaces };
        fs::write(engine.directory.path().join("daemon.json"), "{}").unwrap();
        engine.run()?;
        engine.import();
        engine.ask(&engine.run_with(&["--rm"], &["true"])).map_err(|error| refused(&error))?;
        let network = fs::File::open(format!("/proc/{}/ns/net", engine.namespaces.id())).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        Ok(engine)
    }

    /// Runs the server (again): with what it has stored, and the containers that went on without it.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let socket = format!("unix://{}", self.socket());
        let mut command = self.inside();
        match self.kind {
            Kind::Docker => {
                command.args(["dockerd", "--live-restore", "--iptables=false", "--ip-masq=false"]);
                command.args(["--ip-forward=false", "--userland-proxy=false", "--storage-driver=vfs"]);
                command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
                command.args(["--config-file", &path("daemon.json"), "--pidfile", &path("pid")]);
                command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--host", &socket]);
            }
            Kind::Podman => {
                command.args(["podman", "--root", &path("data"), "--runroot", &path("exec")]);
                command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
                command.args(["--runtime", "runc", "system", "service", "--time", "0", &socket]);
            }
        }
        let mut server = Process::spawn(&mut command);
        let mut is_over = false;
        eventually("the engine answers, or ends", PATIENCE, || {
            is_over = server.wait(std::time::Duration::ZERO).is_some();
            is_over || self.ask(&["version"]).is_ok()
        });
        if is_over {
            return Err(refused(&server.errors()));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server. Its containers go on.
    pub(super) fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        assert!(Command::new("kill").arg(child_of(&server)).status().unwrap().success());
        assert!(server.wait(PATIENCE).is_some(), "the engine does not stop");
    }

    pub(super) fn socket(&self) -> String {
        self.directory.path().join("docker.sock").display().to_string()
    }

    /// What the `docker` command says.
    #[track_caller]
    pub(super) fn docker(&self, arguments: &[&str]) -> String {
        self.ask(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    /// A container of the upstream `app`, with more of `docker run`; the URL at which its label or its only port says it is.
    #[track_caller]
    pub(super) fn serve(&self, name: &str, more: &[&str]) -> String {
        let own = ["--detach", "--name", name, "--hostname", name, "--stop-signal", "QUIT"];
        let label = ["--label", "gatewayd.upstream=app"];
        self.docker(&self.run_with(&[&own[..], &label, more].concat(), &[]));
        self.url(name)
    }

    /// `docker run` of the image, with more, and another command than its own where there is one.
    pub(super) fn run_with<'a>(&'a self, more: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
        let all = ["run", "--cgroup-parent", &self.cgroup, "--volume", "/usr:/usr:ro"];
        let bounds = ["--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
        let bounds = if self.kind == Kind::Podman { &bounds[..] } else { &[] };
        [&all[..], bounds, more, &["web"], command].concat()
    }

    #[track_caller]
    pub(super) fn url(&self, name: &str) -> String {
        let network = self.docker(&["inspect", "--format", "{{json .NetworkSettings.Networks}}", name]);
        let network: Value = serde_json::from_str(&network).unwrap();
        let address = network["bridge"]["IPAddress"].as_str().unwrap_or("127.0.0.1");
        format!("http://{address}:8080")
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket())).env_remove("DOCKER_CONTEXT");
        let output = command.env("DOCKER_CONFIG", self.directory.path()).args(arguments).output();
        let output = output.map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// A command in the namespaces.
    fn inside(&self) -> Command {
        let namespace = |name: &str| format!("/proc/{}/ns/{name}", self.namespaces.id());
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount={}", namespace("mnt"))).arg(format!("--net={}", namespace("net")));
        command.arg(format!("--pid={}", namespace("pid_for_children"))).arg("--");
        command
    }

    /// An image that holds nothing but names: its programs are this machine's.
    fn import(&self) {
        let root = self.directory.path().join("root");
        for folder in ["etc", "tmp", "usr"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for link in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{link}"), root.join(link)).unwrap();
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
        fs::write(root.join("etc/nginx.conf"), NGINX).unwrap();
        let file = self.directory.path().join("image.tar").display().to_string();
        let tar = Command::new("tar").args(["-cf", &file, "-C"]).arg(&root).arg(".").status();
        assert!(tar.is_ok_and(|status| status.success()));
        self.docker(&["import", "--change", "EXPOSE 8080", "--change", SERVE, &file, "web"]);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Who made the namespaces ends when all in them have.
        let _ = Command::new("kill").args(["-KILL", &child_of(&self.namespaces)]).status();
        self.namespaces.wait(PATIENCE);
        remove_cgroups(Path::new("/sys/fs/cgroup"), self.cgroup.trim_start_matches('/'), 0);
    }
}

/// The process that another has started.
fn child_of(process: &Process) -> String {
    let id = process.id();
    fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default().trim().to_owned()
}

/// Removes the groups of this name, be it one hierarchy or one a controller.
fn remove_cgroups(folder: &Path, name: &str, depth: usize) {
    for folder in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if folder.ends_with(name) {
            remove_tree(&folder);
        } else if depth == 0 && folder.is_dir() {
            remove_cgroups(&folder, name, 1);
        }
    }
}

/// The files of a group cannot be removed, and go with it.
fn remove_tree(group: &Path) {
    let entries = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).for_each(|inner| remove_tree(&inner));
    let _ = fs::remove_dir(group);
}

/// Why an engine does not run here.
///
/// # Panics
/// Where it is nothing that the machine forbids: then something is wrong.
fn refused(said: &str) -> String {
    let reasons = ["not permitted", "ermission denied", "ead-only file system"];
    let line = said.lines().rev().find(|line| reasons.iter().any(|reason| line.contains(reason)));
    line.map(str::to_owned).unwrap_or_else(|| panic!("the engine does not run: {said}"))
}
