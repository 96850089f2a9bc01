//! What operators edit while the gateway runs: backends that come and go, rules that lead elsewhere or are split; for a while, across
//! a restart, and by two at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lb_testkit::{Backend, Client, Gateway, PATIENCE, Response, eventually, fetch};
use serde_json::{Value, json};

use crate::support::{assert_tally, cli, launch, urls};
use crate::takeover::upgraded;

/// `app` and `next` behind rule `web`.
fn config(root: &str, app: &[&Backend], next: &[&Backend], rule: &str) -> String {
    format!(
        "{root}\n[admin]\naddress = \"{{admin}}\"\n[upstreams.app]\nbackends = [{}]\n[upstreams.next]\nbackends = [{}]\n\
         [[rules]]\nname = \"web\"\n{rule}\n",
        urls(app),
        urls(next)
    )
}

fn started(text: &str) -> Gateway {
    launch().config(text).start()
}

fn command(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let admin = gateway.address_of("admin").to_string();
    let output = cli(&[arguments, &["--admin", &admin]].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn done(gateway: &Gateway, arguments: &[&str]) -> String {
    let (is_done, said) = command(gateway, arguments);
    assert!(is_done, "{arguments:?}: {said}");
    said
}

fn ask(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Response {
    let admin = gateway.address_of("admin");
    let mut client = Client::connect(admin);
    let body = body.to_string();
    let length = body.len();
    client
        .send(format!("{method} {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\n\r\n{body}"));
    client.response()
}

fn status(gateway: &Gateway) -> Value {
    fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json()
}

fn answers(gateway: &Gateway, count: usize) -> Vec<String> {
    (0..count).map(|_| gateway.get("/").backend()).collect()
}

#[test]
fn a_rule_is_switched_and_switched_back_while_it_is_asked() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let gateway = started(&config("", &[&app], &[&next], "upstream = \"app\""));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut client = gateway.client();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(client.get("/").status, 200);
            }
        });
        for _ in 0..5 {
            let said = done(&gateway, &["switch", "web", "next"]);
            assert!(said.contains("rule web leads to next") && said.contains("app → next"), "{said}");
            assert_tally(answers(&gateway, 10), &[("next", 10)]);
            let said = done(&gateway, &["switch", "web", "app"]);
            assert!(said.contains("as in the file again"), "{said}");
            assert_tally(answers(&gateway, 10), &[("app", 10)]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        load.join().unwrap();
    });
    assert_eq!(status(&gateway)["configuration"]["edits"], json!([]));
    let line = gateway.log_line("it is in the log", |line| line["action"] == "switch");
    assert_eq!(
        (&line["before"], &line["after"], &line["token"]),
        (&json!("app"), &json!("next"), &json!(false))
    );
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
}

#[test]
fn a_rule_is_split_exactly_and_the_status_says_so() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let gateway = started(&config("", &[&app], &[&next], "upstream = \"app\""));
    done(&gateway, &["split", "web", "app=90", "next=10"]);
    assert_tally(answers(&gateway, 100), &[("app", 90), ("next", 10)]);
    let said = done(&gateway, &["status"]);
    assert!(said.contains("rule web is split app=90 next=10") && said.contains("edit 1:"), "{said}");
    let split = &status(&gateway)["rules"][0]["split"];
    assert_eq!(split[1], json!({ "upstream": "next", "weight": 10.0, "share": 0.1 }));
    // By a key each user stays.
    done(&gateway, &["split", "web", "app=1", "next=1", "--by", "header:user"]);
    let by_user = |user: usize| gateway.fetch("GET", "/", &[("User", &user.to_string())]).backend();
    let first: Vec<_> = (0..50).map(by_user).collect();
    assert_eq!(first, (0..50).map(by_user).collect::<Vec<_>>());
    assert!(first.iter().any(|it| it == "app") && first.iter().any(|it| it == "next"));
    done(&gateway, &["edits", "--revert", "2"]);
    assert_tally(answers(&gateway, 10), &[("app", 10)]);
}

