//! The request of an HTTP check, as bytes (manual 4.2 `http-check send`).

use sockeye_config::model::HttpSend;

/// Writes the request: names in lower case, framing fields from us alone, and `connection: close` unless the file has
/// another `Connection` (HTTP/1.0 closes anyway).
pub(crate) fn http_request(send: &HttpSend) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + send.body.as_ref().map_or(0, |body| body.len()));
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n");
    };
    let host =
        send.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).map(|(_, value)| &**value);
    let uri = with_authority(&send.uri, host);
    line(&[send.method.as_bytes(), b" ", uri.as_bytes(), b" ", send.version.as_bytes()]);

    let mut has_connection = false;
    for (name, value) in &send.headers {
        let name = name.to_ascii_lowercase();
        if matches!(&*name, "content-length" | "transfer-encoding") {
            continue;
        }
        has_connection |= name == "connection";
        line(&[name.as_bytes(), b": ", value.as_bytes()]);
    }
    let body = send.body.as_deref().unwrap_or_default();
    if !body.is_empty() || matches!(&*send.method, "POST" | "PUT" | "PATCH") {
        line(&[b"content-length: ", body.len().to_string().as_bytes()]);
    }
    if !has_connection && &*send.version != "HTTP/1.0" {
        line(&[b"connection: close"]);
    }
    line(&[]);
    out.extend_from_slice(body);
    out
}

/// A URI in absolute form names the host that the Host field names.
fn with_authority(uri: &str, host: Option<&str>) -> String {
    let (Some(host), Some((scheme, rest))) = (host, uri.split_once("://")) else { return uri.to_owned() };
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return uri.to_owned();
    }
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    //! The expected bytes are what HAProxy 3.2 sent.

    use super::*;

    fn check(line: &str, headers: &[(&str, &str)], body: Option<&str>, expected: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let send = HttpSend {
            method: words[0].into(),
            uri: words[1].into(),
            version: words[2].into(),
            headers: headers.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            body: body.map(|body| body.as_bytes().into()),
            comment: None,
        };
        assert_eq!(String::from_utf8(http_request(&send)).unwrap(), expected);
    }

    #[test]
    fn requests() {
        check("OPTIONS / HTTP/1.0", &[], None, "OPTIONS / HTTP/1.0\r\n\r\n");
        check("HEAD /foo HTTP/1.1", &[], None, "HEAD /foo HTTP/1.1\r\nconnection: close\r\n\r\n");
        check(
            "POST /p HTTP/1.1",
            &[("Host", "a.b"), ("X-Foo", "b c")],
            Some("hello"),
            "POST /p HTTP/1.1\r\nhost: a.b\r\nx-foo: b c\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        );
        check(
            "OPTIONS / HTTP/1.0",
            &[("Connection", "keep-alive"), ("Content-Length", "7"), ("transfer-encoding", "chunked")],
            None,
            "OPTIONS / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        );
        check("GET / HTTP/1.0", &[], Some("abc"), "GET / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc");
        check(
            "POST / HTTP/1.1",
            &[],
            None,
            "POST / HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
        check("POST / HTTP/1.0", &[("A", "b")], None, "POST / HTTP/1.0\r\na: b\r\ncontent-length: 0\r\n\r\n");
        check(
            "GET http://a.b/x HTTP/1.1",
            &[("host", "c.d")],
            None,
            "GET http://c.d/x HTTP/1.1\r\nhost: c.d\r\nconnection: close\r\n\r\n",
        );
        check(
            "OPTIONS * HTTP/1.1",
            &[("Host", "www")],
            None,
            "OPTIONS * HTTP/1.1\r\nhost: www\r\nconnection: close\r\n\r\n",
        );
    }
}
