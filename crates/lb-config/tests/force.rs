//! Which source speaks for a key: flag, then environment, then file, then default; and what placeholders stand for.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use lb_config::{Diagnostics, Format, Loaded, Sources, find_config_in, load};

const RULE: &str = "[[rules]]\nbackends = ['h:1']\n";

fn sources(root: &str, variables: &[(&str, &str)]) -> Sources {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Sources::text("x.toml", Format::Toml, format!("{root}\n{RULE}")).environment(variables)
}

fn with(root: &str, variables: &[(&str, &str)]) -> Result<Loaded, Diagnostics> {
    load(&sources(root, variables))
}

fn strategy(loaded: &Loaded) -> &str {
    &loaded.config.upstreams[0].strategy.name
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file_and_that_the_default() {
    assert_eq!(strategy(&with("", &[]).unwrap()), "round_robin");
    let file = "load_balancing = 'random'";
    assert_eq!(strategy(&with(file, &[]).unwrap()), "random");
    let variables = [("LB_STRATEGY", "leastconnections")];
    assert_eq!(strategy(&with(file, &variables).unwrap()), "least_connections");
    let flag = sources(file, &variables).strategy(Some("IP-Hash"));
    assert_eq!(strategy(&load(&flag).unwrap()), "ip_hash");
    assert_eq!(strategy(&load(&sources(file, &variables).strategy(None)).unwrap()), "least_connections");
}

#[test]
fn the_environments_strategy_is_the_roots_and_a_rule_keeps_its_own() {
    let text = "[[rules]]\nbackends = ['h:1']\nload_balancing = 'random'\n";
    let variables = [("LB_STRATEGY".to_owned(), "WRR".to_owned())];
    let loaded = load(&Sources::text("x.toml", Format::Toml, text).environment(variables)).unwrap();
    assert_eq!(strategy(&loaded), "random");
}

#[test]
fn a_bad_strategy_in_the_environment_is_shown_where_it_stands_with_the_good_names() {
    let shown = with("", &[("LB_STRATEGY", "fastest")]).unwrap_err().to_string();
    assert!(
        shown.contains("environment variable LB_STRATEGY") && shown.contains("`least_connections`"),
        "{shown}"
    );
}

#[test]
fn variables_name_any_key_by_its_path() {
    let variables = [
        ("GATEWAYD_SERVER__WORKERS", "3"),
        ("GATEWAYD_GLOBAL_TIMEOUT", "5s"),
        ("GATEWAYD_MERGE_SLASHES", "false"),
        ("GATEWAYD_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1"),
        ("GATEWAYD_ADMIN__TOKEN", "12345"),
        ("GATEWAYD_UPSTREAMS__MY_APP__LOAD_BALANCING", "random"),
        ("GATEWAYD_LISTENERS", "[{ address = '127.0.0.1:9000' }]"),
        ("GATEWAYD_ACCESS_LOG__ENABLED", "true"),
    ];
    let loaded = with("upstreams.My-App.backends = ['h:2']\n[server]\nworkers = 2", &variables).unwrap();
    let config = &loaded.config;
    assert_eq!(config.workers.get(), 3);
    assert_eq!(config.rules[0].timeouts.response_head, Duration::from_secs(5));
    assert!(!config.merge_slashes && loaded.access_log.enabled);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(loaded.admin.as_ref().unwrap().token.as_ref().unwrap().expose(), "12345");
    assert_eq!((config.upstreams[0].name.as_str(), strategy(&loaded)), ("My-App", "random"));
    assert_eq!(config.listeners[0].address.port(), 9000);
}

#[test]
fn variables_that_are_no_keys_are_left_alone_and_typos_are_not() {
    let foreign = [
        ("GATEWAYD_TOKEN", "x"),
        ("GATEWAYD_LOG_FORMAT", "json"),
        ("GATEWAYD_SERVICE_HOST", "10.0.0.1"),
        ("GATEWAYD_SERVICE_PORT_HTTP", "80"),
        ("GATEWAYD_PORT", "tcp://10.0.0.1:80"),
        ("GATEWAYD_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("GATEWAYD_GLOBAL_TIMEOUT", ""),
        ("PATH", "/bin"),
    ];
    assert!(with("", &foreign).is_ok());
    let shown = with("", &[("GATEWAYD_SERVER__WORKRES", "2")]).unwrap_err().to_string();
    assert!(shown.contains("did you mean `workers`?"), "{shown}");
}

#[test]
fn servexs_table_is_overridden_like_the_root() {
    let text = "proxy:\n  global_timeout: 9s\n  rules:\n    - backends: ['h:1']\n";
    let yaml = Sources::text("x.yaml", Format::Yaml, text);
    assert_eq!(load(&yaml).unwrap().config.rules[0].timeouts.response_head, Duration::from_secs(9));
    let variables = [("GATEWAYD_GLOBAL_TIMEOUT".to_owned(), "4".to_owned())];
    let loaded = load(&yaml.environment(variables)).unwrap();
    assert_eq!(loaded.config.rules[0].timeouts.response_head, Duration::from_secs(4));
}

#[test]
fn placeholders_take_any_type_and_files_give_their_content() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("token");
    fs::write(&secret, "s3cret\n").unwrap();
    let root = format!(
        "global_timeout = '${{SECONDS}}'\nserver = {{ workers = '${{WORKERS:-4}}' }}\nadmin = {{ token = 'file:{}' }}",
        secret.display()
    );
    let loaded = with(&root, &[("SECONDS", "7")]).unwrap();
    assert_eq!(loaded.config.rules[0].timeouts.response_head, Duration::from_secs(7));
    assert_eq!(loaded.config.workers.get(), 4);
    assert_eq!(loaded.admin.unwrap().token.unwrap().expose(), "s3cret");
}

#[test]
fn the_sources_of_values_are_known_and_secrets_are_not_among_them() {
    let variables = [("LB_STRATEGY", "random"), ("SECRET", "s3cret")];
    let sources = sources("admin = { token = '${SECRET}' }", &variables)
        .flag("--workers", "server.workers", "2")
        .with_provenance();
    let loaded = load(&sources).unwrap();
    let place = |path: &str| {
        let value = loaded.provenance.iter().find(|value| value.path == path).unwrap();
        format!("{} from {}", value.value, value.place)
    };
    assert_eq!(place("load_balancing"), "`random` from environment variable LB_STRATEGY");
    assert_eq!(place("server.workers"), "`2` from flag --workers");
    assert_eq!(place("admin.token"), "`${SECRET}` from x.toml:1:19");
    assert_eq!(place("rules[0].backends[0]"), "`h:1` from x.toml:3:13");
}

#[test]
fn servexs_environment_switches_are_understood() {
    assert!(with("", &[]).unwrap().statistics);
    let loaded = with("", &[("LB_STATS_ENABLED", "false"), ("LB_HEALTH_CHECK", "true")]).unwrap();
    assert!(!loaded.statistics);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let backend = &loaded.config.upstreams[0].backends[0];
    let probe = backend.health.probe.as_ref().map(|probe| &probe.kind);
    assert!(matches!(probe, Some(lb_health::ProbeKind::Http { path, .. }) if path == "/health"));
    let shown = with("", &[("LB_HEALTH_CHECK", "maybe")]).unwrap_err().to_string();
    assert!(shown.contains("`LB_HEALTH_CHECK` is a switch"), "{shown}");
}

#[test]
fn a_configuration_is_found_by_four_names_in_their_order_and_no_other() {
    let here = tempfile::tempdir().unwrap();
    let there = tempfile::tempdir().unwrap();
    let find = || find_config_in(&[here.path(), there.path()]);
    fs::write(here.path().join("config.toml"), "").unwrap();
    assert_eq!(find(), None);
    fs::write(there.path().join("gatewayd.toml"), "").unwrap();
    assert_eq!(find(), Some(there.path().join("gatewayd.toml")));
    fs::write(here.path().join("gatewayd.json"), "").unwrap();
    assert_eq!(find(), Some(here.path().join("gatewayd.json")));
    fs::write(here.path().join("gatewayd.yml"), "").unwrap();
    assert_eq!(find(), Some(here.path().join("gatewayd.yml")));
}
