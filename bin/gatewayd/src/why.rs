//! `gatewayd why`: the decision record of a real request, as a story.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use http::Method;
use lb_observe::Decision;
use lb_observe::decision::{DecisionAttempt, DecisionMirror, DecisionUpstream, Reach};

use crate::{Outcome, cli, exit, operate};

/// `gatewayd why`.
pub(crate) fn why(args: &cli::Why) -> Outcome {
    let id = percent_encoding::utf8_percent_encode(&args.id, percent_encoding::NON_ALPHANUMERIC);
    let document = operate::ask(&args.admin, Method::GET, &format!("/api/why/{id}"), None, "exchanges")?;
    let text = document.get("text").and_then(|text| text.as_str()).unwrap_or_default();
    match args.json {
        true => exit::print(&document.to_string()),
        false => exit::print(text.trim_end()),
    }
    Ok(())
}

/// That there is no record of this id, and how far back there would be.
pub(crate) fn unknown(id: &str, reach: &Reach) -> String {
    let Reach { kept, since, troubled_since, missed } = reach;
    let mut text = format!("no record of {id:?} among the {kept} that are kept");
    match since {
        Some(since) => {
            let _ = write!(text, ": they reach back to {}", rfc3339(*since));
            let _ = match troubled_since {
                Some(since) => write!(text, ", of requests that went wrong to {}", rfc3339(*since)),
                None => write!(text, ", of requests that went wrong to the start"),
            };
        }
        None => text.push_str(": every request since the start is there, once it has ended"),
    }
    if *missed > 0 {
        let _ = write!(text, "; {missed} were left out while records were being read");
    }
    text
}

/// For people.
pub(crate) fn text(decision: &Decision) -> String {
    let mut out = headline(decision);
    let client = &decision.client;
    let _ = write!(out, "\n\nclient    {}, {}", client.address, decision.scheme);
    if client.address != client.peer {
        let _ = write!(out, ", by way of {}", client.peer);
    }
    let _ = writeln!(out, "\n          {}", client.why);
    let _ = match (&decision.rule, &decision.rule_place) {
        (Some(rule), Some(place)) => writeln!(out, "rule      {rule} ({place})"),
        (Some(rule), None) => writeln!(out, "rule      {rule}"),
        (None, _) => {
            writeln!(out, "rule      none: it was answered before any, or none takes it (gatewayd explain)")
        }
    };
    if let (Some(how), Some(upstream)) = (decision.split, &decision.upstream) {
        let _ = writeln!(out, "split     to {}: {how}", upstream.name);
    }
    if let Some(upstream) = &decision.upstream {
        write_upstream(&mut out, upstream);
    }
    for (attempt, number) in decision.attempts.iter().zip(1..) {
        write_attempt(&mut out, attempt, number, decision);
    }
    if decision.more_attempts > 0 {
        let _ = writeln!(out, "          … and {} more", decision.more_attempts);
    }
    if let Some(why) = decision.given_up {
        let _ = writeln!(out, "          not tried elsewhere: {why}");
    }
    if let Some(mirror) = &decision.mirror {
        write_mirror(&mut out, mirror);
    }
    if let Some(error) = &decision.error {
        let _ = writeln!(out, "reason    {error}");
    }
    let Decision { bytes_in, bytes_out, duration, .. } = decision;
    let end = if decision.aborted { ", broken off before the answer was complete" } else { "" };
    let _ = writeln!(out, "total     {}, {bytes_in} bytes in, {bytes_out} bytes out{end}", millis(*duration));
    out
}

fn write_mirror(out: &mut String, mirror: &DecisionMirror) {
    let DecisionMirror { upstream, outcome, why, backend, status, duration, compared } = mirror;
    let why = why.as_deref().unwrap_or_default();
    let _ = match (*outcome, backend) {
        ("not_sent", _) => write!(out, "mirror    no copy to {upstream}: {why}"),
        ("under_way", _) => write!(out, "mirror    a copy to {upstream} is under way"),
        (_, Some(backend)) => write!(out, "mirror    a copy to {upstream}, {backend}: "),
        (_, None) => write!(out, "mirror    a copy to {upstream}: "),
    };
    let _ = match (status, *outcome) {
        (Some(status), _) => write!(out, "answered {status}"),
        (None, "failed") => write!(out, "no answer: {why}"),
        (None, _) => Ok(()),
    };
    if let Some(duration) = duration {
        let _ = write!(out, ", {}", millis(*duration));
    }
    if let Some(compared) = compared {
        let _ = write!(out, ", {}", compared.describe());
    }
    out.push('\n');
}

