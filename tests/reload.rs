//! A configuration that changes while the gateway runs: what changes, what stays, and that no request notices.

use std::fs;
use std::net::TcpStream;

use lb_testkit::{Backend, Client, Gate, Gateway, Load, PATIENCE, eventually, fetch};
use serde_json::{Value, json};

use crate::support::{STATUS_LISTENER, backend_status, cli, launch, rule, tally, urls, weighted};

const ADMIN: &str = "[admin]\naddress = \"{admin}\"\n";

/// A gateway with an admin address and the status endpoints.
fn gateway(config: &str) -> Gateway {
    launch().config(&with_admin(config)).start()
}

/// The same that follows its file.
fn watching(config: &str) -> Gateway {
    let launch = launch();
    let file = launch.directory().join("gatewayd.toml").display().to_string();
    launch.config(&with_admin(config)).args(&["run", "--watch", "-c", &file]).start()
}

fn with_admin(config: &str) -> String {
    format!("{STATUS_LISTENER}{ADMIN}{config}")
}

/// `gatewayd reload`: its exit status and what it said.
pub(crate) fn reload(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let admin = gateway.address_of("admin").to_string();
    let output = cli(&[&["reload", "--admin", &admin], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

/// Write a configuration and have it put in force; what changed.
#[track_caller]
fn apply(gateway: &Gateway, config: &str) -> String {
    gateway.write_config(&with_admin(config));
    let (code, said) = reload(gateway, &[]);
    assert_eq!(code, 0, "{said}");
    said
}

/// How often a reload ended so.
fn reloads(gateway: &Gateway, result: &str) -> u64 {
    let metrics = fetch(gateway.address_of("admin"), "GET", "/metrics", &[]).text();
    let row = format!("gatewayd_config_reloads_total{{result=\"{result}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&row)).unwrap().parse().unwrap()
}

fn last_reload(gateway: &Gateway) -> Value {
    fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json()["configuration"]["last_reload"]
        .clone()
}

#[test]
fn a_reload_says_what_it_changes_and_a_dry_run_changes_nothing() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let upstream = |backends: &[(&Backend, &str)]| {
        format!(
            "[upstreams.app]\nload_balancing = \"weighted_round_robin\"\nbackends = [{}]\n",
            weighted(backends)
        )
    };
    let one = "[[rules]]\nname = \"one\"\nupstream = \"app\"\n";
    let gateway = gateway(&format!("{}{one}", upstream(&[(&a, "1"), (&b, "2")])));
    let two = "[[rules]]\nname = \"two\"\npath_prefix = \"/two\"\nupstream = \"app\"\n";
    let next = format!("{}{two}{one}timeout = \"9s\"\n", upstream(&[(&a, "1"), (&b, "3"), (&c, "1")]),);
    gateway.write_config(&with_admin(&next));
    let expected = format!(
        "rules +1 (two) ~1 (one); upstream app: +{}, {} weight 2→3; 1 listener unchanged",
        c.url(),
        b.url()
    );
    let (code, said) = reload(&gateway, &["--dry-run"]);
    assert_eq!((code, said.trim()), (0, expected.as_str()));
    assert_eq!((reloads(&gateway, "ok"), reloads(&gateway, "rejected")), (0, 0));
    assert!(c.requests().is_empty() && last_reload(&gateway).is_null());

    let (code, said) = reload(&gateway, &[]);
    assert_eq!((code, said.trim()), (0, expected.as_str()));
    let answers = tally((0..10).map(|_| gateway.get("/").backend()));
    assert_eq!(answers, [("a".to_owned(), 2), ("b".to_owned(), 6), ("c".to_owned(), 2)].into());
    assert_eq!(reloads(&gateway, "ok"), 1);
    assert_eq!(
        (&last_reload(&gateway)["result"], &last_reload(&gateway)["detail"]),
        (&json!("ok"), &json!(expected))
    );
    gateway.log_line("it is in the log", |line| line["component"] == "reload" && line["plan"] == expected);

    let (code, said) = reload(&gateway, &["--json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &document["plan"]["rules"]["unchanged"]), (0, &json!(2)), "{document}");
    assert_eq!(document["plan"]["upstreams"], json!([]));
}

#[test]
fn no_request_notices_reloads_however_many() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let configs = [
        rule("name = \"r\"", &[&a, &b]),
        rule("name = \"r\"\ntimeout = \"20s\"", &[&b, &c]),
        format!(
            "{}{}",
            rule("name = \"first\"\npath = \"/nothing\"", &[&a]),
            rule("name = \"r\"", &[&c, &a])
        ),
    ];
    let gateway = gateway(&configs[0]);
    let load = Load::on(gateway.address());
    for round in 1..=30 {
        apply(&gateway, &configs[round % configs.len()]);
    }
    let asked = load.finish();
    assert!(asked.answers > 100 && asked.came_again == 0, "{asked:?}");
    assert_eq!(reloads(&gateway, "ok"), 30);
    assert!([&a, &b, &c].iter().all(|backend| backend.hits() > 0));
}

#[test]
fn what_does_not_change_keeps_connections_figures_and_health() {
    let (mut dead, alive, other) = (Backend::echo("dead"), Backend::echo("alive"), Backend::echo("other"));
    let upstream = |more: &str, extra: &str| {
        let probes =
            "health_check = { path = \"/h\", interval = \"10m\", timeout = \"1s\", unhealthy_threshold = 1 }";
        format!(
            "[server]\nworkers = 1\n[upstreams.app]\n{probes}\npassive = false\nretries = {{ attempts = 0 }}\nbackends = [{}{more}]\n[[rules]]\nname = \"r\"\nupstream = \"app\"\n{extra}",
            urls(&[&dead, &alive])
        )
    };
    let first = upstream("", "");
    let second = upstream("", "timeout = \"7s\"\n");
    let third = upstream(&format!(", {}", urls(&[&other])), "timeout = \"7s\"\n");
    dead.stop();
    let gateway = gateway(&first);
    eventually("it is found dead", PATIENCE, || {
        backend_status(&gateway, "app", &dead.url())["healthy"] == false
    });
    for _ in 0..5 {
        assert_eq!(gateway.get("/").backend(), "alive");
    }
    let connections = alive.accepted();
    for (config, total) in [(&second, 10), (&third, 15)] {
        apply(&gateway, config);
        let status = backend_status(&gateway, "app", &dead.url());
        assert_eq!(status["healthy"], false, "it is not taken for healthy again: {status}");
        // Not one of them meets the dead one, which would cost a retry that there is none of.
        for _ in 0..5 {
            assert_eq!(gateway.get("/alive?only").status, 200);
        }
        let served: u64 = [&alive, &other]
            .iter()
            .filter(|backend| config.contains(&backend.url()))
            .map(|backend| {
                backend_status(&gateway, "app", &backend.url())["total_requests"].as_u64().unwrap()
            })
            .sum();
        assert_eq!(served, total);
    }
    assert_eq!(alive.accepted(), connections, "its connections are used again");
}

#[test]
fn weights_and_drains_set_by_hand_stay_until_the_file_changes_the_weight() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let config = |weight: &str, more: &str| {
        format!(
            "[[rules]]\nname = \"r\"\nload_balancing = \"weighted_round_robin\"\n{more}\nbackends = [{}]\n",
            weighted(&[(&a, weight), (&b, "1")])
        )
    };
    let gateway = gateway(&config("1", ""));
    let admin = gateway.address_of("admin").to_string();
    let set = |arguments: &[&str]| assert!(cli(&[arguments, &["--admin", &admin]].concat()).status.success());
    let weight = || backend_status(&gateway, "r", &a.url())["weight"].as_f64().unwrap();
    set(&["weight", &a.url(), "5"]);
    set(&["drain", &b.url()]);
    apply(&gateway, &config("1", "timeout = \"9s\"\nqueue = { max_pending = 7, timeout = \"1s\" }"));
    assert_eq!(weight(), 5.0);
    assert_eq!(backend_status(&gateway, "r", &b.url())["state"], "draining");
    assert_eq!(tally((0..6).map(|_| gateway.get("/").backend())), [("a".to_owned(), 6)].into());
    apply(&gateway, &config("3", ""));
    assert_eq!(weight(), 3.0);
    set(&["undrain", &b.url()]);
    eventually("three to one", PATIENCE, || {
        tally((0..4).map(|_| gateway.get("/").backend())) == [("a".to_owned(), 3), ("b".to_owned(), 1)].into()
    });
}

/// Answers with half a body, and with the rest when the gate lets it.
fn half_and_half(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::scripted(move |conn| {
        while let Some(request) = conn.request() {
            if request.target != "/long" {
                conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                continue;
            }
            conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            gate.wait();
            conn.reply("-last");
        }
    })
}

#[test]
fn a_removed_backend_finishes_what_it_has_and_then_nothing_of_it_is_left() {
    let gate = Gate::new();
    let (gone, stays) = (half_and_half(&gate), Backend::echo("stays"));
    let probes = "health_check = { path = \"/probe\", interval = \"50ms\", timeout = \"50ms\" }";
    let rules = |backends: &[&Backend]| rule(&format!("name = \"r\"\n{probes}"), backends);
    let gateway = gateway(&rules(&[&gone]));
    let mut slow = gateway.client();
    slow.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = slow.response_head("GET").unwrap();
    assert_eq!(slow.read_exact(5).unwrap(), b"first");
    // One more connection, which waits in the pool.
    assert_eq!(gateway.get("/short").status, 200);

    let said = apply(&gateway, &rules(&[&stays]));
    assert!(said.contains(&format!("-{}", gone.url())), "{said}");
    assert_eq!(gateway.get("/").backend(), "stays");
    let is_probed = || stays.requests().iter().any(|request| request.target == "/probe");
    eventually("the new one is probed", PATIENCE, is_probed);
    eventually("no connection but the busy one is left", PATIENCE, || gone.open_connections() == 1);
    let probes = gone.hits();
    gate.open();
    assert_eq!(slow.read_exact(5).unwrap(), b"-last");
    assert_eq!(head.status, 200);
    eventually("it is closed", PATIENCE, || gone.open_connections() == 0);
    eventually("its figures are gone", PATIENCE, || !gateway.get("/metrics").text().contains(&gone.url()));
    assert_eq!(gone.hits(), probes, "nothing asks for it any more");
    assert!(gateway.get("/metrics").text().contains(&stays.url()));
}

#[test]
fn listeners_come_and_go_without_touching_others() {
    let gate = Gate::new();
    let backend = half_and_half(&gate);
    let second = "[[listeners]]\nname = \"second\"\naddress = \"{listen2}\"\n";
    let rules = rule("name = \"r\"", &[&backend]);
    let gateway = gateway(&rules);
    let mut stays = gateway.client();
    assert_eq!(stays.get("/").status, 200);
    let address = gateway.address_of("listen2");
    assert!(TcpStream::connect(address).is_err());

    assert!(apply(&gateway, &format!("{second}{rules}")).contains("listeners +1 (second)"));
    let [mut busy, mut idle, mut late] = [(); 3].map(|()| Client::connect(address));
    assert_eq!((idle.get("/").status, late.get("/").header("connection")), (200, None));
    busy.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
    busy.response_head("GET").unwrap();

    assert!(apply(&gateway, &rules).contains("listeners -1 (second)"));
    let answer = late.get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "it was on its way");
    eventually("nobody gets in", PATIENCE, || TcpStream::connect(address).is_err());
    assert!(idle.closes_within(PATIENCE), "who asks for nothing is let go");
    gate.open();
    assert_eq!(busy.read_exact(10).unwrap(), b"first-last");
    assert!(busy.closes_within(PATIENCE), "and so is who has been answered");
    assert_eq!(stays.get("/").status, 200);

    // Another port for the same name, and back; a wider address over a narrower one.
    let port = address.port();
    for moved in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}")] {
        let listener = format!("[[listeners]]\nname = \"second\"\naddress = \"{moved}\"\n");
        apply(&gateway, &format!("{listener}{rules}"));
        assert_eq!(fetch(address, "GET", "/", &[]).status, 200, "{moved}");
    }
    assert_eq!(stays.get("/").status, 200);
}

