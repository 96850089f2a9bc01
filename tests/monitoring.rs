//! The alerts and the dashboard in `config/monitoring/`: they ask for metrics and labels that a running gateway has.

use std::collections::{BTreeMap, BTreeSet};

use lb_testkit::Backend;

use crate::support::{STATUS_LISTENER, gateway, rule};

const ALERTS: &str = include_str!("../config/monitoring/alerts.yaml");
const GRAFANA: &str = include_str!("../config/monitoring/grafana.json");

/// Every metric with its labels, as `/metrics` has them.
fn exposed() -> BTreeMap<String, BTreeSet<String>> {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule("name = \"app\"", &[&backend])));
    assert_eq!(gateway.get("/").status, 200);
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in gateway.get("/metrics").text().lines() {
        // Metrics that have no samples yet are announced all the same.
        let name = line.strip_prefix("# TYPE ").unwrap_or(line).split(['{', ' ']).next().unwrap_or_default();
        let labels = metrics.entry(name.to_owned()).or_default();
        let inside =
            line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(inside, _)| inside);
        let pairs = inside.unwrap_or_default().split("\",").filter_map(|pair| pair.split_once('='));
        labels.extend(pairs.map(|(label, _)| label.to_owned()));
    }
    metrics
}

/// Every selector in a text: a metric's name, and the labels that it is narrowed by.
fn selectors(text: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices("gatewayd_")
        .map(|(at, _)| {
            let name: String = text[at..].chars().take_while(|c| is_word(*c)).collect();
            let rest = &text[at + name.len()..];
            let inside =
                rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
            let labels = inside.split(',').filter_map(|pair| pair.split(['=', '!']).next());
            (name, labels.map(str::to_owned).filter(|label| !label.is_empty()).collect())
        })
        .collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_and_labels_that_there_are() {
    let exposed = exposed();
    for (file, text) in [("alerts.yaml", ALERTS), ("grafana.json", GRAFANA)] {
        let asked = selectors(text);
        assert!(asked.len() >= 9, "{file}: only {asked:?} found");
        for (name, labels) in asked {
            let has =
                exposed.get(&name).unwrap_or_else(|| panic!("{file} asks for {name}, which is not there"));
            // `instance` is the scraper's own; a metric without samples shows no labels.
            let unknown: Vec<_> =
                labels.iter().filter(|label| *label != "instance" && !has.contains(*label)).collect();
            assert!(unknown.is_empty() || has.is_empty(), "{file}: {name} has no {unknown:?}, but {has:?}");
        }
    }
}

#[test]
fn the_dashboard_is_json_that_grafana_can_import() {
    let json: serde_json::Value = serde_json::from_str(GRAFANA).expect("JSON");
    let panels = json["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        assert!(panel["title"].is_string() && panel["targets"][0]["expr"].is_string(), "{panel}");
    }
    assert!(panels.len() >= 10);
}
