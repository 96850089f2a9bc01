//! A certificate's subject as a field value: RFC 4514, the most particular part first, as nginx's `$ssl_client_s_dn` has it.

use std::fmt::Write;

use x509_parser::prelude::{FromDer, X509Certificate};

/// The subject of a certificate in DER. Only visible ASCII and spaces: everything else is written as `\XX`, so that nothing
/// can end the field it stands in.
///
/// `None` where it is no certificate.
#[must_use]
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut text = String::new();
    let parts: Vec<_> = certificate.subject().iter_rdn().collect();
    for part in parts.into_iter().rev() {
        let mut separator = if text.is_empty() { "" } else { "," };
        for attribute in part.iter() {
            let id = attribute.attr_type().to_id_string();
            let name = short_name(&id);
            let _ = write!(text, "{separator}{name}=");
            escape(&mut text, attribute.attr_value().data);
            separator = "+";
        }
    }
    Some(text)
}

/// The names that RFC 4514 §3 lists, and the one for mail addresses that everyone knows.
fn short_name(id: &str) -> &str {
    match id {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    }
}

fn escape(text: &mut String, value: &[u8]) {
    for (index, &byte) in value.iter().enumerate() {
        let is_edge = index == 0 || index + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if is_edge => text.push_str("\\ "),
            b'#' if index == 0 => text.push_str("\\#"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}
