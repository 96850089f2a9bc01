//! Members behind a name in DNS: the addresses of a name (A, AAAA), or the servers of a service (SRV, RFC 2782), asked for again
//! whenever the answer has grown old.
//!
//! Each look has a resolver of its own: what `/etc/resolv.conf` and `/etc/hosts` say then, and no cache between us and whoever
//! is asked, whose TTLs count down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::config::{DnsConfig, DnsQuestion, Scheme};
use crate::feed::Feed;
use crate::member::Member;
use crate::source::{Source, SourceError};

/// One question, and how often it is asked before it has failed.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// All questions of one look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// Servers of a service whose addresses are asked for at once.
const SIDE_BY_SIDE: usize = 16;
/// An answer of which a part is missing holds for no longer.
const IN_TROUBLE: Duration = Duration::from_secs(5);

pub(crate) struct Dns {
    config: DnsConfig,
    /// Names beyond are not asked for.
    max_members: usize,
    /// What was found last, also while nothing is.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// Of the name itself.
    families: Families,
    /// Of the servers of a service.
    servers: BTreeMap<Name, Families>,
    /// What is missing in the last answer, if anything.
    trouble: Option<String>,
}

/// What a look found, and for how long it holds.
struct Found<T> {
    what: T,
    ttl: Duration,
}

impl Dns {
    pub(crate) fn new(config: &DnsConfig, max_members: usize) -> Self {
        Self { config: config.clone(), max_members, last: Mutex::default() }
    }

