//! TLS sessions that outlive what they began under: a reload, and the process itself.

use std::fs;

use lb_testkit::{Authority, Backend, Gateway, PATIENCE, eventually};

use crate::support::{launch, rule};
use crate::takeover::{ADMIN, has_ended, upgraded};
use crate::tls::{LAST, Secure, s_client, secured, show};

const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];

/// Begins a session by each version, and keeps each in a file.
#[track_caller]
fn begin(gateway: &Gateway, arguments: &[&str]) -> [String; 2] {
    VERSIONS.map(|version| {
        let file = gateway.directory().join(format!("session{version}")).display().to_string();
        let said = s_client(gateway, &[arguments, &[version, "-sess_out", &file]].concat(), LAST);
        assert!(said.contains("New, TLSv1") && said.contains("200 OK"), "{said}");
        file
    })
}

/// What openssl says of going on with each session.
fn go_on(gateway: &Gateway, sessions: &[String; 2]) -> [String; 2] {
    let mut sessions = sessions.iter();
    VERSIONS.map(|version| s_client(gateway, &[version, "-sess_in", sessions.next().unwrap()], LAST))
}

#[track_caller]
fn assert_resumed(gateway: &Gateway, sessions: &[String; 2]) {
    for said in go_on(gateway, sessions) {
        assert!(said.contains("Reused, TLSv1") && said.contains("200 OK"), "{said}");
    }
}

#[test]
fn a_session_is_resumed_by_the_process_after_the_next() {
    let backend = Backend::echo("a");
    let more = format!("{ADMIN}[server]\nworkers = 2\n{}", rule("", &[&backend]));
    let Secure { mut gateway, .. } = Secure::start("", &more);
    let sessions = begin(&gateway, &[]);
    let first = upgraded(&gateway);
    eventually("the first process ends", PATIENCE, || gateway.exited().is_some());
    assert_resumed(&gateway, &sessions);
    let _second = upgraded(&gateway);
    eventually("the second process ends", PATIENCE, || has_ended(first.0));
    assert_resumed(&gateway, &sessions);
    let from_the_second = begin(&gateway, &[]);
    assert_resumed(&gateway, &from_the_second);
}

/// A gateway that asks for certificates that `clients.pem` vouches for, one of a client, and a backend that tells of its subject.
struct Asking {
    gateway: Gateway,
    shown: Vec<String>,
    backend: Backend,
}

impl Asking {
    fn new(mode: &str) -> Self {
        let (launch, backend, clients) = (launch(), Backend::echo("a"), Authority::new("Clients' Root"));
        clients.write(&launch.directory().join("clients.pem"));
        let pair = Authority::new("Trial Root").issue(&["localhost"]).write(launch.directory(), "server");
        let auth = format!(
            "client_auth = {{ ca = \"clients.pem\", mode = \"{mode}\", subject_header = \"X-Subject\" }}"
        );
        let more = format!("{ADMIN}{}", rule("", &[&backend]));
        let gateway = secured(launch, &format!("{pair}, {auth}"), &more);
        let shown = show(gateway.directory(), &clients, "alice", "Acme");
        Self {
            gateway,
            shown: vec!["-cert".into(), shown[1].clone(), "-key".into(), shown[3].clone()],
            backend,
        }
    }