#[test]
fn a_listener_that_cannot_be_opened_leaves_everything_as_it_was() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway(&rule("", &[&a]));
    let address = taken.local_addr().unwrap();
    let listener = format!("[[listeners]]\nname = \"second\"\naddress = \"{address}\"\n");
    gateway.write_config(&with_admin(&format!("{listener}{}", rule("", &[&b]))));
    let (code, said) = reload(&gateway, &[]);
    assert_eq!(code, 78, "{said}");
    let text = fs::read_to_string(gateway.config_file()).unwrap();
    let line = 1 + text.lines().position(|line| line.contains(&address.to_string())).unwrap();
    assert!(said.contains(&format!("gatewayd.toml:{line}:1: listener second")), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    assert_eq!(gateway.get("/").backend(), "a");
    assert_eq!(reloads(&gateway, "rejected"), 1);
}

#[test]
fn people_read_what_is_wrong_below_the_line_that_says_so() {
    let a = Backend::echo("a");
    let launch = launch();
    let file = launch.directory().join("gatewayd.toml").display().to_string();
    let arguments = ["--log-format", "text", "run", "--watch", "-c", &file];
    let gateway = launch.config(&with_admin(&rule("", &[&a]))).args(&arguments).start();
    gateway.write_config(&with_admin(&rule("timout = \"3s\"", &[&a])));
    eventually("it is said", PATIENCE, || reloads(&gateway, "rejected") == 1);
    // The log is written a moment later.
    eventually("the log has it", PATIENCE, || gateway.errors().contains("= help: did you mean `timeout`?"));
    let said = gateway.errors();
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.contains("the one before stays in force")).unwrap();
    assert!(lines[at + 1].starts_with("error: unknown key `timout`"), "{said}");
    assert!(
        lines[at + 2].trim_start().starts_with("--> ") && lines[at + 2].contains("gatewayd.toml:"),
        "{said}"
    );
    assert!(!said.contains("\\n"), "{said}");
}