#[test]
fn a_split_of_the_file_is_switched_and_a_rule_balances_the_other_upstream_its_own_way() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let rule =
        "load_balancing = \"ip_hash\"\nsplit = [{ upstream = \"app\" }, { upstream = \"next\", weight = 0 }]";
    let gateway = started(&config("", &[&a], &[&next, &b], rule));
    assert_tally(answers(&gateway, 4), &[("a", 4)]);
    done(&gateway, &["switch", "web", "next"]);
    let first = gateway.get("/").backend();
    assert!(first != "a" && answers(&gateway, 20).iter().all(|it| *it == first), "one client, one backend");
    done(&gateway, &["edits", "--revert", "1"]);
    assert_tally(answers(&gateway, 4), &[("a", 4)]);
}

#[test]
fn a_backend_is_added_with_a_share_and_removed_again() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let rule = "upstream = \"app\"\nload_balancing = \"weighted_round_robin\"";
    let gateway = started(&config("", &[&a], &[&b], rule));
    done(&gateway, &["add", "app", &b.url(), "--weight", "3"]);
    assert_tally(answers(&gateway, 8), &[("a", 2), ("b", 6)]);
    let (is_done, said) = command(&gateway, &["add", "app", &b.url()]);
    assert!(!is_done && said.contains("already"), "{said}");
    // One that the file lists can go as well, but not the last.
    done(&gateway, &["remove", "app", &a.url()]);
    assert_tally(answers(&gateway, 4), &[("b", 4)]);
    let (is_done, said) = command(&gateway, &["remove", "app", &b.url()]);
    assert!(!is_done && said.contains("last backend"), "{said}");
    done(&gateway, &["add", "app", &a.url()]);
    done(&gateway, &["remove", "app", &b.url()]);
    assert_tally(answers(&gateway, 4), &[("a", 4)]);
    assert_eq!(status(&gateway)["configuration"]["edits"], json!([]));
    // The gateway's own address, nonsense, and names that are not there.
    let own = format!("http://{}", gateway.address());
    for (arguments, words) in [
        (&["add", "app", &own][..], "in a circle"),
        (&["add", "app", "ftp://x"], "bad_backend\0ftp"),
        (&["add", "ap", "http://10.0.0.1:80"], "there are app, next"),
        (&["switch", "wob", "next"], "no rule \"wob\"; there are web"),
        (&["switch", "web", "nxt"], "no upstream \"nxt\""),
        (&["split", "web", "app=0", "next=0"], "weight above 0"),
        (&["split", "web", "app=1", "app=2"], "twice"),
        (&["switch", "web", "next", "--persist"], "state_file"),
    ] {
        let (is_done, said) = command(&gateway, arguments);
        assert!(!is_done && words.split('\0').any(|words| said.contains(words)), "{arguments:?}: {said}");
    }
    assert_tally(answers(&gateway, 4), &[("a", 4)]);
}

#[test]
fn of_two_who_change_the_same_the_second_is_told_what_is_in_force() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let gateway = started(&config("", &[&app], &[&next], "upstream = \"app\""));
    let version = |it: &Value| it["version"].as_u64().unwrap();
    let seen = version(&ask(&gateway, "GET", "/api/edits", &json!({})).json());
    let first =
        ask(&gateway, "POST", "/api/rules/web/switch", &json!({ "upstream": "next", "version": seen }));
    assert_eq!(first.status, 200);
    let second =
        ask(&gateway, "POST", "/api/rules/web/switch", &json!({ "upstream": "app", "version": seen }));
    let told = second.json();
    assert_eq!((second.status, &told["code"]), (409, &json!("stale_version")));
    assert_eq!(version(&told), version(&first.json()));
    assert!(version(&told) > seen);
    assert_tally(answers(&gateway, 4), &[("next", 4)]);
    // A drain counts too, and so does a file that is read again.
    done(&gateway, &["drain", &next.url(), "--if-version", &version(&told).to_string()]);
    let (is_done, said) = command(&gateway, &["undrain", &next.url(), "--if-version", &seen.to_string()]);
    assert!(!is_done && said.contains("409"), "{said}");
    done(&gateway, &["undrain", &next.url()]);
    let before = version(&ask(&gateway, "GET", "/api/edits", &json!({})).json());
    done(&gateway, &["reload"]);
    assert!(version(&ask(&gateway, "GET", "/api/edits", &json!({})).json()) > before);
}

