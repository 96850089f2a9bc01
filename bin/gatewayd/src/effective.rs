//! The configuration in force, put together in one place: what the file says, over it what was discovered,
//! and over both what operators edited.
//!
//! Layers are kept apart, so that each can change without the others: a file that is read again keeps what was discovered,
//! and what was discovered changes without the file. [`Reloading`](crate::reload::Reloading) has the one that is in force and
//! changes it, one change at a time.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use lb_config::{Loaded, MemberTemplate, Places};
use lb_discovery::{Discovery, Member, UpstreamSources};
use lb_http::config::{BackendConfig, BackendProtocol, GatewayConfig, RuleConfig};

use crate::edits::{self, Edit, Edits};

/// Every layer. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Effective {
    base: Arc<Base>,
    /// By the name of the upstream that they belong to.
    discovered: BTreeMap<String, Arc<Vec<Member>>>,
    edits: Edits,
}

/// The lowest layer: the file, or what stands for it.
pub(crate) struct Base {
    pub(crate) config: Arc<GatewayConfig>,
    /// For each upstream, what backends are told that it does not list itself.
    pub(crate) members: Vec<MemberTemplate>,
    /// Where backends are listed that come and go.
    pub(crate) discover: Vec<UpstreamSources>,
    /// The upstreams that requests are sent to: by rules, and by their mirrors.
    requested: HashSet<String>,
    /// Where rules and listeners stand.
    pub(crate) places: Arc<Places>,
    /// The admin address, which no backend can be.
    admin: Option<SocketAddr>,
}

/// The layers as one.
pub(crate) struct Composed {
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) left_out: Vec<LeftOut>,
}

impl Composed {
    /// Says which members are no backends, and why.
    pub(crate) fn say_left_out(&self) {
        for LeftOut { upstream, url: backend, reason } in &self.left_out {
            tracing::warn!(component = "discovery", upstream, backend, reason, "member left out");
        }
    }
}

/// A member that cannot be a backend.
pub(crate) struct LeftOut {
    pub(crate) upstream: String,
    pub(crate) url: String,
    pub(crate) reason: String,
}

impl Base {
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let by_rules: HashSet<usize> = loaded.config.rules.iter().flat_map(upstreams_of).collect();
        let named = loaded.members.iter().enumerate().filter(|(index, _)| by_rules.contains(index));
        Self {
            requested: named.map(|(_, template)| template.upstream.clone()).collect(),
            config: Arc::clone(&loaded.config),
            members: loaded.members.clone(),
            discover: loaded.discover.clone(),
            places: Arc::clone(&loaded.places),
            admin: loaded.admin.as_ref().map(|admin| admin.address),
        }
    }
}

impl Effective {
    pub(crate) fn new(base: Base) -> Self {
        Self { base: Arc::new(base), discovered: BTreeMap::new(), edits: Edits::default() }
    }

    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    pub(crate) fn edits(&self) -> &Edits {
        &self.edits
    }

    pub(crate) fn edits_mut(&mut self) -> &mut Edits {
        &mut self.edits
    }

    /// Takes out what operators edited and makes no sense any more, with why. `before` is what stood in the place of this.
    pub(crate) fn prune_edits(&mut self, before: Option<&Self>) -> Vec<(Edit, String)> {
        self.edits.touch();
        if self.edits.list().is_empty() {
            return Vec::new();
        }
        let (before, composed) = (before.map(|before| before.compose().config), self.compose().config);
        self.edits.prune(before.as_deref(), &self.base.config, &composed)
    }

    /// That an upstream can have a backend at this URL.
    pub(crate) fn check_backend(&self, upstream: &str, url: &str) -> Result<(), String> {
        self.edited(upstream, url).map(drop)
    }

    /// How the URL of a backend is written where there is one, now or in the file, which is what it is known by; as it is where there
    /// is none.
    pub(crate) fn spelt(&self, upstream: Option<&str>, url: String) -> String {
        let configs = [self.compose().config, Arc::clone(&self.base.config)];
        let upstreams = || configs.iter().flat_map(|config| &config.upstreams);
        let meant = || upstreams().filter(|it| edits::is_meant(upstream, &it.name));
        let known = || meant().flat_map(|it| &it.backends);
        if known().any(|it| it.url == url) {
            return url;
        }
        let Some(asked) = self.base.members.iter().find_map(|it| it.backend(&url, None).ok()) else {
            return url;
        };
        known().find(|it| place(it) == place(&asked)).map_or(url, |it| it.url.clone())
    }

    /// A backend that an operator adds.
    fn edited(&self, upstream: &str, url: &str) -> Result<BackendConfig, String> {
        let template = self.base.members.iter().find(|template| template.upstream == upstream);
        let template = template.ok_or_else(|| format!("there is no upstream {upstream:?}"))?;
        self.backend(template, &Member::at(url))
    }

