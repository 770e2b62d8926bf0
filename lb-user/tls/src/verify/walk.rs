//! A chain as OpenSSL goes along it: every problem with its number and depth, instead of the first one.
//!
//! webpki is asked first, and what it accepts is accepted. This walk accepts more only where webpki stops before it looked
//! at the chain: certificates of version 1, authorities used as leaves, and leaves that `ca-file` itself holds.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CertificateError, Error};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate, X509Version};

use super::numbers::*;
use super::{Authorities, signature};

/// Something wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// X509_V_ERR_* of OpenSSL.
    pub number: u32,
    /// 0 is the leaf.
    pub depth: u8,
}

/// What a peer presented, and for what.
pub(super) struct Peer<'a> {
    pub(super) end_entity: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) now: UnixTime,
    pub(super) usage: KeyUsage,
    /// The usage is that of a client.
    pub(super) client: bool,
}

/// Certificates of a chain at most, the leaf included: OpenSSL allows 100, webpki 6 intermediate ones.
const CHAIN_MAX: usize = 10;

/// Certificates of one name whose keys are tried for one signature: a peer may send many.
const NAMESAKES_MAX: usize = 4;

type Algorithms<'a> = &'a [&'a dyn SignatureVerificationAlgorithm];

/// What is wrong with `peer`, nothing if it is to be believed.
pub(super) fn problems(
    peer: &Peer<'_>,
    authorities: &Authorities,
    algorithms: Algorithms<'_>,
) -> Vec<Problem> {
    let error = match ask_webpki(peer, authorities, algorithms) {
        Ok(true) => return Vec::new(),
        // It does not look at the use of authorities' keys.
        Ok(false) => None,
        Err(error) => Some(error),
    };
    let found = walk(peer, authorities, algorithms);
    if !found.is_empty() {
        return found;
    }
    // Where webpki stopped early the walk decides alone. Every other refusal stands, whatever the walk thinks of it.
    match error {
        Some(
            webpki::Error::UnsupportedCertVersion
            | webpki::Error::CaUsedAsEndEntity
            | webpki::Error::UnknownIssuer,
        ) => found,
        Some(error) => vec![Problem { number: number_of(&error), depth: 0 }],
        None => vec![Problem { number: INVALID_CA, depth: 1 }],
    }
}

/// Whether the keys of the authorities between leaf and trust anchor may sign certificates, on a path that webpki accepts.
fn ask_webpki(
    peer: &Peer<'_>,
    authorities: &Authorities,
    algorithms: Algorithms<'_>,
) -> Result<bool, webpki::Error> {
    let lists: Vec<_> = authorities.revocations.iter().collect();
    let revocation = if authorities.check_revocation {
        RevocationOptionsBuilder::new(&lists).ok().map(|builder| {
            builder
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        })
    } else {
        None
    };
    let leaf = EndEntityCert::try_from(peer.end_entity)?;
    let path = leaf.verify_for_usage(
        algorithms,
        &authorities.anchors,
        peer.intermediates,
        peer.now,
        peer.usage,
        revocation,
        None,
    )?;
    let able =
        |der: CertificateDer<'_>| X509Certificate::from_der(&der).is_ok_and(|(_, parsed)| may_sign(&parsed));
    Ok(path.intermediate_certificates().all(|certificate| able(certificate.der())))
}

/// Whether an authority's key is for certificates, or for nothing in particular.
fn may_sign(authority: &X509Certificate<'_>) -> bool {
    authority.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

fn walk(peer: &Peer<'_>, authorities: &Authorities, algorithms: Algorithms<'_>) -> Vec<Problem> {
    let Some(chain) = Chain::build(peer, authorities, algorithms) else {
        return vec![Problem { number: UNSPECIFIED, depth: 0 }];
    };
    let mut problems = Vec::new();
    chain.check_trust(&mut problems);
    chain.check_extensions(peer.client, &mut problems);
    if authorities.check_revocation {
        chain.check_revocation(authorities, peer.now, algorithms, &mut problems);
    }
    chain.check_signatures_and_dates(peer.now, algorithms, &mut problems);
    problems
}

/// From the leaf towards a root, each signed by the next as far as names say.
struct Chain<'a> {
    certificates: Vec<(X509Certificate<'a>, &'a [u8])>,
    /// The last one is in `ca-file`.
    trusted: bool,
}

impl<'a> Chain<'a> {
    fn build(peer: &'a Peer<'_>, authorities: &'a Authorities, algorithms: Algorithms<'_>) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(peer.end_entity).ok()?;
        let own = parse(&authorities.certificates);
        let presented = parse(peer.intermediates);
        let is_own = |der: &[u8]| authorities.certificates.iter().any(|known| known.as_ref() == der);
        let mut trusted = is_own(peer.end_entity);
        let mut certificates = vec![(leaf, peer.end_entity.as_ref())];
        while let Some((last, der)) = certificates.last()
            && !trusted
            && !is_self_issued(last)
            && certificates.len() <= CHAIN_MAX
        {
            // Of several certificates with the name, the one whose key fits: authorities are renewed with new keys.
            let signs = |candidate: &X509Certificate<'_>| {
                signature::is_signed_by(der, candidate.public_key().raw, algorithms)
            };
            let named =
                |from: &[(X509Certificate<'a>, &'a [u8])]| -> Option<(X509Certificate<'a>, &'a [u8])> {
                    let candidates = || {
                        from.iter()
                            .filter(|(candidate, _)| may_have_issued(candidate, last))
                            .take(NAMESAKES_MAX)
                    };
                    candidates()
                        .find(|(candidate, _)| signs(candidate))
                        .or_else(|| candidates().next())
                        .cloned()
                };
            let next = named(&own);
            trusted = next.is_some();
            let Some(next) = next.or_else(|| named(&presented)) else { break };
            trusted |= is_own(next.1);
            certificates.push(next);
        }
        Some(Self { certificates, trusted })
    }

    fn top(&self) -> u8 {
        u8::try_from(self.certificates.len() - 1).unwrap_or(u8::MAX)
    }

    fn check_trust(&self, problems: &mut Vec<Problem>) {
        let depth = self.top();
        let mut say = |number| problems.push(Problem { number, depth });
        if self.certificates.len() > CHAIN_MAX {
            say(CERT_CHAIN_TOO_LONG);
        } else if self.trusted {
        } else if !self.certificates.last().is_some_and(|(last, _)| is_self_issued(last)) {
            say(UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
            if depth == 0 {
                say(UNABLE_TO_VERIFY_LEAF_SIGNATURE);
            }
        } else if depth == 0 {
            say(DEPTH_ZERO_SELF_SIGNED_CERT);
        } else {
            say(SELF_SIGNED_CERT_IN_CHAIN);
        }
    }

    fn check_extensions(&self, client: bool, problems: &mut Vec<Problem>) {
        for (depth, (certificate, _)) in (0u8..).zip(&self.certificates) {
            let mut say = |number| problems.push(Problem { number, depth });
            if certificate.iter_extensions().any(|extension| extension.critical && !is_handled(extension)) {
                say(UNHANDLED_CRITICAL_EXTENSION);
            }
            if depth == 0 {
                if !is_for(certificate, client) {
                    say(INVALID_PURPOSE);
                }
                continue;
            }
            let constraints = certificate.basic_constraints().ok().flatten().map(|extension| extension.value);
            let is_authority = match constraints {
                Some(constraints) => constraints.ca && may_sign(certificate),
                // Roots of version 1 have no way to say that they are authorities; being in ca-file says it.
                None => certificate.version() == X509Version::V1 && self.trusted && depth == self.top(),
            };
            if !is_authority {
                say(INVALID_CA);
                say(INVALID_PURPOSE);
            }
            // Self-issued certificates do not count; depth 1 has no intermediate one below it.
            let most = constraints.and_then(|constraints| constraints.path_len_constraint);
            if most.is_some_and(|most| u32::from(depth) > most.saturating_add(1)) {
                say(PATH_LENGTH_EXCEEDED);
            }
            // webpki compares names with constraints; where it did not come to that, nobody has.
            if !matches!(certificate.name_constraints(), Ok(None)) {
                say(UNSUPPORTED_CONSTRAINT_TYPE);
            }
        }
    }

    fn check_revocation(
        &self,
        authorities: &Authorities,
        now: UnixTime,
        algorithms: Algorithms<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let now = seconds(now);
        let lists: Vec<_> = authorities
            .revocation_ders
            .iter()
            .filter_map(|der| Some((CertificateRevocationList::from_der(der).ok()?.1, der.as_slice())))
            .collect();
        for (depth, (certificate, _)) in (0u8..).zip(&self.certificates) {
            // What is trusted by itself is not asked about.
            if self.trusted && depth > 0 && depth == self.top() {
                break;
            }
            let mut say = |number| problems.push(Problem { number, depth });
            let issuer = self.certificates.get(usize::from(depth) + 1).or_else(|| self.certificates.last());
            let list = lists.iter().find(|(list, _)| list.issuer().as_raw() == certificate.issuer().as_raw());
            let (Some((list, der)), Some((issuer, _))) = (list, issuer) else {
                say(UNABLE_TO_GET_CRL);
                continue;
            };
            if !signature::is_signed_by(der, issuer.public_key().raw, algorithms) {
                say(CRL_SIGNATURE_FAILURE);
            }
            // Lists for some certificates only, changes to another list: webpki knows some of them, this does not.
            if list.extensions().iter().any(|extension| extension.critical) {
                say(UNHANDLED_CRITICAL_CRL_EXTENSION);
            }
            if list.last_update().timestamp() > now {
                say(CRL_NOT_YET_VALID);
            }
            if list.next_update().is_some_and(|next| next.timestamp() < now) {
                say(CRL_HAS_EXPIRED);
            }
            if list
                .iter_revoked_certificates()
                .any(|revoked| revoked.raw_serial() == certificate.raw_serial())
            {
                say(CERT_REVOKED);
            }
        }
    }

    /// From the top down, as OpenSSL.
    fn check_signatures_and_dates(
        &self,
        now: UnixTime,
        algorithms: Algorithms<'_>,
        problems: &mut Vec<Problem>,
    ) {
        let now = seconds(now);
        for (depth, (certificate, der)) in (0..=self.top()).zip(&self.certificates).rev() {
            let issuer = self.certificates.get(usize::from(depth) + 1);
            if issuer.is_some_and(|(issuer, _)| !may_sign(issuer)) {
                problems.push(Problem { number: KEYUSAGE_NO_CERTSIGN, depth: depth + 1 });
            }
            let mut say = |number| problems.push(Problem { number, depth });
            if let Some((issuer, _)) = issuer
                && !signature::is_signed_by(der, issuer.public_key().raw, algorithms)
            {
                say(CERT_SIGNATURE_FAILURE);
            }
            if certificate.validity().not_before.timestamp() > now {
                say(CERT_NOT_YET_VALID);
            }
            if certificate.validity().not_after.timestamp() < now {
                say(CERT_HAS_EXPIRED);
            }
        }
    }
}

