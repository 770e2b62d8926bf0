//! The words of `frontend`, `backend`, `listen` and `defaults` (manual 4.1), except those with tables of their own.

use sockeye_syntax::diag::{Diagnostic, Place, Severity};
use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use super::{
    balance, bind, capture, check, errorfile, log, log_format, option, packet, ruleset, server, source,
    timeout, values,
};
use crate::draft::Kind;
use crate::keyword::{Keyword, Sections, Status, find, hint, not_yet, removed, supported};
use crate::model::{HttpReuse, Mode, RetryOn, TcpKeepalive};
use crate::scope::{ProxyParser, ProxyScope};

const ALL: Sections = Sections::ALL_PROXIES;
const FRONT: Sections = Sections::CLIENT_SIDE;
const BACK: Sections = Sections::SERVER_SIDE;

/// The most connections that a word may speak of: they are counted in 31 bits.
const CONNECTIONS_MAX: u32 = i32::MAX as u32;

pub(crate) const TABLE: &[Keyword<ProxyParser>] = &[
    supported("mode", ALL, mode, "tcp, http or packet"),
    supported("option", ALL, option::parse, "see the options"),
    supported("timeout", ALL, timeout::parse, "see the timeouts"),
    supported("disabled", ALL, disabled, "reads the section and does not start it"),
    supported("enabled", ALL, enabled, "takes 'disabled' back"),
    supported("description", Sections::PROXIES, description, "text shown by statistics"),
    supported("id", Sections::PROXIES, id, "number in statistics"),
    supported("log", ALL, log::proxy, "target of logs"),
    supported("log-tag", ALL, log_tag, "program name in logs"),
    supported("errorfile", ALL, errorfile::parse, "reply of the proxy's own, from a file"),
    // --- client side ---
    supported("bind", Sections::FRONTENDS, bind::parse, "listening address"),
    supported("maxconn", FRONT, maxconn, "concurrent connections of the frontend"),
    supported("backlog", FRONT, backlog, "length of the queues of connections not accepted yet"),
    supported("default_backend", FRONT, default_backend, "backend of what no rule decides"),
    supported("log-format", ALL, log_format::log_format, "what is logged of each stream"),
    supported("log-format-sd", ALL, log_format::log_format_sd, "structured data of RFC 5424 lines"),
    supported("error-log-format", ALL, log_format::error_log_format, "what is logged of failed connections"),
    supported("unique-id-format", ALL, log_format::unique_id_format, "what the unique id is made of"),
    supported(
        "unique-id-header",
        ALL,
        log_format::unique_id_header,
        "header that tells servers the unique id",
    ),
    supported("capture", FRONT, capture::capture, "headers and cookies kept for logs and rules"),
    supported("declare", ALL, capture::declare, "place for what rules capture"),
    supported("monitor-uri", FRONT, monitor_uri, "path that is answered without a server"),
    supported("clitcpka-cnt", FRONT, clitcpka_cnt, "TCP keep-alives to a client until it is dead"),
    supported("clitcpka-idle", FRONT, clitcpka_idle, "silence until the first TCP keep-alive"),
    supported("clitcpka-intvl", FRONT, clitcpka_intvl, "time between TCP keep-alives"),
    // --- server side ---
    supported("balance", BACK, balance::balance, "which server gets a request"),
    supported("hash-type", BACK, balance::hash_type, "how hashes choose servers"),
    supported(
        "hash-balance-factor",
        BACK,
        balance::hash_balance_factor,
        "bound of loads for consistent hashes",
    ),
    supported(
        "hash-preserve-affinity",
        BACK,
        balance::hash_preserve_affinity,
        "whether full servers are passed over",
    ),
    supported("server", Sections::BACKENDS, server::server, "one server"),
    supported("server-template", Sections::BACKENDS, server::template, "several servers with one address"),
    supported("default-server", BACK, server::default_server, "options of all servers that follow"),
    supported("fullconn", BACK, fullconn, "load at which minconn reaches maxconn"),
    supported("retries", BACK, retries, "connection attempts after the first"),
    supported("retry-on", BACK, retry_on, "what may be tried again"),
    supported("http-reuse", BACK, http_reuse, "when a connection serves another client's request"),
    supported("max-keep-alive-queue", BACK, max_keep_alive_queue, "queue length that ends server affinity"),
    supported("source", BACK, source::proxy, "address connections come from"),
    supported("http-check", BACK, check::http_check, "steps of an HTTP health check"),
    supported("tcp-check", BACK, check::tcp_check, "steps of a TCP health check"),
    supported("srvtcpka-cnt", BACK, srvtcpka_cnt, "TCP keep-alives to a server until it is dead"),
    supported("srvtcpka-idle", BACK, srvtcpka_idle, "silence until the first TCP keep-alive"),
    supported("srvtcpka-intvl", BACK, srvtcpka_intvl, "time between TCP keep-alives"),
    // --- mode packet ---
    supported("ebpf.clamp-mss", BACK, packet::clamp_mss, "lowers the MSS of handshakes to what fits the way"),
    supported("ebpf.forward", BACK, packet::forward, "how packets reach the servers"),
    supported("ebpf.stateless", BACK, packet::stateless, "no table of flows, the hash alone decides"),
    supported("ebpf.table-size", BACK, packet::table_size, "entries of the Maglev table, a prime number"),
    // --- rules ---
    supported("acl", ALL, ruleset::acl, "a named test"),
    supported(
        "http-after-response",
        ALL,
        ruleset::http_after_response,
        "rules for every response, also those made here",
    ),
    supported("http-error", ALL, ruleset::http_error, "reply of the proxy's own"),
    supported("http-request", ALL, ruleset::http_request, "rules for requests"),
    supported("http-response", ALL, ruleset::http_response, "rules for responses of servers"),
    supported("tcp-request", ALL, ruleset::tcp_request, "rules for connections and what they bring"),
    supported("tcp-response", BACK, ruleset::tcp_response, "rules for what servers send"),
    supported("errorfiles", ALL, errorfile::files, "replies of an http-errors section"),
    supported("errorloc", ALL, errorfile::location, "redirection (302) instead of an error"),
    supported("errorloc302", ALL, errorfile::location, "redirection (302) instead of an error"),
    supported("errorloc303", ALL, errorfile::location, "redirection (303) instead of an error"),
    supported(
        "force-persist",
        Sections::BACKENDS,
        ruleset::force_persist,
        "servers that are down are used all the same",
    ),
    supported(
        "ignore-persist",
        Sections::BACKENDS,
        ruleset::ignore_persist,
        "what binds a client to a server is ignored",
    ),
    supported(
        "monitor",
        Sections::FRONTENDS,
        ruleset::monitor,
        "when monitor-uri says that the service is down",
    ),
    supported("redirect", Sections::PROXIES, ruleset::redirect, "redirection after the rules"),
    supported("use-server", Sections::BACKENDS, ruleset::use_server, "server by rule"),
    supported("use_backend", Sections::FRONTENDS, ruleset::use_backend, "backend by rule"),
    // --- not implemented yet ---
    not_yet("be-unpublished", Sections::BACKENDS),
    not_yet("compression", ALL),
    not_yet("cookie", BACK),
    not_yet("crt", Sections::FRONTENDS),
    not_yet("dispatch", Sections::BACKENDS),
    not_yet("email-alert", ALL),
    not_yet("external-check", BACK),
    not_yet("filter", Sections::PROXIES),
    not_yet("filter-sequence", ALL),
    not_yet("force-be-switch", Sections::FRONTENDS),
    not_yet("guid", Sections::PROXIES),
    not_yet("http-send-name-header", BACK),
    not_yet("load-server-state-from-file", BACK),
    not_yet("log-steps", FRONT),
    not_yet("max-session-srv-conns", FRONT),
    not_yet("persist", BACK),
    not_yet("quic-initial", FRONT),
    not_yet("rate-limit", FRONT),
    not_yet("server-state-file-name", BACK),
    supported(
        "ssl-f-use",
        Sections::FRONTENDS,
        super::tls::f_use::parse,
        "certificates of all ssl bind lines",
    ),
    not_yet("stats", ALL),
    not_yet("stick", Sections::BACKENDS),
    not_yet("stick-table", Sections::PROXIES),
    not_yet("transparent", BACK),
    not_yet("use-fcgi-app", Sections::BACKENDS),
    // --- removed ---
    removed("appsession", ALL, "'appsession' is not supported anymore since HAProxy 1.6."),
    removed("bind-process", ALL, "'bind-process' is not supported anymore."),
    removed(
        "block",
        ALL,
        "The 'block' directive is not supported anymore since HAProxy 2.1. Use 'http-request deny' which uses the exact same syntax.",
    ),
    removed(
        "clitimeout",
        ALL,
        "the 'clitimeout' directive is not supported anymore since HAProxy 2.1. Use 'timeout client'.",
    ),
    removed(
        "contimeout",
        ALL,
        "the 'contimeout' directive is not supported anymore since HAProxy 2.1. Use 'timeout connect'.",
    ),
    removed("grace", ALL, "the 'grace' keyword is not supported any more since HAProxy version 2.5."),
    removed(
        "monitor-net",
        ALL,
        "'monitor-net' doesn't exist anymore. Please use 'http-request return status 200 if { src ADDRESS }' instead.",
    ),
    removed(
        "redisp",
        ALL,
        "keyword 'redisp' directive is not supported anymore since HAProxy 2.1. Use 'option redispatch'.",
    ),
    removed(
        "redispatch",
        ALL,
        "keyword 'redispatch' directive is not supported anymore since HAProxy 2.1. Use 'option redispatch'.",
    ),
    removed(
        "reqadd",
        ALL,
        "The 'reqadd' directive is not supported anymore since HAProxy 2.1. Use 'http-request add-header' instead.",
    ),
    removed(
        "reqallow",
        ALL,
        "The 'reqallow' directive is not supported anymore since HAProxy 2.1. Use 'http-request allow' instead.",
    ),
    removed(
        "reqdel",
        ALL,
        "The 'reqdel' directive is not supported anymore since HAProxy 2.1. Use 'http-request del-header' instead.",
    ),
    removed(
        "reqdeny",
        ALL,
        "The 'reqdeny' not supported anymore since HAProxy 2.1. Use 'http-request deny' instead.",
    ),
    removed(
        "reqiallow",
        ALL,
        "The 'reqiallow' directive is not supported anymore since HAProxy 2.1. Use 'http-request allow' instead.",
    ),
    removed(
        "reqidel",
        ALL,
        "The 'reqidel' directive is not supported anymore since HAProxy 2.1. Use 'http-request del-header' instead.",
    ),
    removed(
        "reqideny",
        ALL,
        "The 'reqideny' directive is not supported anymore since HAProxy 2.1. Use 'http-request deny' instead.",
    ),
    removed("reqipass", ALL, "The 'reqipass' directive is not supported anymore since HAProxy 2.1."),
    removed(
        "reqirep",
        ALL,
        "The 'reqirep' directive is not supported anymore since HAProxy 2.1. Use 'http-request replace-header' instead.",
    ),
    removed(
        "reqitarpit",
        ALL,
        "The 'reqitarpit' directive is not supported anymore since HAProxy 2.1. Use 'http-request tarpit' instead.",
    ),
    removed("reqpass", ALL, "The 'reqpass' not supported anymore since HAProxy 2.1."),
    removed(
        "reqrep",
        ALL,
        "The 'reqrep' directive is not supported anymore since HAProxy 2.1. Use 'http-request replace-path', 'http-request replace-uri' or 'http-request replace-header' instead.",
    ),
    removed(
        "reqtarpit",
        ALL,
        "The 'reqtarpit' directive is not supported anymore since HAProxy 2.1. Use 'http-request tarpit' instead.",
    ),
    removed(
        "rspadd",
        ALL,
        "The 'rspadd' directive is not supported anymore since HAProxy 2.1. Use 'http-response add-header' instead.",
    ),
    removed(
        "rspdel",
        ALL,
        "The 'rspdel' directive is not supported anymore since HAProxy 2.1. Use 'http-response del-header' .",
    ),
    removed(
        "rspdeny",
        ALL,
        "The 'rspdeny' directive is not supported anymore since HAProxy 2.1. Use 'http-response deny' instead.",
    ),
    removed(
        "rspidel",
        ALL,
        "The 'rspidel' directive is not supported anymore since HAProxy 2.1. Use 'http-response del-header' instead.",
    ),
    removed(
        "rspideny",
        ALL,
        "The 'rspideny' directive is not supported anymore since HAProxy 2.1. Use 'http-response deny' instead.",
    ),
    removed(
        "rspirep",
        ALL,
        "The 'rspirep' directive is not supported anymore since HAProxy 2.1. Use 'http-response replace-header' instead.",
    ),
    removed(
        "rsprep",
        ALL,
        "The 'rsprep' directive is not supported anymore since HAProxy 2.1. Use 'http-response replace-header' instead.",
    ),
    removed(
        "srvtimeout",
        ALL,
        "the 'srvtimeout' directive is not supported anymore since HAProxy 2.1. Use 'timeout server'.",
    ),
];

