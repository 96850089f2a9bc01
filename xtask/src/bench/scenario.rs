//! The scenarios: what is asked for, how often, and what to reach. A new row is measured, tabled and drawn like the others.

use anyhow::{Result, bail};

use super::extra::{self, ExtraInfo};

/// One kind of load.
pub(crate) struct Scenario {
    /// As given to `--scenario`.
    pub(crate) name: &'static str,
    /// One line for tables.
    pub(crate) summary: &'static str,
    /// What the origin is asked for.
    pub(crate) path: &'static str,
    /// Fields beside Host.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// What is sent with it.
    pub(crate) upload: Upload,
    /// Least bytes of a complete answer's body, to see that answers are whole.
    pub(crate) answer_bytes: u64,
    /// Connections of the load generator.
    pub(crate) connections: u32,
    /// How clients speak to the proxy.
    pub(crate) transport: Transport,
    /// Processor time a request to reach, as a ratio to nginx.
    pub(crate) goal: Option<f64>,
    /// Whether `cargo xtask bench proxy` runs it.
    pub(crate) first: bool,
}

/// A request's body.
#[derive(Clone, Copy)]
pub(crate) enum Upload {
    /// None: GET.
    None,
    /// POST with Content-Length.
    Bytes(u32),
    /// POST with Transfer-Encoding: chunked.
    Chunks { chunk_bytes: u32, count: u32 },
}

/// What is between client and proxy. By TLS everyone has the same certificate, version 1.3 and cipher suite.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// TCP.
    Clear,
    /// TLS; who comes again resumes its session.
    Tls,
    /// TLS; every connection makes a full handshake, one connection after the other.
    TlsAnew,
    /// HTTP/2 by TLS, several requests on a connection at a time; HTTP/1.1 to the origins.
    Http2,
    /// gRPC: HTTP/2 in the clear, to the origins too.
    Grpc,
    /// TCP that the proxy passes on without a look at the HTTP in it.
    Tcp,
}

impl Transport {
    /// The folder of `benches/peers/` whose settings listen so.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Clear => "",
            Self::Tls | Self::TlsAnew | Self::Http2 => "tls",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

const KIB: u32 = 1024;

/// What the others are changed from: a bare GET for 1 KiB on 64 kept connections.
pub(crate) const BASE: Scenario = Scenario {
    name: "1k",
    summary: "1 KiB, keep-alive",
    path: "/1k",
    headers: &[],
    upload: Upload::None,
    answer_bytes: 1024,
    connections: 64,
    transport: Transport::Clear,
    goal: Some(0.90),
    first: true,
};

/// Ten fields and about 700 bytes, as a browser sends for a page's resource; Host is the tenth.
const BROWSER_HEADERS: &[(&str, &str)] = &[
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.8,de;q=0.6,fr;q=0.4"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://shop.example.com/catalogue/garden/tools?page=4&sort=price&order=asc"),
    (
        "Cookie",
        "session=6f1c2d0e9b8a47c5a3f2e1d0c9b8a7f6; theme=dark; consent=functional%2Canalytics; basket=eyJpdGVtcyI6W119; \
         visit=1763659200.4; region=eu-west; experiment=checkout-b",
    ),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Priority", "u=0, i"),
];

