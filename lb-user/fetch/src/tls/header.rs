//! What a PROXY header of version 2 tells of the certificates of a client's connection (its specification, 2.2.6).

use sockeye_sample::tls::TlsFacts;

use super::certificate::Certificate;
use super::{name, oids};

/// The common name in the subject of the client's certificate.
pub fn client_common_name(facts: &TlsFacts) -> Option<&[u8]> {
    name::attribute(Certificate::parse(facts.peer_certificate()?)?.subject, b"CN", 1)
}

/// How the certificate that we presented is signed: `RSA-SHA256`.
pub fn own_signature(facts: &TlsFacts) -> Option<&'static str> {
    let certificate = Certificate::parse(facts.own_certificate.as_deref()?)?;
    Some(oids::algorithm(certificate.signature_algorithm))
}

/// The key of the certificate that we presented and its length in bits: `RSA2048`, `EC256`. `None`: it is of another
/// kind.
pub fn own_key(facts: &TlsFacts) -> Option<String> {
    let certificate = Certificate::parse(facts.own_certificate.as_deref()?)?;
    let (kind, bits) = certificate.key_bits()?;
    Some(format!("{kind}{bits}"))
}