#[test]
fn an_edit_with_an_end_is_taken_back_by_itself() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let gateway = started(&config("", &[&app], &[&next], "upstream = \"app\""));
    done(&gateway, &["switch", "web", "next", "--expires", "1s"]);
    assert_tally(answers(&gateway, 2), &[("next", 2)]);
    done(&gateway, &["drain", &app.url(), "--expires", "1s"]);
    let edits = done(&gateway, &["edits"]);
    assert!(edits.contains("until 20") && edits.contains("is drained"), "{edits}");
    eventually("it leads back, and nothing is drained", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(50));
        let answer = gateway.get("/");
        answer.status == 200 && answer.backend() == "app"
    });
    gateway.log_line("it is said", |line| {
        line["message"].as_str().is_some_and(|it| it.contains("its time is over"))
    });
    eventually("no edit is left", PATIENCE, || status(&gateway)["configuration"]["edits"] == json!([]));
    let answer =
        ask(&gateway, "POST", "/api/rules/web/switch", &json!({ "upstream": "next", "expires": "soon" }));
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")));
}

#[test]
fn what_is_to_be_kept_outlives_the_process_and_nothing_else_does() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("gatewayd.state");
    let root = format!("[server]\nstate_file = \"{}\"", state.display());
    let text = config(&root, &[&a, &b], &[&next], "upstream = \"app\"");
    let mut gateway = started(&text);
    done(&gateway, &["split", "web", "app=1", "next=1", "--persist"]);
    done(&gateway, &["drain", &b.url(), "--persist", "--expires", "1h"]);
    done(&gateway, &["add", "next", &a.url()]);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    let gateway = started(&text);
    let edits = status(&gateway)["configuration"]["edits"].clone();
    let kept: Vec<_> = edits.as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert!(kept.len() == 2 && kept[0] == "rule web is split app=1 next=1", "{edits}");
    eventually("as it was", PATIENCE, || {
        let answers = answers(&gateway, 10);
        answers.iter().filter(|it| *it == "a").count() == 5 && !answers.contains(&"b".to_owned())
    });
    drop(gateway);
    // A file of another version, or a broken one, is said and changes nothing.
    let file = folder.path().join("gatewayd.state.edits");
    for text in ["{\"version\":99,\"edits\":[]}", "{\"version\":1,\"edits\":[{\"edit\":\"explode\"}]}", "{"] {
        std::fs::write(&file, text).unwrap();
        let gateway = started(&config(&root, &[&a, &b], &[&next], "upstream = \"app\""));
        assert_eq!(gateway.get("/").status, 200);
        gateway.log_line("it is said", |line| line["message"] == "edits of an earlier run are not taken up");
        // What is kept from now on does not take its place: whoever can read it still finds it.
        done(&gateway, &["switch", "web", "next", "--persist"]);
        let aside = set_aside(folder.path());
        assert_eq!(aside.iter().map(|it| std::fs::read_to_string(it).unwrap()).collect::<Vec<_>>(), [text]);
        std::fs::remove_file(&aside[0]).unwrap();
    }
}

#[test]
fn what_a_writer_that_was_killed_has_left_is_gone_with_the_next_start() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let root = format!("[server]\nstate_file = \"{}\"", folder.path().join("gatewayd.state").display());
    let left = ["", ".edits", ".registrations", ".rollbacks"]
        .map(|ending| folder.path().join(format!(".gatewayd.state{ending}.a1B2c3.new")));
    let other = folder.path().join(".other.state.a1B2c3.new");
    for file in left.iter().chain([&other]) {
        std::fs::write(file, "{ \"versi").unwrap();
    }
    let gateway = started(&config(&root, &[&app], &[&next], "upstream = \"app\""));
    assert!(left.iter().all(|file| !file.exists()) && other.exists());
    let line = gateway.log_line("it is said", |line| {
        line["message"].as_str().is_some_and(|it| it.starts_with("unfinished files of an earlier run"))
    });
    assert_eq!(line["files"], 4);
    done(&gateway, &["switch", "web", "next", "--persist"]);
    assert!(folder.path().join("gatewayd.state.edits").exists());
}

