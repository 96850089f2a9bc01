//! Who gets the next request: the strategies as a client sees them, on all workers at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use lb_testkit::{Backend, Client, Gate, Gateway, PATIENCE, eventually};

use crate::support::{
    STATUS_LISTENER, assert_tally, backend_status, cli, gateway, rule, tally, urls, weighted,
};

fn three() -> [Backend; 3] {
    ["a", "b", "c"].map(Backend::echo)
}

/// The backends' names for `count` requests, each on a connection of its own.
fn serial(gateway: &Gateway, count: usize) -> Vec<String> {
    (0..count).map(|_| gateway.get("/").backend()).collect()
}

/// The backends' names for requests from `clients` at once, each sending `each` on one connection.
fn parallel(gateway: &Gateway, clients: usize, each: usize) -> Vec<String> {
    let names = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = gateway.client();
                let mine: Vec<_> = (0..each).map(|_| client.get("/").backend()).collect();
                names.lock().unwrap().extend(mine);
            });
        }
    });
    names.into_inner().unwrap()
}

#[test]
fn every_strategy_can_be_had_by_its_name_and_is_listed_with_its_summary() {
    let backends = three();
    let all: Vec<&Backend> = backends.iter().collect();
    for info in lb_core::strategy::ALL {
        let lines = format!("load_balancing = \"{}\"", info.name);
        let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule(&lines, &all)));
        assert!(serial(&gateway, 6).iter().all(|name| !name.is_empty()), "{}", info.name);
        let listed = gateway.get("/strategies").json();
        assert_eq!(listed["strategies"][info.name], info.summary, "{listed}");
    }
}

#[test]
fn a_subset_is_all_that_is_used_and_other_clients_use_the_rest() {
    let backends = three();
    let all: Vec<&Backend> = backends.iter().collect();
    let mut used: Vec<String> = (0..3)
        .flat_map(|client| {
            let gateway = gateway(&rule(&format!("subset = {{ size = 1, client = {client} }}"), &all));
            let mut names = serial(&gateway, 6);
            names.dedup();
            let file = gateway.config_file();
            let explained = cli(&["explain", "-c", file.to_str().unwrap(), "http://a/", "--json"]);
            let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
            let candidates = explained["upstream"]["candidates"].as_array().unwrap();
            let eligible: Vec<_> = candidates.iter().filter(|it| it["eligible"] == true).collect();
            assert_eq!(eligible.len(), 1, "{explained}");
            assert_eq!(eligible[0]["url"], all["abc".find(&names[0]).unwrap()].url());
            names
        })
        .collect();
    used.sort();
    assert_eq!(used.len(), 3, "one each: {used:?}");
    used.dedup();
    assert_eq!(used.len(), 3, "and each another: {used:?}");
}

#[test]
fn round_robin_serves_equal_backends_in_their_listed_order() {
    let [a, b, c] = three();
    let gateway = gateway(&rule("", &[&a, &b, &c]));
    let names = serial(&gateway, 300);
    assert!(names.chunks(3).all(|three| three == ["a", "b", "c"]), "{names:?}");
    assert_eq!([a.hits(), b.hits(), c.hits()], [100; 3]);
}

#[test]
fn round_robin_stays_exact_for_64_parallel_clients_on_all_workers() {
    let [a, b, c] = three();
    let gateway = gateway(&format!("[server]\nworkers = 4\n{}", rule("", &[&a, &b, &c])));
    let counts = tally(parallel(&gateway, 64, 10));
    assert!(counts.len() == 3 && counts.values().all(|count| (212..=214).contains(count)), "{counts:?}");
}

#[test]
fn weights_3_2_1_hold_in_every_six_requests_without_bursts() {
    let [a, b, c] = three();
    let backends = weighted(&[(&a, "3"), (&b, "2"), (&c, "1")]);
    let gateway =
        gateway(&format!("[[rules]]\nload_balancing = \"weighted_round_robin\"\nbackends = [{backends}]\n"));
    let names = serial(&gateway, 600);
    for six in names.chunks(6) {
        assert_tally(six.to_vec(), &[("a", 3), ("b", 2), ("c", 1)]);
    }
    let burst = names.windows(3).any(|three| three.iter().all(|name| *name == three[0]));
    assert!(!burst, "three in a row: {names:?}");
    assert_eq!([a.hits(), b.hits(), c.hits()], [300, 200, 100]);
}

