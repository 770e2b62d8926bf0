//! TLS words of bind lines (manual 5.1), and `proto`.

use sockeye_syntax::words::Words;
use sockeye_tls::settings::{self, Source, Verify};

use super::{alpn, file, ignored, proto, read_text, versions};
use crate::keyword::{Keyword, Sections, no_effect, removed, supported, takes};
use crate::model::Proto;

/// Files that one word may name on one line: a line with more has a directory or a list.
const FILES_MAX: usize = 100_000;

/// What the words of a line come to.
pub(crate) struct Line<'a> {
    pub(crate) global: &'a settings::Global,
    /// The word `ssl` was there.
    pub(crate) ssl: bool,
    pub(crate) settings: settings::Bind,
    pub(crate) proto: Option<Proto>,
    /// The first word that means nothing without `ssl`.
    pub(crate) first: Option<&'static str>,
    /// To be said about words that are obeyed.
    pub(crate) warnings: Vec<String>,
}

/// Gets its own name; the error is the message about it.
pub(crate) type Parser = fn(&str, &mut Words<'_>, &mut Line<'_>) -> Result<(), String>;

const F: Sections = Sections::FRONTENDS;

pub(crate) const TABLE: &[Keyword<Parser>] = &[
    supported("ssl", F, |_, _, line| flag(&mut line.ssl), "TLS"),
    takes(1, supported("proto", F, forced, "protocol, whatever the connection starts with")),
    supported("allow-0rtt", F, |_, _, line| flag(&mut line.settings.allow_0rtt), "early data of TLS 1.3"),
    takes(1, supported("alpn", F, protocols, "protocols offered by ALPN")),
    takes(1, supported("ca-file", F, ca_file, "authorities that client certificates must come from")),
    takes(1, supported("ca-ignore-err", F, ca_ignore_err, "errors of authorities that do not count")),
    takes(1, supported("ca-sign-file", F, ca_sign_file, "authority that signs generated certificates")),
    takes(1, supported("ca-sign-pass", F, ca_sign_pass, "password of ca-sign-file's key")),
    takes(1, supported("ca-verify-file", F, ca_verify_file, "authorities that are trusted but not named")),
    takes(1, supported("ciphers", F, text, "cipher suites of TLS 1.2")),
    takes(1, supported("ciphersuites", F, text, "cipher suites of TLS 1.3")),
    takes(1, supported("client-sigalgs", F, text, "signature algorithms of client certificates")),
    takes(1, supported("crl-file", F, crl_file, "revoked certificates")),
    takes(1, supported("crt", F, crt, "certificate and key: a file, a directory or a name in a crt-store")),
    takes(
        1,
        supported("crt-ignore-err", F, crt_ignore_err, "errors of client certificates that do not count"),
    ),
    takes(1, supported("crt-list", F, crt_list, "list of certificates with options and names")),
    takes(1, supported("curves", F, text, "groups of the key exchange")),
    takes(1, supported("default-crt", F, default_crt, "certificate for names that no other has")),
    takes(1, supported("ecdhe", F, text, "group of the key exchange")),
    supported("force-sslv3", F, version, "refused: never spoken"),
    supported("force-tlsv10", F, version, "refused: never spoken"),
    supported("force-tlsv11", F, version, "refused: never spoken"),
    supported("force-tlsv12", F, version, "TLS 1.2 alone"),
    supported("force-tlsv13", F, version, "TLS 1.3 alone"),
    supported(
        "generate-certificates",
        F,
        generate,
        "certificates for names that none has, made when asked for",
    ),
    takes(1, no_effect("ktls", F, "the kernel does not encrypt for us")),
    supported("no-alpn", F, no_alpn, "offers no protocol by ALPN"),
    supported(
        "no-ca-names",
        F,
        |_, _, line| flag(&mut line.settings.client.no_ca_names),
        "does not name authorities to clients",
    ),
    supported("no-sslv3", F, version, "SSLv3 is never spoken"),
    supported("no-strict-sni", F, no_strict_sni, "takes 'strict-sni' back"),
    supported("no-tls-tickets", F, no_tickets, "sessions are resumed by number alone"),
    supported("no-tlsv10", F, version, "TLS 1.0 is never spoken"),
    supported("no-tlsv11", F, version, "TLS 1.1 is never spoken"),
    supported("no-tlsv12", F, version, "leaves TLS 1.2 out"),
    supported("no-tlsv13", F, version, "leaves TLS 1.3 out"),
    takes(
        1,
        removed(
            "npn",
            F,
            "'npn' : this extension was replaced by ALPN and no client speaks it any more: use 'alpn' with the same protocols.",
        ),
    ),
    supported(
        "prefer-client-ciphers",
        F,
        |_, _, line| flag(&mut line.settings.prefer_client_ciphers),
        "the client's order of cipher suites counts",
    ),
    takes(1, supported("sigalgs", F, text, "signature algorithms")),
    takes(1, supported("ssl-max-ver", F, version, "newest version")),
    takes(1, supported("ssl-min-ver", F, version, "oldest version")),
    supported("strict-sni", F, strict_sni, "refuses names without a certificate"),
    takes(
        1,
        supported("tls-ticket-keys", F, ticket_keys, "keys of session tickets, shared between machines"),
    ),
    supported("tls-tickets", F, tickets, "takes 'no-tls-tickets' back"),
    takes(1, supported("verify", F, verify, "asks for client certificates")),
];

