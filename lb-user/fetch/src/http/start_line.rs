//! The request line and the status line: method, URL and its parts, version, status.

use std::net::{IpAddr, Ipv4Addr};

use sockeye_http::Version;
use sockeye_http::uri::Parts;
use sockeye_sample::{Address, Arg, Compiler, Fetch, Number, Scene, Text, Value};

use super::request;
use crate::arguments;
use crate::payload::is_http2;

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("method", method),
    Fetch::new("path", |scene, _| path(request(scene)?.target()).map(Value::str)),
    Fetch::new("pathq", |scene, _| path_and_query(request(scene)?.target()).map(Value::str)),
    Fetch::new("query", query).prepare(prepare_query),
    Fetch::new("url", url),
    Fetch::new("url_ip", |scene, _| url_address(scene).map(|(addr, _)| Value::ip(addr))),
    Fetch::new("url_port", |scene, _| url_address(scene).map(|(_, port)| Value::Int(port.into()))),
    Fetch::new("base", |scene, _| base(scene, path).map(Value::string)),
    Fetch::new("baseq", |scene, _| base(scene, path_and_query).map(Value::string)),
    Fetch::new("base32", |scene, _| base32(scene).map(|hash| Value::Int(hash.into()))),
    Fetch::new("base32+src", |scene, _| with_source(scene, base32(scene)?)),
    Fetch::new("url32", |scene, _| url32(scene).map(|hash| Value::Int(hash.into()))),
    Fetch::new("url32+src", |scene, _| with_source(scene, url32(scene)?)),
    Fetch::new("req.ver", request_version),
    Fetch::new("req_ver", request_version),
    Fetch::new("res.ver", |scene, _| version(scene.response?.version())),
    Fetch::new("resp_ver", |scene, _| version(scene.response?.version())),
    Fetch::new("status", |scene, _| Some(Value::Int(scene.response?.status().into()))),
    Fetch::new("server_status", |scene, _| scene.number(Number::ServerStatus).map(Value::Int)),
    Fetch::new("txn.status", |scene, _| scene.number(Number::ResponseStatus).map(Value::Int)),
    Fetch::new("http_first_req", |scene, _| {
        scene.number(Number::FirstRequest).map(|first| Value::Bool(first != 0))
    }),
];

/// The method of the request, which is remembered for the response. Of HTTP/2 in a TCP proxy only the preface is read.
fn method<'a>(scene: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let text = match request(scene) {
        // What the client sent: HAProxy remembers it before rules set another one.
        Some(req) => match req.request_line().split(|byte| *byte == b' ').next() {
            Some(method) if !method.is_empty() => method,
            _ => req.method_text(),
        },
        None if is_http2(scene) => b"PRI",
        None => scene.text(Text::RequestMethod)?,
    };
    Some(Value::Method(text.into()))
}

/// The path of a target: `/` for a URL that ends with its authority, none in `*` and `host:port`.
fn path(target: &[u8]) -> Option<&[u8]> {
    let parts = Parts::of(target);
    match (parts.path, parts.authority, parts.query) {
        (b"", None, _) => None,
        (b"", Some(_), None) => Some(b"/"),
        (path, ..) => Some(path),
    }
}

/// The path and what follows it.
pub(super) fn path_and_query(target: &[u8]) -> Option<&[u8]> {
    let parts = Parts::of(target);
    match parts.query {
        None => path(target),
        Some(query) => target.get(target.len() - parts.path.len() - 1 - query.len()..),
    }
}

/// The target as it stands in the request; a URL that ends with its authority gets its slash.
fn url<'a>(scene: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    let target = request(scene)?.target();
    let parts = Parts::of(target);
    if parts.authority.is_some() && parts.path.is_empty() && parts.query.is_none() {
        return Some(Value::string([target, b"/"].concat()));
    }
    Some(Value::str(target))
}

