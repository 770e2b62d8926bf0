//! To a server that speaks HTTP/2: the request's bytes of HTTP/1 become heads, data and trailers, and its response
//! becomes bytes of HTTP/1 for the code that reads servers' responses.

use std::ops::Range;

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use http::response::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, header};
use sockeye_http::h1::{Strictness, parse_request};
use sockeye_http::uri::Parts as Target;
use sockeye_http::{Known, Method, RequestHead};

use crate::body::{BodyReader, Broken, HEAD_BYTES_MAX, Piece, limits};
use crate::fields::{Malformed, check_value, fields_of, is_of_connection, push_field};
use crate::request::Kind;

/// RFC 6455 §1.3: what a server puts behind the key before it hashes both.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Reads one request from bytes that come in any pieces.
#[derive(Debug)]
pub struct RequestReader {
    /// The scheme that the server is spoken to with.
    https: bool,
    body: Option<BodyReader>,
}

/// What the next bytes are.
#[derive(Debug)]
pub enum Step {
    /// Not enough to say.
    NeedMore,
    /// The request, what its response must look like, and whether it ends with its head.
    Head(Box<Request<()>>, Asked, bool),
    /// Content, at this range of the input, inside the bytes used.
    Data(Range<usize>),
    /// The end, with trailers if there are any.
    End(Option<HeaderMap>),
}

/// What a response answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    pub kind: Kind,
    pub method: Method,
    /// The `Sec-WebSocket-Accept` that the one who asked waits for.
    accept: Option<String>,
}

impl RequestReader {
    /// For a request to a server that is reached with `https` or without.
    pub fn new(https: bool) -> Self {
        Self { https, body: None }
    }

    /// Whether all of it has been read.
    pub fn is_done(&self) -> bool {
        self.body.as_ref().is_some_and(BodyReader::is_done)
    }

    /// Whether the head has been read.
    pub fn has_begun(&self) -> bool {
        self.body.is_some()
    }

    /// Looks at `input`, which starts where the last call stopped, and says how many bytes it has used and what they
    /// were. `ended`: no more will come.
    ///
    /// # Errors
    /// When it is no whole request, or one that HTTP/2 has no form for.
    pub fn step(&mut self, input: &[u8], ended: bool) -> Result<(usize, Step), Broken> {
        let Some(body) = &mut self.body else { return self.read_head(input, ended) };
        let (used, piece) = body.step(input, ended)?;
        let step = match piece {
            Piece::NeedMore => Step::NeedMore,
            Piece::Data(range) => Step::Data(range),
            Piece::End(trailers) => Step::End(trailers),
        };
        Ok((used, step))
    }

    fn read_head(&mut self, input: &[u8], ended: bool) -> Result<(usize, Step), Broken> {
        let mut head = RequestHead::new();
        let Some(used) = parse_request(input, &mut head, &limits(), Strictness::Relaxed)? else {
            if input.len() >= HEAD_BYTES_MAX {
                return Err(Broken::TooLarge);
            }
            return if ended { Err(Broken::Truncated) } else { Ok((0, Step::NeedMore)) };
        };
        let kind = match head.method() {
            Method::Connect => Kind::Tunnel,
            _ if head.upgrade => Kind::WebSocket,
            _ => Kind::Exchange,
        };
        let request = self.request(&head, kind).ok_or(Broken::Target)?;
        let accept =
            head.headers().known(Known::SecWebsocketKey).filter(|_| kind == Kind::WebSocket).map(accept_of);
        let asked = Asked { kind, method: head.method(), accept };
        let body = match kind {
            Kind::Exchange => head.body,
            Kind::Tunnel | Kind::WebSocket => sockeye_http::BodyLength::Tunnel,
        };
        let body = self.body.insert(BodyReader::new(body));
        Ok((used, Step::Head(Box::new(request), asked, body.is_done())))
    }

