//! What each alias writes, and the two lines that have no format.

use std::time::SystemTime;

use sockeye_config::model::Mode;
use sockeye_sample::Purpose;
use sockeye_sample::format::{Alias, Flags, Marks, Writer, number, push_ip};

use crate::date::{self, Dates};
use crate::logger::Process;
use crate::record::{Peer, Record, Request};

/// Writes what an alias stands for in the line of `record`.
pub fn write_alias(
    alias: Alias,
    flags: Flags,
    record: &Record<'_>,
    process: &Process,
    dates: &mut Dates,
    out: &mut Vec<u8>,
) {
    let mut writer = Writer::new(flags, out);
    let w = &mut writer;
    match alias {
        Alias::AcceptDateUtc => dated(w, |out| dates.push_clf_utc(out, record.accept_date)),
        Alias::AcceptDateLocal => dated(w, |out| dates.push_clf_local(out, record.accept_date)),
        Alias::AcceptDate => dated(w, |out| dates.push_clf_ms(out, record.accept_date)),
        Alias::RequestDate => dated(w, |out| dates.push_clf_ms(out, record.request_date)),
        Alias::RequestDateUtc => dated(w, |out| dates.push_clf_utc(out, record.request_date)),
        Alias::RequestDateLocal => dated(w, |out| dates.push_clf_local(out, record.request_date)),
        Alias::AcceptTimestamp => w.wide(date::split(record.accept_date).0.unsigned_abs(), 1, 4),
        Alias::AcceptMilliseconds => w.wide(u64::from(date::split(record.accept_date).1 / 1000), 3, 2),

        Alias::TimeActive => w.growing(record.timers.active().into(), record.asap),
        Alias::TimeTotal => w.growing(record.timers.total.into(), record.asap),
        Alias::TimeUser => w.growing(record.timers.user().into(), record.asap),
        Alias::TimeHandshake => w.number(record.timers.handshake.into()),
        Alias::TimeIdle => timer(w, record.timers.idle),
        Alias::TimeRequest => timer(w, record.timers.request),
        Alias::TimeRequestFromAccept => timer(w, record.timers.until_request()),
        Alias::TimeQueue => timer(w, record.timers.queue),
        Alias::TimeConnect => timer(w, record.timers.connect),
        Alias::TimeResponse => timer(w, record.timers.response),
        Alias::TimeData => timer(w, record.timers.data(record.mode)),

        Alias::BytesRead => w.growing(bytes(record.bytes_read), record.asap),
        Alias::BytesUploaded => w.number(bytes(record.bytes_uploaded)),
        Alias::Status => w.number(record.status.map_or(-1, i64::from)),
        Alias::Termination => w.unquoted(&record.termination[..2]),
        Alias::TerminationCookie => w.unquoted(&record.termination),

        Alias::ClientIp => ip(w, record.client),
        Alias::ClientPort => port(w, record.client),
        Alias::FrontendIp => ip(w, record.destination),
        Alias::FrontendPort => port(w, record.destination),
        Alias::BackendIp => ip(w, record.server_source.map(Peer::Inet)),
        Alias::BackendPort => port(w, record.server_source.map(Peer::Inet)),
        Alias::ServerIp => ip(w, record.server_address),
        Alias::ServerPort => port(w, record.server_address),

        Alias::FrontendName => w.text(record.frontend.as_bytes()),
        Alias::FrontendNameTransport => {
            let tls = if record.tls.is_some() { "~" } else { "" };
            w.marked(&[record.frontend.as_bytes(), tls.as_bytes()], Marks::Unprintable);
        }
        Alias::BackendName => w.text(record.backend.as_bytes()),
        Alias::ServerName => w.text(record.server.unwrap_or("<NOSRV>").as_bytes()),
        Alias::Hostname => w.text(process.hostname.as_bytes()),
        Alias::Pid => w.wide(process.pid.into(), 1, 4),
        Alias::LogOrigin => w.text(record.origin.name().as_bytes()),
        Alias::UniqueId => printable(w, record.unique_id),
        Alias::TlsVersion => w.text(record.tls.map_or("", |tls| tls.version).as_bytes()),
        Alias::TlsCipher => w.text(record.tls.map_or("", |tls| tls.cipher).as_bytes()),

        Alias::ActConn => w.number(record.connections.process.into()),
        Alias::FeConn => w.number(record.connections.frontend.into()),
        Alias::BeConn => w.number(record.connections.backend.into()),
        Alias::SrvConn => w.number(record.connections.server.into()),
        Alias::RetryCount => w.growing(record.retries.count.into(), record.retries.redispatched),
        Alias::SrvQueue => w.number(record.queues.server.into()),
        Alias::BackendQueue => w.number(record.queues.backend.into()),
        Alias::LogCounter => w.wide(record.log_counter, 1, 4),
        Alias::RequestCounter => w.wide(record.request_counter, 1, 4),

        Alias::CookieRequest => printable(w, record.captures.request_cookie),
        Alias::CookieResponse => printable(w, record.captures.response_cookie),
        Alias::RequestHeaders => w.braced(record.captures.request_headers),
        Alias::ResponseHeaders => w.braced(record.captures.response_headers),
        Alias::RequestHeadersList => w.list(record.captures.request_headers),
        Alias::ResponseHeadersList => w.list(record.captures.response_headers),

        Alias::RequestLine => request_line(w, record.request),
        Alias::Method => request_part(w, record.request, |request| request.method),
        Alias::Uri => request_part(w, record.request, |request| request.split_query().0),
        Alias::Path => request_part(w, record.request, |request| request.path()),
        Alias::Query => request_part(w, record.request, |request| request.split_query().1),
        Alias::Target => request_part(w, record.request, |request| request.target()),
        Alias::Version => request_part(w, record.request, |request| request.version),
    }
}

