//! What an authority says of a certificate, shown to clients with it: asked for by openssl, made by Python's `cryptography`.

use std::path::Path;
use std::process::Command;

use lb_testkit::{Authority, Backend, Gateway, Issued, PATIENCE, eventually};

use crate::support::{launch, python, rule};
use crate::tls::{LAST, s_client, secured};

/// Makes a response: authority, its key, the certificate, the file to write, what is said, and from when to when, in seconds from now.
const MAKE: &str = r#"
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
ca, key, cert, out, said, begin, end = sys.argv[1:]
read = lambda path: open(path, "rb").read()
ca, cert = x509.load_pem_x509_certificate(read(ca)), x509.load_pem_x509_certificate(read(cert))
key = serialization.load_pem_private_key(read(key), None)
now = datetime.datetime.now(datetime.timezone.utc)
at = lambda seconds: now + datetime.timedelta(seconds=int(seconds))
revoked = said == "REVOKED"
response = ocsp.OCSPResponseBuilder().add_response(
    cert=cert, issuer=ca, algorithm=hashes.SHA1(), cert_status=ocsp.OCSPCertStatus[said],
    this_update=at(begin), next_update=at(end),
    revocation_time=at(begin) if revoked else None, revocation_reason=None,
).responder_id(ocsp.OCSPResponderEncoding.HASH, ca).sign(key, hashes.SHA256())
open(out, "wb").write(response.public_bytes(serialization.Encoding.DER))
"#;

/// A directory with a certificate, and who signs responses for it.
struct Responder {
    authority: Authority,
}

impl Responder {
    fn new() -> Self {
        Self { authority: Authority::new("Trial Root") }
    }

    /// Issues `server.crt` and `server.key`, its chain with it.
    fn issue(&self, directory: &Path, name: &str) -> String {
        let Issued { cert, key } = self.authority.issue(&[name, "localhost"]);
        Issued { cert: format!("{cert}{}", self.authority.pem()), key }.write(directory, "server")
    }

    /// Writes `file`, of the certificate `server.crt`.
    #[track_caller]
    fn respond(&self, directory: &Path, file: &str, said: &str, (begin, end): (i64, i64)) {
        let (ca, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        self.authority.write(&ca);
        std::fs::write(&key, self.authority.key()).unwrap();
        let mut make = Command::new(python("aioquic==1.7.2"));
        make.args(["-c", MAKE]).arg(ca).arg(key).arg(directory.join("server.crt")).arg(directory.join("new"));
        let output = make.args([said, &begin.to_string(), &end.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(directory.join("new"), directory.join(file)).unwrap();
    }
}

const OCSP: &str = "ocsp = \"server.ocsp\"";
const NOW: (i64, i64) = (-3600, 3600);

/// Whether a client that asks is shown a response.
#[track_caller]
fn is_stapled(gateway: &Gateway, arguments: &[&str]) -> bool {
    let said = s_client(gateway, &[&["-status"], arguments].concat(), LAST);
    assert!(said.contains("200 OK"), "{said}");
    let is_there = said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good");
    assert_ne!(is_there, said.contains("OCSP response: no response sent"), "{said}");
    is_there
}

#[test]
fn a_response_is_shown_to_who_asks_and_only_while_it_holds() {
    let (backend, launch, responder) = (Backend::echo("a"), launch(), Responder::new());
    let pair = responder.issue(launch.directory(), "first");
    responder.respond(launch.directory(), "server.ocsp", "GOOD", NOW);
    let gateway = secured(launch, &format!("{pair}, {OCSP}"), &rule("", &[&backend]));
    for version in ["-tls1_2", "-tls1_3"] {
        assert!(is_stapled(&gateway, &[version]), "{version}");
    }
    assert!(!s_client(&gateway, &[], LAST).contains("OCSP Response"));
    assert!(!gateway.errors().contains("OCSP"), "{}", gateway.errors());
    // One that is over soon is taken up, and then no more shown.
    responder.respond(gateway.directory(), "server.ocsp", "GOOD", (-3600, 12));
    gateway.log_line("it is taken up", |line| line["message"].to_string().contains("in force"));
    assert!(is_stapled(&gateway, &[]));
    eventually("it is not shown any more", PATIENCE, || !is_stapled(&gateway, &[]));
    let said = gateway.log_line("that is said", |line| line["message"].to_string().contains("has expired"));
    assert!(said.to_string().contains("server.ocsp"), "{said}");
}

#[test]
fn a_response_that_clients_would_not_believe_is_named_and_not_shown() {
    let (backend, responder) = (Backend::echo("a"), Responder::new());
    type Prepare = fn(&Responder, &Path);
    let cases: [(&str, &[&str], Prepare); 8] = [
        ("missing", &["no such file"], |_, _| ()),
        ("empty", &["no OCSP response", "empty"], |_, dir| {
            std::fs::write(dir.join("server.ocsp"), "").unwrap();
        }),
        ("PEM", &["no OCSP response", "PEM"], |_, dir| {
            std::fs::copy(dir.join("server.crt"), dir.join("server.ocsp")).unwrap();
        }),
        ("refused", &["says nothing of any certificate", "Unauthorized"], |_, dir| {
            std::fs::write(dir.join("server.ocsp"), b"\x30\x03\x0a\x01\x06").unwrap();
        }),
        ("revoked", &["revoked"], |by, dir| by.respond(dir, "server.ocsp", "REVOKED", NOW)),
        ("unknown", &["does not know"], |by, dir| by.respond(dir, "server.ocsp", "UNKNOWN", NOW)),
        ("old", &["has expired"], |by, dir| by.respond(dir, "server.ocsp", "GOOD", (-7200, -3600))),
        ("another's", &["says nothing of this certificate"], |by, dir| {
            by.respond(dir, "server.ocsp", "GOOD", NOW);
            by.issue(dir, "another");
        }),
    ];
    for (what, words, prepare) in cases {
        let launch = launch();
        let pair = responder.issue(launch.directory(), "first");
        prepare(&responder, launch.directory());
        let gateway = secured(launch, &format!("{pair}, {OCSP}"), &rule("", &[&backend]));
        for word in [words, &["server.ocsp", "not shown"]].concat() {
            eventually(&format!("{what}: `{word}` is said"), PATIENCE, || gateway.errors().contains(word));
        }
        assert!(!is_stapled(&gateway, &[]), "{what}");
    }
}

#[test]
fn a_response_follows_its_certificate() {
    let (backend, launch, responder) = (Backend::echo("a"), launch(), Responder::new());
    let pair = responder.issue(launch.directory(), "first");
    // Of two certificates, each has its own.
    let other = responder.authority.issue(&["other.test"]).write(launch.directory(), "other");
    let tls = format!("certificates = [{{ {pair}, {OCSP} }}, {{ {other} }}]");
    let gateway = secured(launch, &tls, &rule("", &[&backend]));
    assert!(!is_stapled(&gateway, &[]));
    responder.respond(gateway.directory(), "server.ocsp", "GOOD", NOW);
    eventually("it is shown as soon as it is there", PATIENCE, || is_stapled(&gateway, &[]));
    assert!(!is_stapled(&gateway, &["-servername", "other.test"]));
    responder.issue(gateway.directory(), "second");
    eventually("of another certificate it is not", PATIENCE, || !is_stapled(&gateway, &[]));
    responder.respond(gateway.directory(), "server.ocsp", "GOOD", NOW);
    eventually("and the new one is", PATIENCE, || is_stapled(&gateway, &[]));
}
