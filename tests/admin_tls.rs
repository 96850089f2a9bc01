//! The admin address by TLS: who comes by a certificate makes changes as by the token, from wherever.

use lb_testkit::{Authority, Backend, Gateway, PATIENCE, eventually};

use crate::support::{cli, launch, rule};
use crate::tls::show;

struct Guarded {
    gateway: Gateway,
    backend: Backend,
    authority: Authority,
    clients: Authority,
}

/// A gateway whose admin address speaks TLS; `mode` of client certificates, and more of `[admin]`.
fn guarded(mode: &str, admin: &str) -> Guarded {
    let launch = launch();
    let (authority, clients) = (Authority::new("Trial Root"), Authority::new("Operators' Root"));
    authority.write(&launch.directory().join("root.pem"));
    clients.write(&launch.directory().join("operators.pem"));
    let pair = authority.issue(&["localhost", "127.0.0.1"]).write(launch.directory(), "admin");
    let auth = match mode {
        "" => String::new(),
        mode => format!(", client_auth = {{ ca = \"operators.pem\", mode = \"{mode}\" }}"),
    };
    let backend = Backend::echo("a");
    let config = format!(
        "[admin]\naddress = \"{{admin}}\"\n{admin}\ntls = {{ {pair}{auth} }}\n[access_log]\n{}",
        rule("name = \"web\"", &[&backend])
    );
    Guarded { gateway: launch.config(&config).start(), backend, authority, clients }
}

