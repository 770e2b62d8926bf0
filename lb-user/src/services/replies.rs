//! Error replies and the monitor's answer, byte for byte as HAProxy's clients know them.
//!
//! An invalid request is answered with a fixed message that closes the connection; any other error is a proper
//! response of the exchange, after which the connection may live on.

use std::borrow::Cow;
use std::sync::Arc;

use sockeye_config::model::ErrorFiles;
use sockeye_http::h1::{self, Limits, Strictness};
use sockeye_http::{BodyLength, RequestFacts, ResponseHead, Version};

/// Status, reason and sentence of every error the proxy makes itself (manual 4.2 `errorfile`).
const ERRORS: &[(u16, &str, &str, &str)] = &[
    (400, "Bad request", "400 Bad request", "Your browser sent an invalid request."),
    (401, "Unauthorized", "401 Unauthorized", "You need a valid user and password to access this content."),
    (403, "Forbidden", "403 Forbidden", "Request forbidden by administrative rules."),
    (404, "Not Found", "404 Not Found", "The resource could not be found."),
    (
        405,
        "Method Not Allowed",
        "405 Method Not Allowed",
        "A request was made of a resource using a request method not supported by that resource.",
    ),
    (407, "Unauthorized", "407 Unauthorized", "You need a valid user and password to access this content."),
    (408, "Request Time-out", "408 Request Time-out", "Your browser didn't send a complete request in time."),
    (410, "Gone", "410 Gone", "The resource is no longer available and will not be available again."),
    (413, "Payload Too Large", "413 Payload Too Large", "The request entity exceeds the maximum allowed."),
    (414, "URI Too Long", "414 URI Too Long", "The URI provided was too long for the server to process."),
    (421, "Misdirected Request", "421 Misdirected Request", "Request sent to a non-authoritative server."),
    (
        422,
        "Unprocessable Content",
        "422 Unprocessable Content",
        "The server cannot process the contained instructions.",
    ),
    (425, "Too Early", "425 Too Early", "Your browser sent early data."),
    (
        429,
        "Too Many Requests",
        "429 Too Many Requests",
        "You have sent too many requests in a given amount of time.",
    ),
    (
        431,
        "Request Header Fields Too Large",
        "431 Request Header Fields Too Large",
        "Request Header Fields Too Large.",
    ),
    (500, "Internal Server Error", "500 Internal Server Error", "An internal server error occurred."),
    (
        501,
        "Not Implemented",
        "501 Not Implemented",
        "The server does not support the functionality required to fulfill the request.",
    ),
    (502, "Bad Gateway", "502 Bad Gateway", "The server returned an invalid or incomplete response."),
    (503, "Service Unavailable", "503 Service Unavailable", "No server is available to handle this request."),
    (504, "Gateway Time-out", "504 Gateway Time-out", "The server didn't respond in time."),
    (
        505,
        "HTTP Version Not Supported",
        "505 HTTP Version Not Supported",
        "The HTTP version is not supported.",
    ),
];

const CONTENT_LENGTH: &[u8] = b"content-length";

/// A response of our own.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status that is meant and logged.
    pub status: u16,
    /// The status that is sent: a file may say another one.
    pub shown: u16,
    /// Whether the connection ends with it: the reply says so, or its end would not be known otherwise.
    pub closes: bool,
    /// Nothing is sent: an empty file.
    pub silent: bool,
    reason: Cow<'static, str>,
    /// Lower-case names; no `connection`; the place of `content-length`, without its value.
    headers: Vec<Field>,
    body: Cow<'static, [u8]>,
}

/// Name and value.
type Field = (Cow<'static, [u8]>, Cow<'static, [u8]>);

