//! Backends that a file lists.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use lb_testkit::{Backend, Load, PATIENCE, eventually};

use super::{ask, config, discovering, eventually_present, eventually_serves, figure, present, source};
use crate::support::{backend_status, cli, launch, urls};
use crate::takeover::upgraded;

#[test]
fn backends_of_a_file_come_and_go_and_no_request_notices() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let launch = launch();
    let path = launch.directory().join("app.yaml");
    fs::write(&path, format!("- {}\n", a.url())).unwrap();
    let gateway = launch.config(&config("file = \"app.yaml\"", "")).start();
    assert_eq!(gateway.get("/").backend(), "a", "it is there for the first request");
    let load = Load::on(gateway.address());
    for round in 0..3 {
        fs::write(&path, format!("backends:\n  - {}\n  - {{ url: {}, weight: 3 }}\n", b.url(), c.url()))
            .unwrap();
        eventually_present(&gateway, &[b.url(), c.url()]);
        eventually_serves(&gateway, &[&b, &c]);
        assert_eq!(backend_status(&gateway, "app", &c.url())["weight"], 3.0);
        // Renamed over, as editors do.
        let next = gateway.directory().join(format!("next-{round}"));
        fs::write(&next, format!("- {}\n- {}\n", a.url(), b.url())).unwrap();
        fs::rename(&next, &path).unwrap();
        eventually_present(&gateway, &[a.url(), b.url()]);
        eventually_serves(&gateway, &[&a, &b]);
    }
    assert!(load.finish().answers > 100);
    eventually("nothing is left of who has gone", PATIENCE, || c.open_connections() == 0);
    gateway.log_line("the plan is in the log", |line| {
        line["cause"] == "discovery" && line["plan"].as_str().is_some_and(|plan| plan.contains(&a.url()))
    });
    eventually("the figures agree", PATIENCE, || {
        figure(&gateway, "gatewayd_discovery_members{upstream=\"app\",source=\"file\"}") == Some(2.0)
            && figure(&gateway, "gatewayd_discovery_up{upstream=\"app\",source=\"file\"}") == Some(1.0)
    });
}

#[test]
fn figures_of_a_source_that_is_configured_no_more_go_and_those_of_one_that_comes_back_count_on() {
    let a = Backend::echo("a");
    let launch = launch();
    let path = launch.directory().join("app.yaml");
    fs::write(&path, format!("- {}\n", a.url())).unwrap();
    let with = config("file = \"app.yaml\"", "");
    let gateway = launch.config(&with).start();
    let up = "gatewayd_discovery_up{upstream=\"app\",source=\"file\"}";
    let answers = "gatewayd_discovery_answers_total{upstream=\"app\",source=\"file\",result=\"ok\"}";
    // Some answers more than the one that it begins with.
    for _ in 0..3 {
        let before = figure(&gateway, answers);
        fs::write(&path, format!("- {}\n- {}\n", a.url(), a.url())).unwrap();
        eventually("it is read", PATIENCE, || figure(&gateway, answers) > before);
        fs::write(&path, format!("- {}\n", a.url())).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
    }
    assert_eq!(figure(&gateway, up), Some(1.0));
    gateway.write_config(
        &with.replace("discover = { file = \"app.yaml\" }", &format!("backends = [\"{}\"]", a.url())),
    );
    assert!(cli(&["reload", "--admin", &gateway.address_of("admin").to_string()]).status.success());
    eventually("its gauges are gone", PATIENCE, || figure(&gateway, up).is_none());
    let before = figure(&gateway, answers).unwrap();
    gateway.write_config(&with);
    assert!(cli(&["reload", "--admin", &gateway.address_of("admin").to_string()]).status.success());
    eventually("its first answer counts", PATIENCE, || figure(&gateway, answers).unwrap() > before);
    assert_eq!(figure(&gateway, up), Some(1.0));
}

#[test]
fn a_list_whose_writer_rests_in_the_middle_is_not_taken_up_short() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let launch = launch();
    let path = launch.directory().join("app.yaml");
    fs::write(&path, format!("- {}\n- {}\n", a.url(), b.url())).unwrap();
    let gateway = launch.config(&config("file = \"app.yaml\"", "")).start();
    eventually_present(&gateway, &[a.url(), b.url()]);
    for _ in 0..2 {
        let mut file = fs::File::create(&path).unwrap();
        writeln!(file, "- {}", a.url()).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        writeln!(file, "- {{ url: {}, weight: 2 }}", b.url()).unwrap();
        drop(file);
        eventually("it is taken up whole", PATIENCE, || {
            backend_status(&gateway, "app", &b.url())["weight"] == 2.0
        });
        fs::write(&path, format!("- {}\n- {}\n\n", a.url(), b.url())).unwrap();
        eventually("it is as it was", PATIENCE, || {
            backend_status(&gateway, "app", &b.url())["weight"] == 1.0
        });
    }
    let is_cut = |line: &serde_json::Value| {
        line["plan"].as_str().is_some_and(|plan| plan.contains(&format!("-{}", b.url())))
    };
    assert!(!gateway.log().iter().any(is_cut));
}

