//! Signatures of certificates, of revocation lists and of handshakes, for certificates of any version: webpki reads
//! version 3 only, but authorities that people run themselves often sign version 1.

use rustls::DigitallySignedStruct;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use rustls::{CertificateError, Error, PeerMisbehaved};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::der;

/// Whether `der` (a certificate or a revocation list) is signed by the key in `spki`.
pub(crate) fn is_signed_by(
    der: &[u8],
    spki: &[u8],
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> bool {
    let (Some(signed), Some((key_algorithm, key))) = (der::signed(der), der::public_key(spki)) else {
        return false;
    };
    algorithms
        .iter()
        .filter(|known| known.public_key_alg_id().as_ref() == key_algorithm)
        .filter(|known| known.signature_alg_id().as_ref() == signed.algorithm)
        .any(|known| known.verify_signature(key, signed.message, signed.signature).is_ok())
}

/// Whether the peer owns the key of its certificate. RFC 5246 §7.4.8 and RFC 8446 §4.4.3: the latter ties a scheme to one
/// curve, which is the first algorithm that rustls lists for it.
pub(super) fn handshake(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
    tls13: bool,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signature.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    if tls13 && is_tls12_only(signature.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let candidates = if tls13 { candidates.get(..1).unwrap_or_default() } else { candidates };
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let (key_algorithm, key) =
        der::public_key(parsed.public_key().raw).ok_or(CertificateError::BadEncoding)?;
    let valid = candidates
        .iter()
        .filter(|known| known.public_key_alg_id().as_ref() == key_algorithm)
        .any(|known| known.verify_signature(key, message, signature.signature()).is_ok());
    if valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(CertificateError::BadSignature.into()) }
}

/// RFC 8446 §4.2.3: RSASSA-PKCS1-v1_5 signs certificates, but not handshakes of TLS 1.3.
fn is_tls12_only(scheme: rustls::SignatureScheme) -> bool {
    use rustls::SignatureScheme as S;
    matches!(
        scheme,
        S::RSA_PKCS1_SHA1
            | S::ECDSA_SHA1_Legacy
            | S::RSA_PKCS1_SHA256
            | S::RSA_PKCS1_SHA384
            | S::RSA_PKCS1_SHA512
    )
}
