//! Backends under a prefix in etcd.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lb_testkit::{Authority, Backend, Load, PATIENCE, Port, Process, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ask, discovering, eventually_present, eventually_serves, present, source};
use crate::support::backend_status;

/// A real etcd, alone.
struct Etcd {
    process: Option<Process>,
    client: Port,
    peer: Port,
    directory: TempDir,
    /// Where it speaks TLS, and with what more.
    secure: Option<(Port, Vec<String>)>,
}

impl Etcd {
    fn start() -> Self {
        Self::start_with(None)
    }

    fn start_with(secure: Option<(Port, Vec<String>)>) -> Self {
        let mut etcd = Self {
            process: None,
            client: Port::free(),
            peer: Port::free(),
            directory: TempDir::new().unwrap(),
            secure,
        };
        etcd.run();
        etcd
    }

    /// Runs (again), with what it has stored.
    fn run(&mut self) {
        let (client, peer) =
            (format!("http://{}", self.client.address()), format!("http://{}", self.peer.address()));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(self.directory.path());
        let secure = self.secure.as_ref().map(|(port, _)| format!(",https://{}", port.address()));
        let listen = format!("{client}{}", secure.unwrap_or_default());
        command.args(["--listen-client-urls", &listen, "--advertise-client-urls", &client]);
        command.args(self.secure.iter().flat_map(|(_, more)| more));
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        self.process = Some(Process::spawn(&mut command));
        eventually("etcd is healthy", PATIENCE, || {
            std::net::TcpStream::connect(self.address()).is_ok()
                && ask(self.address(), "GET", "/health", "", "").text().contains("true")
        });
    }

    fn stop(&mut self) {
        self.process = None;
    }

    fn address(&self) -> SocketAddr {
        self.client.address()
    }

    fn call(&self, path: &str, body: &Value) -> Value {
        let answer = ask(self.address(), "POST", path, "", &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn put(&self, key: &str, value: &str) -> Value {
        self.call("/v3/kv/put", &json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) }))
    }

    fn delete(&self, key: &str) {
        self.call("/v3/kv/deleterange", &json!({ "key": BASE64.encode(key) }));
    }
}

#[test]
fn backends_in_etcd_are_followed_and_outlive_it() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let mut etcd = Etcd::start();
    etcd.put("/services/app/a", &a.url());
    etcd.put("/services/apple", "http://127.0.0.1:9");
    let discover = format!("etcd = \"http://{}\", prefix = \"/services/app/\"", etcd.address());
    let gateway = discovering(&discover, "");
    eventually_present(&gateway, &[a.url()]);
    let load = Load::on(gateway.address());
    etcd.put("/services/app/b", &json!({ "url": b.url(), "weight": 2 }).to_string());
    eventually_present(&gateway, &[a.url(), b.url()]);
    eventually_serves(&gateway, &[&a, &b]);
    assert_eq!(backend_status(&gateway, "app", &b.url())["weight"], 2.0);
    // Nonsense leaves what there was of its key, and is said.
    etcd.put("/services/app/b", "{\"url\": 7}");
    etcd.put("/services/app/x", "{");
    eventually("it is said", PATIENCE, || {
        source(&gateway)["notice"].as_str().is_some_and(|notice| notice.starts_with("2 keys hold no backend"))
    });
    assert_eq!(present(&gateway), [a.url(), b.url()].into());
    etcd.delete("/services/app/x");
    etcd.put("/services/app/b", &json!({ "Op": 0, "Addr": b.address().to_string() }).to_string());
    eventually_present(&gateway, &[a.url(), b.address().to_string()]);
    eventually("all is well", PATIENCE, || source(&gateway)["notice"].is_null());
    etcd.delete("/services/app/a");
    eventually_present(&gateway, &[b.address().to_string()]);

    // It goes, and comes back with a history that has been compacted.
    etcd.stop();
    eventually("that nobody answers is said", PATIENCE, || source(&gateway)["error"].is_string());
    assert_eq!(present(&gateway).len(), 1);
    eventually_serves(&gateway, &[&b]);
    etcd.run();
    let revision = etcd.put("/services/app/c", &c.url())["header"]["revision"].clone();
    etcd.call("/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
    eventually_present(&gateway, &[b.address().to_string(), c.url()]);
    eventually_serves(&gateway, &[&b, &c]);
    assert!(load.finish().answers > 100);
    assert!(source(&gateway)["error"].is_null());
}

