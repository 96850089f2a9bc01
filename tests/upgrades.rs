//! Connections that are switched to another protocol: WebSocket with a real library, and whatever else both sides agree on.

use std::process::Command;
use std::time::Duration;

use lb_testkit::{Backend, Client, Gateway, PATIENCE, eventually};

use crate::support::websocket::{AGREED, Library, echo};
use crate::support::{STATUS_LISTENER, backend_status, gateway, python, rule};

const ASKED: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, X-Hop\r\nUpgrade: websocket\r\nX-Hop: 1\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
fn switched(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.send(ASKED);
    let head = client.response_head("GET").unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("connection"), Some("Upgrade"));
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(head.header("x-request-id").is_some());
    assert!(head.header("content-length").is_none() && head.header("transfer-encoding").is_none());
    client
}

#[test]
fn bytes_pass_both_ways_until_both_sides_have_said_all() {
    let backend = Backend::scripted(echo);
    let gateway = gateway(&format!("{STATUS_LISTENER}{}", rule("name = \"r\"", &[&backend])));
    let mut client = switched(&gateway);
    let seen = backend.requests().remove(0);
    assert_eq!((seen.header("connection"), seen.header("upgrade")), (Some("Upgrade"), Some("websocket")));
    assert_eq!(seen.header("x-hop"), None, "it was for this hop");
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    for round in 0..3_u8 {
        // Not text, and more than any socket takes at once.
        let message: Vec<u8> = (0..3_000_000_u32).map(|byte| byte.to_le_bytes()[0] ^ round).collect();
        let mut writer = client.stream().try_clone().unwrap();
        let sent = message.clone();
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &sent));
        assert!(client.read_exact(message.len()).unwrap() == message);
        writing.join().unwrap().unwrap();
    }
    assert_eq!(
        backend_status(&gateway, "r", &backend.url())["active_connections"],
        1,
        "it counts while it lasts"
    );
    // What one side has left to say after the other has ended still arrives.
    client.finish();
    assert_eq!(client.read_to_close(), b"bye");
    eventually("its place is given back", PATIENCE, || {
        backend_status(&gateway, "r", &backend.url())["active_connections"] == 0
    });
    let metrics = gateway.get("/metrics").text();
    assert!(metrics.contains("gatewayd_requests_total{rule=\"r\",code=\"1xx\"} 1"), "{metrics}");
}

#[test]
fn what_is_sent_with_the_heads_is_not_lost() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.reply(format!("{AGREED}first"));
        let early = conn.read_exact("early".len()).unwrap();
        conn.try_send(&early).unwrap();
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send(format!("{ASKED}early"));
    assert_eq!(client.response_head("GET").unwrap().status, 101);
    assert_eq!(client.read_to_close(), b"firstearly");
}

#[test]
fn a_tunnel_outlives_the_deadlines_of_answers_and_not_its_own() {
    let backend = Backend::scripted(echo);
    let timeouts = "timeout = \"200ms\"\nidle_timeout = \"200ms\"";
    let gateway = gateway(&format!(
        "{}{}",
        rule(&format!("path_prefix = \"/chat\"\ntunnel_timeout = \"2s\"\n{timeouts}"), &[&backend]),
        rule(timeouts, &[&backend])
    ));
    let mut client = switched(&gateway);
    std::thread::sleep(Duration::from_millis(900));
    client.send("still there");
    assert_eq!(client.read_exact(11).unwrap(), b"still there");
    assert!(client.closes_within(PATIENCE), "nothing moves any more");
    eventually("the backend's side is closed too", PATIENCE, || backend.open_connections() == 0);
}

#[test]
fn a_side_that_breaks_ends_the_other() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.reply(AGREED);
        conn.read_exact(1).unwrap();
        conn.reset();
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = switched(&gateway);
    client.send("x");
    assert!(client.closes_within(PATIENCE));
    let holding = Backend::scripted(echo);
    let gateway = crate::support::gateway(&rule("", &[&holding]));
    switched(&gateway).into_wire().reset();
    eventually("the backend is let go", PATIENCE, || holding.open_connections() == 0);
}