#[test]
fn the_last_good_backends_stay_in_an_upgrade_and_when_their_source_is_told_otherwise() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let launch = launch();
    let path = launch.directory().join("app.json");
    let broken = "[\"http://";
    let came = |more: &str| {
        format!(
            "[upstreams.came]\ndiscover = {{ api = true{more} }}\n[[rules]]\npath = \"/came\"\nupstream = \"came\"\n"
        )
    };
    fs::write(&path, format!("[\"{}\"]", a.url())).unwrap();
    let gateway = launch.config(&config("file = \"app.json\"", &came(""))).start();
    let body = format!("{{\"url\": \"{}\", \"ttl\": \"1h\"}}", b.url());
    let registration = "/api/upstreams/came/registrations/b";
    assert_eq!(ask(gateway.address_of("admin"), "PUT", registration, "", &body).status, 201);
    eventually("it is there", PATIENCE, || gateway.get("/came").status == 200);
    fs::write(&path, broken).unwrap();
    eventually("the file is broken", PATIENCE, || !source(&gateway)["error"].is_null());

    gateway.write_config(&config("file = \"app.json\", keep = \"1h\"", &came(", max_members = 5")));
    let reloaded = cli(&["reload", "--admin", &gateway.address_of("admin").to_string()]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    assert_eq!(
        (gateway.get("/").backend(), gateway.get("/came").backend()),
        ("a".to_owned(), "b".to_owned())
    );
    let _first = upgraded(&gateway);
    let _second = upgraded(&gateway);
    assert_eq!(
        (gateway.get("/").backend(), gateway.get("/came").backend()),
        ("a".to_owned(), "b".to_owned())
    );
    assert!(!source(&gateway)["error"].is_null());
    fs::write(&path, format!("[\"{}\"]", b.url())).unwrap();
    eventually_present(&gateway, &[b.url()]);
    assert!(source(&gateway)["error"].is_null());
}

#[test]
fn a_member_that_can_be_no_backend_keeps_nobody_else_out() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let launch = launch();
    let path = launch.directory().join("app.json");
    fs::write(&path, format!("[\"{}\"]", a.url())).unwrap();
    let other =
        "[upstreams.other]\ndiscover = { api = true }\n[[rules]]\npath = \"/other\"\nupstream = \"other\"\n";
    let gateway = launch.config(&config("file = \"app.json\"", other)).start();
    for (odd, said) in [
        ("https://a..b", "neither a host name nor an address"),
        ("http://a{b:80", "no valid authority"),
        ("https://a.example:443/x y", "cannot hold this character"),
    ] {
        fs::write(&path, format!("[\"{odd}\", \"{}\", \"{}\"]", a.url(), b.url())).unwrap();
        eventually_present(&gateway, &[a.url(), b.url()]);
        gateway.log_line("who is left out is said", |line| {
            line["message"] == "member left out"
                && line["backend"] == odd
                && line["reason"].as_str().is_some_and(|reason| reason.contains(said))
        });
        let admin = gateway.address_of("admin");
        let body = format!("{{\"url\": \"{odd}\"}}");
        let answer = ask(admin, "PUT", "/api/upstreams/other/registrations/x", "", &body);
        assert_eq!(answer.status, 400, "{odd}");
        assert!(answer.text().contains(said), "{}", answer.text());
        fs::write(&path, format!("[\"{}\"]", a.url())).unwrap();
        eventually_present(&gateway, &[a.url()]);
    }
}

