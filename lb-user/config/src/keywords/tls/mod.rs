//! TLS words: of bind lines, servers, `global` and `crt-store`, and the values that they share.

pub(crate) mod bind;
pub(crate) mod f_use;
pub(crate) mod global;
pub(crate) mod ignored;
pub(crate) mod server;
pub(crate) mod store;
pub(crate) mod versions;

use std::path::{Path, PathBuf};

use sockeye_syntax::words::Words;
use sockeye_tls::settings::Profile;

use crate::model::Proto;

/// Bytes of one name in ALPN (RFC 7301 §3.1).
const ALPN_NAME_MAX: usize = 255;

/// Bytes of all names in ALPN with their length bytes: what the list's own length can say.
const ALPN_MAX: usize = 65_535;

/// Where files of a name without a folder are.
fn based(name: &str, base: Option<&PathBuf>) -> PathBuf {
    match base {
        Some(base) if !name.starts_with(['/', '@']) => Path::new(base).join(name),
        _ => PathBuf::from(name),
    }
}

/// The name of a file, in the folder `base` unless it names its own.
fn file(words: &mut Words<'_>, base: Option<&PathBuf>, missing: &str) -> Result<PathBuf, String> {
    Ok(based(words.next().ok_or(missing)?, base))
}

/// `h2,http/1.1`.
pub(crate) fn alpn(words: &mut Words<'_>) -> Result<Vec<Vec<u8>>, String> {
    let word = words.next_word().filter(|word| !word.bytes().is_empty());
    let word = word.ok_or("missing the comma-delimited ALPN protocol suite")?;
    let names: Vec<Vec<u8>> = word.bytes().split(|byte| *byte == b',').map(<[u8]>::to_vec).collect();
    let total: usize = names.iter().map(|name| name.len() + 1).sum();
    if names.iter().any(|name| name.is_empty() || name.len() > ALPN_NAME_MAX) || total > ALPN_MAX {
        return Err(format!("a protocol in '{}' has no name, or one that is too long", word.text));
    }
    Ok(names)
}

/// `proto`, `check-proto`.
pub(crate) fn proto(words: &mut Words<'_>) -> Result<Proto, String> {
    match words.next().ok_or("missing value")? {
        "h1" => Ok(Proto::H1),
        "h2" => Ok(Proto::H2),
        "none" => Ok(Proto::None),
        name @ ("quic" | "fcgi" | "spop") => Err(crate::keyword::not_yet_message(&format!("proto {name}"))),
        other => Err(format!("unknown MUX protocol '{other}'")),
    }
}

/// Words of a profile that take one text each: the slot, and what is missing without it.
pub(crate) fn profile_text<'a>(
    profile: &'a mut Profile,
    word: &str,
) -> Option<(&'a mut Option<String>, &'static str)> {
    Some(match word {
        "ciphers" => (&mut profile.ciphers, "missing cipher suite"),
        "ciphersuites" => (&mut profile.ciphersuites, "missing cipher suite"),
        "curves" => (&mut profile.curves, "missing curve suite"),
        "ecdhe" => (&mut profile.curves, "missing named curve"),
        "sigalgs" => (&mut profile.sigalgs, "missing signature algorithm list"),
        "client-sigalgs" => (&mut profile.client_sigalgs, "missing signature algorithm list"),
        _ => return None,
    })
}

/// Reads one of [`profile_text`].
pub(crate) fn read_text(words: &mut Words<'_>, profile: &mut Profile, word: &str) -> Result<(), String> {
    if let Some((slot, missing)) = profile_text(profile, word) {
        let text = words.next().filter(|text| !text.is_empty());
        *slot = Some(text.ok_or(missing)?.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders() {
        let check = |name: &str, base: Option<&str>, expected: &str| {
            let base = base.map(PathBuf::from);
            assert_eq!(based(name, base.as_ref()), Path::new(expected), "{name}");
        };
        check("a.pem", None, "a.pem");
        check("a.pem", Some("/etc/ssl"), "/etc/ssl/a.pem");
        check("a/b.pem", Some("/etc/ssl/"), "/etc/ssl/a/b.pem");
        check("/a.pem", Some("/etc/ssl"), "/a.pem");
        check("@web/a.pem", Some("/etc/ssl"), "@web/a.pem");
        check("@system-ca", Some("/etc/ssl"), "@system-ca");
    }
}
