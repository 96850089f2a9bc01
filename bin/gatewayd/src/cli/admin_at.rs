//! Where a running gateway is asked.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use http::uri::Authority;

/// Where it answers unless something else is said.
const USUAL: &str = "127.0.0.1:8081";

/// Where a running gateway is told what to do.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminAt {
    /// Its admin address: HOST:PORT, or a URL [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    admin: Option<Address>,

    /// Its admin token, where it has one
    #[arg(long, value_name = "TOKEN", env = "GATEWAYD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

impl AdminAt {
    /// Where it is asked.
    pub(crate) fn address(&self) -> Address {
        self.admin.clone().unwrap_or_else(|| Address { authority: Authority::from_static(USUAL) })
    }

    /// Whether an address was named.
    pub(crate) fn is_named(&self) -> bool {
        self.admin.is_some()
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    authority: Authority,
}

impl Address {
    /// As it is connected to.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.authority())
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("expected HOST:PORT, such as {USUAL}");
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => return Err(format!("the admin address speaks http, not {scheme}")),
            None => text,
        };
        let authority: Authority = rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let is_whole = !authority.host().is_empty() && authority.port_u16().is_some();
        if !is_whole || authority.as_str().contains('@') {
            return Err(wrong());
        }
        Ok(Self { authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, authority) in [
            ("127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://gateway.internal:81/", "gateway.internal:81"),
            ("[::1]:8081", "[::1]:8081"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().authority(), authority);
        }
        for text in [
            "",
            "foo",
            "8081",
            ":8081",
            "foo:bar",
            "foo:99999",
            "127.0.0.1",
            "::1",
            "http://",
            "a:1/b",
            "u@h:1",
        ] {
            let refused = text.parse::<Address>().unwrap_err();
            assert!(refused.contains("HOST:PORT"), "{text}: {refused}");
        }
        assert!("ftp://a:1".parse::<Address>().unwrap_err().contains("ftp"));
    }
}
