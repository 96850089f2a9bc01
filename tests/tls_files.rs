//! Certificate files: what is wrong with one is said with its name, and a changed one is taken up while requests go on.

mod swaps;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use lb_testkit::{Authority, Backend, Issued, Launch, PATIENCE, Validity, eventually};

use crate::support::{launch, rule};
use crate::tls::{LAST, Secure, s_client, secured};

/// What `gatewayd check` says of a listener's `tls` table.
fn check(launch: Launch, tls: &str) -> Output {
    let config = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = {{ {tls} }}\n[[rules]]\nbackends = [\"127.0.0.1:1\"]\n"
    );
    launch.config_file("gatewayd.toml", &config).args(&["check", "{dir}/gatewayd.toml"]).run()
}

/// Files `a.crt` and `a.key` are wrong in this way, and `check` and `run` say so.
#[track_caller]
fn refused(prepare: impl Fn(&Path), words: &[&str]) {
    for command in ["check", "run"] {
        let launch = launch();
        prepare(launch.directory());
        let tls = "tls = { cert = \"a.crt\", key = \"a.key\" }";
        let config = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n{tls}\n[[rules]]\nbackends = [\"127.0.0.1:1\"]\n"
        );
        let arguments = match command {
            "check" => vec!["check", "{dir}/gatewayd.toml"],
            _ => vec!["run", "-c", "{dir}/gatewayd.toml"],
        };
        let output = launch.config_file("gatewayd.toml", &config).args(&arguments).run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{command}: {said}");
        for word in words {
            assert!(said.contains(word), "{command}: no `{word}` in {said}");
        }
        assert!(said.contains("gatewayd.toml:3:"), "{said}");
    }
}

fn good() -> Issued {
    Authority::new("Trial Root").issue(&["localhost"])
}

#[test]
fn what_is_wrong_with_a_certificate_or_key_is_said_with_the_files_name() {
    refused(|_| {}, &["a.crt", "no such file"]);
    refused(|dir| drop(fs::write(dir.join("a.crt"), good().cert)), &["a.key", "no such file"]);
    refused(|dir| fs::create_dir(dir.join("a.crt")).unwrap(), &["a.crt", "not a file"]);
    let pair = |cert: &[u8], key: &[u8]| {
        let (cert, key) = (cert.to_vec(), key.to_vec());
        move |dir: &Path| {
            fs::write(dir.join("a.crt"), &cert).unwrap();
            fs::write(dir.join("a.key"), &key).unwrap();
        }
    };
    let Issued { cert, key } = good();
    let (cert_text, key_text) = (cert.clone(), key.clone());
    let (cert, key) = (cert.as_bytes(), key.as_bytes());
    refused(pair(b"", key), &["a.crt", "is not PEM", "empty"]);
    refused(pair(b"hello\n", key), &["a.crt", "is not PEM"]);
    refused(pair(b"\x30\x82\x01\x00abcd", key), &["a.crt", "is not PEM", "DER", "openssl x509"]);
    refused(pair(cert, b"\x30\x81\x10abcd"), &["a.key", "is not PEM", "DER"]);
    refused(pair(key, cert), &["a.crt", "no certificate", "swapped"]);
    refused(pair(cert, cert), &["a.key", "no private key", "swapped"]);
    refused(pair(&cert[..cert.len() / 2], key), &["a.crt", "broken PEM"]);
    let garbled = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    refused(pair(garbled, key), &["a.crt", "certificate 1 in it is malformed"]);
    let garbled = b"-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    refused(pair(cert, garbled), &["a.key", "cannot be used"]);
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    refused(pair(cert, encrypted), &["a.key", "encrypted", "openssl pkey"]);
    let encrypted = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\naGVsbG8=\n-----END RSA PRIVATE KEY-----\n";
    refused(pair(cert, encrypted), &["a.key", "encrypted", "openssl pkey"]);
    refused(pair(cert, b"0\x03abc"), &["a.key", "is not PEM", "DER"]);
    let request = b"-----BEGIN CERTIFICATE REQUEST-----\naGVsbG8=\n-----END CERTIFICATE REQUEST-----\n";
    refused(pair(request, key), &["a.crt", "no certificate", "a request for one"]);
    let public = b"-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n";
    refused(pair(cert, public), &["a.key", "no private key", "a public key"]);
    // Whoever opened that would wait for ever.
    let pipe = |dir: &Path| {
        assert!(Command::new("mkfifo").arg(dir.join("a.crt")).status().unwrap().success());
    };
    refused(pipe, &["a.crt", "not a file"]);
    refused(pair(cert, good().key.as_bytes()), &["a.key", "does not match the certificate in", "a.crt"]);
    let authority = Authority::new("Trial Root");
    let past = authority.issue_valid(&["localhost"], Validity::Past);
    refused(pair(past.cert.as_bytes(), past.key.as_bytes()), &["a.crt", "has expired", "2020"]);
    let future = authority.issue_valid(&["localhost"], Validity::Future);
    refused(pair(future.cert.as_bytes(), future.key.as_bytes()), &["a.crt", "not valid yet", "3000"]);
    let chain = format!("{cert_text}{}", Authority::new("Another Root").pem());
    refused(pair(chain.as_bytes(), key_text.as_bytes()), &["a.crt", "the chain is broken", "Another Root"]);
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    // Root reads everything, and then there is nothing to see.
    let launch = launch();
    let tls = good().write(launch.directory(), "a");
    let key = launch.directory().join("a.key");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    if fs::read(&key).is_err() {
        let output = check(launch, &tls);
        assert!(String::from_utf8_lossy(&output.stderr).contains("permission denied"));
    }
}