/// Clients of WebSockets close their laptops in the middle of a word, and backends are restarted under them.
#[test]
fn websockets_that_break_off_blame_no_backend_and_leave_no_counter() {
    let backend = Backend::scripted(echo);
    let lines =
        "name = \"r\"\npassive = { consecutive_failures = 1 }\ncircuit_breaker = { failure_threshold = 1 }";
    let gateway = gateway(&format!("{STATUS_LISTENER}{}", rule(lines, &[&backend])));
    let status = || backend_status(&gateway, "r", &backend.url());
    for round in 0..10 {
        let mut client = switched(&gateway);
        client.send("half a wor");
        assert_eq!(client.read_exact(10).unwrap(), b"half a wor");
        match round % 3 {
            0 => client.into_wire().reset(),
            1 => drop(client),
            _ => {
                backend.close_connections();
                while client.read_some(1024).is_ok_and(|rest| !rest.is_empty()) {}
            }
        }
    }
    eventually("every counter is zero", PATIENCE, || status()["active_connections"] == 0);
    let status = status();
    assert_eq!((&status["state"], &status["circuit"]), (&"healthy".into(), &"closed".into()), "{status}");
    assert_eq!((&status["failed_requests"], &status["total_requests"]), (&0.into(), &10.into()), "{status}");
    assert_eq!(gateway.get("/").text(), "ok");
}

#[test]
fn a_refused_upgrade_is_an_answer_like_any_other() {
    let backend = Backend::scripted(|conn| {
        while conn
            .request()
            .is_some_and(|_| conn.reply("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"))
        {}
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(ASKED);
        let response = client.response();
        assert_eq!((response.status, response.text()), (403, "no".to_owned()));
    }
    assert_eq!(backend.accepted(), 1, "both connections are kept");
}

#[test]
fn nobody_is_switched_to_what_was_not_agreed() {
    let h2c = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n";
    let with_body = ASKED.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi");
    let backend = Backend::scripted(|conn| {
        let asked = conn.request().is_some_and(|request| request.header("upgrade").is_some());
        conn.reply(if asked {
            AGREED.replace("websocket", "other")
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()
        });
    });
    let gateway = gateway(&rule("passive = false", &[&backend]));
    let status = |request: &str| {
        let mut client = gateway.client();
        client.send(request);
        client.response().status
    };
    assert_eq!(status(h2c), 200, "never passed on");
    assert_eq!(status(&with_body), 200, "there is a body first");
    assert_eq!(status(&ASKED.replace("HTTP/1.1", "HTTP/1.0")), 200, "HTTP/1.0 has no upgrades");
    assert_eq!(status(&ASKED.replace("Upgrade, X-Hop", "X-Hop")), 200, "Connection does not name it");
    assert_eq!(status(ASKED), 502, "the backend switched to something else");
    assert!(backend.requests().iter().rev().skip(1).all(|request| request.header("upgrade").is_none()));
}

#[test]
fn a_backend_that_cannot_be_reached_costs_no_upgrade() {
    let (mut gone, backend) = (Backend::scripted(echo), Backend::scripted(echo));
    gone.stop();
    let gateway = gateway(&rule("", &[&gone, &backend]));
    for _ in 0..4 {
        let mut client = switched(&gateway);
        client.send("hello");
        assert_eq!(client.read_exact(5).unwrap(), b"hello");
    }
}

/// A real server and a real client, with fragments, pings, large messages and a close with a code.
#[test]
fn a_websocket_library_is_content() {
    let python = python("websockets==15.0.1");
    let server = Library::start();
    let gateway = gateway(&format!(
        "[[listeners]]\naddress = \"{{listen}}\"\n\
         [[listeners]]\naddress = \"{{listen2}}\"\ntls = \"self-signed\"\n\
         [[rules]]\nbackends = [\"{}\"]",
        server.address()
    ));
    // By one thread: OpenSSL must not be asked to write while another thread reads a session ticket, and forgets the request then.
    let client = "
import asyncio, ssl, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
trusting = ssl.create_default_context()
trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
options = {'ssl': trusting} if sys.argv[1].startswith('wss') else {}
async def main():
    async with connect(sys.argv[1] + '/chat?x=1', max_size=1 << 24, subprotocols=['chat'], **options) as ws:
        for message in ['hello', '', b'\\x00\\xff', 'x' * 1_000_000, b'y' * 5_000_000]:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(iter(['in ', 'frag', 'ments']))
        assert await ws.recv() == 'in fragments'
        await asyncio.wait_for(await ws.ping(), 20)
        await ws.send('close')
        try:
            await ws.recv()
        except ConnectionClosed as closed:
            print(closed.rcvd.code, closed.rcvd.reason)
asyncio.run(main())
";
    let outputs = [
        format!("ws://{}", gateway.address_of("listen")),
        format!("wss://{}", gateway.address_of("listen2")),
    ]
    .map(|url| Command::new(&python).args(["-c", client, &url]).output().unwrap());
    for output in outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "4001 as asked");
    }
}