fn headline(decision: &Decision) -> String {
    let Decision { method, host, path, status, code, ended_at, .. } = decision;
    let asked = match (method.as_str(), host.as_str()) {
        ("", _) => "bytes that are no request".to_owned(),
        (method, "") => format!("{method} {path}"),
        (method, host) => format!("{method} {path} for {host}"),
    };
    let code = code.map(|code| format!(" {code}")).unwrap_or_default();
    let answered = if *status == 499 { "left by the client" } else { "answered" };
    format!("{asked}: {answered} {status}{code}, at {}", rfc3339(*ended_at))
}

fn write_upstream(out: &mut String, upstream: &DecisionUpstream) {
    let DecisionUpstream { name, strategy, eligible, backends, candidates } = upstream;
    let _ = write!(out, "upstream  {name}, {strategy}");
    if let (Some(eligible), Some(backends)) = (eligible, backends) {
        let _ = write!(out, ": {eligible} of {backends} backends could be chosen");
    }
    out.push('\n');
    for candidate in candidates {
        let sign = if candidate.eligible { '✓' } else { '✗' };
        let _ = write!(
            out,
            "  {sign} {}  weight {}, {} in flight",
            candidate.url, candidate.weight, candidate.active
        );
        if let Some(latency) = candidate.latency {
            let _ = write!(out, ", {}", millis(latency));
        }
        let _ = writeln!(out, "{}", candidate.why.map(|why| format!(": {why}")).unwrap_or_default());
    }
    let shown = candidates.len() as u64;
    if let Some(more) = backends.and_then(|all| u64::from(all).checked_sub(shown)).filter(|more| *more > 0) {
        let _ = writeln!(out, "  … and {more} more");
    }
}

fn write_attempt(out: &mut String, attempt: &DecisionAttempt, number: usize, decision: &Decision) {
    let strategy = decision.upstream.as_ref().map_or("", |upstream| &upstream.strategy);
    let why = match attempt.reason {
        None => format!("chosen by {strategy}"),
        Some("hedge") => "asked beside the one before, which took long".to_owned(),
        Some(reason) => format!("tried since the one before failed: {reason}"),
    };
    let waited = if attempt.waited { ", after a wait for a free place" } else { "" };
    let _ = writeln!(
        out,
        "attempt {number} {} at {}: {why}{waited}, {} in flight there",
        attempt.backend,
        millis(attempt.began),
        attempt.active
    );
    let connection = attempt.connection.map(|kind| format!(" on a {kind} connection")).unwrap_or_default();
    let sent = attempt.sent.map(|sent| format!("sent at {}{connection}, ", millis(sent))).unwrap_or_default();
    let status = attempt.status.unwrap_or_default();
    let head = attempt.head.map(millis).unwrap_or_default();
    let ended = millis(attempt.ended);
    let _ = match (attempt.outcome, attempt.error) {
        ("answered", _) => writeln!(out, "          {sent}answered {status} at {head}, over at {ended}"),
        ("discarded", _) => writeln!(out, "          {sent}answered {status} at {head}, which was given up"),
        ("overtaken", _) => writeln!(out, "          {sent}given up at {ended}: another answered first"),
        (_, Some(error)) if attempt.status.is_some() => {
            writeln!(out, "          {sent}answered {status} at {head}, broke off at {ended}: {error}")
        }
        (_, Some(error)) => writeln!(out, "          {sent}failed at {ended}: {error}"),
        _ => writeln!(out, "          {sent}no answer until {ended}"),
    };
}

fn millis(duration: Duration) -> String {
    format!("{:.3} ms", duration.as_secs_f64() * 1e3)
}

/// UTC, to the millisecond.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}
