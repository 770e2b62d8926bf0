//! Which actions there are, and in which sets: what the parsers accept and what the documentation lists.

use super::Set::{
    self, HttpAfterResponse, HttpRequest, HttpResponse, TcpConnection, TcpContent, TcpResponse, TcpSession,
};

const ALL: &[Set] =
    &[TcpConnection, TcpSession, TcpContent, TcpResponse, HttpRequest, HttpResponse, HttpAfterResponse];
/// While there is somebody to answer or to drop.
const UNANSWERED: &[Set] = &[TcpConnection, TcpSession, TcpContent, TcpResponse, HttpRequest, HttpResponse];
const TCP: &[Set] = &[TcpConnection, TcpSession, TcpContent, TcpResponse];
const TCP_AND_REQUEST: &[Set] = &[TcpConnection, TcpSession, TcpContent, TcpResponse, HttpRequest];
const HTTP: &[Set] = &[HttpRequest, HttpResponse, HttpAfterResponse];
const MESSAGES: &[Set] = &[HttpRequest, HttpResponse];
const REQUEST: &[Set] = &[HttpRequest];
const RESPONSES: &[Set] = &[HttpResponse, HttpAfterResponse];
/// From the connection to the request: where addresses may still change.
const ARRIVING: &[Set] = &[TcpConnection, TcpSession, TcpContent, HttpRequest];
/// Where the server is not chosen yet.
const CHOOSING: &[Set] = &[TcpContent, HttpRequest];

/// Every action that is implemented, without its parentheses, and the sets that have it.
pub const ACTIONS: &[(&str, &[Set])] = &[
    ("accept", TCP),
    ("add-acl", MESSAGES),
    ("add-header", HTTP),
    ("allow", HTTP),
    ("auth", REQUEST),
    ("capture", &[TcpContent, HttpRequest, HttpResponse, HttpAfterResponse]),
    ("close", &[TcpResponse]),
    ("del-acl", HTTP),
    ("del-header", HTTP),
    ("del-map", HTTP),
    ("deny", MESSAGES),
    ("disable-l7-retry", REQUEST),
    ("do-log", ALL),
    ("early-hint", REQUEST),
    ("expect-netscaler-cip", &[TcpConnection]),
    ("expect-proxy", &[TcpConnection]),
    ("normalize-uri", REQUEST),
    ("pause", MESSAGES),
    ("redirect", MESSAGES),
    ("reject", TCP_AND_REQUEST),
    ("replace-header", HTTP),
    ("replace-path", REQUEST),
    ("replace-pathq", REQUEST),
    ("replace-uri", REQUEST),
    ("replace-value", HTTP),
    ("return", MESSAGES),
    ("set-bc-mark", CHOOSING),
    ("set-bc-tos", CHOOSING),
    ("set-dst", ARRIVING),
    ("set-dst-port", ARRIVING),
    ("set-fc-mark", UNANSWERED),
    ("set-fc-tos", UNANSWERED),
    ("set-header", HTTP),
    ("set-log-level", &[TcpContent, TcpResponse, HttpRequest, HttpResponse, HttpAfterResponse]),
    ("set-map", HTTP),
    ("set-mark", UNANSWERED),
    ("set-method", REQUEST),
    ("set-nice", &[TcpContent, TcpResponse, HttpRequest, HttpResponse]),
    ("set-path", REQUEST),
    ("set-pathq", REQUEST),
    ("set-priority-class", CHOOSING),
    ("set-priority-offset", CHOOSING),
    ("set-query", REQUEST),
    ("set-retries", CHOOSING),
    ("set-src", ARRIVING),
    ("set-src-port", ARRIVING),
    ("set-status", RESPONSES),
    ("set-timeout", MESSAGES),
    ("set-tos", UNANSWERED),
    ("set-uri", REQUEST),
    ("set-var", ALL),
    ("set-var-fmt", ALL),
    ("silent-drop", UNANSWERED),
    ("strict-mode", HTTP),
    ("switch-mode", &[TcpContent]),
    ("tarpit", REQUEST),
    ("unset-var", ALL),
    ("wait-for-body", MESSAGES),
    ("wait-for-handshake", REQUEST),
];

/// Why `set-nice` is accepted and does nothing.
pub const NICE_HAS_NO_EFFECT: &str = "all streams of a thread get their turn in the order of events";

/// Whether rules of `set` may have this action, written with or without an argument in parentheses.
pub fn is_action(name: &str, set: Set) -> bool {
    let bare = name.split_once('(').map_or(name, |(bare, _)| bare);
    ACTIONS.iter().any(|(known, sets)| *known == bare && sets.contains(&set))
}