#[test]
fn what_a_rule_makes_of_an_upstream_is_not_taken_for_one() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let rule = "upstream = \"app\"\nload_balancing = \"least_connections\"";
    let gateway = started(&config("", &[&app], &[&next], rule));
    let other = app.url();
    for arguments in [
        &["switch", "web", "app@web"][..],
        &["split", "web", "app@web=1", "next=1"],
        &["add", "app@web", "http://127.0.0.1:9"],
        &["remove", "app@web", &other],
    ] {
        let (is_done, said) = command(&gateway, arguments);
        assert!(
            !is_done && said.contains("app@web is what rule web makes of the upstream app: app is meant"),
            "{said}"
        );
    }
    assert_eq!(status(&gateway)["configuration"]["edits"], json!([]));
    done(&gateway, &["switch", "web", "next"]);
    assert_eq!(gateway.get("/").backend(), "next");
}

/// Files of no use that were kept all the same.
fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    files.filter(|it| it.display().to_string().contains(".edits.unread-")).collect()
}

#[test]
fn of_many_who_change_the_same_at_once_one_is_heard_and_the_file_is_whole() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let root = format!("[server]\nstate_file = \"{}\"", folder.path().join("gatewayd.state").display());
    let gateway = started(&config(&root, &[&app], &[&next], "upstream = \"app\""));
    let file = folder.path().join("gatewayd.state.edits");
    for round in 0..5 {
        let seen = ask(&gateway, "GET", "/api/edits", &json!({})).json()["version"].clone();
        let body = |weight: usize| {
            let split = json!([{ "upstream": "app", "weight": weight }, { "upstream": "next", "weight": 1 }]);
            json!({ "parts": split, "persist": true, "version": seen })
        };
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let writers = (1..=8).map(|writer| {
                let body = body(writer + 10 * round);
                let gateway = &gateway;
                scope.spawn(move || ask(gateway, "PUT", "/api/rules/web/split", &body).status)
            });
            let writers: Vec<_> = writers.collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|it| **it == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|it| **it == 409).count(), 7, "{statuses:?}");
        let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(kept["edits"].as_array().unwrap().len(), 1, "{kept}");
    }
    // Without a version they come one after the other, and all are kept.
    let urls: Vec<String> = (0..8).map(|port| format!("http://127.0.0.1:{}", 7000 + port)).collect();
    std::thread::scope(|scope| {
        for url in &urls {
            let body = json!({ "backend": url, "persist": true });
            let gateway = &gateway;
            scope.spawn(move || {
                assert_eq!(ask(gateway, "POST", "/api/upstreams/next/backends", &body).status, 200);
            });
        }
    });
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["edits"].as_array().unwrap().len(), 9, "{kept}");
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(left <= 2, "{left} files, and none half written");
}