#[test]
fn what_is_wrong_with_the_other_keys_is_said_at_them() {
    let pair = |launch: &Launch| good().write(launch.directory(), "a");
    for (more, words) in [
        (
            "ciphers = [\"TLS_RSA_WITH_RC4_128_MD5\"]",
            &["TLS_RSA_WITH_RC4_128_MD5", "TLS_AES_256_GCM_SHA384"][..],
        ),
        (
            "min_version = \"1.3\", ciphers = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]",
            &["none of the cipher suites"],
        ),
        ("min_version = \"1.1\"", &["`min_version` cannot be `1.1`", "1.2"]),
        ("client_auth = { mode = \"required\" }", &["no `ca`"]),
        ("client_auth = { ca = \"no.pem\" }", &["no.pem", "no such file"]),
        ("client_auth = { ca = \"a.key\" }", &["a.key", "no certificate"]),
        ("client_auth = { ca = \"a.crt\", mode = \"maybe\" }", &["`mode` cannot be `maybe`"]),
        ("client_auth = { ca = \"a.crt\", subject_header = \"X Y\" }", &["not the name of a header"]),
        ("certificates = [{ cert = \"a.crt\" }]", &["a `cert` without a `key`"]),
        ("certificates = [{ cert = \"a.crt\", key = \"b.key\" }]", &["b.key", "no such file"]),
    ] {
        let launch = launch();
        let tls = format!("{}, {more}", pair(&launch));
        let output = check(launch, &tls);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{more}: {said}");
        for word in words {
            assert!(said.contains(word), "{more}: no `{word}` in {said}");
        }
    }
    for (tls, words) in [("", "no certificate"), ("cert = \"a.crt\"", "a `cert` without a `key`")] {
        let output = check(launch(), tls);
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{tls}");
    }
}

#[test]
fn a_good_pair_and_a_chain_in_order_are_accepted() {
    let launch = launch();
    let root = Authority::new("Trial Root");
    let middle = root.below("Trial Intermediate");
    let Issued { cert, key } = middle.issue(&["localhost"]);
    let chained = Issued { cert: format!("{cert}{}{}", middle.pem(), root.pem()), key };
    let tls = chained.write(launch.directory(), "a");
    let output = check(launch, &tls);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("warning"));
}

#[test]
fn what_clients_would_not_see_is_warned_of_and_what_editors_add_is_borne() {
    let launch = launch();
    fs::write(launch.directory().join("bare.cnf"), "[req]\ndistinguished_name = d\n[d]\n").unwrap();
    let (cert, key) = (launch.directory().join("a.crt"), launch.directory().join("a.key"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", "/CN=localhost", "-config"])
        .arg(launch.directory().join("bare.cnf"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in [&cert, &key] {
        let marked = [b"\xef\xbb\xbf", &fs::read(file).unwrap()[..]].concat();
        fs::write(file, marked).unwrap();
    }
    let output = check(launch, "cert = \"a.crt\", key = \"a.key\"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("no subjectAltName"), "{said}");
}

/// The serial number that a new client is shown.
fn shown(gateway: &lb_testkit::Gateway) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &gateway.address().to_string(), "-servername", "localhost"]);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("subject=")).unwrap_or_default().to_owned()
}

/// Puts a file in the place of another by renaming, as certbot and the like do.
fn put(directory: &Path, name: &str, text: &str) {
    let new = directory.join(format!("{name}.new"));
    fs::write(&new, text).unwrap();
    fs::rename(&new, directory.join(name)).unwrap();
}

/// The same with a pair.
fn replace(directory: &Path, pair: &Issued) {
    put(directory, "server.crt", &pair.cert);
    put(directory, "server.key", &pair.key);
}

#[test]
fn certificates_are_swapped_under_load_without_an_error() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let url = format!("https://localhost:{}/", secure.gateway.address().port());
    let ca = secure.authority.write(&secure.gateway.directory().join("root.pem"));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, served, url, ca) = (Arc::clone(&stop), Arc::clone(&served), url.clone(), ca.clone());
            std::thread::spawn(move || {
                let mut errors = Vec::new();
                while !stop.load(SeqCst) {
                    let mut curl = Command::new("curl");
                    curl.args(["-sS", "-f", "--max-time", "20", "-o", "/dev/null", "--cacert"])
                        .arg(&ca)
                        .arg(&url);
                    let output = curl.output().unwrap();
                    served.fetch_add(1, SeqCst);
                    if !output.status.success() {
                        errors.push(String::from_utf8_lossy(&output.stderr).into_owned());
                    }
                }
                errors
            })
        })
        .collect();
    for name in ["second", "third"] {
        let before = served.load(SeqCst);
        replace(secure.gateway.directory(), &secure.authority.issue(&[name, "localhost"]));
        eventually("the new certificate is shown", PATIENCE, || shown(&secure.gateway).contains(name));
        eventually("requests go on", PATIENCE, || served.load(SeqCst) > before + 5);
    }
    stop.store(true, SeqCst);
    for client in clients {
        assert_eq!(client.join().unwrap(), Vec::<String>::new());
    }
    let metrics = String::from_utf8(secure.curl("/metrics", &[]).stdout).unwrap();
    assert!(metrics.contains("gatewayd_certificate_reloads_total{result=\"ok\"} 2"), "{metrics}");
}

