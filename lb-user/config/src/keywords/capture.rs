//! `capture` and `declare capture` (manual 4.2): what is kept of messages.

use sockeye_syntax::diag::{Diagnostic, Place, Severity};
use sockeye_syntax::words::Words;

use crate::draft::Kind;
use crate::model::{CaptureSlot, CookieCapture};
use crate::scope::ProxyScope;

/// Bytes of one captured value: what is kept of each request must have a limit, and no header of a request is longer
/// than its buffer by default.
const LENGTH_MAX: usize = 16_384;

/// `capture cookie NAME len N`, `capture request|response header NAME len N`.
pub(crate) fn capture(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    match words.next().unwrap_or_default() {
        "cookie" => cookie(words, scope),
        direction @ ("request" | "response") if words.take("header") => header(words, scope, direction),
        _ => {
            words.alert("'capture' expects 'cookie' or 'request header' or 'response header'.");
            words.skip_rest();
        }
    }
}

/// `declare capture request|response len N`.
pub(crate) fn declare(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Err(message) = declare_slot(words, scope) {
        words.alert(message);
        words.skip_rest();
    }
}

fn declare_slot(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) -> Result<(), String> {
    match scope.proxy.kind {
        Kind::Defaults => return Err("'declare' not available in default section".to_owned()),
        Kind::Backend => return Err("'declare' only available in frontend or listen section".to_owned()),
        Kind::Frontend | Kind::Listen => {}
    }
    match words.next() {
        Some("capture") => {}
        None => {
            return Err("'declare' needs a second keyword that specify the type of declaration ('capture')"
                .to_owned());
        }
        Some(other) => return Err(format!("unknown declaration type '{other}' (supports 'capture')")),
    }
    let captures = &mut scope.proxy.captures;
    let slots = match words.next() {
        Some("request") => &mut captures.request,
        Some("response") => &mut captures.response,
        _ => return Err("'declare capture' requires a direction ('request' or 'response')".to_owned()),
    };
    if !words.take("len") {
        return Err("'declare capture' requires a capture length ('len')".to_owned());
    }
    let Some(length) = words.next() else {
        return Err(
            "'declare capture': 'len' requires a numeric value that represents the capture length".to_owned()
        );
    };
    let length: usize =
        length.parse().map_err(|_| format!("'declare capture': cannot parse the length '{length}'."))?;
    if length == 0 {
        return Err("length must be > 0".to_owned());
    }
    slots.push(CaptureSlot { header: None, length: length.min(LENGTH_MAX) });
    words.end();
    Ok(())
}

fn cookie(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some((name, length)) =
        name_and_length(words, scope, "capture cookie", "'capture' expects 'cookie' <cookie_name>")
    else {
        return;
    };
    let longest = scope.global.tune.http_cookielen;
    if length > longest {
        let message = format!(
            "truncating capture length to {longest} bytes for {} '{}'.",
            scope.proxy.kind.name(),
            scope.proxy.name
        );
        words.diags().push(Diagnostic::new(Severity::Warning, Place::Nowhere, message).without_context());
    }
    scope.proxy.captures.cookie = Some(CookieCapture { prefix: name.into(), length: length.min(longest) });
}

fn header(words: &mut Words<'_>, scope: &mut ProxyScope<'_>, direction: &str) {
    let keyword = format!("capture {direction}");
    let usage = format!("'{keyword}' expects 'header' <header_name>");
    let Some((name, length)) = name_and_length(words, scope, &keyword, &usage) else { return };
    let captures = &mut scope.proxy.captures;
    let slots = if direction == "request" { &mut captures.request } else { &mut captures.response };
    slots.push(CaptureSlot { header: Some(name.into()), length: length.min(LENGTH_MAX) });
}

/// `NAME len N`. A length that is no number keeps nothing, as with HAProxy, but is said.
fn name_and_length<'a>(
    words: &mut Words<'a>,
    scope: &ProxyScope<'_>,
    keyword: &str,
    usage: &str,
) -> Option<(&'a str, usize)> {
    if scope.proxy.kind == Kind::Defaults {
        words.alert(format!("'{keyword}' not allowed in 'defaults' section."));
        words.skip_rest();
        return None;
    }
    let name = words.next();
    let length = if words.take("len") { words.next() } else { None };
    let (Some(name), Some(text)) = (name, length) else {
        words.alert(format!("{usage} 'len' <len>."));
        words.skip_rest();
        return None;
    };
    if let Some(extra) = words.peek() {
        words.alert(format!("'{keyword}' cannot handle unexpected argument '{extra}'."));
        words.skip_rest();
        return None;
    }
    let length = text.parse().unwrap_or(0);
    if length == 0 {
        words.warning(format!("'{keyword}' keeps nothing of '{name}' with a length of '{text}'."));
    }
    Some((name, length))
}
