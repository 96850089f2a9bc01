//! Certificates replaced again and again while h2load opens connection after connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lb_testkit::{Authority, Backend, Gateway, Issued, PATIENCE, Process, eventually};

use super::{put, shown};
use crate::support::{launch, rule};
use crate::tls::{LAST, Secure, s_client, secured};

/// Connections that h2load opens, so many a second, each for two requests.
const CONNECTIONS: usize = 1200;
const RATE: usize = 100;

/// h2load by one protocol, opening connections for twelve seconds.
struct Load(Process);

impl Load {
    fn on(gateway: &Gateway, protocol: &str) -> Self {
        let mut h2load = Command::new("h2load");
        h2load.args(["-c", &CONNECTIONS.to_string(), "-n", &(2 * CONNECTIONS).to_string()]);
        h2load.args(["-r", &RATE.to_string(), "-t", "1", &format!("--npn-list={protocol}")]);
        h2load.arg(format!("https://localhost:{}/", gateway.address().port()));
        Self(Process::spawn(&mut h2load))
    }

    fn is_under_way(&mut self) -> bool {
        self.0.exited().is_none()
    }

    /// Every connection was made and every request answered.
    #[track_caller]
    fn finish(mut self, protocol: &str) {
        assert!(self.0.wait(PATIENCE * 3).is_some(), "h2load does not end: {}", self.0.output());
        let (all, said) = (2 * CONNECTIONS, self.0.output());
        assert!(said.contains(&format!("Application protocol: {protocol}")), "{said}{}", self.0.errors());
        let counted = format!("{all} done, {all} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(said.contains(&counted), "{said}{}", self.0.errors());
        assert!(said.contains(&format!("{all} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{said}");
    }
}

/// Runs h2load by both protocols, and swaps while it lasts: `swap` is given a number and returns the name that new clients are to
/// be shown once it is done.
#[track_caller]
fn swapped_under_load(gateway: &Gateway, mut swap: impl FnMut(usize) -> String) {
    // Whoever looks whether it listens says nothing.
    let failed_before = failures(gateway);
    let session = gateway.directory().join("session").display().to_string();
    assert!(s_client(gateway, &["-sess_out", &session], LAST).contains("New, TLSv1.3"));
    let mut loads = ["h2", "http/1.1"].map(|protocol| (Load::on(gateway, protocol), protocol));
    let mut swaps = 0;
    while loads.iter_mut().all(|(load, _)| load.is_under_way()) {
        let name = swap(swaps);
        let is_shown = || shown(gateway).ends_with(&name);
        eventually("the new certificate is shown", PATIENCE, is_shown);
        swaps += 1;
    }
    for (load, protocol) in loads {
        load.finish(protocol);
    }
    assert!(swaps >= 3, "only {swaps} swaps under load");
    let again = s_client(gateway, &["-sess_in", &session], LAST);
    assert!(again.contains("Reused, TLSv1.3") && again.contains("200 OK"), "{again}");
    assert_eq!(failures(gateway), failed_before);
    let metrics = metrics(gateway);
    let taken_up = format!("gatewayd_certificate_reloads_total{{result=\"ok\"}} {swaps}\n");
    assert!(metrics.contains(&taken_up), "{swaps} swaps: {metrics}");
}

fn metrics(gateway: &Gateway) -> String {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    s_client(gateway, &["-quiet"], request)
}

/// Handshakes that have failed, each kind with how many.
fn failures(gateway: &Gateway) -> Vec<String> {
    let metrics = metrics(gateway);
    let failures = metrics.lines().filter(|line| line.starts_with("gatewayd_tls_handshake_failures_total{"));
    failures.map(str::to_owned).collect()
}

#[test]
fn a_certificate_replaced_before_its_key_under_h2load_fails_no_handshake() {
    let backend = Backend::echo("a");
    let Secure { gateway, authority } = Secure::start("", &rule("", &[&backend]));
    swapped_under_load(&gateway, |number| {
        let name = format!("swap-{number}");
        let Issued { cert, key } = authority.issue(&[&name, "localhost"]);
        let before = shown(&gateway);
        put(gateway.directory(), "server.crt", &cert);
        if number % 2 == 0 {
            // The half that is there does not fit: it is said, and what was in force stays.
            let complaints = || gateway.errors().matches("does not match the certificate in").count();
            eventually("the half is turned down", PATIENCE, || complaints() == number / 2 + 1);
            assert_eq!(shown(&gateway), before);
        }
        put(gateway.directory(), "server.key", &key);
        name
    });
    eventually("it is said", PATIENCE, || {
        let errors = gateway.errors();
        errors.contains("does not match") && errors.contains("those before stay in force")
    });
}

/// A directory of files as Kubernetes mounts a secret: they are links through `..data`, which is turned to a directory of its own
/// for each state of the secret, and the one before is removed.
struct Mounted(PathBuf);

impl Mounted {
    fn new(directory: &Path, pair: &Issued) -> Self {
        fs::create_dir(directory).unwrap();
        let mounted = Self(directory.to_owned());
        mounted.turn("..0", pair);
        for file in ["tls.crt", "tls.key"] {
            std::os::unix::fs::symlink(Path::new("..data").join(file), directory.join(file)).unwrap();
        }
        mounted
    }

    fn turn(&self, generation: &str, pair: &Issued) {
        let data = self.0.join("..data");
        let before = fs::read_link(&data).ok();
        fs::create_dir(self.0.join(generation)).unwrap();
        pair.write(&self.0.join(generation), "tls");
        std::os::unix::fs::symlink(generation, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), data).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(self.0.join(before)).unwrap();
        }
    }
}

#[test]
fn a_mounted_secret_that_changes_under_h2load_fails_no_handshake() {
    let (backend, launch, authority) = (Backend::echo("a"), launch(), Authority::new("Trial Root"));
    let mounted = Mounted::new(&launch.directory().join("secret"), &authority.issue(&["localhost"]));
    let tls = "cert = \"secret/tls.crt\", key = \"secret/tls.key\"";
    let gateway = secured(launch, tls, &rule("", &[&backend]));
    swapped_under_load(&gateway, |number| {
        let name = format!("generation-{number}");
        mounted.turn(&format!("..{}", number + 1), &authority.issue(&[&name, "localhost"]));
        // Once in force, it stays for a while.
        std::thread::sleep(Duration::from_millis(200));
        name
    });
    assert!(!gateway.errors().contains("not acceptable"), "{}", gateway.errors());
}
