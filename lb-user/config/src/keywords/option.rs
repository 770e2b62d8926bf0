//! `option …` (manual 4.2), with `no` and `default` in front where HAProxy allows them.

use std::net::IpAddr;

use sockeye_syntax::words::Words;

use super::{check, log_format};
use crate::draft::{DraftCheckKind, LogOption, Settings};
use crate::keyword::{Keyword, Sections, Status, find, hint, no_effect, not_yet, removed, supported};
use crate::model::{AddressHeader, ConnectionMode, Forwarded, Mode};
use crate::scope::{Negation, ProxyScope};

/// How an option is read.
#[derive(Clone, Copy)]
pub(crate) enum OptionParser {
    /// On, or off with `no`.
    Switch(fn(&mut Settings, bool)),
    /// The same, with a meaning in `mode http` alone.
    HttpSwitch(fn(&mut Settings, bool)),
    /// With arguments; `no` is passed in the scope.
    Negatable(fn(&mut Words<'_>, &mut ProxyScope<'_>)),
    /// With arguments and without `no`.
    Plain(fn(&mut Words<'_>, &mut ProxyScope<'_>)),
}

use OptionParser::{HttpSwitch, Negatable, Plain, Switch};

const FRONT: Sections = Sections::CLIENT_SIDE;
const BACK: Sections = Sections::SERVER_SIDE;
const ALL: Sections = Sections::ALL_PROXIES;

