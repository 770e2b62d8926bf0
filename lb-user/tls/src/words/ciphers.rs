//! `ciphers` (the language of ciphers(1): names, groups, `!`, `-`, `+`, `@STRENGTH`) and `ciphersuites`.
//!
//! rustls has the six suites of TLS 1.2 with forward secrecy and authenticated encryption; everything else that can be
//! written here never existed to it.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

use crate::settings::Profile;

/// A suite of TLS 1.2 and what the groups of OpenSSL say of it.
struct Suite {
    name: &'static str,
    /// As the RFCs call it, which newer OpenSSL accepts, too.
    standard: &'static str,
    bits: u16,
    ecdsa: bool,
    aes: bool,
    suite: SupportedCipherSuite,
}

/// In OpenSSL's own order of preference.
static TLS12: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        standard: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        bits: 256,
        ecdsa: true,
        aes: true,
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        standard: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        bits: 256,
        ecdsa: false,
        aes: true,
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        standard: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        bits: 256,
        ecdsa: true,
        aes: false,
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        standard: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        bits: 256,
        ecdsa: false,
        aes: false,
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        standard: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        bits: 128,
        ecdsa: true,
        aes: true,
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        standard: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        bits: 128,
        ecdsa: false,
        aes: true,
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    },
];

/// In OpenSSL's order, which is not rustls'.
static TLS13: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
];

/// Suites of TLS 1.3 that exist, but not in rustls.
const TLS13_KNOWN: [&str; 4] =
    ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256", "TLS_SHA256_SHA256", "TLS_SHA384_SHA384"];

/// Words of ciphers(1) that none of our suites belongs to.
const NEVER: &[&str] = &[
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "MEDIUM",
    "LOW",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "eNULL",
    "NULL",
    "aNULL",
    "kRSA",
    "RSA",
    "kDHr",
    "kDHd",
    "kDH",
    "aDH",
    "kDHE",
    "kEDH",
    "DH",
    "DHE",
    "EDH",
    "ADH",
    "AECDH",
    "kECDHr",
    "kECDHe",
    "aECDH",
    "aDSS",
    "DSS",
    "aGOST",
    "aGOST01",
    "aGOST12",
    "kGOST",
    "kGOST18",
    "GOST94",
    "GOST89MAC",
    "GOST89",
    "GOST",
    "TLSv1.0",
    "TLSv1",
    "SSLv3",
    "SSLv2",
    "AESCCM",
    "AESCCM8",
    "ARIA128",
    "ARIA256",
    "ARIA",
    "ARIAGCM",
    "CAMELLIA128",
    "CAMELLIA256",
    "CAMELLIA",
    "3DES",
    "DES",
    "RC4",
    "RC2",
    "IDEA",
    "SEED",
    "MD5",
    "SHA1",
    "SHA",
    "SHA256",
    "SHA384",
    "PSK",
    "kPSK",
    "kECDHEPSK",
    "kDHEPSK",
    "kEDHPSK",
    "kRSAPSK",
    "aPSK",
    "kSRP",
    "SRP",
    "aSRP",
    "aKRB5",
    "kKRB5",
    "KRB5",
    "kFZA",
    "FZA",
    "aFZA",
    "eFZA",
    "CBC",
    "DES-CBC3-SHA",
];

/// The suites of `profile`, most preferred first.
pub(super) fn suites(
    profile: &Profile,
    tls12: bool,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Vec<SupportedCipherSuite> {
    let mut suites = match &profile.ciphersuites {
        Some(words) => tls13(words, warnings, errors),
        None => TLS13.iter().map(|(_, suite)| *suite).collect(),
    };
    suites.extend(match &profile.ciphers {
        Some(words) if tls12 => tls12_list(words, warnings, errors),
        _ => TLS12.iter().map(|suite| suite.suite).collect(),
    });
    suites
}

fn tls13(words: &str, warnings: &mut Vec<String>, errors: &mut Vec<String>) -> Vec<SupportedCipherSuite> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for word in words.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        match TLS13.iter().find(|(name, _)| *name == word) {
            Some((_, suite)) if !found.contains(suite) => found.push(*suite),
            Some(_) => {}
            // HAProxy lets suites of TLS 1.2 pass here, and OpenSSL does nothing with them.
            None if TLS12.iter().any(|suite| suite.name == word || suite.standard == word) => {}
            None => missing.push(word),
        }
    }
    if found.is_empty() {
        errors.push(format!(
            "unable to set TLS 1.3 cipher suites to '{words}'. There are {}",
            TLS13.map(|(name, _)| name).join(":")
        ));
    } else if !missing.is_empty() {
        let what = if missing.iter().all(|word| TLS13_KNOWN.contains(word)) {
            "rustls does not have"
        } else {
            "nobody knows"
        };
        warnings.push(format!("cipher suites that {what} are left out: {}", missing.join(", ")));
    }
    found
}

