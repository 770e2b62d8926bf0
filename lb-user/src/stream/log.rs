//! What a stream's log line says, collected on the way and rendered at its end.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sockeye_config::model::{Level, LogFormats, Mode};
use sockeye_conn::{Carrier, Socket, clock};
use sockeye_http::{RequestHead, ResponseHead};
use sockeye_log::{Captures, Connections, Origin, Peer, Queues, Record, Request, Retries, Timers};
use sockeye_rules::LogLevel;
use sockeye_sample::format::{Flags, Marks, Writer};
use sockeye_sample::{Alias, Stage};
use tokio::time::Instant;

use super::abort::Ending;
use super::capture::Captured;
use super::retry::Attempts;
use super::rules::decided::Decided;
use super::rules::scene::View;
use crate::backend::tls::ServerTls;
use crate::backend::{Backend, Server};
use crate::frontend::session::Session;

/// The facts of one stream that its log line needs.
#[derive(Debug)]
pub struct Facts {
    /// Accept, or the end of the request before.
    pub idle_since: Instant,
    /// First byte of the request; accept for a TCP stream.
    pub started_at: Instant,
    /// The client has sent something, understood or not.
    pub received: bool,
    /// The request's head was valid, so that the line can show it.
    pub understood: bool,
    /// The request was complete as far as it has to be.
    pub received_at: Option<Instant>,
    /// The response's head was complete.
    pub response_at: Option<Instant>,
    /// When a `tarpit` rule took the request, and when it let it go: shown as the time in a queue.
    pub tarpitted_at: Option<Instant>,
    pub released_at: Option<Instant>,
    pub ended_at: Option<Instant>,
    /// Left when the stream is over, so that `%bc` counts the others.
    pub backend: Option<&'static Backend>,
    in_backend: bool,
    /// The server used or tried last.
    pub server: Option<usize>,
    pub status: Option<u16>,
    /// Bytes sent to the server and to the client.
    pub uploaded: u64,
    pub downloaded: u64,
    pub ending: Ending,
    /// Whether the line has been written (`option logasap`).
    pub logged: bool,
    /// The stream's number in the process.
    pub number: u64,
    /// What the frontend captures; `None` where it captures nothing.
    pub captured: Option<Box<Captured>>,
    /// TLS with the server.
    pub server_tls: Option<ServerTls>,
    /// The server's connection, if it has others' streams as well.
    pub server_carrier: Option<Rc<Carrier>>,
    /// Our and the server's end of the connection to it, where a line shows them.
    pub server_ends: Option<(SocketAddr, SocketAddr)>,
    pub unique_id: OnceCell<Box<[u8]>>,
    /// The unique id is being made: its own format may ask for it.
    making_id: Cell<bool>,
    /// The connection to the server had carried requests before.
    pub reused: bool,
}

impl Facts {
    pub fn new(session: &Session) -> Self {
        Self {
            idle_since: session.idle_since,
            started_at: session.idle_since,
            received: false,
            understood: false,
            received_at: None,
            response_at: None,
            tarpitted_at: None,
            released_at: None,
            ended_at: None,
            backend: None,
            in_backend: false,
            server: None,
            status: None,
            uploaded: 0,
            downloaded: 0,
            ending: Ending::default(),
            logged: false,
            number: 0,
            captured: None,
            server_tls: None,
            server_carrier: None,
            server_ends: None,
            unique_id: OnceCell::new(),
            making_id: Cell::new(false),
            reused: false,
        }
    }

    pub fn enter_backend(&mut self, backend: &'static Backend) {
        backend.streams.enter();
        backend.session_rate.count(clock::now().into_std());
        self.backend = Some(backend);
        self.in_backend = true;
    }

    /// The stream is over for the backend.
    pub fn leave_backend(&mut self) {
        if let Some(backend) = self.backend
            && std::mem::take(&mut self.in_backend)
        {
            backend.streams.leave();
        }
    }

    /// Keeps what the frontend captures of a request.
    pub fn capture_request(&mut self, session: &Session, head: &RequestHead) {
        self.captured = Captured::of_request(&session.frontend.cfg.captures, head);
    }

    /// Keeps what the frontend captures of a server's response.
    pub fn capture_response(&mut self, session: &Session, head: &ResponseHead) {
        if let Some(captured) = &mut self.captured {
            captured.add_response(&session.frontend.cfg.captures, head);
        }
    }

