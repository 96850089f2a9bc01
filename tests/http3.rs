//! HTTP/3 with clients: aioquic from PyPI, and what clients over TCP are told.

mod changes;
mod frames;
mod grpc;
mod hostile;
mod trailers;
mod upgrade;
mod websocket;

use std::process::{Child, Command, Stdio};

use lb_testkit::{Authority, Backend, Gate, Gateway, PATIENCE, eventually};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{cli, gateway, python, rule};

const CLIENT: &str = include_str!("http3/client.py");
pub(crate) const LISTENER: &str =
    "[[listeners]]\nname = \"web\"\naddress = \"{listen}\"\ntls = \"self-signed\"\nhttp3 = true\n";

/// A client that runs this once the prelude has.
fn client(gateway: &Gateway, script: &str) -> Child {
    let address = gateway.address();
    Command::new(python("aioquic==1.7.2 wsproto==1.2.0"))
        .args(["-c", &format!("{CLIENT}\n{script}")])
        .args([address.ip().to_string(), address.port().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the client has printed at its end, which must be a good one.
#[track_caller]
fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[track_caller]
pub(crate) fn run(gateway: &Gateway, script: &str) -> String {
    said(client(gateway, script))
}

/// A gateway of HTTP/3 in front of these backends.
#[track_caller]
pub(super) fn start(rules: &str) -> Gateway {
    gateway(&format!("[access_log]\nenabled = true\n{LISTENER}{rules}"))
}

/// The values of a field as the backend saw it.
fn seen(echo: &Value, name: &str) -> Vec<String> {
    let fields = echo["headers"].as_array().cloned().unwrap_or_default();
    let named = fields.iter().filter(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name));
    named.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_request_is_served_as_any_other() {
    let backend = Backend::echo("b");
    let gateway = start(&rule("name = \"r\"\npath_prefix = \"/a\"", &[&backend]));
    let text = run(
        &gateway,
        "
async def main():
    async with connected() as client:
        got = await client.get('/a?x=1', fields=[('x-odd', '1'), ('cookie', 'a=1'), ('cookie', 'b=2')])
        assert got.status == 200 and got.ended, (got.heads, got.reset)
        assert got.fields()['x-request-id'], got.heads
        print(got.body.decode())
        # aioquic expects a body of the length that an answer to HEAD only tells.
        client.h3._check_content_length = lambda stream: None
        head = await client.answer(client.open('HEAD', '/a'))
        assert head.status == 200 and head.body == b'' and int(head.fields()['content-length']) > 0, head.heads
        missing = await client.get('/other')
        assert missing.status == 404 and b'no_rule' in missing.body, missing.body
        connect = client._quic.get_next_available_stream_id()
        client.head(connect, [(':method', 'CONNECT'), (':authority', 'a.example:443')], True)
        client.transmit()
        assert (await client.answer(connect)).status == 405
run(main)
",
    );
    let echo: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&echo["method"], &echo["target"]), (&"GET".into(), &"/a?x=1".into()));
    for (name, value) in [
        ("host", "a.example"),
        ("x-odd", "1"),
        ("cookie", "a=1; b=2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(seen(&echo, name), [value], "{name}");
    }
    assert!(seen(&echo, "transfer-encoding").is_empty(), "it has no body: {echo}");
    let line = gateway.log_line("it is logged", |line| line["path"] == "/a" && line["method"] == "GET");
    assert_eq!((&line["status_code"], &line["rule"]), (&200.into(), &"r".into()));
    gateway.log_line("and so is what no rule takes", |line| line["status_code"] == 404);
}

#[test]
fn bodies_pass_both_ways_byte_by_byte() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let backend = Backend::echo("b");
    let large =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes(), body.clone()]
            .concat();
    let large = Backend::fixed(large);
    let gateway = start(&format!("{}{}", rule("path = \"/large\"", &[&large]), rule("", &[&backend])));
    run(
        &gateway,
        "
async def main():
    body = bytes(number % 251 for number in range(3_000_000))
    async with connected() as client:
        for fields in [[('content-length', str(len(body)))], []]:
            got = await client.answer(client.open('POST', '/up', fields=fields, body=body))
            assert got.status == 200, (got.heads, got.reset)
        got = await client.get('/large')
        assert got.status == 200 and got.ended and got.body == body, (len(got.body), got.reset)
        empty = await client.answer(client.open('POST', '/empty', fields=[('content-length', '0')]))
        assert empty.status == 200
        odd = client.open('DELETE', '/odd', end=False)
        client.send(odd, b'late', True)
        assert (await client.answer(odd)).status == 200
run(main)
",
    );
    let requests = backend.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests[..2].iter().all(|request| request.body == body), "a body has changed");
    assert_eq!(requests[1].head.first("transfer-encoding"), Some("chunked"));
    assert_eq!((requests[2].body.len(), requests[3].text()), (0, "late".to_owned()));
}

