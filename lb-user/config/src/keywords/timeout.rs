//! `timeout …` (manual 4.2).

use std::time::Duration;

use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use crate::draft::Timeouts;
use crate::keyword::{Keyword, Sections, find, supported};
use crate::scope::ProxyScope;

/// A bare number below this many milliseconds was probably meant as seconds.
const SUSPICIOUS_MS: u128 = 100;

type Slot = fn(&mut Timeouts) -> &mut Option<Duration>;

const CLIENT: Sections = Sections::CLIENT_SIDE;
const SERVER: Sections = Sections::SERVER_SIDE;
const ALL: Sections = Sections::ALL_PROXIES;

pub(crate) const TABLE: &[Keyword<Slot>] = &[
    supported("check", SERVER, |t| &mut t.check, "answer to a health check"),
    supported("client", CLIENT, |t| &mut t.client, "silence of the client"),
    supported("client-fin", CLIENT, |t| &mut t.client_fin, "silence of a half-closed client"),
    supported("client-hs", CLIENT, |t| &mut t.client_hs, "the client's TLS handshake"),
    supported("connect", SERVER, |t| &mut t.connect, "connection to a server"),
    supported("http-keep-alive", ALL, |t| &mut t.http_keep_alive, "wait for the next request"),
    supported("http-request", ALL, |t| &mut t.http_request, "arrival of a whole request head"),
    supported("queue", SERVER, |t| &mut t.queue, "wait for a free server"),
    supported("server", SERVER, |t| &mut t.server, "silence of the server"),
    supported("server-fin", SERVER, |t| &mut t.server_fin, "silence of a half-closed server"),
    supported("tarpit", ALL, |t| &mut t.tarpit, "how long a tarpit holds a request"),
    supported("tunnel", SERVER, |t| &mut t.tunnel, "silence on both sides of a tunnel"),
];

pub(crate) fn parse(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let name = words.extend_keyword().unwrap_or_default();
    let Some(keyword) = find(TABLE, name) else {
        words.alert(format!(
            "'timeout' supports 'client', 'server', 'connect', 'check', 'queue', 'handshake', 'http-keep-alive', 'http-request', 'tunnel', 'tarpit', 'client-fin' and 'server-fin' (got '{name}')"
        ));
        return words.skip_rest();
    };
    let Some(slot) = keyword.parser(words) else { return };
    let text = words.peek().unwrap_or_default();
    let Some(value) = words.duration(TimeUnit::Milliseconds).filter(|_| words.end()) else { return };
    let proxy = &mut *scope.proxy;
    let place = format!("{} '{}'", proxy.kind.name(), proxy.name);
    if !keyword.sections.contains(proxy.kind.section()) {
        let missing = if proxy.kind.is_backend() { "frontend" } else { "backend" };
        words
            .warning(format!("'timeout {name}' will be ignored because {place} has no {missing} capability"));
        return;
    }
    if let Some(unit) = suspicious(text, value) {
        words.warning(format!("'timeout {name} {text}' in {place} {unit}"));
    }
    // Zero is "for ever", which is what the absence means too.
    *slot(&mut proxy.settings.timeouts) = (!value.is_zero()).then_some(value);
}

/// The end of the warning about a bare number that is too small to be milliseconds.
pub(crate) fn suspicious(text: &str, value: Duration) -> Option<String> {
    let bare = text.bytes().all(|byte| byte.is_ascii_digit());
    (bare && !value.is_zero() && value.as_millis() < SUSPICIOUS_MS).then(|| {
        format!(
            "is suspiciously small for a value in milliseconds. Please use an explicit unit ('{text}ms') if that was the intent."
        )
    })
}