/// `query([with_qm])`
fn query<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let target = request(scene)?.target();
    let mark = memchr::memchr(b'?', target)?;
    let from = if arguments::int(args, 0).is_some() && mark + 1 < target.len() { mark } else { mark + 1 };
    Some(Value::str(&target[from..]))
}

fn prepare_query(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match arguments::word(args, 0)? {
        None => {}
        Some("with_qm") => args[0] = Arg::Int(1),
        Some(_) => return Err("supported options are: 'with_qm'".to_owned()),
    }
    Ok(())
}

/// The authority of an absolute URL, if that is an IPv4 address.
fn url_address(scene: &Scene<'_>) -> Option<(IpAddr, u16)> {
    let authority = std::str::from_utf8(Parts::of(request(scene)?.target()).authority?).ok()?;
    let (addr, port) = match authority.split_once(':') {
        Some((addr, port)) => (addr, port.parse().ok()?),
        None => (authority, 80),
    };
    Some((IpAddr::V4(addr.parse::<Ipv4Addr>().ok()?), port))
}

/// The first `Host` and a part of the target.
fn base(scene: &Scene<'_>, part: fn(&[u8]) -> Option<&[u8]>) -> Option<Vec<u8>> {
    let req = request(scene)?;
    let mut base = req.host().unwrap_or_default().to_vec();
    match part(req.target()).filter(|part| part.starts_with(b"/")) {
        Some(part) => base.extend_from_slice(part),
        None if base.is_empty() => return None,
        None => {}
    }
    Some(base)
}

fn base32(scene: &Scene<'_>) -> Option<u32> {
    base(scene, path).map(|base| hash(&base))
}

fn url32(scene: &Scene<'_>) -> Option<u32> {
    base(scene, path_and_query).map(|url| hash(&url))
}

/// A hash and the client's address behind each other, in network order.
fn with_source<'a>(scene: &Scene<'a>, hash: u32) -> Option<Value<'a>> {
    let mut bytes = hash.to_be_bytes().to_vec();
    match scene.address(Address::Source)?.ip() {
        IpAddr::V4(addr) => bytes.extend_from_slice(&addr.octets()),
        IpAddr::V6(addr) => bytes.extend_from_slice(&addr.octets()),
    }
    Some(Value::binary(bytes))
}

/// SDBM with Bob Jenkins' full avalanche, as `sdbm(1)` computes it.
fn hash(key: &[u8]) -> u32 {
    let sdbm = key.iter().fold(0_u32, |hash, byte| {
        u32::from(*byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
    });
    sockeye_balance::avalanche(sdbm)
}

/// `req.ver`
fn request_version<'a>(scene: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    match request(scene) {
        None if is_http2(scene) => version(Version::Http2),
        req => version(req?.version()),
    }
}