    fn request(&self, head: &RequestHead, kind: Kind) -> Option<Request<()>> {
        let mut request = Request::new(());
        let websocket = kind == Kind::WebSocket;
        *request.method_mut() = if websocket {
            http::Method::CONNECT
        } else {
            http::Method::from_bytes(head.method_text()).ok()?
        };
        *request.uri_mut() = self.uri(head, kind)?;
        if request.uri().authority().is_none() {
            // Relative, as nobody has said of what: a form that only a proxy may use (RFC 9113 §8.3.1).
            *request.version_mut() = http::Version::HTTP_11;
        } else {
            *request.version_mut() = http::Version::HTTP_2;
        }
        *request.headers_mut() = fields_of(head.headers(), |name, _| match name {
            b"host" | b"te" | b"http2-settings" => false,
            b"sec-websocket-key" => !websocket,
            _ => true,
        });
        if head.te_trailers {
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Some(request)
    }

    fn uri(&self, head: &RequestHead, kind: Kind) -> Option<Uri> {
        let target = head.target();
        let mut uri = http::uri::Parts::default();
        if kind == Kind::Tunnel {
            uri.authority = Some(Authority::try_from(target).ok()?);
            return Uri::from_parts(uri).ok();
        }
        let parts = Target::of(target);
        let host = parts.authority.or_else(|| head.host()).filter(|host| !host.is_empty());
        if let Some(host) = host {
            uri.authority = Some(Authority::try_from(host).ok()?);
            uri.scheme = Some(if self.https { Scheme::HTTPS } else { Scheme::HTTP });
        }
        let path = match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) => &target[scheme.len() + b"://".len() + authority.len()..],
            _ => target,
        };
        uri.path_and_query = Some(match path {
            [] if head.method() == Method::Options => PathAndQuery::from_static("*"),
            [] => PathAndQuery::from_static("/"),
            path => PathAndQuery::try_from(path).or_else(|_| PathAndQuery::try_from(escaped(path))).ok()?,
        });
        Uri::from_parts(uri).ok()
    }
}