#[test]
fn a_session_outlives_a_change_of_certificates() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    let session = secure.gateway.directory().join("session").display().to_string();
    let connect = |arguments: &[&str]| s_client(&secure.gateway, arguments, LAST);
    assert!(connect(&["-sess_out", &session]).contains("New, TLSv1.3"));
    replace(secure.gateway.directory(), &secure.authority.issue(&["second", "localhost"]));
    eventually("the new certificate is shown", PATIENCE, || shown(&secure.gateway).contains("second"));
    assert!(connect(&["-sess_in", &session]).contains("Reused, TLSv1.3"));
}

#[test]
fn a_bad_new_file_is_turned_down_and_a_later_good_one_taken_up() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    let directory = secure.gateway.directory();
    let other = secure.authority.issue(&["other", "localhost"]);
    fs::write(directory.join("server.crt"), &other.cert).unwrap();
    let line = secure.gateway.log_line("the bad pair is turned down", |line| line["level"] == "ERROR");
    let said = line.to_string();
    assert!(said.contains("does not match the certificate") && said.contains("server.key"), "{said}");
    assert!(shown(&secure.gateway).contains("localhost"));
    let metrics = String::from_utf8(secure.curl("/metrics", &[]).stdout).unwrap();
    assert!(metrics.contains("gatewayd_certificate_reloads_total{result=\"rejected\"} 1"), "{metrics}");
    fs::write(directory.join("server.key"), &other.key).unwrap();
    eventually("the good pair is shown", PATIENCE, || shown(&secure.gateway).contains("other"));
}

#[test]
fn a_symbolic_link_that_is_turned_elsewhere_is_followed() {
    let backend = Backend::echo("a");
    // As Kubernetes mounts secrets: the files are links into a directory that is a link itself.
    let (launch, authority) = (launch(), Authority::new("Trial Root"));
    let directory = launch.directory().to_owned();
    let generation = |name: &str, names: &[&str]| {
        fs::create_dir(directory.join(name)).unwrap();
        authority.issue(names).write(&directory.join(name), "tls");
    };
    let link = |target: &str, name: &str| {
        let new = directory.join("link.new");
        std::os::unix::fs::symlink(target, &new).unwrap();
        fs::rename(&new, directory.join(name)).unwrap();
    };
    generation("one", &["localhost"]);
    generation("two", &["second", "localhost"]);
    link("one", "data");
    link("data/tls.crt", "tls.crt");
    link("data/tls.key", "tls.key");
    let gateway = secured(launch, "cert = \"tls.crt\", key = \"tls.key\"", &rule("", &[&backend]));
    assert!(shown(&gateway).contains("localhost"));
    link("two", "data");
    eventually("the second generation is shown", PATIENCE, || shown(&gateway).contains("second"));
}

#[test]
fn a_reload_takes_other_certificates_up_and_leaves_tls_on_or_off_as_written() {
    let (launch, backend) = (launch(), Backend::echo("a"));
    let authority = Authority::new("Trial Root");
    let first = authority.issue(&["first"]).write(launch.directory(), "one");
    let second = authority.issue(&["second"]).write(launch.directory(), "two");
    let gateway = secured(launch, &first, &rule("", &[&backend]));
    assert!(shown(&gateway).contains("first"));
    let file = gateway.directory().join("gatewayd.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace(&first, &second)).unwrap();
    gateway.signal("HUP");
    eventually("the second certificate is shown", PATIENCE, || shown(&gateway).contains("second"));
    // A file that is wrong changes nothing.
    fs::write(&file, config.replace(&first, "cert = \"no.crt\", key = \"no.key\"")).unwrap();
    gateway.signal("HUP");
    eventually("the bad file is named", PATIENCE, || gateway.errors().contains("no.crt"));
    assert!(shown(&gateway).contains("second"));
    fs::write(&file, config.replace(&format!("tls = {{ {first} }}\n"), "")).unwrap();
    gateway.signal("HUP");
    let in_the_clear = || {
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.read_to_close().starts_with(b"HTTP/1.1 200")
    };
    eventually("it speaks in the clear", PATIENCE, in_the_clear);
}
