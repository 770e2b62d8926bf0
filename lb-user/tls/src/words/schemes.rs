//! `sigalgs` and `client-sigalgs`: signature algorithms as SSL_CTX_set1_sigalgs_list reads them.

use rustls::SignatureScheme;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};

use SignatureScheme as S;

/// `ALGORITHM+HASH` of OpenSSL and the name in RFC 8446. TLS 1.2 ties no curve to ECDSA's hash; rustls does, as TLS 1.3.
const SCHEMES: &[(&str, &str, SignatureScheme)] = &[
    ("ECDSA+SHA256", "ecdsa_secp256r1_sha256", S::ECDSA_NISTP256_SHA256),
    ("ECDSA+SHA384", "ecdsa_secp384r1_sha384", S::ECDSA_NISTP384_SHA384),
    ("ECDSA+SHA512", "ecdsa_secp521r1_sha512", S::ECDSA_NISTP521_SHA512),
    ("ed25519", "ed25519", S::ED25519),
    ("RSA-PSS+SHA256", "rsa_pss_rsae_sha256", S::RSA_PSS_SHA256),
    ("RSA-PSS+SHA384", "rsa_pss_rsae_sha384", S::RSA_PSS_SHA384),
    ("RSA-PSS+SHA512", "rsa_pss_rsae_sha512", S::RSA_PSS_SHA512),
    ("RSA+SHA256", "rsa_pkcs1_sha256", S::RSA_PKCS1_SHA256),
    ("RSA+SHA384", "rsa_pkcs1_sha384", S::RSA_PKCS1_SHA384),
    ("RSA+SHA512", "rsa_pkcs1_sha512", S::RSA_PKCS1_SHA512),
    ("PSS+SHA256", "rsa_pss_rsae_sha256", S::RSA_PSS_SHA256),
    ("PSS+SHA384", "rsa_pss_rsae_sha384", S::RSA_PSS_SHA384),
    ("PSS+SHA512", "rsa_pss_rsae_sha512", S::RSA_PSS_SHA512),
];

/// Words of OpenSSL for what rustls does not have.
const KNOWN: &[&str] = &[
    "RSA+SHA1",
    "RSA+SHA224",
    "ECDSA+SHA1",
    "ECDSA+SHA224",
    "DSA+SHA1",
    "DSA+SHA224",
    "DSA+SHA256",
    "DSA+SHA384",
    "DSA+SHA512",
    "ed448",
    "rsa_pss_pss_sha256",
    "rsa_pss_pss_sha384",
    "rsa_pss_pss_sha512",
    "rsa_pkcs1_sha1",
    "ecdsa_sha1",
    "ecdsa_brainpoolP256r1tls13_sha256",
    "ecdsa_brainpoolP384r1tls13_sha384",
    "ecdsa_brainpoolP512r1tls13_sha512",
    "mldsa44",
    "mldsa65",
    "mldsa87",
];

/// The schemes in `words`, most preferred first.
pub(super) fn schemes(
    words: &str,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Vec<SignatureScheme> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let mut unknown = false;
    for word in words.split(':').map(str::trim).filter(|word| !word.is_empty()) {
        let name = word.trim_start_matches('?');
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        match SCHEMES.iter().find(|(openssl, standard, _)| is(openssl) || is(standard)) {
            Some((_, _, scheme)) if !found.contains(scheme) => found.push(*scheme),
            Some(_) => {}
            None if word.starts_with('?') => {}
            None => {
                unknown |= !KNOWN.iter().any(|known| is(known));
                missing.push(name);
            }
        }
    }
    let known = || SCHEMES.iter().take(10).map(|(name, ..)| *name).collect::<Vec<_>>().join(":");
    if found.is_empty() || unknown {
        errors
            .push(format!("unable to set SSL Signature Algorithm list to '{words}'. There are {}", known()));
    } else if !missing.is_empty() {
        warnings.push(format!(
            "signature algorithms that are not available are left out: {}. There are {}",
            missing.join(", "),
            known()
        ));
    }
    found
}

/// What remains of rustls' verification when only `accepted` may sign handshakes. Signatures of certificates are not
/// restricted by it, as OpenSSL's list does not restrict them below its security level.
pub(super) fn verifying(accepted: &[SignatureScheme]) -> WebPkiSupportedAlgorithms {
    let all = aws_lc_rs::default_provider().signature_verification_algorithms;
    let mapping: Vec<_> = accepted
        .iter()
        .filter_map(|scheme| all.mapping.iter().find(|(known, _)| known == scheme))
        .copied()
        .collect();
    // rustls wants statics. One leak per distinct line, which live as long as the process, as the configuration does.
    WebPkiSupportedAlgorithms { all: all.all, mapping: Vec::leak(mapping) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expected: Result<&[SignatureScheme], ()>, warned: bool) {
        let (mut warnings, mut errors) = (Vec::new(), Vec::new());
        let found = schemes(words, &mut warnings, &mut errors);
        let result = if errors.is_empty() { Ok(found.as_slice()) } else { Err(()) };
        assert_eq!(result, expected, "{words}");
        assert_eq!(!warnings.is_empty(), warned, "{words}");
    }

    #[test]
    fn names_of_signatures() {
        check("RSA+SHA256:ECDSA+SHA256", Ok(&[S::RSA_PKCS1_SHA256, S::ECDSA_NISTP256_SHA256]), false);
        check("rsa_pss_rsae_sha256:PSS+SHA256", Ok(&[S::RSA_PSS_SHA256]), false);
        check("ed25519:RSA+SHA1", Ok(&[S::ED25519]), true);
        check("RSA+SHA1", Err(()), false);
        check("FOO", Err(()), false);
        check("ed25519:FOO", Err(()), false);
        check("ed25519:?FOO", Ok(&[S::ED25519]), false);
    }

    #[test]
    fn only_what_is_accepted_verifies() {
        assert_eq!(verifying(&[S::ED25519]).supported_schemes(), [S::ED25519]);
    }
}