#[test]
fn the_configuration_in_effect_is_shown_with_what_was_edited() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let root = format!("[server]\nstate_file = \"{}\"", folder.path().join("gatewayd.state").display());
    let gateway = started(&config(&root, &[&a, &b], &[&next], "upstream = \"app\""));
    done(&gateway, &["split", "web", "app=1", "next=3", "--persist"]);
    done(&gateway, &["weight", &b.url(), "5", "--expires", "1h"]);
    done(&gateway, &["remove", "app", &a.url()]);
    let file = gateway.config_file().display().to_string();
    let admin = gateway.address_of("admin").to_string();
    let rows = |arguments: &[&str]| -> Vec<(String, String, String)> {
        let said = cli(&[&["config", "show", &file, "--json"], arguments].concat()).stdout;
        let said = String::from_utf8(said).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&said).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let edits = rows.iter().filter(|row| row["source"].as_str().unwrap().contains(": edit "));
        edits.map(|row| (text(row, "path"), text(row, "value"), text(row, "source"))).collect()
    };
    let live = rows(&["--live", "--admin", &admin]);
    assert_eq!(rows(&["--admin", &admin]), live, "who names a gateway means it");
    let told: Vec<_> = live.iter().map(|(path, value, _)| (path.as_str(), value.as_str())).collect();
    let [removed, weighed] = [(&a, "app", ""), (&b, "*", ".weight")]
        .map(|(it, of, key)| format!("upstreams.{of}.backends[{}]{key}", it.url()));
    assert_eq!(told, [("rules.web.split", "app=1 next=3"), (&weighed, "5"), (&removed, "removed")]);
    assert!(
        live.iter()
            .all(|(_, _, source)| source.starts_with("api: edit ") && source.contains(" by 127.0.0.1 at 2"))
    );
    assert!(live[1].2.contains(" until 2"), "{live:?}");
    let kept = rows(&[]);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((kept[0].0.as_str(), kept[0].1.as_str()), ("rules.web.split", "app=1 next=3"));
    assert!(kept[0].2.contains("gatewayd.state.edits: edit "), "{kept:?}");
}

#[test]
fn a_file_that_is_read_again_keeps_the_edits_that_make_sense_and_says_which_do_not() {
    let [app, next, extra] = ["app", "next", "extra"].map(Backend::echo);
    let text = config("", &[&app], &[&next], "upstream = \"app\"");
    let gateway = started(&text);
    done(&gateway, &["switch", "web", "next"]);
    done(&gateway, &["add", "app", &extra.url()]);
    let file = config(
        "merge_slashes = false",
        &[&app, &extra],
        &[&next],
        "upstream = \"app\"\nstrip_prefix = \"/x\"",
    );
    gateway.write_config(&file);
    let said = done(&gateway, &["reload", "--dry-run"]);
    assert!(said.contains("an edit is dropped") && said.contains("the file lists it now"), "{said}");
    let said = done(&gateway, &["reload"]);
    assert!(said.contains("an edit is dropped"), "{said}");
    assert_tally(answers(&gateway, 4), &[("next", 4)]);
    gateway.write_config(&file.replace("[upstreams.next]", "[upstreams.other]"));
    let said = done(&gateway, &["reload"]);
    assert!(said.contains("upstream next is gone"), "{said}");
    assert_tally(answers(&gateway, 4), &[("app", 2), ("extra", 2)]);
}

#[test]
fn with_a_token_the_configuration_is_changed_by_it_alone() {
    let [app, next] = ["app", "next"].map(Backend::echo);
    let text = config("", &[&app], &[&next], "upstream = \"app\"")
        .replace("{admin}\"", "{admin}\"\ntoken = \"s3cret\"");
    let gateway = started(&text);
    for (method, path) in [
        ("POST", "/api/rules/web/switch"),
        ("PUT", "/api/rules/web/split"),
        ("POST", "/api/upstreams/app/backends"),
        ("DELETE", "/api/upstreams/app/backends"),
        ("GET", "/api/edits"),
        ("DELETE", "/api/edits/1"),
    ] {
        assert_eq!(ask(&gateway, method, path, &json!({})).status, 401, "{method} {path}");
    }
    done(&gateway, &["switch", "web", "next", "--token", "s3cret"]);
    let line =
        gateway.log_line("it is in the log", |line| line["action"] == "switch" && line["after"] == "next");
    assert_eq!(line["token"], true);
}

#[test]
fn the_api_describes_itself() {
    let backend = Backend::echo("a");
    let gateway = started(&config("", &[&backend], &[&backend], "upstream = \"app\""));
    let document = fetch(gateway.address_of("admin"), "GET", "/api/openapi.json", &[]).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/api/rules/{rule}/switch"), "{paths:?}");
    // What it says of methods is so: every other one is refused.
    for (path, methods) in paths {
        let path = path.replace("{rule}", "web").replace("{upstream}", "app").replace("{id}", "1");
        let known = methods.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
        assert!(
            known.map(|(_, it)| it).all(|it| it["summary"].is_string() && it["responses"].is_object()),
            "{path}"
        );
        let answer = ask(&gateway, "PATCH", &path, &json!({}));
        assert_eq!(answer.status, 405, "{path}: {}", answer.text());
    }
    assert_eq!(ask(&gateway, "GET", "/api/nothing", &json!({})).status, 404);
}

