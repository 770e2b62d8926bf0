//! What is known of a finished (or, with `option logasap`, begun) stream when its line is made.

use std::net::SocketAddr;
use std::time::SystemTime;

use sockeye_config::model::{FrontendOptions, Level, Mode};
use sockeye_sample::TlsFacts;

/// All that a line may say about a stream.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    pub mode: Mode,
    /// The client's address, as a PROXY header or the socket gave it.
    pub client: Option<Peer>,
    /// What the client connected to.
    pub destination: Option<Peer>,
    /// Our end of the connection to the server.
    pub server_source: Option<SocketAddr>,
    pub server_address: Option<Peer>,
    pub frontend: &'a str,
    /// The client's connection is encrypted: version and cipher.
    pub tls: Option<Tls<'a>>,
    pub backend: &'a str,
    /// The last server that was tried. `None`: `<NOSRV>`.
    pub server: Option<&'a str>,
    pub accept_date: SystemTime,
    /// When the request's first byte came. In `mode tcp`, the accept date.
    pub request_date: SystemTime,
    pub timers: Timers,
    /// `None`, written -1, when nothing was answered.
    pub status: Option<u16>,
    /// Bytes from the server to the client, headers included.
    pub bytes_read: u64,
    /// Bytes from the client to the server, headers included.
    pub bytes_uploaded: u64,
    pub captures: Captures<'a>,
    /// The two or, in `mode http`, four characters of manual 8.5.
    pub termination: [u8; 4],
    pub connections: Connections,
    pub retries: Retries,
    pub queues: Queues,
    /// `None`: `<BADREQ>`.
    pub request: Option<Request<'a>>,
    pub unique_id: Option<&'a [u8]>,
    /// Lines that the frontend logged before this one.
    pub log_counter: u64,
    /// Streams that the process had before this one.
    pub request_counter: u64,
    pub origin: Origin,
    /// `option logasap`: total time and bytes get a `+`, for they will grow.
    pub asap: bool,
}

impl<'a> Record<'a> {
    /// A stream of which nothing is known but where and when it came.
    pub fn new(mode: Mode, frontend: &'a str, accept_date: SystemTime) -> Self {
        Self {
            mode,
            client: None,
            destination: None,
            server_source: None,
            server_address: None,
            frontend,
            tls: None,
            backend: frontend,
            server: None,
            accept_date,
            request_date: accept_date,
            timers: Timers::default(),
            status: None,
            bytes_read: 0,
            bytes_uploaded: 0,
            captures: Captures::default(),
            termination: *b"----",
            connections: Connections::default(),
            retries: Retries::default(),
            queues: Queues::default(),
            request: None,
            unique_id: None,
            log_counter: 0,
            request_counter: 0,
            origin: Origin::TxnClose,
            asap: false,
        }
    }

    /// Whether it counts as an error: with `option dontlog-normal` only errors are logged, with
    /// `option log-separate-errors` they are logged at level err (manual 8.3.3, 8.3.4).
    pub fn is_error(&self) -> bool {
        let aborted = !matches!(self.termination[0], b'-' | b'L');
        let retried = self.retries.count > 0 && self.termination[0] == b'-';
        aborted || retried || self.retries.redispatched || self.status.is_some_and(|status| status >= 500)
    }

    /// The level of the line; `None` if the frontend's options leave it out. `received`: the client sent something,
    /// without which `option dontlognull` logs nothing.
    pub fn level(&self, options: &FrontendOptions, received: bool) -> Option<Level> {
        let error = self.is_error();
        if options.dontlognull && !received || options.dontlog_normal && !error {
            return None;
        }
        Some(if error && options.log_separate_errors { Level::Err } else { Level::Info })
    }
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Inet(SocketAddr),
    /// A unix socket: the listener's numeric id stands for the port.
    Unix {
        id: u32,
    },
}

/// What was negotiated with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls<'a> {
    /// `TLSv1.3`
    pub version: &'a str,
    pub cipher: &'a str,
}

impl<'a> From<&'a TlsFacts> for Tls<'a> {
    fn from(facts: &'a TlsFacts) -> Self {
        Self {
            version: facts.version_name().unwrap_or_default(),
            cipher: facts.cipher_name().unwrap_or_default(),
        }
    }
}