#[test]
fn an_etcd_that_has_lost_its_data_takes_nobody_out_at_once() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let mut etcd = Etcd::start();
    etcd.put("/app/a", &a.url());
    let discover = |more: &str| format!("etcd = \"http://{}\", prefix = \"/app/\"{more}", etcd.address());
    let patient = discovering(&discover(""), "");
    let hasty = discovering(&discover(", keep = \"2s\""), "");
    for gateway in [&patient, &hasty] {
        eventually_present(gateway, &[a.url()]);
    }
    etcd.stop();
    etcd.directory = TempDir::new().unwrap();
    etcd.run();
    eventually("it is said", PATIENCE, || {
        source(&patient)["error"].as_str().is_some_and(|error| error.contains("no key below `/app/`"))
    });
    assert_eq!(present(&patient), [a.url()].into());
    eventually_serves(&patient, &[&a]);
    eventually_present(&hasty, &[]);
    hasty.log_line("it is said", |line| line["message"] == "nobody for longer than `keep`");
    // Who comes again first takes nobody's place; for who has not, a time is over as before.
    etcd.put("/app/b", &b.url());
    eventually_present(&hasty, &[b.url()]);
    eventually_present(&patient, &[a.url(), b.url()]);
    for gateway in [&patient, &hasty] {
        assert!(source(gateway)["error"].is_null());
    }
    let said = source(&patient)["notice"].to_string();
    assert!(said.contains("1 who have not come again"), "{said}");
    // What it tells from now on is believed, also that nobody is left.
    etcd.put("/app/a", &a.url());
    eventually("they are there anew", PATIENCE, || source(&patient)["notice"].is_null());
    etcd.delete("/app/a");
    eventually_present(&patient, &[b.url()]);
    etcd.delete("/app/b");
    eventually_present(&patient, &[]);
    patient.log_line("it is said", |line| line["message"] == "the answer is that nobody is left");
    etcd.put("/app/b", &b.url());
    eventually_serves_after(&patient, &b);
}

#[track_caller]
fn eventually_serves_after(gateway: &lb_testkit::Gateway, backend: &Backend) {
    eventually_present(gateway, &[backend.url()]);
    eventually_serves(gateway, &[backend]);
}

