//! What an edit does to a configuration, and whether it makes sense there.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use lb_core::{KeySource, Weight};
use lb_http::config::{
    ArmConfig, BackendConfig, GatewayConfig, RollbackConfig, RuleConfig, SplitConfig, UpstreamConfig,
};

use super::{Edit, Part, Refusal, Rollback, Split, What};

/// Makes a backend of an upstream (by the name that rules use) out of its URL.
pub(crate) type MakeBackend<'a> = dyn Fn(&str, &str) -> Result<BackendConfig, String> + 'a;

/// What remains of an edit over the file and what is in force: nothing where the file alone comes to the same.
pub(super) fn plan(what: &What, base: &GatewayConfig, now: &GatewayConfig) -> Result<Option<What>, Refusal> {
    match what {
        What::Add { upstream, backend, weight, .. } => {
            check_weight(*weight)?;
            find_upstream(now, upstream)?;
            if lists(now, upstream, backend) {
                let detail = format!("{upstream} has the backend {backend} already");
                return Err(Refusal::new(StatusCode::CONFLICT, "backend_exists", detail));
            }
            // One that had been removed comes back as the file has it.
            Ok((!lists(base, upstream, backend)).then(|| what.clone()))
        }
        What::Remove { upstream, backend } => {
            let place = find_upstream(now, upstream)?;
            if !lists(now, upstream, backend) {
                let known: Vec<&str> = backends(now, upstream).map(|it| it.url.as_str()).collect();
                return Err(Refusal::unknown("unknown_backend", "backend", backend, &known));
            }
            if now.upstreams.get(place).is_some_and(|upstream| upstream.backends.len() == 1) {
                let detail = format!(
                    "{backend} is the last backend of {upstream}: drain it, or switch its rules elsewhere"
                );
                return Err(Refusal::new(StatusCode::CONFLICT, "last_backend", detail));
            }
            Ok(Some(what.clone()))
        }
        What::Weight { weight, .. } => check_weight(*weight).map(|()| Some(what.clone())),
        What::Drain { .. } => Ok(Some(what.clone())),
        What::Switch { rule, upstream } => {
            find_rule(now, rule)?;
            find_upstream(now, upstream)?;
            let in_file = base.rules.iter().find(|it| it.route.name == *rule).filter(|it| it.split.is_none());
            let is_as_in_file = in_file.is_some_and(|it| name_of(base, it.upstream, rule) == upstream);
            Ok((!is_as_in_file).then(|| what.clone()))
        }
        What::Split { rule, split } => {
            find_rule(now, rule)?;
            check_split(split)?;
            for part in &split.parts {
                find_upstream(now, &part.upstream)?;
            }
            Ok(Some(what.clone()))
        }
    }
}