#[test]
fn whatever_becomes_of_the_file_the_last_good_backends_stay() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let launch = launch();
    let path = launch.directory().join("app.json");
    let good = format!("[\"{}\", {{ \"url\": \"{}\" }}]", a.url(), b.url());
    fs::write(&path, &good).unwrap();
    let gateway = launch.config(&config("file = \"app.json\"", "")).start();
    let all = [a.url(), b.url()];
    eventually_present(&gateway, &all);
    for (text, said) in [
        ("", "it is empty"),
        (&good[..good.len() - 2], "app.json:1"),
        ("{\"backend\": []}", "no list of backends"),
        ("[\"a:1\", 7]", "item 2"),
        ("[{\"url\": \"a:1\", \"wieght\": 2}]", "unknown field `wieght`"),
    ] {
        fs::write(&path, text).unwrap();
        eventually(said, PATIENCE, || {
            source(&gateway)["error"].as_str().is_some_and(|error| error.contains(said))
        });
        assert_eq!(present(&gateway).len(), 2);
        assert_eq!(gateway.get("/").status, 200);
    }
    fs::remove_file(&path).unwrap();
    let gone = "No such file";
    eventually(gone, PATIENCE, || {
        source(&gateway)["error"].as_str().is_some_and(|error| error.contains(gone))
    });
    eventually_present(&gateway, &all);
    eventually("it is in the figures", PATIENCE, || {
        figure(&gateway, "gatewayd_discovery_up{upstream=\"app\",source=\"file\"}") == Some(0.0)
    });
    // A member that cannot be one is left out, the others are taken.
    fs::write(&path, format!("[\"{}\", \"ftp://x\", \"{}\"]", b.url(), gateway.address())).unwrap();
    eventually_present(&gateway, &[b.url()]);
    gateway.log_line("our own address is no backend", |line| {
        line["message"] == "member left out"
            && line["reason"].as_str().is_some_and(|it| it.contains("circle"))
    });
    // An empty list is meant.
    fs::write(&path, "[]").unwrap();
    eventually_present(&gateway, &[]);
    assert_eq!(gateway.get("/").status, 503);
    assert!(source(&gateway)["error"].is_null());
}

#[test]
fn a_symbolic_link_that_is_switched_is_followed_and_a_missing_file_holds_up_nothing() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let gateway = discovering("file = \"map/app.toml\"", "");
    assert_eq!(gateway.get("/").status, 503);
    let at = |name: &str| gateway.directory().join(name);
    // As Kubernetes has it: the file leads through a link to the directory of the day.
    for (day, backend) in [("1", &a), ("2", &b)] {
        fs::create_dir(at(day)).unwrap();
        fs::write(at(day).join("app.toml"), format!("backends = [\"{}\"]", backend.url())).unwrap();
    }
    fs::create_dir(at("map")).unwrap();
    symlink("../1", at("map/data")).unwrap();
    symlink("data/app.toml", at("map/app.toml")).unwrap();
    eventually_present(&gateway, &[a.url()]);
    symlink("../2", at("map/new")).unwrap();
    fs::rename(at("map/new"), at("map/data")).unwrap();
    eventually_present(&gateway, &[b.url()]);
    eventually_serves(&gateway, &[&b]);
}

#[test]
fn a_configuration_that_is_read_again_keeps_what_was_discovered() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let launch = launch();
    fs::write(launch.directory().join("app.yaml"), format!("- {}\n", a.url())).unwrap();
    // Connections are a worker's.
    let config = |discover: &str, more: &str| format!("[server]\nworkers = 1\n{}", config(discover, more));
    let gateway = launch.config(&config("file = \"app.yaml\"", "")).start();
    assert_eq!(gateway.get("/").backend(), "a");
    let connections = a.accepted();
    let admin = gateway.address_of("admin").to_string();
    let reload = || {
        let output = cli(&["reload", "--admin", &admin]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Static ones beside it; then without discovery; then with it again.
    gateway.write_config(&config("file = \"app.yaml\"", &format!("backends = [{}]", urls(&[&b]))));
    let said = reload();
    assert!(said.contains(&format!("+{}", b.url())) && !said.contains(&a.url()), "{said}");
    assert_eq!(present(&gateway).len(), 2);
    eventually_serves(&gateway, &[&a, &b]);
    assert_eq!(a.accepted(), connections, "its connection is used again");
    gateway.write_config(
        &config("file = \"app.yaml\"", &format!("backends = [{}]", urls(&[&b, &c]))).replace("discover", "#"),
    );
    reload();
    assert_eq!(present(&gateway), [b.url(), c.url()].into());
    assert!(source(&gateway).is_null());
    gateway.write_config(&config("file = \"app.yaml\"", ""));
    reload();
    assert_eq!(present(&gateway), [a.url()].into(), "at once");
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_newcomer_that_does_not_listen_yet_is_tried_again_soon() {
    let (a, mut late) = (Backend::echo("a"), Backend::echo("late"));
    let launch = launch();
    let path = launch.directory().join("app.yaml");
    fs::write(&path, format!("- {}\n", a.url())).unwrap();
    let gateway = launch.config(&config("file = \"app.yaml\"", "")).start();
    late.stop();
    fs::write(&path, format!("- {}\n- {}\n", a.url(), late.url())).unwrap();
    eventually_present(&gateway, &[a.url(), late.url()]);
    eventually("it has refused too often", PATIENCE, || {
        assert_eq!(gateway.get("/").backend(), "a");
        backend_status(&gateway, "app", &late.url())["state"] == "ejected"
    });
    // Long before the time for which others are kept out, 30 s.
    late.start();
    let began = std::time::Instant::now();
    eventually("it gets its requests", PATIENCE, || gateway.get("/").backend() == "late");
    assert!(began.elapsed() < Duration::from_secs(25));
}