/// Dates are plain text, which is never missing.
fn dated(w: &mut Writer<'_>, push: impl FnOnce(&mut Vec<u8>)) {
    if w.flags().encoding.is_none() {
        return push(w.out());
    }
    let mut text = Vec::with_capacity(32);
    push(&mut text);
    w.text(&text);
}

/// What a client may have sent: a line of the log shows none of it that is not printable.
fn printable(w: &mut Writer<'_>, text: Option<&[u8]>) {
    let text = text.unwrap_or_default();
    if text.is_empty() || w.flags().encoding.is_some() || w.flags().purpose != Purpose::Log {
        w.text(text);
    } else {
        w.marked(&[text], Marks::Unprintable);
    }
}

fn timer(w: &mut Writer<'_>, milliseconds: Option<u32>) {
    w.number(milliseconds.map_or(-1, i64::from));
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn ip(w: &mut Writer<'_>, peer: Option<Peer>) {
    match peer {
        None => w.missing(),
        Some(Peer::Unix { .. }) => w.text(b"unix"),
        Some(Peer::Inet(address)) => w.ip(address.ip()),
    }
}

fn port(w: &mut Writer<'_>, peer: Option<Peer>) {
    match peer {
        None => w.missing(),
        Some(Peer::Unix { id }) => w.wide(id.into(), 1, 4),
        Some(Peer::Inet(address)) => w.wide(address.port().into(), 1, 4),
    }
}

fn request_line(w: &mut Writer<'_>, request: Option<Request<'_>>) {
    let Some(request) = request else { return w.text(BAD_REQUEST) };
    let mut left = request.limit;
    let parts = [request.method, b" ", request.target, b" ", request.version].map(|part| {
        let kept = part.len().min(left);
        left -= kept;
        &part[..kept]
    });
    if w.flags().encoding.is_some() {
        // One chunk of an encoded text.
        return w.marked(&[&parts.concat()], Marks::Uri);
    }
    w.marked(&parts, Marks::Uri);
}

fn request_part<'r>(
    w: &mut Writer<'_>,
    request: Option<Request<'r>>,
    part: impl FnOnce(&Request<'r>) -> &'r [u8],
) {
    match request {
        Some(request) => w.marked(&[part(&request)], Marks::Uri),
        None => w.text(BAD_REQUEST),
    }
}

/// What stands for a request that could not be understood.
const BAD_REQUEST: &[u8] = b"<BADREQ>";

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
    push_name(out, frontend);
    out.extend_from_slice(match mode {
        Mode::Http => b"/HTTP)",
        Mode::Tcp | Mode::Packet => b"/TCP)",
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
    push_name(out, frontend);
    out.push(b'/');
    push_name(out, listener);
    out.extend_from_slice(b": ");
    push_name(out, message);
}

/// A name or message, with what is not printable marked.
fn push_name(out: &mut Vec<u8>, name: &str) {
    Writer::new(Flags::default(), out).marked(&[name.as_bytes()], Marks::Unprintable);
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
            push_ip(out, address.ip(), false);
            out.push(b':');
            number::push(out, u64::from(address.port()));
        }
    }
}
