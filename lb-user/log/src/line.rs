//! What each item of a format writes, and the two lines that have no format.

use std::net::IpAddr;
use std::time::SystemTime;

use sockeye_config::model::Mode;

use crate::date::{self, Dates};
use crate::format::{Alias, Flags, Format, Item};
use crate::logger::Process;
use crate::number;
use crate::record::{Peer, Record, Request};

impl Format {
    /// Appends the line of `record`, without a line feed.
    pub fn render(&self, record: &Record<'_>, process: &Process, dates: &mut Dates, out: &mut Vec<u8>) {
        // A blank at the start is left out, as is one after another.
        let mut blank = true;
        for item in &self.items {
            match item {
                Item::Text(text) => {
                    out.extend_from_slice(text);
                    blank = false;
                }
                Item::Blank if blank => {}
                Item::Blank => {
                    out.push(b' ');
                    blank = true;
                }
                Item::Alias(alias, flags) => {
                    let before = out.len();
                    Writer { record, process, dates, out, flags: *flags }.alias(*alias);
                    blank &= out.len() == before;
                }
            }
        }
    }
}

/// Writes one item.
struct Writer<'a> {
    record: &'a Record<'a>,
    process: &'a Process,
    dates: &'a mut Dates,
    out: &'a mut Vec<u8>,
    flags: Flags,
}

