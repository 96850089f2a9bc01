//! Backends that register themselves at the admin API.

use std::path::Path;
use std::time::Duration;

use lb_testkit::{Backend, Gateway, Load, PATIENCE, Response, eventually};
use serde_json::json;

use super::{ask, config, discovering, eventually_present, eventually_serves, present, source};
use crate::support::{backend_status, launch};
use crate::takeover::upgraded;

const PATH: &str = "/api/upstreams/app/registrations";

fn register(gateway: &Gateway, id: &str, body: &serde_json::Value) -> Response {
    ask(gateway.address_of("admin"), "PUT", &format!("{PATH}/{id}"), "", &body.to_string())
}

#[test]
fn a_backend_registers_is_heard_of_and_goes() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let gateway = discovering("api = true", "");
    assert_eq!(gateway.get("/").status, 503);
    let answer = register(&gateway, "a", &json!({ "url": a.url(), "ttl": "1h" }));
    assert_eq!(
        (answer.status, answer.json()["ttl_seconds"].clone()),
        (201, json!(3600.0)),
        "{}",
        answer.text()
    );
    eventually_present(&gateway, &[a.url()]);
    let load = Load::on(gateway.address());
    assert_eq!(register(&gateway, "b", &json!({ "url": b.url(), "weight": 2, "ttl": 2 })).status, 201);
    eventually_present(&gateway, &[a.url(), b.url()]);
    eventually_serves(&gateway, &[&a, &b]);
    assert_eq!(backend_status(&gateway, "app", &b.url())["weight"], 2.0);
    // A heartbeat, with another weight.
    assert_eq!(register(&gateway, "b", &json!({ "url": b.url(), "weight": 3, "ttl": 2 })).status, 200);
    eventually("its weight follows", PATIENCE, || backend_status(&gateway, "app", &b.url())["weight"] == 3.0);
    let line = gateway.log_line("who changed it is said", |line| line["message"] == "registration changed");
    assert_eq!((&line["id"], &line["weight"]), (&json!("b"), &json!(3.0)), "{line}");
    let list = ask(gateway.address_of("admin"), "GET", PATH, "", "").json();
    assert_eq!(list["registrations"][1]["id"], "b", "{list}");
    // Nothing more is heard of it.
    eventually_present(&gateway, &[a.url()]);
    assert_eq!(register(&gateway, "b", &json!({ "url": b.url() })).status, 201);
    eventually_serves(&gateway, &[&a, &b]);
    assert_eq!(ask(gateway.address_of("admin"), "DELETE", &format!("{PATH}/a"), "", "").status, 200);
    eventually_present(&gateway, &[b.url()]);
    assert!(load.finish().answers > 100);
    assert_eq!(ask(gateway.address_of("admin"), "DELETE", &format!("{PATH}/a"), "", "").status, 404);
    assert_eq!(source(&gateway)["source"], "api");
}

#[test]
fn what_is_no_registration_is_refused_and_there_is_a_bound() {
    let gateway = discovering("api = true, max_members = 2", "");
    let url = json!({ "url": "http://127.0.0.1:9" });
    for (id, body, said) in [
        ("a", json!({}), "missing field `url`"),
        ("a", json!({ "url": "http://127.0.0.1:9", "wieght": 2 }), "unknown field `wieght`"),
        ("a", json!({ "url": "ftp://x" }), "cannot be reached by this scheme"),
        ("a", json!({ "url": "http://127.0.0.1:9", "weight": -1 }), "`weight` is a number"),
        ("a", json!({ "url": "http://127.0.0.1:9", "ttl": 0 }), "`ttl` is from 1s"),
        ("a", json!({ "url": "http://127.0.0.1:9", "ttl": "soon" }), "`ttl` must be a duration"),
        ("a", json!({ "url": gateway.address().to_string() }), "an address of this gateway"),
        ("a/b", url.clone(), "an id is visible ASCII"),
    ] {
        let answer = register(&gateway, id, &body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(said), "{}", answer.text());
    }
    assert!(present(&gateway).is_empty());
    let statuses: Vec<u16> = ["a", "b", "c", "a"].map(|id| register(&gateway, id, &url).status).into();
    assert_eq!(statuses, [201, 201, 429, 200]);
    let admin = gateway.address_of("admin");
    let elsewhere = ask(admin, "PUT", "/api/upstreams/other/registrations/a", "", &url.to_string());
    assert_eq!((elsewhere.status, elsewhere.json()["code"].clone()), (404, json!("no_registrations")));
    let post = ask(admin, "POST", PATH, "", "{}");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET")));
}

