//! The board as those who watch it see it.

use std::time::Duration;

use http::StatusCode;
use lb_health::{Change as HealthChange, EventSink, HealthEvent};
use lb_observe::{BackendStats, Exchange, Figures, Recorder};
use serde_json::{Value, json};

use super::*;
use crate::{BackendState, BackendView, Circuit, Features, GatewayView, RuleView, UpstreamView};

/// A gateway whose backends can be changed while it is watched.
struct Scene {
    view: Arc<Mutex<GatewayView>>,
    registry: Arc<Registry>,
    errors: Arc<RecentErrors>,
    changes: Arc<RecentChanges>,
    board: Arc<Board>,
    start: Instant,
}

struct Shared(Arc<Mutex<GatewayView>>);

impl StatusSource for Shared {
    fn view(&self) -> GatewayView {
        self.0.lock().unwrap().clone()
    }
}

impl Scene {
    /// Upstreams of these sizes: `up-0` with `http://b0.0`, `http://b0.1`…
    fn of(sizes: &[usize]) -> Self {
        let registry = Arc::new(Registry::default());
        let upstreams = sizes.iter().enumerate().map(|(place, size)| UpstreamView {
            name: format!("up-{place}"),
            strategy: "round_robin".to_owned(),
            backends: (0..*size)
                .map(|n| {
                    backend(registry.backend(&format!("up-{place}"), &format!("http://b{place}.{n}"), 1))
                })
                .collect(),
        });
        let rules = (0..sizes.len()).map(|place| RuleView {
            name: format!("rule-{place}"),
            host: None,
            path: format!("/{place}/*"),
            methods: Vec::new(),
            upstream: format!("up-{place}"),
            split: Vec::new(),
            rollbacks: Vec::new(),
            strategy: "round_robin".to_owned(),
        });
        let view = Arc::new(Mutex::new(GatewayView {
            version: "1.2.3",
            uptime: Duration::from_secs(60),
            draining: false,
            default_strategy: "round_robin".to_owned(),
            strategies: Vec::new(),
            listeners: Vec::new(),
            rules: rules.collect(),
            upstreams: upstreams.collect(),
            features: Features { traffic_dump: false, health_check: false, sample_rate: 0.0 },
            configuration: None,
            discovery: Vec::new(),
        }));
        let (errors, changes) = (Arc::new(RecentErrors::new(1)), Arc::new(RecentChanges::default()));
        let source = Arc::new(Shared(Arc::clone(&view)));
        let board = Board::new(source, Arc::clone(&registry), Arc::clone(&errors), Arc::clone(&changes));
        Self { view, registry, errors, changes, board: Arc::new(board), start: Instant::now() }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64(seconds)
    }

    /// So many requests of a rule at the first backend of its upstream.
    fn requests(&self, place: usize, requests: usize, status: u16, took: Duration) {
        let figures = Figures::new(&self.registry, 1);
        let rule = self.registry.rule(&format!("rule-{place}"), 1);
        let backend = Arc::clone(&self.view.lock().unwrap().upstreams[place].backends[0].stats);
        for _ in 0..requests {
            let exchange = Exchange {
                rule: Some(&rule),
                backend: Some(&backend),
                status: StatusCode::from_u16(status).unwrap(),
                duration: took,
                upstream_latency: Some(took),
                ended_at: SystemTime::now(),
                ..Exchange::new(0)
            };
            figures.record(&exchange);
            self.errors.record(&exchange);
        }
    }

    fn look(&self, query: &str, seconds: f64) -> Value {
        look(&mut self.board.view(query).unwrap(), self.at(seconds))
    }
}

fn look(viewer: &mut Viewer, now: Instant) -> Value {
    serde_json::from_slice(&viewer.look(now)).unwrap()
}

fn backend(stats: Arc<BackendStats>) -> BackendView {
    BackendView {
        stats,
        weight: 1.0,
        backup: false,
        healthy: true,
        state: BackendState::Healthy,
        active_connections: 1,
        max_connections: None,
        circuit: Circuit::Closed,
        ejected_until: None,
        open_until: None,
        since: None,
        last_probe: None,
        error: None,
    }
}

fn urls(page: &Value) -> Vec<String> {
    let shown = page["shown"].as_array().unwrap();
    shown.iter().map(|backend| backend["url"].as_str().unwrap().to_owned()).collect()
}

const FAST: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(80);