/// Every scenario, in the order of tables.
pub(crate) const ALL: &[Scenario] = &[
    BASE,
    Scenario {
        name: "browser",
        summary: "1 KiB, a browser's head (10 fields, 700 B)",
        headers: BROWSER_HEADERS,
        goal: Some(0.95),
        ..BASE
    },
    Scenario {
        name: "64k",
        summary: "64 KiB answers",
        path: "/64k",
        answer_bytes: 65_536,
        goal: Some(0.90),
        first: false,
        ..BASE
    },
    Scenario {
        name: "1m",
        summary: "1 MiB answers",
        path: "/1m",
        answer_bytes: 1_048_576,
        goal: Some(0.60),
        first: false,
        ..BASE
    },
    Scenario { name: "post-1k", summary: "POST of 1 KiB", goal: Some(0.80), ..upload(Upload::Bytes(KIB)) },
    Scenario {
        name: "post-64k",
        summary: "POST of 64 KiB",
        goal: Some(0.80),
        ..upload(Upload::Bytes(64 * KIB))
    },
    Scenario {
        name: "post-1m",
        summary: "POST of 1 MiB",
        goal: Some(0.80),
        ..upload(Upload::Bytes(1024 * KIB))
    },
    Scenario {
        name: "post-chunked",
        summary: "POST of 64 KiB in 16 chunks",
        goal: Some(0.80),
        ..upload(Upload::Chunks { chunk_bytes: 4 * KIB, count: 16 })
    },
    Scenario {
        name: "conn-per-request",
        summary: "1 KiB, a connection a request",
        headers: &[("Connection", "close")],
        goal: Some(1.0),
        first: false,
        ..BASE
    },
    Scenario { name: "tls-1k", summary: "1 KiB by TLS 1.3, keep-alive", goal: Some(1.0), ..TLS },
    Scenario {
        name: "tls-64k",
        summary: "64 KiB answers by TLS 1.3",
        path: "/64k",
        answer_bytes: 65_536,
        goal: Some(1.0),
        ..TLS
    },
    Scenario {
        name: "tls-handshake",
        summary: "1 KiB by TLS 1.3, a resumed session a request",
        headers: &[("Connection", "close")],
        goal: Some(1.0),
        ..TLS
    },
    Scenario {
        name: "tls-full-handshake",
        summary: "1 KiB by TLS 1.3, a full handshake a request",
        transport: Transport::TlsAnew,
        connections: 1,
        goal: Some(1.0),
        ..TLS
    },
    Scenario {
        name: "h2-1k",
        summary: "1 KiB by HTTP/2 over TLS 1.3, 8 streams on each of 16 connections",
        transport: Transport::Http2,
        connections: 16,
        goal: Some(0.80),
        ..TLS
    },
    Scenario {
        name: "h2-64k",
        summary: "64 KiB answers by HTTP/2 over TLS 1.3, 8 streams on each of 16 connections",
        path: "/64k",
        answer_bytes: 65_536,
        transport: Transport::Http2,
        connections: 16,
        goal: Some(0.80),
        ..TLS
    },
    Scenario {
        name: "grpc",
        summary: "gRPC unary calls of 64 bytes each way, 8 streams on each of 16 connections",
        path: "/bench.Echo/Say",
        headers: &[("content-type", "application/grpc"), ("te", "trailers")],
        upload: Upload::Bytes(69),
        answer_bytes: 69,
        transport: Transport::Grpc,
        connections: 16,
        goal: Some(0.80),
        ..TLS
    },
    Scenario { name: "tcp-1k", summary: "TCP passed on: 1 KiB, 64 connections", ..TCP },
    Scenario {
        name: "tcp-1m",
        summary: "TCP passed on: 1 MiB answers",
        path: "/1m",
        answer_bytes: 1_048_576,
        ..TCP
    },
    Scenario {
        name: "tcp-connect",
        summary: "TCP passed on: 1 KiB, a connection a request",
        headers: &[("Connection", "close")],
        ..TCP
    },
];

const TCP: Scenario = Scenario { transport: Transport::Tcp, first: false, goal: Some(1.0), ..BASE };

const TLS: Scenario = Scenario { transport: Transport::Tls, first: false, ..BASE };

const fn upload(upload: Upload) -> Scenario {
    Scenario { path: "/upload", upload, answer_bytes: 1, first: false, ..BASE }
}

/// The row of a name.
pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// The named scenarios and extra measurements, or those of the benchmark where none is named.
pub(crate) fn select(
    names: &[String],
    only_first: bool,
) -> Result<(Vec<&'static Scenario>, Vec<&'static ExtraInfo>)> {
    if names.is_empty() {
        let scenarios = ALL.iter().filter(|scenario| scenario.first || !only_first).collect();
        let extras = extra::ALL.iter().filter(|extra| extra.usual && !only_first).collect();
        return Ok((scenarios, extras));
    }
    if let Some(name) = names.iter().find(|name| find(name).is_none() && extra::find(name).is_none()) {
        let known = ALL.iter().map(|scenario| scenario.name).chain(extra::ALL.iter().map(|extra| extra.name));
        bail!("no scenario `{name}`; there are {}", known.collect::<Vec<_>>().join(", "));
    }
    let scenarios = names.iter().filter_map(|name| find(name)).collect();
    Ok((scenarios, names.iter().filter_map(|name| extra::find(name)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        names.extend(extra::ALL.iter().map(|extra| extra.name));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }

    #[test]
    fn the_browser_head_has_ten_fields_and_about_700_bytes() {
        let bytes: usize = BROWSER_HEADERS.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let head = bytes + "GET /1k HTTP/1.1\r\nHost: 127.0.0.1:20000\r\n\r\n".len();
        assert_eq!(BROWSER_HEADERS.len() + 1, 10);
        assert!((650..750).contains(&head), "{head} bytes");
    }

    #[test]
    fn an_unknown_scenario_is_refused_by_name() {
        let error = select(&["2k".to_owned()], true).err().unwrap().to_string();
        assert!(error.contains("`2k`") && error.contains("browser"), "{error}");
    }
}