/// A path in which the bytes that RFC 3986 has no place for are written as percent codes.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 16);
    for &byte in path {
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        if plain {
            out.push(byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

/// RFC 6455 §4.2.2: base64 of SHA-1 over key and constant.
fn accept_of(key: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key);
    hash.update(WEBSOCKET_GUID);
    Base64::encode_string(hash.finish().as_ref())
}

/// Appends the head of an interim response.
///
/// # Errors
/// When it is malformed.
pub fn encode_interim(head: &Parts, out: &mut Vec<u8>) -> Result<(), Malformed> {
    status_line(head.status.as_u16(), out);
    encode_fields(&head.headers, false, out)?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends the head of a response to `out`; `ended`: nothing follows it. Returns whether its body goes on in chunks.
///
/// # Errors
/// What RFC 9113 §8 calls malformed, beyond what the frame layer refuses.
pub fn encode_response(
    head: &Parts,
    asked: &Asked,
    ended: bool,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    let status = head.status.as_u16();
    // RFC 9113 §8.6: there is no 101.
    if status == 101 {
        return Err(Malformed::Protocol);
    }
    let opened = asked.kind != Kind::Exchange && head.status.is_success();
    if opened && let Some(accept) = &asked.accept {
        status_line(101, out);
        encode_fields(&head.headers, true, out)?;
        push_field(out, b"connection", b"upgrade");
        push_field(out, b"upgrade", b"websocket");
        push_field(out, b"sec-websocket-accept", accept.as_bytes());
        out.extend_from_slice(b"\r\n");
        return Ok(false);
    }
    status_line(status, out);
    encode_fields(&head.headers, opened, out)?;
    let bodyless = opened || asked.method == Method::Head || status == 204 || status == 304;
    let has_length = head.headers.contains_key(header::CONTENT_LENGTH);
    let chunked = !bodyless && !has_length && !ended;
    if chunked {
        push_field(out, b"transfer-encoding", b"chunked");
    } else if !bodyless && !has_length {
        push_field(out, b"content-length", b"0");
    }
    out.extend_from_slice(b"\r\n");
    Ok(chunked)
}

fn status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let digit = |value: u16| b'0' + u8::try_from(value % 10).unwrap_or(0);
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(sockeye_http::reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `opened`: what follows is no content, and has no length.
fn encode_fields(headers: &HeaderMap, opened: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    for (name, value) in headers {
        let bytes = name.as_str().as_bytes();
        if is_of_connection(bytes) {
            return Err(Malformed::ConnectionField);
        }
        if opened && (name == header::CONTENT_LENGTH || bytes == b"sec-websocket-accept") {
            continue;
        }
        push_field(out, bytes, check_value(value)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "|")
    }

    /// What a request becomes, however it is split.
    fn check_request(https: bool, input: &str, expected: &str) {
        for piece in [1, 9, usize::MAX] {
            let bytes = input.as_bytes();
            let mut reader = RequestReader::new(https);
            let (mut at, mut seen, mut out, mut data) = (0usize, 0usize, String::new(), Vec::new());
            loop {
                let (used, step) = match reader.step(&bytes[at..seen], seen == bytes.len()) {
                    Ok(found) => found,
                    Err(error) => {
                        out += &format!("! {error}");
                        break;
                    }
                };
                let start = at;
                at += used;
                match step {
                    Step::NeedMore => seen = seen.saturating_add(piece).min(bytes.len()),
                    Step::Head(request, asked, ended) => {
                        out += &format!(
                            "{} {} {:?} {:?} ",
                            request.method(),
                            request.uri(),
                            request.headers(),
                            asked.kind
                        );
                        if ended {
                            break;
                        }
                    }
                    Step::Data(range) => {
                        data.extend_from_slice(&bytes[start..][range]);
                        if reader.is_done() {
                            break;
                        }
                    }
                    Step::End(trailers) => {
                        out += &format!("end {trailers:?} ");
                        break;
                    }
                }
            }
            out += &text(&data);
            assert_eq!(out, expected, "{input:?} in pieces of {piece}");
        }
    }

    #[test]
    fn requests() {
        check_request(
            false,
            "GET /p?q HTTP/1.1\r\nhost: a.example\r\nx: y\r\nconnection: close\r\n\r\n",
            r#"GET http://a.example/p?q {"x": "y"} Exchange "#,
        );
        check_request(
            true,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nte: trailers\r\nconnection: te\r\n\r\nabc",
            r#"POST https://a/ {"content-length": "3", "te": "trailers"} Exchange abc"#,
        );
        check_request(
            false,
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: v\r\n\r\n",
            r#"POST http://a/ {} Exchange end Some({"t": "v"}) abc"#,
        );
        check_request(
            false,
            "GET /c HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\nraw",
            r#"CONNECT http://a/c {"sec-websocket-version": "13"} WebSocket end None raw"#,
        );
        check_request(
            false,
            "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\nraw",
            "CONNECT a:443 {} Tunnel end None raw",
        );
        check_request(false, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS http://a* {} Exchange ");
        check_request(false, "GET /a`<b> HTTP/1.0\r\n\r\n", "GET /a%60%3Cb%3E {} Exchange ");
        check_request(
            false,
            "GET http://b.example/x HTTP/1.1\r\nhost: b.example\r\n\r\n",
            "GET http://b.example/x {} Exchange ",
        );
        check_request(
            false,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na",
            r#"POST http://a/ {"content-length": "3"} Exchange ! the message ended earlya"#,
        );
    }

    fn check_response(
        asked: (Kind, Method, Option<&str>),
        response: (u16, &[(&'static str, &'static str)], bool),
        expected: Result<(&str, bool), Malformed>,
    ) {
        let asked = Asked { kind: asked.0, method: asked.1, accept: asked.2.map(str::to_owned) };
        let (status, fields, ended) = response;
        let mut builder = http::Response::builder().status(status);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let parts = builder.body(()).unwrap().into_parts().0;
        let mut out = Vec::new();
        let chunked = encode_response(&parts, &asked, ended, &mut out);
        let head = text(&out);
        assert_eq!(chunked.map(|chunked| (&*head, chunked)), expected);
    }

    #[test]
    fn responses() {
        let get = (Kind::Exchange, Method::Get, None);
        check_response(
            get,
            (200, &[("x", "y")], false),
            Ok(("HTTP/1.1 200 OK|x: y|transfer-encoding: chunked||", true)),
        );
        check_response(get, (200, &[], true), Ok(("HTTP/1.1 200 OK|content-length: 0||", false)));
        check_response(
            get,
            (200, &[("content-length", "3")], false),
            Ok(("HTTP/1.1 200 OK|content-length: 3||", false)),
        );
        check_response(get, (304, &[], true), Ok(("HTTP/1.1 304 Not Modified||", false)));
        check_response(
            (Kind::Exchange, Method::Head, None),
            (200, &[], true),
            Ok(("HTTP/1.1 200 OK||", false)),
        );
        check_response(
            (Kind::WebSocket, Method::Get, Some("abc=")),
            (200, &[("sec-websocket-protocol", "p")], false),
            Ok((
                "HTTP/1.1 101 Switching Protocols|sec-websocket-protocol: p|connection: upgrade|\
                 upgrade: websocket|sec-websocket-accept: abc=||",
                false,
            )),
        );
        check_response(
            (Kind::Tunnel, Method::Connect, None),
            (200, &[("content-length", "1")], false),
            Ok(("HTTP/1.1 200 OK||", false)),
        );
        check_response(get, (101, &[], false), Err(Malformed::Protocol));
        check_response(get, (200, &[("connection", "close")], true), Err(Malformed::ConnectionField));
        check_response(get, (200, &[("x", "y ")], true), Err(Malformed::FieldValue));
    }

    #[test]
    fn the_handshake_of_the_standard() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
