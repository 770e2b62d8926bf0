//! `crt-ignore-err`, `ca-ignore-err`: errors of verification that do not count, by number or by OpenSSL's name.

use sockeye_tls::settings::Ignored;

/// X509_V_ERR_… and their numbers, as OpenSSL's x509_vfy.h publishes them.
const NAMES: &[(&str, u32)] = &[
    ("UNABLE_TO_GET_ISSUER_CERT", 2),
    ("UNABLE_TO_GET_CRL", 3),
    ("UNABLE_TO_DECRYPT_CERT_SIGNATURE", 4),
    ("UNABLE_TO_DECRYPT_CRL_SIGNATURE", 5),
    ("UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY", 6),
    ("CERT_SIGNATURE_FAILURE", 7),
    ("CRL_SIGNATURE_FAILURE", 8),
    ("CERT_NOT_YET_VALID", 9),
    ("CERT_HAS_EXPIRED", 10),
    ("CRL_NOT_YET_VALID", 11),
    ("CRL_HAS_EXPIRED", 12),
    ("ERROR_IN_CERT_NOT_BEFORE_FIELD", 13),
    ("ERROR_IN_CERT_NOT_AFTER_FIELD", 14),
    ("ERROR_IN_CRL_LAST_UPDATE_FIELD", 15),
    ("ERROR_IN_CRL_NEXT_UPDATE_FIELD", 16),
    ("OUT_OF_MEM", 17),
    ("DEPTH_ZERO_SELF_SIGNED_CERT", 18),
    ("SELF_SIGNED_CERT_IN_CHAIN", 19),
    ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", 20),
    ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", 21),
    ("CERT_CHAIN_TOO_LONG", 22),
    ("CERT_REVOKED", 23),
    ("INVALID_CA", 24),
    ("NO_ISSUER_PUBLIC_KEY", 24),
    ("PATH_LENGTH_EXCEEDED", 25),
    ("INVALID_PURPOSE", 26),
    ("CERT_UNTRUSTED", 27),
    ("CERT_REJECTED", 28),
    ("SUBJECT_ISSUER_MISMATCH", 29),
    ("AKID_SKID_MISMATCH", 30),
    ("AKID_ISSUER_SERIAL_MISMATCH", 31),
    ("KEYUSAGE_NO_CERTSIGN", 32),
    ("UNABLE_TO_GET_CRL_ISSUER", 33),
    ("UNHANDLED_CRITICAL_EXTENSION", 34),
    ("KEYUSAGE_NO_CRL_SIGN", 35),
    ("UNHANDLED_CRITICAL_CRL_EXTENSION", 36),
    ("INVALID_NON_CA", 37),
    ("PROXY_PATH_LENGTH_EXCEEDED", 38),
    ("KEYUSAGE_NO_DIGITAL_SIGNATURE", 39),
    ("PROXY_CERTIFICATES_NOT_ALLOWED", 40),
    ("INVALID_EXTENSION", 41),
    ("INVALID_POLICY_EXTENSION", 42),
    ("NO_EXPLICIT_POLICY", 43),
    ("DIFFERENT_CRL_SCOPE", 44),
    ("UNSUPPORTED_EXTENSION_FEATURE", 45),
    ("UNNESTED_RESOURCE", 46),
    ("PERMITTED_VIOLATION", 47),
    ("EXCLUDED_VIOLATION", 48),
    ("SUBTREE_MINMAX", 49),
    ("APPLICATION_VERIFICATION", 50),
    ("UNSUPPORTED_CONSTRAINT_TYPE", 51),
    ("UNSUPPORTED_CONSTRAINT_SYNTAX", 52),
    ("UNSUPPORTED_NAME_SYNTAX", 53),
    ("CRL_PATH_VALIDATION_ERROR", 54),
    ("PATH_LOOP", 55),
    ("SUITE_B_INVALID_VERSION", 56),
    ("SUITE_B_INVALID_ALGORITHM", 57),
    ("SUITE_B_INVALID_CURVE", 58),
    ("SUITE_B_INVALID_SIGNATURE_ALGORITHM", 59),
    ("SUITE_B_LOS_NOT_ALLOWED", 60),
    ("SUITE_B_CANNOT_SIGN_P_384_WITH_P_256", 61),
    ("HOSTNAME_MISMATCH", 62),
    ("EMAIL_MISMATCH", 63),
    ("IP_ADDRESS_MISMATCH", 64),
    ("DANE_NO_MATCH", 65),
    ("EE_KEY_TOO_SMALL", 66),
    ("CA_KEY_TOO_SMALL", 67),
    ("CA_MD_TOO_WEAK", 68),
    ("INVALID_CALL", 69),
    ("STORE_LOOKUP", 70),
    ("NO_VALID_SCTS", 71),
    ("PROXY_SUBJECT_NAME_VIOLATION", 72),
    ("OCSP_VERIFY_NEEDED", 73),
    ("OCSP_VERIFY_FAILED", 74),
    ("OCSP_CERT_UNKNOWN", 75),
];

/// The most that an error number may be: no library has more.
const NUMBER_MAX: u32 = 1_000;

/// `all`, or numbers and names with commas.
pub(super) fn parse(text: &str) -> Result<Ignored, String> {
    if text == "all" {
        return Ok(Ignored::All);
    }
    let one = |part: &str| {
        let number = part.parse().ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        let named = || {
            let name = part.strip_prefix("X509_V_ERR_")?;
            NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
        };
        number
            .or_else(named)
            .ok_or_else(|| format!("error constant '{part}' unknown in error IDs list '{text}'"))
    };
    let mut numbers = text.split(',').map(one).collect::<Result<Vec<u32>, String>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Ignored::These(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let check = |text: &str, expected: Option<Ignored>| {
            assert_eq!(parse(text).ok(), expected, "{text}");
        };
        check("all", Some(Ignored::All));
        check("10", Some(Ignored::These(vec![10])));
        check("X509_V_ERR_CERT_HAS_EXPIRED,23,10", Some(Ignored::These(vec![10, 23])));
        for wrong in ["", "x", "10,", "0", "9999", "CERT_HAS_EXPIRED", "X509_V_ERR_NOPE", "10,all"] {
            check(wrong, None);
        }
    }
}