    /// Keeps the ends of the connection to the server, if a line shows them: asking costs two system calls.
    pub fn keep_server_ends(&mut self, session: &Session, socket: &Socket) {
        self.server_carrier = socket.carrier().cloned();
        self.server_tls = socket.tls().map(|agreed| ServerTls::new(Rc::clone(agreed)));
        if session.frontend.shown.server_ends {
            let socket = socket.as_fd();
            let source = rustix::net::getsockname(socket).ok().and_then(|end| SocketAddr::try_from(end).ok());
            let address = rustix::net::getpeername(socket).ok().flatten();
            let address = address.and_then(|end| SocketAddr::try_from(end).ok());
            self.server_ends = source.zip(address);
        }
    }

    pub fn use_server(&mut self, server: &Server) {
        server.streams.count();
        server.session_rate.count(clock::now().into_std());
        self.server = Some(server.id.index);
    }
}

/// What the lines of a frontend show that costs something to find out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    /// The address that the client connected to.
    pub destination: bool,
    /// Both ends of the connection to the server.
    pub server_ends: bool,
}

impl Shown {
    pub fn of(formats: &LogFormats) -> Self {
        let LogFormats { line, structured_data, error, unique_id } = formats;
        let formats = || [line, structured_data, error, unique_id].into_iter().flatten();
        let shows =
            |wanted: &[Alias]| formats().any(|format| format.aliases().any(|alias| wanted.contains(&alias)));
        let has_exprs = formats().any(|format| format.exprs().next().is_some());
        Self {
            // The default line shows it as well.
            destination: line.is_none() || shows(&[Alias::FrontendIp, Alias::FrontendPort]) || has_exprs,
            server_ends: has_exprs
                || shows(&[Alias::BackendIp, Alias::BackendPort, Alias::ServerIp, Alias::ServerPort]),
        }
    }
}

impl Drop for Facts {
    fn drop(&mut self) {
        self.leave_backend();
    }
}

/// The line of a frontend without a log format, when the stream begins.
pub fn connect(session: &Session) {
    let frontend = session.frontend;
    if frontend.cfg.log_formats.line.is_some() || !frontend.logger.wants(Level::Info) {
        return;
    }
    frontend.logger.emit(Level::Info, |out, _| {
        let destination = destination(session);
        sockeye_log::connect_line(
            frontend.name(),
            frontend.cfg.mode,
            Some(client(session)),
            destination,
            out,
        );
    });
}

/// The line of a stream. `request` is `None` in `mode tcp` and for a request that was not understood.
pub fn stream(
    session: &Session,
    facts: &Facts,
    attempts: &Attempts,
    request: Option<&RequestHead>,
    decided: &Decided,
) {
    messages(session, facts, attempts, (request, None), decided);
}

/// The same with the response, for expressions that look at it.
pub fn messages(
    session: &Session,
    facts: &Facts,
    attempts: &Attempts,
    messages: (Option<&RequestHead>, Option<&ResponseHead>),
    decided: &Decided,
) {
    write(session, facts, attempts, messages, decided, None);
}

/// A line before the stream is over (`do-log`).
pub fn now(
    session: &Session,
    facts: &Facts,
    attempts: &Attempts,
    messages: (Option<&RequestHead>, Option<&ResponseHead>),
    decided: &Decided,
    origin: Origin,
) {
    write(session, facts, attempts, messages, decided, Some(origin));
}

fn write(
    session: &Session,
    facts: &Facts,
    attempts: &Attempts,
    (request, response): (Option<&RequestHead>, Option<&ResponseHead>),
    decided: &Decided,
    origin: Option<Origin>,
) {
    let frontend = session.frontend;
    let Some(format) = &frontend.cfg.log_formats.line else { return };
    let options = &frontend.cfg.options;
    // The level is known only once the record is; nothing is made for a log that takes not even errors.
    if !frontend.logger.wants(Level::Err) && !frontend.logger.wants(Level::Info) {
        return;
    }
    if decided.log_level == Some(LogLevel::Silent) {
        return;
    }
    unique_id(session, facts, attempts, request, decided);
    let slots = Slots::of(facts);
    let mut record = record(session, facts, attempts, request, &slots);
    record.origin = origin.unwrap_or(record.origin);
    let received = facts.received || facts.uploaded > 0 || facts.downloaded > 0;
    let Some(level) = record.level(options, received) else { return };
    let level = match decided.log_level {
        Some(LogLevel::Severity(severity)) => Level::of_severity(severity),
        _ => level,
    };
    record.log_counter = frontend.log_lines.next();
    let formats = &frontend.cfg.log_formats;
    let view = View { session, facts, attempts, decided };
    let mut scene = view.scene(Stage::Log);
    scene.request = request;
    scene.response = response;
    frontend.logger.stream(level, formats.structured_data.as_deref(), format, &record, Some(&scene));
}

