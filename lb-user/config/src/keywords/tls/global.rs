//! TLS words of `global` (manual 3.1, 3.2).

use std::path::PathBuf;
use std::time::Duration;

use sockeye_syntax::address::{Host, ParseOptions, Port};
use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;
use sockeye_tls::settings::{ExtraFiles, Profile, Verify};

use super::versions;
use crate::keyword::{Keyword, Sections, no_effect, supported};
use crate::keywords::values;
use crate::scope::{GlobalParser, GlobalScope};

const G: Sections = Sections::GLOBAL;

/// Sessions that may be kept: some gigabytes.
const CACHE_MAX: u32 = 10_000_000;

/// Bytes of one record's plaintext (RFC 8446 §5.1).
const RECORD_MAX: u32 = 16_384;

/// Bytes of a ClientHello that may be kept for each connection.
const CAPTURE_MAX: u32 = 16_384;

/// The highest level that what is spoken at all fulfils.
const SECURITY_LEVEL: u32 = 2;

pub(crate) const TABLE: &[Keyword<GlobalParser>] = &[
    supported("ca-base", G, base, "folder of authorities' files"),
    supported("crt-base", G, base, "folder of certificates"),
    supported("key-base", G, base, "folder of keys"),
    supported("issuers-chain-path", G, base, "folder of chains for certificates without one"),
    supported("ssl-default-bind-ciphers", G, default_text, "cipher suites of TLS 1.2 on bind lines"),
    supported("ssl-default-bind-ciphersuites", G, default_text, "cipher suites of TLS 1.3 on bind lines"),
    supported(
        "ssl-default-bind-client-sigalgs",
        G,
        default_text,
        "signature algorithms of client certificates",
    ),
    supported("ssl-default-bind-curves", G, default_text, "groups of the key exchange on bind lines"),
    supported("ssl-default-bind-sigalgs", G, default_text, "signature algorithms on bind lines"),
    supported("ssl-default-bind-options", G, options, "versions and options of bind lines"),
    supported("ssl-default-server-ciphers", G, default_text, "cipher suites of TLS 1.2 on server lines"),
    supported("ssl-default-server-ciphersuites", G, default_text, "cipher suites of TLS 1.3 on server lines"),
    supported(
        "ssl-default-server-client-sigalgs",
        G,
        default_text,
        "signature algorithms of our certificates",
    ),
    supported("ssl-default-server-curves", G, default_text, "groups of the key exchange on server lines"),
    supported("ssl-default-server-sigalgs", G, default_text, "signature algorithms on server lines"),
    supported("ssl-default-server-options", G, options, "versions and options of server lines"),
    supported("ssl-server-verify", G, server_verify, "whether servers' certificates are checked"),
    supported("ssl-load-extra-files", G, extra_files, "which neighbours of a certificate are looked for"),
    supported("ssl-load-extra-del-ext", G, del_ext, "names of neighbours replace the extension"),
    supported("ssl-skip-self-issued-ca", G, skip_self_issued, "does not send root certificates"),
    supported("ssl-security-level", G, security_level, "least strength of what is spoken"),
    supported("maxsslconn", G, maxsslconn, "client connections with TLS at a time"),
    supported("maxsslrate", G, maxsslrate, "client connections with TLS per second"),
    supported("tune.ssl.cachesize", G, cachesize, "sessions kept for resumption"),
    supported("tune.ssl.lifetime", G, lifetime, "how long a session can be resumed"),
    supported("tune.ssl.maxrecord", G, record, "bytes of the first records"),
    supported("tune.ssl.hard-maxrecord", G, record, "bytes of every record"),
    supported("tune.ssl.capture-buffer-size", G, capture, "bytes of the ClientHello kept for expressions"),
    supported("tune.ssl.capture-cipherlist-size", G, capture, "the same by its old name"),
    supported("tune.ssl.keylog", G, keylog, "secrets for expressions"),
    supported("tune.ssl.ssl-ctx-cache-size", G, generated, "generated certificates that are kept"),
    supported("ocsp-update.mode", G, ocsp_switch, "whether staples are fetched again"),
    supported("ocsp-update.disable", G, ocsp_switch, "no staple is fetched again"),
    supported("ocsp-update.mindelay", G, ocsp_delay, "seconds between two updates at least"),
    supported("ocsp-update.maxdelay", G, ocsp_delay, "seconds between two updates at most"),
    supported("tune.ssl.ocsp-update.mindelay", G, ocsp_delay, "the same by its old name"),
    supported("tune.ssl.ocsp-update.maxdelay", G, ocsp_delay, "the same by its old name"),
    supported("ocsp-update.httpproxy", G, ocsp_proxy, "proxy through which staples are fetched"),
    no_effect("httpclient.ssl.ca-file", G, "nothing is fetched by HTTPS"),
    no_effect("httpclient.ssl.verify", G, "nothing is fetched by HTTPS"),
    no_effect(
        "ssl-dh-param-file",
        G,
        "key exchanges are elliptic or post-quantum, never finite-field Diffie-Hellman",
    ),
    no_effect(
        "tune.ssl.default-dh-param",
        G,
        "key exchanges are elliptic or post-quantum, never finite-field Diffie-Hellman",
    ),
    no_effect("ssl-engine", G, "cryptography is built in"),
    no_effect("ssl-mode-async", G, "cryptography is built in"),
    no_effect("ssl-propquery", G, "cryptography is built in"),
    no_effect("ssl-provider", G, "cryptography is built in"),
    no_effect("ssl-provider-path", G, "cryptography is built in"),
    no_effect("ssl-passphrase-cmd", G, "no other program is ever run: keys must not be encrypted"),
    no_effect("tune.ssl.certificate-compression", G, "certificates are sent as they are"),
    no_effect("tune.ssl.force-private-cache", G, "sessions are kept by this process alone"),
    no_effect("tune.ssl.keyupdate-rate-limit", G, "each key update is answered once"),
];