#[test]
fn trailers_pass_both_ways() {
    let backend = Backend::fixed(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let gateway = start(&rule("", &[&backend]));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        up = client.open('POST', '/', end=False)
        client.send(up, b'data')
        client.head(up, [('x-end', '1')], True)
        client.transmit()
        got = await client.answer(up)
        assert got.status == 200 and got.body == b'ok' and got.trailers == {'x-sum': '7'}, (got.heads, got.body)
run(main)
",
    );
    let request = backend.requests().remove(0);
    assert_eq!(request.text(), "data");
}

#[test]
fn many_streams_are_served_at_once_and_one_that_waits_holds_up_no_other() {
    let gate = Gate::new();
    let (held, free) = (Backend::held("held", &gate), Backend::echo("free"));
    let gateway = start(&format!("{}{}", rule("path = \"/held\"", &[&held]), rule("", &[&free])));
    let child = client(
        &gateway,
        "
async def main():
    async with connected() as client:
        held = client.open('GET', '/held')
        ids = [client.open('GET', '/%d' % number) for number in range(100)]
        for number, stream in enumerate(ids):
            got = await client.answer(stream)
            assert got.status == 200 and (b'/%d\"' % number) in got.body, got.body
        assert client.stream(held).status is None
        again = await asyncio.gather(*[client.get('/%d' % number) for number in range(300)])
        assert all(got.status == 200 for got in again)
        await client.get('/open')
        got = await client.answer(held)
        assert got.status == 200
run(main)
",
    );
    eventually("all the others are served", PATIENCE, || free.hits() == 401);
    gate.open();
    said(child);
}

#[test]
fn a_client_that_leaves_is_499_and_its_backend_is_let_go() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let gateway = start(&rule("", &[&backend]));
    let child = client(
        &gateway,
        "
async def main():
    async with connected() as client:
        waiting = client.open('GET', '/stopped')
        await asyncio.sleep(0.5)
        client._quic.stop_stream(waiting, 0x10c)
        client.transmit()
        uploading = client.open('POST', '/reset', fields=[('content-length', '100')], end=False)
        client.send(uploading, b'half')
        await asyncio.sleep(0.5)
        client._quic.reset_stream(uploading, 0x10c)
        client.transmit()
        await asyncio.sleep(0.5)
        closing = client.open('GET', '/closed')
        await asyncio.sleep(0.5)
run(main)
",
    );
    for path in ["/stopped", "/reset", "/closed"] {
        let line = gateway.log_line("it is logged", |line| line["path"] == path);
        assert_eq!(line["status_code"], 499, "{line}");
    }
    eventually("its connections are closed", PATIENCE, || backend.connections_closed_by_peer() >= 2);
    gate.open();
    said(child);
}

#[test]
fn an_answer_that_breaks_off_is_a_reset() {
    let backend = Backend::once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    let gateway = start(&rule("retries = { attempts = 0 }", &[&backend]));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        got = await client.get('/')
        assert not got.ended and got.reset == 0x102, (got.heads, got.ended, got.reset)
run(main)
",
    );
}

