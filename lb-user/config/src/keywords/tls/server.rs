//! TLS words of server lines (manual 5.2), and the protocol spoken with servers.

use std::sync::Arc;

use sockeye_syntax::words::Words;
use sockeye_tls::settings::{self, Verify};

use super::{alpn, file, proto, read_text, versions};
use crate::draft::DraftServer;
use crate::keyword::{Keyword, Sections, no_effect, removed, supported, takes};
use crate::model::WebSocketProto;

/// What the words may look at.
pub(crate) struct Context<'a> {
    pub(crate) global: &'a settings::Global,
    /// To be said about words that are obeyed.
    pub(crate) warnings: &'a mut Vec<String>,
}

/// Gets its own name; the error is the message about it.
pub(crate) type Parser = fn(&str, &mut Words<'_>, &mut DraftServer, &mut Context<'_>) -> Result<(), String>;

const B: Sections = Sections::SERVER_SIDE;

/// The name in the Host field, as the newer `sni-auto` sends it.
const SNI_AUTO: &str = "req.hdr(host),host_only";

pub(crate) const TABLE: &[Keyword<Parser>] = &[
    supported("ssl", B, |_, _, s, _| set(&mut s.tls.ssl, true), "TLS"),
    supported("no-ssl", B, |_, _, s, _| set(&mut s.tls.ssl, false), "takes 'ssl' back"),
    supported("check-ssl", B, |_, _, s, _| set(&mut s.tls.check_ssl, Some(true)), "checks through TLS"),
    supported("no-check-ssl", B, |_, _, s, _| set(&mut s.tls.check_ssl, Some(false)), "checks without TLS"),
    takes(1, supported("proto", B, forced, "protocol, whatever ALPN says")),
    takes(1, supported("check-proto", B, check_forced, "protocol of checks")),
    takes(1, supported("ws", B, ws, "protocol of WebSockets")),
    takes(1, supported("alpn", B, protocols, "protocols offered by ALPN")),
    supported(
        "no-alpn",
        B,
        |_, _, s, _| set(&mut s.tls.settings.profile.alpn, Some(Vec::new())),
        "offers no protocol by ALPN",
    ),
    takes(1, supported("check-alpn", B, check_protocols, "protocols that checks offer by ALPN")),
    takes(1, supported("sni", B, sni, "name the server is asked for")),
    supported(
        "sni-auto",
        B,
        |_, _, s, _| set(&mut s.tls.sni, Some(SNI_AUTO.to_owned())),
        "the name in the Host field as SNI",
    ),
    supported("no-sni-auto", B, no_sni_auto, "takes 'sni-auto' back"),
    takes(1, supported("check-sni", B, check_sni, "name that checks ask for")),
    supported(
        "check-sni-auto",
        B,
        |_, _, s, _| set(&mut s.tls.check_sni_auto, true),
        "the Host field of the check as SNI",
    ),
    supported(
        "no-check-sni-auto",
        B,
        |_, _, s, _| set(&mut s.tls.check_sni_auto, false),
        "takes 'check-sni-auto' back",
    ),
    takes(1, supported("verify", B, verify, "whether the server's certificate is checked")),
    takes(1, supported("verifyhost", B, verifyhost, "name the server's certificate must have")),
    takes(1, supported("ca-file", B, ca_file, "authorities that the server's certificate must come from")),
    takes(1, supported("crl-file", B, crl_file, "revoked certificates")),
    takes(1, supported("crt", B, crt, "our certificate and key")),
    takes(1, supported("ciphers", B, text, "cipher suites of TLS 1.2")),
    takes(1, supported("ciphersuites", B, text, "cipher suites of TLS 1.3")),
    takes(1, supported("client-sigalgs", B, text, "signature algorithms of our certificate")),
    takes(1, supported("curves", B, text, "groups of the key exchange")),
    takes(1, supported("sigalgs", B, text, "signature algorithms")),
    no_effect(
        "allow-0rtt",
        B,
        "clients' early data is confirmed before it goes on, and then it is not early any more",
    ),
    supported(
        "ssl-reuse",
        B,
        |_, _, s, _| set(&mut s.tls.settings.no_reuse, false),
        "takes 'no-ssl-reuse' back",
    ),
    supported(
        "no-ssl-reuse",
        B,
        |_, _, s, _| set(&mut s.tls.settings.no_reuse, true),
        "every connection shakes hands in full",
    ),
    supported(
        "tls-tickets",
        B,
        |_, _, s, _| set(&mut s.tls.settings.profile.tickets, Some(true)),
        "takes 'no-tls-tickets' back",
    ),
    supported(
        "no-tls-tickets",
        B,
        |_, _, s, _| set(&mut s.tls.settings.profile.tickets, Some(false)),
        "sessions are resumed by number alone",
    ),
    takes(1, supported("ssl-max-ver", B, version, "newest version")),
    takes(1, supported("ssl-min-ver", B, version, "oldest version")),
    supported("force-sslv3", B, version, "refused: never spoken"),
    supported("force-tlsv10", B, version, "refused: never spoken"),
    supported("force-tlsv11", B, version, "refused: never spoken"),
    supported("force-tlsv12", B, version, "TLS 1.2 alone"),
    supported("force-tlsv13", B, version, "TLS 1.3 alone"),
    supported("no-sslv3", B, version, "SSLv3 is never spoken"),
    supported("no-tlsv10", B, version, "TLS 1.0 is never spoken"),
    supported("no-tlsv11", B, version, "TLS 1.1 is never spoken"),
    supported("no-tlsv12", B, version, "leaves TLS 1.2 out"),
    supported("no-tlsv13", B, version, "leaves TLS 1.3 out"),
    takes(
        1,
        removed(
            "npn",
            B,
            "'npn' : this extension was replaced by ALPN and no server speaks it any more: use 'alpn' with the same protocols.",
        ),
    ),
    takes(1, no_effect("ktls", B, "the kernel does not encrypt for us")),
    supported("renegotiate", B, renegotiate, "warned of: connections are never renegotiated"),
    no_effect("no-renegotiate", B, "connections are never renegotiated"),
];