impl Reply {
    /// A reply with these headers, in lower case and in order; the value of `content-length` is that of the body.
    pub fn new(status: u16, reason: &'static str, headers: Vec<(Vec<u8>, Vec<u8>)>, body: Vec<u8>) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self {
            status,
            shown: status,
            closes: false,
            silent: false,
            reason: reason.into(),
            headers,
            body: body.into(),
        }
    }

    /// The reply in a file, as `errorfile` has it; silence for an empty one. `None` for a file that is no response.
    pub fn of_file(status: u16, file: &[u8]) -> Option<Self> {
        if file.is_empty() {
            let nothing = Self::new(status, "", Vec::new(), Vec::new());
            return Some(Self { silent: true, closes: true, ..nothing });
        }
        parse_file(status, file)
    }

    /// Replaces a header, or adds it.
    pub fn set_header(&mut self, name: &'static str, value: Vec<u8>) {
        self.headers.retain(|(known, _)| **known != *name.as_bytes());
        self.headers.push((name.as_bytes().into(), value.into()));
    }

    /// Fills a response head with it, for rules to change; the body stays here.
    pub fn fill(&self, head: &mut ResponseHead) {
        head.clear();
        head.set_version(Version::Http11);
        head.set_status(self.shown, self.reason.as_bytes());
        for (name, value) in &self.headers {
            if **name == *CONTENT_LENGTH {
                head.headers_mut().append(name, self.body.len().to_string().as_bytes());
            } else {
                head.headers_mut().append(name, value);
            }
        }
        head.body = BodyLength::Length(self.body.len() as u64);
    }

    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Appends the encoded response. `keeps` is whether the connection lives on, `is_11` whether the client
    /// speaks HTTP/1.1, `head_only` leaves the body out.
    pub fn encode(&self, keeps: bool, is_11: bool, head_only: bool, out: &mut Vec<u8>) {
        use std::io::Write as _;
        // Writing to a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {} {}\r\n", self.shown, self.reason);
        for (name, value) in &self.headers {
            out.extend_from_slice(name);
            if **name == *CONTENT_LENGTH {
                let _ = write!(out, ": {}\r\n", self.body.len());
            } else {
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        match (keeps, is_11) {
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
            (true, false) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, true) => {}
        }
        out.extend_from_slice(b"\r\n");
        if !head_only {
            out.extend_from_slice(&self.body);
        }
    }
}

/// The answer to `monitor-uri`.
pub fn monitor() -> Reply {
    Reply {
        status: 200,
        shown: 200,
        closes: false,
        silent: false,
        reason: "OK".into(),
        headers: html_headers(),
        body: b"<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n".as_slice().into(),
    }
}

/// The error replies of one section: its `errorfile`s, read into responses once, at start.
#[derive(Debug, Default)]
pub struct ErrorReplies {
    own: Vec<OwnReply>,
}

/// What one `errorfile` says.
#[derive(Debug)]
struct OwnReply {
    status: u16,
    /// `None` for a file that is no response, which can only be sent as it is.
    reply: Option<Arc<Reply>>,
    raw: Arc<[u8]>,
}

impl ErrorReplies {
    pub fn new(files: &ErrorFiles) -> Self {
        let reply = |(status, file): &(u16, Arc<[u8]>)| {
            let reply = Reply::of_file(*status, file).map(Arc::new);
            OwnReply { status: *status, reply, raw: Arc::clone(file) }
        };
        Self { own: files.0.iter().map(reply).collect() }
    }

    /// Whether the section has a reply of its own for `status`.
    pub fn has(&self, status: u16) -> bool {
        self.own(status).is_some()
    }

    fn own(&self, status: u16) -> Option<&OwnReply> {
        self.own.iter().find(|own| own.status == status)
    }

    /// The error reply for `status`: the section's, or the built-in one.
    pub fn error(&self, status: u16) -> Arc<Reply> {
        let own = self.own(status).and_then(|own| own.reply.clone());
        own.unwrap_or_else(|| Arc::new(built_in_reply(status)))
    }

    /// The whole message that answers a request which could not be understood.
    pub fn raw(&self, status: u16) -> Arc<[u8]> {
        let own = self.own(status).map(|own| Arc::clone(&own.raw));
        own.unwrap_or_else(|| built_in_raw(status).into())
    }
}