#[test]
fn figures_are_of_the_last_seconds_and_not_of_all_time() {
    let scene = Scene::of(&[2]);
    scene.requests(0, 10_000, 200, FAST);
    for step in 0..3 {
        scene.board.step(scene.at(f64::from(step) * 5.0));
    }
    let mut viewer = scene.board.view("").unwrap();
    look(&mut viewer, scene.at(10.0));
    scene.requests(0, 75, 200, SLOW);
    scene.requests(0, 25, 503, SLOW);
    let event = look(&mut viewer, scene.at(11.0));
    let upstream = &event["upstreams"]["shown"][0];
    for figures in [&event["totals"], upstream, &event["rules"]["shown"][0]] {
        // Since the last but one step, six seconds ago.
        assert_eq!(figures["requests_per_second"], 16.667, "{figures}");
        assert_eq!(figures["error_rate"], 0.25, "{figures}");
        let p50 = figures["p50"].as_f64().unwrap();
        assert!((p50 - 80.0).abs() < 2.0, "{p50}");
        assert_eq!((&figures["requests"], &figures["failed"]), (&10_100.into(), &25.into()));
    }
    let backends = &upstream["backends"]["shown"];
    assert_eq!((&backends[0]["share"], &backends[0]["due"]), (&1.0.into(), &0.5.into()));
    assert_eq!((&backends[1]["share"], &backends[1]["p50"]), (&0.0.into(), &Value::Null));
    assert_eq!(event["totals"]["states"]["healthy"], 2);
    assert_eq!(event["errors"][0]["times"], 25);
    assert_eq!(event["errors"][0]["reason"], "The backend answered 503 Service Unavailable.");
}

#[test]
fn a_viewer_gets_the_history_once_and_then_what_is_new() {
    let scene = Scene::of(&[1]);
    scene.board.step(scene.at(0.0));
    for step in 1..=150_u32 {
        scene.requests(0, 10, 200, FAST);
        scene.board.step(scene.at(f64::from(step) * 5.0));
    }
    let mut viewer = scene.board.view("").unwrap();
    let first = look(&mut viewer, scene.at(750.5));
    for history in [&first["totals"]["history"], &first["upstreams"]["shown"][0]["history"]] {
        let rates = history["requests_per_second"].as_array().unwrap();
        assert_eq!((rates.len(), &rates[0]), (history::KEPT, &2.0.into()));
        assert_eq!(history["first"], 151 - history::KEPT + 1);
    }
    let second = look(&mut viewer, scene.at(751.5));
    assert_eq!(second["totals"]["history"]["p99"], Value::Array(Vec::new()));
    scene.board.step(scene.at(755.0));
    let third = look(&mut viewer, scene.at(755.5));
    let history = &third["upstreams"]["shown"][0]["history"];
    assert_eq!((&history["first"], history["p50"].as_array().unwrap().len()), (&152.into(), 1));
}

#[test]
fn many_backends_come_by_the_page_with_the_bad_ones_first() {
    let scene = Scene::of(&[120, 3]);
    scene.view.lock().unwrap().upstreams[0].backends[110].state = BackendState::Ejected;
    let overview = scene.look("", 0.0);
    let upstreams = &overview["upstreams"]["shown"];
    assert_eq!(urls(&upstreams[0]["backends"])[..2], ["http://b0.110", "http://b0.0"]);
    assert_eq!(urls(&upstreams[0]["backends"]).len(), query::FEW_BACKENDS);
    assert_eq!(urls(&upstreams[1]["backends"]), ["http://b1.0", "http://b1.1", "http://b1.2"]);
    assert_eq!(upstreams[0]["states"]["ejected"], 1);

    let last = &scene.look("upstream=up-0&page=3", 0.0)["upstreams"]["shown"][0]["backends"];
    assert_eq!((&last["page"], &last["pages"], urls(last).len()), (&3.into(), &3.into(), 20));
    let flat = &scene.look("flat&page=9&sort=name", 0.0)["backends"];
    assert_eq!((&flat["total"], urls(flat).last().unwrap().as_str()), (&123.into(), "http://b1.2"));
}

#[test]
fn words_find_backends_by_upstream_url_and_state() {
    let scene = Scene::of(&[3, 3]);
    scene.view.lock().unwrap().upstreams[1].backends[2].circuit = Circuit::Open;
    for (find, expected) in [
        ("b0.1", vec!["http://b0.1"]),
        ("UP-1+open", vec!["http://b1.2"]),
        ("up-0 healthy b0.2", vec!["http://b0.2"]),
        ("nowhere", vec![]),
    ] {
        let found = scene.look(&format!("flat&find={}", find.replace(' ', "%20")), 0.0);
        assert_eq!(urls(&found["backends"]), expected, "{find}");
    }
    assert_eq!(scene.look("find=b0.1", 0.0)["upstreams"]["found"], 1);
}

