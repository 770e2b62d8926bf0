//! Headers that tell the server who the client is: `option forwardfor`, `originalto`, `forwarded`,
//! `unique-id-header`.

use std::fmt::Write as _;
use std::net::IpAddr;

use sockeye_config::model::{AddressHeader, Forwarded};
use sockeye_http::RequestHead;

use crate::backend::Backend;
use crate::frontend::session::Session;

/// Adds what the frontend and the backend ask for; a backend's option wins over its frontend's.
pub fn add_headers(session: &Session, backend: &Backend, request: &mut RequestHead) {
    let fe = &session.frontend.cfg.options;
    let be = &backend.cfg.options;
    if let Some(forwarded) = be.forwarded.as_ref().or(fe.forwarded.as_ref()) {
        add_forwarded(session, forwarded, request);
    }
    if let Some(option) = be.forwardfor.as_ref().or(fe.forwardfor.as_ref()) {
        add_address(request, option, session.peer.ip());
    }
    if let Some(option) = be.originalto.as_ref().or(fe.originalto.as_ref()) {
        add_address(request, option, session.destination().map(|addr| addr.ip().to_canonical()));
    }
}

/// `unique-id-header`.
pub fn add_unique_id(session: &Session, unique_id: Option<&[u8]>, request: &mut RequestHead) {
    if let (Some(name), Some(id)) = (&session.frontend.cfg.unique_id_header, unique_id) {
        request.headers_mut().append(name.as_bytes(), id);
    }
}

fn add_address(request: &mut RequestHead, option: &AddressHeader, ip: Option<IpAddr>) {
    let Some(ip) = ip else { return };
    if option.except.is_some_and(|network| contains(network, ip)) {
        return;
    }
    let header = option.header.as_bytes();
    if option.if_none && request.headers().contains(header) {
        return;
    }
    request.headers_mut().append(header, ip.to_string().as_bytes());
}

fn contains((network, length): (IpAddr, u8), ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            u32::from(network) & mask == u32::from(ip) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            u128::from(network) & mask == u128::from(ip) & mask
        }
        _ => false,
    }
}

/// One `forwarded` field (RFC 7239 §4) with the parameters asked for, in HAProxy's order.
fn add_forwarded(session: &Session, option: &Forwarded, request: &mut RequestHead) {
    let mut value = String::new();
    let mut parameter = |name: &str, text: &str| {
        if !value.is_empty() {
            value.push(';');
        }
        // Writing to a String cannot fail.
        let _ = write!(value, "{name}={text}");
    };
    if option.proto {
        parameter("proto", "http");
    }
    if option.host
        && let Some(host) = request.host()
    {
        parameter("host", &quoted(&String::from_utf8_lossy(host)));
    }
    if option.by {
        let addr = session.destination();
        let port = addr.filter(|_| option.by_port).map(|addr| addr.port());
        parameter("by", &node(addr.map(|addr| addr.ip().to_canonical()), port));
    }
    if option.r#for {
        let port = option.for_port.then(|| session.peer.port());
        parameter("for", &node(session.peer.ip(), port));
    }
    request.headers_mut().append(b"forwarded", value.as_bytes());
}

/// A node identifier (RFC 7239 §6): quoted when it holds a colon or brackets.
fn node(ip: Option<IpAddr>, port: Option<u16>) -> String {
    match (ip, port) {
        (None, _) => "unknown".to_owned(),
        (Some(IpAddr::V4(ip)), None) => ip.to_string(),
        (Some(IpAddr::V4(ip)), Some(port)) => format!("\"{ip}:{port}\""),
        (Some(IpAddr::V6(ip)), None) => format!("\"[{ip}]\""),
        (Some(IpAddr::V6(ip)), Some(port)) => format!("\"[{ip}]:{port}\""),
    }
}

/// A host may hold a colon, so HAProxy quotes every one.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let check = |network: &str, length: u8, ip: &str, expected: bool| {
            assert_eq!(
                contains((network.parse().unwrap(), length), ip.parse().unwrap()),
                expected,
                "{network} {ip}"
            );
        };
        check("127.0.0.0", 8, "127.1.2.3", true);
        check("127.0.0.0", 8, "128.1.2.3", false);
        check("0.0.0.0", 0, "1.2.3.4", true);
        check("10.1.2.3", 32, "10.1.2.3", true);
        check("10.1.2.3", 32, "10.1.2.4", false);
        check("fd00::", 8, "fdff::1", true);
        check("fd00::", 8, "10.0.0.1", false);
        check("::", 0, "::1", true);
    }

    #[test]
    fn nodes_and_quotes() {
        let ip = |text: &str| Some(text.parse().unwrap());
        assert_eq!(node(ip("1.2.3.4"), None), "1.2.3.4");
        assert_eq!(node(ip("1.2.3.4"), Some(5)), "\"1.2.3.4:5\"");
        assert_eq!(node(ip("::1"), Some(5)), "\"[::1]:5\"");
        assert_eq!(node(None, None), "unknown");
        assert_eq!(quoted("a.example:80"), "\"a.example:80\"");
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