/// Milliseconds of each stage; `None`, written -1, for a stage that was not reached (manual 8.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timers {
    /// Th. Only the first stream of a connection has a handshake; the others say 0.
    pub handshake: u32,
    /// Ti.
    pub idle: Option<u32>,
    /// TR.
    pub request: Option<u32>,
    /// Tw.
    pub queue: Option<u32>,
    /// Tc.
    pub connect: Option<u32>,
    /// Tr.
    pub response: Option<u32>,
    /// Tt: from accept, or the end of the last request on the connection, to the end of the stream.
    pub total: u32,
}

impl Timers {
    /// Ta: without handshake and idle time.
    pub(crate) fn active(&self) -> u32 {
        self.idle.map_or(self.total, |idle| self.total.saturating_sub(idle).saturating_sub(self.handshake))
    }

    /// Tu: without idle time.
    pub(crate) fn user(&self) -> u32 {
        self.total.saturating_sub(self.idle.unwrap_or(0))
    }

    /// Tq: until the request was there.
    pub(crate) fn until_request(&self) -> Option<u32> {
        Some(self.handshake.saturating_add(self.idle?).saturating_add(self.request?))
    }

    /// Td: what no other timer covers, once data flowed.
    pub(crate) fn data(&self, mode: Mode) -> Option<u32> {
        let data_began = match mode {
            Mode::Http => self.response,
            Mode::Tcp | Mode::Packet => self.connect,
        };
        data_began?;
        let stages = [Some(self.handshake), self.idle, self.request, self.queue, self.connect, self.response];
        Some(stages.iter().flatten().fold(self.total, |left, stage| left.saturating_sub(*stage)))
    }
}

/// What `capture` statements kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Captures<'a> {
    /// `name=value`.
    pub request_cookie: Option<&'a [u8]>,
    pub response_cookie: Option<&'a [u8]>,
    /// One element per `capture request header` statement; empty when there is none.
    pub request_headers: &'a [Option<&'a [u8]>],
    pub response_headers: &'a [Option<&'a [u8]>],
}

/// How many there were when the line was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    pub process: u32,
    pub frontend: u32,
    pub backend: u32,
    pub server: u32,
}

/// Connection attempts after the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retries {
    pub count: u32,
    /// Another server was tried: `+`.
    pub redispatched: bool,
}

/// Requests that went first in each queue the stream stood in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    pub server: u32,
    pub backend: u32,
}

/// The request line as the client sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    /// `HTTP/1.1`
    pub version: &'a [u8],
    /// `tune.http.logurilen`: bytes of the whole line that are kept.
    pub limit: usize,
}

impl<'a> Request<'a> {
    pub(crate) fn target(&self) -> &'a [u8] {
        &self.target[..self.target.len().min(self.limit)]
    }

    /// The target until the question mark, and from there.
    pub(crate) fn split_query(&self) -> (&'a [u8], &'a [u8]) {
        let target = self.target();
        target.split_at(target.iter().position(|byte| *byte == b'?').unwrap_or(target.len()))
    }

    /// The target without scheme, authority and query: nothing for `*` and an authority alone.
    pub(crate) fn path(&self) -> &'a [u8] {
        let (uri, _) = self.split_query();
        if uri.first() == Some(&b'/') {
            return uri;
        }
        let Some(scheme) = uri.windows(3).position(|window| window == b"://") else { return b"" };
        let authority = &uri[scheme + 3..];
        authority.iter().position(|byte| *byte == b'/').map_or(b"", |slash| &authority[slash..])
    }
}

