//! The dashboard in a real browser: its figures are the traffic's, what breaks turns red, and words find backends.

use lb_testkit::{Backend, Gateway, PATIENCE, eventually};

use crate::browser::Browser;
use crate::demo::Demo;
use crate::support::{gateway, rule};

/// A gateway with an admin address.
fn watched(rules: &str) -> Gateway {
    gateway(&format!("{rules}[admin]\naddress = \"{{admin}}\"\n"))
}

fn open(gateway: &Gateway) -> Browser {
    Browser::open(&format!("http://{}/", gateway.address_of("admin")))
}

/// What stands in a cell of a backend's row.
fn cell(browser: &Browser, backend: &Backend, class: &str) -> String {
    browser.texts(&format!("tr[data-backend='{}'] {class}", backend.url())).join(" ")
}

#[track_caller]
fn shows(browser: &Browser, what: &str, condition: impl Fn() -> bool) {
    eventually(what, PATIENCE, condition);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn figures_are_those_of_the_traffic_sent() {
    let (a, b, broken) = (Backend::echo("a"), Backend::echo("b"), Backend::reset_mid_head());
    let app = rule("name = \"app\"\npath_prefix = \"/app\"", &[&a, &b]);
    let gateway =
        watched(&format!("{app}{}", rule("name = \"broken\"\npath_prefix = \"/broken\"", &[&broken])));
    let browser = open(&gateway);
    shows(&browser, "all is well", || browser.texts("#summary") == ["All 3 backends take requests."]);
    for _ in 0..40 {
        assert_eq!(gateway.get("/app/x").status, 200);
    }
    for _ in 0..2 {
        assert_eq!(gateway.get("/broken/pay").status, 502);
    }
    assert_eq!(gateway.get("/none").status, 404);
    shows(&browser, "every request is counted", || browser.texts("#requests") == ["43"]);
    for backend in [&a, &b] {
        assert_eq!(cell(&browser, backend, ".rate small"), "20");
        assert_eq!(cell(&browser, backend, ".errors small"), "0");
    }
    assert_eq!(cell(&browser, &broken, ".errors small"), "2");
    assert_eq!(browser.texts("tr[data-rule='app'] .requests"), ["40"]);
    assert_eq!(browser.texts("tr[data-rule='broken'] .requests"), ["2"]);
    let errors = browser.texts("#errors-list li").join("\n");
    for part in ["502", "GET /broken/pay", "the connection broke", "404", "No rule takes this"] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    let rate = browser.texts("[data-upstream='app'] .chart.rate .value").join("");
    assert!(rate.parse::<f64>().is_ok_and(|rate| rate > 0.0), "{rate}");
}

#[test]
fn a_backend_that_is_killed_turns_red_and_says_why() {
    let (mut dying, other) = (Backend::echo("dying"), Backend::echo("other"));
    let gateway = watched(&rule("name = \"app\"", &[&dying, &other]));
    let browser = open(&gateway);
    shows(&browser, "it is healthy", || cell(&browser, &dying, ".state") == "healthy");
    dying.stop();
    shows(&browser, "it is red", || {
        gateway.get("/");
        cell(&browser, &dying, ".state") == "ejected"
    });
    let colour = "return getComputedStyle(document.querySelector('tr[data-state=ejected] .state')).color";
    let healthy = colour.replace("ejected", "healthy");
    assert_ne!(browser.script(colour), browser.script(&healthy));
    let why = cell(&browser, &dying, ".why");
    assert!(why.contains("5 requests in a row failed"), "{why}");
    assert_eq!(browser.texts("#summary"), ["1 of 2 backends take requests; 1 ejected."]);
    shows(&browser, "the change is listed", || {
        browser.texts("#changes-list li").iter().any(|change| change.contains("Backend unhealthy"))
    });
}

#[test]
fn words_find_backends_among_many() {
    let backends: Vec<String> = (1..=300).map(|port| format!("\"http://127.0.0.1:{port}\"")).collect();
    let many = format!(
        "[[rules]]\nname = \"many\"\npath_prefix = \"/many\"\nbackends = [{}]\n",
        backends.join(", ")
    );
    let few = "[[rules]]\nname = \"few\"\npath_prefix = \"/few\"\nbackends = [\"http://127.0.0.2:1\"]\n";
    let gateway = watched(&format!("{many}{few}"));
    let browser = open(&gateway);
    let rows = || browser.texts("tbody tr[data-backend] .address");
    shows(&browser, "a few of the many are shown", || rows().len() == 11);
    browser.type_into("#find", "127.0.0.1:123");
    shows(&browser, "the one is found", || rows() == ["http://127.0.0.1:123"]);
    browser.script("document.querySelector('#find').value = ''; location.hash = 'upstream=many&page=6'");
    shows(&browser, "the last page is shown", || {
        rows().len() == 50 && rows().last().is_some_and(|last| last == "http://127.0.0.1:300")
    });
    browser.click("#all");
    shows(&browser, "all upstreams are back", || browser.texts("h2").iter().any(|title| title == "few"));
    browser.type_into("#find", "nowhere");
    shows(&browser, "nothing is found", || {
        browser.script("return !document.querySelector('#nothing').hidden") == true
    });
}

#[test]
fn the_demos_dashboard_opens_without_complaint() {
    let _demo = Demo::start();
    let browser = Browser::open("http://127.0.0.1:8081/");
    shows(&browser, "its backends are shown", || browser.texts("tr[data-backend]").len() == 10);
    let weight = browser.script(
        "return ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))
             .filter(entry => !entry.name.includes('/api/'))
             .reduce((sum, entry) => sum + entry.encodedBodySize, 0)",
    );
    let weight = weight.as_u64().unwrap();
    assert!((10_000..150 << 10).contains(&weight), "{weight} bytes");
    // For those who read along (`--no-capture`): how long a page takes is no test's to insist on.
    let paint = browser.script("return performance.getEntriesByName('first-contentful-paint')[0].startTime");
    eprintln!("the dashboard is {weight} bytes, first painted after {paint} ms");
}

#[test]
fn a_click_drains_once_the_token_is_given() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = gateway(&format!(
        "{}[admin]\naddress = \"{{admin}}\"\ntoken = \"open sesame\"\n",
        rule("name = \"app\"", &[&a, &b])
    ));
    let browser = open(&gateway);
    shows(&browser, "it is healthy", || cell(&browser, &a, ".state") == "healthy");
    let drain = format!("tr[data-backend='{}'] .acts button", a.url());
    browser.click(&drain);
    eventually("the token is asked for", PATIENCE, || browser.script("return ask.open") == true);
    browser.type_into("#token", "open sesame");
    browser.click("#ask button[value='use']");
    eventually("it drains", PATIENCE, || cell(&browser, &a, ".state") == "draining");
    for _ in 0..6 {
        assert_eq!(gateway.get("/").json()["backend"], "b");
    }
    browser.click(&drain);
    eventually("it takes requests again", PATIENCE, || cell(&browser, &a, ".state") == "healthy");
    browser.click(&format!("tr[data-backend='{}'] .weigh", b.url()));
    browser.type_into("input.weight", "7\u{e007}");
    eventually("its weight is set", PATIENCE, || cell(&browser, &b, ".weigh") == "7");
    let complaints = browser.complaints();
    // The browser itself notes the first answer, 401.
    assert!(complaints.iter().all(|complaint| complaint.contains("401")), "{complaints:?}");
}