#[test]
fn a_change_of_a_backend_that_is_refused_has_changed_nothing() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let gateway = started(&config("", &[&a, &b], &[&next], "upstream = \"app\""));
    for change in [&["drain", &a.url()][..], &["weight", &a.url(), "0"]] {
        let (is_done, said) = command(&gateway, &[change, &["--expires", "400d"]].concat());
        assert!(!is_done && said.contains("no more than 366 days"), "{said}");
        assert_tally(answers(&gateway, 10), &[("a", 5), ("b", 5)]);
    }
    assert_eq!(status(&gateway)["configuration"]["edits"], json!([]));
}

#[test]
fn a_change_that_cannot_be_kept_is_in_force_and_says_so() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let root = format!("[server]\nstate_file = \"{}\"", inner.join("gatewayd.state").display());
    let gateway = started(&config(&root, &[&a, &b], &[&next], "upstream = \"app\""));
    std::fs::remove_dir_all(&inner).unwrap();
    let words = "warning: it is in force, and the next start will not know of it: ";
    for change in [&["drain", &a.url()][..], &["switch", "web", "next"]] {
        let said = done(&gateway, &[change, &["--persist"]].concat());
        assert!(said.contains(words) && said.contains("cannot be written"), "{said}");
    }
    assert_tally(answers(&gateway, 4), &[("next", 4)]);
    assert!(!done(&gateway, &["drain", &b.url()]).contains(words), "that one is not to be kept");
    std::fs::create_dir(&inner).unwrap();
    assert!(!done(&gateway, &["edits", "--revert", "2"]).contains(words));
    assert!(std::fs::read_to_string(inner.join("gatewayd.state.edits")).unwrap().contains("drain"));
}

#[test]
fn of_drains_and_weights_that_overlap_each_is_taken_back_by_itself() {
    let [a, next] = ["a", "next"].map(Backend::echo);
    let gateway = started(&config("", &[&a], &[&a, &next], "upstream = \"app\""));
    let url = a.url();
    let stands = |upstream: usize| {
        let backend = status(&gateway)["upstreams"][upstream]["backends"][0].clone();
        (backend["state"] == "draining", backend["weight"].as_f64().unwrap())
    };
    let both = || (stands(0), stands(1));
    let texts = || {
        let edits = status(&gateway)["configuration"]["edits"].clone();
        let text = |edit: &Value| edit["text"].as_str().unwrap().replace(&url, "a");
        edits.as_array().unwrap().iter().map(text).collect::<Vec<_>>()
    };
    done(&gateway, &["drain", &url]);
    done(&gateway, &["drain", &url, "--upstream", "app"]);
    let said = done(&gateway, &["edits", "--revert", "1"]);
    assert!(said.contains("draining, weight 1 → draining, weight 1"), "{said}");
    assert_eq!(both(), ((true, 1.0), (false, 1.0)));
    done(&gateway, &["edits", "--revert", "2"]);
    assert_eq!(both(), ((false, 1.0), (false, 1.0)));

    // One upstream is spared of what holds for all.
    done(&gateway, &["drain", &url]);
    done(&gateway, &["undrain", &url, "--upstream", "app"]);
    assert_eq!(both(), ((false, 1.0), (true, 1.0)));
    assert_eq!(texts(), ["backend a of next is drained"]);
    done(&gateway, &["undrain", &url]);
    assert_eq!((both(), texts().len()), (((false, 1.0), (false, 1.0)), 0));

    done(&gateway, &["weight", &url, "5"]);
    done(&gateway, &["weight", &url, "7", "--upstream", "next", "--expires", "1s"]);
    assert_eq!(both(), ((false, 5.0), (false, 7.0)));
    eventually("the second ends", PATIENCE, || both() == ((false, 5.0), (false, 5.0)));
    assert_eq!(texts(), ["backend a has weight 5"]);
}