#[test]
fn clients_over_tcp_are_told_of_it_and_only_where_it_is_spoken() {
    let backend = Backend::fixed("HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":1\"\r\nContent-Length: 2\r\n\r\nok");
    let rules = rule("path = \"/\"", &[&backend]);
    let told = |gateway: &Gateway, path: &str, version: &str| {
        let url = format!("https://{}{path}", gateway.address());
        let output = Command::new("curl").args(["-sSkD-", "-o/dev/null", version, &url]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
        let lines = text.lines().filter_map(|line| line.strip_prefix("alt-svc: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let gateway = start(&rules);
    let port = gateway.address().port();
    for (path, version) in
        [("/", "--http1.1"), ("/", "--http2"), ("/none", "--http1.1"), ("/none", "--http2")]
    {
        assert_eq!(told(&gateway, path, version), [format!("h3=\":{port}\"; ma=86400")], "{path} {version}");
    }
    let table =
        LISTENER.replace("http3 = true", "http3 = { advertised_port = 443, advertised_for = \"1h\" }");
    let gateway = crate::support::gateway(&format!("{table}{rules}"));
    assert_eq!(told(&gateway, "/none", "--http2"), ["h3=\":443\"; ma=3600"]);
    let off = LISTENER.replace("http3 = true", "http3 = false");
    let gateway = crate::support::gateway(&format!("{off}{rules}"));
    assert!(told(&gateway, "/none", "--http2").is_empty());
}

#[test]
fn it_needs_tls_and_no_proxy_header() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("gatewayd.toml");
    let rules = "[[rules]]\nbackends = [\"127.0.0.1:1\"]\n";
    for (lines, remedy) in [
        ("http3 = true\n", "add `tls"),
        (
            "tls = \"self-signed\"\nhttp3 = true\nproxy_protocol = { from = [\"127.0.0.1\"] }\n",
            "`proxy_protocol`",
        ),
        ("tls = \"self-signed\"\nhttp3 = { max_concurrent_streams = 0 }\n", "between 1 and"),
        ("tls = \"self-signed\"\nhttp3 = { advertised_port = 70000 }\n", "between 1 and 65535"),
    ] {
        std::fs::write(&file, format!("[[listeners]]\naddress = \"127.0.0.1:1\"\n{lines}{rules}")).unwrap();
        let output = cli(&["check", file.to_str().unwrap()]);
        let text =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(remedy), "{text}");
    }
}

#[test]
fn backends_are_told_by_a_proxy_header_where_the_client_has_connected_to() {
    let (told, lines) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let backend = Backend::scripted(move |conn| {
        let Some(line) = conn.line() else { return };
        conn.request();
        told.lock().unwrap().send(line).unwrap();
        conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let launch = crate::support::launch();
    let port = launch.address("listen").port();
    let listener = LISTENER.replace("{listen}", &format!("0.0.0.0:{port}"));
    let gateway = launch
        .config_file(
            "gatewayd.toml",
            &format!(
                "{listener}[[rules]]\nbackends = [{{ url = \"{}\", proxy_protocol = \"v1\" }}]\n",
                backend.url()
            ),
        )
        .start();
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        assert (await client.get('/')).status == 200
run(main)
",
    );
    let line = lines.recv_timeout(PATIENCE).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[..4], ["PROXY", "TCP4", "127.0.0.1", "127.0.0.1"], "{line}");
    assert_eq!(words[5], port.to_string(), "{line}");
}

#[test]
fn certificates_are_those_of_tcp_by_name_and_when_they_change() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let first = old.issue(&["localhost"]).write(root, "first");
    let second = old.issue(&["other.example"]).write(root, "second");
    let (old_ca, new_ca) = (old.write(&root.join("old.pem")), new.write(&root.join("new.pem")));
    let backend = Backend::echo("b");
    let listener = format!(
        "[[listeners]]\naddress = \"{{listen}}\"\nhttp3 = true\ntls = {{ certificates = [{{ {first} }}, {{ {second} }}] }}\n"
    );
    let gateway = gateway(&format!("{listener}{}", rule("", &[&backend])));
    let asks = |name: &str, ca: &std::path::Path| {
        client(
            &gateway,
            &format!(
                "
async def main():
    async with connected('{name}', '{}') as client:
        assert (await client.get('/')).status == 200
run(main)
",
                ca.display()
            ),
        )
        .wait_with_output()
        .unwrap()
        .status
        .success()
    };
    assert!(asks("localhost", &old_ca));
    assert!(asks("other.example", &old_ca));
    assert!(!asks("localhost", &new_ca));
    new.issue(&["localhost"]).write(root, "first");
    eventually("the new one is shown", PATIENCE, || asks("localhost", &new_ca));
    assert!(!asks("localhost", &old_ca));
}

#[test]
fn a_client_says_who_it_is() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let authority = Authority::new("clients");
    let server = authority.issue(&["localhost"]).write(root, "server");
    let ca = authority.write(&root.join("ca.pem"));
    authority.issue_client("alice", "Acme").write(root, "alice");
    let backend = Backend::echo("b");
    let gateway = gateway(&format!(
        "[[listeners]]\naddress = \"{{listen}}\"\nhttp3 = true\n\
         tls = {{ {server}, client_auth = {{ ca = \"{}\", subject_header = \"X-Client\" }} }}\n{}",
        ca.display(),
        rule("", &[&backend])
    ));
    let text = run(
        &gateway,
        &format!(
            "
async def main():
    root = '{}'
    async with connected(ca=root + '/ca.pem', certificate=(root + '/alice.crt', root + '/alice.key')) as client:
        print((await client.get('/')).body.decode())
    try:
        async with connected(ca=root + '/ca.pem') as client:
            got = await client.get('/')
            assert client.terminated, got.heads
    except ConnectionError:
        pass
run(main)
",
            root.display()
        ),
    );
    let echo: Value = serde_json::from_str(&text).unwrap();
    let subject = seen(&echo, "x-client");
    assert!(subject.len() == 1 && subject[0].contains("alice"), "{subject:?}");
    assert_eq!(backend.hits(), 1);
}