#[test]
fn files_that_values_come_from_are_watched_too() {
    let a = Backend::echo("a");
    let launch = launch();
    let file = launch.directory().join("gatewayd.toml").display().to_string();
    fs::write(launch.directory().join("value"), "one\n").unwrap();
    let headers = "response_headers = { set = { X-Value = \"file:{dir}/value\" } }";
    let config = with_admin(&rule(headers, &[&a]));
    let gateway = launch.config(&config).args(&["run", "--watch", "-c", &file]).start();
    let value = || gateway.get("/").header("x-value").map(str::to_owned);
    assert_eq!(value().as_deref(), Some("one"));
    let path = gateway.directory().join("value");
    fs::write(&path, "two\n").unwrap();
    eventually("the new value is in force", PATIENCE, || value().as_deref() == Some("two"));
    // One that is gone changes nothing, and one that is back is taken up.
    fs::remove_file(&path).unwrap();
    gateway.log_line("it is said", |line| line["message"].as_str().is_some_and(|it| it.contains("rejected")));
    assert_eq!(value().as_deref(), Some("two"));
    fs::write(&path, "three\n").unwrap();
    eventually("the third is in force", PATIENCE, || value().as_deref() == Some("three"));
}

#[test]
fn whatever_becomes_of_the_file_the_configuration_before_stays() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = watching(&rule("", &[&a]));
    let file = gateway.config_file();
    let good = gateway.filled(&with_admin(&rule("", &[&b])));
    let mut rejected = 0;
    let mut spoil = |what: &str, words: &str, spoil: &dyn Fn()| {
        spoil();
        rejected += 1;
        eventually(what, PATIENCE, || reloads(&gateway, "rejected") == rejected);
        assert_eq!(gateway.get("/").backend(), "a", "{what}");
        let (code, said) = reload(&gateway, &[]);
        rejected += 1;
        assert!(code == 78 && said.contains(words), "{what}: {code} {said}");
        let last = last_reload(&gateway);
        assert!(
            last["result"] == "rejected" && last["detail"].as_str().is_some_and(|it| !it.is_empty()),
            "{last}"
        );
        gateway.log_line(what, |line| {
            line["component"] == "reload" && line["diagnostics"].as_str().is_some_and(|it| it.contains(words))
        });
    };
    spoil("empty", "there is no rule", &|| fs::write(&file, "").unwrap());
    spoil("truncated", "-->", &|| fs::write(&file, &good[..good.len() - 4]).unwrap());
    spoil("a typo", "did you mean", &|| fs::write(&file, good.replace("backends", "bakends")).unwrap());
    spoil("gone", "cannot read", &|| fs::remove_file(&file).unwrap());
    spoil("no file", "cannot read", &|| fs::create_dir(&file).unwrap());
    fs::remove_dir(&file).unwrap();
    fs::write(&file, &good).unwrap();
    eventually("the good one is taken", PATIENCE, || gateway.get("/").backend() == "b");
    eventually("and that is said", PATIENCE, || last_reload(&gateway)["result"] == "ok");
}

