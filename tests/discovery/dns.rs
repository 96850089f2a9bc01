//! Backends behind names in DNS.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Load, PATIENCE, Port, eventually};

use super::dns_server::{Dnsmasq, Say, Scripted};
use super::{discovering, eventually_present, eventually_serves, figure, present, source};
use crate::support::backend_status;

/// Backends on one port of several addresses of this machine.
fn on_one_port(port: &Port, last_bytes: &[u8]) -> Vec<Backend> {
    let at = |last: &u8| {
        let address = SocketAddr::from(([127, 0, 0, *last], port.address().port()));
        Backend::echo_at(&format!("b{last}"), address)
    };
    last_bytes.iter().map(at).collect()
}

fn urls(backends: &[&Backend]) -> Vec<String> {
    backends.iter().map(|backend| backend.url()).collect()
}

#[test]
fn the_addresses_of_a_name_are_followed_by_their_ttl_and_outlive_the_server() {
    let port = Port::free();
    let backends = on_one_port(&port, &[2, 3, 4]);
    let [one, two, three] = &backends[..] else { panic!() };
    let lines = |backends: &[&Backend]| -> String {
        let line = |backend: &&Backend| format!("host-record=app.test,{},1\n", backend.address().ip());
        backends.iter().map(line).collect()
    };
    let mut server = Dnsmasq::start(&lines(&[one]));
    let discover =
        format!("dns = \"app.test:{}\", resolver = \"{}\"", port.address().port(), server.address());
    let gateway = discovering(&discover, "");
    assert_eq!(gateway.get("/").backend(), "b2", "it is there for the first request");
    let load = Load::on(gateway.address());
    for wanted in [&[one, two, three][..], &[two, three], &[one]] {
        server.serve(&lines(wanted));
        eventually_present(&gateway, &urls(wanted));
        eventually_serves(&gateway, wanted);
    }
    server.stop();
    eventually("that nobody answers is said", PATIENCE, || source(&gateway)["error"].is_string());
    assert_eq!(present(&gateway), [one.url()].into());
    assert_eq!(gateway.get("/").backend(), "b2");
    server.serve(&lines(&[two]));
    eventually_present(&gateway, &urls(&[two]));
    eventually_serves(&gateway, &[two]);
    assert!(load.finish().answers > 100);
    assert!(source(&gateway)["error"].is_null());
}

#[test]
fn the_servers_of_a_service_have_their_weights_and_priorities() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let record = |backend: &Backend, priority: u16, weight: u16| {
        format!("srv-host=_http._tcp.app.test,here.test,{},{priority},{weight}\n", backend.address().port())
    };
    let host = "host-record=here.test,127.0.0.1,1\nlocal-ttl=1\n";
    let mut server =
        Dnsmasq::start(&format!("{host}{}{}{}", record(&a, 10, 3), record(&b, 10, 1), record(&c, 20, 0)));
    let discover = format!("dns_srv = \"_http._tcp.app.test\", resolver = \"{}\"", server.address());
    let gateway = discovering(&discover, "load_balancing = \"weighted_round_robin\"");
    eventually_present(&gateway, &urls(&[&a, &b, &c]));
    let of = |backend: &Backend, key: &str| backend_status(&gateway, "app", &backend.url())[key].clone();
    assert_eq!((of(&a, "weight"), of(&b, "weight"), of(&c, "weight")), (3.0.into(), 1.0.into(), 1.0.into()));
    assert_eq!((of(&a, "backup"), of(&c, "backup")), (false.into(), true.into()));
    let load = Load::on(gateway.address());
    eventually_serves(&gateway, &[&a, &b]);
    assert_eq!(c.hits(), 0, "it stands in for the others only");
    // The best priority is another one now.
    server.serve(&format!("{host}{}{}", record(&b, 5, 1), record(&c, 5, 9)));
    eventually_present(&gateway, &urls(&[&b, &c]));
    eventually_serves(&gateway, &[&b, &c]);
    assert!(load.finish().answers > 100);
}

#[test]
fn a_server_whose_address_cannot_be_asked_for_keeps_no_other_out() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let record = |host: &str, backend: &Backend| {
        format!("srv-host=_http._tcp.app.test,{host}.test,{},1,1\n", backend.address().port())
    };
    let hosts = |names: &[&str]| -> String {
        let line = |name: &&str| format!("host-record={name}.test,127.0.0.1,1\n");
        "local-ttl=1\n".to_owned() + &names.iter().map(line).collect::<String>()
    };
    // Of names that it does not have this server says that it will not tell.
    let servers = [record("here", &a), record("lost", &b)].concat();
    let mut server = Dnsmasq::start(&(hosts(&["here"]) + &servers));
    let discover = format!("dns_srv = \"_http._tcp.app.test\", resolver = \"{}\"", server.address());
    let gateway = discovering(&discover, "");
    eventually_present(&gateway, &urls(&[&a]));
    let notice = || source(&gateway)["notice"].as_str().unwrap_or_default().to_owned();
    assert!(notice().starts_with("`lost.test.` is left out: "), "{}", notice());
    server.serve(&(hosts(&["here", "lost"]) + &servers));
    eventually_present(&gateway, &urls(&[&a, &b]));
    eventually("nothing is missing", PATIENCE, || notice().is_empty());
    // Who was there is where it was, and the service is followed all the same.
    let c = Backend::echo("c");
    server.serve(&(hosts(&["here"]) + &servers + &record("here", &c)));
    eventually_present(&gateway, &urls(&[&a, &b, &c]));
    assert!(notice().starts_with("`lost.test.` is where it was: "), "{}", notice());
    server.serve(&(hosts(&["here"]) + &record("here", &c)));
    eventually_present(&gateway, &urls(&[&c]));
}