/// One statement, its `no` or `default` already taken.
pub(crate) fn statement(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let kind = scope.proxy.kind;
    let name = words.keyword().to_owned();
    let Some(row) = find(TABLE, &name) else {
        let known = TABLE.iter().map(|row| row.name).chain(super::SECTIONS.iter().map(|row| row.name));
        let hint = hint(words, &name, known);
        words.alert(format!("unknown keyword '{name}' in '{}' section{hint}", kind.keyword()));
        return;
    };
    if !matches!(row.status, Status::Removed(_)) && !row.sections.contains(kind.section()) {
        return misplaced(row, words, scope);
    }
    if packet::refused::statement(words, scope) {
        return;
    }
    if let Some(parser) = row.parser(words) {
        parser(words, scope);
    }
}

/// A word that this kind of section cannot have: an error in `defaults`, else a warning, because it has no effect.
fn misplaced(row: &Keyword<ProxyParser>, words: &mut Words<'_>, scope: &ProxyScope<'_>) {
    let name = row.name;
    let proxy = &*scope.proxy;
    if proxy.kind == Kind::Defaults {
        return words.alert(format!("'{name}' not allowed in 'defaults' section."));
    }
    let place = format!("{} '{}'", proxy.kind.name(), proxy.name);
    let missing = if proxy.kind == Kind::Backend { "frontend" } else { "backend" };
    match name {
        "server" | "default-server" | "server-template" => {
            let message = format!("'{name}' not allowed because {place} has no {missing} capability.");
            let at = Place::At(words.location().clone());
            words.diags().push(Diagnostic::new(Severity::Alert, at, message));
        }
        "retry-on" | "hash-preserve-affinity" => {
            words.alert(format!("'{name}' only available in backend or listen section"));
        }
        _ if name.contains("tcpka-") || name == "max-keep-alive-queue" => {
            words.warning(format!("{name} will be ignored because {place} has no {missing} capability"));
        }
        _ => {
            let hint = match name {
                "fullconn" => " Maybe you want 'maxconn' instead ?",
                "maxconn" => " Maybe you want 'fullconn' instead ?",
                _ => "",
            };
            words.warning(format!("'{name}' ignored because {place} has no {missing} capability.{hint}"));
        }
    }
}