fn parse<'a>(ders: &'a [CertificateDer<'_>]) -> Vec<(X509Certificate<'a>, &'a [u8])> {
    ders.iter().filter_map(|der| Some((X509Certificate::from_der(der).ok()?.1, der.as_ref()))).collect()
}

/// Whether names and, where both say it, identifiers of keys fit.
fn may_have_issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension as E;
    let wanted = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        E::AuthorityKeyIdentifier(identifier) => identifier.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    });
    let own = issuer.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        E::SubjectKeyIdentifier(key) => Some(key.0),
        _ => None,
    });
    let keys_fit = wanted.zip(own).is_none_or(|(wanted, own)| wanted == own);
    issuer.subject().as_raw() == certificate.issuer().as_raw() && keys_fit
}

fn is_self_issued(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Extensions whose meaning somebody looks at.
fn is_handled(extension: &x509_parser::extensions::X509Extension<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension as E;
    matches!(
        extension.parsed_extension(),
        E::BasicConstraints(_)
            | E::KeyUsage(_)
            | E::ExtendedKeyUsage(_)
            | E::SubjectAlternativeName(_)
            | E::NameConstraints(_)
            | E::CertificatePolicies(_)
            | E::AuthorityKeyIdentifier(_)
            | E::SubjectKeyIdentifier(_)
    )
}

/// Whether a leaf may be used at this end of a connection.
fn is_for(leaf: &X509Certificate<'_>, client: bool) -> bool {
    let extended = match leaf.extended_key_usage() {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(usage)) => {
            usage.value.any || if client { usage.value.client_auth } else { usage.value.server_auth }
        }
    };
    let usage = match leaf.key_usage() {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(usage)) => {
            let usage = usage.value;
            usage.digital_signature() || usage.key_agreement() || (!client && usage.key_encipherment())
        }
    };
    extended && usage
}

