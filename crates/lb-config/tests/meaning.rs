//! What keys mean, as the engine is told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use lb_config::{Format, Loaded, load_str};
use lb_http::config::{GatewayConfig, HostHeader, QueueConfig, RetryConfig};
use lb_policy::PolicyConfig;
use lb_router::PathConfig;

#[track_caller]
fn toml(text: &str) -> GatewayConfig {
    GatewayConfig::clone(&loaded(text).config)
}

#[track_caller]
fn loaded(text: &str) -> Loaded {
    load_str("x.toml", Format::Toml, text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn defaults_are_the_engines() {
    let config = toml("[[rules]]\nbackends = ['h:1']");
    let rule = &config.rules[0];
    assert_eq!(rule.timeouts.response_head, Duration::from_secs(30));
    assert_eq!(
        (rule.timeouts.connect, rule.timeouts.idle),
        (Duration::from_secs(3), Duration::from_secs(60))
    );
    assert_eq!((&rule.retries, &rule.host_header), (&RetryConfig::default(), &HostHeader::Preserve));
    assert_eq!((config.pool.max_idle, config.pool.max_idle_per_backend), (4096, 256));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert!(config.merge_slashes && !config.underscores_in_headers);
    assert_eq!(config.listeners[0].name, "listener-1");
    let backend = &config.upstreams[0].backends[0];
    assert_eq!((backend.weight, backend.max_connections, backend.backup), (1.0, None, false));
}

#[test]
fn the_nearest_timeout_wins() {
    let config = toml(
        "global_timeout = 10\nidle_timeout = '5m'\n[[rules]]\nbackends = ['h:1']\n[[rules]]\npath = '/'\n\
         timeout = '250ms'\nconnect_timeout = 1.5\nbackends = [{ url = 'h:1', timeout = '1m30s' }]",
    );
    let times: Vec<_> = config.rules.iter().map(|rule| rule.timeouts.response_head.as_millis()).collect();
    assert_eq!(times, [10_000, 250]);
    assert_eq!(config.rules[1].timeouts.connect, Duration::from_millis(1500));
    assert_eq!(config.rules[0].timeouts.idle, Duration::from_secs(300));
    assert_eq!(config.upstreams[1].backends[0].timeout, Some(Duration::from_secs(90)));
}

#[test]
fn a_strategy_is_the_rules_else_the_upstreams_else_the_roots() {
    let config = toml(
        "load_balancing = 'random'\n[upstreams.a]\nbackends = ['h:1']\n[upstreams.b]\nbackends = ['h:2']\n\
         load_balancing = 'lc'\n[[rules]]\npath = '/1'\nupstream = 'a'\n[[rules]]\npath = '/2'\nupstream = 'b'\n\
         [[rules]]\nname = 'x'\npath = '/3'\nupstream = 'b'\nload_balancing = 'ip_hash'\n\
         [[rules]]\npath = '/4'\nbackends = ['h:3']\nload_balancing = { strategy = 'wrr', order = 'block' }",
    );
    let strategies: Vec<(&str, &str)> = config
        .rules
        .iter()
        .map(|rule| &config.upstreams[rule.upstream])
        .map(|upstream| (upstream.name.as_str(), upstream.strategy.name.as_str()))
        .collect();
    assert_eq!(
        strategies,
        [("a", "random"), ("b", "least_connections"), ("b@x", "ip_hash"), ("rule-4", "weighted_round_robin")]
    );
}

#[test]
fn a_rule_says_what_it_matches_and_rewrites() {
    let config = toml(
        "[[rules]]\nhost = 'a.example'\npath_regex = '^/v[0-9]+/'\nmethods = ['GET']\nheaders = { X-A = '1' }\n\
         query = { b = '2' }\nstrip_prefix = '/v1'\nadd_prefix = '/v2'\nbackends = ['h:1']\n\
         [[rules]]\nhosts = ['b.example', '*.c.example']\npath_template = '/u/{id}'\nrewrite = '/users/{id}'\nbackends = ['h:1']",
    );
    let first = &config.rules[0].route;
    assert_eq!(
        (first.hosts.as_slice(), &first.path),
        (&["a.example".to_owned()][..], &PathConfig::Regex("^/v[0-9]+/".into()))
    );
    assert_eq!((first.methods[0].as_str(), first.headers[0].1.as_str()), ("GET", "1"));
    assert_eq!(first.query, [("b".to_owned(), "2".to_owned())]);
    assert_eq!(
        (first.rewrite.strip_prefix.as_deref(), first.rewrite.add_prefix.as_deref()),
        (Some("/v1"), Some("/v2"))
    );
    let second = &config.rules[1].route;
    assert_eq!((second.hosts.len(), second.rewrite.template.as_deref()), (2, Some("/users/{id}")));
}

#[test]
fn headers_are_changed_in_the_order_of_the_file() {
    let config = toml(
        "[[rules]]\nbackends = ['h:1']\nhost_header = 'app.internal'\n\
         request_headers = { set = { Z = '1', A = '2' }, add = { B = '3' }, remove = ['C'], rename = { D = 'E' } }\n\
         response_headers = { set = { X-Proxied-By = 'gatewayd' } }",
    );
    let rule = &config.rules[0];
    let PolicyConfig::RequestHeaders(request) = &rule.policies[0] else { panic!("{:?}", rule.policies) };
    let set: Vec<&str> = request.set.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((set, request.add.len(), request.remove[0].as_str()), (vec!["z", "a"], 1, "c"));
    assert_eq!((request.rename[0].0.as_str(), request.rename[0].1.as_str()), ("d", "e"));
    assert!(matches!(rule.policies[1], PolicyConfig::ResponseHeaders(_)));
    assert_eq!(rule.host_header, HostHeader::Literal("app.internal".parse().unwrap()));
}

#[test]
fn sizes_are_bytes_whatever_their_unit() {
    for (written, bytes) in [("'16KiB'", 16 << 10), ("'20kB'", 20_000), ("'1 MiB'", 1 << 20), ("4096", 4096)]
    {
        let text = format!("[[listeners]]\nmax_header_size = {written}\n[[rules]]\nbackends = ['h:1']");
        assert_eq!(toml(&text).listeners[0].limits.max_header_bytes, bytes, "{written}");
    }
}

#[test]
fn a_weight_of_zero_is_kept() {
    let config = toml("[[rules]]\nbackends = [{ url = 'h:1', weight = 0 }, { url = 'h:2', weight = 1.5 }]");
    let weights: Vec<f64> = config.upstreams[0].backends.iter().map(|backend| backend.weight).collect();
    assert_eq!(weights, [0.0, 1.5]);
}

#[test]
fn retries_are_the_rules_else_the_upstreams() {
    let config = toml(
        "[upstreams.a]\nbackends = ['h:1']\nretries = { attempts = 5 }\n[[rules]]\npath = '/1'\nupstream = 'a'\n\
         [[rules]]\npath = '/2'\nupstream = 'a'\nretries = { attempts = 0 }\n[[rules]]\nbackends = ['h:2']",
    );
    let attempts: Vec<u32> = config.rules.iter().map(|rule| rule.retries.attempts).collect();
    assert_eq!(attempts, [5, 0, 2]);
}

#[test]
fn each_key_of_retries_is_the_rules_else_the_upstreams() {
    let config = toml(
        "[upstreams.a]\nbackends = ['h:1']\nqueue = { max_pending = 7 }\n\
         retries = { on = ['connect', '503', '5xx', '429'], budget = 0.5, attempt_timeout = '2s', replay_body = '1KiB' }\n\
         [[rules]]\nupstream = 'a'\nretries = { budget = 0.1 }",
    );
    let retries = &config.rules[0].retries;
    assert_eq!((retries.budget, retries.attempt_timeout), (0.1, Some(Duration::from_secs(2))));
    assert_eq!((retries.attempts, retries.replay_body), (2, 1024));
    assert!(!retries.on.reset, "it is not listed");
    for (status, is_retried) in
        [(429, true), (500, true), (503, true), (599, true), (200, false), (404, false)]
    {
        let status = http::StatusCode::from_u16(status).unwrap();
        assert_eq!(retries.on.status(status), is_retried, "{status}");
    }
    assert_eq!(config.upstreams[0].queue, QueueConfig { max_pending: 7, timeout: Duration::from_secs(1) });
}

#[test]
fn yaml_merges_and_aliases_are_understood() {
    let text = "rules:\n  - &first\n    name: one\n    path_prefix: /a\n    backends: &servers ['h:1', 'h:2']\n\
                \x20 - <<: *first\n    name: two\n    path_prefix: /b\n  - name: three\n    backends: *servers\n";
    let config = load_str("x.yaml", Format::Yaml, text).unwrap().config;
    let names: Vec<(&str, usize)> = config
        .rules
        .iter()
        .map(|rule| (rule.route.name.as_str(), config.upstreams[rule.upstream].backends.len()))
        .collect();
    assert_eq!(names, [("one", 2), ("two", 2), ("three", 2)]);
}

#[test]
fn servexs_spellings_are_understood() {
    let text = "proxy:\n  enabled: true\n  global_timeout: 30s\n  max_idle_conns: 100\n  max_idle_conns_per_host: 20\n\
                \x20 idle_conn_timeout: 90s\n  insecure_skip_verify: false\n\
                \x20 traffic_dump: { enabled: true, directory: ./d, max_file_size: 104857600, max_files: 5, include_body: true, max_body_size: 32768, sample_rate: 0.3 }\n\
                \x20 health_check: { enabled: true, default_interval: 30s, timeout: 5s, retry_count: 2 }\n\
                \x20 rules:\n    - name: a\n      path_prefix: /a\n      enable_traffic_dump: true\n      dump_directory: ./a\n      load_balancing: round_robin\n\
                \x20     backends: [{ url: 'http://h:1', weight: 3, health_check_path: /health, health_check_interval: 30s, max_connections: 50 }]\n\
                \x20   - name: b\n      path_prefix: /b\n      enable_traffic_dump: false\n      backends: [{ url: 'http://h:1' }]\n";
    let loaded = load_str("x.yaml", Format::Yaml, text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((loaded.config.pool.max_idle, loaded.config.pool.max_idle_per_backend), (100, 20));
    assert!(loaded.warnings.iter().all(|warning| warning.message.contains("not in force")));
}

#[test]
fn the_machines_form_of_a_problem_has_its_key_and_place() {
    let problems =
        load_str("x.toml", Format::Toml, "[[rules]]\nbackends = [{ url = 'h:1', wieght = 2 }]").unwrap_err();
    let found = serde_json::to_value(&problems).unwrap();
    let expected = serde_json::json!([{
        "severity": "error",
        "path": "rules[0].backends[0].wieght",
        "file": "x.toml",
        "line": 2,
        "column": 28,
        "message": "unknown key `wieght` in `rules[0].backends[0]`",
        "help": "did you mean `weight`?",
    }]);
    assert_eq!(found, expected);
}

#[test]
fn probing_is_on_where_a_path_is_given_and_the_nearest_word_counts() {
    let config = toml(
        "[health_check]\ninterval = '20s'\nretry_count = 2\nkeep_alive = true\n\
         [upstreams.a]\nhealth_check = { path = '/up', unhealthy_threshold = 5, expect = '200,204' }\n\
         backends = ['h:1', { url = 'h:2', health_check_path = '/own', health_check_interval = '2s' }]\n\
         [upstreams.b]\nbackends = ['h:3']\n\
         [upstreams.c]\nhealth_check = false\nbackends = [{ url = 'h:4', health_check_path = '/x' }]\n\
         [[rules]]\nupstream = 'a'\nhost = 'a.example'\n[[rules]]\nupstream = 'b'\nhost = 'b.example'\n\
         [[rules]]\nupstream = 'c'\n",
    );
    let probe = |upstream: usize, backend: usize| &config.upstreams[upstream].backends[backend].health.probe;
    let first = probe(0, 0).as_ref().unwrap();
    assert!(matches!(&first.kind, lb_health::ProbeKind::Http { path, expect, .. }
        if path == "/up" && expect.contains(204) && !expect.contains(201)));
    assert_eq!((first.interval.as_secs(), first.tries.get(), first.unhealthy_threshold.get()), (20, 2, 5));
    assert!(first.keep_alive);
    let own = probe(0, 1).as_ref().unwrap();
    assert!(matches!(&own.kind, lb_health::ProbeKind::Http { path, .. } if path == "/own"));
    // A timeout that nobody wrote is no longer than a short interval.
    assert_eq!((own.interval.as_secs(), own.timeout.as_secs()), (2, 2));
    assert!(probe(1, 0).is_none());
    assert!(probe(2, 0).is_none());
}

#[test]
fn ejection_is_on_and_breakers_are_off_unless_written() {
    let config = toml(
        "[[rules]]\nbackends = ['h:1']\nhost = 'a.example'\n\
         [[rules]]\nbackends = ['h:2']\npassive = false\ncircuit_breaker = { failure_threshold = 2 }\n",
    );
    let health = |upstream: usize| &config.upstreams[upstream].backends[0].health;
    assert_eq!(health(0).passive.as_ref().unwrap().consecutive_failures.get(), 5);
    assert!(health(0).breaker.is_none());
    assert!(health(1).passive.is_none());
    let breaker = health(1).breaker.as_ref().unwrap();
    assert_eq!((breaker.failure_threshold.get(), breaker.half_open_max_calls.get()), (2, 3));
}

#[test]
fn slow_start_and_subsets_are_the_balancers_and_a_strategy_that_ignores_them_is_told() {
    let text = "[upstreams.app]\nload_balancing = 'p2c'\nbackends = ['h:1', 'h:2', 'h:3']\nslow_start = '30s'\n\
                subset = { size = 2, client = 7 }\n[[rules]]\nupstream = 'app'\n\
                [[rules]]\nhost = 'a.example'\nbackends = ['h:4']\nslow_start = 10\n";
    let loaded = loaded(text);
    let balancer = |upstream: usize| loaded.config.upstreams[upstream].balancer;
    assert_eq!(balancer(0).slow_start, Some(Duration::from_secs(30)));
    let subset = balancer(0).subset.unwrap();
    assert_eq!((subset.size.get(), subset.client), (2, 7));
    assert_eq!((balancer(1).slow_start, balancer(1).subset), (Some(Duration::from_secs(10)), None));
    let told = format!("{:?}", loaded.warnings);
    assert!(told.contains("`slow_start` works through weights, and `round_robin` heeds none"), "{told}");
    let unwritten = toml("[[rules]]\nbackends = ['h:1']\n");
    assert_eq!(unwritten.upstreams[0].balancer, lb_core::BalancerOptions::default());
}

#[test]
fn a_subset_of_nobody_or_of_no_size_is_refused() {
    for subset in ["{ size = 0 }", "{ client = 1 }"] {
        let text = format!("[[rules]]\nbackends = ['h:1']\nsubset = {subset}\n");
        let told = load_str("x.toml", Format::Toml, &text).unwrap_err().to_string();
        assert!(told.contains("size"), "{told}");
    }
}

#[test]
fn a_rule_can_send_its_clients_elsewhere() {
    let config = toml(
        "[[rules]]\nhost = 'old.example'\nredirect = 'https://new.example/'\n\
         [[rules]]\npath_prefix = '/v1/'\nstrip_prefix = '/v1'\nadd_prefix = '/v2'\nredirect = { status = 307 }\n\
         [[rules]]\nbackends = ['h:1']\n",
    );
    let redirect =
        |rule: usize| config.rules[rule].redirect.as_ref().map(|to| (to.origin.as_str(), to.status.as_u16()));
    assert_eq!(redirect(0), Some(("https://new.example", 308)));
    assert_eq!(redirect(1), Some(("", 307)));
    assert_eq!(redirect(2), None);
    for (written, said) in
        [("'new.example'", "is none"), ("{ status = 200 }", "is not a status that redirects")]
    {
        let text = format!("[[rules]]\nredirect = {written}\n");
        let problems = load_str("x.toml", Format::Toml, &text).unwrap_err().to_string();
        assert!(problems.contains(said), "{problems}");
    }
}