/// A folder; each may be said once.
fn base(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let keyword = words.keyword().to_owned();
    let Some(path) = words.next() else {
        words.alert(format!("global statement '{keyword}' expects a directory path as an argument."));
        return;
    };
    let tls = &mut scope.global.tls;
    let slot = match keyword.as_str() {
        "ca-base" => &mut tls.ca_base,
        "crt-base" => &mut tls.crt_base,
        "key-base" => &mut tls.key_base,
        _ => &mut tls.issuers_chain,
    };
    if slot.is_some() {
        words.alert(format!("'{keyword}' already specified."));
        words.skip_rest();
    } else if words.end() {
        *slot = Some(PathBuf::from(path));
    }
}

/// `ssl-default-SIDE-WORD TEXT`.
fn default_text(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let keyword = words.keyword().to_owned();
    let (profile, word) = profile(&keyword, scope);
    let Some((slot, _)) = super::profile_text(profile, word) else { return };
    match words.next().filter(|text| !text.is_empty()) {
        Some(text) => {
            if words.end() {
                *slot = Some(text.to_owned());
            }
        }
        None => {
            let what = match word {
                "ciphers" | "ciphersuites" => "a cipher suite",
                "curves" => "a curves suite",
                _ => "a signature algorithm list",
            };
            words.alert(format!("global statement '{keyword}' expects {what} as an argument."));
        }
    }
}

/// The side that a word is about, and what of it.
fn profile<'a, 'b>(keyword: &'b str, scope: &'a mut GlobalScope<'_>) -> (&'a mut Profile, &'b str) {
    match keyword.strip_prefix("ssl-default-bind-") {
        Some(word) => (&mut scope.global.tls.bind, word),
        None => {
            (&mut scope.global.tls.server, keyword.strip_prefix("ssl-default-server-").unwrap_or(keyword))
        }
    }
}