#[test]
fn a_name_that_nobody_knows_holds_up_nothing_and_is_given_up_in_time() {
    let backend = Backend::echo("a");
    let port = backend.address().port();
    let server = Scripted::start(Say::Silence);
    let discover = format!("dns = \"app.test:{port}\", resolver = \"{}\", keep = \"2s\"", server.address());
    let gateway = discovering(&discover, "");
    assert_eq!(gateway.get("/").status, 503);
    server.say(Say::NoName);
    eventually("that nobody knows it is said", PATIENCE, || {
        source(&gateway)["error"].as_str().is_some_and(|error| error.contains("no such records"))
    });
    server.say(Say::Addresses(vec![Ipv4Addr::LOCALHOST], 1));
    eventually_present(&gateway, &[backend.url()]);
    // What cannot be told changes nothing, for however long; that there is nobody does after `keep`.
    for say in [Say::Failure, Say::Nonsense, Say::Circle] {
        server.say(say);
        eventually("it is said", PATIENCE, || source(&gateway)["error"].is_string());
        assert_eq!(gateway.get("/").status, 200);
        server.say(Say::Addresses(vec![Ipv4Addr::LOCALHOST], 1));
        eventually("it answers again", PATIENCE, || source(&gateway)["error"].is_null());
    }
    server.say(Say::NoName);
    eventually("that nobody is there is said", PATIENCE, || source(&gateway)["error"].is_string());
    let since = Instant::now();
    assert_eq!(gateway.get("/").status, 200, "for a time the last good answer stays");
    eventually_present(&gateway, &[]);
    assert!(since.elapsed() > Duration::from_secs(1), "it went before `keep` was over");
    assert_eq!(gateway.get("/").status, 503);
}

#[test]
fn a_change_is_followed_within_the_ttl_and_a_second() {
    let port = Port::free();
    let backends = on_one_port(&port, &[2, 3]);
    let address = |index: usize| match backends[index].address().ip() {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => panic!(),
    };
    for ttl in [1_u64, 3] {
        let say = |index: usize| Say::Addresses(vec![address(index)], u32::try_from(ttl).unwrap());
        let server = Scripted::start(say(0));
        let discover =
            format!("dns = \"app.test:{}\", resolver = \"{}\"", port.address().port(), server.address());
        let gateway = discovering(&discover, "");
        eventually_present(&gateway, &[backends[0].url()]);
        eventually("it is asked again", PATIENCE, || server.asked_at().len() >= 3);
        server.say(say(1));
        eventually_present(&gateway, &[backends[1].url()]);
        // What the server sees does not depend on how soon the test looks.
        for pair in server.asked_at().windows(2) {
            let between = pair[1] - pair[0];
            assert!(
                between >= Duration::from_secs(ttl) - Duration::from_millis(50),
                "{between:?} of {ttl} s"
            );
            assert!(between <= Duration::from_secs(ttl + 1), "{between:?} of {ttl} s");
        }
    }
}

#[test]
fn an_answer_without_end_is_cut_and_one_that_holds_for_no_time_is_not_asked_for_without_pause() {
    let backend = Backend::echo("a");
    let many: Vec<Ipv4Addr> = (0..4000).map(|index| Ipv4Addr::from(0x7f00_0001 + index)).collect();
    let server = Scripted::start(Say::Addresses(many, 0));
    let port = backend.address().port();
    let discover = format!(
        "dns = \"app.test:{port}\", resolver = \"{}\", max_members = 5, min_ttl = \"1s\"",
        server.address()
    );
    let gateway = discovering(&discover, "");
    eventually("five of them are taken", PATIENCE, || present(&gateway).len() == 5);
    let notice = source(&gateway)["notice"].clone();
    assert_eq!(notice, "3995 members beyond max_members = 5 are left out");
    let before = server.asked();
    std::thread::sleep(Duration::from_millis(2500));
    let asked = server.asked() - before;
    assert!((2..=8).contains(&asked), "A and AAAA each second, not {asked}");
    server.say(Say::Addresses(vec![Ipv4Addr::LOCALHOST], 0));
    eventually_present(&gateway, &[backend.url()]);
    let row = "gatewayd_discovery_answers_total{upstream=\"app\",source=\"dns\",result=\"ok\"}";
    eventually("its answers are counted", PATIENCE, || {
        figure(&gateway, row).is_some_and(|count| count >= 3.0)
    });
}