/// `1.1` and the like.
fn version<'a>(version: Version) -> Option<Value<'a>> {
    version.as_str().strip_prefix("HTTP/").map(|number| Value::str(number.as_bytes()))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    fn case(line: &str, host: &str) -> Case {
        Case::request(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Values from HAProxy 3.2.
    #[test]
    fn of_requests() {
        check(
            &case("GET /a/b.html?x=1&y=&z&x=2;w=3", "Example.COM:8080"),
            &[
                ("base", Some("Example.COM:8080/a/b.html")),
                ("baseq", Some("Example.COM:8080/a/b.html?x=1&y=&z&x=2;w=3")),
                ("base32", Some("201891514")),
                ("url32", Some("3939636122")),
                ("base32+src", Some("\\x0c\\x08\\x9e\\xba\\x7f\\x00\\x00\\x01")),
                ("url32+src", Some("\\xea\\xd2\\x13\\x9a\\x7f\\x00\\x00\\x01")),
                ("path", Some("/a/b.html")),
                ("pathq", Some("/a/b.html?x=1&y=&z&x=2;w=3")),
                ("query", Some("x=1&y=&z&x=2;w=3")),
                ("query(with_qm)", Some("?x=1&y=&z&x=2;w=3")),
                ("url", Some("/a/b.html?x=1&y=&z&x=2;w=3")),
                ("url_ip", None),
                ("url_port", None),
                ("method", Some("GET")),
                ("req.ver", Some("1.1")),
                ("req_ver", Some("1.1")),
                ("res.ver", None),
                ("status", None),
                ("http_first_req", Some("1")),
                ("server_status", Some("404")),
                ("txn.status", None),
            ],
        );
        check(&case("GET /foo", "h"), &[("query", None), ("query(with_qm)", None), ("baseq", Some("h/foo"))]);
        check(
            &case("GET /foo?", "h"),
            &[
                ("query", Some("")),
                ("query(with_qm)", Some("")),
                ("baseq", Some("h/foo?")),
                ("pathq", Some("/foo?")),
            ],
        );
        check(
            &case("GET http://1.2.3.4:81/p/q?r=/s", "1.2.3.4:81"),
            &[
                ("url_ip", Some("1.2.3.4")),
                ("url_port", Some("81")),
                ("path", Some("/p/q")),
                ("pathq", Some("/p/q?r=/s")),
                ("base", Some("1.2.3.4:81/p/q")),
                ("baseq", Some("1.2.3.4:81/p/q?r=/s")),
                ("base32", Some("2644015198")),
                ("url32", Some("72408815")),
                ("url", Some("http://1.2.3.4:81/p/q?r=/s")),
                ("query", Some("r=/s")),
            ],
        );
        check(
            &case("GET http://1.2.3.4", "1.2.3.4"),
            &[
                ("url_port", Some("80")),
                ("path", Some("/")),
                ("pathq", Some("/")),
                ("baseq", Some("1.2.3.4/")),
                ("url", Some("http://1.2.3.4/")),
                ("query", None),
            ],
        );
        check(
            &case("GET http://h?x=1", "h"),
            &[
                ("path", Some("")),
                ("pathq", Some("?x=1")),
                ("baseq", Some("h")),
                ("url", Some("http://h?x=1")),
                ("query", Some("x=1")),
                ("url32", Some("1228821030")),
            ],
        );
        check(
            &case("GET http://name:81/x", "name:81"),
            &[("url_ip", None), ("url_port", None), ("path", Some("/x"))],
        );
        check(&case("GET http://[::1]:81/x", "[::1]:81"), &[("url_ip", None), ("path", Some("/x"))]);
        check(
            &case("OPTIONS *", "h"),
            &[
                ("path", None),
                ("pathq", None),
                ("url", Some("*")),
                ("base", Some("h")),
                ("base32", Some("1228821030")),
                ("url32", Some("1228821030")),
                ("method", Some("OPTIONS")),
            ],
        );
        check(
            &case("CONNECT h:443", "h:443"),
            &[("path", None), ("url", Some("h:443")), ("query", None), ("method", Some("CONNECT"))],
        );
        check(
            &Case::request("GET /x HTTP/1.0\r\n\r\n"),
            &[("base", Some("/x")), ("base32", Some("2340802059")), ("req.ver", Some("1.0"))],
        );
        check(&Case::request("GET /x HTTP/1.0\r\nHost: \r\n\r\n"), &[("base", Some("/x"))]);
        check(&case("FOO /x", "a"), &[("method", Some("FOO"))]);
    }

    #[test]
    fn of_responses() {
        check(
            &Case::response("HTTP/1.0 302 Found\r\n\r\n"),
            &[
                ("status", Some("302")),
                ("res.ver", Some("1.0")),
                ("resp_ver", Some("1.0")),
                // What the stream remembers of the request.
                ("method", Some("PUT")),
                ("path", None),
            ],
        );
    }

    #[test]
    fn refused() {
        check_refused(&[(
            "query(foo)",
            "invalid args in fetch method 'query' : supported options are: 'with_qm'",
        )]);
    }
}