pub(crate) const TABLE: &[Keyword<OptionParser>] = &[
    // --- both sides ---
    supported("abortonclose", ALL, Switch(abortonclose), "gives up requests whose client left"),
    supported("http-buffer-request", ALL, HttpSwitch(http_buffer_request), "waits for the request body"),
    supported("nolinger", ALL, Switch(nolinger), "closes with a reset"),
    supported("splice-auto", ALL, Switch(|s, on| s.splice.auto = on), "splices where it helps"),
    supported("splice-request", ALL, Switch(|s, on| s.splice.request = on), "splices requests"),
    supported("splice-response", ALL, Switch(|s, on| s.splice.response = on), "splices responses"),
    supported("tcpka", ALL, Negatable(tcpka), "TCP keep-alives on both sides"),
    supported("forwardfor", ALL, Plain(forwardfor), "adds X-Forwarded-For"),
    supported("originalto", ALL, Plain(originalto), "adds X-Original-To"),
    supported("httpclose", ALL, Negatable(httpclose), "closes both connections after each response"),
    supported("http-server-close", ALL, Negatable(http_server_close), "closes the server's connection"),
    supported("http-keep-alive", ALL, Negatable(http_keep_alive), "keeps both connections"),
    // --- client side ---
    supported(
        "accept-unsafe-violations-in-http-request",
        FRONT,
        HttpSwitch(|s, on| s.frontend.accept_unsafe_violations_in_http_request = on),
        "tolerates some malformed requests",
    ),
    supported("clitcpka", FRONT, Switch(|s, on| s.clitcpka.enabled = on), "TCP keep-alives to clients"),
    supported(
        "disable-h2-upgrade",
        FRONT,
        HttpSwitch(|s, on| s.frontend.disable_h2_upgrade = on),
        "no HTTP/2 on clear ports without 'proto h2'",
    ),
    supported("dontlog-normal", FRONT, Switch(|s, on| s.frontend.dontlog_normal = on), "logs only errors"),
    supported(
        "dontlognull",
        FRONT,
        Switch(|s, on| s.frontend.dontlognull = on),
        "does not log empty connections",
    ),
    supported(
        "http-ignore-probes",
        FRONT,
        HttpSwitch(|s, on| s.frontend.http_ignore_probes = on),
        "no answer to connections without a request",
    ),
    supported(
        "http-use-proxy-header",
        FRONT,
        HttpSwitch(|s, on| s.frontend.http_use_proxy_header = on),
        "requests to a proxy authenticate as such",
    ),
    supported("httplog", ALL, Plain(httplog), "detailed HTTP logs"),
    supported(
        "idle-close-on-response",
        FRONT,
        HttpSwitch(|s, on| s.frontend.idle_close_on_response = on),
        "idle connections outlive a soft stop by one request",
    ),
    supported("httpslog", ALL, Plain(httpslog), "detailed HTTPS logs"),
    supported(
        "log-separate-errors",
        FRONT,
        Switch(|s, on| s.frontend.log_separate_errors = on),
        "logs errors as errors",
    ),
    supported("logasap", FRONT, Switch(|s, on| s.frontend.logasap = on), "logs before the end"),
    supported("tcplog", ALL, Plain(tcplog), "detailed TCP logs"),
    // --- server side ---
    supported(
        "accept-unsafe-violations-in-http-response",
        BACK,
        HttpSwitch(|s, on| s.backend.accept_unsafe_violations_in_http_response = on),
        "tolerates some malformed responses",
    ),
    supported(
        "allbackups",
        BACK,
        Switch(|s, on| s.backend.allbackups = on),
        "uses all backup servers at once",
    ),
    supported("forwarded", BACK, Negatable(forwarded), "adds Forwarded (RFC 7239)"),
    supported(
        "http-pretend-keepalive",
        BACK,
        HttpSwitch(|s, on| s.backend.http_pretend_keepalive = on),
        "does not tell the server that its connection will be closed",
    ),
    supported("httpchk", BACK, Plain(check::httpchk), "HTTP health checks"),
    supported(
        "log-health-checks",
        BACK,
        Switch(|s, on| s.backend.log_health_checks = on),
        "logs each change of a check",
    ),
    supported(
        "prefer-last-server",
        BACK,
        HttpSwitch(|s, on| s.backend.prefer_last_server = on),
        "stays with the server of the last request",
    ),
    supported("redispatch", BACK, Negatable(redispatch), "retries on another server"),
    supported("srvtcpka", BACK, Switch(|s, on| s.srvtcpka.enabled = on), "TCP keep-alives to servers"),
    supported("ssl-hello-chk", BACK, Plain(ssl_hello_chk), "health checks by an SSLv3 hello"),
    supported("tcp-check", BACK, Plain(tcp_check), "scripted TCP health checks"),
    // --- known, with nothing to act on ---
    no_effect("contstats", FRONT, "counters are updated while bytes pass"),
    no_effect("http-no-delay", ALL, "messages are sent as soon as they are complete"),
    no_effect("tcp-smart-accept", FRONT, "the kernel decides when to acknowledge"),
    no_effect("tcp-smart-connect", BACK, "the kernel decides when to acknowledge"),
    // --- not implemented yet ---
    not_yet("checkcache", BACK),
    not_yet("external-check", BACK),
    not_yet("h1-case-adjust-bogus-client", FRONT),
    not_yet("h1-case-adjust-bogus-server", BACK),
    not_yet("http-drop-request-trailers", BACK),
    not_yet("http-drop-response-trailers", FRONT),
    not_yet("http-restrict-req-hdr-names", ALL),
    not_yet("independent-streams", ALL),
    not_yet("ldap-check", BACK),
    not_yet("mysql-check", BACK),
    not_yet("persist", BACK),
    not_yet("pgsql-check", BACK),
    not_yet("redis-check", BACK),
    not_yet("smtpchk", BACK),
    not_yet("socket-stats", FRONT),
    not_yet("spop-check", BACK),
    not_yet("transparent", BACK),
    // --- removed ---
    removed(
        "forceclose",
        ALL,
        "option 'forceclose' is not supported any more since HAProxy 2.0, please just remove it, or use 'option httpclose' if absolutely needed.",
    ),
    removed(
        "http-tunnel",
        ALL,
        "option 'http-tunnel' is not supported any more since HAProxy 2.1, please just remove it, it shouldn't be needed.",
    ),
    removed(
        "http-use-htx",
        ALL,
        "option 'http-use-htx' is not supported any more since HAProxy 2.1, please just remove it: there is no other way to process HTTP.",
    ),
];

/// `[no|default] option NAME …`.
pub(crate) fn parse(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(name) = words.peek() else {
        words.alert("'option' expects an option name.");
        return;
    };
    let row = find(TABLE, name);
    let negatable =
        row.is_some_and(|row| !matches!(row.status, Status::Supported(Plain(_)) | Status::Removed(_)));
    if scope.negation != Negation::None && !negatable {
        words.alert(format!("negation/default is not supported for option '{name}'."));
        return words.skip_rest();
    }
    let Some(row) = row else {
        let hint = hint(words, name, TABLE.iter().map(|row| row.name));
        words.alert(format!("unknown option '{name}'{}", if hint.is_empty() { "." } else { &hint }));
        return words.skip_rest();
    };
    words.extend_keyword();
    if !matches!(row.status, Status::Removed(_)) && ignored(row, words, scope) {
        return words.skip_rest();
    }
    let Some(parser) = row.parser(words) else { return };
    let on = scope.negation == Negation::None;
    match parser {
        Switch(set) => {
            if words.end() {
                set(&mut scope.proxy.settings, on);
            }
        }
        HttpSwitch(set) => {
            if words.end() {
                let settings = &mut scope.proxy.settings;
                set(settings, on);
                settings.http_options.retain(|known| *known != row.name);
                if on {
                    settings.http_options.push(row.name);
                }
            }
        }
        Negatable(parse) | Plain(parse) => parse(words, scope),
    }
}

