//! Groups of backends and how one of them is chosen.

use std::fmt;

use serde::Deserialize as Derive;
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::health::{CircuitBreaker, HealthCheck, Passive, Queue, Retries};
use super::values::{At, List, Names, Shorthand, Size, SwitchOr, Time, WordOr, Words};

/// `[upstreams.NAME]`.
#[derive(Debug, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    pub(crate) load_balancing: Option<At<WordOr<Balancing>>>,
    pub(crate) backends: Option<At<List<WordOr<Backend>>>>,
    pub(crate) discover: Option<At<Discover>>,
    pub(crate) health_check: Option<At<SwitchOr<HealthCheck>>>,
    pub(crate) passive: Option<At<SwitchOr<Passive>>>,
    pub(crate) circuit_breaker: Option<At<SwitchOr<CircuitBreaker>>>,
    pub(crate) retries: Option<At<Retries>>,
    pub(crate) queue: Option<At<Queue>>,
    pub(crate) panic_threshold: Option<At<f64>>,
    /// How long a backend that comes back, or is new after a reload, takes to reach its share.
    pub(crate) slow_start: Option<At<Time>>,
    /// For those of its backends that are reached by `https`.
    pub(crate) tls: Option<At<BackendTls>>,
    pub(crate) subset: Option<At<Subset>>,
    /// Of those of its backends that say nothing of it.
    pub(crate) protocol: Option<At<Protocol>>,
    /// The same.
    pub(crate) http2: Option<At<BackendHttp2>>,
    /// The same.
    pub(crate) proxy_protocol: Option<At<ProxyVersion>>,
}

/// Where backends are listed that come and go while the gateway runs. Each place that is named is followed.
#[derive(Debug, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discover {
    /// A file that lists backends, looked at twice a second.
    pub(crate) file: Option<At<String>>,
    /// `name:port`: every address of the name is a backend.
    pub(crate) dns: Option<At<String>>,
    /// The name of a service, whose SRV records are backends.
    pub(crate) dns_srv: Option<At<String>>,
    /// URLs of etcd, whose keys under `prefix` hold backends.
    pub(crate) etcd: Option<At<Words>>,
    pub(crate) prefix: Option<At<String>>,
    /// How an `https` etcd is believed.
    pub(crate) tls: Option<At<BackendTls>>,
    /// Who etcd is asked as, where it has users.
    pub(crate) user: Option<At<String>>,
    /// That user's password: a placeholder such as `file:/run/secrets/etcd`.
    pub(crate) password: Option<At<String>>,
    /// The socket of Docker, whose containers are backends by their labels.
    pub(crate) docker: Option<At<String>>,
    /// Whether backends register themselves at the admin API.
    pub(crate) api: Option<At<bool>>,
    /// How those of DNS are reached.
    pub(crate) scheme: Option<At<Scheme>>,
    /// Who is asked in place of the system's resolvers.
    pub(crate) resolver: Option<At<String>>,
    pub(crate) min_ttl: Option<At<Time>>,
    pub(crate) max_ttl: Option<At<Time>>,
    /// How long the last good answer stays while the answer is that there is nobody.
    pub(crate) keep: Option<At<Time>>,
    /// Backends of one place at most.
    pub(crate) max_members: Option<At<u32>>,
}

/// How a backend is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Derive)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    Http,
    Https,
    Tcp,
    Tls,
}

/// Which version of the PROXY protocol connections to a backend begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Derive)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyVersion {
    V1,
    V2,
    None,
}

/// Which HTTP a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Derive)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Auto,
    H1,
    H2,
    H2c,
}

/// Bounds on HTTP/2 to a backend.
#[derive(Debug, Clone, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendHttp2 {
    /// Streams at once on one connection; by default as many as the backend takes.
    pub(crate) max_concurrent_streams: Option<At<u32>>,
    /// Bytes of a stream's body that may be under way to us or wait here for its client, and of all streams' that may be under way.
    pub(crate) stream_window: Option<At<Size>>,
    pub(crate) connection_window: Option<At<Size>>,
    pub(crate) max_frame_size: Option<At<Size>>,
    /// Bytes of an answer's fields, unpacked, each with 32 more (RFC 9113 §6.5.2).
    pub(crate) max_header_size: Option<At<Size>>,
    /// Whether a connection that is silent is asked for a sign of life, by a PING, and when.
    pub(crate) ping: Option<At<SwitchOr<Ping>>>,
}

/// When a silent connection of HTTP/2 is asked for a sign of life.
#[derive(Debug, Clone, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ping {
    /// How long nothing may come while requests are under way, before it is asked.
    pub(crate) interval: Option<Time>,
    /// How long nothing may come then, before the connection is over.
    pub(crate) timeout: Option<Time>,
}

/// Which of the backends this gateway uses, of a fleet of gateways that together use all.
#[derive(Debug, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subset {
    /// Backends this gateway uses.
    pub(crate) size: Option<At<u32>>,
    /// This gateway's number in its fleet, from 0.
    pub(crate) client: Option<u32>,
}

/// One member.
#[derive(Debug, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct Backend {
    pub(crate) url: Option<At<String>>,
    pub(crate) weight: Option<At<f64>>,
    pub(crate) max_connections: Option<At<u32>>,
    pub(crate) timeout: Option<Time>,
    pub(crate) backup: Option<bool>,
    pub(crate) health_check_path: Option<At<String>>,
    pub(crate) health_check_interval: Option<Time>,
    pub(crate) tls: Option<At<BackendTls>>,
    pub(crate) protocol: Option<At<Protocol>>,
    pub(crate) http2: Option<At<BackendHttp2>>,
    pub(crate) proxy_protocol: Option<At<ProxyVersion>>,
}

impl Shorthand for Backend {
    const EXPECTED: &'static str = "a URL, or a table with `url`";
}

/// How an `https` backend is believed.
#[derive(Debug, Default, Derive)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendTls {
    pub(crate) ca: Option<At<String>>,
    pub(crate) client_cert: Option<At<String>>,
    pub(crate) client_key: Option<At<String>>,
    pub(crate) server_name: Option<At<String>>,
    /// SHA-256 of the public key; several, where a key is about to be changed.
    pub(crate) pin: Option<At<Words>>,
    pub(crate) insecure_skip_verify: Option<At<bool>>,
}

/// `{ strategy = "…", … }`: which options there are is the strategy's to say.
#[derive(Debug, Default)]
pub(crate) struct Balancing {
    pub(crate) strategy: Option<At<String>>,
    pub(crate) options: Vec<(String, At<Scalar>)>,
}

impl Shorthand for Balancing {
    const EXPECTED: &'static str = "the name of a strategy, or a table with `strategy`";
}

impl<'de> Deserialize<'de> for Balancing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Names(written) = Names::<Scalar>::deserialize(deserializer)?;
        let mut balancing = Self::default();
        for (key, option) in written {
            match option.value {
                Scalar::String(name) if key == "strategy" => {
                    balancing.strategy = Some(At { id: option.id, value: name });
                }
                value => balancing.options.push((key, At { id: option.id, value })),
            }
        }
        Ok(balancing)
    }
}

/// The value of a strategy's option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Integer(i64),
    Float(f64),
    String(String),
    Bool(bool),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word, a number or a switch")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(value))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar::Float(value))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::String(value.to_owned()))
            }
        }

        deserializer.deserialize_any(ScalarVisitor)
    }
}