    /// The same over another file.
    pub(crate) fn with_base(&self, base: Base) -> Self {
        Self { base: Arc::new(base), ..self.clone() }
    }

    /// Takes up what is discovered now.
    pub(crate) fn rediscover(&mut self, discovery: &Discovery) {
        let members = |of: &UpstreamSources| (of.upstream.clone(), Arc::new(discovery.members(of)));
        self.discovered = self.base.discover.iter().map(members).collect();
    }

    /// What the engine is told: the lowest layer itself where there is nothing above it.
    pub(crate) fn compose(&self) -> Composed {
        let mut left_out = Vec::new();
        if self.discovered.is_empty() && self.edits.list().is_empty() {
            return Composed { config: Arc::clone(&self.base.config), left_out };
        }
        let mut config = GatewayConfig::clone(&self.base.config);
        for (upstream, template) in config.upstreams.iter_mut().zip(&self.base.members) {
            let Some(members) = self.discovered.get(&template.upstream) else { continue };
            let mut taken: HashSet<_> = upstream.backends.iter().map(place).collect();
            for member in &**members {
                match self.backend(template, member) {
                    // What the file says of a backend beats what was discovered of it.
                    Ok(backend) => {
                        if taken.insert(place(&backend)) {
                            upstream.backends.push(backend);
                        }
                    }
                    Err(reason) => left_out.push(LeftOut {
                        upstream: upstream.name.clone(),
                        url: member.url.clone(),
                        reason,
                    }),
                }
            }
        }
        self.edits.apply(&mut config, &|upstream, url| self.edited(upstream, url));
        Composed { config: Arc::new(config), left_out }
    }

    /// Why this member cannot be a backend of that upstream; `None` where it can.
    pub(crate) fn refuses(&self, upstream: &str, member: &Member) -> Option<String> {
        let template = self.base.members.iter().find(|template| template.upstream == upstream)?;
        self.backend(template, member).err()
    }

    /// A member as a backend, or why it cannot be one.
    fn backend(&self, template: &MemberTemplate, member: &Member) -> Result<BackendConfig, String> {
        let backend = template
            .backend(&member.url, member.server_name.as_deref())
            .map_err(|error| error.to_string())?;
        let listeners = self.base.config.listeners.iter().map(|listener| listener.address);
        let mut own = listeners.chain(self.base.admin);
        if own.any(|address| lb_config::is_own(address, &backend.host, backend.port)) {
            return Err("it is an address of this gateway: requests would go round in a circle".to_owned());
        }
        if backend.protocol == BackendProtocol::Tcp && self.base.requested.contains(&template.upstream) {
            let reason = "its URL says that it speaks no HTTP, and a rule sends requests to this upstream; write `http://` or `https://`";
            return Err(reason.to_owned());
        }
        let backend = BackendConfig { weight: member.weight, backup: member.backup, ..backend };
        // One that cannot be made would keep all the others from being put in force.
        backend.check()?;
        Ok(backend)
    }
}

/// The upstreams that a rule leads to.
fn upstreams_of(rule: &RuleConfig) -> impl Iterator<Item = usize> {
    let arms = rule.split.iter().flat_map(|split| &split.arms).map(|arm| arm.upstream);
    let copies = rule.mirror.iter().map(|mirror| mirror.upstream);
    // What redirects names one, and leads nowhere.
    arms.chain(copies).chain(rule.redirect.is_none().then_some(rule.upstream))
}

/// Where a backend is, however its URL is written.
fn place(backend: &BackendConfig) -> (bool, String, u16, String) {
    (backend.tls.is_some(), backend.host.clone(), backend.port, backend.base_path.clone())
}

#[cfg(test)]
mod tests {
    use lb_config::Format;

    use super::*;

    fn effective(text: &str) -> Effective {
        Effective::new(Base::of(&lb_config::load_str("x.toml", Format::Toml, text).unwrap()))
    }

    fn discover(effective: &mut Effective, urls: &[&str]) {
        let member = |url: &&str| Member { weight: 2.0, backup: true, ..Member::at(*url) };
        effective.discovered.insert("app".to_owned(), Arc::new(urls.iter().map(member).collect()));
    }

    fn urls(config: &GatewayConfig, upstream: usize) -> Vec<&str> {
        config.upstreams[upstream].backends.iter().map(|backend| backend.url.as_str()).collect()
    }

    const FILE: &str = r#"
        [upstreams.app]
        backends = [{ url = "http://10.0.0.1:80", weight = 7 }]
        health_check = { path = "/live" }
        tls = { server_name = "app.internal", insecure_skip_verify = true }
        [upstreams.other]
        backends = ["http://10.0.0.9:80"]
        [[rules]]
        path = "/a"
        upstream = "app"
        load_balancing = "random"
        [[rules]]
        upstream = "app"
    "#;