    fn begin(&self, shown: &[String]) -> [String; 2] {
        begin(&self.gateway, &shown.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn config(&self, change: impl Fn(String) -> String) {
        let file = self.gateway.directory().join("gatewayd.toml");
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
    }
}

#[test]
fn who_has_shown_a_certificate_is_known_after_an_upgrade_while_its_issuer_is_believed() {
    let asking = Asking::new("required");
    let sessions = asking.begin(&asking.shown);
    let first = upgraded(&asking.gateway);
    assert_resumed(&asking.gateway, &sessions);
    assert_eq!(asking.backend.requests().pop().unwrap().header("x-subject"), Some("CN=alice,O=Acme"));

    let answered = asking.backend.requests().len();
    Authority::new("Others").write(&asking.gateway.directory().join("clients.pem"));
    let _second = upgraded(&asking.gateway);
    eventually("the process before ends", PATIENCE, || has_ended(first.0));
    for said in go_on(&asking.gateway, &sessions) {
        assert!(!said.contains("Reused") && !said.contains("200 OK"), "{said}");
    }
    assert_eq!(asking.backend.requests().len(), answered);
}

#[test]
fn a_reload_that_changes_the_tls_of_a_listener_keeps_its_sessions() {
    let backend = Backend::echo("a");
    let Secure { gateway, .. } = Secure::start("", &rule("", &[&backend]));
    let sessions = begin(&gateway, &[]);
    let file = gateway.directory().join("gatewayd.toml");
    let config = fs::read_to_string(&file).unwrap();
    let ciphers = "\"TLS_AES_256_GCM_SHA384\", \"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384\"";
    fs::write(&file, config.replace("tls = {", &format!("tls = {{ ciphers = [{ciphers}],"))).unwrap();
    gateway.signal("HUP");
    let weaker = ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"];
    eventually("other ciphers are in force", PATIENCE, || {
        s_client(&gateway, &weaker, LAST).contains("handshake failure")
    });
    assert_resumed(&gateway, &sessions);
}

#[test]
fn who_was_let_in_without_a_certificate_is_asked_for_one_once_it_is_required() {
    let asking = Asking::new("optional");
    let sessions = asking.begin(&[]);
    assert_resumed(&asking.gateway, &sessions);
    asking.config(|config| config.replace("\"optional\"", "\"required\""));
    asking.gateway.signal("HUP");
    eventually("nobody comes in without", PATIENCE, || {
        !s_client(&asking.gateway, &["-tls1_2"], LAST).contains("200 OK")
    });
    for said in go_on(&asking.gateway, &sessions) {
        assert!(!said.contains("Reused") && !said.contains("200 OK"), "{said}");
    }
}

/// The certificate that is shown, and whether a client that trusts this file believes it.
fn shown(gateway: &Gateway, trusted: &[&str]) -> (String, bool) {
    let said = s_client(gateway, &[&["-tls1_3", "-servername", "localhost"], trusted].concat(), LAST);
    let begins = said.find("-----BEGIN CERTIFICATE-----").unwrap_or_else(|| panic!("none is shown: {said}"));
    let ends = begins + said[begins..].find("-----END CERTIFICATE-----").unwrap();
    (
        said[begins..ends].to_owned() + "-----END CERTIFICATE-----\n",
        said.contains("Verify return code: 0 (ok)"),
    )
}

#[test]
fn a_self_signed_certificate_that_is_trusted_once_is_kept_over_reloads_and_upgrades() {
    let backend = Backend::echo("a");
    let config = |more: &str| {
        let listener = "[[listeners]]\naddress = \"{listen}\"\ntls = \"self-signed\"\n";
        format!("{listener}{more}\n{ADMIN}[server]\nworkers = 2\n{}", rule("", &[&backend]))
    };
    let gateway = launch().config(&config("")).start();
    let (first, _) = shown(&gateway, &[]);
    let file = gateway.directory().join("trusted.pem").display().to_string();
    fs::write(&file, &first).unwrap();
    let trusted = ["-CAfile", &file, "-alpn", "h2,http/1.1"];
    assert!(shown(&gateway, &trusted).1);
    // Another set of protocols is another configuration of TLS.
    gateway.write_config(&config("http2 = false"));
    gateway.signal("HUP");
    eventually("HTTP/2 is offered no more", PATIENCE, || {
        s_client(&gateway, &trusted, LAST).contains("ALPN protocol: http/1.1")
    });
    assert_eq!(shown(&gateway, &trusted), (first.clone(), true), "over a reload");
    let next = upgraded(&gateway);
    eventually("the first process ends", PATIENCE, || has_ended(gateway.id()));
    assert_eq!(shown(&gateway, &trusted), (first.clone(), true), "over an upgrade");
    let _last = upgraded(&gateway);
    eventually("the second process ends", PATIENCE, || has_ended(next.0));
    assert_eq!(shown(&gateway, &trusted), (first, true), "and over the next");
}
