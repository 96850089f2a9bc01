//! `max_connections`: never exceeded, and no reason for an error while another backend has room.

use std::sync::Mutex;
use std::time::Duration;

use lb_testkit::{Backend, Gate, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, backend_status, gateway, tally, urls};

#[test]
fn two_hundred_at_once_never_take_more_than_ten_places() {
    let backend = Backend::slow("a", Duration::from_millis(20));
    let gateway = gateway(&format!(
        "[server]\nworkers = 4\n[[rules]]\nname = \"app\"\n\
         backends = [{{ url = \"{}\", max_connections = 10 }}]\n{STATUS_LISTENER}",
        backend.url()
    ));
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for _ in 0..3 {
                    let response = client.get("/");
                    let status = match response.status {
                        200 => "served".to_owned(),
                        status => format!("{status} {}", response.problem()),
                    };
                    statuses.lock().unwrap().push(status);
                }
            });
        }
    });
    assert!(backend.peak() <= 10, "{} at once", backend.peak());
    let statuses = tally(statuses.into_inner().unwrap());
    assert!(statuses["served"] >= 10, "{statuses:?}");
    assert!(
        statuses.keys().all(|status| ["served", "503 overloaded"].contains(&status.as_str())),
        "{statuses:?}"
    );
    eventually("every place is given back", PATIENCE, || {
        backend_status(&gateway, "app", &backend.url())["active_connections"] == 0
    });
}

#[test]
fn a_full_backend_costs_nobody_an_answer_while_another_has_room() {
    let gate = Gate::new();
    let (full, free) = (Backend::held("full", &gate), Backend::echo("free"));
    let gateway = gateway(&format!(
        "[[rules]]\nbackends = [{{ url = \"{}\", max_connections = 1 }}, {}]\n",
        full.url(),
        urls(&[&free])
    ));
    let mut occupant = gateway.client();
    occupant.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is full", PATIENCE, || gate.waiting() == 1);
    for method in ["GET", "POST"].into_iter().cycle().take(20) {
        assert_eq!(gateway.fetch(method, "/", &[("Content-Length", "0")]).backend(), "free");
    }
    gate.open();
    assert_eq!(occupant.response().backend(), "full");
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
