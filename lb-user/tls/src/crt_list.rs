//! Files of certificates with options and names: `FILE [OPTIONS…] NAMES…` on every line. Manual 5.1 `crt-list`.

use std::path::{Path, PathBuf};

use crate::files::{Overrides, fault::Fault, pem};
use crate::index::Filters;
use crate::settings::{Global, Profile, Verify, Version};

/// One line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) certificate: PathBuf,
    pub(crate) options: Options,
    pub(crate) overrides: Overrides,
    pub(crate) filters: Filters,
}

/// What a line says differently from its bind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) profile: Profile,
    pub(crate) verify: Option<Verify>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) ca_verify_file: Option<PathBuf>,
    pub(crate) crl_file: Option<PathBuf>,
    pub(crate) no_ca_names: bool,
    pub(crate) allow_0rtt: bool,
}

/// Bytes of a list at most.
const FILE_MAX: u64 = 64 << 20;
/// Words on a line at most: names that one certificate stands for.
const WORDS_MAX: usize = 10_000;

/// Reads the list in `path`. Errors of all lines, or the entries and what to warn of.
pub(crate) fn read(
    path: &Path,
    global: &Global,
    warnings: &mut Vec<String>,
) -> Result<Vec<Entry>, Vec<String>> {
    let bytes = pem::read(path, FILE_MAX).map_err(|fault| {
        vec![match fault {
            Fault::Unreadable(path, error) => {
                let text = error.to_string();
                let why = text.split(" (os error").next().unwrap_or_default();
                format!("'crt-list' : cannot open file '{}' : {why}", path.display())
            }
            other => format!("'crt-list' : {other}"),
        }]
    })?;
    parse(path, &String::from_utf8_lossy(&bytes), global, warnings)
}