/// Warns about an option that the section has no use for.
fn ignored(row: &Keyword<OptionParser>, words: &mut Words<'_>, scope: &ProxyScope<'_>) -> bool {
    let proxy = &*scope.proxy;
    if row.sections.contains(proxy.kind.section()) {
        return false;
    }
    let missing = if proxy.kind.is_backend() { "frontend" } else { "backend" };
    words.warning(format!(
        "'{}' ignored because {} '{}' has no {missing} capability.",
        row.name,
        proxy.kind.name(),
        proxy.name
    ));
    true
}

fn abortonclose(settings: &mut Settings, on: bool) {
    settings.frontend.abortonclose = on;
    settings.backend.abortonclose = on;
}

fn http_buffer_request(settings: &mut Settings, on: bool) {
    settings.frontend.http_buffer_request = on;
    settings.backend.http_buffer_request = on;
}

fn nolinger(settings: &mut Settings, on: bool) {
    settings.frontend.nolinger = on;
    settings.backend.nolinger = on;
}

fn tcpka(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.end() {
        let on = scope.negation == Negation::None;
        scope.proxy.settings.clitcpka.enabled = on;
        scope.proxy.settings.srvtcpka.enabled = on;
    }
}

fn httpclose(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    connection(words, scope, ConnectionMode::Close);
}

fn http_server_close(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    connection(words, scope, ConnectionMode::ServerClose);
}

fn http_keep_alive(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    connection(words, scope, ConnectionMode::KeepAlive);
}

/// The last of the three words counts; `no` takes one back if it is the one in force.
fn connection(words: &mut Words<'_>, scope: &mut ProxyScope<'_>, mode: ConnectionMode) {
    if !words.end() {
        return;
    }
    let settings = &mut scope.proxy.settings;
    let value = match scope.negation {
        Negation::None => mode,
        Negation::No | Negation::Default if settings.frontend.connection == mode => ConnectionMode::default(),
        Negation::No | Negation::Default => return,
    };
    settings.frontend.connection = value;
    settings.backend.connection = value;
}

fn redispatch(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let value = if words.is_end() { Some(-1) } else { words.number(-65_536..=65_536) };
    if let Some(value) = value.filter(|_| words.end()) {
        scope.proxy.settings.redispatch = if scope.negation == Negation::None { value } else { 0 };
    }
}

fn httplog(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    log_option(words, scope, LogOption::Http, LogOption::HttpClf, "httplog");
}

fn tcplog(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    log_option(words, scope, LogOption::Tcp, LogOption::TcpClf, "tcplog");
}

fn httpslog(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.end() {
        log_format::option(words, scope, LogOption::Https);
    }
}

fn log_option(
    words: &mut Words<'_>,
    scope: &mut ProxyScope<'_>,
    plain: LogOption,
    clf: LogOption,
    name: &str,
) {
    let is_clf = words.take("clf");
    if let (false, Some(_)) = (is_clf, words.peek()) {
        words.alert(format!("keyword '{name}' only supports option 'clf'."));
        return words.skip_rest();
    }
    if words.end() {
        log_format::option(words, scope, if is_clf { clf } else { plain });
    }
}

fn forwardfor(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(header) = address_header(words, "x-forwarded-for") {
        scope.proxy.settings.frontend.forwardfor = Some(header.clone());
        scope.proxy.settings.backend.forwardfor = Some(header);
    }
}

fn originalto(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(header) = address_header(words, "x-original-to") {
        scope.proxy.settings.frontend.originalto = Some(header.clone());
        scope.proxy.settings.backend.originalto = Some(header);
    }
}

