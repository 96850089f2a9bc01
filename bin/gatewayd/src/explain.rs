//! `gatewayd explain` and `/api/explain`: what would become of a request, and why.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::anyhow;
use http::Method;
use lb_http::{
    ArmAnswer, Candidate, ClientAnswer, Explained, Forwarded, MirrorAnswer, Question, RuleAnswer,
    SplitAnswer, UpstreamAnswer,
};
use serde::Deserialize;
use serde_json::json;

use crate::exit::{self, Failure};
use crate::{Outcome, cli, operate, run};

/// Rules and backends that are shown to people one by one.
const SHOWN: usize = 40;

/// What `/api/explain` is asked with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[serde(default = "get")]
    method: String,
    url: String,
    /// Names and values.
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// Who is connected; by default who asks.
    from: Option<IpAddr>,
}

fn get() -> String {
    "GET".to_owned()
}

impl Asked {
    /// From a query: `method=GET&url=…&header=Name: value&from=…`.
    pub(crate) fn of_query(query: &str) -> Result<Self, String> {
        let mut asked = Self { method: get(), url: String::new(), headers: Vec::new(), from: None };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "method" => asked.method = value.into_owned(),
                "url" => asked.url = value.into_owned(),
                "header" => asked.headers.push(field(&value)?),
                "from" => asked.from = Some(value.parse().map_err(|_| format!("{value:?} is no address"))?),
                _ => return Err(format!("there is no parameter {name:?}: method, url, header, from")),
            }
        }
        if asked.url.is_empty() {
            return Err("`url` is missing, such as ?url=http://example.com/path".to_owned());
        }
        Ok(asked)
    }

    pub(crate) fn question(self, peer: IpAddr) -> Result<Question, String> {
        Question::new(&self.method, &self.url, self.headers, self.from.unwrap_or(peer))
    }
}

/// Puts each rule's file and line to it.
pub(crate) fn placed(mut explained: Explained, places: &[String]) -> Explained {
    for (rule, place) in explained.rules.iter_mut().zip(places) {
        rule.place = Some(place.clone());
    }
    explained
}

/// `gatewayd explain`: from a file with every backend healthy and idle, or with `--live` as a running gateway stands.
pub(crate) fn explain(args: &cli::Explain) -> Outcome {
    let headers = args.header.iter().map(|text| field(text)).collect::<Result<Vec<_>, _>>();
    let headers = headers.map_err(|reason| anyhow!(reason))?;
    if args.live {
        let asked = json!({ "method": args.method, "url": args.url, "headers": headers, "from": args.from });
        let document = operate::ask(&args.admin, Method::POST, "/api/explain", Some(&asked))?;
        match args.json {
            true => exit::print(&document.to_string()),
            false => exit::print(document.get("text").and_then(|text| text.as_str()).unwrap_or_default()),
        }
        return Ok(());
    }
    let path = args.config.clone().or_else(lb_config::find_config).ok_or_else(run::no_file)?;
    let loaded = run::load(path, args.strategy.as_deref())?;
    let from = args.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let question = Question::new(&args.method, &args.url, headers, from).map_err(|reason| anyhow!(reason))?;
    let explained = lb_http::explain(&loaded.config, &question).map_err(Failure::from)?;
    let explained = placed(explained, &loaded.rule_places);
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

/// For people.
pub(crate) fn text(explained: &Explained) -> String {
    let Explained {
        answer,
        scheme,
        client,
        path,
        rules,
        policies,
        redirect,
        split,
        mirror,
        request,
        upstream,
        ..
    } = explained;
    let ClientAnswer { peer, address, why } = client;
    let mut out = format!("{answer}\n\nclient    {address}, {scheme}");
    if address != peer {
        let _ = write!(out, ", by way of {peer}");
    }
    let _ = writeln!(out, "\n          {why}");
    if let Some(path) = path {
        let _ = writeln!(out, "path      {path}");
    }
    write_rules(&mut out, rules);
    for policy in policies {
        let _ = writeln!(out, "policy    {}: {}", policy.name, policy.summary);
    }
    if let Some(redirect) = redirect {
        let _ = writeln!(out, "redirect  {redirect}");
    }
    if let Some(split) = split {
        write_split(&mut out, split);
    }
    if let Some(mirror) = mirror {
        let MirrorAnswer { upstream, share, compare, why } = mirror;
        let compared = if *compare { ", its answer compared" } else { "" };
        match why {
            Some(why) => drop(writeln!(out, "mirror    no copy to {upstream}: {why}")),
            None => drop(writeln!(out, "mirror    {:.4} % copied to {upstream}{compared}", share * 100.0)),
        }
    }
    if let Some(request) = request {
        write_request(&mut out, request);
    }
    if let Some(upstream) = upstream {
        write_upstream(&mut out, upstream);
    }
    out
}

fn write_rules(out: &mut String, rules: &[RuleAnswer]) {
    out.push_str("rules\n");
    let taken = rules.iter().position(|rule| rule.outcome == "takes").map_or(rules.len(), |at| at + 1);
    let (before, later) = rules.split_at(taken);
    let hidden = before.len().saturating_sub(SHOWN);
    if hidden > 0 {
        let _ = writeln!(out, "  … {hidden} more that do not take it (--json has them)");
    }
    for rule in before.iter().skip(hidden) {
        let place = rule.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
        let outcome = match &rule.why {
            Some(why) => format!("missed: {why}"),
            None => "takes it".to_owned(),
        };
        let _ = writeln!(out, "  {}{place}  {outcome}", rule.name);
    }
    let would = later.iter().filter(|rule| rule.outcome == "comes_later").count();
    if !later.is_empty() {
        let _ = writeln!(out, "  {} later, {would} of which would take it too", later.len());
    }
}

fn write_split(out: &mut String, split: &SplitAnswer) {
    let SplitAnswer { by, choice, arms } = split;
    match choice {
        Some(choice) => drop(writeln!(out, "split     to {choice}: {by}")),
        None => drop(writeln!(out, "split     {by}; below is the largest")),
    }
    for ArmAnswer { upstream, weight, share } in arms {
        let _ = writeln!(out, "  {upstream}  weight {weight}, {:.4} %", share * 100.0);
    }
}

fn write_request(out: &mut String, request: &Forwarded) {
    let Forwarded { method, target, host, added, removed } = request;
    let _ = writeln!(out, "forwarded {method} {target} to Host {host}");
    for (sign, fields) in [('+', added), ('-', removed)] {
        for (name, value) in fields {
            let _ = writeln!(out, "  {sign} {name}: {value}");
        }
    }
}

fn write_upstream(out: &mut String, upstream: &UpstreamAnswer) {
    let UpstreamAnswer { name, strategy, summary, key, choice, candidates } = upstream;
    let _ = writeln!(out, "upstream  {name}, {strategy}: {summary}");
    if let (Some(key), Some(choice)) = (key, choice) {
        let _ = writeln!(out, "  by {key} it goes to {choice}");
    }
    for candidate in candidates.iter().take(SHOWN) {
        let Candidate { url, eligible, why, weight, active, max_connections, latency_ms } = candidate;
        let sign = if *eligible { '✓' } else { '✗' };
        let _ = write!(out, "  {sign} {url}  weight {weight}, {active} in flight");
        if let Some(max) = max_connections {
            let _ = write!(out, " of {max}");
        }
        if let Some(latency) = latency_ms {
            let _ = write!(out, ", {latency} ms");
        }
        let _ = writeln!(out, "{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default());
    }
    if candidates.len() > SHOWN {
        let _ = writeln!(out, "  … and {} more", candidates.len() - SHOWN);
    }
}