#[test]
fn weights_stay_exact_on_six_connections_that_different_workers_serve() {
    let [a, b, c] = three();
    let backends = weighted(&[(&a, "3"), (&b, "2"), (&c, "1")]);
    let gateway = gateway(&format!(
        "[server]\nworkers = 4\n[[rules]]\nload_balancing = \"weighted_round_robin\"\nbackends = [{backends}]\n"
    ));
    let mut clients: Vec<_> = (0..6).map(|_| gateway.client()).collect();
    for _ in 0..20 {
        let names: Vec<_> = clients.iter_mut().map(|client| client.get("/").backend()).collect();
        assert_tally(names, &[("a", 3), ("b", 2), ("c", 1)]);
    }
}

#[test]
fn block_order_gives_the_tutorials_aaabbc() {
    let [a, b, c] = three();
    let backends = weighted(&[(&a, "3"), (&b, "2"), (&c, "1")]);
    let strategy = "{ strategy = \"weighted_round_robin\", order = \"block\" }";
    let gateway = gateway(&format!("[[rules]]\nload_balancing = {strategy}\nbackends = [{backends}]\n"));
    assert_eq!(serial(&gateway, 12).concat(), "aaabbcaaabbc");
}

#[test]
fn fractional_weights_are_held_and_weight_zero_gets_nothing() {
    let [a, b, c] = three();
    let d = Backend::echo("d");
    let backends = weighted(&[(&a, "1.0"), (&b, "2.0"), (&c, "1.0"), (&d, "0")]);
    let gateway =
        gateway(&format!("[[rules]]\nload_balancing = \"weighted_round_robin\"\nbackends = [{backends}]\n"));
    assert_tally(serial(&gateway, 400), &[("a", 100), ("b", 200), ("c", 100)]);
    assert_eq!(d.accepted(), 0);
}

/// Backends that hold every request until told, behind `least_connections`, and the requests under way.
struct Held {
    gates: [Gate; 3],
    backends: [Backend; 3],
    gateway: Gateway,
    clients: Vec<Client>,
}

impl Held {
    fn new(weights: [&str; 3]) -> Self {
        let gates = [Gate::new(), Gate::new(), Gate::new()];
        let backends = [0, 1, 2].map(|index| Backend::held(["a", "b", "c"][index], &gates[index]));
        let items =
            weighted(&[(&backends[0], weights[0]), (&backends[1], weights[1]), (&backends[2], weights[2])]);
        let gateway = gateway(&format!(
            "[[rules]]\nname = \"app\"\nload_balancing = \"least_connections\"\nbackends = [{items}]\n{STATUS_LISTENER}"
        ));
        Self { gates, backends, gateway, clients: Vec::new() }
    }

    /// Send one more request and wait until a backend holds it.
    fn send_one(&mut self) {
        let before = self.waiting().iter().sum::<usize>();
        let mut client = self.gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        self.clients.push(client);
        eventually("a backend holds the request", PATIENCE, || {
            self.waiting().iter().sum::<usize>() == before + 1
        });
    }

    fn waiting(&self) -> [usize; 3] {
        [0, 1, 2].map(|index| self.gates[index].waiting())
    }

    /// Let `count` of one backend's requests finish, and wait until the gateway knows.
    fn finish(&mut self, backend: usize, count: usize) {
        let left = self.gates[backend].waiting() - count;
        self.gates[backend].admit(count);
        let url = self.backends[backend].url();
        eventually("the gateway counts fewer", PATIENCE, || {
            backend_status(&self.gateway, "app", &url)["active_connections"] == left
        });
    }
}

#[test]
fn least_connections_goes_where_the_fewest_requests_are_in_flight() {
    let mut held = Held::new(["1", "1", "1"]);
    for _ in 0..24 {
        held.send_one();
    }
    assert_eq!(held.waiting(), [8, 8, 8]);
    held.finish(0, 3);
    held.finish(1, 6);
    assert_eq!(held.waiting(), [5, 2, 8]);
    for expected in [[5, 3, 8], [5, 4, 8], [5, 5, 8]] {
        held.send_one();
        assert_eq!(held.waiting(), expected);
    }
}

#[test]
fn least_connections_takes_weights_into_account() {
    let mut held = Held::new(["2", "1", "1"]);
    for _ in 0..8 {
        held.send_one();
    }
    assert_eq!(held.waiting(), [4, 2, 2]);
}

#[test]
fn idle_least_connections_rotates_its_ties() {
    let [a, b, c] = three();
    let gateway = gateway(&rule("load_balancing = \"least_connections\"", &[&a, &b, &c]));
    let counts = tally(serial(&gateway, 30));
    assert!(counts.len() == 3 && counts.values().all(|&count| count >= 5), "{counts:?}");
}

