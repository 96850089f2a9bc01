//! What was explained, for people.

use std::fmt::Write;

use lb_http::{
    ArmAnswer, Candidate, CheckAnswer, ClientAnswer, ConnectionExplained, Explained, Explanation, Forwarded,
    ListenerAnswer, MirrorAnswer, NameAnswer, ProxiedExplained, RuleAnswer, SplitAnswer, UpstreamAnswer,
};

/// Rules, names and backends that are shown one by one.
const SHOWN: usize = 40;

/// All of it.
pub(crate) fn text(explanation: &Explanation) -> String {
    match explanation {
        Explanation::Request(explained) => of_request(explained),
        Explanation::Proxied(explained) => of_proxied(explained),
        Explanation::Connection(explained) => of_connection(explained),
    }
}

fn of_connection(explained: &ConnectionExplained) -> String {
    let ConnectionExplained { answer, listener, client, tls, name, names, upstream } = explained;
    let mut out = format!("{answer}\n\n");
    write_listener(&mut out, listener.as_ref());
    if let Some(ClientAnswer { peer, address, why }) = client {
        let _ = write!(out, "client    {address}");
        if address != peer {
            let _ = write!(out, ", by way of {peer}");
        }
        let _ = writeln!(out, "\n          {why}");
    }
    if let Some(tls) = tls {
        let _ = writeln!(out, "tls       {tls}");
    }
    if !names.is_empty() {
        let asked = name
            .as_deref()
            .map_or("asks for none (--sni NAME)".to_owned(), |name| format!("asks for {name}"));
        let _ = writeln!(out, "names     {asked}");
    }
    for NameAnswer { hosts, upstream, outcome, place, .. } in names.iter().take(SHOWN) {
        let hosts = if hosts.is_empty() { "all others".to_owned() } else { hosts.join(", ") };
        let outcome = match *outcome {
            "takes" => "takes it",
            "missed" => "missed: the name is another",
            _ => "comes later",
        };
        let _ = writeln!(out, "  {hosts} to {upstream}{}  {outcome}", at(place.as_ref()));
    }
    if names.len() > SHOWN {
        let _ = writeln!(out, "  … and {} more", names.len() - SHOWN);
    }
    if let Some(upstream) = upstream {
        write_upstream(&mut out, upstream);
    }
    out
}

fn of_proxied(explained: &ProxiedExplained) -> String {
    let ProxiedExplained { answer, listener, client, host, port, checks, then } = explained;
    let mut out = format!("{answer}\n\n");
    write_listener(&mut out, listener.as_ref());
    if let Some(ClientAnswer { address, why, .. }) = client {
        let _ = writeln!(out, "client    {address}\n          {why}");
    }
    if let (Some(host), Some(port)) = (host, port) {
        let _ = writeln!(out, "asked for {host}, port {port}");
    }
    for CheckAnswer { subject, outcome, why, place, .. } in checks {
        let sign = match *outcome {
            "denied" => '✗',
            "allowed" => '✓',
            _ => '?',
        };
        let _ = writeln!(out, "  {sign} {subject}{}  {why}", at(place.as_ref()));
    }
    if let Some(then) = then {
        let _ = writeln!(out, "then      {then}");
    }
    out
}

fn write_listener(out: &mut String, listener: Option<&ListenerAnswer>) {
    if let Some(ListenerAnswer { name, address, place, .. }) = listener {
        let _ = writeln!(out, "listener  {name}, {address}{}", at(place.as_ref()));
    }
}

fn at(place: Option<&String>) -> String {
    place.map(|place| format!(" ({place})")).unwrap_or_default()
}

fn of_request(explained: &Explained) -> String {
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
        let place = at(rule.place.as_ref());
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