fn tls12_list(
    words: &str,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Vec<SupportedCipherSuite> {
    let (chosen, missing) = select(words);
    if chosen.is_empty() {
        errors.push(format!(
            "unable to set SSL cipher list to '{words}': nothing of it is available. Suites of TLS 1.2 without forward secrecy \
             or authenticated encryption do not exist here; there are {}",
            TLS12.iter().map(|suite| suite.name).collect::<Vec<_>>().join(":")
        ));
    } else if !missing.is_empty() {
        warnings.push(format!(
            "ciphers that are not available are left out: {}. Used are {}",
            missing.join(", "),
            chosen.iter().map(|index| TLS12[*index].name).collect::<Vec<_>>().join(":")
        ));
    }
    chosen.iter().map(|index| TLS12[*index].suite).collect()
}

/// Carries out a cipher list: what is active in which order, and the exact names that there is nothing for.
fn select(words: &str) -> (Vec<usize>, Vec<&str>) {
    let mut active: Vec<usize> = Vec::new();
    let mut killed = [false; TLS12.len()];
    let mut missing = Vec::new();
    for word in words.split([':', ',', ';', ' ']).filter(|word| !word.is_empty()) {
        if word == "@STRENGTH" {
            // A stable sort: equals stay as they were asked for.
            active.sort_by_key(|index| std::cmp::Reverse(TLS12[*index].bits));
            continue;
        }
        // @SECLEVEL: the six pass every level up to 2, and three of them level 3; keys are checked on their own.
        if word.starts_with('@') {
            continue;
        }
        let (operator, rest) = match word.as_bytes()[0] {
            operator @ (b'!' | b'-' | b'+') => (operator, &word[1..]),
            _ => (b' ', word),
        };
        let rest = if rest.starts_with("PROFILE=") { "DEFAULT" } else { rest };
        let matched = matching(rest);
        match operator {
            b'!' => {
                active.retain(|index| !matched[*index]);
                killed.iter_mut().zip(matched).for_each(|(killed, matched)| *killed |= matched);
            }
            b'-' => active.retain(|index| !matched[*index]),
            b'+' => {
                let (moved, mut kept): (Vec<usize>, Vec<usize>) =
                    active.iter().partition(|index| matched[**index]);
                kept.extend(moved);
                active = kept;
            }
            _ => {
                for (index, matched) in matched.into_iter().enumerate() {
                    if matched && !killed[index] && !active.contains(&index) {
                        active.push(index);
                    }
                }
                // Only names are missed: a group says "whatever you have of it".
                if !matched.contains(&true) && !rest.split('+').all(is_group) {
                    missing.push(rest);
                }
            }
        }
    }
    (active, missing)
}

/// Which suites belong to all groups in `word` (`ECDHE+AESGCM`).
fn matching(word: &str) -> [bool; TLS12.len()] {
    let mut matched = [true; TLS12.len()];
    for part in word.split('+') {
        for (matched, suite) in matched.iter_mut().zip(&TLS12) {
            *matched &= suite.is(part);
        }
    }
    matched
}

fn is_group(word: &str) -> bool {
    NEVER.contains(&word) || ALWAYS.contains(&word) || SOME.contains(&word)
}

/// Groups that all six belong to.
const ALWAYS: &[&str] =
    &["ALL", "DEFAULT", "HIGH", "kEECDH", "kECDHE", "ECDH", "ECDHE", "EECDH", "TLSv1.2", "AEAD"];
/// Groups that [`Suite::is`] decides about.
const SOME: &[&str] = &[
    "aRSA",
    "aECDSA",
    "ECDSA",
    "AESGCM",
    "AES",
    "AES128",
    "AES256",
    "CHACHA20",
    "FIPS",
    "SUITEB128",
    "SUITEB128ONLY",
    "SUITEB128C2",
    "SUITEB192",
];

impl Suite {
    fn is(&self, word: &str) -> bool {
        if ALWAYS.contains(&word) || self.name == word || self.standard == word {
            return true;
        }
        match word {
            "aRSA" => !self.ecdsa,
            "aECDSA" | "ECDSA" => self.ecdsa,
            "AESGCM" | "AES" | "FIPS" => self.aes,
            "AES128" => self.aes && self.bits == 128,
            "AES256" => self.aes && self.bits == 256,
            "CHACHA20" => !self.aes,
            "SUITEB128" | "SUITEB128C2" => self.ecdsa && self.aes,
            "SUITEB128ONLY" => self.ecdsa && self.aes && self.bits == 128,
            "SUITEB192" => self.ecdsa && self.aes && self.bits == 256,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Initials: E or R, then A (AES 256), C (ChaCha20) or a (AES 128); then what is missed.
    fn check(words: &str, expected: &str) {
        let (chosen, missing) = select(words);
        let mut text = String::new();
        for index in chosen {
            let suite = &TLS12[index];
            text.push(if suite.ecdsa { 'E' } else { 'R' });
            text.push(match (suite.aes, suite.bits) {
                (false, _) => 'C',
                (true, 256) => 'A',
                _ => 'a',
            });
        }
        if !missing.is_empty() {
            text = format!("{text} -{}", missing.join(","));
        }
        assert_eq!(text, expected, "{words}");
    }

    #[test]
    fn lists_as_openssl_reads_them() {
        // Each expectation is `openssl ciphers -tls1_2 LIST` with what rustls lacks taken out.
        check("ALL", "EARAECRCEaRa");
        check("HIGH:!aNULL:!MD5", "EARAECRCEaRa");
        check("DEFAULT", "EARAECRCEaRa");
        check("PROFILE=SYSTEM", "EARAECRCEaRa");
        check("ECDHE+AESGCM:ECDHE+CHACHA20", "EARAEaRaECRC");
        check("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", "RaEa");
        check("ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA", "Ra -AES128-SHA");
        check("EECDH+aRSA+AESGCM:EDH+aRSA", "RARa");
        check("AESGCM:-ECDSA:ALL", "RARaEAECRCEa");
        check("AESGCM:!ECDSA:ALL", "RARaRC");
        check("ALL:+AES256", "ECRCEaRaEARA");
        check("ECDHE+AES128:CHACHA20:@STRENGTH", "ECRCEaRa");
        check("ALL:@SECLEVEL=2", "EARAECRCEaRa");
        check("ALL:!SHA256:!SHA384:!SHA1:!RSA:!DHE", "EARAECRCEaRa");
        check("kRSA:RC4-SHA", " -RC4-SHA");
        check("FOO", " -FOO");
        check("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "Ra");
        check("SUITEB192", "EA");
        check("", "");
        check("!", "");
        check("+:-:@", "");
    }

    #[test]
    fn suites_that_are_missing_are_told() {
        let check = |ciphers: Option<&str>,
                     ciphersuites: Option<&str>,
                     count: usize,
                     warned: usize,
                     failed: usize| {
            let profile = Profile {
                ciphers: ciphers.map(str::to_owned),
                ciphersuites: ciphersuites.map(str::to_owned),
                ..Profile::default()
            };
            let (mut warnings, mut errors) = (Vec::new(), Vec::new());
            let suites = suites(&profile, true, &mut warnings, &mut errors);
            assert_eq!(
                (suites.len(), warnings.len(), errors.len()),
                (count, warned, failed),
                "{ciphers:?} {ciphersuites:?}"
            );
        };
        check(None, None, 9, 0, 0);
        check(Some("AES128-SHA:DES-CBC3-SHA"), None, 3, 0, 1);
        check(Some("AES128-SHA:HIGH"), None, 9, 1, 0);
        check(None, Some("TLS_AES_128_GCM_SHA256"), 7, 0, 0);
        check(None, Some("TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256"), 7, 1, 0);
        check(None, Some("FOO"), 6, 0, 1);
        check(None, Some(""), 6, 0, 1);
    }
}
