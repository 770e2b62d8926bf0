//! Actions of `http-request`, `http-response` and `http-after-response`.

use std::sync::Arc;
use std::time::Duration;

use sockeye_http::FieldName;
use sockeye_pattern::{Reference, Regex};
use sockeye_sample::{Format, Purpose, Stages};
use sockeye_syntax::units::parse_size;
use sockeye_syntax::words::Words;

use super::reply::{ReplyOf, reply};
use super::{Context, Set, argument, call, number_or, time};
use crate::action::{Action, NameMatch, Normalizer, NumberOr, TimeoutKind};
use crate::redirect::{Cookie, Redirect, RedirectKind};

/// `None`: not one of these.
pub(super) fn action(
    name: &str,
    words: &mut Words<'_>,
    set: Set,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Option<Action>, String> {
    let request = set == Set::HttpRequest;
    // Not after the response is decided.
    let before = set != Set::HttpAfterResponse;
    Ok(Some(match name {
        "allow" => Action::Allow,
        "deny" if request => Action::Deny(Box::new(reply(words, ReplyOf::Deny, context, stages)?)),
        "deny" if before => Action::Deny(Box::new(reply(words, ReplyOf::DenyResponse, context, stages)?)),
        "tarpit" if request => Action::Tarpit(Box::new(reply(words, ReplyOf::Tarpit, context, stages)?)),
        "return" if before => Action::Return(Box::new(reply(words, ReplyOf::Return, context, stages)?)),
        "redirect" if before => redirect(words, context, stages, !request)?,
        "reject" if request => Action::Reject,
        "auth" if request => {
            let realm = match words.take("realm") {
                true => Some(argument(words, "a realm")?.into()),
                false => None,
            };
            Action::Auth { realm }
        }
        "add-header" => {
            let (name, value) = header(words, context, stages)?;
            Action::AddHeader { name: FieldName::new(&name), value }
        }
        "set-header" => {
            let (name, value) = header(words, context, stages)?;
            Action::SetHeader { name: FieldName::new(&name), value }
        }
        "early-hint" if request => {
            let (name, value) = header(words, context, stages)?;
            Action::EarlyHint { name, value }
        }
        "del-header" => Action::DelHeader(del_header(words)?),
        "replace-header" => {
            let name = FieldName::new(&header_name(words)?);
            let (regex, with) = replacement(words, Purpose::Header, context, stages)?;
            Action::ReplaceHeader { name, regex, with }
        }
        "replace-value" => {
            let name = FieldName::new(&header_name(words)?);
            let (regex, with) = replacement(words, Purpose::Header, context, stages)?;
            Action::ReplaceValue { name, regex, with }
        }
        "set-method" if request => Action::SetMethod(format(words, Purpose::Header, context, stages)?),
        "set-path" if request => Action::SetPath(format(words, Purpose::Header, context, stages)?),
        "set-pathq" if request => Action::SetPathAndQuery(format(words, Purpose::Header, context, stages)?),
        "set-query" if request => Action::SetQuery(format(words, Purpose::Header, context, stages)?),
        "set-uri" if request => Action::SetUri(format(words, Purpose::Header, context, stages)?),
        "replace-path" if request => {
            let (regex, with) = replacement(words, Purpose::Header, context, stages)?;
            Action::ReplacePath { regex, with }
        }
        "replace-pathq" if request => {
            let (regex, with) = replacement(words, Purpose::Header, context, stages)?;
            Action::ReplacePathAndQuery { regex, with }
        }
        "replace-uri" if request => {
            let (regex, with) = replacement(words, Purpose::Header, context, stages)?;
            Action::ReplaceUri { regex, with }
        }
        "normalize-uri" if request => Action::NormalizeUri(normalizer(words)?),
        "set-status" if !request => {
            let text = argument(words, "a status code")?;
            let status = text.parse().ok().filter(|status| (100..=999).contains(status));
            let status =
                status.ok_or_else(|| format!("expects a status code between 100 and 999, not '{text}'"))?;
            let reason = match words.take("reason") {
                true => Some(argument(words, "a reason")?.as_bytes().into()),
                false => None,
            };
            Action::SetStatus { status, reason }
        }
        "strict-mode" => match argument(words, "'on' or 'off'")? {
            "on" => Action::StrictMode(true),
            "off" => Action::StrictMode(false),
            other => return Err(format!("expects 'on' or 'off', not '{other}'")),
        },
        "set-timeout" if before => {
            let word = argument(words, "a kind of timeout")?;
            let which = match word {
                "client" => TimeoutKind::Client,
                "connect" if request => TimeoutKind::Connect,
                "queue" if request => TimeoutKind::Queue,
                "server" if request => TimeoutKind::Server,
                "tarpit" if request => TimeoutKind::Tarpit,
                "tunnel" => TimeoutKind::Tunnel,
                other => return Err(format!("'set-timeout' does not know '{other}' here")),
            };
            let needs_backend = !matches!(which, TimeoutKind::Client | TimeoutKind::Tarpit);
            if needs_backend && !context.side.backend {
                return Err("this timeout belongs to backends: the rule must stand in one".to_owned());
            }
            let value = number_or(words, context, stages, time)?;
            if let NumberOr::Fixed(Duration::ZERO) = value {
                return Err(format!("null value is not valid for a 'set-timeout {word}' rule"));
            }
            Action::SetTimeout { which, value }
        }
        "disable-l7-retry" if request => Action::DisableRetry,
        "wait-for-handshake" if request => Action::WaitForHandshake,
        "wait-for-body" if before => wait_for_body(words)?,
        "pause" if before => Action::Pause(number_or(words, context, stages, time)?),
        _ => return patterns(name, words, set, context, stages),
    }))
}

/// `set-map(FILE)`, `del-map(FILE)`, `add-acl(FILE)`, `del-acl(FILE)`.
fn patterns(
    name: &str,
    words: &mut Words<'_>,
    set: Set,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Option<Action>, String> {
    let word = name.split_once('(').map_or(name, |(word, _)| word);
    if !matches!(word, "set-map" | "del-map" | "add-acl" | "del-acl")
        || set == Set::HttpAfterResponse && word == "add-acl"
    {
        return Ok(None);
    }
    let Some((_, file)) = call(name).filter(|(_, file)| !file.is_empty()) else {
        return Err(format!("'{word}' expects a file name between parentheses"));
    };
    let file = file.to_owned();
    let map = word.ends_with("map");
    let reference: Arc<Reference> = context.compile(words, |compiler| compiler.patterns.open(&file, map))?;
    let key = format(words, Purpose::Text, context, stages)?;
    Ok(Some(match word {
        "set-map" => {
            let value = format(words, Purpose::Text, context, stages)?;
            Action::SetMap { map: reference, key, value }
        }
        "del-map" => Action::DelMap { map: reference, key },
        "add-acl" => Action::AddAcl { list: reference, key },
        _ => Action::DelAcl { list: reference, key },
    }))
}

/// `redirect …`; `response`: only whole locations, for the request is gone.
pub(super) fn redirect(
    words: &mut Words<'_>,
    context: &mut Context<'_>,
    stages: Stages,
    response: bool,
) -> Result<Action, String> {
    let mut kind = None;
    let mut status = 302;
    let mut cookie = None;
    let (mut drop_query, mut keep_query, mut append_slash, mut ignore_empty) = (false, false, false, false);
    while let Some(word) = words.peek() {
        if matches!(word, "if" | "unless") {
            break;
        }
        words.next();
        match word {
            "location" | "prefix" | "scheme" => {
                let chosen = match word {
                    "location" => RedirectKind::Location,
                    "prefix" => RedirectKind::Prefix,
                    _ => RedirectKind::Scheme,
                };
                if response && chosen != RedirectKind::Location {
                    return Err(format!("'{word}' is not for responses: only 'location' is"));
                }
                kind = Some((chosen, format(words, Purpose::Header, context, stages)?));
            }
            "code" => {
                let text = argument(words, "a status code")?;
                status = text.parse().unwrap_or(0);
                if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                    return Err(format!("'code' expects 301, 302, 303, 307 or 308, not '{text}'"));
                }
            }
            "set-cookie" => {
                let text = argument(words, "a cookie")?;
                cookie = Some(Cookie::Fixed(format!("{text}; path=/;").into_bytes().into()));
            }
            "set-cookie-fmt" => {
                cookie = Some(Cookie::Formatted(format(words, Purpose::Header, context, stages)?))
            }
            "clear-cookie" => {
                let text = argument(words, "a cookie")?;
                cookie = Some(Cookie::Fixed(format!("{text}; path=/; Max-Age=0;").into_bytes().into()));
            }
            "drop-query" => drop_query = true,
            "keep-query" => keep_query = true,
            "append-slash" => append_slash = true,
            "ignore-empty" => ignore_empty = true,
            other => {
                return Err(format!(
                    "expects 'code', 'prefix', 'location', 'scheme', 'set-cookie', 'clear-cookie', 'drop-query', 'ignore-empty' or 'append-slash' (was '{other}')"
                ));
            }
        }
    }
    let Some((kind, target)) = kind else {
        return Err("redirection type expected ('prefix', 'location', or 'scheme')".to_owned());
    };
    Ok(Action::Redirect(Box::new(Redirect {
        kind,
        target,
        status,
        cookie,
        drop_query,
        keep_query,
        append_slash,
        ignore_empty,
    })))
}

fn format(
    words: &mut Words<'_>,
    purpose: Purpose,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Format, String> {
    let text = argument(words, "a format")?;
    context.format(words, text, purpose, stages)
}

fn header_name(words: &mut Words<'_>) -> Result<Box<[u8]>, String> {
    let name = argument(words, "a header name")?;
    if !sockeye_http::is_valid_name(name.as_bytes()) {
        return Err(format!("'{name}' is no name of a header"));
    }
    Ok(name.to_ascii_lowercase().into_bytes().into())
}

fn header(
    words: &mut Words<'_>,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<(Box<[u8]>, Format), String> {
    let name = header_name(words)?;
    Ok((name, format(words, Purpose::Header, context, stages)?))
}

fn replacement(
    words: &mut Words<'_>,
    purpose: Purpose,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<(Regex, Format), String> {
    let text = argument(words, "a regular expression")?;
    let regex = Regex::new(text, false).map_err(|error| format!("regex '{text}' is invalid: {error}"))?;
    Ok((regex, format(words, purpose, context, stages)?))
}

fn del_header(words: &mut Words<'_>) -> Result<NameMatch, String> {
    let name = argument(words, "a header name")?;
    let bytes: Box<[u8]> = name.to_ascii_lowercase().into_bytes().into();
    if !words.take("-m") {
        return Ok(NameMatch::Str(FieldName::new(&bytes)));
    }
    Ok(match argument(words, "a match method")? {
        "str" => NameMatch::Str(FieldName::new(&bytes)),
        "beg" => NameMatch::Beg(bytes),
        "end" => NameMatch::End(bytes),
        "sub" => NameMatch::Sub(bytes),
        "reg" => NameMatch::Reg(
            Regex::new(name, true).map_err(|error| format!("regex '{name}' is invalid: {error}"))?,
        ),
        other => {
            return Err(format!(
                "unknown matching method '{other}': expects 'str', 'beg', 'end', 'sub' or 'reg'"
            ));
        }
    })
}

fn normalizer(words: &mut Words<'_>) -> Result<Normalizer, String> {
    Ok(match argument(words, "a normalizer")? {
        "fragment-encode" => Normalizer::FragmentEncode,
        "fragment-strip" => Normalizer::FragmentStrip,
        "path-merge-slashes" => Normalizer::PathMergeSlashes,
        "path-strip-dot" => Normalizer::PathStripDot,
        "path-strip-dotdot" => Normalizer::PathStripDotDot { full: words.take("full") },
        "percent-decode-unreserved" => Normalizer::PercentDecodeUnreserved { strict: words.take("strict") },
        "percent-to-uppercase" => Normalizer::PercentToUppercase { strict: words.take("strict") },
        "query-sort-by-name" => Normalizer::QuerySortByName,
        other => return Err(format!("unknown normalizer '{other}'")),
    })
}

fn wait_for_body(words: &mut Words<'_>) -> Result<Action, String> {
    let (mut wait, mut at_least) = (None, 0);
    while let Some(word) = words.peek() {
        if matches!(word, "if" | "unless") {
            break;
        }
        words.next();
        match word {
            "time" => {
                let text = argument(words, "a time")?;
                wait = Some(time(text).ok_or_else(|| format!("invalid time '{text}'"))?);
            }
            "at-least" => {
                let text = argument(words, "a size")?;
                at_least = parse_size(text).map_err(|_| format!("invalid size '{text}'"))?;
            }
            other => return Err(format!("expects 'time' or 'at-least', not '{other}'")),
        }
    }
    let time = wait.ok_or("expects 'time' followed by a time")?;
    Ok(Action::WaitForBody { time, at_least })
}