fn number_of(error: &webpki::Error) -> u32 {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => CERT_HAS_EXPIRED,
        E::CertNotValidYet { .. } => CERT_NOT_YET_VALID,
        E::CertRevoked => CERT_REVOKED,
        E::CrlExpired { .. } => CRL_HAS_EXPIRED,
        E::UnknownIssuer => UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        E::InvalidSignatureForPublicKey => CERT_SIGNATURE_FAILURE,
        E::InvalidCrlSignatureForPublicKey => CRL_SIGNATURE_FAILURE,
        E::UnknownRevocationStatus => UNABLE_TO_GET_CRL,
        E::RequiredEkuNotFoundContext(_) => INVALID_PURPOSE,
        E::PathLenConstraintViolated => PATH_LENGTH_EXCEEDED,
        E::EndEntityUsedAsCa => INVALID_CA,
        E::NameConstraintViolation => 47,
        E::UnsupportedCriticalExtension => UNHANDLED_CRITICAL_EXTENSION,
        _ => UNSPECIFIED,
    }
}

/// What rustls makes the right alert of.
pub(super) fn error_of(number: u32) -> Error {
    match number {
        CERT_HAS_EXPIRED => CertificateError::Expired,
        CERT_NOT_YET_VALID => CertificateError::NotValidYet,
        CERT_REVOKED => CertificateError::Revoked,
        UNABLE_TO_GET_CRL => CertificateError::UnknownRevocationStatus,
        CERT_SIGNATURE_FAILURE => CertificateError::BadSignature,
        INVALID_PURPOSE => CertificateError::InvalidPurpose,
        UNABLE_TO_GET_ISSUER_CERT_LOCALLY
        | UNABLE_TO_VERIFY_LEAF_SIGNATURE
        | DEPTH_ZERO_SELF_SIGNED_CERT
        | SELF_SIGNED_CERT_IN_CHAIN
        | CERT_CHAIN_TOO_LONG
        | INVALID_CA => CertificateError::UnknownIssuer,
        _ => CertificateError::ApplicationVerificationFailure,
    }
    .into()
}
