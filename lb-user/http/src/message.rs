//! The version-independent message: what a request and a response are to rules, balancing, logs and retries.
//!
//! A head is self-contained (it borrows nothing from the socket's buffer) and reusable: `clear` keeps its storage.

use crate::body::BodyLength;
use crate::headers::{Headers, Known, Span};

/// The version of a message, after the normalisation of RFC 9110 §2.5: any 1.x above 1.1 is understood as 1.1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// HTTP/0.9: a bare `GET`, accepted only in relaxed mode.
    Http09,
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As written in a start line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http09 => "HTTP/0.9",
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// The methods that change how a message is read, and the common ones; anything else is `Other`.
/// Methods are case-sensitive (RFC 9110 §9.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Method {
    /// CONNECT
    Connect,
    /// DELETE
    Delete,
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// OPTIONS
    Options,
    /// PATCH
    Patch,
    /// POST
    Post,
    /// PUT
    Put,
    /// TRACE
    Trace,
    /// Any other token; its text is [`RequestHead::method_text`].
    Other,
}

impl Method {
    /// Recognises a method token.
    pub fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }

    /// Safe to send again when the connection broke before a response (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace)
    }
}

/// A request up to its body.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    pub(crate) headers: Headers,
    /// The line as received, without CRLF; rules do not change it.
    pub(crate) line: Span,
    pub(crate) method: Method,
    pub(crate) method_text: Span,
    pub(crate) target: Span,
    pub(crate) version: Version,
    /// How long the body is. Set by the parser; changed only by who changes the body.
    pub body: BodyLength,
    /// The client lets the connection live on (RFC 9112 §9.3), and nothing in the message makes that unsafe.
    pub keep_alive: bool,
    /// `Expect: 100-continue` from an HTTP/1.1 client.
    pub expect_continue: bool,
    /// A well-formed request to switch protocols (never h2c): `connection: upgrade` and `upgrade` go on.
    pub upgrade: bool,
    /// `TE: trailers` was nominated by `Connection`: the client takes trailers, and the server may be told so.
    pub te_trailers: bool,
}

impl RequestHead {
    /// Empty, with room for a typical request.
    pub fn new() -> Self {
        Self { headers: Headers::new(), ..Self::default() }
    }

    /// Forgets the message, keeps the storage.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = Self { headers, ..Self::default() };
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as the client sent it, whatever rules did since: what the client reads a response by.
    pub fn received_method(&self) -> Method {
        match self.request_line().split(|byte| *byte == b' ').next() {
            None | Some(b"") => self.method,
            Some(token) => Method::of(token),
        }
    }

    /// The method's text.
    pub fn method_text(&self) -> &[u8] {
        self.headers.slice(self.method_text)
    }

    /// The request target as it will be sent: as received until a rule sets it.
    pub fn target(&self) -> &[u8] {
        self.headers.slice(self.target)
    }

    /// The version the client spoke.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in order.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The fields, to change them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The request line as received, without CRLF; for logs, whatever rules did since.
    pub fn request_line(&self) -> &[u8] {
        self.headers.slice(self.line)
    }

    /// The value of `Host`; empty and absent are different.
    pub fn host(&self) -> Option<&[u8]> {
        self.headers.known(Known::Host)
    }

    /// Replaces the method (`http-request set-method`). The caller vouches that it is a token.
    pub fn set_method(&mut self, method: &[u8]) {
        self.method = Method::of(method);
        self.method_text = self.headers.push_text(method);
    }

    /// Replaces the target (`http-request set-uri`, `set-path`, `set-query`). The caller vouches for its characters.
    pub fn set_target(&mut self, target: &[u8]) {
        self.target = self.headers.push_text(target);
    }

    /// Replaces the version, for requests made here.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// What the response's parser must know of this request.
    pub fn facts(&self) -> RequestFacts {
        RequestFacts { method: self.method, version: self.version, upgrade: self.upgrade }
    }
}

/// What decides how the response to a request is read (RFC 9112 §6.3). As sent to the server, not as received.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RequestFacts {
    /// HEAD and CONNECT change what follows the response's head.
    pub method: Method,
    /// An HTTP/1.0 client must not be sent 1xx (RFC 9110 §15.2).
    pub version: Version,
    /// The request sent asked to switch protocols: only then may the server answer 101.
    pub upgrade: bool,
}

/// A response up to its body.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    pub(crate) headers: Headers,
    pub(crate) status: u16,
    pub(crate) reason: Span,
    pub(crate) version: Version,
    /// How long the body is. Set by the parser; changed only by who changes the body.
    pub body: BodyLength,
    /// The server lets the connection live on, and nothing in the message makes that unsafe.
    pub keep_alive: bool,
    /// 1xx other than 101: another response follows.
    pub interim: bool,
}

impl ResponseHead {
    /// Empty, with room for a typical response.
    pub fn new() -> Self {
        Self { headers: Headers::new(), ..Self::default() }
    }

    /// Forgets the message, keeps the storage.
    pub fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = Self { headers, ..Self::default() };
    }

    /// The status code, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase as received; often empty.
    pub fn reason(&self) -> &[u8] {
        self.headers.slice(self.reason)
    }

    /// The version the server spoke.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The fields in order.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The fields, to change them.
    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Replaces the status and the reason (`http-response set-status`). Framing facts stay as they are.
    pub fn set_status(&mut self, status: u16, reason: &[u8]) {
        self.status = status;
        self.reason = self.headers.push_text(reason);
    }

    /// Replaces the version, for responses made here.
    pub fn set_version(&mut self, version: Version) {
        self.version = version;
    }
}

/// The usual reason phrase of a status, for servers that send none; HAProxy fills it in too.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        210 => "Content Different",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        310 => "Too many Redirects",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Requested range unsatisfiable",
        417 => "Expectation failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Method failure",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        449 => "Retry With",
        450 => "Blocked by Windows Parental Controls",
        451 => "Unavailable For Legal Reasons",
        456 => "Unrecoverable Error",
        499 => "client has closed connection",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway or Proxy Error",
        503 => "Service Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version not supported",
        506 => "Variant also negotiate",
        507 => "Insufficient storage",
        508 => "Loop detected",
        509 => "Bandwidth Limit Exceeded",
        510 => "Not extended",
        511 => "Network authentication required",
        520 => "Web server is returning an unknown error",
        _ => match status / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Other",
        },
    }
}