#[test]
fn counters_are_zero_after_clients_left_and_backends_failed() {
    let gate = Gate::new();
    let (held, broken) = (Backend::held("a", &gate), Backend::reset_mid_head());
    let gateway = gateway(&format!(
        "{}{}{STATUS_LISTENER}",
        rule("name = \"held\"\npath_prefix = \"/held\"", &[&held]),
        rule("name = \"broken\"\npath_prefix = \"/broken\"", &[&broken]),
    ));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = gateway.client();
            client.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
            client
        })
        .collect();
    let active = |upstream: &str, backend: &Backend| {
        backend_status(&gateway, upstream, &backend.url())["active_connections"].clone()
    };
    eventually("all are in flight", PATIENCE, || active("held", &held) == 20);
    drop(clients);
    eventually("none is left", PATIENCE, || active("held", &held) == 0);
    for _ in 0..100 {
        assert!(gateway.get("/broken").status >= 500);
    }
    eventually("failures are given back, once each", PATIENCE, || active("broken", &broken) == 0);
    gate.open();
}

#[test]
fn random_is_uniform() {
    let [a, b, c] = three();
    let gateway = gateway(&rule("load_balancing = \"random\"", &[&a, &b, &c]));
    let counts = tally(parallel(&gateway, 10, 300));
    let squares = counts.values().map(|&count| (count as f64 - 1000.0).powi(2) / 1000.0);
    let chi_square: f64 = squares.sum();
    // p = 0.001 at two degrees of freedom.
    assert!(counts.len() == 3 && chi_square < 13.82, "{counts:?}: {chi_square}");
}

#[test]
fn weighted_random_keeps_7_to_3_within_two_percent() {
    let [a, b, _] = three();
    let backends = weighted(&[(&a, "7"), (&b, "3")]);
    let gateway =
        gateway(&format!("[[rules]]\nload_balancing = \"weighted_random\"\nbackends = [{backends}]\n"));
    let counts = tally(parallel(&gateway, 10, 1000));
    assert!((6800..=7200).contains(&counts["a"]), "{counts:?}");
}

#[test]
fn ip_hash_keeps_a_client_on_one_backend_over_a_hundred_connections() {
    let [a, b, c] = three();
    let gateway = gateway(&rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]));
    assert_eq!(tally(serial(&gateway, 100)).len(), 1);
}

#[test]
fn ip_hash_spreads_clients_and_moves_only_those_of_a_dead_backend() {
    let [a, b, mut c] = three();
    let gateway = gateway(&rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]));
    let from = |client: u8| -> String {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 7, client));
        Client::connect_from(source, gateway.address()).get("/").backend()
    };
    let homes: BTreeMap<u8, String> = (1..=90).map(|client| (client, from(client))).collect();
    let counts = tally(homes.values().cloned());
    assert!(counts.len() == 3 && counts.values().all(|&count| count >= 10), "{counts:?}");
    c.stop();
    let orphans: Vec<u8> = homes.iter().filter(|(_, home)| *home == "c").map(|(&client, _)| client).collect();
    for (&client, home) in homes.iter().filter(|(_, home)| *home != "c") {
        assert_eq!(from(client), *home, "127.0.7.{client} moved");
    }
    // Fewer than it takes to eject the backend, so that its return is not a matter of time.
    for &client in orphans.iter().take(3) {
        assert_ne!(from(client), "c");
    }
    c.start();
    for client in orphans {
        assert_eq!(from(client), "c", "127.0.7.{client} did not return");
    }
}

#[test]
fn taking_a_backend_out_of_the_configuration_moves_only_its_own_clients() {
    let [a, b, c] = three();
    let with = gateway(&rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]));
    let without = gateway(&rule("load_balancing = \"ip_hash\"", &[&a, &c]));
    let home = |gateway: &Gateway, client: u8| {
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 9, client));
        Client::connect_from(source, gateway.address()).get("/").backend()
    };
    let homes: Vec<(u8, String)> = (1..=90).map(|client| (client, home(&with, client))).collect();
    assert!(homes.iter().any(|(_, home)| home == "b"), "some lived there");
    for (client, before) in homes {
        let after = home(&without, client);
        assert!(after == before || before == "b", "127.0.9.{client} moved from {before} to {after}");
    }
}

#[test]
fn addresses_that_are_none_break_nothing_even_from_a_trusted_proxy() {
    let [a, b, c] = three();
    let config = rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]);
    let gateway = gateway(&format!("trusted_proxies = [\"127.0.0.1/32\"]\n{config}"));
    let mut client = gateway.client();
    for forged in
        ["-9223372036854775808", "", ",,,", "999.999.999.999", "::", "[::1]:80", "10.0.0.1:99999", "\u{e9}"]
    {
        for name in ["X-Forwarded-For", "X-Real-IP"] {
            assert_eq!(client.request("GET", "/", &[(name, forged)]).status, 200, "{name}: {forged}");
        }
    }
}