fn address_header(words: &mut Words<'_>, default: &str) -> Option<AddressHeader> {
    let keyword = words.keyword().to_owned();
    let if_none_allowed = default == "x-forwarded-for";
    let mut header = AddressHeader { header: default.into(), except: None, if_none: false };
    while let Some(word) = words.next() {
        match word {
            "except" => match words.next().map(network) {
                Some(Some(network)) => header.except = Some(network),
                _ => {
                    words.alert(format!("'{keyword} except' expects <address>[/mask] as argument."));
                    words.skip_rest();
                    return None;
                }
            },
            "header" => match words.next() {
                Some(name) if is_token(name) => header.header = name.to_ascii_lowercase().into(),
                _ => {
                    words.alert(format!("'{keyword} header' expects <header_name> as argument."));
                    words.skip_rest();
                    return None;
                }
            },
            "if-none" if if_none_allowed => header.if_none = true,
            _ => {
                let values = if if_none_allowed {
                    "'except', 'header' and 'if-none'"
                } else {
                    "'except' and 'header'"
                };
                words.alert(format!("'{keyword}' only supports optional values: {values}."));
                words.skip_rest();
                return None;
            }
        }
    }
    Some(header)
}

/// `ADDRESS[/BITS]`, or an IPv4 address with a dotted mask.
pub(crate) fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match mask {
        None => width,
        Some(mask) => match mask.parse::<u8>() {
            Ok(bits) => bits,
            Err(_) => {
                let mask = u32::from(mask.parse::<std::net::Ipv4Addr>().ok()?);
                let bits = u8::try_from(mask.leading_ones()).ok()?;
                if mask.checked_shl(u32::from(bits)).unwrap_or(0) != 0 || address.is_ipv6() {
                    return None;
                }
                bits
            }
        },
    };
    (bits <= width).then_some((address, bits))
}

/// A header field name (RFC 9110 §5.6.2).
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn forwarded(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if scope.negation != Negation::None {
        scope.proxy.settings.backend.forwarded = None;
        words.end();
        return;
    }
    // Without words it is `proto for`.
    let mut value = Forwarded { proto: true, r#for: true, ..Forwarded::default() };
    if !words.is_end() {
        value = Forwarded::default();
    }
    while let Some(word) = words.next() {
        match word {
            "proto" => value.proto = true,
            "host" => value.host = true,
            "by" => value.by = true,
            "by_port" => value.by_port = true,
            "for" => value.r#for = true,
            "for_port" => value.for_port = true,
            "host-expr" | "by-expr" | "by_port-expr" | "for-expr" | "for_port-expr" => {
                words.alert(crate::keyword::not_yet_message(&format!("option forwarded {word}")));
                return words.skip_rest();
            }
            _ => {
                words.alert("'option forwarded' only supports optional values: 'proto', 'host', 'host-expr', 'by', 'by-expr', 'by_port', 'by_port-expr', 'for', 'for-expr', 'for_port' and 'for_port-expr'.");
                return words.skip_rest();
            }
        }
    }
    scope.proxy.settings.backend.forwarded = Some(value);
}

fn tcp_check(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.end() {
        scope.proxy.settings.check.kind = DraftCheckKind::Tcp;
    }
}

fn ssl_hello_chk(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.end() {
        scope.proxy.settings.check.kind = DraftCheckKind::SslHello;
    }
}

/// What the mode must be for an option to have a meaning.
pub(crate) fn needs_http(settings: &Settings) -> impl Iterator<Item = &'static str> {
    let names = if settings.mode == Mode::Http { &[][..] } else { &settings.http_options[..] };
    names.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let check = |text: &str, expected: Option<(&str, u8)>| {
            let expected = expected.map(|(ip, bits)| (ip.parse().expect("an address"), bits));
            assert_eq!(network(text), expected, "{text}");
        };
        check("127.0.0.1", Some(("127.0.0.1", 32)));
        check("10.0.0.0/8", Some(("10.0.0.0", 8)));
        check("10.0.0.0/255.0.0.0", Some(("10.0.0.0", 8)));
        check("10.0.0.0/0.0.0.0", Some(("10.0.0.0", 0)));
        check("10.0.0.0/255.255.255.255", Some(("10.0.0.0", 32)));
        check("::1", Some(("::1", 128)));
        check("fe80::/10", Some(("fe80::", 10)));
        for wrong in
            ["", "/8", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "::/129", "::/255.0.0.0", "host/8", "1.2.3.4/"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn field_names() {
        for (name, expected) in
            [("X-A", true), ("x_a!", true), ("", false), ("a b", false), ("a:", false), ("é", false)]
        {
            assert_eq!(is_token(name), expected, "{name}");
        }
    }
}