#[test]
fn the_file_is_followed_through_renames_and_links() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let text = |gateway: &Gateway, backend| gateway.filled(&with_admin(&rule("", &[backend])));
    let gateway = watching(&rule("", &[&a]));
    let (file, directory) = (gateway.config_file(), gateway.directory());

    // As vim saves: the old file is moved away, a new one written and moved in.
    fs::rename(&file, directory.join("gatewayd.toml~")).unwrap();
    fs::write(directory.join("4913"), text(&gateway, &b)).unwrap();
    fs::rename(directory.join("4913"), &file).unwrap();
    eventually("a rename is followed", PATIENCE, || gateway.get("/").backend() == "b");

    // As Kubernetes mounts: the file is a link into a directory that is a link, which is switched.
    for (version, backend) in [("1", &c), ("2", &a)] {
        fs::create_dir(directory.join(version)).unwrap();
        fs::write(directory.join(version).join("gatewayd.toml"), text(&gateway, backend)).unwrap();
    }
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, directory.join("new")).unwrap();
        fs::rename(directory.join("new"), directory.join(name)).unwrap();
    };
    link("1", "..data");
    link("..data/gatewayd.toml", "gatewayd.toml");
    eventually("a link is followed", PATIENCE, || gateway.get("/").backend() == "c");
    link("2", "..data");
    eventually("a switched directory is followed", PATIENCE, || gateway.get("/").backend() == "a");
    assert_eq!(reloads(&gateway, "rejected"), 0, "{}", gateway.errors());
}

