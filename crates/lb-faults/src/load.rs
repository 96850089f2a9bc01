//! A load that keeps to its schedule: each request is sent when it is due, whatever became of those before it.
//!
//! By HTTP/1.1, or by HTTP/2 on a few connections that all requests share; there clients that do not behave are left out.
//!
//! One thread does nothing but wake up when a request is due; another carries all of them, a task each, on connections that
//! are kept open as a browser keeps them. Latency is counted from when a request was due, so that none is hidden by its
//! being sent late; how late they were sent is recorded, and a load that fell behind says so in the report.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lb_testkit::{Authority, Http2};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::conduct::{CRAWL, Conduct, UPLOAD};
use crate::message::{Head, Wire, pattern};
use crate::record::{Method, Outcome, Record};
use crate::time::{in_micros, micros};

/// No request takes longer, or it is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections of HTTP/2, which all requests share.
const CONNECTIONS: usize = 4;
/// Whose certificates a load believes.
pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("Faults"));
/// The size of an usual answer, and of an upload.
const USUAL: (usize, usize) = (256, 60);

/// What is asked of a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: u32,
    pub(crate) time: Duration,
    /// Share of requests that are POST.
    pub(crate) post: f64,
    /// Share of requests that are PUT.
    pub(crate) put: f64,
    /// Share of clients that do not behave.
    pub(crate) unruly: f64,
    /// What they do instead.
    pub(crate) manners: &'static [Conduct],
}

/// Where a load goes, and how it is spoken there.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    pub(crate) address: SocketAddr,
    pub(crate) speech: Speech,
}

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Http1,
    /// By prior knowledge.
    Http2,
    /// What was agreed on by TLS.
    Http2Tls,
}

/// One request to come.
#[derive(Debug, Clone, Copy)]
struct Plan {
    id: u64,
    due: Instant,
    method: Method,
    conduct: Conduct,
}

/// A load under way; gives back its records when all answers are in.
pub(crate) struct Running(JoinHandle<Vec<Record>>);

impl Running {
    pub(crate) fn finish(self) -> Vec<Record> {
        self.0.join().expect("the load came to grief")
    }
}

impl Load {
    /// Begin. Requests are numbered from `first`; `seed` decides which is what.
    pub(crate) fn begin(self, aim: Aim, first: u64, seed: u64) -> Running {
        let plans = self.plans(Instant::now() + Duration::from_millis(20), first, seed);
        Running(std::thread::spawn(move || {
            let (due, plans_due) = mpsc::unbounded_channel();
            let pacer = std::thread::spawn(move || {
                for plan in plans {
                    std::thread::sleep(plan.due.saturating_duration_since(Instant::now()));
                    due.send(plan).ok();
                }
            });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let records = LocalSet::new().block_on(&runtime, carry(aim, plans_due));
            pacer.join().unwrap();
            records
        }))
    }

    /// How many requests it is.
    pub(crate) fn count(self) -> u64 {
        u64::from(self.rate) * in_micros(self.time) / 1_000_000
    }

    fn plans(self, start: Instant, first: u64, seed: u64) -> Vec<Plan> {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = |number: u64| {
            let conduct = match random.f64() < self.unruly {
                true => self.manners[random.usize(..self.manners.len())],
                false => Conduct::Whole,
            };
            let method = match random.f64() {
                _ if matches!(conduct, Conduct::HalfUpload | Conduct::Trickle) => Method::Post,
                _ if conduct.bytes().is_some() => Method::Get,
                dice if dice < self.post => Method::Post,
                dice if dice < self.post + self.put => Method::Put,
                _ => Method::Get,
            };
            let due = start + Duration::from_secs_f64(number as f64 / f64::from(self.rate));
            Plan { id: first + number, due, method, conduct }
        };
        (0..self.count()).map(plan).collect()
    }
}

type Pool = Rc<RefCell<Vec<Wire>>>;

async fn carry(aim: Aim, mut plans: mpsc::UnboundedReceiver<Plan>) -> Vec<Record> {
    let clients = Rc::new(Clients::of(&aim));
    let mut tasks = Vec::new();
    while let Some(plan) = plans.recv().await {
        let clients = Rc::clone(&clients);
        tasks.push(tokio::task::spawn_local(async move {
            let lag = plan.due.elapsed();
            let (outcome, backend) = match tokio::time::timeout(PATIENCE, clients.exchange(plan)).await {
                Ok(answered) => answered,
                Err(_) => (Outcome::Lost("no end after 30 s".to_owned()), None),
            };
            let latency = in_micros(plan.due.elapsed());
            Record {
                id: plan.id,
                method: plan.method,
                conduct: plan.conduct,
                due: micros() - latency,
                lag: in_micros(lag),
                latency,
                outcome,
                backend,
            }
        }));
    }
    let mut records = Vec::new();
    for task in tasks {
        records.push(task.await.unwrap());
    }
    records
}

/// Whoever sends the requests.
enum Clients {
    Http1(SocketAddr, Pool),
    Http2(Vec<Http2>),
}

impl Clients {
    fn of(aim: &Aim) -> Self {
        let authority = match aim.speech {
            Speech::Http1 => return Self::Http1(aim.address, Pool::default()),
            Speech::Http2 => None,
            Speech::Http2Tls => Some(&*AUTHORITY),
        };
        Self::Http2((0..CONNECTIONS).map(|_| Http2::new(aim.address, authority)).collect())
    }