fn mode(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let value = match words.next().unwrap_or_default() {
        "tcp" => Mode::Tcp,
        "http" => Mode::Http,
        "packet" => Mode::Packet,
        "health" => {
            return words.alert(
                "'mode health' doesn't exist anymore. Please use 'http-request return status 200' instead.",
            );
        }
        other @ ("log" | "spop" | "haterm") => {
            return words.alert(crate::keyword::not_yet_message(&format!("mode {other}")));
        }
        other => return words.alert(format!("unknown proxy mode '{other}'.")),
    };
    if words.end() {
        scope.proxy.settings.mode = value;
    }
}

fn disabled(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.end() {
        scope.proxy.settings.disabled = true;
    }
}

fn enabled(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.end() {
        scope.proxy.settings.disabled = false;
    }
}

fn description(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.is_end() {
        words.alert("'description' expects a string argument.");
    } else {
        scope.proxy.description = Some(words.take_rest());
    }
}

fn id(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let value = words.expect("an integer argument").map(str::parse::<i32>);
    match value {
        None => {}
        Some(Ok(id)) if id > 0 => {
            scope.proxy.numeric_id = words.end().then(|| (id.unsigned_abs(), words.location().clone()));
        }
        Some(_) => {
            let at = Place::Reading(words.location().clone());
            words.diags().push(Diagnostic::new(Severity::Alert, at, "custom id has to be > 0."));
        }
    }
}