/// By TLS, which asks for a certificate, and with users, whose tokens end after a second.
#[test]
fn an_etcd_that_asks_who_comes_is_told_and_told_again() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let directory = TempDir::new().unwrap();
    // etcd shows its own certificate to itself, so one authority vouches for both sides.
    let authority = Authority::new("Private Root");
    let path = |name: &str| directory.path().join(name).display().to_string();
    authority.write(&directory.path().join("ca.pem"));
    authority.issue(&["127.0.0.1"]).write(directory.path(), "etcd");
    // etcd's JSON gateway turns away certificates that have a common name.
    authority.issue_client("", "Acme").write(directory.path(), "own");
    let flags = ["--cert-file", &path("etcd.crt"), "--key-file", &path("etcd.key")].map(str::to_owned);
    let more = ["--client-cert-auth", "--trusted-ca-file", &path("ca.pem"), "--auth-token-ttl", "1"];
    let flags = flags.into_iter().chain(more.map(str::to_owned)).collect();
    let secure = Port::free();
    let at = secure.address();
    let mut etcd = Etcd::start_with(Some((secure, flags)));
    etcd.put("/app/a", &a.url());
    etcd.call("/v3/auth/user/add", &json!({ "name": "root", "password": "top" }));
    etcd.call("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" }));
    etcd.call("/v3/auth/user/add", &json!({ "name": "gateway", "password": "hush" }));
    etcd.call("/v3/auth/role/add", &json!({ "name": "reader" }));
    let range =
        json!({ "permType": "READ", "key": BASE64.encode("/app/"), "range_end": BASE64.encode("/app0") });
    etcd.call("/v3/auth/role/grant", &json!({ "name": "reader", "perm": range }));
    etcd.call("/v3/auth/user/grant", &json!({ "user": "gateway", "role": "reader" }));
    etcd.call("/v3/auth/enable", &json!({}));
    let put = |etcd: &Etcd, key: &str, value: &str| {
        let token = etcd.call("/v3/auth/authenticate", &json!({ "name": "root", "password": "top" }));
        let fields = format!("Authorization: {}\r\n", token["token"].as_str().unwrap());
        let body = json!({ "key": BASE64.encode(key), "value": BASE64.encode(value) }).to_string();
        assert_eq!(ask(etcd.address(), "POST", "/v3/kv/put", &fields, &body).status, 200);
    };
    let discover = |tls: &str, user: &str| {
        format!(
            "etcd = \"https://{at}\", prefix = \"/app/\", tls = {{ ca = \"{}\"{tls} }}{user}",
            path("ca.pem")
        )
    };
    let own = format!(", client_cert = \"{}\", client_key = \"{}\"", path("own.crt"), path("own.key"));
    let user = |password: &str| format!(", user = \"gateway\", password = \"{password}\"");

    // Each of the three is asked for.
    for (tls, user, wanted) in [
        ("", user("hush"), ""),
        (own.as_str(), String::new(), "the answer is"),
        (own.as_str(), user("wrong"), "user \"gateway\" is not let in"),
    ] {
        let gateway = discovering(&discover(tls, &user), "");
        eventually("it is said", PATIENCE, || {
            source(&gateway)["error"]
                .as_str()
                .is_some_and(|error| error.contains(wanted) && !error.contains("wrong"))
        });
        assert!(present(&gateway).is_empty());
    }
    let gateway = discovering(&discover(&own, &user("hush")), "");
    eventually_present(&gateway, &[a.url()]);
    // The first token ends, and etcd forgets all of them as it goes; either way there is another.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    put(&etcd, "/app/b", &b.url());
    eventually_present(&gateway, &[a.url(), b.url()]);
    etcd.stop();
    eventually("that nobody answers is said", PATIENCE, || source(&gateway)["error"].is_string());
    assert_eq!(present(&gateway).len(), 2);
    etcd.run();
    eventually("it is let in again", PATIENCE, || source(&gateway)["error"].is_null());
    put(&etcd, "/app/a", &b.url());
    eventually_present(&gateway, &[b.url()]);
    eventually_serves(&gateway, &[&b]);
}

/// Only a scripted etcd compacts between a list and the watch after it.
#[test]
fn a_watch_that_is_cancelled_begins_again_with_a_list_and_a_cluster_is_asked_in_turn() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let urls = [a.url(), b.url()];
    let lists = Arc::new(AtomicUsize::new(0));
    let watches: Arc<Mutex<Vec<String>>> = Arc::default();
    let etcd = {
        let (lists, watches) = (Arc::clone(&lists), Arc::clone(&watches));
        Backend::scripted(move |conn| {
            let Some(request) = conn.request() else { return };
            if request.target == "/v3/kv/range" {
                let round = lists.fetch_add(1, SeqCst);
                let value = BASE64.encode(&urls[round.min(1)]);
                let body = json!({
                    "header": { "revision": (10 * (round + 1)).to_string() },
                    "kvs": [{ "key": BASE64.encode("/a/1"), "value": value }], "count": "1",
                })
                .to_string();
                conn.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
                return;
            }
            watches.lock().unwrap().push(String::from_utf8_lossy(&request.body).into_owned());
            conn.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let line = match lists.load(SeqCst) {
                1 => {
                    "{\"result\":{\"header\":{\"revision\":\"15\"},\"canceled\":true,\"compact_revision\":\"15\"}}\n"
                }
                _ => "{\"result\":{\"header\":{\"revision\":\"20\"},\"created\":true}}\n",
            };
            conn.reply(format!("{:x}\r\n{line}\r\n", line.len()));
            // Held open until the other side goes.
            let _ = conn.request();
        })
    };
    let silent = Port::free();
    let discover = format!("etcd = [\"http://{}\", \"{}\"], prefix = \"/a/\"", silent.address(), etcd.url());
    let gateway = discovering(&discover, "");
    eventually_present(&gateway, &[b.url()]);
    eventually_serves(&gateway, &[&b]);
    eventually("it watches from the second list on", PATIENCE, || watches.lock().unwrap().len() == 2);
    let asked = watches.lock().unwrap().clone();
    assert!(
        asked[0].contains("\"start_revision\":\"11\"") && asked[1].contains("\"start_revision\":\"21\""),
        "{asked:?}"
    );
    assert!(source(&gateway)["error"].is_null());
}