fn built_in_reply(status: u16) -> Reply {
    let (status, reason, title, sentence) = built_in(status);
    Reply {
        status,
        shown: status,
        // Their client sent something wrong: what follows cannot be trusted.
        closes: matches!(status, 400 | 408),
        silent: false,
        reason: reason.into(),
        headers: html_headers(),
        body: page(title, sentence).into_bytes().into(),
    }
}

fn built_in_raw(status: u16) -> Vec<u8> {
    let (status, reason, title, sentence) = built_in(status);
    let page = page(title, sentence);
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-length: {}\r\nCache-Control: no-cache\r\nConnection: close\r\n\
         Content-Type: text/html\r\n\r\n{page}",
        page.len()
    )
    .into_bytes()
}

fn built_in(status: u16) -> (u16, &'static str, &'static str, &'static str) {
    ERRORS.iter().find(|error| error.0 == status).copied().unwrap_or((
        500,
        "Internal Server Error",
        "500 Internal Server Error",
        "An internal server error occurred.",
    ))
}

fn page(title: &str, sentence: &str) -> String {
    format!("<html><body><h1>{title}</h1>\n{sentence}\n</body></html>\n")
}

fn html_headers() -> Vec<Field> {
    vec![
        (CONTENT_LENGTH.into(), Cow::Borrowed(b"")),
        (Cow::Borrowed(b"cache-control"), Cow::Borrowed(b"no-cache")),
        (Cow::Borrowed(b"content-type"), Cow::Borrowed(b"text/html")),
    ]
}

/// An `errorfile` holds a raw response; its head becomes a proper one so that the connection may live on.
fn parse_file(status: u16, file: &[u8]) -> Option<Reply> {
    let mut head = ResponseHead::new();
    // Written by hand: bare line feeds are usual in such files.
    let text = normalize_line_ends(file);
    let used =
        h1::parse_response(&text, &mut head, RequestFacts::default(), &Limits::default(), Strictness::Strict)
            .ok()
            .flatten()?;
    let headers: Vec<Field> = head
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(*name, b"connection" | b"transfer-encoding"))
        .map(|(name, value)| (name.to_vec().into(), value.to_vec().into()))
        .collect();
    let is_framed = headers.iter().any(|(name, _)| **name == *CONTENT_LENGTH);
    Some(Reply {
        status,
        shown: head.status(),
        closes: !is_framed || !head.keep_alive,
        silent: false,
        reason: String::from_utf8_lossy(head.reason()).into_owned().into(),
        headers,
        body: text[used..].to_vec().into(),
    })
}

/// CRLF at the end of each head line; the body stays as it is.
fn normalize_line_ends(file: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(file.len() + 16);
    let mut rest = file;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let line = rest[..at].strip_suffix(b"\r").unwrap_or(&rest[..at]);
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = &rest[at + 1..];
        if line.is_empty() {
            break;
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invalid_request_reply_is_haproxys() {
        assert_eq!(
            String::from_utf8(built_in_raw(400)).unwrap(),
            "HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\nConnection: close\r\n\
             Content-Type: text/html\r\n\r\n<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid \
             request.\n</body></html>\n"
        );
    }

    #[test]
    fn an_error_of_the_exchange_keeps_the_connection_when_it_can() {
        let mut out = Vec::new();
        ErrorReplies::default().error(503).encode(true, true, true, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: no-cache\r\n\
             content-type: text/html\r\n\r\n"
        );
    }

    #[test]
    fn an_error_file_becomes_a_response() {
        let file: Arc<[u8]> =
            b"HTTP/1.0 503 Gone Fishing\nX-Why: summer\nConnection: close\n\nback\nsoon"[..].into();
        let mut out = Vec::new();
        ErrorReplies::new(&ErrorFiles(vec![(503, file)])).error(503).encode(false, true, false, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 503 Gone Fishing\r\nx-why: summer\r\nconnection: close\r\n\r\nback\nsoon"
        );
    }
}
