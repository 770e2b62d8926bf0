//! What a backend's health check says and expects (manual 4.2 `option httpchk`, `tcp-check`, `http-check`).

use std::net::IpAddr;
use std::sync::Arc;

use super::Proto;

/// The check that every checked server of a backend runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Check {
    /// A connection that succeeds is enough.
    #[default]
    Connect,
    /// `option tcp-check`.
    Tcp(Vec<CheckStep>),
    /// `option httpchk`.
    Http(Vec<CheckStep>),
    /// `option ssl-hello-chk`: a hello, and what an answer to it looks like.
    SslHello(Vec<CheckStep>),
}

/// One rule of a `tcp-check` or `http-check` sequence, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckStep {
    /// The text of `comment`, on its own or beside a rule, for the failure message.
    Comment(Arc<str>),
    Connect(CheckConnect),
    /// `tcp-check send`, `send-binary`.
    Send {
        data: Arc<[u8]>,
        comment: Option<Arc<str>>,
    },
    HttpSend(HttpSend),
    Expect(CheckExpect),
}

/// `tcp-check connect`, `http-check connect`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckConnect {
    pub addr: Option<IpAddr>,
    pub port: Option<u16>,
    pub linger: bool,
    pub comment: Option<Arc<str>>,
    /// `default`: the connection options of the server line.
    pub default: bool,
    /// `send-proxy`: the connection begins with a PROXY protocol header.
    pub send_proxy: bool,
    /// `ssl`: through TLS, as the server's line says, whatever the line says of checks.
    pub ssl: bool,
    pub sni: Option<Arc<str>>,
    pub alpn: Option<Arc<[Vec<u8>]>>,
    pub proto: Option<Proto>,
}

/// `http-check send`, or what `option httpchk METHOD URI VERSION` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSend {
    pub method: Arc<str>,
    pub uri: Arc<str>,
    pub version: Arc<str>,
    /// Names as written.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    pub body: Option<Arc<[u8]>>,
    pub comment: Option<Arc<str>>,
}

/// `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckExpect {
    pub negate: bool,
    pub what: ExpectWhat,
    /// `min-recv`: bytes to have before a verdict; -1 never gives one before the end.
    pub min_recv: Option<i32>,
    pub comment: Option<Arc<str>>,
    /// `ok-status`, `error-status`, `tout-status` as written (`L7OK`, `L7OKC`, …).
    pub ok_status: Option<Arc<str>>,
    pub error_status: Option<Arc<str>>,
    pub tout_status: Option<Arc<str>>,
}

/// What an `expect` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectWhat {
    /// `string` for tcp-check and http-check bodies.
    String(Arc<[u8]>),
    Binary(Arc<[u8]>),
    /// `rstring`: a regular expression over the text.
    Regex(Arc<str>),
    /// `rbinary`: a regular expression over the hexadecimal form.
    RegexBinary(Arc<str>),
    /// `status 200-399,404`: inclusive ranges.
    Status(Vec<(u16, u16)>),
    /// `rstatus`.
    RegexStatus(Arc<str>),
    /// `hdr name … value …`.
    Header {
        name: TextMatch,
        value: Option<TextMatch>,
        full: bool,
    },
}

/// A literal or an expression, with how it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextMatch {
    pub how: MatchHow,
    pub text: Arc<str>,
}

/// `-m METHOD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatchHow {
    #[default]
    Exact,
    Begins,
    Ends,
    Contains,
    Regex,
}