impl Guarded {
    /// A command to it, with what it is believed and shown by.
    fn ask(&self, command: &[&str], shown: &[String]) -> (Option<i32>, String) {
        let url = format!("https://{}", self.gateway.address_of("admin"));
        let root = self.gateway.directory().join("root.pem").display().to_string();
        let at = ["--admin", &url, "--admin-ca", &root];
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let output = cli(&[command, &at, &shown].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// The words that show a certificate of this authority's.
    fn shown(&self, by: &Authority, name: &str) -> Vec<String> {
        let mut words = show(self.gateway.directory(), by, name, "Acme");
        words[0] = "--admin-cert".to_owned();
        words[2] = "--admin-key".to_owned();
        words
    }
}

#[test]
fn nobody_is_answered_without_a_certificate_where_it_is_required() {
    let it = guarded("required", "");
    let url = it.backend.url();
    for shown in [Vec::new(), it.shown(&Authority::new("Others"), "eve")] {
        let (code, said) = it.ask(&["status"], &shown);
        assert!(code == Some(1) && !said.contains(&url), "{said}");
        assert_eq!(said.contains("--admin-cert FILE"), shown.is_empty(), "{said}");
    }
    let strange = format!("https://{}", it.gateway.address_of("admin"));
    let said = cli(&["status", "--admin", &strange]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("--admin-ca FILE"), "{}", String::from_utf8_lossy(&said));
    let shown = it.shown(&it.clients, "alice");
    let (code, said) = it.ask(&["status"], &shown);
    assert!(code == Some(0) && said.contains(&url), "{said}");
    let (code, said) = it.ask(&["top", "--once"], &shown);
    assert!(code == Some(0) && said.contains(&url), "{said}");
    let (code, said) = it.ask(&["weight", &url, "3"], &shown);
    assert!(code == Some(0) && said.contains("1 changed"), "{said}");
    let line = it.gateway.log_line("who it was", |line| line["action"] == "weight");
    assert_eq!(line["subject"], "CN=alice,O=Acme", "{line}");
    // In the clear there is nobody.
    let plain = it.gateway.address_of("admin").to_string();
    let said = cli(&["status", "--admin", &plain]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("https://"), "{said}");
}

#[test]
fn a_certificate_or_the_token_is_enough_where_certificates_are_welcome_and_both_are_needed_where_they_are_required()
 {
    let it = guarded("optional", "token = \"s3cret\"");
    let (url, token) = (it.backend.url(), ["--token", "s3cret"]);
    let drain = ["drain", &url, "--json"];
    let (code, said) = it.ask(&drain, &[]);
    assert!(code == Some(1) && said.contains("401"), "{said}");
    assert_eq!(it.ask(&["status"], &[]).0, Some(0), "whoever reads needs neither");
    assert_eq!(it.ask(&[&drain[..], &token].concat(), &[]).0, Some(0));
    assert_eq!(it.ask(&drain, &it.shown(&it.clients, "alice")).0, Some(0));

    let it = guarded("required", "token = \"s3cret\"");
    let url = it.backend.url();
    let (drain, shown) = (["drain", &url], it.shown(&it.clients, "alice"));
    let (code, said) = it.ask(&drain, &shown);
    assert!(code == Some(1) && said.contains("401"), "{said}");
    assert_eq!(it.ask(&[&drain[..], &token].concat(), &shown).0, Some(0));
    assert_eq!(it.ask(&[&drain[..], &token].concat(), &[]).0, Some(1));

    // Without a token it takes a certificate, from this machine, too.
    let it = guarded("optional", "");
    let url = it.backend.url();
    let (code, said) = it.ask(&["drain", &url], &[]);
    assert!(code == Some(1) && said.contains("401") && said.contains("client certificate"), "{said}");
    assert_eq!(it.ask(&["drain", &url], &it.shown(&it.clients, "alice")).0, Some(0));
}

#[test]
fn another_sites_page_makes_no_changes_by_a_browsers_certificate() {
    let it = guarded("required", "");
    let shown = show(it.gateway.directory(), &it.clients, "alice", "Acme");
    let admin = it.gateway.address_of("admin");
    let status = |origin: &str| {
        let url = format!("https://{admin}/api/reload");
        let output = std::process::Command::new("curl")
            .args(["-sS", "-X", "POST", "-o", "/dev/null", "-w", "%{http_code}", "-H", origin, "--cacert"])
            .arg(it.authority.write(&it.gateway.directory().join("root.pem")))
            .args(&shown)
            .arg(url)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(status("Origin: https://evil.example"), "403");
    assert_eq!(status(&format!("Origin: https://{admin}")), "200");
    assert_eq!(status("X-Nothing: 1"), "200");
}

#[test]
fn certificates_of_the_admin_address_are_taken_up_when_they_change_and_the_rest_is_said() {
    let it = guarded("", "");
    assert_eq!(it.ask(&["status"], &[]).0, Some(0));
    let directory = it.gateway.directory().to_owned();
    let other = Authority::new("Next Root");
    other.issue(&["localhost", "127.0.0.1"]).write(&directory, "admin");
    other.write(&directory.join("root.pem"));
    eventually("the other certificate is shown", PATIENCE, || it.ask(&["status"], &[]).0 == Some(0));
    // TLS itself comes and goes with a start, and that is said.
    let config = std::fs::read_to_string(it.gateway.config_file()).unwrap();
    let without: Vec<&str> = config.lines().filter(|line| !line.starts_with("tls")).collect();
    std::fs::write(it.gateway.config_file(), without.join("\n")).unwrap();
    let (code, said) = it.ask(&["reload"], &[]);
    assert!(code == Some(0) && said.contains("admin.tls"), "{said}");
}

#[test]
fn what_is_wrong_with_it_is_said_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Trial Root");
    let pair = authority.issue(&["localhost"]).write(folder.path(), "admin");
    authority.write(&folder.path().join("ca.pem"));
    for (tls, words) in [
        ("tls = { cert = \"no.crt\", key = \"no.key\" }".to_owned(), "no.crt"),
        ("tls = \"none\"".to_owned(), "self-signed"),
        (
            format!("tls = {{ {pair}, client_auth = {{ ca = \"ca.pem\", subject_header = \"X\" }} }}"),
            "subject_header",
        ),
    ] {
        let file = folder.path().join("gatewayd.toml");
        std::fs::write(&file, format!("[admin]\n{tls}\n[[rules]]\nbackends = [\"127.0.0.1:9\"]\n")).unwrap();
        let output = cli(&["check", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(78) && said.contains(words) && said.contains("toml:2"),
            "{said}"
        );
    }
    // Files for TLS where none is spoken.
    let file = folder.path().join("ca.pem").display().to_string();
    let said = cli(&["status", "--admin", "127.0.0.1:1", "--admin-ca", &file]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("write https://"));
}
