//! gRPC through the gateway: grpcio from PyPI on both sides, all four kinds of call, failures and deadlines.

use std::path::{Path, PathBuf};
use std::process::Command;

use lb_testkit::{Gateway, PATIENCE, Port, Process, eventually};
use serde_json::Value;

use super::frames::{HEADERS, Peer, block};
use crate::support::{gateway, launch};

/// Python with grpcio, in an environment of the tests' own.
fn python() -> PathBuf {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("grpc");
    let python = environment.join("bin/python");
    let has_it = || {
        let import = Command::new(&python).args(["-c", "import grpc"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    if !has_it() {
        let environment = environment.display();
        let line = format!(
            "flock '{environment}.lock' sh -c \"'{environment}/bin/python' -c 'import grpc' 2>/dev/null || \
             python3 -m venv '{environment}' && '{environment}/bin/pip' install --quiet grpcio\""
        );
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }
    python
}

/// Answers in bytes: `U` unary, `S` three of a kind, `C` how many came, `B` each one back.
const SERVER: &str = r#"
import sys, time, grpc
from concurrent import futures

def unary(request, context):
    context.send_initial_metadata((('x-initial', '1'),))
    context.set_trailing_metadata((('x-trailing', '2'),))
    return b'U' + request

def fails(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'not now, 50 %')

def slow(request, context):
    time.sleep(5)
    return b'late'

def stream(request, context):
    for number in range(3):
        yield b'S%d' % number + request

def count(requests, context):
    return b'C%d' % sum(len(request) for request in requests)

def both(requests, context):
    for request in requests:
        yield b'B' + request

# grpc.health.v1: `status` is field 1, SERVING 1 and NOT_SERVING 2.
def check(request, context):
    return b'\x08\x02' if b'sick' in request else b'\x08\x01'

class Handler(grpc.GenericRpcHandler):
    def service(self, call):
        name = call.method.rsplit('/', 1)[1]
        kinds = {
            'Unary': grpc.unary_unary_rpc_method_handler(unary),
            'Check': grpc.unary_unary_rpc_method_handler(check),
            'Fails': grpc.unary_unary_rpc_method_handler(fails),
            'Slow': grpc.unary_unary_rpc_method_handler(slow),
            'Stream': grpc.unary_stream_rpc_method_handler(stream),
            'Count': grpc.stream_unary_rpc_method_handler(count),
            'Both': grpc.stream_stream_rpc_method_handler(both),
        }
        return kinds.get(name)

server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
server.add_generic_rpc_handlers((Handler(),))
server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import sys, json, queue, grpc
channel = grpc.insecure_channel(sys.argv[1])
unary, seen = channel.unary_unary('/test.Echo/Unary'), {}
reply, call = unary.with_call(b'hello', timeout=10)
seen['unary'] = reply.decode()
seen['initial'] = dict(call.initial_metadata()).get('x-initial')
seen['trailing'] = dict(call.trailing_metadata()).get('x-trailing')
seen['large'] = len(unary(b'x' * 3_000_000, timeout=10))
seen['stream'] = [piece.decode() for piece in channel.unary_stream('/test.Echo/Stream')(b'!', timeout=10)]
seen['count'] = channel.stream_unary('/test.Echo/Count')((b'y' * 1000 for _ in range(500)), timeout=10).decode()
# Each message waits for the answer to the one before: nothing may be held back on the way.
asks = queue.Queue()
answers = channel.stream_stream('/test.Echo/Both')(iter(asks.get, None), timeout=10)
seen['both'] = []
for number in range(5):
    asks.put(b'%d' % number)
    seen['both'].append(next(answers).decode())
asks.put(None)
seen['both_rest'] = len(list(answers))
def failure(method, timeout=10):
    try:
        channel.unary_unary('/test.Echo/' + method)(b'', timeout=timeout)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
seen['fails'] = failure('Fails')
seen['none'] = failure('None')
seen['slow'] = failure('Slow', 0.5)[0]
many = [unary.future(b'%d' % number, timeout=10) for number in range(200)]
seen['many'] = sum(future.result() == b'U%d' % number for number, future in enumerate(many))
print(json.dumps(seen))
"#;

/// A grpcio server and the gateway in front of it.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    _server: Process,
    _port: Port,
}

fn scene(more: &str) -> Scene {
    scene_at("", more)
}

/// The same at these listeners.
pub(crate) fn scene_at(listeners: &str, more: &str) -> Scene {
    let port = Port::free();
    let server = Process::spawn(Command::new(python()).args(["-c", SERVER]).arg(port.address().to_string()));
    eventually("the server listens", PATIENCE, || std::net::TcpStream::connect(port.address()).is_ok());
    let config = format!(
        "[access_log]\nenabled = true\n{listeners}[[rules]]\nbackends = [{{ url = \"http://{}\", protocol = \"h2c\" }}]\n{more}",
        port.address()
    );
    Scene { gateway: launch().config(&config).start(), _server: server, _port: port }
}

#[test]
fn all_four_kinds_of_call_pass_with_metadata_failures_and_deadlines() {
    let scene = scene("");
    let output = Command::new(python())
        .args(["-c", CLIENT])
        .arg(scene.gateway.address().to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["unary"], "Uhello");
    assert_eq!((&seen["initial"], &seen["trailing"]), (&"1".into(), &"2".into()), "{seen}");
    assert_eq!(seen["large"], 3_000_001);
    assert_eq!(seen["stream"], serde_json::json!(["S0!", "S1!", "S2!"]));
    assert_eq!(seen["count"], "C500000");
    assert_eq!(seen["both"], serde_json::json!(["B0", "B1", "B2", "B3", "B4"]));
    assert_eq!(seen["fails"], serde_json::json!(["FAILED_PRECONDITION", "not now, 50 %"]));
    assert_eq!(seen["none"][0], "UNIMPLEMENTED");
    assert_eq!(seen["slow"], "DEADLINE_EXCEEDED");
    assert_eq!(seen["many"], 200);
}

/// One call by the frame, whose deadline the client itself does not look at.
fn call(gateway: &Gateway, timeout: &str) -> (Vec<u8>, bool) {
    let mut peer = Peer::connect(gateway.address());
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/test.Echo/Slow"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", timeout),
    ];
    peer.send(HEADERS, super::frames::END_HEADERS, 1, &block(&fields));
    peer.send(super::frames::DATA, super::frames::END_STREAM, 1, &[0; 5]);
    let answer = peer.until("an answer", |frame| frame.stream == 1 && frame.kind == HEADERS);
    let ends = answer.ends_stream();
    (answer.payload, ends)
}

