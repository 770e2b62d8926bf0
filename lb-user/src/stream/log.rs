//! What a stream's log line says, collected on the way and rendered at its end.

use std::time::{Duration, SystemTime};

use sockeye_config::model::{Level, Mode};
use sockeye_conn::clock;
use sockeye_http::RequestHead;
use sockeye_log::{Connections, Peer, Queues, Record, Request, Retries, Timers};
use tokio::time::Instant;

use super::abort::Ending;
use super::retry::Attempts;
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
            ended_at: None,
            backend: None,
            in_backend: false,
            server: None,
            status: None,
            uploaded: 0,
            downloaded: 0,
            ending: Ending::default(),
            logged: false,
        }
    }

    pub fn enter_backend(&mut self, backend: &'static Backend) {
        backend.streams.enter();
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

    pub fn use_server(&mut self, server: &Server) {
        server.streams.count();
        self.server = Some(server.id.index);
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
pub fn stream(session: &Session, facts: &Facts, attempts: &Attempts, request: Option<&RequestHead>) {
    let frontend = session.frontend;
    let Some(format) = &frontend.cfg.log_formats.line else { return };
    let options = &frontend.cfg.options;
    // The level is known only once the record is; nothing is made for a log that takes not even errors.
    if !frontend.logger.wants(Level::Err) && !frontend.logger.wants(Level::Info) {
        return;
    }
    let record = record(session, facts, attempts, request);
    let received = facts.received || facts.uploaded > 0 || facts.downloaded > 0;
    let Some(level) = record.level(options, received) else { return };
    frontend.logger.stream(level, format, &record, None);
}

fn record<'a>(
    session: &'a Session,
    facts: &Facts,
    attempts: &Attempts,
    request: Option<&'a RequestHead>,
) -> Record<'a> {
    let frontend = session.frontend;
    let mode = frontend.cfg.mode;
    let server = facts.backend.zip(facts.server).map(|(backend, index)| &backend.servers[index]);
    let mut record = Record::new(mode, frontend.name(), session.accept_date);
    record.client = Some(client(session));
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
    record.asap = frontend.cfg.options.logasap;
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
        Mode::Tcp => Some(session.accepted_at),
        Mode::Http => facts.received_at,
    };
    Timers {
        handshake: 0,
        idle: (mode == Mode::Http).then(|| milliseconds(facts.started_at.duration_since(facts.idle_since))),
        request: from(Some(facts.started_at), facts.received_at),
        queue: from(begun, attempts.placed_at),
        connect: from(attempts.placed_at, attempts.connected_at),
        response: from(attempts.connected_at, facts.response_at),
        total: milliseconds(end.duration_since(facts.idle_since)),
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Accept plus the time until the first byte of this request.
fn request_date(session: &Session, facts: &Facts) -> SystemTime {
    session.accept_date + facts.started_at.duration_since(session.accepted_at)
}

fn client(session: &Session) -> Peer {
    peer(session, session.peer)
}

fn destination(session: &Session) -> Option<Peer> {
    // Only the default line and formats of one's own show it; asking the kernel costs a system call.
    (session.frontend.cfg.log_formats.line.is_none())
        .then(|| session.destination().map_or(Peer::Unix { id: session.listener.number }, Peer::Inet))
}

fn peer(session: &Session, peer: sockeye_conn::Peer) -> Peer {
    match peer {
        sockeye_conn::Peer::Inet(addr) => Peer::Inet(addr),
        sockeye_conn::Peer::Unix => Peer::Unix { id: session.listener.number },
    }
}