/// Goes through the lines of `text`; `path` is for messages.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    global: &Global,
    warnings: &mut Vec<String>,
) -> Result<Vec<Entry>, Vec<String>> {
    // Its lines would go into messages, and with them a key.
    if text.contains("-----BEGIN ") {
        return Err(vec![format!(
            "'crt-list' : '{}' holds certificates or keys, not a list: use 'crt'",
            path.display()
        )]);
    }
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    let place = |line: usize| format!("parsing [{}:{line}]", path.display());
    let lines = text.lines().count();
    for (number, line) in (1..).zip(text.lines()) {
        if number == lines && !text.ends_with('\n') {
            errors.push(format!(
                "'crt-list' : {}: Missing LF on last line, file might have been truncated at position {}.",
                place(number),
                line.len() + 1
            ));
            break;
        }
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut warn = |message: String| warnings.push(format!("crt-list: {}: {message}", place(number)));
        match entry(line, global, &mut warn) {
            Ok(entry) => entries.push(Entry { line: number, ..entry }),
            Err(message) => errors.push(format!("'crt-list' : {}: {message}", place(number))),
        }
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

fn entry(line: &str, global: &Global, warn: &mut dyn FnMut(String)) -> Result<Entry, String> {
    let words = words(line)?;
    let mut words = words.into_iter();
    let Some(Word::Plain(file)) = words.next() else {
        return Err("file must start with a cert".to_owned());
    };
    let mut entry = Entry { certificate: complete(file, global.crt_base.as_ref()), ..Entry::default() };
    let (options, filters): (Vec<_>, Vec<_>) = words.partition(|word| matches!(word, Word::Option(_)));
    let mut options = options.into_iter().map(|word| match word {
        Word::Option(text) | Word::Plain(text) => text,
    });
    while let Some(word) = options.next() {
        option(word, &mut options, &mut entry, global, warn)?;
    }
    let mut given = Vec::new();
    for word in filters {
        let Word::Plain(text) = word else { continue };
        match text.strip_prefix('!') {
            // The manual: an exclamation mark before an asterisk is ignored.
            Some(name) if name.starts_with('*') => {}
            Some(name) => entry.filters.excluded.push(name.to_ascii_lowercase().into()),
            None if text == "*" => entry.filters.default = true,
            None => given.push(text.to_ascii_lowercase().into_boxed_str()),
        }
    }
    if !entry.filters.excluded.is_empty()
        && !given.iter().any(|name| name.starts_with('*'))
        && !entry.filters.default
    {
        warn(format!(
            "negative filters on crt-list line \"{}\" without a positive wildcard filter won't do anything!",
            entry.certificate.display()
        ));
    }
    if !given.is_empty() || entry.filters.default || !entry.filters.excluded.is_empty() {
        entry.filters.names = Some(given);
    }
    Ok(entry)
}

enum Word<'a> {
    Plain(&'a str),
    /// Between brackets.
    Option(&'a str),
}

/// Splits at blanks and brackets. As HAProxy, a bracket that is not closed ends with the line.
fn words(line: &str) -> Result<Vec<Word<'_>>, String> {
    let mut words = Vec::new();
    let (mut inside, mut seen) = (false, false);
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end =
            rest.find(|char: char| char.is_whitespace() || char == '[' || char == ']').unwrap_or(rest.len());
        let word = &rest[..end];
        if word.starts_with('#') && !inside {
            break;
        }
        if !word.is_empty() {
            words.push(if inside { Word::Option(word) } else { Word::Plain(word) });
        }
        if words.len() > WORDS_MAX {
            return Err(format!("too many words, at most {WORDS_MAX} are read"));
        }
        rest = &rest[end..];
        match rest.as_bytes().first() {
            Some(b'[') if seen => return Err("too many '['".to_owned()),
            Some(b'[') if words.is_empty() => return Err("file must start with a cert".to_owned()),
            Some(b'[') => (inside, seen) = (true, true),
            Some(b']') if !seen => return Err("missing '['".to_owned()),
            Some(b']') if !inside => return Err("too many ']'".to_owned()),
            Some(b']') => inside = false,
            _ => {}
        }
        if rest.starts_with(['[', ']']) {
            rest = &rest[1..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Reads the option `word` and its argument.
fn option<'a>(
    word: &str,
    rest: &mut impl Iterator<Item = &'a str>,
    entry: &mut Entry,
    global: &Global,
    warn: &mut dyn FnMut(String),
) -> Result<(), String> {
    let mut argument = || rest.next().ok_or_else(|| format!("ssl args out of '[]' for {word}"));
    let crt = |text: &str| Some(complete(text, global.crt_base.as_ref()));
    let ca = |text: &str| Some(complete(text, global.ca_base.as_ref()));
    let options = &mut entry.options;
    let profile = &mut options.profile;
    match word {
        "allow-0rtt" => options.allow_0rtt = true,
        "no-ca-names" => options.no_ca_names = true,
        "no-alpn" => profile.alpn = Some(Vec::new()),
        "alpn" => profile.alpn = Some(protocols(argument()?)?),
        "npn" => {
            argument()?;
            warn("'npn' does nothing: ALPN has replaced it (use 'alpn').".to_owned());
        }
        "ktls" => {
            argument()?;
            warn("'ktls' has no effect: the kernel does not encrypt for us.".to_owned());
        }
        "ciphers" => profile.ciphers = Some(argument()?.to_owned()),
        "ciphersuites" => profile.ciphersuites = Some(argument()?.to_owned()),
        "curves" => profile.curves = Some(argument()?.to_owned()),
        "ecdhe" => {
            let curve = argument()?.to_owned();
            profile.curves.get_or_insert(curve);
        }
        "sigalgs" => profile.sigalgs = Some(argument()?.to_owned()),
        "client-sigalgs" => profile.client_sigalgs = Some(argument()?.to_owned()),
        "ca-file" => options.ca_file = ca(argument()?),
        "ca-verify-file" => options.ca_verify_file = ca(argument()?),
        "crl-file" => options.crl_file = ca(argument()?),
        "ssl-min-ver" => profile.min = version(argument()?, Version::Tls12)?,
        "ssl-max-ver" => {
            let text = argument()?;
            profile.max = version(text, Version::Tls12)?;
            if !matches!(text, "TLSv1.2" | "TLSv1.3") {
                return Err(format!("'{text}' is older than TLSv1.2, the oldest version that is spoken"));
            }
        }
        "verify" => {
            options.verify = Some(match argument()? {
                "none" => Verify::None,
                "optional" => Verify::Optional,
                "required" => Verify::Required,
                other => {
                    return Err(format!(
                        "'verify' : unknown verify method '{other}', only 'none', 'optional', and 'required' are supported"
                    ));
                }
            });
        }
        "crt" => {
            if let Some(path) = crt(argument()?) {
                entry.certificate = path;
            }
        }
        "key" => entry.overrides.key = crt(argument()?),
        "ocsp" => entry.overrides.ocsp = crt(argument()?),
        "issuer" => entry.overrides.issuer = crt(argument()?),
        "sctl" => entry.overrides.sctl = crt(argument()?),
        "ocsp-update" => {
            entry.overrides.ocsp_update = match argument()? {
                "on" => Some(true),
                "off" => Some(false),
                other => return Err(format!("'ocsp-update' : expects <on|off>, not '{other}'")),
            };
        }
        _ => return Err(format!("unknown ssl keyword {word}")),
    }
    Ok(())
}

/// Paths that are relative begin where `base` says; names in a `crt-store` and `@system-ca` are no paths.
fn complete(text: &str, base: Option<&PathBuf>) -> PathBuf {
    match base {
        Some(base) if !text.starts_with(['/', '@']) => base.join(text),
        _ => PathBuf::from(text),
    }
}

fn protocols(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let names: Vec<Vec<u8>> = text.split(',').map(|name| name.as_bytes().to_vec()).collect();
    // RFC 7301 §3.1: a length is one byte and not 0.
    if names.iter().all(|name| (1..256).contains(&name.len())) {
        Ok(names)
    } else {
        Err(format!("'alpn' : '{text}' has an empty or too long name"))
    }
}

/// Older versions than ours are as good as `oldest` where they are a lower bound.
fn version(text: &str, oldest: Version) -> Result<Option<Version>, String> {
    match text {
        "SSLv3" | "TLSv1.0" | "TLSv1.1" | "TLSv1.2" => Ok(Some(oldest)),
        "TLSv1.3" => Ok(Some(Version::Tls13)),
        _ => Err(format!("'{text}' : unknown ssl/tls version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Result<Vec<Entry>, Vec<String>>, Vec<String>) {
        let mut warnings = Vec::new();
        let global =
            Global { crt_base: Some("/crt".into()), ca_base: Some("/ca".into()), ..Global::default() };
        (parse(Path::new("l"), text, &global, &mut warnings), warnings)
    }

    #[test]
    fn the_examples_of_the_manual() {
        let text = "# comment\n\ndefault.pem.rsa *\ncert2.pem [alpn h2,http/1.1]\ncertW.pem *.domain.tld !secure.domain.tld\n\
                    /certS.pem [curves X25519:P-256 ciphers ECDHE-ECDSA-AES256-GCM-SHA384] Secure.domain.tld\n\
                    foo.crt [key bar.pem ocsp foo.ocsp ocsp-update on] foo.bar.com # the end\n";
        let (entries, warnings) = parsed(text);
        let entries = entries.unwrap();
        assert!(warnings.is_empty());
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).into()).collect());
        assert_eq!(entries.len(), 5);
        assert_eq!((entries[0].line, entries[0].certificate.to_str()), (3, Some("/crt/default.pem.rsa")));
        assert_eq!(entries[0].filters, Filters { names: names(&[]), excluded: Vec::new(), default: true });
        assert_eq!(entries[1].options.profile.alpn, Some(vec![b"h2".to_vec(), b"http/1.1".to_vec()]));
        assert_eq!(entries[1].filters, Filters::default());
        assert_eq!(entries[2].filters.names, names(&["*.domain.tld"]));
        assert_eq!(entries[2].filters.excluded, [Box::from("secure.domain.tld")]);
        assert_eq!(entries[3].certificate.to_str(), Some("/certS.pem"));
        assert_eq!(entries[3].options.profile.curves.as_deref(), Some("X25519:P-256"));
        assert_eq!(entries[3].options.profile.ciphers.as_deref(), Some("ECDHE-ECDSA-AES256-GCM-SHA384"));
        assert_eq!(entries[3].filters.names, names(&["secure.domain.tld"]));
        assert_eq!(entries[4].overrides.key, Some("/crt/bar.pem".into()));
        assert_eq!(entries[4].overrides.ocsp_update, Some(true));
        assert_eq!(entries[4].filters.names, names(&["foo.bar.com"]));
    }

    #[test]
    fn errors_and_warnings_of_haproxy() {
        let check = |text: &str, expected: &str| {
            let (entries, warnings) = parsed(text);
            let said = entries.err().unwrap_or(warnings);
            assert_eq!(said.join("|"), expected, "{text}");
        };
        check("a [foo] x\n", "'crt-list' : parsing [l:1]: unknown ssl keyword foo");
        check("\na [alpn] x\n", "'crt-list' : parsing [l:2]: ssl args out of '[]' for alpn");
        check("a alpn h2] x\n", "'crt-list' : parsing [l:1]: missing '['");
        check("a [alpn h2][ciphers x]\n", "'crt-list' : parsing [l:1]: too many '['");
        check("[alpn h2]\n", "'crt-list' : parsing [l:1]: file must start with a cert");
        check("a [alpn h2,]\n", "'crt-list' : parsing [l:1]: 'alpn' : 'h2,' has an empty or too long name");
        check(
            "a",
            "'crt-list' : parsing [l:1]: Missing LF on last line, file might have been truncated at position 2.",
        );
        check("a [ssl-min-ver foo]\n", "'crt-list' : parsing [l:1]: 'foo' : unknown ssl/tls version");
        check(
            "a [verify foo]\nb [x]\n",
            "'crt-list' : parsing [l:1]: 'verify' : unknown verify method 'foo', only 'none', 'optional', and 'required' are \
             supported|'crt-list' : parsing [l:2]: unknown ssl keyword x",
        );
        check(
            "a !x.org\n",
            "crt-list: parsing [l:1]: negative filters on crt-list line \"/crt/a\" without a positive wildcard filter won't do \
             anything!",
        );
        check("a [ alpn h2 ] x\nb []\nc !*\n   # d\ne [alpn h2\n", "");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
        #[test]
        fn nothing_written_panics(text in "([a-z!*#\\[\\] ]|alpn|verify|\n|é){0,60}") {
            let _ = parsed(&text);
        }
    }
}