fn log_tag(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(tag) = words.expect("a tag for use in syslog").filter(|_| words.end()) {
        scope.proxy.settings.log_tag = Some(tag.to_owned());
    }
}

fn connections(words: &mut Words<'_>) -> Option<Option<u32>> {
    let value = words.number(0..=CONNECTIONS_MAX).filter(|_| words.end())?;
    Some((value > 0).then_some(value))
}

fn maxconn(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(value) = connections(words) {
        scope.proxy.settings.maxconn = value;
    }
}

fn backlog(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(value) = connections(words) {
        scope.proxy.settings.backlog = value;
    }
}

fn fullconn(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(value) = connections(words) {
        scope.proxy.settings.fullconn = value;
    }
}

fn default_backend(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(name) = words.expect("a backend name").filter(|_| words.end()) {
        scope.proxy.settings.default_backend = Some(name.to_owned());
    }
}

fn monitor_uri(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(uri) = words.expect("an URI").filter(|_| words.end()) {
        scope.proxy.settings.monitor_uri = Some(uri.into());
    }
}

fn retries(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.is_end() {
        words.alert("'retries' expects an integer argument (dispatch counts for one).");
    } else if let Some(value) = words.number(0..=CONNECTIONS_MAX).filter(|_| words.end()) {
        scope.proxy.settings.retries = Some(value);
    }
}