#[test]
fn a_split_is_shown_under_each_of_its_upstreams_with_its_share() {
    let scene = Scene::of(&[1, 1, 1]);
    scene.view.lock().unwrap().rules[0].split = vec![("up-0".to_owned(), 3.0), ("up-2".to_owned(), 1.0)];
    let shares = |query: &str| {
        let rules = scene.look(query, 1.0)["rules"]["shown"].as_array().unwrap().clone();
        rules.into_iter().map(|rule| (rule["name"].clone(), rule["shares"].clone())).collect::<Vec<_>>()
    };
    let split = json!([{ "upstream": "up-0", "share": 0.75 }, { "upstream": "up-2", "share": 0.25 }]);
    let alone = |name: &str| json!([{ "upstream": name, "share": 1.0 }]);
    assert_eq!(shares("upstream=up-0"), [(json!("rule-0"), split.clone())]);
    assert_eq!(shares("upstream=up-1"), [(json!("rule-1"), alone("up-1"))]);
    assert_eq!(shares("upstream=up-2"), [(json!("rule-0"), split.clone()), (json!("rule-2"), alone("up-2"))]);
    assert_eq!(shares("find=up-2"), [(json!("rule-0"), split), (json!("rule-2"), alone("up-2"))]);
}

#[test]
fn backends_are_ordered_by_what_they_do() {
    let scene = Scene::of(&[3]);
    scene.board.step(scene.at(0.0));
    let mut viewers = ["rate", "errors", "latency"].map(|sort| {
        let mut viewer = scene.board.view(&format!("flat&sort={sort}")).unwrap();
        viewer.look(scene.at(0.5));
        viewer
    });
    let requests = [(5, 200, FAST), (9, 503, FAST), (1, 200, SLOW)];
    for (place, (count, status, took)) in requests.into_iter().enumerate() {
        scene.view.lock().unwrap().upstreams[0].backends.swap(0, place);
        scene.requests(0, count, status, took);
        scene.view.lock().unwrap().upstreams[0].backends.swap(0, place);
    }
    let first = viewers.each_mut().map(|viewer| urls(&look(viewer, scene.at(2.0))["backends"])[0].clone());
    assert_eq!(first, ["http://b0.1", "http://b0.1", "http://b0.2"]);
}

#[test]
fn a_change_says_since_when_and_why() {
    let scene = Scene::of(&[1]);
    scene.changes.changed(&HealthEvent {
        upstream: "up-0".into(),
        backend: "http://b0.0".to_owned(),
        change: HealthChange::CircuitOpened,
        healthy: true,
        error: Some("5 requests in a row failed".to_owned()),
    });
    let event = scene.look("", 0.0);
    let change = &event["changes"][0];
    assert_eq!(
        (&change["change"], &change["why"]),
        (&"circuit opened".into(), &"5 requests in a row failed".into())
    );
    let backend = &event["upstreams"]["shown"][0]["backends"]["shown"][0];
    assert_eq!(backend["since_ms"], change["time_ms"]);
    assert!(change["time_ms"].as_u64().unwrap() > 1_700_000_000_000);
}

#[test]
fn viewers_and_what_is_remembered_of_them_are_bounded() {
    let scene = Scene::of(&[1]);
    let viewers: Vec<Viewer> = (0..MAX_VIEWERS).map(|_| scene.board.view("").unwrap()).collect();
    assert!(scene.board.view("").is_none());
    drop(viewers);
    let mut viewer = scene.board.view("").unwrap();
    let event = viewer.event(scene.at(0.0));
    assert!(event.starts_with(b"data: {") && event.ends_with(b"}\n\n"));
}

#[test]
fn what_is_configured_no_more_is_forgotten() {
    let scene = Scene::of(&[2, 1]);
    scene.board.step(scene.at(0.0));
    scene.look("", 0.5);
    scene.view.lock().unwrap().upstreams.pop();
    scene.board.step(scene.at(5.0));
    scene.registry.sweep();
    assert_eq!(scene.registry.backends().len(), 2);
    assert_eq!(scene.look("", 5.5)["upstreams"]["total"], 1);
}
