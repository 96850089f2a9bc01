//! Pingora doing the gateway's work: one thread, three origins in turn, forwarded fields and a generated request id.
//!
//! `pingora PORT ORIGIN_PORT…`

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Gateway {
    origins: Vec<String>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// The request id.
    type CTX = String;

    fn new_ctx(&self) -> String {
        format!("{:032x}", fastrand::u128(..))
    }

    async fn upstream_peer(&self, _session: &mut Session, _id: &mut String) -> Result<Box<HttpPeer>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.origins.len();
        Ok(Box::new(HttpPeer::new(self.origins[next].as_str(), false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        id: &mut String,
    ) -> Result<()> {
        if let Some(address) = session.client_addr().and_then(|address| address.as_inet()) {
            let address = address.ip().to_string();
            request.insert_header("X-Forwarded-For", address.as_str())?;
            request.insert_header("X-Real-IP", address)?;
        }
        if let Some(host) = request.headers.get(http::header::HOST).cloned() {
            request.insert_header("X-Forwarded-Host", host)?;
        }
        request.insert_header("X-Forwarded-Proto", "http")?;
        request.insert_header("X-Request-ID", id.as_str())
    }

    async fn response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        id: &mut String,
    ) -> Result<()> {
        response.insert_header("X-Request-ID", id.as_str())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((port, origins)) = arguments.split_first().filter(|(port, _)| port.parse::<u16>().is_ok()) else {
        println!("pingora-proxy {}", env!("CARGO_PKG_VERSION"));
        return;
    };
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let origins = origins.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let gateway = Gateway { origins, next: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&server.configuration, gateway);
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever();
}