fn retry_on(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.is_end() {
        return words.alert("'retry-on' needs at least one keyword to specify when to retry");
    }
    let mut value = RetryOn { conn_failure: false, ..RetryOn::default() };
    let total = words.rest().len();
    while let Some(word) = words.next() {
        match word {
            "none" | "all-retryable-errors" if total > 1 => {
                words.alert(format!("'retry-on' '{word}' keyword only usable alone"));
                return words.skip_rest();
            }
            "none" => {}
            "conn-failure" => value.conn_failure = true,
            "empty-response" => value.empty_response = true,
            "response-timeout" => value.response_timeout = true,
            "junk-response" => value.junk_response = true,
            "0rtt-rejected" => value.zero_rtt_rejected = true,
            "all-retryable-errors" => {
                value.conn_failure = true;
                value.empty_response = true;
                value.response_timeout = true;
                value.junk_response = true;
                value.zero_rtt_rejected = true;
                value.statuses = vec![500, 502, 503, 504];
            }
            _ => match word.parse::<u16>() {
                Ok(status @ (401 | 403 | 404 | 408 | 421 | 425 | 429 | 500 | 501 | 502 | 503 | 504)) => {
                    if !value.statuses.contains(&status) {
                        value.statuses.push(status);
                    }
                }
                _ => {
                    words.alert(format!("'retry-on': unknown keyword '{word}'"));
                    return words.skip_rest();
                }
            },
        }
    }
    scope.proxy.settings.retry_on = value;
}

fn http_reuse(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let value = match words.next() {
        Some("never") => HttpReuse::Never,
        Some("safe") => HttpReuse::Safe,
        Some("aggressive") => HttpReuse::Aggressive,
        Some("always") => HttpReuse::Always,
        _ => return words.alert("'http-reuse' only supports 'never', 'safe', 'aggressive', 'always'."),
    };
    if words.end() {
        scope.proxy.settings.http_reuse = value;
    }
}

fn max_keep_alive_queue(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(value) = words.number(-1..=i64::from(i32::MAX)).filter(|_| words.end()) {
        scope.proxy.settings.max_keep_alive_queue = u32::try_from(value).ok();
    }
}

fn clitcpka_cnt(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    keepalive_count(words, &mut scope.proxy.settings.clitcpka);
}

fn srvtcpka_cnt(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    keepalive_count(words, &mut scope.proxy.settings.srvtcpka);
}

fn keepalive_count(words: &mut Words<'_>, side: &mut TcpKeepalive) {
    // The kernel counts in seven bits.
    if let Some(value) = words.number(1..=127).filter(|_| words.end()) {
        side.count = Some(value);
    }
}

fn clitcpka_idle(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    keepalive_time(words, |value| scope.proxy.settings.clitcpka.idle = Some(value));
}

fn clitcpka_intvl(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    keepalive_time(words, |value| scope.proxy.settings.clitcpka.interval = Some(value));
}

fn srvtcpka_idle(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    keepalive_time(words, |value| scope.proxy.settings.srvtcpka.idle = Some(value));
}

fn srvtcpka_intvl(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    keepalive_time(words, |value| scope.proxy.settings.srvtcpka.interval = Some(value));
}

fn keepalive_time(words: &mut Words<'_>, set: impl FnOnce(std::time::Duration)) {
    let Some(value) = values::timer(words, TimeUnit::Seconds).filter(|_| words.end()) else { return };
    // The kernel takes 1 to 32767 seconds.
    if (1..=32_767).contains(&value.as_secs()) {
        set(value);
    } else {
        let message = format!("'{}' must be between 1s and 32767s.", words.keyword());
        words.alert(message);
    }
}