/// The line of a connection that failed before it had a stream (manual 8.2.5): the session's fault in the fixed form,
/// or `error-log-format`.
pub fn connection_error(session: &Session) {
    let frontend = session.frontend;
    let options = &frontend.cfg.options;
    let level = if options.log_separate_errors { Level::Err } else { Level::Info };
    if !frontend.logger.wants(level) || (options.dontlognull && session.fault.is_silence()) {
        return;
    }
    let formats = &frontend.cfg.log_formats;
    let Some(format) = &formats.error else {
        let number = session.listener_number().to_string();
        let name = session.listener.cfg.name.as_deref().unwrap_or(&number);
        let message = session.fault.message(session.tls.as_deref());
        let message = &*message;
        return frontend.logger.emit(level, |out, dates| {
            let client = Some(client(session));
            let accepted = session.accept_date;
            sockeye_log::connection_error_line(client, accepted, frontend.name(), name, message, dates, out);
        });
    };
    let facts = Facts::new(session);
    let (attempts, decided) = (Attempts::default(), Decided::default());
    let slots = Slots::default();
    let mut record = record(session, &facts, &attempts, None, &slots);
    record.origin = Origin::SessError;
    record.log_counter = frontend.log_lines.next();
    let view = View { session, facts: &facts, attempts: &attempts, decided: &decided };
    let scene = view.scene(Stage::Log);
    frontend.logger.stream(level, formats.structured_data.as_deref(), format, &record, Some(&scene));
}

/// The stream's unique id, made when it is first asked for; `None` without `unique-id-format`.
pub fn unique_id<'f>(
    session: &Session,
    facts: &'f Facts,
    attempts: &Attempts,
    request: Option<&RequestHead>,
    decided: &Decided,
) -> Option<&'f [u8]> {
    let format = session.frontend.cfg.log_formats.unique_id.as_ref()?;
    if facts.unique_id.get().is_none() {
        if facts.making_id.replace(true) {
            // An id in its own format is missing.
            return None;
        }
        let mut out = Vec::new();
        let slots = Slots::of(facts);
        let record = record(session, facts, attempts, request, &slots);
        let view = View { session, facts, attempts, decided };
        let mut scene = view.scene(Stage::FrontendRequestHeader);
        scene.request = request;
        session.frontend.logger.text(format, &record, Some(&scene), &mut out);
        facts.making_id.set(false);
        // Nobody else set it meanwhile: nothing here waits.
        let _ = facts.unique_id.set(valid_id(out).into());
    }
    facts.unique_id.get().map(|id| &**id)
}

/// An id goes into a header and into lines: what must not be there is written `%XX`, as in other formats of headers.
fn valid_id(mut text: Vec<u8>) -> Vec<u8> {
    if !sockeye_http::is_valid_value(&text) {
        let raw = std::mem::take(&mut text);
        Writer::new(Flags::default(), &mut text).marked(&[&raw], Marks::Http);
    }
    text
}

/// The captured headers as a record shows them.
#[derive(Default)]
pub struct Slots<'a> {
    request: Vec<Option<&'a [u8]>>,
    response: Vec<Option<&'a [u8]>>,
}

impl<'a> Slots<'a> {
    pub fn of(facts: &'a Facts) -> Self {
        let Some(captured) = &facts.captured else { return Self::default() };
        Self { request: captured.slots(true).collect(), response: captured.slots(false).collect() }
    }
}

