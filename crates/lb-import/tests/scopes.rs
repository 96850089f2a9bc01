//! What is translated takes no more than it did, and what is not is said.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;

use lb_import::{Imported, Source};

/// What comes of a configuration, and the report.
fn imported(source: Source, text: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.conf");
    fs::write(&file, text).unwrap();
    let Imported { toml, report } = lb_import::import(source, &file).unwrap();
    (toml, report.to_string().replace(file.to_str().unwrap(), "x"))
}

/// The rules in their order: what each asks of the path, and what becomes of it.
fn rules_of(config: &str) -> Vec<String> {
    let document: toml::Table = config.parse().unwrap();
    let text = |rule: &toml::Value, key: &str| match rule.get(key) {
        Some(toml::Value::String(text)) => format!(" {text}"),
        Some(other) => format!(" {other}"),
        None => String::new(),
    };
    let keys = ["path", "path_prefix", "path_regex", "rewrite", "add_prefix", "redirect", "upstream"];
    let rules = document["rules"].as_array().unwrap().iter();
    rules.map(|rule| keys.map(|key| text(rule, key)).concat().trim().to_owned()).collect()
}

#[test]
fn what_nginx_rewrites_and_nests_stays_within_its_location() {
    let (config, report) = imported(
        Source::Nginx,
        r"server {
  listen 127.0.0.1:81;
  location /json/ { rewrite ^(.*)\.json$ $1 break; proxy_pass http://10.0.0.1; }
  location /to/ { rewrite ^/to/(.*)$ /other/$1 redirect; proxy_pass http://10.0.0.2; }
  location /away/ { rewrite ^/away/(.*)$ https://x.example/$1 permanent; }
  location /last/ { rewrite ^/last/(.*)$ /to/$1 last; }
  location /in/ { location ~ \.x$ { proxy_pass http://10.0.0.3; } location ~ ^/y { proxy_pass http://10.0.0.4; } }
  location /query { proxy_pass http://10.0.0.5/a?b=c; }
  location / { proxy_pass http://10.0.0.6/app; }
}
server { listen 127.0.0.1:81; server_name ~^(.+)\.b$; location / { proxy_pass http://10.0.0.7; } }
",
    );
    assert_eq!(
        rules_of(&config),
        [
            r"^/in/.*(?:\.x$) 10.0.0.3",
            "/json/ 10.0.0.1",
            "^/away/(.*)$ /{1} { status = 301, to = \"https://x.example\" }",
            "/away/ closed",
            "/last/ closed",
            "/query /a 10.0.0.5",
            "^/to/(.*)$ /other/{1} { status = 302 }",
            "/to/ 10.0.0.2",
            "/in/ closed",
            "/app 10.0.0.6",
        ],
        "{config}\n{report}"
    );
    for line in [
        r"x:3: left out     rewrite ^(.*)\.json$ $1 break: its pattern could match paths outside",
        "x:4: converted    rewrite ^/to/(.*)$ /other/$1 redirect: redirect",
        "x:6: left out     rewrite ^/last/(.*)$ /to/$1 last: closed (503)",
        "x:7: left out     location ~ ^/y: its regex could match paths outside",
        "x:8: left out     proxy_pass http://10.0.0.5/a?b=c: the query",
        "x:9: approximated proxy_pass http://10.0.0.6/app: add_prefix: /x becomes /app/x, where nginx makes /appx",
        "x:11: left out     location /: no rule: nothing leads to its server",
        "x:11: left out     proxy_pass http://10.0.0.7: no rule",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

#[test]
fn what_is_down_gets_nothing_and_what_is_believed_of_one_server_is_not_of_another() {
    let (config, _) = imported(
        Source::Nginx,
        "upstream a { server 10.0.0.1 down weight=5; server 10.0.0.2 weight=2; }\nserver { listen 127.0.0.1:81; location / { proxy_pass http://a; } }\n",
    );
    assert!(config.contains("{ url = \"http://10.0.0.1\", weight = 0 }"), "{config}");
    let (config, report) = imported(
        Source::Haproxy,
        "defaults\n  mode http\nfrontend f\n  bind 127.0.0.1:81\n  use_backend b if { hdr(x-a) 1 } { hdr(x-a) 2 }\n  default_backend b\n\
         backend b\n  http-request deny if { path /in }\n  server s1 10.0.0.1:443 ssl verify none\n  server s2 10.0.0.2:443 ssl\n  server s3 10.0.0.3:80\n",
    );
    let document: toml::Table = config.parse().unwrap();
    let upstream = &document["upstreams"]["b"];
    assert!(upstream.get("tls").is_none(), "{config}");
    let backends = upstream["backends"].as_array().unwrap();
    assert_eq!(backends[0]["tls"]["insecure_skip_verify"].as_bool(), Some(true), "{config}");
    assert_eq!(backends[1].as_str(), Some("https://10.0.0.2:443"), "{config}");
    for line in [
        "if { path /in }: a backend refuses nothing by itself; WHAT IT REFUSES IS LET THROUGH",
        "no rule asks for two values",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

#[test]
fn what_nginx_leaves_to_defaults_is_what_nginx_does() {
    let (config, report) = imported(
        Source::Nginx,
        "upstream group { server a.example max_fails=3 fail_timeout=5s; server b.example:8443 max_fails=3 fail_timeout=5s; server [2001:db8::1]; server c.example max_fails=0; }
server {
  listen 127.0.0.1:81;
  location / { proxy_pass https://group; }
  location /direct/ { proxy_pass https://d.example; }
  location /plain/ { proxy_pass http://group; }
  location /outer/ { location /outer/inner/ { proxy_pass http://10.0.0.1; } }
}
",
    );
    for url in [
        "https://a.example:80",
        "https://b.example:8443",
        "https://[2001:db8::1]:80",
        "https://d.example\"",
        "http://a.example\"",
        "http://b.example:8443",
    ] {
        assert!(config.contains(url), "{url}\n{config}");
    }
    let rules = rules_of(&config);
    assert_eq!(
        rules.iter().filter(|rule| rule.starts_with("/outer/")).collect::<Vec<_>>(),
        ["/outer/inner/ 10.0.0.1", "/outer/ closed"]
    );
    let document: toml::Table = config.parse().unwrap();
    let passive = &document["upstreams"]["group"]["passive"];
    assert_eq!(passive["consecutive_failures"].as_integer(), Some(3), "{config}");
    for line in [
        "server a.example max_fails=3 fail_timeout=5s: max_fails and fail_timeout are `passive`, for the upstream",
        "server [2001:db8::1]: ITS max_fails=1 fail_timeout=10s IS LOST",
        "server c.example max_fails=0: ITS max_fails=0 fail_timeout=10s IS LOST: `passive` is the upstream's, here max_fails=3 fail_timeout=5s",
        "location /outer/: closed (503) but for its nested locations",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}

#[test]
fn what_haproxy_asks_of_urls_is_a_path_or_left_out() {
    let (config, report) = imported(
        Source::Haproxy,
        r"defaults
  mode http
frontend f
  bind 127.0.0.1:81
  use_backend b if { url_beg /u?x }
  use_backend b if { url /v?y=1 }
  use_backend b if { path_end x?y }
  use_backend b if { path_beg w }
  use_backend b if { url_reg /r\?z=1 }
  use_backend b if { url_reg ^/k(ay)?$ }
  use_backend b if { url_beg /fine/ }
backend b
  server s1 10.0.0.1:80
",
    );
    assert_eq!(rules_of(&config), ["^/k(ay)?$ b", "/fine/ b"], "{config}");
    for line in [
        "{ url_beg /u?x }: no rule asks for path and query in one (/u?x)",
        "{ url /v?y=1 }: no rule asks for path and query",
        "{ path_end x?y }: no path has a query",
        "{ path_beg w }: \"w\" is no path",
        "url_reg /r\\?z=1 }: no rule asks for path and query",
        "url_reg ^/k(ay)?$ }: the path alone is looked at",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
}