/// That an edit still makes sense over a file that was read again, or why not.
pub(super) fn fits(
    what: &What,
    before: Option<&GatewayConfig>,
    base: &GatewayConfig,
    composed: &GatewayConfig,
) -> Result<(), String> {
    let upstream_is_there =
        |name: &str| find_upstream(composed, name).map(drop).map_err(|_| format!("upstream {name} is gone"));
    match what {
        What::Add { upstream, backend, .. } => {
            upstream_is_there(upstream)?;
            if lists(base, upstream, backend) {
                return Err("the file lists it now".to_owned());
            }
        }
        What::Remove { upstream, .. } => upstream_is_there(upstream)?,
        What::Weight { upstream, backend, .. } | What::Drain { upstream, backend } => {
            let found = |config: &GatewayConfig| {
                let all = config.upstreams.iter().filter(|it| is_meant(upstream.as_deref(), &it.name));
                all.flat_map(|it| &it.backends).find(|it| it.url == *backend).map(|it| it.weight)
            };
            let Some(weight) = found(composed) else { return Err("the backend is gone".to_owned()) };
            let was = before.and_then(found);
            if matches!(what, What::Weight { .. }) && was.is_some_and(|was| was != weight) {
                return Err(format!("the file gives it another weight now: {weight}"));
            }
        }
        What::Switch { rule, .. } | What::Split { rule, .. } => {
            find_rule(composed, rule).map_err(|_| format!("rule {rule} is gone, or leads nowhere"))?;
            match what {
                What::Switch { upstream, .. } => upstream_is_there(upstream)?,
                What::Split { split, .. } => {
                    split.parts.iter().try_for_each(|part| upstream_is_there(&part.upstream))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Changes a configuration.
pub(super) fn apply(edit: &Edit, config: &mut GatewayConfig, make: &MakeBackend<'_>) -> Result<(), String> {
    match &edit.what {
        What::Add { upstream, backend, weight, backup } => {
            let made = make(upstream, backend)?;
            for it in config.upstreams.iter_mut().filter(|it| is_meant(Some(upstream), &it.name)) {
                if !it.backends.iter().any(|it| it.url == *backend) {
                    it.backends.push(BackendConfig { weight: *weight, backup: *backup, ..made.clone() });
                }
            }
        }
        What::Remove { upstream, backend } => {
            for it in config.upstreams.iter_mut().filter(|it| is_meant(Some(upstream), &it.name)) {
                // The last one stays, whatever has become of the others since.
                if it.backends.len() > 1 {
                    it.backends.retain(|it| it.url != *backend);
                }
            }
        }
        // These are set on the backends themselves.
        What::Weight { .. } | What::Drain { .. } => {}
        What::Switch { rule, upstream } => {
            let part = Part { upstream: upstream.clone(), weight: 1.0 };
            let (place, arms) = lead(config, rule, &[part])?;
            if let (Some(rule), Some(arm)) = (config.rules.get_mut(place), arms.first()) {
                rule.upstream = arm.upstream;
                rule.split = None;
            }
        }
        What::Split { rule, split } => {
            let (place, arms) = lead(config, rule, &split.parts)?;
            let Some(rule) = config.rules.get_mut(place) else { return Ok(()) };
            let (key, header) = keys(split).map_err(|refusal| refusal.detail)?;
            let rollback = rollback(split).map_err(|refusal| refusal.detail)?;
            let known = rule.split.take();
            let (own_key, own_header, own_rollback) =
                known.map(|split| (split.key, split.header, split.rollback)).unwrap_or_default();
            rule.upstream = arms.first().map_or(rule.upstream, |arm| arm.upstream);
            rule.split = Some(SplitConfig {
                arms,
                key: key.or(own_key),
                header: header.or(own_header),
                rollback: rollback.or(own_rollback),
                // The same split set anew begins anew.
                turn: edit.id,
            });
        }
    }
    Ok(())
}

/// What an edit changes, as it stands, in words.
pub(super) fn state(what: &What, config: &GatewayConfig) -> String {
    match what {
        What::Add { upstream, backend, .. }
        | What::Remove { upstream, backend }
        | What::Weight { upstream: Some(upstream), backend, .. }
        | What::Drain { upstream: Some(upstream), backend } => {
            match backends(config, upstream).find(|it| it.url == *backend) {
                Some(backend) => format!("weight {}", backend.weight),
                None => "not there".to_owned(),
            }
        }
        What::Weight { .. } | What::Drain { .. } => String::new(),
        What::Switch { rule, .. } | What::Split { rule, .. } => {
            let found = config.rules.iter().find(|it| it.route.name == *rule);
            found.map_or_else(|| "not there".to_owned(), |rule| way(config, rule))
        }
    }
}

/// Where a rule leads, in words: `app`, or `app=90 next=10`.
pub(crate) fn way(config: &GatewayConfig, rule: &RuleConfig) -> String {
    match &rule.split {
        Some(split) => {
            let parts = split.arms.iter().map(|arm| format!("{}={}", arm.name, arm.weight));
            parts.collect::<Vec<_>>().join(" ")
        }
        None => name_of(config, rule.upstream, &rule.route.name).to_owned(),
    }
}

/// The rule's place and its parts, each an upstream that balances as the rule says.
fn lead(config: &mut GatewayConfig, rule: &str, parts: &[Part]) -> Result<(usize, Vec<ArmConfig>), String> {
    let place = find_rule(config, rule).map_err(|refusal| refusal.detail)?;
    let at = config.rules.get(place).map_or(0, |rule| rule.upstream);
    // A rule with a strategy of its own has upstreams of its own.
    let own = config.upstreams.get(at).filter(|it| it.name.ends_with(&format!("@{rule}")));
    let own = own.map(|own| own.strategy.clone());
    let mut arms = Vec::new();
    for part in parts {
        let found = find_upstream(config, &part.upstream).map_err(|refusal| refusal.detail)?;
        let named = format!("{}@{rule}", part.upstream);
        let upstream = match (&own, config.upstreams.iter().position(|it| it.name == named)) {
            (None, _) => found,
            (Some(_), Some(there)) => there,
            (Some(strategy), None) => {
                let Some(shared) = config.upstreams.get(found) else { continue };
                let made = UpstreamConfig { name: named, strategy: strategy.clone(), ..shared.clone() };
                config.upstreams.push(made);
                config.upstreams.len() - 1
            }
        };
        arms.push(ArmConfig { name: part.upstream.clone(), upstream, weight: part.weight });
    }
    Ok((place, arms))
}

fn check_weight(weight: f64) -> Result<(), Refusal> {
    Weight::try_from(weight).map(drop).map_err(|error| Refusal::bad(error.to_string()))
}

fn check_split(split: &Split) -> Result<(), Refusal> {
    for (place, part) in split.parts.iter().enumerate() {
        check_weight(part.weight)?;
        if split.parts.iter().take(place).any(|other| other.upstream == part.upstream) {
            return Err(Refusal::bad(format!("{} stands twice in one split", part.upstream)));
        }
    }
    if !split.parts.iter().any(|part| part.weight > 0.0) {
        return Err(Refusal::bad("no part of the split has a weight above 0, so nothing would be served"));
    }
    rollback(split)?;
    keys(split).map(drop)
}

fn rollback(split: &Split) -> Result<Option<RollbackConfig>, Refusal> {
    let Some(Rollback { error_rate, p99, min_requests, window }) = &split.rollback else { return Ok(None) };
    if error_rate.is_none() && p99.is_none() {
        return Err(Refusal::bad("`rollback` watches nothing: it has neither `error_rate` nor `p99`"));
    }
    if error_rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
        return Err(Refusal::bad("`error_rate` is from 0 to 1"));
    }
    if p99.is_some_and(|times| !(times.is_finite() && times >= 1.0)) {
        return Err(Refusal::bad("`p99` counts how many times the largest part's, and is at least 1"));
    }
    let window =
        window.as_ref().map(|it| it.duration().map_err(|error| Refusal::bad(format!("`window`: {error}"))));
    let window = window.transpose()?.unwrap_or(RollbackConfig::WINDOW);
    if window < Duration::from_secs(1) || window > RollbackConfig::LONGEST {
        return Err(Refusal::bad("`window` is from 1s to 1h"));
    }
    let min_requests = min_requests.unwrap_or(RollbackConfig::MIN_REQUESTS);
    Ok(Some(RollbackConfig { error_rate: *error_rate, p99: *p99, min_requests, window }))
}

fn keys(split: &Split) -> Result<(Option<KeySource>, Option<HeaderName>), Refusal> {
    let key = split.by.as_ref().map(|by| by.parse().map_err(|error| Refusal::bad(format!("`by`: {error}"))));
    let header = split.header.as_ref().map(|header| {
        header.parse().map_err(|_| Refusal::bad(format!("`header`: {header:?} is not the name of a header")))
    });
    Ok((key.transpose()?, header.transpose()?))
}

/// That there is a backend at this URL, in the upstream that is named where one is.
pub(crate) fn check_backend(
    config: &GatewayConfig,
    upstream: Option<&str>,
    url: &str,
) -> Result<(), Refusal> {
    let places = match upstream {
        Some(name) => {
            let place = find_upstream(config, name)?;
            place..place + 1
        }
        None => 0..config.upstreams.len(),
    };
    let upstreams = config.upstreams.get(places).unwrap_or_default();
    let mut known: Vec<&str> =
        upstreams.iter().flat_map(|it| &it.backends).map(|it| it.url.as_str()).collect();
    if known.contains(&url) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    Err(Refusal::unknown("unknown_backend", "backend", url, &known))
}

/// Whether an upstream is the one of this name, or what a rule made of it.
pub(crate) fn is_meant(meant: Option<&str>, name: &str) -> bool {
    meant.is_none_or(|meant| {
        name.strip_prefix(meant).is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
    })
}

fn backends<'a>(config: &'a GatewayConfig, upstream: &'a str) -> impl Iterator<Item = &'a BackendConfig> {
    config.upstreams.iter().filter(move |it| it.name == upstream).flat_map(|it| &it.backends)
}

fn lists(config: &GatewayConfig, upstream: &str, url: &str) -> bool {
    backends(config, upstream).any(|backend| backend.url == url)
}

fn find_upstream(config: &GatewayConfig, name: &str) -> Result<usize, Refusal> {
    let position = |name: &str| config.upstreams.iter().position(|it| it.name == name);
    // What a rule makes of an upstream is its own, and goes with it.
    if let Some((of, rule)) = name.split_once('@')
        && position(of).is_some()
    {
        let detail = format!("{name} is what rule {rule} makes of the upstream {of}: {of} is meant");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_upstream", detail));
    }
    position(name).ok_or_else(|| {
        let names = config.upstreams.iter().map(|it| it.name.as_str()).filter(|name| !name.contains('@'));
        Refusal::unknown("unknown_upstream", "upstream", name, &names.collect::<Vec<_>>())
    })
}

/// A rule that leads to backends.
fn find_rule(config: &GatewayConfig, name: &str) -> Result<usize, Refusal> {
    let place = config.rules.iter().position(|it| it.route.name == name).ok_or_else(|| {
        let names: Vec<&str> = config.rules.iter().map(|it| it.route.name.as_str()).collect();
        Refusal::unknown("unknown_rule", "rule", name, &names)
    })?;
    match config.rules.get(place).is_some_and(|rule| rule.redirect.is_some()) {
        true => {
            let detail = format!("rule {name} redirects its clients: it leads to no upstream");
            Err(Refusal::new(StatusCode::CONFLICT, "redirects", detail))
        }
        false => Ok(place),
    }
}

/// The upstream's name as rules write it.
fn name_of<'a>(config: &'a GatewayConfig, place: usize, rule: &str) -> &'a str {
    let name = config.upstreams.get(place).map_or("", |upstream| upstream.name.as_str());
    name.strip_suffix(rule).and_then(|name| name.strip_suffix('@')).unwrap_or(name)
}