#[allow(clippy::unnecessary_wraps)] // the shape of all parsers
fn set<T>(slot: &mut T, value: T) -> Result<(), String> {
    *slot = value;
    Ok(())
}

type Draft<'a> = &'a mut DraftServer;

fn forced(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    s.server.proto = Some(proto(words).map_err(|message| format!("'{word}' : {message}."))?);
    Ok(())
}

fn check_forced(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    s.server.check.proto = Some(proto(words).map_err(|message| format!("'{word}' : {message}."))?);
    Ok(())
}

fn ws(_: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    s.server.ws = match words.next() {
        Some("auto") => WebSocketProto::Auto,
        Some("h1") => WebSocketProto::H1,
        Some("h2") => WebSocketProto::H2,
        _ => return Err("'ws' has to be 'auto', 'h1' or 'h2'.".to_owned()),
    };
    Ok(())
}

fn protocols(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    let names = alpn(words).map_err(|message| format!("'{word}' : {message}."))?;
    s.tls.settings.profile.alpn = Some(names);
    Ok(())
}

fn check_protocols(
    word: &str,
    words: &mut Words<'_>,
    s: Draft<'_>,
    _: &mut Context<'_>,
) -> Result<(), String> {
    let names = alpn(words).map_err(|message| format!("'{word}' : {message}."))?;
    s.server.check.alpn = Some(names.into());
    Ok(())
}

fn sni(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    let text = words.next().ok_or_else(|| format!("'{word}' : missing sni expression."))?;
    s.tls.sni = Some(text.to_owned());
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn no_sni_auto(_: &str, _: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    if s.tls.sni.as_deref() == Some(SNI_AUTO) {
        s.tls.sni = None;
    }
    Ok(())
}

fn check_sni(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    let name = words.next().ok_or_else(|| format!("'{word}' : missing SNI."))?;
    s.server.check.sni = Some(Arc::from(name));
    Ok(())
}

fn verify(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    s.tls.settings.verify = Some(match words.next() {
        Some("none") => Verify::None,
        Some("required") => Verify::Required,
        Some(other) => {
            return Err(format!(
                "'{word}' : unknown verify method '{other}', only 'none' and 'required' are supported."
            ));
        }
        None => return Err(format!("'{word}' : missing verify method.")),
    });
    Ok(())
}

fn verifyhost(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    let name = words.next().ok_or_else(|| format!("'{word}' : missing hostname to verify against."))?;
    s.tls.settings.verify_host = Some(name.to_owned());
    Ok(())
}

fn ca_file(word: &str, words: &mut Words<'_>, s: Draft<'_>, context: &mut Context<'_>) -> Result<(), String> {
    let missing = format!("'{word}' : missing CAfile path.");
    s.tls.settings.ca_file = Some(file(words, context.global.ca_base.as_ref(), &missing)?);
    Ok(())
}

fn crl_file(
    word: &str,
    words: &mut Words<'_>,
    s: Draft<'_>,
    context: &mut Context<'_>,
) -> Result<(), String> {
    let missing = format!("'{word}' : missing CRLfile path.");
    s.tls.settings.crl_file = Some(file(words, context.global.ca_base.as_ref(), &missing)?);
    Ok(())
}

fn crt(word: &str, words: &mut Words<'_>, s: Draft<'_>, context: &mut Context<'_>) -> Result<(), String> {
    let missing = format!("'{word}' : missing certificate file path.");
    s.tls.settings.certificate = Some(file(words, context.global.crt_base.as_ref(), &missing)?);
    Ok(())
}

fn text(word: &str, words: &mut Words<'_>, s: Draft<'_>, _: &mut Context<'_>) -> Result<(), String> {
    read_text(words, &mut s.tls.settings.profile, word).map_err(|message| format!("'{word}' : {message}."))
}

fn version(word: &str, words: &mut Words<'_>, s: Draft<'_>, context: &mut Context<'_>) -> Result<(), String> {
    let read = versions::read(word, words, &mut s.tls.settings.profile);
    context.warnings.extend(read.map_err(|message| format!("{message}."))?);
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn renegotiate(word: &str, _: &mut Words<'_>, _: Draft<'_>, context: &mut Context<'_>) -> Result<(), String> {
    context
        .warnings
        .push(format!("'{word}' : connections are never renegotiated; one whose server wants to is closed."));
    Ok(())
}