/// `ssl-default-bind-options`, `ssl-default-server-options`.
fn options(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let keyword = words.keyword().to_owned();
    let bind = keyword == "ssl-default-bind-options";
    if words.is_end() {
        words.alert(format!("global statement '{keyword}' expects an option as an argument."));
    }
    while let Some(word) = words.next() {
        match word {
            "no-tls-tickets" => profile(&keyword, scope).0.tickets = Some(false),
            "tls-tickets" => profile(&keyword, scope).0.tickets = Some(true),
            "prefer-client-ciphers" if bind => scope.global.tls.bind_prefer_client_ciphers = true,
            "strict-sni" if bind => scope.global.tls.bind_strict_sni = true,
            "no-strict-sni" if bind => scope.global.tls.bind_strict_sni = false,
            _ if versions::is_version_word(word) => {
                match versions::read(word, words, profile(&keyword, scope).0) {
                    Ok(None) => {}
                    Ok(Some(warning)) => words.warning(warning),
                    Err(message) => {
                        words.alert(format!("{message} on global statement '{keyword}'."));
                        return words.skip_rest();
                    }
                }
            }
            _ => {
                words.alert(format!("unknown option '{word}' on global statement '{keyword}'."));
                return words.skip_rest();
            }
        }
    }
}

fn server_verify(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let verify = match words.next() {
        Some("none") => Verify::None,
        Some("required") => Verify::Required,
        _ => {
            words.alert("'ssl-server-verify' expects 'none' or 'required' as argument.");
            return words.skip_rest();
        }
    };
    if words.end() {
        scope.global.tls.server_verify = verify;
    }
}

fn extra_files(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let nothing = ExtraFiles { bundle: false, sctl: false, ocsp: false, issuer: false, key: false };
    let mut files = nothing;
    let all: Vec<&str> = words.rest().iter().map(|word| word.text.as_str()).collect();
    words.skip_rest();
    for word in &all {
        match *word {
            "none" | "all" if all.len() > 1 => {
                words.alert("'ssl-load-extra-files' 'none' and 'all' can be only used alone");
                return;
            }
            "none" => files = nothing,
            "all" => files = ExtraFiles::default(),
            "bundle" => files.bundle = true,
            "sctl" => files.sctl = true,
            "ocsp" => files.ocsp = true,
            "issuer" => files.issuer = true,
            "key" => files.key = true,
            _ => return extra_files_usage(words),
        }
    }
    if all.is_empty() {
        return extra_files_usage(words);
    }
    scope.global.tls.extra_files = files;
}

fn extra_files_usage(words: &mut Words<'_>) {
    words.alert(
        "'ssl-load-extra-files' expects one or multiple arguments (none, all, bundle, sctl, ocsp, issuer, key).",
    );
}

fn del_ext(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.tls.extra_del_ext |= words.end();
}

fn skip_self_issued(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.tls.skip_self_issued_ca |= words.end();
}

/// Nothing that is spoken is weaker than level 2; levels above it are not enforced.
fn security_level(words: &mut Words<'_>, _: &mut GlobalScope<'_>) {
    match words.next().and_then(|word| word.parse::<u32>().ok()).filter(|level| *level <= 5) {
        Some(level) => {
            if words.end() && level > SECURITY_LEVEL {
                words.warning(format!(
                    "'ssl-security-level {level}' : only level {SECURITY_LEVEL} is enforced. Choose 'ciphers', 'curves', 'sigalgs' and keys as strong as you need them."
                ));
            }
        }
        None => {
            words.alert("'ssl-security-level' : expects a value between 0 and 5");
            words.skip_rest();
        }
    }
}