impl Writer<'_> {
    fn alias(&mut self, alias: Alias) {
        let record = self.record;
        match alias {
            Alias::AcceptDateUtc => self.dates.push_clf_utc(self.out, record.accept_date),
            Alias::AcceptDateLocal => self.dates.push_clf_local(self.out, record.accept_date),
            Alias::AcceptTimestamp => {
                let (seconds, _) = date::split(record.accept_date);
                self.numeric(seconds.unsigned_abs(), 1, 4);
            }
            Alias::AcceptDate => self.dates.push_clf_ms(self.out, record.accept_date),
            Alias::AcceptMilliseconds => {
                let (_, micros) = date::split(record.accept_date);
                self.numeric(u64::from(micros / 1000), 3, 2);
            }
            Alias::RequestDate => self.dates.push_clf_ms(self.out, record.request_date),
            Alias::RequestDateUtc => self.dates.push_clf_utc(self.out, record.request_date),
            Alias::RequestDateLocal => self.dates.push_clf_local(self.out, record.request_date),

            Alias::TimeActive => self.total(record.timers.active()),
            Alias::TimeTotal => self.total(record.timers.total),
            Alias::TimeUser => self.total(record.timers.user()),
            Alias::TimeHandshake => self.timer(Some(record.timers.handshake)),
            Alias::TimeIdle => self.timer(record.timers.idle),
            Alias::TimeRequest => self.timer(record.timers.request),
            Alias::TimeRequestFromAccept => self.timer(record.timers.until_request()),
            Alias::TimeQueue => self.timer(record.timers.queue),
            Alias::TimeConnect => self.timer(record.timers.connect),
            Alias::TimeResponse => self.timer(record.timers.response),
            Alias::TimeData => self.timer(record.timers.data(record.mode)),

            Alias::BytesRead => {
                self.plus();
                number::push(self.out, record.bytes_read);
            }
            Alias::BytesUploaded => number::push(self.out, record.bytes_uploaded),
            Alias::Status => match record.status {
                Some(status) => number::push(self.out, u64::from(status)),
                None => self.out.extend_from_slice(b"-1"),
            },
            Alias::Termination => self.out.extend_from_slice(&record.termination[..2]),
            Alias::TerminationCookie => self.out.extend_from_slice(&record.termination),

            Alias::ClientIp => self.ip(record.client),
            Alias::ClientPort => self.port(record.client),
            Alias::FrontendIp => self.ip(record.destination),
            Alias::FrontendPort => self.port(record.destination),
            Alias::BackendIp => self.ip(record.server_source.map(Peer::Inet)),
            Alias::BackendPort => self.port(record.server_source.map(Peer::Inet)),
            Alias::ServerIp => self.ip(record.server_address),
            Alias::ServerPort => self.port(record.server_address),

            Alias::FrontendName => self.name(record.frontend),
            Alias::FrontendNameTransport => {
                let tls = if record.tls.is_some() { "~" } else { "" };
                self.parts(&[record.frontend.as_bytes(), tls.as_bytes()], Encoding::Text);
            }
            Alias::BackendName => self.name(record.backend),
            Alias::ServerName => self.name(record.server.unwrap_or("<NOSRV>")),
            Alias::Hostname => self.name(&self.process.hostname),
            Alias::Pid => self.numeric(u64::from(self.process.pid), 1, 4),
            Alias::LogOrigin => self.name(record.origin.name()),
            Alias::UniqueId => self.optional(record.unique_id, Encoding::Text),
            Alias::TlsVersion => self.optional(record.tls.map(|tls| tls.version.as_bytes()), Encoding::Text),
            Alias::TlsCipher => self.optional(record.tls.map(|tls| tls.cipher.as_bytes()), Encoding::Text),

            Alias::ActConn => number::push(self.out, u64::from(record.connections.process)),
            Alias::FeConn => number::push(self.out, u64::from(record.connections.frontend)),
            Alias::BeConn => number::push(self.out, u64::from(record.connections.backend)),
            Alias::SrvConn => number::push(self.out, u64::from(record.connections.server)),
            Alias::RetryCount => {
                if record.retries.redispatched {
                    self.out.push(b'+');
                }
                number::push(self.out, u64::from(record.retries.count));
            }
            Alias::SrvQueue => number::push(self.out, u64::from(record.queues.server)),
            Alias::BackendQueue => number::push(self.out, u64::from(record.queues.backend)),
            Alias::LogCounter => self.numeric(record.log_counter, 1, 4),
            Alias::RequestCounter => self.numeric(record.request_counter, 1, 4),

            Alias::CookieRequest => self.optional(record.captures.request_cookie, Encoding::Text),
            Alias::CookieResponse => self.optional(record.captures.response_cookie, Encoding::Text),
            Alias::RequestHeaders => self.headers(record.captures.request_headers),
            Alias::ResponseHeaders => self.headers(record.captures.response_headers),
            Alias::RequestHeadersList => self.headers_list(record.captures.request_headers),
            Alias::ResponseHeadersList => self.headers_list(record.captures.response_headers),

            Alias::RequestLine => self.request_line(),
            Alias::Method => self.request_part(|request| request.method),
            Alias::Uri => self.request_part(|request| request.split_query().0),
            Alias::Path => self.request_part(|request| request.path()),
            Alias::Query => self.request_part(|request| request.split_query().1),
            Alias::Target => self.request_part(|request| request.target()),
            Alias::Version => self.request_part(|request| request.version),
        }
    }

    /// A number that `X` turns into hexadecimal, with its least digits in both forms.
    fn numeric(&mut self, value: u64, width: usize, hex_width: usize) {
        if self.flags.hex {
            number::push_hex(self.out, value, hex_width);
        } else {
            number::push_padded(self.out, value, width);
        }
    }

    fn plus(&mut self) {
        if self.record.asap {
            self.out.push(b'+');
        }
    }

    fn total(&mut self, milliseconds: u32) {
        self.plus();
        number::push(self.out, u64::from(milliseconds));
    }

    fn timer(&mut self, milliseconds: Option<u32>) {
        match milliseconds {
            Some(milliseconds) => number::push(self.out, u64::from(milliseconds)),
            None => self.out.extend_from_slice(b"-1"),
        }
    }

    fn ip(&mut self, peer: Option<Peer>) {
        match peer {
            None => self.optional(None, Encoding::Text),
            Some(Peer::Unix { .. }) => self.name("unix"),
            Some(Peer::Inet(address)) => {
                self.quote();
                match (self.flags.hex, address.ip()) {
                    (false, ip) => push_ip(self.out, ip),
                    (true, IpAddr::V4(ip)) => number::push_hex(self.out, u64::from(ip.to_bits()), 8),
                    (true, IpAddr::V6(ip)) => {
                        for segment in ip.segments() {
                            number::push_hex(self.out, u64::from(segment), 4);
                        }
                    }
                }
                self.quote();
            }
        }
    }

    fn port(&mut self, peer: Option<Peer>) {
        match peer {
            None => self.optional(None, Encoding::Text),
            Some(Peer::Unix { id }) => self.numeric(u64::from(id), 1, 4),
            Some(Peer::Inet(address)) => self.numeric(u64::from(address.port()), 1, 4),
        }
    }

    fn name(&mut self, name: &str) {
        self.parts(&[name.as_bytes()], Encoding::Text);
    }

    /// Text that may be missing: `-`, or two quotes.
    fn optional(&mut self, text: Option<&[u8]>, encoding: Encoding) {
        match text {
            Some(text) if !text.is_empty() => self.parts(&[text], encoding),
            _ if self.flags.quote => self.out.extend_from_slice(b"\"\""),
            _ => self.out.push(b'-'),
        }
    }

    fn parts(&mut self, parts: &[&[u8]], encoding: Encoding) {
        self.quote();
        for part in parts {
            encoding.push(self.out, part, self.flags.escape);
        }
        self.quote();
    }

    fn quote(&mut self) {
        if self.flags.quote {
            self.out.push(b'"');
        }
    }

    /// `{a|b}`; nothing at all when no header is captured.
    fn headers(&mut self, headers: &[Option<&[u8]>]) {
        if headers.is_empty() {
            return;
        }
        self.quote();
        for (index, header) in headers.iter().enumerate() {
            self.out.push(if index == 0 { b'{' } else { b'|' });
            Encoding::Header.push(self.out, header.unwrap_or_default(), self.flags.escape);
        }
        self.out.push(b'}');
        self.quote();
    }

    fn headers_list(&mut self, headers: &[Option<&[u8]>]) {
        for (index, header) in headers.iter().enumerate() {
            if index > 0 {
                self.out.push(b' ');
            }
            self.optional(*header, Encoding::Header);
        }
    }

    fn request_line(&mut self) {
        let Some(request) = self.record.request else { return self.name(BAD_REQUEST) };
        self.quote();
        let mut left = request.limit;
        for part in [request.method, b" ", request.target, b" ", request.version] {
            let kept = part.len().min(left);
            left -= kept;
            Encoding::Uri.push(self.out, &part[..kept], self.flags.escape);
        }
        self.quote();
    }

    fn request_part(&mut self, part: impl for<'r> FnOnce(&Request<'r>) -> &'r [u8]) {
        match self.record.request {
            Some(request) => self.parts(&[part(&request)], Encoding::Uri),
            None => self.name(BAD_REQUEST),
        }
    }
}