pub fn record<'a>(
    session: &'a Session,
    facts: &'a Facts,
    attempts: &Attempts,
    request: Option<&'a RequestHead>,
    slots: &'a Slots<'a>,
) -> Record<'a> {
    let frontend = session.frontend;
    let mode = session.mode();
    let server = facts.backend.zip(facts.server).map(|(backend, index)| &backend.servers[index]);
    let mut record = Record::new(mode, frontend.name(), session.accept_date);
    record.client = Some(client(session));
    record.tls = session.tls.as_ref().map(|tls| tls.facts().into());
    record.destination = destination(session);
    record.backend = match facts.backend {
        Some(backend) => backend.name(),
        None => frontend.name(),
    };
    record.server = server.map(|server| server.name());
    record.request_date = request_date(session, facts);
    record.timers = timers(session, facts, attempts, mode);
    record.status = facts.status;
    record.bytes_read = facts.downloaded;
    record.bytes_uploaded = facts.uploaded;
    let code = facts.ending.code();
    record.termination = [code[0], code[1], b'-', b'-'];
    record.connections = Connections {
        process: frontend.process.connections.now(),
        frontend: frontend.limit.connections.now(),
        backend: facts.backend.map_or(0, |backend| backend.streams.now()),
        server: server.map_or(0, |server| server.served.now()),
    };
    record.retries = Retries { count: attempts.retries, redispatched: attempts.redispatched };
    record.queues = Queues { server: attempts.server_queue, backend: attempts.backend_queue };
    record.request = request.map(|head| log_request(head, frontend.tune.http_logurilen));
    record.captures = Captures {
        request_cookie: facts.captured.as_ref().and_then(|captured| captured.cookie(true)),
        response_cookie: facts.captured.as_ref().and_then(|captured| captured.cookie(false)),
        request_headers: &slots.request,
        response_headers: &slots.response,
    };
    record.server_source = facts.server_ends.map(|(source, _)| source);
    record.server_address = facts.server_ends.map(|(_, address)| Peer::Inet(address));
    record.unique_id = facts.unique_id.get().map(|id| &**id);
    record.request_counter = facts.number;
    record.asap = frontend.cfg.options.logasap;
    record.origin = match mode {
        Mode::Http if request.is_none() => Origin::SessError,
        Mode::Http if record.asap && facts.ended_at.is_none() => Origin::TxnResponse,
        Mode::Tcp if record.asap && facts.ended_at.is_none() => Origin::TxnConnect,
        Mode::Http | Mode::Tcp | Mode::Packet => Origin::TxnClose,
    };
    record
}

fn log_request(head: &RequestHead, limit: usize) -> Request<'_> {
    let line = head.request_line();
    let mut words = line.splitn(2, |byte| *byte == b' ');
    let method = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or_default();
    let (target, version) = match rest.iter().rposition(|byte| *byte == b' ') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[][..]),
    };
    Request { method, target, version, limit }
}

fn timers(session: &Session, facts: &Facts, attempts: &Attempts, mode: Mode) -> Timers {
    let end = facts.ended_at.unwrap_or_else(clock::now);
    let from = |start: Option<Instant>, end: Option<Instant>| Some(milliseconds(end?.duration_since(start?)));
    let begun = match mode {
        Mode::Tcp | Mode::Packet => Some(session.accepted_at),
        Mode::Http => facts.received_at,
    };
    Timers {
        handshake: milliseconds(session.handshake),
        idle: (mode == Mode::Http).then(|| milliseconds(facts.started_at.duration_since(facts.idle_since))),
        request: from(Some(facts.started_at), facts.received_at),
        queue: from(begun.or(facts.tarpitted_at), attempts.placed_at.or(facts.released_at)),
        connect: from(attempts.placed_at, attempts.connected_at),
        response: from(attempts.connected_at, facts.response_at),
        total: milliseconds(end.duration_since(facts.idle_since) + session.handshake),
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Accept plus the time until the first byte of this request.
pub fn request_date(session: &Session, facts: &Facts) -> SystemTime {
    session.accept_date + facts.started_at.duration_since(session.accepted_at)
}

fn client(session: &Session) -> Peer {
    peer(session, session.peer)
}

fn destination(session: &Session) -> Option<Peer> {
    // Asking the kernel costs a system call.
    (session.frontend.shown.destination)
        .then(|| session.destination().map_or(Peer::Unix { id: session.listener.number }, Peer::Inet))
}

fn peer(session: &Session, peer: sockeye_conn::Peer) -> Peer {
    match peer {
        sockeye_conn::Peer::Inet(addr) => Peer::Inet(addr),
        sockeye_conn::Peer::Unix => Peer::Unix { id: session.listener.number },
    }
}
