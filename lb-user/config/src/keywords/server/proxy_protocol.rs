//! The PROXY protocol on server lines: `send-proxy` and its kin (manual 5.2).

use std::sync::Arc;

use sockeye_sample::{Format, Purpose, Stage, Stages};
use sockeye_syntax::diag::Severity;
use sockeye_syntax::words::Words;

use super::options::{Context, Parser};
use super::say;
use crate::draft::DraftServer;
use crate::keyword::{Keyword, Sections, supported, takes};
use crate::model::ProxyV2Options;
use crate::scope::ProxyScope;

const B: Sections = Sections::SERVER_SIDE;

/// TLVs that a line may set: more than the registered types and those for applications together.
const TLVS_MAX: usize = 256;

const TLV: &str = "set-proxy-v2-tlv-fmt";

pub(crate) const WORDS: &[Keyword<Parser>] = &[
    supported("check-send-proxy", B, |_, s, _| set(s, |p| p.checks = true), "PROXY header of checks"),
    supported(
        "no-check-send-proxy",
        B,
        |_, s, _| set(s, |p| p.checks = false),
        "takes 'check-send-proxy' back",
    ),
    supported("no-send-proxy", B, |_, s, _| set(s, |p| p.v1 = false), "takes 'send-proxy' back"),
    supported("no-send-proxy-v2", B, |_, s, _| set(s, |p| p.v2 = false), "takes 'send-proxy-v2' back"),
    supported("no-send-proxy-v2-ssl", B, |_, s, _| ssl(s, false), "takes 'send-proxy-v2-ssl' back"),
    supported("no-send-proxy-v2-ssl-cn", B, |_, s, _| ssl_cn(s, false), "takes 'send-proxy-v2-ssl-cn' back"),
    takes(1, supported("proxy-v2-options", B, options, "what PROXY headers say beside addresses")),
    supported("send-proxy", B, |_, s, _| set(s, |p| p.v1 = true), "PROXY header, version 1"),
    supported("send-proxy-v2", B, |_, s, _| set(s, |p| p.v2 = true), "PROXY header, version 2"),
    supported("send-proxy-v2-ssl", B, |_, s, _| ssl(s, true), "PROXY header that tells of TLS"),
    supported("send-proxy-v2-ssl-cn", B, |_, s, _| ssl_cn(s, true), "PROXY header with the client's name"),
    takes(1, supported(TLV, B, tlv, "a value in PROXY headers")),
];

/// The row of a word; only the one with an argument in parentheses is written in more ways than its name.
pub(super) fn find(word: &str) -> Option<&'static Keyword<Parser>> {
    let name = if word.starts_with(TLV) { word.split('(').next().unwrap_or(word) } else { word };
    crate::keyword::find(WORDS, name)
}

#[allow(clippy::unnecessary_wraps)] // the shape of all option parsers
fn set(draft: &mut DraftServer, change: fn(&mut crate::model::SendProxy)) -> Result<(), String> {
    change(&mut draft.server.send_proxy);
    Ok(())
}

#[allow(clippy::unnecessary_wraps)] // the shape of all option parsers
fn ssl(draft: &mut DraftServer, on: bool) -> Result<(), String> {
    let proxy = &mut draft.server.send_proxy;
    (proxy.v2, proxy.options.ssl) = (on, on);
    Ok(())
}

fn ssl_cn(draft: &mut DraftServer, on: bool) -> Result<(), String> {
    draft.server.send_proxy.options.cert_cn = on;
    ssl(draft, on)
}

/// `proxy-v2-options OPTION[,…]`.
fn options(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    for word in words.next().unwrap_or_default().split(',') {
        let ProxyV2Options { ssl, cert_cn, cert_key, cert_sig, ssl_cipher, authority, crc32c, unique_id } =
            &mut draft.server.send_proxy.options;
        // What is said of TLS stands inside what `ssl` adds.
        let (flag, about_ssl) = match word {
            "ssl" => (None, true),
            "cert-cn" => (Some(cert_cn), true),
            "cert-key" => (Some(cert_key), true),
            "cert-sig" => (Some(cert_sig), true),
            "ssl-cipher" => (Some(ssl_cipher), true),
            "authority" => (Some(authority), false),
            "crc32c" => (Some(crc32c), false),
            "unique-id" => (Some(unique_id), false),
            _ => return Err(format!("'{word}' : proxy v2 option not implemented.")),
        };
        *ssl |= about_ssl;
        if let Some(flag) = flag {
            *flag = true;
        }
    }
    Ok(())
}

/// `set-proxy-v2-tlv-fmt(TYPE) FORMAT`.
fn tlv(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    words.seek(words.position() - 1);
    let word = words.next().unwrap_or_default();
    // Taken in any case, so that it is not read as a word of its own.
    let format = words.next();
    let kind = word.strip_prefix(TLV).and_then(|rest| rest.strip_prefix('(')?.split_once(')'));
    let Some((kind, "")) = kind else {
        return Err(format!("'{word}' : expects set-proxy-v2-tlv(<TLV ID>)."));
    };
    let number = match kind.strip_prefix("0x").or_else(|| kind.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => kind.parse(),
    };
    let number = number.map_err(|_| format!("'{word}' : could not convert TLV ID."))?;
    let number =
        u8::try_from(number).map_err(|_| format!("'{word}' : the maximum allowed TLV ID is 255."))?;
    let format = format.ok_or_else(|| format!("'{word}' : expects a format as argument."))?;
    if draft.tlvs.len() >= TLVS_MAX {
        return Err(format!("'{word}' : a server line sets {TLVS_MAX} TLVs at most."));
    }
    draft.tlvs.push((number, format.to_owned()));
    Ok(())
}

/// Compiles the TLVs of a server, those of `default-server` included.
pub(super) fn compile(
    title: &str,
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    scope: &mut ProxyScope<'_>,
) {
    let proxy = &draft.server.send_proxy;
    let unused =
        [("proxy-v2-options", proxy.options != ProxyV2Options::default()), (TLV, !draft.tlvs.is_empty())];
    for (name, _) in unused.iter().filter(|(_, given)| *given && !proxy.v2) {
        say(words, Severity::Notice, &format!("{title}'{name}' has no effect without 'send-proxy-v2'."));
    }
    let (file, line) = (words.location().file.clone(), words.location().line);
    for (kind, text) in std::mem::take(&mut draft.tlvs) {
        let mut warnings = Vec::new();
        let parsed = {
            let mut compiler = scope.expressions.compiler(&file, line, &scope.proxy.name, &mut warnings);
            Format::parse(&text, Purpose::Text, Stages::of(Stage::ServerSource), &mut compiler)
        };
        for warning in warnings {
            say(words, Severity::Warning, &format!("{title}'{TLV}' : {warning}."));
        }
        match parsed {
            Ok(format) => draft.server.send_proxy.tlvs.push((kind, Arc::new(format))),
            Err(error) => say(words, Severity::Alert, &format!("{title}{error}")),
        }
    }
}