    async fn exchange(&self, plan: Plan) -> (Outcome, Option<usize>) {
        match self {
            Self::Http1(address, pool) => exchange(*address, plan, pool).await,
            Self::Http2(clients) => {
                let client = &clients[usize::try_from(plan.id).unwrap_or(0) % clients.len()];
                exchange_http2(client, plan).await
            }
        }
    }
}

/// One request as a stream of a connection that others share.
async fn exchange_http2(client: &Http2, plan: Plan) -> (Outcome, Option<usize>) {
    let body = if plan.method == Method::Get { Vec::new() } else { pattern(plan.id, USUAL.1) };
    let target = format!("https://localhost/r/{}?bytes={}", plan.id, USUAL.0);
    let request = http::Request::builder().method(plan.method.name()).uri(target).body(body.into()).unwrap();
    let answer = match client.ask(&request).await {
        Ok(answer) => answer,
        Err(error) => return (Outcome::Lost(error.to_string()), None),
    };
    let field = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let backend = field("x-answered-by").and_then(|position| position.parse().ok());
    (judge(plan, answer.status().as_str(), field("x-answer-to"), answer.body()), backend)
}

/// One request from its sending to its end; also who answered.
async fn exchange(address: SocketAddr, plan: Plan, pool: &Pool) -> (Outcome, Option<usize>) {
    let pooled = if plan.conduct == Conduct::Whole { pool.borrow_mut().pop() } else { None };
    let mut wire = match pooled {
        Some(wire) => wire,
        None => match connect(address, plan.conduct).await {
            Ok(stream) => Wire::new(stream),
            Err(error) => return (Outcome::Lost(format!("no connection: {error}")), None),
        },
    };
    let head = head_of(plan);
    if !plan.conduct.is_patient() {
        // What it meets on the way out is of no interest.
        plan.conduct.leave(wire, &head, plan.id).await.ok();
        return (Outcome::Left, None);
    }
    let mut request = head.into_bytes();
    if plan.method != Method::Get {
        request.extend(pattern(plan.id, USUAL.1));
    }
    if let Err(error) = wire.send(&request).await {
        return (Outcome::Lost(format!("cannot send: {error}")), None);
    }
    let head = match wire.head().await {
        Ok(Some(head)) => head,
        Ok(None) => return (Outcome::Lost("closed without an answer".to_owned()), None),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return (Outcome::Wrong("a head that is none".to_owned()), None);
        }
        Err(error) => return (Outcome::Lost(format!("broken off before the end of a head: {error}")), None),
    };
    let body = match plan.conduct {
        Conduct::Crawl => crawl(&mut wire, &head).await,
        _ => wire.body(&head).await,
    };
    let backend = head.field("x-answered-by").and_then(|position| position.parse().ok());
    let outcome = match body {
        Ok(body) => judge(plan, head.word(1), head.field("x-answer-to"), &body),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Outcome::Wrong("a body that is none".to_owned())
        }
        Err(_) => Outcome::Cut,
    };
    let stays = !head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if stays && plan.conduct == Conduct::Whole && !matches!(outcome, Outcome::Cut | Outcome::Wrong(_)) {
        pool.borrow_mut().push(wire);
    }
    (outcome, backend)
}

fn head_of(plan: Plan) -> String {
    let (bytes, upload) = USUAL;
    let bytes = plan.conduct.bytes().unwrap_or(bytes);
    let length = match (plan.method, plan.conduct) {
        (Method::Get, _) => String::new(),
        (_, Conduct::HalfUpload | Conduct::Trickle) => format!("Content-Length: {UPLOAD}\r\n"),
        _ => format!("Content-Length: {upload}\r\n"),
    };
    let method = plan.method.name();
    format!("{method} /r/{}?bytes={bytes} HTTP/1.1\r\nHost: faults.test\r\n{length}\r\n", plan.id)
}

async fn connect(address: SocketAddr, conduct: Conduct) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    if matches!(conduct, Conduct::Crawl | Conduct::Dawdle) {
        // The window that is announced follows from it.
        socket.set_recv_buffer_size(16 << 10)?;
    }
    socket.connect(address).await
}

/// Read a body with a length a little at a time.
async fn crawl(wire: &mut Wire, head: &Head) -> std::io::Result<Vec<u8>> {
    let Some(length) = head.field("content-length").and_then(|length| length.parse().ok()) else {
        return wire.body(head).await;
    };
    let mut body: Vec<u8> = Vec::new();
    while body.len() < length {
        body.extend(wire.exact(CRAWL.0.min(length - body.len())).await?);
        tokio::time::sleep(CRAWL.1).await;
    }
    Ok(body)
}

/// Whether this is the answer to that request, or an error that says what it is.
fn judge(plan: Plan, status: &str, answer_to: Option<&str>, body: &[u8]) -> Outcome {
    match (answer_to, status) {
        (Some(id), "200") => {
            let bytes = plan.conduct.bytes().unwrap_or(USUAL.0);
            match id == plan.id.to_string() && body == pattern(plan.id, bytes) {
                true => Outcome::Right,
                false => Outcome::Wrong(format!("the answer to {id}, {} bytes", body.len())),
            }
        }
        (Some(_), _) => Outcome::Honest(format!("backend's {status}")),
        (None, _) if status.starts_with('5') || status == "408" => {
            let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            match document["code"].as_str() {
                Some(code) => Outcome::Honest(format!("{status} {code}")),
                None => Outcome::Wrong(format!("{status} without a reason")),
            }
        }
        (None, _) => Outcome::Wrong(format!("{status} from nobody")),
    }
}
