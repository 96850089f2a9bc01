//! gRPC from clients of HTTP/3: calls by the frame, to a server of grpcio.

use lb_testkit::{Backend, Gate, Port};

use super::{LISTENER, run, start};
use crate::http2::grpc::scene_at;
use crate::support::rule;

/// Calls as grpcio would make them, which does not speak HTTP/3.
const CALLS: &str = "
def framed(message):
    return b'\\0' + len(message).to_bytes(4, 'big') + message
def messages(body):
    found = []
    while len(body) >= 5:
        length = int.from_bytes(body[1:5], 'big')
        if len(body) < 5 + length:
            break
        found.append(body[5:5 + length])
        body = body[5 + length:]
    return found
def begin(client, method, fields=()):
    fields = [('content-type', 'application/grpc'), ('te', 'trailers')] + list(fields)
    return client.open('POST', '/test.Echo/' + method, fields=fields, end=False)
async def call(client, method, *asks, fields=()):
    stream = begin(client, method, fields)
    for number, ask in enumerate(asks):
        client.send(stream, framed(ask), number == len(asks) - 1)
    return await client.answer(stream)
def status(got):
    assert got.status == 200 and got.ended, (got.heads, got.reset)
    return int(got.fields()['grpc-status'])
";

#[test]
fn all_four_kinds_of_call_pass_with_metadata_and_trailers() {
    let scene = scene_at(LISTENER, "");
    run(
        &scene.gateway,
        &format!(
            "{CALLS}
async def main():
    async with connected() as client:
        got = await call(client, 'Unary', b'hello')
        assert messages(got.body) == [b'Uhello'] and status(got) == 0, (got.body, got.heads)
        assert got.fields(0)['x-initial'] == '1' and got.trailers['x-trailing'] == '2', got.heads
        assert got.fields(0)['content-type'].startswith('application/grpc'), got.heads
        got = await call(client, 'Unary', b'x' * 3_000_000)
        assert len(messages(got.body)[0]) == 3_000_001 and status(got) == 0
        got = await call(client, 'Stream', b'!')
        assert messages(got.body) == [b'S0!', b'S1!', b'S2!'] and status(got) == 0, got.body
        got = await call(client, 'Count', *[b'y' * 1000] * 500)
        assert messages(got.body) == [b'C500000'] and status(got) == 0, got.body
        # Each message waits for the answer to the one before: nothing may be held back on the way.
        stream = begin(client, 'Both')
        got = client.stream(stream)
        for number in range(5):
            client.send(stream, framed(b'%d' % number))
            await client.until('an answer', lambda: len(messages(got.body)) == number + 1 or got.over)
            assert messages(got.body)[-1] == b'B%d' % number and not got.over, got.heads
        client.send(stream, b'', True)
        got = await client.answer(stream)
        assert status(got) == 0 and len(messages(got.body)) == 5, got.heads
        many = await asyncio.gather(*[call(client, 'Unary', b'%d' % number) for number in range(100)])
        assert all(messages(got.body) == [b'U%d' % number] for number, got in enumerate(many))
run(main)
"
        ),
    );
}

#[test]
fn failures_are_statuses_whoevers_they_are_and_deadlines_are_held() {
    let scene = scene_at(LISTENER, "");
    run(
        &scene.gateway,
        &format!(
            "{CALLS}
async def main():
    async with connected() as client:
        got = await call(client, 'Fails', b'')
        assert status(got) == 9 and got.fields()['grpc-message'] == 'not now, 50 %25', got.heads
        got = await call(client, 'None', b'')
        assert status(got) == 12, got.heads
run(main)
"
        ),
    );
    let (port, gate) = (Port::free(), Gate::new());
    let silent = Backend::held("silent", &gate);
    let gateway = start(&format!(
        "{}[[rules]]\npath_prefix = \"/test.Echo\"\nbackends = [{{ url = \"http://{}\", protocol = \"h2c\" }}]\n",
        rule("path = \"/test.Echo/Slow\"", &[&silent]),
        port.address()
    ));
    run(
        &gateway,
        &format!(
            "{CALLS}
async def main():
    async with connected() as client:
        got = await call(client, 'Unary', b'')
        assert status(got) == 14 and len(got.heads) == 1, got.heads
        assert 'refused' in got.fields()['grpc-message'], got.heads
        stream = client.open('POST', '/elsewhere', fields=[('content-type', 'application/grpc')], body=framed(b''))
        got = await client.answer(stream)
        assert status(got) == 12, got.heads
        got = await call(client, 'Slow', b'', fields=[('grpc-timeout', '200m')])
        assert status(got) == 4, got.heads
run(main)
"
        ),
    );
    let line = gateway.log_line("the call is logged", |line| line["status_code"] == 504);
    assert_eq!(line["path"], "/test.Echo/Slow");
    gate.open();
}