#[test]
fn a_probe_of_grpc_asks_for_the_health_of_a_service() {
    for (service, is_well) in [("well", true), ("sick", false)] {
        let scene = scene(&format!(
            "health_check = {{ type = \"grpc\", service = \"{service}\", interval = \"100ms\" }}\n"
        ));
        let unhealthy = || scene.gateway.log().into_iter().filter(|line| line["healthy"] == false);
        if is_well {
            std::thread::sleep(std::time::Duration::from_secs(1));
            assert_eq!(unhealthy().count(), 0, "{:?}", scene.gateway.log());
        } else {
            eventually("it is out", PATIENCE, || unhealthy().count() == 1);
            let line = unhealthy().next().unwrap();
            assert!(line["error"].as_str().is_some_and(|error| error.contains("serving status 2")), "{line}");
        }
    }
}

#[test]
fn a_calls_deadline_is_held_by_the_gateway_and_blames_no_backend() {
    // Else the server might be the first to say so.
    let scene = scene("request_headers = { remove = [\"grpc-timeout\"] }\n");
    let (head, ends) = call(&scene.gateway, "200m");
    assert_eq!((head.first(), ends), (Some(&0x88), true), "200, and trailers alone: {head:?}");
    let line = scene.gateway.log_line("the call is logged", |line| line["status_code"] == 504);
    assert_eq!(line["path"], "/test.Echo/Slow");
}

#[test]
fn failures_of_the_gateways_own_are_statuses_of_grpc() {
    let port = Port::free();
    let gateway = gateway(&format!(
        "[[rules]]\nbackends = [{{ url = \"http://{}\", protocol = \"h2c\" }}]\n",
        port.address()
    ));
    let script = "
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
try:
    channel.unary_unary('/test.Echo/Unary')(b'', timeout=10)
except grpc.RpcError as error:
    print(error.code().name, error.details())
";
    let output =
        Command::new(python()).args(["-c", script]).arg(gateway.address().to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "UNAVAILABLE the server behind this gateway refused the connection");
}