    async fn look(&self, last: &mut Last) -> Result<Found<Vec<Member>>, SourceError> {
        let resolver = self.resolver().map_err(|error| failed(&error))?;
        match &self.config.question {
            DnsQuestion::Addresses { host, port } => {
                let Found { what: addresses, ttl } = last.families.addresses(&resolver, host).await?;
                last.trouble = last.families.trouble.take();
                let member = |address| Member {
                    server_name: self.secure_name(host),
                    ..Member::at_address(self.config.scheme, SocketAddr::new(address, *port))
                };
                Ok(Found { what: addresses.into_iter().map(member).collect(), ttl })
            }
            DnsQuestion::Service(name) => self.servers(&resolver, name, last).await,
        }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut builder = match self.config.resolver {
            None => TokioResolver::builder_tokio()?,
            Some(address) => {
                let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                (udp.port, tcp.port) = (address.port(), address.port());
                let server = NameServerConfig::new(address.ip(), true, vec![udp, tcp]);
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.timeout = QUESTION_TIMEOUT;
        options.attempts = ATTEMPTS;
        options.preserve_intermediates = true;
        builder.build()
    }

    /// The servers of a service. Those of the best priority are members, the others stand in for them.
    /// One whose address cannot be asked for is where it was last; where that is not known, the others are members without it.
    async fn servers(
        &self,
        resolver: &TokioResolver,
        name: &str,
        last: &mut Last,
    ) -> Result<Found<Vec<Member>>, SourceError> {
        let answer = resolver.lookup(name, RecordType::SRV).await.map_err(|error| said(&error))?;
        let mut ttl = ttl(&answer);
        let mut servers: Vec<&SRV> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                // The root stands for no service.
                RData::SRV(server) if !server.target.is_root() => Some(server),
                _ => None,
            })
            .collect();
        // Servers are told in another order each time.
        servers.sort_by_key(|server| (server.priority, &server.target, server.port));
        let beyond = servers.len().saturating_sub(self.max_members);
        servers.truncate(self.max_members);
        let mut troubles: Vec<String> = Vec::new();
        troubles.extend(
            (beyond > 0)
                .then(|| format!("{beyond} servers beyond max_members = {} are left out", self.max_members)),
        );
        let Some(best) = servers.iter().map(|server| server.priority).min() else {
            return Err(SourceError::Nobody(format!("`{name}` has no server")));
        };
        let mut known = addresses_beside(&answer);
        let missing: BTreeSet<Name> = servers
            .iter()
            .filter(|server| !known.contains_key(&server.target))
            .map(|server| server.target.clone())
            .collect();
        let missing = missing.into_iter().map(|target| {
            let families = last.servers.get(&target).cloned().unwrap_or_default();
            (target, families)
        });
        let beside =
            known.iter().filter(|(target, _)| servers.iter().any(|server| server.target == **target));
        let mut found: BTreeMap<Name, Families> =
            beside.map(|(target, addresses)| (target.clone(), Families::of(addresses))).collect();
        let (mut failure, mut is_missing) = (None, false);
        for (target, families, answer) in look_up(resolver, missing.collect()).await {
            match answer {
                Ok(answer) => {
                    ttl = ttl.min(answer.ttl);
                    known.insert(target.clone(), answer.what);
                }
                // A server without an address is none.
                Err(SourceError::Nobody(_)) => {}
                Err(error) => {
                    let last: Vec<IpAddr> = families.last.iter().flatten().copied().collect();
                    let what = if last.is_empty() { "is left out" } else { "is where it was" };
                    let trouble = format!("`{target}` {what}: {error}");
                    is_missing |= last.is_empty();
                    failure.get_or_insert_with(|| trouble.clone());
                    troubles.push(trouble);
                    known.insert(target.clone(), last);
                    ttl = ttl.min(IN_TROUBLE);
                }
            }
            found.insert(target, families);
        }
        last.servers = found;
        let mut members = BTreeMap::new();
        for server in servers {
            let Some(addresses) = known.get(&server.target).filter(|addresses| !addresses.is_empty()) else {
                continue;
            };
            // Those of weight 0 have "a very small chance": ours would have none.
            #[expect(clippy::cast_precision_loss, reason = "there are few addresses")]
            let weight = f64::from(server.weight.max(1)) / addresses.len() as f64;
            for address in addresses {
                let member = Member {
                    weight,
                    backup: server.priority > best,
                    server_name: self.secure_name(server.target.to_ascii().trim_end_matches('.')),
                    ..Member::at_address(self.config.scheme, SocketAddr::new(*address, server.port))
                };
                // Where one stands twice, the better place counts.
                let known: &mut Member = members.entry(member.url.clone()).or_insert_with(|| member.clone());
                if known.backup && !member.backup {
                    *known = member;
                }
            }
        }
        last.trouble = told(&troubles);
        match (members.is_empty(), failure) {
            (true, Some(failure)) if is_missing => return Err(SourceError::Failed(failure)),
            (true, _) => return Err(SourceError::Nobody(format!("no server of `{name}` has an address"))),
            (false, _) => {}
        }
        Ok(Found { what: members.into_values().collect(), ttl })
    }

    /// Certificates are for names, not for what they lead to at present.
    fn secure_name(&self, name: &str) -> Option<String> {
        matches!(self.config.scheme, Scheme::Https | Scheme::Tls)
            .then(|| name.trim_end_matches('.').to_owned())
    }
}

#[async_trait]
impl Source for Dns {
    async fn follow(&self, feed: &Feed) -> SourceError {
        let mut last = self.last.lock().await;
        loop {
            let look = tokio::time::timeout(LOOK_TIMEOUT, self.look(&mut last)).await;
            let late = |_| Err(SourceError::Failed("the resolver is too slow".to_owned()));
            match look.unwrap_or_else(late) {
                Ok(Found { what: members, ttl }) => {
                    feed.members(members, last.trouble.take());
                    tokio::time::sleep(ttl.clamp(self.config.min_ttl, self.config.max_ttl)).await;
                }
                Err(error) => return error,
            }
        }
    }
}

/// The addresses of a name, each family by itself: one whose answer cannot be had stays as it was.
#[derive(Debug, Clone, Default)]
struct Families {
    last: [Vec<IpAddr>; 2],
    trouble: Option<String>,
}

impl Families {
    fn of(addresses: &[IpAddr]) -> Self {
        let (four, six) = addresses.iter().partition(|address| address.is_ipv4());
        Self { last: [four, six], trouble: None }
    }

