//! Which names a server's certificate must have. Manual 5.2 `verify`, `verifyhost`.

use rustls::pki_types::ServerName;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What to compare a certificate's names with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Names {
    /// The name that the connection asked for.
    Asked,
    /// `verifyhost`.
    Fixed(Box<str>),
    /// Neither was said: any name will do.
    Any,
}

impl Names {
    /// Whether the certificate is for who was meant. As HAProxy, DNS names of subjectAltName count, and the common names.
    pub(super) fn allow(&self, der: &[u8], asked: &ServerName<'_>) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return false;
        };
        match (self, asked) {
            (Self::Any, _) => true,
            (Self::Fixed(name), _) => has_name(&certificate, name),
            (Self::Asked, ServerName::DnsName(name)) => has_name(&certificate, name.as_ref()),
            (Self::Asked, ServerName::IpAddress(address)) => {
                let address = std::net::IpAddr::from(*address);
                has_address(&certificate, address) || has_name(&certificate, &address.to_string())
            }
            (Self::Asked, _) => false,
        }
    }
}

fn has_name(certificate: &X509Certificate<'_>, name: &str) -> bool {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|extension| &extension.value.general_names).filter_map(
        |name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        },
    );
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    alternative.chain(common).any(|pattern| stands_for(pattern, name))
}

fn has_address(certificate: &X509Certificate<'_>, address: std::net::IpAddr) -> bool {
    let octets = match address {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    certificate.subject_alternative_name().ok().flatten().is_some_and(|extension| {
        extension
            .value
            .general_names
            .iter()
            .any(|name| matches!(name, GeneralName::IPAddress(own) if *own == octets))
    })
}

/// A wildcard is the whole leftmost label, and there are two more at least: `*.org` stands for nobody.
fn stands_for(pattern: &str, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            parent.contains('.')
                && name
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
        }
        None => !pattern.is_empty() && pattern.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let check =
            |pattern, name, expected| assert_eq!(stands_for(pattern, name), expected, "{pattern} {name}");
        check("a.example.org", "A.Example.org", true);
        check("a.example.org", "a.example.org.", true);
        check("a.example.org", "b.example.org", false);
        check("*.example.org", "b.example.org", true);
        check("*.example.org", "example.org", false);
        check("*.example.org", ".example.org", false);
        check("*.example.org", "a.b.example.org", false);
        check("*.org", "example.org", false);
        check("a*.example.org", "ab.example.org", false);
        check("*", "example", false);
        check("", "", false);
    }
}
