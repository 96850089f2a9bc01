//! Where a running gateway is asked.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use clap::Args;
use http::uri::Authority;
use lb_tls::{CertificateFiles, ClientOptions, ClientTls, Trust};

/// Where it answers unless something else is said.
const USUAL: &str = "127.0.0.1:8081";

/// Where a running gateway is told what to do.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminAt {
    /// Its admin address: HOST:PORT, or https://HOST:PORT where it has `tls` [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    admin: Option<Address>,

    /// Who vouches for its certificate, as a PEM file [default: the roots of this machine]
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_ca: Option<PathBuf>,

    /// The certificate that it is shown, as a PEM file, where it asks for one
    #[arg(long, value_name = "FILE", requires = "admin_key")]
    admin_cert: Option<PathBuf>,

    /// The key of that, as a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["admin", "admin_cert"])]
    admin_key: Option<PathBuf>,

    /// Its admin token, where it has one
    #[arg(long, value_name = "TOKEN", env = "GATEWAYD_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

impl AdminAt {
    /// Where it is asked.
    pub(crate) fn address(&self) -> Address {
        let usual = || Address { authority: Authority::from_static(USUAL), is_secure: false };
        self.admin.clone().unwrap_or_else(usual)
    }

    /// How it is spoken to, where that is by TLS.
    ///
    /// # Errors
    /// A file that is of no use, or none that would be.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<ClientTls>> {
        let address = self.address();
        if !address.is_secure {
            let file = self.admin_ca.as_ref().or(self.admin_cert.as_ref());
            if let Some(file) = file {
                bail!(
                    "{} would be used for TLS, and {address} is asked without: write https://",
                    file.display()
                );
            }
            return Ok(None);
        }
        let certificate = self.admin_cert.clone().zip(self.admin_key.clone());
        let options = ClientOptions {
            server_name: address.authority.host().trim_matches(['[', ']']).to_owned(),
            trust: self.admin_ca.clone().map_or(Trust::System, Trust::Ca),
            pins: Vec::new(),
            certificate: certificate.map(|(cert, key)| CertificateFiles { cert, key, ocsp: None }),
            alpn: Vec::new(),
        };
        Ok(Some(ClientTls::new(options)?.0))
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
    is_secure: bool,
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
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is_secure = scheme.eq_ignore_ascii_case("https");
        if !is_secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(format!("the admin address speaks http or https, not {scheme}"));
        }
        let authority: Authority = rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let is_whole = !authority.host().is_empty() && authority.port_u16().is_some();
        if !is_whole || authority.as_str().contains('@') {
            return Err(wrong());
        }
        Ok(Self { authority, is_secure })
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
            ("HTTPS://10.0.0.1:8081", "10.0.0.1:8081"),
        ] {
            let parsed = text.parse::<Address>().unwrap();
            assert_eq!((parsed.authority(), parsed.is_secure), (authority, text.starts_with("HTTPS")));
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