impl<'a> Line<'a> {
    pub(crate) fn new(global: &'a settings::Global) -> Self {
        let settings = settings::Bind {
            strict_sni: global.bind_strict_sni,
            prefer_client_ciphers: global.bind_prefer_client_ciphers,
            ..settings::Bind::default()
        };
        Self { global, ssl: false, settings, proto: None, first: None, warnings: Vec::new() }
    }

    /// Obeys the word of `row`.
    pub(crate) fn read(
        &mut self,
        row: &Keyword<Parser>,
        parser: Parser,
        words: &mut Words<'_>,
    ) -> Result<(), String> {
        if !matches!(row.name, "ssl" | "proto") {
            self.first.get_or_insert(row.name);
        }
        parser(row.name, words, self)
    }
}

#[allow(clippy::unnecessary_wraps)] // the shape of all parsers
fn flag(slot: &mut bool) -> Result<(), String> {
    *slot = true;
    Ok(())
}

fn forced(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.proto = Some(proto(words).map_err(|message| format!("'{word}' : {message}"))?);
    Ok(())
}

fn protocols(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.profile.alpn = Some(alpn(words).map_err(|message| format!("'{word}' : {message}"))?);
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn no_alpn(_: &str, _: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.profile.alpn = Some(Vec::new());
    Ok(())
}

fn text(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    read_text(words, &mut line.settings.profile, word).map_err(|message| format!("'{word}' : {message}"))
}

fn version(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let warning = versions::read(word, words, &mut line.settings.profile)?;
    line.warnings.extend(warning);
    Ok(())
}

fn ca_file(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path = file(words, line.global.ca_base.as_ref(), &format!("'{word}' : missing CAfile path"))?;
    line.settings.client.ca_file = Some(path);
    Ok(())
}

fn ca_verify_file(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path = file(words, line.global.ca_base.as_ref(), &format!("'{word}' : missing CAfile path"))?;
    line.settings.client.ca_verify_file = Some(path);
    Ok(())
}

fn ca_sign_file(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path = file(words, line.global.ca_base.as_ref(), &format!("'{word}' : missing CAfile path"))?;
    line.settings.sign_file = Some(path);
    Ok(())
}

fn ca_sign_pass(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let password = words.next().ok_or_else(|| format!("'{word}' : missing CAkey password"))?;
    line.settings.sign_pass = Some(password.to_owned());
    Ok(())
}

fn crl_file(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path = file(words, line.global.ca_base.as_ref(), &format!("'{word}' : missing CRLfile path"))?;
    line.settings.client.crl_file = Some(path);
    Ok(())
}

fn crt(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path =
        file(words, line.global.crt_base.as_ref(), &format!("'{word}' : missing certificate location"))?;
    line.settings.order.push(Source::Certificate);
    add(word, &mut line.settings.certificates, path)
}

fn default_crt(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path =
        file(words, line.global.crt_base.as_ref(), &format!("'{word}' : missing certificate location"))?;
    line.settings.order.push(Source::DefaultCertificate);
    add(word, &mut line.settings.default_certificates, path)
}

/// The list's own name knows no base; those in it do.
fn crt_list(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path = file(words, None, &format!("'{word}' : missing certificate location"))?;
    line.settings.order.push(Source::List);
    add(word, &mut line.settings.lists, path)
}

fn add(word: &str, list: &mut Vec<std::path::PathBuf>, path: std::path::PathBuf) -> Result<(), String> {
    if list.len() >= FILES_MAX {
        return Err(format!(
            "'{word}' : a line names {FILES_MAX} files at most: use a directory or a 'crt-list'"
        ));
    }
    list.push(path);
    Ok(())
}

fn ticket_keys(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    let path = file(words, None, &format!("'{word}' : missing TLS ticket keys file path"))?;
    line.settings.ticket_keys = Some(path);
    Ok(())
}

fn crt_ignore_err(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.client.crt_ignore_err = errors(word, words)?;
    Ok(())
}

fn ca_ignore_err(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.client.ca_ignore_err = errors(word, words)?;
    Ok(())
}

fn errors(word: &str, words: &mut Words<'_>) -> Result<settings::Ignored, String> {
    let text = words.next().ok_or_else(|| format!("'{word}' : missing error IDs list"))?;
    ignored::parse(text).map_err(|message| format!("'{word}' : {message}"))
}

fn verify(word: &str, words: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.client.verify = match words.next() {
        Some("none") => Verify::None,
        Some("optional") => Verify::Optional,
        Some("required") => Verify::Required,
        Some(other) => {
            return Err(format!(
                "'{word}' : unknown verify method '{other}', only 'none', 'optional', and 'required' are supported"
            ));
        }
        None => return Err(format!("'{word}' : missing verify method")),
    };
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn generate(_: &str, _: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.generate = true;
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn strict_sni(_: &str, _: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.strict_sni = true;
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn no_strict_sni(_: &str, _: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.strict_sni = false;
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn tickets(_: &str, _: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.profile.tickets = Some(true);
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn no_tickets(_: &str, _: &mut Words<'_>, line: &mut Line<'_>) -> Result<(), String> {
    line.settings.profile.tickets = Some(false);
    Ok(())
}
