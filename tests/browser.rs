//! The demo's page in a real browser: headless Chromium, driven over ChromeDriver's JSON interface (W3C WebDriver).

use std::process::Command;
use std::time::Duration;

use lb_testkit::{Client, PATIENCE, Port, Process, eventually};
use serde_json::{Value, json};

use crate::demo::Demo;

/// A browser with one window.
pub(crate) struct Browser {
    driver: Port,
    session: String,
    _process: Process,
}

impl Browser {
    pub(crate) fn open(url: &str) -> Self {
        let driver = Port::free();
        let process = Process::spawn(
            Command::new("chromedriver").arg(format!("--port={}", driver.address().port())).arg("--silent"),
        );
        eventually("chromedriver listens", PATIENCE, || {
            std::net::TcpStream::connect(driver.address()).is_ok()
        });
        let mut browser = Self { driver, session: String::new(), _process: process };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--window-size=1200,1600",
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.call("POST", "/session", &capabilities);
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        browser.command("/url", &json!({ "url": url }));
        browser
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let mut client = Client::connect(self.driver.address());
        client.stream().set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.driver.address(),
            body.len()
        ));
        let response = client.response();
        assert_eq!(response.status, 200, "{method} {path} {body}: {}", response.text());
        response.json()["value"].clone()
    }

    #[track_caller]
    fn command(&self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("{}{path}", self.session), body)
    }

    /// Run a script in the page and return its value.
    #[track_caller]
    pub(crate) fn script(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Click the one element that the selector finds, as a person would: it must be visible.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command(&format!("/element/{element}/click"), &json!({}));
    }

    /// The one element that the selector finds.
    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let element = self.command("/element", &json!({ "using": "css selector", "value": selector }));
        let id = element.as_object().and_then(|element| element.values().next()).and_then(Value::as_str);
        id.expect("an element").to_owned()
    }

    /// What the elements say that the selector finds.
    #[track_caller]
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let script =
            format!("return [...document.querySelectorAll({selector:?})].map(found => found.textContent)");
        let texts = self.script(&script);
        texts.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }

    /// Type into the one element that the selector finds.
    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// The backends shown as having answered, oldest first or newest first as the page has it.
    fn results(&self) -> Vec<String> {
        let script = "return [...document.querySelectorAll('#results .result[data-backend]')]
                      .map(result => result.dataset.backend)";
        let value = self.script(script);
        value.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    #[track_caller]
    fn wait_for_results(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} results are shown"), PATIENCE, || self.results().len() >= count);
        let results = self.results();
        assert_eq!(results.len(), count, "{results:?}");
        results
    }

    /// What the page complained of in the console.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.command("/se/log", &json!({ "type": "browser" }));
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        let entries = log.as_array().into_iter().flatten().filter(severe);
        entries.map(|entry| entry["message"].to_string()).filter(|text| !text.contains("favicon")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closes Chromium, which would otherwise outlive its driver.
        if !self.session.is_empty() && !std::thread::panicking() {
            self.call("DELETE", &self.session, &Value::Null);
        } else if let Ok(mut stream) = std::net::TcpStream::connect(self.driver.address()) {
            let request = format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\n\r\n", self.session);
            std::io::Write::write_all(&mut stream, request.as_bytes()).ok();
            std::io::Read::read(&mut stream, &mut [0; 64]).ok();
        }
    }
}

#[test]
fn the_demo_page_works_in_a_browser() {
    let _demo = Demo::start();
    let browser = Browser::open("http://127.0.0.1:8080/");
    let title = browser.script("return document.title");
    assert!(title.as_str().is_some_and(|title| !title.is_empty()), "{title}");

    for (card, many, backends) in
        [("weighted_round_robin", 6, 3), ("least_connections", 4, 2), ("ip_hash", 5, 1), ("random", 5, 3)]
    {
        browser.click("button[data-action=\"clear\"]");
        browser.wait_for_results(0);
        browser.click(&format!("[data-card=\"{card}\"] button[data-action=\"single\"]"));
        let single = browser.wait_for_results(1);
        let shown =
            browser.script("return document.querySelector('#results .result[data-backend]').innerText");
        let shown = shown.as_str().unwrap_or_default();
        assert!(shown.contains(&single[0]), "{card}: {single:?} is not shown: {shown}");
        browser.click("button[data-action=\"clear\"]");
        browser.wait_for_results(0);
        browser.click(&format!("[data-card=\"{card}\"] button[data-action=\"many\"]"));
        let results = browser.wait_for_results(many);
        let distinct: std::collections::BTreeSet<_> = results.iter().collect();
        assert!((1..=backends).contains(&distinct.len()), "{card}: {results:?}");
        if card == "weighted_round_robin" {
            let mut counts: Vec<_> = crate::support::tally(results).into_values().collect();
            counts.sort_unstable();
            assert_eq!(counts, [1, 2, 3]);
        }
    }

    for (action, word) in [("status", "proxy_enabled"), ("strategies", "weighted_round_robin")] {
        browser.click("button[data-action=\"clear\"]");
        browser.click(&format!("button[data-action=\"{action}\"]"));
        eventually(&format!("the answer to {action} is shown"), PATIENCE, || {
            let text = browser.script("return document.querySelector('#results').innerText");
            text.as_str().is_some_and(|text| text.contains(word))
        });
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