    async fn addresses(
        &mut self,
        resolver: &TokioResolver,
        host: &str,
    ) -> Result<Found<BTreeSet<IpAddr>>, SourceError> {
        let (four, six) =
            tokio::join!(resolver.lookup(host, RecordType::A), resolver.lookup(host, RecordType::AAAA));
        let mut shortest: Option<Duration> = None;
        let mut error = None;
        for (answer, last) in [four, six].into_iter().zip(&mut self.last) {
            match answer {
                Ok(answer) => {
                    *last = answer.answers().iter().filter_map(address).collect();
                    let ttl = ttl(&answer);
                    shortest = Some(shortest.map_or(ttl, |shortest| shortest.min(ttl)));
                }
                Err(reason) => match said(&reason) {
                    SourceError::Nobody(reason) => {
                        last.clear();
                        error.get_or_insert(SourceError::Nobody(reason));
                    }
                    failed @ SourceError::Failed(_) => error = Some(failed),
                },
            }
        }
        match (shortest, error) {
            // Such as names that stand for each other in a circle.
            (Some(_), None) if self.last.iter().all(Vec::is_empty) => {
                Err(SourceError::Nobody("the name has no addresses".to_owned()))
            }
            (Some(mut ttl), error) => {
                self.trouble = error
                    .filter(|error| matches!(error, SourceError::Failed(_)))
                    .map(|error| format!("half of the addresses cannot be asked for: {error}"));
                if self.trouble.is_some() {
                    ttl = ttl.min(IN_TROUBLE);
                }
                Ok(Found { what: self.last.iter().flatten().copied().collect(), ttl })
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(SourceError::Nobody("no answer".to_owned())),
        }
    }
}

/// The first of what is wrong, and how much more is.
fn told(troubles: &[String]) -> Option<String> {
    let first = troubles.first()?;
    Some(match troubles.len() {
        1 => first.clone(),
        all => format!("{first}; and {} more", all - 1),
    })
}

/// The addresses of these names, a few at once; with what was found of each last.
async fn look_up(
    resolver: &TokioResolver,
    names: Vec<(Name, Families)>,
) -> Vec<(Name, Families, Result<Found<Vec<IpAddr>>, SourceError>)> {
    let mut found = Vec::new();
    let mut names = names.into_iter();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < SIDE_BY_SIDE
            && let Some((name, mut families)) = names.next()
        {
            let resolver = resolver.clone();
            asked.spawn(async move {
                let answer = families.addresses(&resolver, &name.to_ascii()).await;
                let answer =
                    answer.map(|found| Found { what: found.what.into_iter().collect(), ttl: found.ttl });
                (name, families, answer)
            });
        }
        match asked.join_next().await {
            Some(answer) => found.extend(answer.ok()),
            None => return found,
        }
    }
}

/// Addresses that came along with an answer.
fn addresses_beside(answer: &Lookup) -> HashMap<Name, Vec<IpAddr>> {
    let mut known: HashMap<Name, Vec<IpAddr>> = HashMap::new();
    for record in answer.additionals() {
        if let Some(address) = address(record) {
            known.entry(record.name.clone()).or_default().push(address);
        }
    }
    known
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    }
}

/// How long the shortest-lived part of an answer holds.
fn ttl(answer: &Lookup) -> Duration {
    let records = answer.answers().iter().chain(answer.additionals());
    let of_use = records.filter(|record| {
        matches!(record.data, RData::A(_) | RData::AAAA(_) | RData::SRV(_) | RData::CNAME(_))
    });
    Duration::from_secs(u64::from(of_use.map(|record| record.ttl).min().unwrap_or(0)))
}

fn said(error: &NetError) -> SourceError {
    match error {
        error if error.is_no_records_found() => {
            SourceError::Nobody("the name has no such records".to_owned())
        }
        error => failed(error),
    }
}

fn failed(error: &NetError) -> SourceError {
    SourceError::Failed(error.to_string())
}