/// A number without a sign.
fn number(words: &mut Words<'_>, max: u32) -> Option<u32> {
    let keyword = words.keyword().to_owned();
    let Some(word) = words.next() else {
        words.alert(format!("'{keyword}' expects an integer argument."));
        return None;
    };
    match word.parse::<u32>().ok().filter(|value| *value <= max) {
        Some(value) => words.end().then_some(value),
        None => {
            let most = if word.parse::<u64>().is_ok() { format!(" of {max} at most") } else { String::new() };
            words.alert(format!("'{keyword}' expects a positive numeric value{most}."));
            words.skip_rest();
            None
        }
    }
}

fn maxsslconn(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = number(words, i32::MAX.unsigned_abs()) {
        scope.global.maxsslconn = (value > 0).then_some(value);
    }
}

fn maxsslrate(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = number(words, i32::MAX.unsigned_abs()) {
        scope.global.maxsslrate = (value > 0).then_some(value);
    }
}

fn cachesize(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = number(words, CACHE_MAX) {
        scope.global.tls.cache_size = value as usize;
    }
}

fn lifetime(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if words.is_end() {
        words.alert("'tune.ssl.lifetime' expects ssl sessions <lifetime> in seconds as argument.");
    } else if let Some(value) = values::timer(words, TimeUnit::Seconds).filter(|_| words.end()) {
        scope.global.tls.lifetime = value;
    }
}

fn record(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(value) = number(words, RECORD_MAX) else { return };
    if words.keyword() == "tune.ssl.maxrecord" {
        scope.global.tls.max_record = value as usize;
    } else {
        scope.global.tls.hard_max_record = value as usize;
    }
}

fn capture(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = number(words, CAPTURE_MAX) {
        scope.global.tls.capture_buffer = value as usize;
    }
}

fn generated(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = number(words, CACHE_MAX) {
        scope.global.tls.generated_cache = value as usize;
    }
}

fn keylog(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let keylog = match words.next().unwrap_or_default() {
        "on" => true,
        "off" => false,
        other => {
            words.alert(format!("'tune.ssl.keylog' expects either 'on' or 'off' but got '{other}'."));
            return words.skip_rest();
        }
    };
    if words.end() {
        scope.global.tls.keylog = keylog;
    }
}

fn ocsp_switch(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(on) = words.choice(&[("on", true), ("off", false)]).filter(|_| words.end()) else { return };
    let ocsp = &mut scope.global.tls.ocsp;
    if words.keyword() == "ocsp-update.mode" {
        ocsp.on = on;
    } else {
        ocsp.disabled = on;
    }
}

fn ocsp_delay(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let keyword = words.keyword().to_owned();
    let Some(value) = number(words, i32::MAX.unsigned_abs()) else { return };
    let ocsp = &mut scope.global.tls.ocsp;
    let value = Duration::from_secs(value.into());
    if keyword.ends_with("mindelay") {
        if value > ocsp.max_delay {
            return words.alert(format!("'{keyword}' can not be higher than ocsp-update.maxdelay."));
        }
        ocsp.min_delay = value;
    } else {
        if value < ocsp.min_delay {
            return words.alert(format!("'{keyword}' can not be lower than ocsp-update.mindelay."));
        }
        ocsp.max_delay = value;
    }
}

/// The proxy of OCSP requests; port 80 unless it says another.
fn ocsp_proxy(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(text) = words.expect("an address as argument") else { return };
    let address = match values::resolved(text, ParseOptions::CHECK, scope.around.resolver) {
        Ok(address) => address,
        Err(message) => {
            words.alert(format!("'ocsp-update.httpproxy' : {message}."));
            return words.skip_rest();
        }
    };
    let port = match address.port {
        Port::Fixed(port) => port,
        _ => 80,
    };
    match address.host {
        Host::Ip(ip) if words.end() => scope.global.tls.ocsp.http_proxy = Some((ip, port).into()),
        Host::Ip(_) => {}
        _ => words.alert(format!("'ocsp-update.httpproxy' : invalid address: '{text}'.")),
    }
}