/// Appends the line of a frontend without a log format, which is sent when a stream begins (manual 8.2.1).
pub fn connect_line(
    frontend: &str,
    mode: Mode,
    client: Option<Peer>,
    destination: Option<Peer>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"Connect ");
    match (client, destination) {
        (Some(Peer::Unix { id }), _) => {
            out.extend_from_slice(b"to unix:");
            number::push(out, u64::from(id));
        }
        _ => {
            out.extend_from_slice(b"from ");
            push_peer(out, client);
            out.extend_from_slice(b" to ");
            push_peer(out, destination);
        }
    }
    out.extend_from_slice(b" (");
    Encoding::Text.push(out, frontend.as_bytes(), false);
    out.extend_from_slice(match mode {
        Mode::Http => b"/HTTP)",
        Mode::Tcp => b"/TCP)",
    });
}

/// Appends the line of a connection that failed before it had a stream (manual 8.2.5). `listener` is the bind line's
/// name, or its numeric id.
pub fn connection_error_line(
    client: Option<Peer>,
    accept_date: SystemTime,
    frontend: &str,
    listener: &str,
    message: &str,
    dates: &mut Dates,
    out: &mut Vec<u8>,
) {
    push_peer(out, client);
    out.extend_from_slice(b" [");
    dates.push_clf_ms(out, accept_date);
    out.extend_from_slice(b"] ");
    Encoding::Text.push(out, frontend.as_bytes(), false);
    out.push(b'/');
    Encoding::Text.push(out, listener.as_bytes(), false);
    out.extend_from_slice(b": ");
    Encoding::Text.push(out, message.as_bytes(), false);
}

/// `address:port`, as `%ci:%cp` writes it.
fn push_peer(out: &mut Vec<u8>, peer: Option<Peer>) {
    match peer {
        None => out.extend_from_slice(b"-:-"),
        Some(Peer::Unix { id }) => {
            out.extend_from_slice(b"unix:");
            number::push(out, u64::from(id));
        }
        Some(Peer::Inet(address)) => {
            push_ip(out, address.ip());
            out.push(b':');
            number::push(out, u64::from(address.port()));
        }
    }
}

/// What stands for a request that could not be understood.
const BAD_REQUEST: &str = "<BADREQ>";

/// Which bytes are written as `#XX` (manual 8.6). Those outside 32 to 126 always are.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    /// Names, cookies, identifiers: no others.
    Text,
    /// `"` and `#`.
    Uri,
    /// `"`, `#`, `{`, `|` and `}`.
    Header,
}

impl Encoding {
    fn push(self, out: &mut Vec<u8>, text: &[u8], escape: bool) {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| self.encodes(*byte) || escape && is_escaped(*byte)) {
            out.extend_from_slice(&rest[..at]);
            let byte = rest[at];
            if self.encodes(byte) {
                out.push(b'#');
                number::push_hex(out, u64::from(byte), 2);
            } else {
                out.extend_from_slice(&[b'\\', byte]);
            }
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
    }

    fn encodes(self, byte: u8) -> bool {
        let also: &[u8] = match self {
            Self::Text => b"",
            Self::Uri => b"\"#",
            Self::Header => b"\"#{|}",
        };
        !(b' '..=b'~').contains(&byte) || also.contains(&byte)
    }
}

/// RFC 5424, 6.3.3.
fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b']')
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                number::push(out, u64::from(octet));
            }
        }
        IpAddr::V6(ip) => {
            use std::io::Write;
            // Writing to a vector cannot fail.
            let _ = write!(out, "{ip}");
        }
    }
}
