//! `balance`, `hash-type`, `hash-balance-factor`, `hash-preserve-affinity` (manual 4.2).

use sockeye_balance::{HashFunction, HashMethod, HashSource};
use sockeye_syntax::words::Words;

use super::packet;
use crate::draft::{DraftAlgorithm, Kind};
use crate::keyword::not_yet_message;
use crate::model::HashPreserveAffinity;
use crate::scope::ProxyScope;

/// Servers that `random` may draw for one choice: more would look at every server of a farm.
const DRAWS_MAX: u32 = 1024;

pub(crate) fn balance(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let algorithm = if scope.packet && scope.proxy.kind != Kind::Defaults {
        packet::algorithm(words)
    } else {
        algorithm(words)
    };
    match algorithm {
        Ok(algorithm) => scope.proxy.settings.balance.algorithm = Some(algorithm),
        Err(message) => words.alert(message),
    }
    words.skip_rest();
}

pub(super) fn algorithm(words: &mut Words<'_>) -> Result<DraftAlgorithm, String> {
    // Without a word it is roundrobin.
    let name = words.next().unwrap_or("roundrobin");
    let plain = |words: &mut Words<'_>, algorithm| match words.peek() {
        None => Ok(algorithm),
        Some(extra) => Err(format!("balance {name} does not take an argument (got '{extra}').")),
    };
    if let Some(header) = call("hdr", name) {
        return hdr(header, words);
    }
    if let Some(draws) = call("random", name) {
        let draws = draws_of(draws)?;
        return plain(words, DraftAlgorithm::Random(draws));
    }
    if name.starts_with("rdp-cookie") || matches!(name, "hash" | "log-hash" | "sticky") {
        return Err(not_yet_message(&format!("balance {name}")));
    }
    match name {
        "roundrobin" => plain(words, DraftAlgorithm::RoundRobin),
        "static-rr" => plain(words, DraftAlgorithm::StaticRoundRobin),
        "leastconn" => plain(words, DraftAlgorithm::LeastConn),
        "first" => plain(words, DraftAlgorithm::First),
        "random" => plain(words, DraftAlgorithm::Random(2)),
        "source" => plain(words, DraftAlgorithm::Hash(HashSource::Source)),
        "uri" => uri(words),
        "url_param" => url_param(words),
        _ => Err("balance only supports 'roundrobin', 'static-rr', 'leastconn', 'source', 'uri', 'url_param', 'hash', 'hdr(name)', 'rdp-cookie(name)', 'log-hash' and 'sticky' options.".to_owned()),
    }
}

/// The argument of `name(argument)`.
fn call<'a>(name: &str, word: &'a str) -> Option<&'a str> {
    word.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

fn draws_of(text: &str) -> Result<u32, String> {
    if let Some(character) = text.chars().find(|character| !character.is_ascii_digit()) {
        return Err(format!("balance random : unexpected character '{character}' after argument."));
    }
    match text.parse() {
        Ok(0) | Err(_) => Err("balance random : number of draws must be at least 1.".to_owned()),
        Ok(draws) if draws > DRAWS_MAX => {
            Err(format!("balance random : number of draws must be at most {DRAWS_MAX}."))
        }
        Ok(draws) => Ok(draws),
    }
}

fn hdr(name: &str, words: &mut Words<'_>) -> Result<DraftAlgorithm, String> {
    if name.is_empty() {
        return Err("balance hdr requires an http header field name.".to_owned());
    }
    let domain_only = words.take("use_domain_only");
    if let Some(extra) = words.peek() {
        return Err(format!("balance hdr({name}) only accepts 'use_domain_only' modifier (got '{extra}')."));
    }
    Ok(DraftAlgorithm::Hash(HashSource::Hdr { name: name.to_ascii_lowercase().into(), domain_only }))
}

fn uri(words: &mut Words<'_>) -> Result<DraftAlgorithm, String> {
    let (mut whole, mut len, mut depth, mut path_only) = (false, 0, 0, false);
    while let Some(word) = words.next() {
        match word {
            "whole" => whole = true,
            "path-only" => path_only = true,
            "len" | "depth" => {
                let text = words.next().unwrap_or_default();
                let value = text.parse().ok().filter(|value| *value > 0).ok_or_else(|| {
                    format!("balance uri : '{word}' expects a positive integer (got '{text}').")
                })?;
                *(if word == "len" { &mut len } else { &mut depth }) = value;
            }
            _ => {
                return Err(format!(
                    "balance uri only accepts parameters 'len', 'depth', 'path-only', and 'whole' (got '{word}')."
                ));
            }
        }
    }
    Ok(DraftAlgorithm::Hash(HashSource::Uri { whole, len, depth, path_only }))
}

fn url_param(words: &mut Words<'_>) -> Result<DraftAlgorithm, String> {
    let name = words.next_word().ok_or("balance url_param requires an URL parameter name.")?;
    let check_post = words.take("check_post");
    // The manual's optional number of bytes to wait for has not been obeyed by HAProxy for years.
    if check_post && words.peek().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
        words.next();
    }
    if let Some(extra) = words.peek() {
        return Err(format!("balance url_param only accepts 'check_post' modifier (got '{extra}')."));
    }
    Ok(DraftAlgorithm::Hash(HashSource::UrlParam { name: name.bytes().into(), check_post }))
}

pub(crate) fn hash_type(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let balance = &mut scope.proxy.settings.balance;
    let method = match words.next() {
        Some("consistent") => HashMethod::Consistent,
        Some("map-based") => HashMethod::MapBased,
        Some("avalanche") => {
            words.alert("experimental feature 'hash-type avalanche' is not supported anymore, please use 'hash-type map-based sdbm avalanche' instead.");
            return words.skip_rest();
        }
        _ => {
            words.alert("'hash-type' only supports 'consistent' and 'map-based'.");
            return words.skip_rest();
        }
    };
    let mut function = None;
    if let Some(name) = words.next() {
        let found = match name {
            "sdbm" => HashFunction::Sdbm,
            "djb2" => HashFunction::Djb2,
            "wt6" => HashFunction::Wt6,
            "crc32" => HashFunction::Crc32,
            "none" => HashFunction::None,
            _ => {
                words.alert("'hash-type' only supports 'sdbm', 'djb2', 'crc32', or 'wt6' hash functions.");
                return words.skip_rest();
            }
        };
        let avalanche = words.take("avalanche");
        if !words.is_end() {
            words.alert("'hash-type' only supports 'avalanche' as a modifier for hash functions.");
            return words.skip_rest();
        }
        function = Some((found, avalanche));
    }
    balance.method = method;
    balance.function = function;
}

pub(crate) fn hash_balance_factor(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let value = words.next().and_then(|word| word.parse::<u32>().ok());
    match value.filter(|value| *value == 0 || *value > 100) {
        Some(value) => {
            if words.end() {
                scope.proxy.settings.balance.factor = value;
            }
        }
        None => words.alert("'hash-balance-factor' must be 0 or greater than 100."),
    }
}

pub(crate) fn hash_preserve_affinity(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let value = match words.next() {
        Some("always") => HashPreserveAffinity::Always,
        Some("maxconn") => HashPreserveAffinity::Maxconn,
        Some("maxqueue") => HashPreserveAffinity::Maxqueue,
        other => {
            words.alert(format!("'hash-preserve-affinity': unknown keyword '{}'", other.unwrap_or_default()));
            return;
        }
    };
    if words.end() {
        scope.proxy.settings.hash_preserve_affinity = value;
    }
}
