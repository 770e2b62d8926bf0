//! A client's request: its head in HTTP/2 becomes the head that the HTTP/1 parser reads.
//!
//! The request line has the absolute form and the version `HTTP/2.0`, as HAProxy logs it; only the parser of a
//! translated stream takes that version.

use base64ct::{Base64, Encoding};
use http::request::Parts;
use http::{HeaderMap, header};
use sockeye_http::uri::{Authority, default_port};
use sockeye_http::{Method, RequestFacts, Version};

use crate::fields::{Malformed, check_value, is_of_connection, push_field};

/// What follows a request's head, and how its response is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Translated {
    pub kind: Kind,
    /// The body has no announced length and goes on in chunks.
    pub chunked: bool,
    pub facts: RequestFacts,
}

/// What a stream is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A request and its response.
    Exchange,
    /// CONNECT: bytes both ways once it was accepted.
    Tunnel,
    /// Extended CONNECT (RFC 8441): the same behind a handshake of HTTP/1.1, which the client knows nothing of.
    WebSocket,
}

/// Appends the head of a request to `out`. `protocol` is its `:protocol`, `ended` whether the stream ends with it, `key`
/// random for a handshake that may have to be made up.
///
/// # Errors
/// What RFC 9113 §8 calls malformed, beyond what the frame layer refuses.
pub fn encode_head(
    head: &Parts,
    protocol: Option<&str>,
    ended: bool,
    key: [u8; 16],
    out: &mut Vec<u8>,
) -> Result<Translated, Malformed> {
    let method = head.method.as_str().as_bytes();
    let kind = match (protocol, &head.method) {
        (Some(protocol), _) if protocol.eq_ignore_ascii_case("websocket") => Kind::WebSocket,
        (Some(_), _) => return Err(Malformed::Protocol),
        (None, &http::Method::CONNECT) => Kind::Tunnel,
        (None, _) => Kind::Exchange,
    };
    let method = if kind == Kind::WebSocket { b"GET" } else { method };
    let authority = authority_of(head)?;
    let path = path_of(head, kind)?;
    out.extend_from_slice(method);
    out.push(b' ');
    if let Some((scheme, authority)) = head.uri.scheme_str().filter(|_| kind != Kind::Tunnel).zip(authority) {
        out.extend_from_slice(scheme.as_bytes());
        out.extend_from_slice(b"://");
        out.extend_from_slice(authority);
        // RFC 9112 §3.2.4: an asterisk has no absolute form.
        if path != b"*" {
            out.extend_from_slice(path);
        }
    } else {
        out.extend_from_slice(path);
    }
    out.extend_from_slice(b" HTTP/2.0\r\n");
    if let Some(authority) = authority {
        push_field(out, b"host", authority);
    }
    let length = encode_fields(&head.headers, authority.is_some(), kind, out)?;
    if ended && kind == Kind::Exchange && length.is_some_and(|length| length != b"0") {
        return Err(Malformed::ContentLength);
    }
    let chunked = kind == Kind::Exchange && !ended && length.is_none();
    if chunked {
        push_field(out, b"transfer-encoding", b"chunked");
    }
    if kind == Kind::WebSocket {
        push_field(out, b"connection", b"upgrade");
        push_field(out, b"upgrade", b"websocket");
        push_field(out, b"sec-websocket-key", Base64::encode_string(&key).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    let facts = RequestFacts {
        method: Method::of(method),
        version: Version::Http11,
        upgrade: kind == Kind::WebSocket,
    };
    Ok(Translated { kind, chunked, facts })
}

/// The fields but `Host`, in order, cookies last in one field (RFC 9113 §8.2.3). Returns the announced length.
fn encode_fields<'a>(
    headers: &'a HeaderMap,
    has_authority: bool,
    kind: Kind,
    out: &mut Vec<u8>,
) -> Result<Option<&'a [u8]>, Malformed> {
    let mut length = None;
    let mut has_cookie = false;
    for (name, value) in headers {
        let value = check_value(value)?;
        match name.as_str().as_bytes() {
            b"host" if has_authority => continue,
            b"cookie" => {
                has_cookie = true;
                continue;
            }
            name if is_of_connection(name) => return Err(Malformed::ConnectionField),
            b"te" if !value.eq_ignore_ascii_case(b"trailers") => return Err(Malformed::ConnectionField),
            // Neither has content before the answer; a key of the client's would be a second one.
            b"content-length" | b"sec-websocket-key" if kind != Kind::Exchange => continue,
            b"content-length" => length = Some(value),
            _ => {}
        }
        push_field(out, name.as_str().as_bytes(), value);
    }
    if has_cookie {
        out.extend_from_slice(b"cookie: ");
        for (index, crumb) in headers.get_all(header::COOKIE).iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(crumb.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(length)
}

/// `:authority`, which must be valid and what `Host` says, too.
fn authority_of(head: &Parts) -> Result<Option<&[u8]>, Malformed> {
    let Some(authority) = head.uri.authority() else { return Ok(None) };
    let text = authority.as_str().as_bytes();
    let parsed = Authority::parse(text).ok_or(Malformed::Authority)?;
    let port = head.uri.scheme_str().and_then(|scheme| default_port(scheme.as_bytes()));
    for host in head.headers.get_all(header::HOST) {
        let host = Authority::parse(host.as_bytes()).ok_or(Malformed::HostMismatch)?;
        if !host.is_same(&parsed, port) {
            return Err(Malformed::HostMismatch);
        }
    }
    Ok(Some(text))
}

fn path_of(head: &Parts, kind: Kind) -> Result<&[u8], Malformed> {
    if kind == Kind::Tunnel {
        return head
            .uri
            .authority()
            .map(|authority| authority.as_str().as_bytes())
            .ok_or(Malformed::Authority);
    }
    let path = head.uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    match path {
        [b'/', ..] => Ok(path),
        b"*" if head.method == http::Method::OPTIONS => Ok(path),
        _ => Err(Malformed::Path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method, address, fields, `:protocol`, whether the stream ends.
    type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>, bool);

    fn head(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn check(request: Asked<'_>, expected: Result<(&str, Kind, bool), Malformed>) {
        let (method, uri, fields, protocol, ended) = request;
        let mut out = Vec::new();
        let result = encode_head(&head(method, uri, fields), protocol, ended, [7; 16], &mut out);
        let text = String::from_utf8(out).unwrap().replace("\r\n", "|");
        let result = result.map(|translated| (&*text, translated.kind, translated.chunked));
        assert_eq!(result, expected, "{request:?}");
    }

    #[test]
    fn requests() {
        use Kind::*;
        let uri = "https://a.example/p?q";
        check(
            ("GET", uri, &[("accept", "*/*")], None, true),
            Ok(("GET https://a.example/p?q HTTP/2.0|host: a.example|accept: */*||", Exchange, false)),
        );
        check(
            ("GET", uri, &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")], None, true),
            Ok((
                "GET https://a.example/p?q HTTP/2.0|host: a.example|x: y|cookie: a=1; b=2||",
                Exchange,
                false,
            )),
        );
        check(
            ("POST", uri, &[("content-length", "3")], None, false),
            Ok(("POST https://a.example/p?q HTTP/2.0|host: a.example|content-length: 3||", Exchange, false)),
        );
        check(
            ("POST", uri, &[("te", "trailers")], None, false),
            Ok((
                "POST https://a.example/p?q HTTP/2.0|host: a.example|te: trailers|transfer-encoding: chunked||",
                Exchange,
                true,
            )),
        );
        check(
            ("GET", "/p", &[("host", "h")], None, true),
            Ok(("GET /p HTTP/2.0|host: h||", Exchange, false)),
        );
        check(
            ("OPTIONS", "*", &[("host", "h")], None, true),
            Ok(("OPTIONS * HTTP/2.0|host: h||", Exchange, false)),
        );
        check(
            ("GET", uri, &[("host", "A.example:443")], None, true),
            Ok(("GET https://a.example/p?q HTTP/2.0|host: a.example||", Exchange, false)),
        );
        check(
            ("CONNECT", "a.example:443", &[], None, false),
            Ok(("CONNECT a.example:443 HTTP/2.0|host: a.example:443||", Tunnel, false)),
        );
        check(
            ("CONNECT", uri, &[("sec-websocket-version", "13")], Some("websocket"), false),
            Ok((
                "GET https://a.example/p?q HTTP/2.0|host: a.example|sec-websocket-version: 13|connection: upgrade|\
                 upgrade: websocket|sec-websocket-key: BwcHBwcHBwcHBwcHBwcHBw==||",
                WebSocket,
                false,
            )),
        );
    }

    #[test]
    fn refused() {
        let uri = "https://a.example/p";
        check(("GET", uri, &[("host", "b.example")], None, true), Err(Malformed::HostMismatch));
        check(("GET", "https://u@a.example/", &[], None, true), Err(Malformed::Authority));
        check(("GET", uri, &[("connection", "close")], None, true), Err(Malformed::ConnectionField));
        check(
            ("GET", uri, &[("transfer-encoding", "chunked")], None, false),
            Err(Malformed::ConnectionField),
        );
        check(("GET", uri, &[("te", "gzip")], None, true), Err(Malformed::ConnectionField));
        check(("GET", uri, &[("x", " y")], None, true), Err(Malformed::FieldValue));
        check(("POST", uri, &[("content-length", "3")], None, true), Err(Malformed::ContentLength));
        check(("CONNECT", uri, &[], Some("smtp"), false), Err(Malformed::Protocol));
        check(("GET", "*", &[], None, true), Err(Malformed::Path));
    }
}
