//! `stream`: servers whose connections are passed on as they are.

use super::syntax::Directive;
use super::upstream::Upstreams;
use super::{Translation, at, time};
use crate::document::{Table, slug};

impl Translation {
    pub(super) fn stream(&mut self, stream: &Directive) {
        self.report.converted(&stream.place, "listeners with protocol = \"tcp\"");
        let mut upstreams = Upstreams::default();
        for directive in stream.children() {
            match directive.name() {
                "upstream" => upstreams.learn(directive, &mut self.report),
                "server" => {}
                _ => self.report.leave_out(&directive.place, "has no counterpart"),
            }
        }
        for server in stream.children().iter().filter(|it| it.name() == "server") {
            self.stream_server(server, &mut upstreams);
        }
    }

    fn stream_server(&mut self, server: &Directive, upstreams: &mut Upstreams) {
        let find = |name: &str| server.children().iter().find(|it| it.name() == name);
        let (Some(listen), Some(target)) = (find("listen"), find("proxy_pass")) else {
            return self.report.leave_out(&server.place, "it has no listen and proxy_pass");
        };
        let address = listen.argument();
        let address = match address.bytes().all(|byte| byte.is_ascii_digit()) {
            true => format!("0.0.0.0:{address}"),
            false => address.replace("*:", "0.0.0.0:"),
        };
        let is_other = listen.arguments().iter().any(|word| word == "udp" || word == "ssl");
        if address.parse::<std::net::SocketAddr>().is_err() || is_other {
            let note = "a listener of this kind is at an address of TCP, in the clear";
            return self.report.leave_out(&listen.place, note);
        }
        if target.argument().contains('$') || target.argument().starts_with("unix:") {
            let note = "an upstream by a variable has no counterpart here; see `sni` of listeners";
            return self.report.leave_out(&target.place, note);
        }
        let upstream = upstreams.name(target.argument(), "tcp", true, &mut self.document);
        let mut listener = Table::new("[[listeners]]", at(server));
        listener.set("name", slug(&address));
        listener.set("address", address.as_str());
        listener.set("protocol", "tcp");
        listener.set("upstream", upstream.as_str());
        self.report.converted(&listen.place, format!("a listener at {address}"));
        self.report.converted(&target.place, format!("upstream {upstream}"));
        for directive in server.children() {
            let key = match directive.name() {
                "listen" | "proxy_pass" => continue,
                "proxy_timeout" => "idle_timeout",
                "proxy_connect_timeout" => "connect_timeout",
                _ => {
                    self.report.leave_out(&directive.place, "has no counterpart");
                    continue;
                }
            };
            if let Some(time) = time(directive.argument()) {
                listener.set(key, time);
            }
            self.report.converted(&directive.place, key);
        }
        self.document.listeners.push(listener);
    }
}