#[test]
fn registrations_need_what_other_changes_need() {
    let launch = launch();
    let config = config("api = true", "").replace("[admin]\n", "[admin]\ntoken = \"s3cret\"\n");
    let gateway = launch.config(&config).start();
    let body = json!({ "url": "http://127.0.0.1:9" }).to_string();
    let put =
        |fields: &str| ask(gateway.address_of("admin"), "PUT", &format!("{PATH}/a"), fields, &body).status;
    assert_eq!([put(""), put("Authorization: Bearer wrong\r\n")], [401, 401]);
    assert_eq!(put("Authorization: Bearer s3cret\r\n"), 201);
}

/// The same gateway with a state file here.
fn keeping(folder: &Path) -> Gateway {
    let state = format!("[server]\nstate_file = \"{}\"\n", folder.join("gatewayd.state").display());
    launch().config(&format!("{}{state}", config("api = true", ""))).start()
}

#[test]
fn registrations_outlive_a_restart_for_the_rest_of_their_time() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatewayd.state.registrations");
    let mut gateway = keeping(folder.path());
    assert_eq!(register(&gateway, "a", &json!({ "url": a.url(), "weight": 2, "ttl": "1h" })).status, 201);
    assert_eq!(register(&gateway, "b", &json!({ "url": b.url(), "ttl": 1 })).status, 201);
    eventually_present(&gateway, &[a.url(), b.url()]);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    std::thread::sleep(Duration::from_secs(1));

    let gateway = keeping(folder.path());
    // From the first request on, and no longer than it was to.
    assert_eq!(gateway.get("/").backend(), "a");
    assert_eq!(present(&gateway), [a.url()].into());
    assert_eq!(backend_status(&gateway, "app", &a.url())["weight"], 2.0);
    let list = ask(gateway.address_of("admin"), "GET", PATH, "", "").json();
    let known = list["registrations"].as_array().unwrap();
    assert!((3000.0..3600.0).contains(&known[0]["remaining_seconds"].as_f64().unwrap()), "{list}");

    // One that is killed has written it before.
    assert_eq!(register(&gateway, "b", &json!({ "url": b.url(), "weight": 7, "ttl": "1h" })).status, 201);
    eventually("it is kept", PATIENCE, || {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("\"weight\": 7.0"))
    });
    drop(gateway);
    let gateway = keeping(folder.path());
    assert_eq!(present(&gateway), [a.url(), b.url()].into());
    eventually_serves(&gateway, &[&a, &b]);
}

#[test]
fn registrations_that_cannot_be_read_are_said_and_set_aside() {
    let a = Backend::echo("a");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gatewayd.state.registrations");
    for (text, reason) in [
        ("{\"version\":99,\"registrations\":{\"app\":[]}}", "its form is version 99, not 1"),
        ("{\"version\":1,\"registrations\":{\"app\":[{\"id\":\"a\"", "it is broken"),
    ] {
        std::fs::write(&file, text).unwrap();
        let gateway = keeping(folder.path());
        gateway.log_line("it is said", |line| {
            let is_it = line["message"] == "registrations of an earlier run are not taken up";
            is_it && line["reason"].as_str().is_some_and(|said| said.contains(reason))
        });
        assert_eq!(register(&gateway, "a", &json!({ "url": a.url(), "ttl": "1h" })).status, 201);
        eventually("the next ones are kept", PATIENCE, || file.exists());
        drop(gateway);
        let files = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path());
        let aside: Vec<_> = files.filter(|it| it.display().to_string().contains(".unread-")).collect();
        assert_eq!(aside.len(), 1);
        assert_eq!(std::fs::read_to_string(&aside[0]).unwrap(), text);
        std::fs::remove_file(&aside[0]).unwrap();
    }
}

#[test]
fn an_upgrade_hands_registrations_over() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let gateway = discovering("api = true", "");
    for (id, backend) in [("a", &a), ("b", &b)] {
        assert_eq!(
            register(&gateway, id, &json!({ "url": backend.url(), "weight": 2, "ttl": "1h" })).status,
            201
        );
    }
    eventually_present(&gateway, &[a.url(), b.url()]);
    let load = Load::on(gateway.address());
    let _next = upgraded(&gateway);
    let list = ask(gateway.address_of("admin"), "GET", PATH, "", "").json();
    let known = list["registrations"].as_array().unwrap();
    assert_eq!(known.len(), 2, "{list}");
    assert!((3000.0..3600.0).contains(&known[0]["remaining_seconds"].as_f64().unwrap()), "{list}");
    eventually_serves(&gateway, &[&a, &b]);
    assert_eq!(backend_status(&gateway, "app", &b.url())["weight"], 2.0);
    assert!(load.finish().answers > 10);
}