#[test]
fn a_backend_that_was_discovered_and_comes_back_is_still_drained() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("found.json");
    let list = |backends: &[&Backend]| std::fs::write(&file, format!("[{}]", urls(backends))).unwrap();
    list(&[&a, &b]);
    let rule = format!(
        "path_prefix = \"/found\"\nupstream = \"found\"\n[upstreams.found]\ndiscover = {{ file = \"{}\" }}\n\
         [[rules]]\nupstream = \"app\"",
        file.display()
    );
    let gateway = started(&config("", &[&next], &[&next], &rule));
    done(&gateway, &["drain", &a.url()]);
    done(&gateway, &["weight", &b.url(), "3"]);
    let found = || {
        let status = status(&gateway);
        let upstreams = status["upstreams"].as_array().cloned().unwrap();
        let found = upstreams.into_iter().find(|it| it["name"] == "found").unwrap();
        let backends = found["backends"].as_array().cloned().unwrap();
        backends.iter().map(|it| (it["state"] == "draining", it["weight"].as_f64())).collect::<Vec<_>>()
    };
    list(&[&next]);
    eventually("both are gone", PATIENCE, || found() == [(false, Some(1.0))]);
    list(&[&a, &b]);
    let mut wanted = [(a.url(), (true, Some(1.0))), (b.url(), (false, Some(3.0)))];
    wanted.sort_by(|one, other| one.0.cmp(&other.0));
    let wanted = wanted.map(|(_, stands)| stands);
    eventually("both are back as they were", PATIENCE, || found() == wanted);
    assert_eq!(status(&gateway)["configuration"]["edits"].as_array().unwrap().len(), 2);
}

#[test]
fn the_process_before_takes_nothing_up_any_more_and_keeps_nothing() {
    let [a, b, next] = ["a", "b", "next"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("gatewayd.state");
    let root = format!("[server]\nstate_file = \"{}\"\nshutdown_timeout = \"15s\"", state.display());
    let came = "upstream = \"app\"\n[upstreams.came]\ndiscover = { api = true }";
    let gateway = started(&config(&root, &[&a, &b], &[&next], came));
    done(&gateway, &["drain", &b.url(), "--persist", "--expires", "3s"]);
    let admin = gateway.address_of("admin");
    let asks = [
        ("POST", "/api/backends/drain", json!({ "backend": a.url(), "persist": true })),
        ("PUT", "/api/rules/web/split", json!({ "parts": [{ "upstream": "next", "weight": 1 }] })),
        ("PUT", "/api/upstreams/came/registrations/x", json!({ "url": next.url() })),
        ("POST", "/api/log-level", json!({ "level": "debug" })),
        ("POST", "/api/reload", json!({})),
    ];
    let mut before = asks.each_ref().map(|_| Client::connect(admin));
    before.iter_mut().for_each(|client| assert_eq!(client.get("/health").status, 200));
    // The process waits for this client, and so it lives.
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").status, 200);
    let _successor = upgraded(&gateway);

    for (client, (method, path, body)) in before.iter_mut().zip(&asks) {
        let (body, length) = (body.to_string(), body.to_string().len());
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let late = client.response();
        assert_eq!((late.status, late.header("connection")), (409, Some("close")), "{path}: {}", late.text());
        assert_eq!(late.json()["code"], "succeeded", "{path}");
    }
    // Two have an edit whose time ends. One of them keeps what is left.
    done(&gateway, &["weight", &a.url(), "7", "--persist"]);
    let edits = || ask(&gateway, "GET", "/api/edits", &json!({})).json()["edits"].clone();
    eventually("the drain ends", PATIENCE, || edits().as_array().is_some_and(|edits| edits.len() == 1));
    std::thread::sleep(Duration::from_millis(600));
    let kept = std::fs::read_to_string(folder.path().join("gatewayd.state.edits")).unwrap();
    assert!(kept.contains("\"weight\": 7") && !kept.contains("drain"), "{kept}");
    assert_eq!(
        idle.get("/").header("connection"),
        Some("close"),
        "the process before was there all the time"
    );
}