/// When a line was made (`%OG`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    SessError,
    SessKilled,
    TxnAccept,
    TxnRequest,
    TxnConnect,
    TxnResponse,
    TxnClose,
    /// `do-log`, by the rules it stands in.
    TcpConnectionRule,
    TcpSessionRule,
    TcpRequestRule,
    TcpResponseRule,
    HttpRequestRule,
    HttpResponseRule,
    HttpAfterResponseRule,
    Unspecified,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SessError => "sess_error",
            Self::SessKilled => "sess_killed",
            Self::TxnAccept => "txn_accept",
            Self::TxnRequest => "txn_request",
            Self::TxnConnect => "txn_connect",
            Self::TxnResponse => "txn_response",
            Self::TxnClose => "txn_close",
            Self::TcpConnectionRule => "tcp-req-conn",
            Self::TcpSessionRule => "tcp-req-sess",
            Self::TcpRequestRule => "tcp-req-cont",
            Self::TcpResponseRule => "tcp-res-cont",
            Self::HttpRequestRule => "http-req",
            Self::HttpResponseRule => "http-res",
            Self::HttpAfterResponseRule => "http-after-res",
            Self::Unspecified => "unspec",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_what_the_manual_calls_so() {
        let check = |termination: &[u8; 4], count, redispatched, status, expected| {
            let record = Record {
                termination: *termination,
                retries: Retries { count, redispatched },
                status: Some(status),
                ..Record::new(Mode::Http, "fe", SystemTime::UNIX_EPOCH)
            };
            assert_eq!(record.is_error(), expected, "{termination:?} {count} {redispatched} {status}");
        };
        check(b"----", 0, false, 200, false);
        check(b"----", 0, false, 404, false);
        check(b"----", 0, false, 503, true);
        check(b"----", 1, false, 200, true);
        check(b"----", 0, true, 200, true);
        check(b"LR--", 0, false, 200, false);
        check(b"LR--", 0, false, 500, true);
        check(b"CD--", 0, false, 200, true);
        check(b"PR--", 0, false, 403, true);
        check(b"cR--", 0, false, 408, true);
    }

    #[test]
    fn options_leave_lines_out() {
        let normal = Record::new(Mode::Tcp, "fe", SystemTime::UNIX_EPOCH);
        let error = Record { termination: *b"SC--", ..normal.clone() };
        let check = |options: FrontendOptions, received, of_normal, of_error| {
            assert_eq!(normal.level(&options, received), of_normal, "{options:?}");
            assert_eq!(error.level(&options, received), of_error, "{options:?}");
        };
        let (info, err) = (Some(Level::Info), Some(Level::Err));
        check(FrontendOptions::default(), false, info, info);
        check(FrontendOptions { dontlognull: true, ..Default::default() }, false, None, None);
        check(FrontendOptions { dontlognull: true, ..Default::default() }, true, info, info);
        check(FrontendOptions { dontlog_normal: true, ..Default::default() }, true, None, info);
        check(FrontendOptions { log_separate_errors: true, ..Default::default() }, true, info, err);
    }

    #[test]
    fn derived_timers() {
        let timers = Timers {
            handshake: 1,
            idle: Some(10),
            request: Some(2),
            queue: Some(3),
            connect: Some(4),
            response: Some(5),
            total: 100,
        };
        assert_eq!((timers.active(), timers.user(), timers.until_request()), (89, 90, Some(13)));
        assert_eq!(timers.data(Mode::Http), Some(75));
        let aborted = Timers { handshake: 0, idle: None, request: None, total: 1001, ..Timers::default() };
        assert_eq!((aborted.active(), aborted.user(), aborted.until_request()), (1001, 1001, None));
        assert_eq!(aborted.data(Mode::Http), None);
        let tcp = Timers { queue: Some(1), connect: Some(0), total: 0, ..Timers::default() };
        assert_eq!(tcp.data(Mode::Tcp), Some(0));
    }

    #[test]
    fn parts_of_a_target() {
        let check = |target: &str, uri: &str, query: &str, path: &str| {
            let request =
                Request { method: b"GET", target: target.as_bytes(), version: b"HTTP/1.1", limit: 1024 };
            assert_eq!(request.split_query(), (uri.as_bytes(), query.as_bytes()), "{target}");
            assert_eq!(request.path(), path.as_bytes(), "{target}");
        };
        check("/nq", "/nq", "", "/nq");
        check("/a?b=c?d", "/a", "?b=c?d", "/a");
        check("*", "*", "", "");
        check("ab:80", "ab:80", "", "");
        check("http://h.com:80/p/q?x", "http://h.com:80/p/q", "?x", "/p/q");
    }
}