#[test]
fn a_client_that_moves_is_still_known() {
    let backend = Backend::echo("b");
    let gateway = gateway(&format!("[server]\nworkers = 2\n{LISTENER}{}", rule("", &[&backend])));
    run(
        &gateway,
        "
async def main():
    async with connected() as client:
        assert (await client.get('/before')).status == 200
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(('::', 0))
        old = client._transport.get_extra_info('sockname')[1]
        client._transport, _ = await asyncio.get_event_loop().create_datagram_endpoint(lambda: client, sock=sock)
        assert sock.getsockname()[1] != old
        for number in range(5):
            assert (await client.get('/after%d' % number)).status == 200
run(main)
",
    );
}

#[test]
fn a_drain_says_goodbye_and_lets_finish_what_was_begun() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let mut gateway = start(&rule("", &[&backend]));
    let child = client(
        &gateway,
        "
async def main():
    async with connected() as client:
        begun = client.open('GET', '/')
        await client.until('a notice, and a goodbye', lambda: client.goaways() == 2)
        late = await client.get('/late')
        assert late.reset == 0x10b or client.terminated, (late.reset, late.heads)
        print('told', flush=True)
        got = await client.answer(begun)
        assert got.status == 200 and got.ended, (got.heads, got.reset, client.terminated)
run(main)
",
    );
    eventually("the request is there", PATIENCE, || gate.waiting() == 1);
    gateway.sigterm();
    std::thread::sleep(std::time::Duration::from_secs(2));
    gate.open();
    said(child);
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    assert_eq!(backend.hits(), 1, "what came behind the goodbye was refused");
}

#[test]
fn a_reload_turns_it_on_and_off_and_leaves_connections_alone() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let with = |lines: &str| {
        let listener = LISTENER.replace("http3 = true\n", lines);
        format!("{listener}{}", rule("", &[&backend]))
    };
    let gateway = gateway(&with(""));
    let write = |lines: &str| {
        let text = with(lines).replace("{listen}", &gateway.address().to_string());
        std::fs::write(gateway.directory().join("gatewayd.toml"), text).unwrap();
        gateway.signal("HUP");
    };
    let asks = || {
        let script = "
async def main():
    async with connected(idle_timeout=2) as client:
        assert (await client.get('/')).status == 200
run(main)
";
        client(&gateway, script).wait_with_output().unwrap().status.success()
    };
    assert!(!asks());
    gate.open();
    write("http3 = true\n");
    eventually("it is spoken", PATIENCE, asks);
    write("http3 = false\n");
    eventually("it is not spoken any more", PATIENCE, || !asks());
    write("http3 = true\nmax_headers = 50\n");
    eventually("it is spoken again", PATIENCE, asks);
}