#[test]
fn ip_hash_spreads_a_thousand_clients_of_a_trusted_proxy_evenly() {
    let [a, b, c] = three();
    let config = rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]);
    let gateway = gateway(&format!("trusted_proxies = [\"127.0.0.0/8\"]\n{config}"));
    let mut client = gateway.client();
    let names = (0..1000).map(|number| {
        let address = format!("10.{}.{}.{}", number % 7, number / 256, number % 256);
        client.request("GET", "/", &[("X-Forwarded-For", &address)]).backend()
    });
    let counts = tally(names.collect::<Vec<_>>());
    assert!(counts.len() == 3 && counts.values().all(|count| (220..=450).contains(count)), "{counts:?}");
}

#[test]
fn a_forged_forwarded_for_moves_nobody() {
    let [a, b, c] = three();
    let gateway = gateway(&rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]));
    let home = gateway.get("/").backend();
    for number in 0..50 {
        let forged = format!("203.0.113.{number}");
        let fields = [("X-Forwarded-For", &*forged), ("X-Real-IP", &forged)];
        assert_eq!(gateway.fetch("GET", "/", &fields).backend(), home);
    }
}

#[test]
fn the_rightmost_untrusted_address_is_the_client() {
    let [a, b, c] = three();
    let config = rule("load_balancing = \"ip_hash\"", &[&a, &b, &c]);
    let gateway = gateway(&format!("trusted_proxies = [\"127.0.0.1/32\", \"10.0.0.0/8\"]\n{config}"));
    let via = |list: &str| gateway.fetch("GET", "/", &[("X-Forwarded-For", list)]).backend();
    let clients: Vec<String> = (0..30).map(|number| format!("203.0.113.{number}")).collect();
    for client in &clients {
        let home = via(client);
        assert_eq!(via(&format!("{client}, 10.0.0.7")), home, "a trusted hop behind the client");
        assert_eq!(via(&format!("198.51.100.1, {client}")), home, "what stands before the client is hearsay");
    }
    assert!(tally(clients.iter().map(|client| via(client))).len() > 1, "the field is honoured at all");
}

#[test]
fn four_rules_use_four_strategies_at_once() {
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let backends = names.map(Backend::echo);
    let rules = [
        (
            "weighted_round_robin",
            "/api/v1/",
            weighted(&[(&backends[0], "3"), (&backends[1], "2"), (&backends[2], "1")]),
        ),
        ("least_connections", "/api/v2/", urls(&[&backends[3], &backends[4]])),
        ("ip_hash", "/auth/", urls(&[&backends[5], &backends[6]])),
        ("random", "/static/", urls(&[&backends[7], &backends[8], &backends[9]])),
    ];
    let config = rules.map(|(strategy, prefix, backends)| {
        format!("[[rules]]\npath_prefix = \"{prefix}\"\nload_balancing = \"{strategy}\"\nbackends = [{backends}]\n")
    });
    let gateway = gateway(&config.concat());
    let mut counts: [Vec<String>; 4] = Default::default();
    for round in 0..60 {
        for (index, prefix) in ["/api/v1", "/api/v2", "/auth", "/static"].iter().enumerate() {
            counts[index].push(gateway.get(&format!("{prefix}/{round}")).backend());
        }
    }
    let [weighted, least, hashed, random] = counts;
    assert_tally(weighted, &[("1", 30), ("2", 20), ("3", 10)]);
    let least = tally(least);
    assert!(least.len() == 2 && least.values().all(|&count| count >= 15), "{least:?}");
    assert_eq!(tally(hashed).len(), 1);
    assert_eq!(tally(random).into_keys().collect::<Vec<_>>(), ["10", "8", "9"]);
}

#[test]
fn a_burst_is_spread_over_idle_backends_without_two_taking_the_same_place() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let backends = [0, 1, 2].map(|index| Backend::held(["a", "b", "c"][index], &gates[index]));
    let items: Vec<_> = backends
        .iter()
        .map(|backend| format!("{{ url = \"{}\", max_connections = 10 }}", backend.url()))
        .collect();
    let gateway = gateway(&format!(
        "[server]\nworkers = 4\n[[rules]]\nload_balancing = \"least_connections\"\nbackends = [{}]\n",
        items.join(", ")
    ));
    // As many as there are places: each must find one, whichever worker it comes to.
    let mut clients: Vec<_> = (0..30).map(|_| gateway.client()).collect();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        }
    });
    let waiting = || [0, 1, 2].map(|index| gates[index].waiting());
    eventually("every place is taken", PATIENCE, || waiting() == [10, 10, 10]);
    gates.iter().for_each(Gate::open);
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
}