    #[test]
    fn what_is_discovered_stands_behind_what_the_file_lists_and_is_treated_the_same() {
        let file = FILE.replace("tls =", "# tls =");
        let mut effective = effective(&file);
        discover(&mut effective, &["10.0.0.2:81", "10.0.0.1", "http://10.0.0.2:81", "not a url"]);
        let Composed { config, left_out } = effective.compose();
        assert_eq!(config.upstreams[2].name, "app@rule-1");
        for upstream in [0, 2] {
            // One that the file lists is not there twice, however it is written.
            assert_eq!(urls(&config, upstream), ["http://10.0.0.1:80", "10.0.0.2:81"]);
            let [listed, found] = &config.upstreams[upstream].backends[..] else { panic!() };
            assert_eq!((listed.weight, found.weight, found.backup), (7.0, 2.0, true));
            assert_eq!(listed.health, found.health);
        }
        assert_eq!(urls(&config, 1), ["http://10.0.0.9:80"]);
        assert_eq!(left_out.len(), 2);
        assert!(left_out[0].reason.contains("cannot hold this character"), "{}", left_out[0].reason);
    }

    #[test]
    fn a_file_that_is_read_again_keeps_what_was_discovered() {
        let mut first = effective(&FILE.replace("tls =", "# tls ="));
        discover(&mut first, &["10.0.0.2:81"]);
        let second = FILE.replace("tls =", "# tls =").replace("10.0.0.1", "10.0.0.3");
        let loaded = lb_config::load_str("x.toml", Format::Toml, &second).unwrap();
        let mut second = first.with_base(Base::of(&loaded));
        assert_eq!(urls(&second.compose().config, 0), ["http://10.0.0.3:80", "10.0.0.2:81"]);
        second.rediscover(&Discovery::new(lb_config::read_document));
        assert_eq!(urls(&second.compose().config, 0), ["http://10.0.0.3:80"]);
    }

    #[test]
    fn a_member_by_https_is_believed_as_the_upstream_says() {
        let mut effective = effective(&FILE.replace("http://10.0.0.1:80", "https://10.0.0.1:443"));
        discover(&mut effective, &["https://10.0.0.2", "http://10.0.0.2"]);
        let config = effective.compose().config;
        let [listed, secure, clear] = &config.upstreams[0].backends[..] else { panic!() };
        assert_eq!(listed.tls, secure.tls);
        assert_eq!(secure.tls.as_ref().unwrap().server_name, "app.internal");
        assert_eq!((secure.port, clear.port, clear.tls.is_some()), (443, 80, false));
    }

    #[test]
    fn what_speaks_no_http_is_no_member_where_requests_are_sent() {
        for (rule, is_taken) in [
            ("[[rules]]\nupstream = \"app\"", false),
            ("[[rules]]\nupstream = \"app\"\nload_balancing = \"random\"", false),
            ("[[rules]]\nupstream = \"other\"\nmirror = { upstream = \"app\" }", false),
            ("[[rules]]\nupstream = \"other\"", true),
        ] {
            let upstreams = "[upstreams.app]\ndiscover = { file = \"members.toml\" }\n[upstreams.other]\nbackends = [\"10.0.0.9:80\"]\n";
            let mut effective = effective(&format!("{upstreams}{rule}"));
            discover(&mut effective, &["tcp://10.0.0.1:80"]);
            let Composed { left_out, config } = effective.compose();
            assert_eq!(urls(&config, 0).len(), usize::from(is_taken), "{rule}");
            let reasons = left_out.iter().map(|left_out| left_out.reason.clone());
            let refused = effective.refuses("app", &Member::at("tls://10.0.0.1:80"));
            let edited = effective.check_backend("app", "tcp://10.0.0.1:80").err();
            for reason in reasons.chain(refused).chain(edited) {
                assert!(!is_taken && reason.contains("speaks no HTTP"), "{rule}: {reason}");
            }
            assert_eq!(effective.check_backend("app", "tcp://10.0.0.1:80").is_ok(), is_taken, "{rule}");
        }
    }

    #[test]
    fn no_member_is_an_address_of_this_gateway() {
        let admin = "[admin]\naddress = \"127.0.0.1:8081\"\n";
        let mut effective = effective(&format!("{admin}{}", FILE.replace("tls =", "# tls =")));
        discover(
            &mut effective,
            &["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082", "[::ffff:127.0.0.1]:8080"],
        );
        let Composed { config, left_out } = effective.compose();
        assert_eq!(urls(&config, 0), ["http://10.0.0.1:80", "127.0.0.1:8082"]);
        assert_eq!(left_out.len(), 6, "three, in each of two upstreams");
    }
}
