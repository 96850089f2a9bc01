//! What changes under clients of HTTP/3: the configuration, the certificates, the program. None of it at the cost of a request.

use std::process::Child;
use std::time::Duration;

use lb_testkit::{Authority, Backend, Gateway, PATIENCE, eventually};
use tempfile::TempDir;

use super::{LISTENER, client, gateway, said};
use crate::support::websocket::echo;
use crate::support::{launch, rule};
use crate::takeover::{ADMIN, has_ended, signal, upgraded};

/// Asks without a pause until a file is there: over one connection after the other, each for as long as it may be used, or for one
/// request.
const LOAD: &str = "
import os
STOP = sys.argv[3]
H3_REQUEST_REJECTED = 0x10b
async def load(lasts):
    done, failed = 0, []
    while not os.path.exists(STOP):
        try:
            async with connected() as client:
                while not os.path.exists(STOP):
                    got = await client.get('/load')
                    # Whoever hears the goodbye late is told to send it again elsewhere (RFC 9114 §5.2).
                    if got.reset == H3_REQUEST_REJECTED:
                        await client.until('a goodbye', client.goaways)
                        break
                    if got.status != 200 or not got.ended:
                        failed.append((got.status, got.reset, client.terminated))
                        break
                    done += 1
                    if not lasts or client.goaways() > 0:
                        break
        except Exception as error:
            failed.append(repr(error))
    return done, failed
async def main():
    loads = await asyncio.gather(load(True), load(True), load(False), load(False))
    assert not any(failed for _, failed in loads), loads
    print(sum(done for done, _ in loads))
run(main)
";

fn load(gateway: &Gateway) -> Child {
    let stop = gateway.directory().join("stop");
    client(gateway, &LOAD.replace("sys.argv[3]", &format!("'{}'", stop.display())))
}

/// How many requests were answered; all of them, or this fails.
#[track_caller]
fn finish(gateway: &Gateway, load: Child) -> usize {
    std::fs::write(gateway.directory().join("stop"), "").unwrap();
    said(load).parse().unwrap()
}

#[test]
fn reloads_and_certificates_cost_no_request() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let authority = Authority::new("ca");
    let pair = authority.issue(&["localhost"]).write(root, "server");
    let backend = Backend::echo("b");
    let config = |more: &str, lines: &str| {
        format!(
            "[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nhttp3 = true\ntls = {{ certificates = [{{ {pair} }}] }}\n{more}{}",
            rule(lines, &[&backend])
        )
    };
    let other =
        "[[listeners]]\nname = \"other\"\naddress = \"{listen2}\"\ntls = \"self-signed\"\nhttp3 = true\n";
    let gateway = launch().config(&config(other, "name = \"first\"")).start();
    let load = load(&gateway);
    eventually("requests are answered", PATIENCE, || backend.hits() > 20);
    for round in 0..12 {
        match round % 3 {
            0 => gateway.write_config(&config("", &format!("name = \"r{round}\""))),
            1 => gateway.write_config(&config(&other.replace("http3 = true\n", ""), "")),
            _ => gateway.write_config(&config(other, "")),
        }
        gateway.signal("HUP");
        authority.issue(&["localhost"]).write(root, "server");
        std::thread::sleep(Duration::from_millis(300));
    }
    let answers = finish(&gateway, load);
    assert!(answers > 100, "{answers}");
    assert!(!gateway.errors().contains("panicked"), "{}", gateway.errors());
}

#[test]
fn the_program_is_replaced_again_and_again_and_no_request_notices() {
    let backend = Backend::echo("b");
    let mut gateway = gateway(&format!("{ADMIN}{LISTENER}{}", rule("", &[&backend])));
    let load = load(&gateway);
    eventually("requests are answered", PATIENCE, || backend.hits() > 20);
    let mut successors = Vec::new();
    let mut before = gateway.id();
    for _ in 0..3 {
        let successor = upgraded(&gateway);
        eventually("the process before ends", PATIENCE, || match before == gateway.id() {
            true => gateway.exited().is_some_and(|status| status.success()),
            false => has_ended(before),
        });
        before = successor.0;
        successors.push(successor);
    }
    let answers = finish(&gateway, load);
    assert!(answers > 100, "{answers}");
    signal(before, "TERM");
    eventually("the last one ends when told to", PATIENCE, || has_ended(before));
    assert!(std::net::UdpSocket::bind(gateway.address()).is_ok(), "nobody holds the port any more");
}

#[test]
fn what_is_under_way_ends_with_the_process_that_it_began_with() {
    const PIECES: u32 = 400;
    let slow = Backend::scripted(|conn| {
        conn.request();
        conn.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * 4000));
        for number in 0..PIECES {
            if conn.try_send(number.to_be_bytes().repeat(1000)).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
    });
    let tunnel = Backend::scripted(echo);
    let rules = format!("{}{}", rule("path = \"/slow\"", &[&slow]), rule("", &[&tunnel]));
    let mut gateway = gateway(&format!("{ADMIN}[server]\nworkers = 2\n{LISTENER}{rules}"));
    let child = client(
        &gateway,
        "
async def main():
    async with connected() as client:
        stream = client.extended('/tunnel')
        got = client.stream(stream)
        await client.until('an answer', lambda: got.heads)
        slow = client.open('GET', '/slow')
        number = 0
        while not client.stream(slow).over:
            before = len(got.body)
            text = b'number %d' % number
            client.send(stream, text)
            await client.until('an echo of %r' % text, lambda: got.body[before:] == text or got.over)
            assert not got.over, (got.reset, client.terminated)
            number += 1
            await asyncio.sleep(0.05)
        whole = b''.join(number.to_bytes(4, 'big') * 1000 for number in range(400))
        download = client.stream(slow)
        assert download.ended and download.body == whole, (len(download.body), download.reset)
        assert client.goaways() == 2, client.goaways()
        client.send(stream, b'', True)
        got = await client.answer(stream)
        assert got.ended and got.body.endswith(b'bye'), got.reset
        print(number)
run(main)
",
    );
    eventually("it is under way", PATIENCE, || slow.hits() == 1);
    // The second one finds the first of all through the one between.
    let first = upgraded(&gateway);
    std::thread::sleep(Duration::from_millis(500));
    let second = upgraded(&gateway);
    assert!(gateway.exited().is_none() && !has_ended(first.0), "both wait for what they have begun");
    let echoes: u32 = said(child).parse().unwrap();
    assert!(echoes > 20, "{echoes}");
    eventually("the first process ends", PATIENCE, || gateway.exited().is_some_and(|it| it.success()));
    eventually("and the one between", PATIENCE, || has_ended(first.0));
    assert!(!has_ended(second.0));
}
