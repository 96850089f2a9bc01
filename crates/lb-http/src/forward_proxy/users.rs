//! Who may use a forward proxy: whoever knows a user's password (RFC 7617).
//!
//! Cost: a bare digest is compared at once, and so is what has been found to be right before. A hash that is slow on purpose is looked at
//! on a thread of the control side, two at a time, and whoever waits for it has ten seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use lb_h1::Fields;
use lb_policy::Refusal;
use lb_tls::{Password, Verified};
use tokio::sync::Semaphore;

use crate::client::Client;
use crate::config::{ForwardProxyConfig, ForwardProxyUser};
use crate::reject::Reject;
use crate::watch::{Phase, within_deadline};

/// Why a password is not looked at.
const LOOKED_AT: &str = "more passwords were to be looked at than that could be done for in time";

/// Slow hashes that are looked at a time, each by a core.
const AT_ONCE: usize = 2;
/// Who may wait for that; more are told that there is too much to do.
const MOST_WAITING: usize = 64;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the process knows of passwords, for all of its listeners.
pub(crate) struct Passwords {
    verified: Verified,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { verified: Verified::default(), places, waiting: AtomicUsize::new(0) }
    }
}

/// Someone who waits for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Option<Self> {
        let is_there_room = waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING;
        let this = Self(waiting);
        is_there_room.then_some(this)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a Proxy-Authorization comes to without a slow hash.
enum Known<'a> {
    /// He is who he says, or nobody is asked.
    Yes,
    /// Nobody is.
    No,
    /// This one's password tells, and whether it is that of the user who is named.
    Perhaps { user: &'a ForwardProxyUser, is_named: bool, shown: Vec<u8> },
}

/// Turns away who is not known.
pub(super) async fn authenticate(
    client: &Client,
    proxy: &ForwardProxyConfig,
    headers: &Fields,
) -> Result<(), Reject> {
    let is_known = match known(&proxy.users, headers.get(&header::PROXY_AUTHORIZATION)) {
        Known::Yes => true,
        Known::No => false,
        Known::Perhaps { user, is_named, shown } => {
            let passwords = &client.worker.control().passwords;
            Box::pin(passwords.look(client, &user.password, is_named, shown)).await?
        }
    };
    if is_known { Ok(()) } else { Err(unknown()) }
}

impl Passwords {
    /// Whether a password that is kept by a slow hash was shown, by someone who bears the name of its user.
    async fn look(
        &self,
        client: &Client,
        kept: &Password,
        is_named: bool,
        shown: Vec<u8>,
    ) -> Result<bool, Reject> {
        let mark = self.verified.mark(kept, &shown);
        if is_named && mark.is_some_and(|mark| self.verified.knows(mark)) {
            return Ok(true);
        }
        let Some(_waiting) = Waiting::begin(&self.waiting) else { return Err(Reject::Overloaded(LOOKED_AT)) };
        client.watch.begin(Phase::Wait, Instant::now(), PATIENCE);
        let kept = kept.clone();
        let looking = async {
            // Held to the end of the look, which goes on where nobody waits for it any more.
            let permit = Arc::clone(&self.places).acquire_owned().await.ok()?;
            let look = move || {
                let is_right = kept.is_of(&shown);
                drop(permit);
                is_right
            };
            client.worker.control().runtime.spawn_blocking(look).await.ok()
        };
        let looked = within_deadline(&client.watch, looking).await.ok().flatten();
        let is_right = looked.ok_or(Reject::Overloaded(LOOKED_AT))? && is_named;
        if let Some(mark) = mark.filter(|_| is_right) {
            self.verified.remember(mark);
        }
        Ok(is_right)
    }
}

/// Looks at every user, so that the time it takes does not tell who exists: in place of one who does not, a slow hash of another is
/// looked at.
fn known<'a>(users: &'a [ForwardProxyUser], authorization: Option<&[u8]>) -> Known<'a> {
    if users.is_empty() {
        return Known::Yes;
    }
    let Some((name, shown)) = authorization.and_then(credentials) else { return Known::No };
    let is_named = |user: &ForwardProxyUser| user.name.as_bytes() == name;
    let (mut is_known, mut slow): (bool, Option<&ForwardProxyUser>) = (false, None);
    for user in users {
        if user.password.is_slow() {
            slow = if is_named(user) { Some(user) } else { slow.or(Some(user)) };
        } else {
            is_known |= user.password.is_of(&shown) & is_named(user);
        }
    }
    match slow {
        _ if is_known => Known::Yes,
        None => Known::No,
        Some(user) => Known::Perhaps { user, is_named: is_named(user), shown },
    }
}

/// Name and password of `Basic …`.
pub(crate) fn credentials(authorization: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = decoded.split_at(colon);
    Some((name.to_vec(), password.get(1..).unwrap_or_default().to_vec()))
}

fn unknown() -> Reject {
    let mut fields = HeaderMap::new();
    let challenge = HeaderValue::from_static("Basic realm=\"proxy\", charset=\"UTF-8\"");
    fields.insert(header::PROXY_AUTHENTICATE, challenge);
    Reject::Refused(Box::new(Refusal {
        status: StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        code: "unauthorized",
        detail: "this proxy wants to know who asks".to_owned(),
        headers: fields,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: Password) -> ForwardProxyUser {
        ForwardProxyUser { name: name.to_owned(), password }
    }

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(text)).into_bytes()
    }

    #[test]
    fn only_those_who_are_known_pass() {
        let users = [user("alice", Password::of(b"a:b")), user("bob", Password::of(b"pw"))];
        let knows = |shown: &[u8]| matches!(known(&users, Some(shown)), Known::Yes);
        for (text, expected) in [
            ("alice:a:b", true),
            ("bob:pw", true),
            ("alice:pw", false),
            ("bob:", false),
            (":pw", false),
            ("bob", false),
            ("BOB:pw", false),
            ("", false),
        ] {
            assert_eq!(knows(&basic(text)), expected, "{text}");
        }
        let mut spelt = basic("bob:pw");
        spelt[..6].make_ascii_uppercase();
        assert!(knows(&spelt));
        for bad in [&b"Bearer x"[..], b"Basic", b"Basic ", b"Basic !!!", b"\xff"] {
            assert!(!knows(bad), "{bad:?}");
        }
        assert!(matches!(known(&users, None), Known::No));
        assert!(matches!(known(&[], None), Known::Yes));
    }

    #[test]
    fn a_name_that_nobody_has_takes_the_time_of_one() {
        let slow = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a".parse().unwrap();
        let users = [user("quick", Password::of(b"pw")), user("a", slow), user("b", Password::of(b"pw"))];
        for (text, expected) in
            [("a:secret", Some(true)), ("z:secret", Some(false)), ("quick:no", Some(false))]
        {
            let found = match known(&users, Some(&basic(text))) {
                Known::Perhaps { user, is_named, shown } => {
                    assert_eq!(user.name, "a");
                    assert_eq!(user.password.is_of(&shown), shown == b"secret");
                    Some(is_named)
                }
                _ => None,
            };
            assert_eq!(found, expected, "{text}");
        }
        assert!(matches!(known(&users, Some(&basic("quick:pw"))), Known::Yes));
    }
}
