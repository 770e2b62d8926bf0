//! Request targets (RFC 9112 §3.2) and authorities (RFC 3986 §3.2).

use crate::message::Method;

/// The four forms of a request target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `/path?query`
    Origin,
    /// `scheme://authority/path?query`, as sent to proxies; HAProxy forwards it as it is.
    Absolute,
    /// `host:port`, CONNECT only.
    Authority,
    /// `*`, OPTIONS only.
    Asterisk,
}

impl Form {
    /// The form of a target, or `None` when it fits no form or not the method. Does not look into the authority.
    pub fn of(method: Method, target: &[u8]) -> Option<Self> {
        match (method, target) {
            (Method::Connect, _) => Some(Self::Authority),
            (_, [b'/', ..]) => Some(Self::Origin),
            (Method::Options, b"*") => Some(Self::Asterisk),
            _ => {
                let parts = Parts::of(target);
                let scheme = parts.scheme?;
                let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
                    && scheme
                        .iter()
                        .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
                (is_scheme && parts.authority.is_some_and(|authority| !authority.is_empty()))
                    .then_some(Self::Absolute)
            }
        }
    }
}

/// A target taken apart; never fails, whatever rules wrote into it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Parts<'a> {
    /// Before `://`.
    pub scheme: Option<&'a [u8]>,
    /// Between `://` and the path.
    pub authority: Option<&'a [u8]>,
    /// From the first `/` to the `?`; empty in `*`, `host:port` and `http://host`.
    pub path: &'a [u8],
    /// After the first `?`.
    pub query: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Takes a target of any form apart. A fragment (relaxed mode) stays in the path or query.
    pub fn of(target: &'a [u8]) -> Self {
        if target.first() == Some(&b'/') {
            let (path, query) = split_query(target);
            return Self { scheme: None, authority: None, path, query };
        }
        let Some(colon) = memchr::memmem::find(target, b"://") else { return Self::default() };
        let rest = &target[colon + 3..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (path, query) = split_query(&rest[end..]);
        Self { scheme: Some(&target[..colon]), authority: Some(&rest[..end]), path, query }
    }
}

fn split_query(path_and_query: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', path_and_query) {
        Some(mark) => (&path_and_query[..mark], Some(&path_and_query[mark + 1..])),
        None => (path_and_query, None),
    }
}

/// A valid `host[:port]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Authority<'a> {
    /// Name, IPv4 address, or IP literal with its brackets.
    pub host: &'a [u8],
    /// The port when one was written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Parses `host[:port]`: no user information (RFC 9110 §4.2.4), no comma, nothing outside RFC 3986's `host`, port
    /// at most 65535. `None`: not valid. An empty host is not valid here; an empty port is the same as none.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let host_end = if text.first() == Some(&b'[') {
            let end = memchr::memchr(b']', text)? + 1;
            is_ip_literal(&text[1..end - 1]).then_some(end)?
        } else {
            // Where a name ends, a port begins or nothing: `:` is no character of names.
            text.iter().position(|&byte| !REG_NAME_BYTES[byte as usize]).unwrap_or(text.len())
        };
        let (host, rest) = text.split_at(host_end);
        if host.is_empty() {
            return None;
        }
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Same host in any case, and the same port once `default_port` stands for a missing one.
    pub fn is_same(&self, other: &Self, default_port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default_port) == other.port.or(default_port)
    }
}

/// The port a scheme stands for (RFC 9110 §4.2).
pub fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else {
        None
    }
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    u16::try_from(value).ok()
}

/// `reg-name` without the comma: a list is what two Host fields become when somebody joins them.
static REG_NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"-._~%!$&'()*+;=";
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] |= byte.is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// What may stand between brackets: an IPv6 address (with a zone) or a future literal.
fn is_ip_literal(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'%' | b'_' | b'-'))
        && memchr::memchr(b':', text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        let check =
            |target: &str, scheme: Option<&str>, authority: Option<&str>, path: &str, query: Option<&str>| {
                let expected = Parts {
                    scheme: scheme.map(str::as_bytes),
                    authority: authority.map(str::as_bytes),
                    path: path.as_bytes(),
                    query: query.map(str::as_bytes),
                };
                assert_eq!(Parts::of(target.as_bytes()), expected, "{target:?}");
            };
        check("/", None, None, "/", None);
        check("/a/b?c=d?e", None, None, "/a/b", Some("c=d?e"));
        check("/?", None, None, "/", Some(""));
        check("//a/b", None, None, "//a/b", None);
        check("/x?u=http://y/z", None, None, "/x", Some("u=http://y/z"));
        check("http://a:80/b?c", Some("http"), Some("a:80"), "/b", Some("c"));
        check("http://a", Some("http"), Some("a"), "", None);
        check("http://a?c/d", Some("http"), Some("a"), "", Some("c/d"));
        check("*", None, None, "", None);
        check("a:443", None, None, "", None);
        check("", None, None, "", None);
    }

    #[test]
    fn authorities() {
        let check = |text: &str, expected: Option<(&str, Option<u16>)>| {
            let expected = expected.map(|(host, port)| Authority { host: host.as_bytes(), port });
            assert_eq!(Authority::parse(text.as_bytes()), expected, "{text:?}");
        };
        check("a", Some(("a", None)));
        check("a:", Some(("a", None)));
        check("a:0", Some(("a", Some(0))));
        check("a:65535", Some(("a", Some(65_535))));
        check("192.0.2.1:80", Some(("192.0.2.1", Some(80))));
        check("[2001:db8::1]:80", Some(("[2001:db8::1]", Some(80))));
        check("[fe80::1%25eth0]", Some(("[fe80::1%25eth0]", None)));
        check("", None);
        check(":80", None);
        check("a:65536", None);
        check("a b", None);
        check("[::1", None);
        check("[::1]80", None);
    }
}
