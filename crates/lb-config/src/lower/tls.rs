//! TLS with clients and to backends. The files are read here, so that what is wrong with one is said at the key that names it.

use std::path::PathBuf;

use http::HeaderName;
use lb_http::config::{BackendLimits, BackendProtocol, ListenerTls};
use lb_tls::{
    CertificateFiles, Certificates, ClientAuth, ClientOptions, ClientTls, MinVersion, Pin, ServerOptions,
    ServerTls, TlsError, Trust,
};

use super::Context;
use super::url::BackendUrl;
use crate::member::MemberTls;
use crate::tree::NodeId;
use crate::written::listener::{self, AuthMode};
use crate::written::root::Root;
use crate::written::upstream::{BackendTls, Protocol, ProxyVersion};
use crate::written::values::{At, WordOr};

/// What a listener's `tls` means; `None` where it is wrong.
pub(super) fn listener(
    context: &mut Context<'_>,
    written: &At<WordOr<listener::ListenerTls>>,
    address: std::net::IpAddr,
    http3: bool,
) -> Option<ListenerTls> {
    let table = match &written.value {
        WordOr::Word(word) if word == "self-signed" => {
            let message = "a self-signed certificate is made at the start: it is for trials, and no client has a reason to believe it";
            context.warning_at_key(written.id, message, "self-signed");
            let options =
                ServerOptions { http3, ..ServerOptions::new(Certificates::SelfSigned(Some(address))) };
            let handshake_timeout = ListenerTls::HANDSHAKE_TIMEOUT;
            return Some(ListenerTls { options, handshake_timeout, subject_header: None });
        }
        WordOr::Word(_) => {
            context
                .error(
                    written.id,
                    format!("`tls` cannot be {}", context.quote(written.id)),
                    "not a known value",
                )
                .help("write `tls = { cert = \"…\", key = \"…\" }`, or \"self-signed\" for trials");
            return None;
        }
        WordOr::Table(table) => table,
    };
    let mut named = Named::default();
    let pairs = certificates(context, written.id, table, &mut named)?;
    let auth = match &table.client_auth {
        Some(auth) => Some(client_auth(context, auth, &mut named)?),
        None => None,
    };
    let (client_auth, subject_header) = auth.unzip();
    let options = ServerOptions {
        certificates: Certificates::Files(pairs),
        min_version: match table.min_version {
            Some(listener::MinVersion::Tls13) => MinVersion::Tls13,
            Some(listener::MinVersion::Tls12) | None => MinVersion::Tls12,
        },
        ciphers: table
            .ciphers
            .as_ref()
            .map(|written| written.value.iter().map(|name| name.value.clone()).collect()),
        client_auth,
        http3,
        ..ServerOptions::new(Certificates::Files(Vec::new()))
    };
    let ciphers = table.ciphers.as_ref().map_or(written.id, |ciphers| ciphers.id);
    match ServerTls::new(options.clone(), None) {
        Ok((_, notices)) => {
            for notice in notices {
                context.warning_at_key(written.id, notice, "");
            }
        }
        Err(error) => report(context, &error, &named, written.id, ciphers),
    }
    let handshake_timeout = table.handshake_timeout.map_or(ListenerTls::HANDSHAKE_TIMEOUT, |time| time.0);
    Some(ListenerTls { options, handshake_timeout, subject_header: subject_header.flatten() })
}

/// `cert` and `key`, and those of `certificates`, in that order.
fn certificates(
    context: &mut Context<'_>,
    place: NodeId,
    table: &listener::ListenerTls,
    named: &mut Named,
) -> Option<Vec<CertificateFiles>> {
    let mut pairs = Vec::new();
    let mut is_whole = true;
    let more = table.certificates.iter().flat_map(|list| list.value.iter());
    let own = (table.cert.as_ref(), table.key.as_ref(), table.ocsp.as_ref());
    let first = (own.0.is_some() || own.1.is_some() || own.2.is_some()).then_some((place, own));
    let more =
        more.map(|At { id, value }| (*id, (value.cert.as_ref(), value.key.as_ref(), value.ocsp.as_ref())));
    for (place, (cert, key, ocsp)) in first.into_iter().chain(more) {
        match pair(context, place, ("cert", cert), ("key", key), named) {
            Some(pair) => {
                pairs.push(CertificateFiles { ocsp: ocsp.map(|ocsp| named.file(context, ocsp)), ..pair });
            }
            None => is_whole = false,
        }
    }
    if pairs.is_empty() && is_whole {
        // Ones that could not be read are not missing.
        if !["cert", "key", "certificates"].iter().any(|key| context.tree.has(place, key))
            || table.certificates.is_some()
        {
            context
                .error(place, "a listener's TLS has no certificate", "no `cert` and `key`")
                .help("write `tls = { cert = \"…\", key = \"…\" }`, or \"self-signed\" for trials");
        }
        return None;
    }
    is_whole.then_some(pairs)
}

