//! `gatewayd explain` and `/api/explain`: what would become of a request, and why.

mod text;

use std::net::{IpAddr, Ipv4Addr};

use http::Method;
use lb_config::Places;
use lb_http::{Arrival, Explanation, Question};
use serde::{Deserialize, Serialize};

pub(crate) use self::text::text;
use crate::exit::{self, Failure};
use crate::{Outcome, cli, operate, run};

/// What a URL of a TCP listener begins with.
const TCP: &str = "tcp://";

/// What `/api/explain` is asked with.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(default = "get")]
    method: String,
    /// Of a request, or `tcp://` and a TCP listener's address or name.
    url: String,
    /// Names and values.
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// Who is connected; by default who asks.
    from: Option<IpAddr>,
    /// To which listener, of a request to a forward proxy.
    listener: Option<String>,
    /// Whom the connection's PROXY header names.
    proxied_for: Option<IpAddr>,
    /// The name that the TLS of a connection to a TCP listener asks for.
    sni: Option<String>,
    /// The request comes from a client that has the gateway for its proxy, as CONNECT always does.
    #[serde(default)]
    proxy: bool,
    /// Addresses that the name leads to which a forward proxy is asked for.
    #[serde(default)]
    leads_to: Vec<IpAddr>,
    /// Who asks a forward proxy that has `users`.
    proxy_user: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Asked {
    /// From a query: `method=GET&url=…&header=Name: value&from=…`.
    pub(crate) fn of_query(query: &str) -> Result<Self, String> {
        let mut asked = Self {
            method: get(),
            url: String::new(),
            headers: Vec::new(),
            from: None,
            listener: None,
            proxied_for: None,
            sni: None,
            proxy: false,
            leads_to: Vec::new(),
            proxy_user: None,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let address = || value.parse::<IpAddr>().map_err(|_| format!("{value:?} is no address"));
            match &*name {
                "method" => asked.method = value.into_owned(),
                "url" => asked.url = value.into_owned(),
                "header" => asked.headers.push(field(&value)?),
                "from" => asked.from = Some(address()?),
                "listener" => asked.listener = Some(value.into_owned()),
                "proxied_for" => asked.proxied_for = Some(address()?),
                "sni" => asked.sni = Some(value.into_owned()),
                "proxy" => asked.proxy = matches!(&*value, "" | "1" | "true"),
                "leads_to" => asked.leads_to.push(address()?),
                "proxy_user" => asked.proxy_user = Some(value.into_owned()),
                _ => {
                    return Err(format!(
                        "there is no parameter {name:?}: method, url, header, from, listener, proxied_for, sni, proxy, leads_to, proxy_user"
                    ));
                }
            }
        }
        if asked.url.is_empty() {
            return Err("`url` is missing, such as ?url=http://example.com/path".to_owned());
        }
        Ok(asked)
    }

    pub(crate) fn question(self, peer: IpAddr) -> Result<Question, String> {
        let peer = self.from.unwrap_or(peer);
        if let Some(address) = self.url.strip_prefix(TCP) {
            let listener = Some(address.trim_end_matches('/').to_owned());
            return Ok(Question::connection(
                Arrival { listener, peer, proxied_for: self.proxied_for },
                self.sni,
            ));
        }
        if self.sni.is_some() {
            return Err("`sni` is asked of TCP listeners: tcp://ADDRESS".to_owned());
        }
        if self.proxy || self.method == "CONNECT" {
            let arrival = Arrival { listener: self.listener, peer, proxied_for: self.proxied_for };
            let Self { method, url, headers, leads_to, proxy_user, .. } = self;
            return Question::proxied(&method, &url, headers, arrival, leads_to, proxy_user);
        }
        let is_proxied = self.proxy_user.is_some() || !self.leads_to.is_empty();
        if self.listener.is_some() || self.proxied_for.is_some() || is_proxied {
            return Err(
                "rules are the same at every listener: `listener`, `proxied_for`, `leads_to` and `proxy_user` are of TCP listeners and forward proxies (CONNECT, or `proxy`)"
                    .to_owned(),
            );
        }
        Question::request(&self.method, &self.url, self.headers, peer)
    }
}

/// Puts file and line to each rule, and to what else has a key.
pub(crate) fn placed(mut explanation: Explanation, places: &Places) -> Explanation {
    let place = |key: &str| places.listener(key).map(str::to_owned);
    let listener = match &mut explanation {
        Explanation::Request(explained) => {
            let pages = explained.path.clone().filter(|path| lb_admin::is_status_path(path));
            match pages.filter(|_| !explained.status_listeners.is_empty()) {
                Some(path) => {
                    let at = explained.status_listeners.join(", ");
                    explained.answer +=
                        &format!("; at {at} it is the page {path}, ahead of the rules (`status_endpoints`)");
                }
                None => explained.status_listeners.clear(),
            }
            for (index, rule) in explained.rules.iter_mut().enumerate() {
                rule.place = places.rule(index);
            }
            None
        }
        Explanation::Proxied(explained) => {
            for check in &mut explained.checks {
                check.place = check.key.as_deref().and_then(place);
            }
            explained.listener.as_mut()
        }
        Explanation::Connection(explained) => {
            for name in &mut explained.names {
                name.place = place(&name.key);
            }
            explained.listener.as_mut()
        }
    };
    if let Some(listener) = listener {
        listener.place = place(&listener.key);
    }
    explanation
}

/// `gatewayd explain`: from a file with every backend healthy and idle, or with `--live` as a running gateway stands.
pub(crate) fn explain(args: &cli::Explain) -> Outcome {
    let headers = args.header.iter().map(|text| field(text)).collect::<Result<Vec<_>, _>>();
    let headers = headers.map_err(Failure::Usage)?;
    let (method, url) = match (&args.what, &args.url) {
        (method, Some(url)) => (method.clone(), url.clone()),
        (url, None) if url.contains('/') => (get(), url.clone()),
        (method, None) => {
            return Err(Failure::Usage(format!(
                "{method} of which URL? gatewayd explain {method} http://example.com/"
            )));
        }
    };
    let asked = Asked {
        method,
        url,
        headers,
        from: args.from,
        listener: args.listener.clone(),
        proxied_for: args.proxied_for,
        sni: args.sni.clone(),
        proxy: args.proxy,
        leads_to: args.leads_to.clone(),
        proxy_user: args.proxy_user.clone(),
    };
    if args.live || args.admin.is_named() {
        let asked = serde_json::to_value(&asked).map_err(anyhow::Error::from)?;
        let document = operate::ask(&args.admin, Method::POST, "/api/explain", Some(&asked), "text")?;
        match args.json {
            true => exit::print(&document.to_string()),
            false => exit::print(document.get("text").and_then(|text| text.as_str()).unwrap_or_default()),
        }
        return Ok(());
    }
    let question = asked.question(IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(Failure::Usage)?;
    let path = args
        .config
        .clone()
        .or_else(lb_config::find_config)
        .ok_or_else(|| run::no_file("name one with `-c FILE`, or ask a running gateway with `--live`"))?;
    let loaded = run::load(path, args.strategy.as_deref())?;
    let explained = lb_http::explain(&loaded.config, &question).map_err(Failure::from)?;
    let explained = placed(explained, &loaded.places);
    match args.json {
        true => exit::print(&serde_json::to_string(&explained).map_err(anyhow::Error::from)?),
        false => exit::print(text(&explained).trim_end()),
    }
    Ok(())
}

/// `Name: value`.
fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?} is no header: Name: value"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
