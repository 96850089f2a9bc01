//! The admin API from outside: it answers what its own document says, and commands say what they met.

use lb_testkit::{Backend, Client, Gateway, Response};
use serde_json::{Value, json};

use crate::support::{cli, launch, urls};

fn started(more: &str) -> (Gateway, [Backend; 2]) {
    let backends = ["a", "b"].map(Backend::echo);
    let [a, b] = &backends;
    let text = format!(
        "{more}\n[admin]\naddress = \"{{admin}}\"\n[upstreams.app]\nbackends = [{}]\ndiscover = {{ api = true }}\n\
         [upstreams.next]\nbackends = [{}]\n[[rules]]\nname = \"web\"\nupstream = \"app\"\nload_balancing = \"random\"\n",
        urls(&[a]),
        urls(&[b])
    );
    (launch().config(&text).start(), backends)
}

fn ask(gateway: &Gateway, method: &str, path: &str, body: &str) -> Response {
    let admin = gateway.address_of("admin");
    let mut client = Client::connect(admin);
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.response()
}

/// What is wrong with a value by a schema: of types, what is missing, and what is not told of.
fn wrong(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(pointer) = schema["$ref"].as_str() {
        return wrong(document, document.pointer(&pointer[1..]).unwrap(), value);
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().find_map(|part| wrong(document, part, value));
    }
    if let Some(some) = schema["oneOf"].as_array() {
        let fits = some.iter().any(|part| wrong(document, part, value).is_none());
        return (!fits).then(|| format!("{value} is none of {schema}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_of = |named: &str| named == kind || (named == "number" && kind == "integer");
    let fits = match &schema["type"] {
        Value::String(named) => is_of(named),
        Value::Array(some) => some.iter().any(|named| is_of(named.as_str().unwrap())),
        _ => true,
    };
    if !fits {
        return Some(format!("{value} is not {}", schema["type"]));
    }
    let missing = schema["required"].as_array().into_iter().flatten();
    if let Some(missing) = missing.map(|key| key.as_str().unwrap()).find(|key| value.get(key).is_none()) {
        return Some(format!("{missing} is missing in {value}"));
    }
    let members = schema["properties"].as_object().into_iter().flatten();
    let items = value.as_array().into_iter().flatten().map(|item| (&schema["items"], item));
    members
        .filter_map(|(key, schema)| Some((schema, value.get(key)?)))
        .chain(items)
        .find_map(|(schema, value)| wrong(document, schema, value))
}

#[test]
fn what_is_answered_is_what_the_document_says() {
    let (gateway, [a, b]) = started("");
    let document = ask(&gateway, "GET", "/api/openapi.json", "").json();
    let url = a.url();
    let change = |more: &str| format!("{{\"backend\": \"{url}\"{more}}}");
    let large = change(&" ".repeat(1 << 20));
    let (weight, bad) = (change(", \"weight\": 3"), change(", \"weight\": -3"));
    let other = format!("{{\"backend\": \"{}\"}}", b.url());
    let registered = json!({ "url": b.url(), "ttl": "30s" }).to_string();
    let parts = json!({ "parts": [{ "upstream": "app", "weight": 1 }, { "upstream": "next", "weight": 1 }] });
    let stale = json!({ "upstream": "next", "version": 1 }).to_string();
    let (members, registrations) =
        ("/api/upstreams/{upstream}/backends", "/api/upstreams/{upstream}/registrations");
    let registration = "/api/upstreams/{upstream}/registrations/{id}";
    for (method, path, at, body, status) in [
        ("POST", "/api/backends/drain", "", change(""), 200),
        ("POST", "/api/backends/undrain", "", change(""), 200),
        ("POST", "/api/backends/weight", "", weight, 200),
        ("POST", "/api/backends/weight", "", bad, 400),
        ("POST", "/api/backends/weight", "", change(""), 400),
        ("POST", "/api/backends/drain", "", "{".to_owned(), 400),
        ("POST", "/api/backends/drain", "", large, 413),
        ("POST", "/api/backends/drain", "", "{\"backend\": \"http://10.9.9.9:1\"}".to_owned(), 404),
        ("GET", "/api/edits", "", String::new(), 200),
        ("DELETE", "/api/edits/{id}", "/api/edits/2", String::new(), 200),
        ("DELETE", "/api/edits/{id}", "/api/edits/77", String::new(), 404),
        ("GET", "/api/explain", "/api/explain?url=/", String::new(), 200),
        ("GET", "/api/explain", "/api/explain?url=tcp://db", String::new(), 200),
        ("GET", "/api/explain", "", String::new(), 400),
        ("POST", "/api/explain", "", "{\"url\": \"/\"}".to_owned(), 200),
        ("GET", "/api/log-level", "", String::new(), 200),
        ("POST", "/api/log-level", "", "{\"level\": \"debug\", \"for\": \"1m\"}".to_owned(), 200),
        ("POST", "/api/log-level", "", "{\"level\": \"loud\"}".to_owned(), 400),
        ("GET", "/api/openapi.json", "", String::new(), 200),
        ("POST", "/api/reload", "", String::new(), 200),
        ("POST", "/api/reload", "/api/reload?dry_run", String::new(), 200),
        ("PUT", "/api/rules/{rule}/split", "/api/rules/web/split", parts.to_string(), 200),
        (
            "POST",
            "/api/rules/{rule}/switch",
            "/api/rules/web/switch",
            "{\"upstream\": \"next\"}".to_owned(),
            200,
        ),
        ("POST", "/api/rules/{rule}/switch", "/api/rules/web/switch", stale, 409),
        (
            "POST",
            "/api/rules/{rule}/switch",
            "/api/rules/none/switch",
            "{\"upstream\": \"next\"}".to_owned(),
            404,
        ),
        ("POST", "/api/upgrade", "/api/upgrade?timeout=soon", String::new(), 400),
        ("POST", members, "/api/upstreams/app/backends", other.clone(), 200),
        ("POST", members, "/api/upstreams/app/backends", other.clone(), 409),
        ("DELETE", members, "/api/upstreams/app/backends", other, 200),
        ("PUT", registration, "/api/upstreams/app/registrations/x", registered.clone(), 201),
        ("PUT", registration, "/api/upstreams/app/registrations/x", registered, 200),
        ("GET", registrations, "/api/upstreams/app/registrations", String::new(), 200),
        ("DELETE", registration, "/api/upstreams/app/registrations/x", String::new(), 200),
        ("GET", registrations, "/api/upstreams/next/registrations", String::new(), 404),
        ("GET", "/api/why/{id}", "/api/why/nobodys", String::new(), 404),
    ] {
        let at = if at.is_empty() { path } else { at };
        let answer = ask(&gateway, method, at, &body);
        let what = format!("{method} {at}: {}", answer.text());
        assert_eq!(answer.status, status, "{what}");
        let operation = &document["paths"][path][method.to_lowercase()];
        let told = &operation["responses"][status.to_string()];
        let told = told["$ref"].as_str().map_or(told, |to| document.pointer(&to[1..]).unwrap());
        let kind = answer.header("content-type").unwrap();
        let schema = &told["content"][kind]["schema"];
        assert!(schema.is_object(), "not in the document: {what}");
        assert_eq!(wrong(&document, schema, &answer.json()), None, "{what}");
    }
    // Asked with a head alone, the same with a head alone.
    let head = lb_testkit::fetch(gateway.address_of("admin"), "HEAD", "/api/edits", &[]);
    assert_eq!(head.status, 200);
}

#[test]
fn half_a_request_changes_nothing() {
    let (gateway, _backends) = started("");
    let admin = gateway.address_of("admin");
    let mut client = Client::connect(admin);
    client.send(format!("POST /api/reload HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 10\r\n\r\nab"));
    drop(client);
    // Told in order: what came before has been dealt with.
    lb_testkit::eventually("it is dealt with", lb_testkit::PATIENCE, || {
        ask(&gateway, "GET", "/api/log-level", "").status == 200
    });
    let status = ask(&gateway, "GET", "/proxy-status", "").json();
    assert!(status["configuration"]["last_reload"].is_null(), "{status}");
}

#[test]
fn a_backend_is_the_same_however_its_url_is_written_and_what_a_rule_makes_of_an_upstream_is_no_place_of_it() {
    let (gateway, [a, b]) = started("");
    let admin = gateway.address_of("admin").to_string();
    let command = |arguments: &[&str]| {
        let output = cli(&[arguments, &["--admin", &admin]].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let bare = a.url().replace("http://", "");
    let (code, said) = command(&["add", "app", &bare]);
    assert!(code == Some(1) && said.contains("409") && said.contains(&a.url()), "{said}");
    for (arguments, words) in [
        (vec!["drain", &bare], "done, 2 changed"),
        (vec!["undrain", &bare], "done, 2 changed"),
        (vec!["weight", &bare, "3"], "done, 2 changed"),
        (vec!["weight", &bare, "1", "--upstream", "app"], "done, 2 changed"),
    ] {
        let (code, said) = command(&arguments);
        assert!(code == Some(0) && said.contains(words), "{arguments:?}: {said}");
    }
    for arguments in [
        vec!["drain", &a.url(), "--upstream", "app@web"],
        vec!["weight", &a.url(), "2", "--upstream", "app@web"],
    ] {
        let (code, said) = command(&arguments);
        assert!(code == Some(1) && said.contains("app is meant"), "{arguments:?}: {said}");
    }
    let (code, said) = command(&["drain", &a.url(), "--upstream", "next"]);
    assert!(code == Some(1) && said.contains("there is no backend") && said.contains(&b.url()), "{said}");
    let (code, said) = command(&["drain", &a.url(), "--upstream", "nxt"]);
    assert!(code == Some(1) && said.contains("there is no upstream \"nxt\"; there are app, next"), "{said}");
}

#[test]
fn a_command_says_whom_it_met_and_what_to_do() {
    let (gateway, [a, _b]) = started("");
    let admin = gateway.address_of("admin").to_string();
    let run = |arguments: &[&str]| {
        let output = cli(arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    // What answers is no gateway.
    let stranger = a.address().to_string();
    for command in [
        vec!["status"],
        vec!["reload"],
        vec!["edits"],
        vec!["log-level"],
        vec!["upgrade"],
        vec!["why", "x"],
        vec!["drain", "http://10.0.0.1:1"],
        vec!["switch", "web", "next"],
        vec!["explain", "GET", "/"],
        vec!["top", "--once"],
    ] {
        let (code, said) = run(&[command.as_slice(), &["--admin", &stranger]].concat());
        assert!(code == Some(1) && said.contains("is no gateway's admin address"), "{command:?}: {said}");
    }
    // Nobody does.
    let (code, said) = run(&["status", "--admin", "127.0.0.1:1"]);
    assert!(code == Some(1) && said.contains("cannot connect") && said.contains("[admin] address"), "{said}");
    // What is no address is a usage error, and so is a weight that is none.
    for wrong in ["", "foo", "8081", "ftp://127.0.0.1:8081"] {
        let (code, said) = run(&["status", "--admin", wrong]);
        assert!(code == Some(64) && said.contains("--admin"), "{wrong}: {said}");
    }
    for weight in ["-1", "inf", "nan", "1e999", "much"] {
        assert_eq!(run(&["weight", "http://10.0.0.1:1", weight]).0, Some(64), "{weight}");
        assert_eq!(run(&["split", "web", &format!("app={weight}")]).0, Some(64), "{weight}");
    }
    // An address is enough to mean a running gateway, and a file is another question.
    let (code, said) = run(&["explain", "GET", "/", "--admin", &admin]);
    assert!(code == Some(0) && said.starts_with("rule web"), "{said}");
    assert_eq!(run(&["explain", "GET", "/", "--admin", &admin, "-c", "x.toml"]).0, Some(64));
}

#[test]
fn a_token_that_is_missing_or_wrong_is_said_with_where_it_is_given() {
    let a = Backend::echo("a");
    let gateway = launch()
        .config(&format!(
            "[admin]\naddress = \"{{admin}}\"\ntoken = \"s3cret\"\n[[rules]]\nbackends = [{}]\n",
            urls(&[&a])
        ))
        .start();
    let admin = gateway.address_of("admin").to_string();
    for (token, words) in [(None, "GATEWAYD_TOKEN or --token"), (Some("other"), "is not its `[admin] token`")]
    {
        let mut arguments = vec!["reload", "--admin", &admin];
        arguments.extend(token.into_iter().flat_map(|token| ["--token", token]));
        let output = cli(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("401") && said.contains(words), "{said}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let page = |arguments: &[&str]| {
        let output = cli(arguments);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, said) = page(&["man", "config", "show"]);
    assert!(code == Some(0) && said.contains("gatewayd\\-config\\-show"), "{said}");
    let (code, said) = page(&["man", "sing"]);
    assert!(code == Some(64) && said.contains("there are run, demo"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = page(&["man", "--dir", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let (_, root) = page(&["man"]);
    // Every page that another one names is there.
    let named: Vec<&str> =
        root.split("gatewayd\\-").skip(1).map(|it| it.split('(').next().unwrap()).collect();
    assert!(named.contains(&"split") && named.contains(&"log\\-level"), "{named:?}");
    for name in named {
        let file = folder.path().join(format!("gatewayd-{}.1", name.replace('\\', "")));
        assert!(file.exists(), "{}", file.display());
    }
}

#[test]
fn run_check_and_config_show_take_the_file_the_same_ways() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, "[[rules]]\nbackendz = []\n").unwrap();
    let file = file.to_str().unwrap();
    for command in [
        vec!["run", file],
        vec!["run", "-c", file],
        vec!["check", file],
        vec!["check", "-c", file],
        vec!["config", "show", file],
        vec!["config", "show", "-c", file],
    ] {
        let output = cli(&command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(78) && said.contains("backendz"), "{command:?}: {said}");
    }
}