type Keyed<'a> = (&'static str, Option<&'a At<String>>);

/// A certificate and its key, of which neither can do without the other.
fn pair(
    context: &mut Context<'_>,
    place: NodeId,
    (cert_key, cert): Keyed<'_>,
    (key_key, key): Keyed<'_>,
    named: &mut Named,
) -> Option<CertificateFiles> {
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let (cert, key) = (named.file(context, cert), named.file(context, key));
            Some(CertificateFiles { cert, key, ocsp: None })
        }
        _ => {
            let (there, missing) = if cert.is_some() { (cert_key, key_key) } else { (key_key, cert_key) };
            if !context.tree.has(place, missing) {
                let message = match (cert, key) {
                    (None, None) => format!("a certificate needs `{cert_key}` and `{key_key}`"),
                    _ => format!("there is a `{there}` without a `{missing}`"),
                };
                context
                    .error(place, message, format!("no `{missing}`"))
                    .help("each names a PEM file; both may be the same one");
            }
            None
        }
    }
}

fn client_auth(
    context: &mut Context<'_>,
    written: &At<listener::ClientAuth>,
    named: &mut Named,
) -> Option<(ClientAuth, Option<HeaderName>)> {
    let table = &written.value;
    let Some(ca) = &table.ca else {
        if !context.tree.has(written.id, "ca") {
            context
                .error(written.id, "client certificates need to be signed by someone", "no `ca`")
                .help("add `ca = \"…\"`, a PEM file of those whose signatures count");
        }
        return None;
    };
    let subject_header = table.subject_header.as_ref().and_then(|written| {
        let name = written.value.parse::<HeaderName>();
        if name.is_err() {
            let message = format!("{} is not the name of a header", context.quote(written.id));
            context
                .error(written.id, message, "not a header name")
                .help("write one such as \"X-Client-Subject\"");
        }
        name.ok()
    });
    let is_required = table.mode != Some(AuthMode::Optional);
    Some((ClientAuth { ca: named.file(context, ca), is_required }, subject_header))
}

/// How the backends of an upstream are believed, as far as it is not said at each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Belief<'a> {
    skips_verification: bool,
    upstream: Option<&'a At<BackendTls>>,
    protocol: Option<&'a At<Protocol>>,
    http2: BackendLimits,
    proxy_protocol: Option<&'a At<ProxyVersion>>,
    /// Whether there may be others than those that are listed.
    discovers: bool,
}

impl<'a> Belief<'a> {
    pub(super) fn of(root: &Root, upstream: Option<&'a At<BackendTls>>) -> Self {
        let skips_verification = root.insecure_skip_verify.as_ref().is_some_and(|skip| skip.value);
        Self { skips_verification, upstream, ..Self::default() }
    }

    /// With what is said of the protocol of all of them.
    pub(super) fn speaking(self, protocol: Option<&'a At<Protocol>>) -> Self {
        Self { protocol, ..self }
    }

    /// With the bounds on HTTP/2 to all of them.
    pub(super) fn bounded(self, http2: BackendLimits) -> Self {
        Self { http2, ..self }
    }

    /// With what is said of how connections to all of them begin.
    pub(super) fn beginning(self, proxy_protocol: Option<&'a At<ProxyVersion>>) -> Self {
        Self { proxy_protocol, ..self }
    }

    /// Whether others come while the gateway runs.
    pub(super) fn discovers(&self) -> bool {
        self.discovers
    }

    /// With others that come while the gateway runs.
    pub(super) fn discovering(self, discovers: bool) -> Self {
        Self { discovers, ..self }
    }

    /// The bounds on HTTP/2.
    pub(super) fn http2(&self) -> BackendLimits {
        self.http2
    }

