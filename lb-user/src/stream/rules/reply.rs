//! Replies that rules make, as responses of the exchange.

use sockeye_http::reason_phrase;
use sockeye_rules::{Content, Cookie, Redirect, RedirectKind, ReplyRule, redirect};

use super::{Messages, Run};
use crate::services::replies::{ErrorReplies, Reply};

/// The reply of `return`, `deny` and `tarpit`.
pub fn of_rule(
    rule: &'static ReplyRule,
    run: &Run<'_>,
    messages: &Messages<'_>,
    own: &ErrorReplies,
) -> Reply {
    let payload = |content_type: &Option<Box<[u8]>>, body: Vec<u8>| {
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> =
            rule.headers.iter().map(|(name, value)| (name.to_vec(), run.format(value, messages))).collect();
        // A header without value is none; one about the connection is for us to do.
        headers.retain(|(_, value)| !value.is_empty());
        let asks_close = |(name, value): &(Vec<u8>, Vec<u8>)| {
            name == b"connection"
                && value
                    .split(|byte| *byte == b',')
                    .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
        };
        let closes = headers.iter().any(asks_close);
        headers.retain(|(name, _)| name != b"connection");
        let bytes = headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes + body.len() > run.reply_bytes_max() {
            return (*own.error(500)).clone();
        }
        headers.push((b"content-length".to_vec(), Vec::new()));
        if let Some(content_type) = content_type
            && !body.is_empty()
        {
            headers.push((b"content-type".to_vec(), content_type.to_vec()));
        }
        let mut reply = Reply::new(rule.status, reason_phrase(rule.status), headers, body);
        reply.closes = closes;
        reply
    };
    match &rule.content {
        Content::Empty => payload(&None, Vec::new()),
        Content::Default => (*own.error(rule.status)).clone(),
        Content::Whole(file) => {
            Reply::of_file(rule.status, file).unwrap_or_else(|| (*own.error(500)).clone())
        }
        Content::Raw { content_type, body } => payload(content_type, body.to_vec()),
        Content::Formatted { content_type, body } => payload(content_type, run.format(body, messages)),
    }
}

/// The reply of `redirect`; `None` when the rule does not apply after all (`ignore-empty`).
pub fn of_redirect(rule: &'static Redirect, run: &Run<'_>, messages: &Messages<'_>) -> Option<Reply> {
    let target = run.format(&rule.target, messages);
    if rule.ignore_empty && target.is_empty() && rule.kind == RedirectKind::Location {
        return None;
    }
    let location = redirect::location(rule, &target, messages.request.as_deref());
    let mut headers = vec![(b"content-length".to_vec(), Vec::new()), (b"location".to_vec(), location)];
    if matches!(rule.status, 302 | 303 | 307) {
        headers.push((b"cache-control".to_vec(), b"no-cache".to_vec()));
    }
    match &rule.cookie {
        None => {}
        Some(Cookie::Fixed(text)) => headers.push((b"set-cookie".to_vec(), text.to_vec())),
        Some(Cookie::Formatted(format)) => {
            let mut cookie = run.format(format, messages);
            cookie.extend_from_slice(b"; path=/;");
            headers.push((b"set-cookie".to_vec(), cookie));
        }
    }
    Some(Reply::new(rule.status, reason_phrase(rule.status), headers, Vec::new()))
}

/// The reply of `auth`: 401, or 407 when the request is one to a proxy.
pub fn of_auth(realm: &str, to_proxy: bool, own: &ErrorReplies) -> Reply {
    let (status, header) = if to_proxy { (407, "proxy-authenticate") } else { (401, "www-authenticate") };
    let mut reply = (*own.error(status)).clone();
    reply.set_header(header, format!("Basic realm=\"{realm}\"").into_bytes());
    reply
}
