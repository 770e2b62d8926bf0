//! The authority that a client's chain ends in (`ssl_c_r_dn`), which neither rustls nor webpki names.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Authorities;
use crate::handshake::Handshake;

/// Certificates of a chain; OpenSSL goes no further by default either.
const CHAIN_MAX: usize = 100;

impl Handshake {
    /// The subject (DER of the whole name) of the last certificate of the chain of `peer`, as far as it can be put
    /// together. Only for handshakes that checked it: a session that is resumed has no chain.
    #[must_use]
    pub fn root_subject(&self, peer: &[CertificateDer<'_>]) -> Option<Vec<u8>> {
        root_subject(peer, self.verifier.as_ref()?.authorities())
    }
}

fn root_subject(peer: &[CertificateDer<'_>], authorities: &Authorities) -> Option<Vec<u8>> {
    let (leaf, rest) = peer.split_first()?;
    let parsed = |der: &CertificateDer<'_>| -> Option<(Vec<u8>, Vec<u8>)> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some((certificate.subject().as_raw().to_vec(), certificate.issuer().as_raw().to_vec()))
    };
    let (mut subject, mut issuer) = parsed(leaf)?;
    for _ in 0..CHAIN_MAX {
        if subject == issuer {
            break;
        }
        // What is trusted goes first, as in OpenSSL.
        let next = authorities.certificates.iter().map(AsRef::as_ref).chain(rest.iter().map(AsRef::as_ref));
        let next = next
            .filter_map(|der: &[u8]| parsed(&CertificateDer::from(der)))
            .find(|(name, _)| *name == issuer);
        match next {
            Some(next) => (subject, issuer) = next,
            None => break,
        }
    }
    Some(subject)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls::pki_types::CertificateDer;
    use x509_parser::prelude::{FromDer, X509Name};

    use super::super::Authorities;
    use super::root_subject;

    fn named(name: &str, authority: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    /// Values of HAProxy 3.2: the root wherever it is known, else the last that is.
    #[test]
    fn ends_of_chains() {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(named("root", true), key()).unwrap();
        let middle = CertifiedIssuer::signed_by(named("middle", true), key(), &root).unwrap();
        let leaf_key = key();
        let leaf = named("leaf", false).signed_by(&leaf_key, &middle).unwrap();
        let (root, middle, leaf) = (root.der().clone(), middle.der().clone(), leaf.der().clone());

        let rows: &[(&[&CertificateDer<'static>], &[&CertificateDer<'static>], &str)] = &[
            (&[&leaf, &middle], &[&root], "CN=root"),
            (&[&leaf], &[&middle, &root], "CN=root"),
            (&[&leaf], &[&root], "CN=leaf"),
            (&[&leaf, &middle], &[], "CN=middle"),
            (&[&root], &[], "CN=root"),
        ];
        for (peer, trusted, expected) in rows {
            let peer: Vec<_> = peer.iter().map(|der| (*der).clone()).collect();
            let certificates = trusted.iter().map(|der| (*der).clone()).collect();
            let authorities = Authorities { certificates, ..Authorities::default() };
            let subject = root_subject(&peer, &authorities).unwrap();
            let (_, name) = X509Name::from_der(&subject).unwrap();
            assert_eq!(name.to_string(), *expected);
        }
        assert_eq!(root_subject(&[], &Authorities::default()), None);
        assert_eq!(root_subject(&[CertificateDer::from(vec![1, 2])], &Authorities::default()), None);
    }
}
