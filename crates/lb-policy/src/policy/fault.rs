//! `fault`: delays and failures made on purpose, so that it is known what clients make of them.
//!
//! It runs last of a rule's policies, so that who is refused anyway is refused at once. A delay is part of the request's own time:
//! beyond the rule's `timeout` it is 504. Cost to a request that is left alone: a random number a fault.

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};

use super::{ClientInfo, Policy, PolicyInfo, Refusal, RequestParts, Verdict};

pub(super) const INFO: PolicyInfo =
    PolicyInfo { name: "fault", summary: "delays or fails a share of requests on purpose" };

/// What is done to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultConfig {
    /// How long a share of requests is held up.
    pub delay: Option<(Duration, Share)>,
    /// What another share is answered instead of being forwarded. Who is to have both has them in this order.
    pub abort: Option<(StatusCode, Share)>,
    /// A field by which a request may ask for a fault of its own: `delay=100ms`, `abort=503`, both with a comma between, or `none`.
    pub header: Option<HeaderName>,
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All.
    pub const ALL: Self = Self(1_000_000);

    /// None.
    pub const NONE: Self = Self(0);

    /// Of a number from 0 to 100; what is outside is cut.
    #[must_use]
    pub fn of_percent(percent: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        Self((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
    }

    /// Whether this request is one of them.
    fn takes(self) -> bool {
        self.0 > 0 && (self == Self::ALL || fastrand::u32(..Self::ALL.0) < self.0)
    }
}

/// Delays and fails.
#[derive(Debug)]
pub struct Fault(FaultConfig);

/// What is done to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Chosen {
    delay: Option<Duration>,
    abort: Option<StatusCode>,
}

impl Fault {
    /// The policy for these.
    #[must_use]
    pub fn new(config: FaultConfig) -> Self {
        Self(config)
    }

    fn choose(&self, head: &RequestParts<'_>) -> Chosen {
        let FaultConfig { delay, abort, header } = &self.0;
        let asked = header.as_ref().and_then(|name| head.headers.get(name));
        if let Some(asked) = asked.and_then(|asked| str::from_utf8(asked).ok()).and_then(Chosen::parse) {
            return asked;
        }
        Chosen {
            delay: delay.filter(|(_, share)| share.takes()).map(|(delay, _)| delay),
            abort: abort.filter(|(_, share)| share.takes()).map(|(status, _)| status),
        }
    }
}

impl Policy for Fault {
    fn on_request<'a>(&'a self, head: RequestParts<'a>, _: &'a ClientInfo) -> Verdict<'a> {
        let Chosen { delay, abort } = self.choose(&head);
        let then = || match abort {
            Some(status) => Verdict::Refuse(Box::new(refusal(status))),
            None => Verdict::Continue,
        };
        match delay {
            None => then(),
            Some(delay) => Verdict::Delay(delay, Box::new(then())),
        }
    }
}

impl Chosen {
    /// What a request asks for; nothing where that cannot be read.
    fn parse(text: &str) -> Option<Self> {
        let mut chosen = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(("delay", delay)) => chosen.delay = Some(duration(delay)?),
                Some(("abort", status)) => chosen.abort = Some(abort_status(status.parse().ok()?)?),
                None if part == "none" => {}
                _ => return None,
            }
        }
        Some(chosen)
    }
}

/// A status that can stand for a failure.
#[must_use]
pub fn abort_status(code: u16) -> Option<StatusCode> {
    StatusCode::from_u16(code).ok().filter(|status| status.is_client_error() || status.is_server_error())
}

/// `100ms` or `2s`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let number: u32 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        _ => None,
    }
}

fn refusal(status: StatusCode) -> Refusal {
    Refusal {
        status,
        code: "fault_injected",
        detail: "This request fails on purpose: the rule that takes it has a fault injected.".to_owned(),
        headers: HeaderMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept() {
        assert!((0..1000).all(|_| Share::ALL.takes() && !Share::of_percent(0.0).takes()));
        let share = Share::of_percent(25.0);
        let taken = (0..40_000).filter(|_| share.takes()).count();
        assert!((9_400..=10_600).contains(&taken), "{taken} of 40000");
        assert_eq!((Share::of_percent(250.0), Share::of_percent(0.0001)), (Share::ALL, Share(1)));
    }

    #[test]
    fn a_request_asks_for_what_can_be_read() {
        let second = Some(Duration::from_secs(1));
        for (text, chosen) in [
            ("delay=1s", Some(Chosen { delay: second, abort: None })),
            ("delay=1000ms, abort=503", Some(Chosen { delay: second, abort: abort_status(503) })),
            ("none", Some(Chosen::default())),
            ("abort=200", None),
            ("delay=1h", None),
            ("delay=99999999999s", None),
            ("explode", None),
        ] {
            assert_eq!(Chosen::parse(text), chosen, "{text}");
        }
    }
}