#[test]
fn a_hangup_has_the_file_read_again() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = gateway(&rule("", &[&a]));
    gateway.write_config(&with_admin(&rule("", &[&b])));
    assert_eq!(gateway.get("/").backend(), "a");
    gateway.signal("HUP");
    eventually("it is in force", PATIENCE, || gateway.get("/").backend() == "b");
    gateway.write_config("");
    gateway.signal("HUP");
    eventually("it is refused", PATIENCE, || reloads(&gateway, "rejected") == 1);
    assert_eq!(gateway.get("/").backend(), "b");
}

#[test]
fn reloads_that_come_together_are_made_one_after_the_other() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = gateway(&rule("name = \"r\"", &[&a]));
    gateway.write_config(&with_admin(&rule("name = \"r\"", &[&a, &b])));
    let results: Vec<(i32, String)> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(|| reload(&gateway, &[]))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(results.iter().all(|(code, _)| *code == 0), "{results:?}");
    let added = results.iter().filter(|(_, said)| said.contains(&format!("+{}", b.url()))).count();
    assert_eq!(added, 1, "the others find nothing to change: {results:?}");
    assert_eq!(reloads(&gateway, "ok"), 6);
}

#[test]
fn what_only_a_restart_can_change_is_said() {
    let a = Backend::echo("a");
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&a])));
    let said = apply(
        &gateway,
        &format!(
            "[server]\nworkers = 3\nstate_file = \"x.state\"\n[access_log]\nenabled = true\n{}",
            rule("", &[&a])
        ),
    );
    for words in [
        "server.workers 1→3 takes effect at the next start",
        "server.state_file none→x.state takes effect",
        "access_log off→on takes effect",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(gateway.get("/").backend(), "a");
}

#[test]
fn only_who_may_change_things_may_reload_and_the_token_can_be_changed() {
    let a = Backend::echo("a");
    let config =
        |token: &str| format!("[admin]\naddress = \"{{admin}}\"\ntoken = \"{token}\"\n{}", rule("", &[&a]));
    let gateway = launch().config(&config("first")).start();
    gateway.write_config(&config("second"));
    assert_eq!(reload(&gateway, &[]).0, 1);
    assert_eq!(reload(&gateway, &["--dry-run"]).0, 1);
    assert_eq!(reload(&gateway, &["--token", "first"]).0, 0);
    assert_eq!(reload(&gateway, &["--token", "first"]).0, 1);
    assert_eq!(reload(&gateway, &["--token", "second"]).0, 0);
    assert!(!gateway.errors().contains("second"));
}

#[test]
fn a_gateway_without_a_file_says_so() {
    let a = Backend::echo("a");
    let gateway = launch().args(&["proxy", "--to", &a.url(), "--listen", "{listen}"]).start();
    assert_eq!(gateway.get("/").backend(), "a");
    let admin = gateway.address_of("admin").to_string();
    assert_eq!(cli(&["reload", "--admin", &admin]).status.code(), Some(1), "it has no admin address");
}