    /// What is said of how connections begin.
    pub(super) fn proxy_protocol(&self) -> Option<&'a At<ProxyVersion>> {
        self.proxy_protocol
    }

    /// Which HTTP they speak that say nothing of it.
    pub(super) fn http(&self) -> BackendProtocol {
        match self.protocol.map(|written| written.value) {
            Some(Protocol::H2 | Protocol::H2c) => BackendProtocol::Http2,
            Some(Protocol::Auto) => BackendProtocol::Auto,
            None | Some(Protocol::H1) => BackendProtocol::Http1,
        }
    }

    /// Where it is written.
    pub(super) fn place(&self) -> Option<NodeId> {
        self.upstream.map(|tls| tls.id)
    }

    /// What is said of the protocol.
    pub(super) fn protocol(&self) -> Option<&'a At<Protocol>> {
        self.protocol
    }
}

/// The root's switch, said aloud.
pub(super) fn check_root(context: &mut Context<'_>, root: &Root) {
    warn_of_skipping(context, root.insecure_skip_verify.as_ref());
}

/// What is said for a whole upstream.
pub(super) fn check_upstream(context: &mut Context<'_>, tls: Option<&At<BackendTls>>) {
    warn_of_skipping(context, tls.and_then(|tls| tls.value.insecure_skip_verify.as_ref()));
}

/// TLS that is written for backends of which none speaks it: whoever wrote it takes them to be reached by it.
pub(super) fn check_of_use(context: &mut Context<'_>, upstream: &str, belief: Belief<'_>) {
    let Some(tls) = belief.upstream.filter(|_| !belief.discovers) else { return };
    let message =
        format!("`tls` is written for the backends of `{upstream}`, and all of them are reached by `http`");
    context
        .error_at_key(tls.id, message, "for no backend")
        .help("write their URLs with `https://`, or remove `tls`");
}

fn warn_of_skipping(context: &mut Context<'_>, skip: Option<&At<bool>>) {
    if let Some(skip) = skip.filter(|skip| skip.value) {
        let message = "certificates of backends are not verified: whoever is on the way to them can read and change everything";
        context
            .warning_at_key(skip.id, message, "not verified")
            .help("name who signed them by `tls = { ca = \"…\" }`, or the key itself by `pin`");
    }
}

/// What TLS to a backend means; `Err` where it is wrong, nothing where it is reached in the clear.
pub(super) fn backend(
    context: &mut Context<'_>,
    place: NodeId,
    url: &BackendUrl,
    own: Option<&At<BackendTls>>,
    belief: Belief<'_>,
    protocol: BackendProtocol,
) -> Result<Option<ClientOptions>, ()> {
    check_upstream(context, own);
    if !url.secure {
        if let Some(own) = own {
            context
                .error_at_key(own.id, "a backend that is reached by `http` has no TLS", "not for this URL")
                .help("write its URL with `https://`");
            return Err(());
        }
        return Ok(None);
    }
    options(context, place, &url.host, own, belief, protocol).map(Some)
}

/// What TLS to something else means that the gateway calls; `Err` where it is wrong, nothing where it is called in the clear.
pub(super) fn called(
    context: &mut Context<'_>,
    place: NodeId,
    (host, is_secure): (&str, bool),
    own: Option<&At<BackendTls>>,
) -> Result<Option<ClientOptions>, ()> {
    if is_secure {
        return options(context, place, host, own, Belief::default(), BackendProtocol::Http1).map(Some);
    }
    if let Some(own) = own {
        context
            .error_at_key(own.id, "what is called by `http` has no TLS", "not for this URL")
            .help("write its URL with `https://`");
        return Err(());
    }
    Ok(None)
}

/// What TLS to backends of an upstream means that come while the gateway runs. `is_said` where what is wrong with it is said
/// elsewhere.
pub(super) fn members(
    context: &mut Context<'_>,
    place: NodeId,
    belief: Belief<'_>,
    is_said: bool,
) -> Option<MemberTls> {
    const ANY_HOST: &str = "member.invalid";
    let protocol = belief.http();
    let options = match belief.upstream {
        Some(_) if !is_said => options(context, place, ANY_HOST, None, belief, protocol).ok()?,
        _ => meant(context, place, ANY_HOST, None, belief, protocol).ok()?.0,
    };
    let by_host = belief.upstream.is_none_or(|tls| tls.value.server_name.is_none());
    Some(MemberTls { options, by_host })
}

