//! `curves` and `ecdhe`: names of groups for the key exchange, as SSL_CTX_set1_groups_list reads them.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;

/// Group names in any case and their kin; NIST's, SECG's and ANSI's names mean the same curves.
static GROUPS: &[(&[&str], &dyn SupportedKxGroup)] = &[
    (&["X25519MLKEM768"], kx_group::X25519MLKEM768),
    (&["X25519"], kx_group::X25519),
    (&["P-256", "prime256v1", "secp256r1"], kx_group::SECP256R1),
    (&["P-384", "secp384r1"], kx_group::SECP384R1),
    (&["SecP256r1MLKEM768"], kx_group::SECP256R1MLKEM768),
    (&["MLKEM768"], kx_group::MLKEM768),
    (&["MLKEM1024"], kx_group::MLKEM1024),
];

/// Groups of OpenSSL that rustls does not have.
const KNOWN: &[&str] = &[
    "P-521",
    "secp521r1",
    "P-224",
    "secp224r1",
    "P-192",
    "prime192v1",
    "secp192r1",
    "X448",
    "secp256k1",
    "brainpoolP256r1",
    "brainpoolP384r1",
    "brainpoolP512r1",
    "brainpoolP256r1tls13",
    "brainpoolP384r1tls13",
    "brainpoolP512r1tls13",
    "ffdhe2048",
    "ffdhe3072",
    "ffdhe4096",
    "ffdhe6144",
    "ffdhe8192",
    "SecP384r1MLKEM1024",
    "MLKEM512",
    "sm2",
];

/// The groups in `words`, most preferred first.
pub(super) fn groups(
    words: &str,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Vec<&'static dyn SupportedKxGroup> {
    let mut found: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    let mut missing = Vec::new();
    let mut unknown = false;
    // `/` separates tuples of OpenSSL 3.5, `*` asks for a key share, `?` forgives what is unknown, `-` removes.
    for word in words.split([':', '/']).map(str::trim).filter(|word| !word.is_empty()) {
        let name = word.trim_start_matches(['*', '?', '-']);
        let named = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let remove = word.starts_with('-');
        match GROUPS.iter().find(|(names, _)| named(names)) {
            Some((_, group)) if remove => found.retain(|have| have.name() != group.name()),
            Some((_, group)) if found.iter().any(|have| have.name() == group.name()) => {}
            Some((_, group)) => found.push(*group),
            None if remove || word.contains('?') => {}
            None if name.eq_ignore_ascii_case("DEFAULT") || name.eq_ignore_ascii_case("auto") => {
                found.extend(rustls::crypto::aws_lc_rs::DEFAULT_KX_GROUPS);
            }
            None => {
                unknown |= !named(KNOWN);
                missing.push(name);
            }
        }
    }
    let known = || GROUPS.iter().map(|(names, _)| names[0]).collect::<Vec<_>>().join(":");
    if found.is_empty() || unknown {
        errors.push(format!("unable to set SSL curves list to '{words}'. There are {}", known()));
    } else if !missing.is_empty() {
        warnings.push(format!(
            "curves that are not available are left out: {}. There are {}",
            missing.join(", "),
            known()
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expected: Result<&str, ()>, warned: bool) {
        let (mut warnings, mut errors) = (Vec::new(), Vec::new());
        let found = groups(words, &mut warnings, &mut errors);
        let text = found.iter().map(|group| format!("{:?}", group.name())).collect::<Vec<_>>().join(":");
        let result = if errors.is_empty() { Ok(text.as_str()) } else { Err(()) };
        assert_eq!(result, expected, "{words}");
        assert_eq!(!warnings.is_empty(), warned, "{words}");
    }

    #[test]
    fn names_of_curves() {
        check("X25519:P-256", Ok("X25519:secp256r1"), false);
        check("prime256v1", Ok("secp256r1"), false);
        check("secp384r1:x25519:X25519", Ok("secp384r1:X25519"), false);
        check("X25519MLKEM768:X25519", Ok("X25519MLKEM768:X25519"), false);
        check("X25519:P-521", Ok("X25519"), true);
        check("P-521", Err(()), false);
        check("FOO", Err(()), false);
        check("X25519:FOO", Err(()), false);
        check("?FOO:*X25519/P-256", Ok("X25519:secp256r1"), false);
        check("X25519:P-256:-X25519", Ok("secp256r1"), false);
        check("", Err(()), false);
    }
}
