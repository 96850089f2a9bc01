//! The packets of two processes by one socket, and what one of them has signed while the other one answers.

use std::path::Path;

use lb_testkit::{Authority, Backend, Gateway, PATIENCE, eventually};
use tempfile::TempDir;

use super::{LISTENER, client, gateway, run, said};
use crate::support::rule;
use crate::support::websocket::echo;
use crate::takeover::{ADMIN, has_ended, signal, upgraded};

/// What both sides of a test do in turns, by files that the one makes and the other waits for.
const TURNS: &str = "
import os
def made(name):
    open(os.path.join(FOLDER, name), 'w').close()
async def waited(name):
    for _ in range(PATIENCE * 50):
        if os.path.exists(os.path.join(FOLDER, name)):
            return
        await asyncio.sleep(0.02)
    raise AssertionError('not in time: ' + name)
";

fn in_turns(gateway: &Gateway, script: &str) -> String {
    format!("FOLDER = {:?}\n{TURNS}\n{script}", gateway.directory())
}

#[track_caller]
fn until_made(folder: &Path, name: &str) {
    eventually(name, PATIENCE, || folder.join(name).exists());
}

fn make(folder: &Path, name: &str) {
    std::fs::write(folder.join(name), "").unwrap();
}

/// One request over a connection of its own.
const ASK: &str = "
async def main():
    async with connected() as client:
        assert (await client.get('/')).status == 200
run(main)
";

#[test]
fn who_is_new_is_served_by_the_next_process_while_the_ones_before_go_on() {
    let backend = Backend::scripted(echo);
    let mut gateway = gateway(&format!("{ADMIN}{LISTENER}{}", rule("", &[&backend])));
    let folder = gateway.directory().to_owned();
    let tunnel = |gateway: &Gateway, number: u32| {
        let script = format!(
            "
async def main():
    async with connected() as client:
        stream = client.extended('/tunnel')
        got = client.stream(stream)
        await client.until('an answer', lambda: got.heads)
        made('open{number}')
        await waited('close')
        client.send(stream, b'still here')
        await client.until('an echo', lambda: got.body == b'still here')
run(main)
"
        );
        let child = client(gateway, &in_turns(gateway, &script));
        until_made(&folder, &format!("open{number}"));
        child
    };
    let mut tunnels = vec![tunnel(&gateway, 0)];
    let mut successors = Vec::new();
    for number in 1..4 {
        successors.push(upgraded(&gateway));
        run(&gateway, ASK);
        tunnels.push(tunnel(&gateway, number));
        assert!(gateway.exited().is_none(), "the first one waits for its tunnel");
        assert!(successors.iter().all(|process| !has_ended(process.0)), "and so does each after it");
    }
    make(&folder, "close");
    for tunnel in tunnels {
        said(tunnel);
    }
    eventually("the first one ends", PATIENCE, || gateway.exited().is_some_and(|it| it.success()));
    eventually("those between as well", PATIENCE, || successors[..2].iter().all(|it| has_ended(it.0)));
    run(&gateway, ASK);
}

/// As many first packets as make the gateway ask whoever comes next to show its address; then clients that are asked to, and come
/// back when they are told to.
const ASKED: &str = "
import time
from aioquic.quic.connection import QuicConnection
class Slow:
    def __init__(self):
        configuration = QuicConfiguration(is_client=True, alpn_protocols=['h3'], server_name='localhost', verify_mode=ssl.CERT_NONE)
        self.quic = QuicConnection(configuration=configuration)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((HOST, PORT))
        self.socket.setblocking(False)
        self.quic.connect((HOST, PORT), now=time.time())
    def send(self):
        for data, _ in self.quic.datagrams_to_send(now=time.time()):
            self.socket.send(data)
    async def receive(self):
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 65536), PATIENCE)
        self.quic.receive_datagram(data, (HOST, PORT), now=time.time())
    async def shakes_hands(self):
        self.send()
        while not self.quic._handshake_complete:
            assert self.quic._close_event is None, self.quic._close_event
            await self.receive()
            self.send()
async def main():
    silent = [Slow() for _ in range(80)]
    for client in silent:
        client.send()
    clients = [Slow(), Slow()]
    for client in clients:
        client.send()
        await client.receive()
        assert client.quic._retry_source_connection_id is not None, 'it is asked to come again'
    made('asked')
    for client, turn in zip(clients, ['upgraded', 'ended']):
        await waited(turn)
        # That it is known there by the address it came from first is checked with the handshake.
        await client.shakes_hands()
        client.quic.close()
        client.send()
run(main)
";

#[test]
fn who_is_asked_to_show_its_address_by_one_process_may_show_it_to_the_next() {
    let backend = Backend::echo("b");
    let directory = TempDir::new().unwrap();
    let pair = Authority::new("ca").issue(&["localhost"]).write(directory.path(), "server");
    let listener = LISTENER.replace("\"self-signed\"", &format!("{{ {pair}, handshake_timeout = \"3s\" }}"));
    let mut gateway = gateway(&format!("{ADMIN}{listener}{}", rule("", &[&backend])));
    let folder = gateway.directory().to_owned();
    let child = client(&gateway, &in_turns(&gateway, ASKED));
    until_made(&folder, "asked");
    let _successor = upgraded(&gateway);
    make(&folder, "upgraded");
    eventually("the process before ends", PATIENCE, || gateway.exited().is_some_and(|it| it.success()));
    make(&folder, "ended");
    said(child);
}

#[test]
fn a_client_whose_process_has_died_is_told_by_the_next_one() {
    let backend = Backend::scripted(echo);
    let mut gateway = gateway(&format!("{ADMIN}{LISTENER}{}", rule("", &[&backend])));
    let folder = gateway.directory().to_owned();
    let child = client(
        &gateway,
        &in_turns(
            &gateway,
            "
async def main():
    async with connected() as client:
        got = client.stream(client.extended('/tunnel'))
        await client.until('an answer', lambda: got.heads)
        token = client._quic._peer_cid.stateless_reset_token
        assert len(token) == 16
        made('open')
        await waited('died')
        came = []
        client.datagram_received = lambda data, address: came.append(data)
        for _ in range(PATIENCE * 10):
            client._quic.send_ping(0)
            client.transmit()
            await asyncio.sleep(0.1)
            if came:
                break
        assert came and all(data[-16:] == token for data in came), [(len(data), data[0]) for data in came]
        os._exit(0)
run(main)
",
        ),
    );
    until_made(&folder, "open");
    let _successor = upgraded(&gateway);
    assert!(gateway.exited().is_none(), "it waits for its tunnel");
    signal(gateway.id(), "KILL");
    eventually("it has died", PATIENCE, || gateway.exited().is_some());
    make(&folder, "died");
    said(child);
}