fn options(
    context: &mut Context<'_>,
    place: NodeId,
    host: &str,
    own: Option<&At<BackendTls>>,
    belief: Belief<'_>,
    protocol: BackendProtocol,
) -> Result<ClientOptions, ()> {
    let (options, named) = meant(context, place, host, own, belief, protocol)?;
    let server_name =
        [own, belief.upstream].into_iter().flatten().find_map(|table| table.value.server_name.as_ref());
    match ClientTls::new(options.clone()) {
        Ok((_, notices)) => {
            for notice in notices {
                context.warning_at_key(named.fallback.unwrap_or(place), notice, "");
            }
            Ok(options)
        }
        Err(error) => {
            let name_place = server_name.map_or(place, |name| name.id);
            let whole = named.fallback.unwrap_or(place);
            let whole = if matches!(error, TlsError::ServerName(_)) { name_place } else { whole };
            report(context, &error, &named, whole, whole);
            Err(())
        }
    }
}

/// The same, with its files, which are not read.
fn meant(
    context: &mut Context<'_>,
    place: NodeId,
    host: &str,
    own: Option<&At<BackendTls>>,
    belief: Belief<'_>,
    protocol: BackendProtocol,
) -> Result<(ClientOptions, Named), ()> {
    let tables = [own, belief.upstream];
    let tables = || tables.iter().flatten().map(|table| &table.value);
    let mut named = Named { fallback: own.or(belief.upstream).map(|table| table.id), ..Named::default() };
    let ca = tables().find_map(|table| table.ca.as_ref());
    let skip = tables().find_map(|table| table.insecure_skip_verify.as_ref());
    let skips = skip.map_or(belief.skips_verification, |skip| skip.value);
    let pins = match tables().find_map(|table| table.pin.as_ref()) {
        Some(written) => pins(context, written)?,
        None => Vec::new(),
    };
    let owner = tables().find(|table| table.client_cert.is_some() || table.client_key.is_some());
    let certificate = match owner {
        None => None,
        Some(table) => {
            let place = own.or(belief.upstream).map_or(place, |table| table.id);
            let (cert, key) = (table.client_cert.as_ref(), table.client_key.as_ref());
            Some(pair(context, place, ("client_cert", cert), ("client_key", key), &mut named).ok_or(())?)
        }
    };
    let server_name = tables().find_map(|table| table.server_name.as_ref());
    let options = ClientOptions {
        server_name: server_name.map_or_else(|| host.to_owned(), |name| name.value.clone()),
        trust: match ca {
            Some(ca) if !skips => Trust::Ca(named.file(context, ca)),
            None if !skips && pins.is_empty() => Trust::System,
            _ => Trust::Anyone,
        },
        pins,
        certificate,
        alpn: match protocol {
            BackendProtocol::Http1 => vec![b"http/1.1".to_vec()],
            BackendProtocol::Http2 => vec![b"h2".to_vec()],
            BackendProtocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            BackendProtocol::Tcp => Vec::new(),
        },
    };
    Ok((options, named))
}

fn pins(context: &mut Context<'_>, written: &At<crate::written::values::Words>) -> Result<Vec<Pin>, ()> {
    let pins: Result<Vec<Pin>, _> = written.value.0.iter().map(|pin| pin.parse()).collect();
    pins.map_err(|error: lb_tls::PinError| {
        context
            .error(written.id, format!("`pin`: {error}"), "not a pin")
            .help("`openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` prints it");
    })
}

/// Files with the places where they are named.
#[derive(Debug, Default)]
struct Named {
    files: Vec<(PathBuf, NodeId)>,
    fallback: Option<NodeId>,
}

impl Named {
    /// The path of a file, which is named from the configuration's directory.
    fn file(&mut self, context: &Context<'_>, written: &At<String>) -> PathBuf {
        let path = context.directory.join(&written.value);
        self.files.push((path.clone(), written.id));
        path
    }
}

fn report(context: &mut Context<'_>, error: &TlsError, named: &Named, whole: NodeId, ciphers: NodeId) {
    let place = match error {
        TlsError::File(error) => named.files.iter().find(|(file, _)| *file == error.file).map(|(_, id)| *id),
        TlsError::UnknownCipher { .. } | TlsError::NoCipher | TlsError::NoQuicCipher => Some(ciphers),
        _ => None,
    };
    context.error(place.unwrap_or(whole), error.to_string(), "");
}