#[test]
fn a_hundred_reloads_leave_nothing_behind() {
    let backends: Vec<Backend> = (0..6).map(|n| Backend::echo(&format!("b{n}"))).collect();
    let all: Vec<&Backend> = backends.iter().collect();
    let second = "[[listeners]]\nname = \"second\"\naddress = \"{listen2}\"\n";
    let probes = "health_check = { path = \"/h\", interval = \"1s\" }\nconcurrency = { max = 9 }";
    let configs = [
        rule(&format!("name = \"r\"\n{probes}"), &all[..4]),
        format!("{second}{}", rule("name = \"r\"", &all[2..])),
        rule("name = \"other\"\ntimeout = \"9s\"", &all),
    ];
    let gateway = gateway(&configs[0]);
    let round = |number: usize| {
        apply(&gateway, &configs[number % configs.len()]);
        for _ in 0..6 {
            assert_eq!(gateway.get("/").status, 200);
        }
    };
    (0..30).for_each(round);
    let settled = || (gateway.threads(), gateway.open_files());
    let (before, memory) = (settled(), gateway.resident_bytes());
    (30..130).for_each(round);
    apply(&gateway, &configs[0]);
    (0..6).for_each(|_| drop(gateway.get("/")));
    let grown = gateway.resident_bytes().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more after a hundred reloads");
    // Pooled connections come and go with the requests, and blocking threads with the work.
    eventually("no thread or descriptor is left", PATIENCE, || {
        let (threads, files) = settled();
        threads <= before.0 + 2 && files <= before.1 + 8
    });
}

#[test]
fn a_dump_that_is_turned_off_writes_what_it_has_and_is_closed() {
    let backend = Backend::echo("a");
    let rules = rule("name = \"r\"", &[&backend]);
    let dump = "[traffic_dump]\ndirectory = \"{dir}/dumps\"\n";
    let gateway = gateway(&format!("{dump}{rules}"));
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap().flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "dump").count()
    };
    // A thread takes its name once it runs.
    eventually("its thread runs", PATIENCE, || threads() == 1);
    for _ in 0..10 {
        assert_eq!(gateway.get("/").status, 200);
    }
    apply(&gateway, &rules);
    assert_eq!(gateway.get("/not-dumped").status, 200);
    eventually("its thread has ended", PATIENCE, || threads() == 0);
    let lines = fs::read_to_string(gateway.directory().join("dumps/traffic_dump_000.jsonl")).unwrap();
    assert_eq!((lines.lines().count(), lines.contains("not-dumped")), (10, false));
    apply(&gateway, &format!("{dump}{rules}"));
    assert_eq!(gateway.get("/again").status, 200);
    eventually("it runs again", PATIENCE, || threads() == 1);
}

#[test]
fn a_plan_tells_no_secret_of_an_address() {
    let backend = Backend::echo("a");
    let config = |user: &str| {
        format!(
            "[tracing]\nendpoint = \"http://{user}127.0.0.1:9\"\n[admin]\naddress = \"{{admin}}\"\n{}",
            rule("", &[&backend])
        )
    };
    let gateway = launch().config(&config("")).start();
    gateway.write_config(&config("me:s3cret@"));
    let (code, said) = reload(&gateway, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("tracing.endpoint") && !said.contains("s3cret"), "{said}");
    gateway.log_line("it is in the log", |line| line["component"] == "reload");
    assert!(!gateway.log().iter().any(|line| line.to_string().contains("s3cret")));
}

#[test]
fn a_listener_that_has_no_certificate_any_more_tells_of_none() {
    let backend = Backend::echo("a");
    let config = |tls: &str| {
        format!(
            "[admin]\naddress = \"{{admin}}\"\n[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\n{tls}\n{}",
            rule("", &[&backend])
        )
    };
    let gateway = launch().config(&config("tls = \"self-signed\"")).start();
    let tells = || {
        let metrics = fetch(gateway.address_of("admin"), "GET", "/metrics", &[]).text();
        metrics.contains("gatewayd_tls_certificate_end_seconds{listener=\"web\"}")
    };
    assert!(tells());
    gateway.write_config(&config(""));
    let (code, said) = reload(&gateway, &[]);
    assert_eq!(code, 0, "{said}");
    eventually("it is told no more", PATIENCE, || !tells());
    assert_eq!(gateway.get("/").backend(), "a");
}
