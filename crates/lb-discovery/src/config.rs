//! What is followed, as plain and valid data.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::http::Peer;

/// The sources of one upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSources {
    /// Its name.
    pub upstream: String,
    /// Where its members are listed; together they are its members.
    pub sources: Vec<SourceConfig>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Where members are listed.
    pub place: Place,
    /// Members of it at most; those beyond are left out, and said to be.
    pub max_members: NonZeroUsize,
    /// How long the last good set stays while the answer is that there is nobody.
    pub keep: Duration,
}

impl SourceConfig {
    /// Unless something else is said.
    pub const MAX_MEMBERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
    /// Unless something else is said.
    pub const KEEP: Duration = Duration::from_secs(10 * 60);
}

/// Where members are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(FileConfig),
    /// Behind a name in DNS.
    Dns(DnsConfig),
    /// In etcd.
    Etcd(EtcdConfig),
    /// By Docker.
    Docker(DockerConfig),
    /// By themselves, at the admin API.
    Registration(RegistrationConfig),
}

/// A file that is looked at twice a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConfig {
    /// Its ending tells its format.
    pub path: PathBuf,
}

/// A name that is asked for again whenever its answer has grown old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// What is asked.
    pub question: DnsQuestion,
    /// How members are reached.
    pub scheme: Scheme,
    /// Who is asked in place of the system's resolvers.
    pub resolver: Option<SocketAddr>,
    /// An answer is believed for so long at least, whatever its TTL.
    pub min_ttl: Duration,
    /// And for so long at most.
    pub max_ttl: Duration,
}

impl DnsConfig {
    /// Unless something else is said.
    pub const MIN_TTL: Duration = Duration::from_secs(1);
    /// Unless something else is said.
    pub const MAX_TTL: Duration = Duration::from_secs(5 * 60);
}

/// What is asked of DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsQuestion {
    /// The addresses of a name (A and AAAA); all of them listen on one port.
    Addresses {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// The servers of a service (SRV), each with its port, weight and priority.
    Service(String),
}

/// How members are reached whose source gives no URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// By TLS.
    Https,
    /// As connections of a TCP listener, in the clear.
    Tcp,
    /// The same, by TLS.
    Tls,
}

/// Keys of etcd, each of which holds a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Members of etcd's cluster; where one fails the next is asked.
    pub peers: Vec<Peer>,
    /// What the keys begin with.
    pub prefix: String,
    /// Who asks; nobody in particular where etcd has no users.
    pub user: Option<EtcdUser>,
}

/// A user of etcd, which may read the keys.
#[derive(Clone, PartialEq, Eq)]
pub struct EtcdUser {
    /// The user's name.
    pub name: String,
    /// The password, which `Debug` hides.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Containers with labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// Who has them.
    pub peer: Peer,
    /// What their label `gatewayd.upstream` is.
    pub upstream: String,
}

/// Members that come and tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationConfig {}

impl Place {
    /// What another process knows it by: where it is, and what its members are made with.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Dns(dns) => format!("{} {self} {}", self.kind(), dns.scheme),
            _ => format!("{} {self}", self.kind()),
        }
    }

    /// What it is called in status and metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Dns(DnsConfig { question: DnsQuestion::Addresses { .. }, .. }) => "dns",
            Self::Dns(DnsConfig { question: DnsQuestion::Service(_), .. }) => "dns_srv",
            Self::Etcd(_) => "etcd",
            Self::Docker(_) => "docker",
            Self::Registration(_) => "api",
        }
    }
}

/// As configurations write it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.path.display()),
            Self::Dns(DnsConfig { question: DnsQuestion::Addresses { host, port }, .. }) => {
                write!(f, "{host}:{port}")
            }
            Self::Dns(DnsConfig { question: DnsQuestion::Service(name), .. }) => f.write_str(name),
            Self::Etcd(etcd) => {
                for peer in &etcd.peers {
                    write!(f, "{peer} ")?;
                }
                f.write_str(&etcd.prefix)
            }
            Self::Docker(docker) => write!(f, "{}", docker.peer),
            Self::Registration(_) => f.write_str("registrations"),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}
