//! Who may sign a response: the issuer of the certificate, or whom the issuer has named for it (RFC 6960 §4.2.2.2).

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::response::Basic;
use crate::verify::is_signed_by;

/// Certificates of a response that are tried, for each costs two checks of a signature. Real ones have one.
const CERTIFICATES_MAX: usize = 4;

/// Whether the signature is the issuer's or that of a responder with a certificate of the issuer's for this purpose.
pub(super) fn has_signed(basic: &Basic<'_>, issuer: &[u8], now: SystemTime) -> bool {
    let Ok((_, issuer)) = X509Certificate::from_der(issuer) else { return false };
    let algorithms = default_provider().signature_verification_algorithms.all;
    is_signed_by(basic.signed, issuer.public_key().raw, algorithms)
        || basic.certificates.iter().take(CERTIFICATES_MAX).any(|certificate| {
            X509Certificate::from_der(certificate).is_ok_and(|(_, responder)| {
                is_named(&responder, certificate, &issuer, algorithms, now)
                    && is_signed_by(basic.signed, responder.public_key().raw, algorithms)
            })
        })
}

/// Whether the issuer lets this one sign responses now.
fn is_named(
    responder: &X509Certificate<'_>,
    der: &[u8],
    issuer: &X509Certificate<'_>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: SystemTime,
) -> bool {
    let now =
        now.duration_since(UNIX_EPOCH).map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    let validity = responder.validity();
    let purpose = responder.extended_key_usage().ok().flatten();
    purpose.is_some_and(|purpose| purpose.value.ocsp_signing)
        && validity.not_before.timestamp() <= now
        && now <= validity.not_after.timestamp()
        && responder.issuer().as_raw() == issuer.subject().as_raw()
        && is_signed_by(der, issuer.public_key().raw, algorithms)
}
