//! Runs one check against one server: connects, sends, reads and judges, step by step.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::channel::Channel;
use crate::connect::{ConnectError, ConnectOptions, Target, connect, error_text};
use crate::expect::{Verdict, describe, judge_bytes, judge_response};
use crate::h2::Http2;
use crate::http_response::{HttpResponse, Malformed};
use crate::prepared::{Action, Connect, Expect, Kind, PreparedCheck, Send, Step};
use crate::schedule::Timeouts;
use crate::status::{CheckStatus, Info, Outcome};
use sockeye_config::model::Proto;
use sockeye_conn::Socket;

/// Runs `check` once. Never fails and never lasts longer than `timeouts` allow: whatever happens is an outcome.
///
/// Dropping the future closes the connection.
pub async fn run(check: &PreparedCheck, target: &Target, timeouts: &Timeouts) -> Outcome {
    let started = Instant::now();
    let mut run = Run {
        check,
        target,
        timeouts,
        deadline: started + timeouts.connection(),
        channel: None,
        answer: Answer::Bytes(Vec::new()),
        code: None,
        must_read: true,
    };
    let (status, info) = match run.steps().await {
        Ok(status) => (status, Info::from(if check.kind == Kind::Tcp { "(tcp-check)" } else { "" })),
        Err(failure) => (failure.status, Info::new(&failure.detail)),
    };
    Outcome { status, code: run.code, duration: Some(started.elapsed()), info }
}

struct Run<'a> {
    check: &'a PreparedCheck,
    target: &'a Target,
    timeouts: &'a Timeouts,
    /// Of the current connection: first for its establishment, then for everything said over it.
    deadline: Instant,
    channel: Option<Channel>,
    answer: Answer,
    /// The status of the last HTTP response.
    code: Option<u16>,
    /// Nothing was read since we last spoke.
    must_read: bool,
}

/// What came back since the last request.
enum Answer {
    Bytes(Vec<u8>),
    Http(Box<HttpResponse>),
}

/// Why a step failed.
struct Failure {
    status: CheckStatus,
    detail: Vec<u8>,
}

/// How the reading of an answer ended.
#[derive(Debug)]
enum Ending {
    Closed,
    Error(io::Error),
    Malformed,
    /// No room for more.
    Full,
}

/// Bytes asked of the kernel at once.
const READ_BYTES: usize = 4096;

impl Run<'_> {
    /// The status of the check if every step passes.
    async fn steps(&mut self) -> Result<CheckStatus, Failure> {
        let mut status = CheckStatus::Layer4Ok;
        let steps = &self.check.steps;
        for (index, step) in steps.iter().enumerate() {
            status = match &step.action {
                Action::Connect(rule) => self.connect(step, rule, steps.get(index + 1)).await?,
                Action::Send(send) => self.send(step, send).await?,
                Action::Expect(expect) => self.expect(step, expect).await?,
            };
        }
        Ok(status)
    }

    async fn connect(
        &mut self,
        step: &Step,
        rule: &Connect,
        next: Option<&Step>,
    ) -> Result<CheckStatus, Failure> {
        // The last connection ends before the next begins.
        self.channel = None;
        self.start_answer(false);
        self.deadline = Instant::now() + self.timeouts.connection();
        let options = ConnectOptions {
            addr: rule.addr,
            port: rule.port,
            linger: rule.linger,
            proxy: rule.send_proxy || (rule.by_line && self.target.proxy.by_default),
            delay_ack: match next.map(|step| &step.action) {
                None => !rule.linger,
                Some(Action::Send(_)) => true,
                Some(Action::Connect(_) | Action::Expect(_)) => false,
            },
        };
        let opened = match timeout_at(self.deadline, connect(self.target, options)).await {
            Err(_) => Err((CheckStatus::Layer4Timeout, String::new())),
            Ok(Err(ConnectError::Refused(error))) => Err((CheckStatus::Layer4Connection, error_text(&error))),
            Ok(Err(ConnectError::Source(error))) => {
                let text = format!("Can't bind to source address ({})", error_text(&error));
                Err((CheckStatus::Layer4Connection, text))
            }
            Ok(Err(ConnectError::Local(error))) => {
                Err((CheckStatus::SocketError, format!("General socket error ({})", error_text(&error))))
            }
            Ok(Ok(socket)) => Ok(socket),
        };
        let socket = opened.map_err(|(status, text)| self.failure(step, status, text))?;
        let (socket, status) = self.secure(step, rule, socket).await?;
        self.channel = Some(self.speak(step, rule, socket).await?);
        if let Some(exchange) = self.timeouts.exchange() {
            self.deadline = Instant::now() + exchange.max(Duration::from_millis(1));
        }
        Ok(status)
    }

    /// The TLS handshake of a connection that goes through TLS; it must end before the connection's time does.
    async fn secure(
        &self,
        step: &Step,
        rule: &Connect,
        socket: Socket,
    ) -> Result<(Socket, CheckStatus), Failure> {
        let tls = self.target.tls.as_ref();
        let Some(tls) = tls.filter(|tls| tls.covers(rule)) else {
            return Ok((socket, CheckStatus::Layer4Ok));
        };
        let addr = self.target.ip(rule.addr);
        match timeout_at(self.deadline, tls.shake(socket, rule, addr)).await {
            Ok(Ok(socket)) => Ok((socket, CheckStatus::Layer6Ok)),
            Ok(Err(error)) => Err(self.failure(step, CheckStatus::Layer6Response, error.to_string())),
            Err(_) => Err(self.failure(step, CheckStatus::Layer6Timeout, String::new())),
        }
    }

    /// What the rest of the check is spoken in over `socket`: only HTTP has a choice.
    async fn speak(&self, step: &Step, rule: &Connect, socket: Socket) -> Result<Channel, Failure> {
        let agreed = socket.tls().and_then(|agreed| agreed.alpn.as_deref());
        let http2 = match rule.proto.or_else(|| self.target.proto.filter(|_| rule.by_line)) {
            Some(proto) => proto == Proto::H2,
            None => agreed == Some(b"h2"),
        };
        if self.check.kind != Kind::Http || !http2 {
            return Ok(Channel::Bytes(socket));
        }
        match timeout_at(self.deadline, Http2::start(socket, self.check.response_bytes_max)).await {
            Ok(Ok(http2)) => Ok(Channel::Http2(Box::new(http2))),
            Ok(Err(error)) => Err(self.failure(step, CheckStatus::SocketError, reported(&error))),
            Err(_) => Err(self.failure(step, CheckStatus::Layer7Timeout, String::new())),
        }
    }

    async fn send(&mut self, step: &Step, send: &Send) -> Result<CheckStatus, Failure> {
        self.start_answer(send.is_head);
        let Some(channel) = &mut self.channel else { return Err(self.unconnected(step)) };
        match timeout_at(self.deadline, channel.send(send)).await {
            Ok(Ok(())) => Ok(CheckStatus::Layer7Ok),
            Ok(Err(error)) => Err(self.failure(step, CheckStatus::SocketError, reported(&error))),
            Err(_) => Err(self.failure(step, CheckStatus::Layer7Timeout, String::new())),
        }
    }

    async fn expect(&mut self, step: &Step, expect: &Expect) -> Result<CheckStatus, Failure> {
        let mut ending = None;
        if self.must_read {
            ending = self.read(step, expect).await?;
        }
        loop {
            let verdict = match (&mut self.answer, &ending) {
                (Answer::Bytes(bytes), None) => {
                    judge_bytes(expect, step, bytes, bytes.len() >= self.check.response_bytes_max)
                }
                (Answer::Bytes(bytes), Some(Ending::Error(error))) if bytes.is_empty() => {
                    let text = reported(error);
                    return Err(self.failure(step, CheckStatus::SocketError, text));
                }
                (Answer::Bytes(bytes), Some(_)) => judge_bytes(expect, step, bytes, true),
                (Answer::Http(response), ending) => {
                    if let Some(ending) = ending
                        && response.end().is_err()
                    {
                        let text = cut_short(ending, response);
                        return Err(self.failure(step, CheckStatus::SocketError, text));
                    }
                    self.code = response.head().map(|head| head.status());
                    judge_response(expect, step, response)
                }
            };
            match verdict {
                Verdict::Pass => return Ok(expect.ok_status),
                Verdict::Fail(detail) => return Err(Failure { status: expect.error_status, detail }),
                Verdict::Wait => ending = self.read(step, expect).await?,
            }
        }
    }

    /// Reads once. `Some` when nothing more will come.
    async fn read(&mut self, step: &Step, expect: &Expect) -> Result<Option<Ending>, Failure> {
        self.must_read = false;
        let mut buffer = [0; READ_BYTES];
        let space = match &self.answer {
            Answer::Bytes(bytes) => {
                buffer.len().min(self.check.response_bytes_max.saturating_sub(bytes.len()))
            }
            Answer::Http(_) => buffer.len(),
        };
        if space == 0 {
            return Ok(Some(Ending::Full));
        }
        let Some(channel) = &mut self.channel else { return Err(self.unconnected(step)) };
        let received = match timeout_at(self.deadline, channel.read(&mut buffer[..space])).await {
            Err(_) => return Err(self.failure(step, expect.tout_status, String::new())),
            Ok(Err(error)) => return Ok(Some(Ending::Error(error))),
            Ok(Ok(0)) => return Ok(Some(Ending::Closed)),
            Ok(Ok(bytes)) => &buffer[..bytes],
        };
        Ok(match &mut self.answer {
            Answer::Bytes(bytes) => {
                bytes.extend_from_slice(received);
                None
            }
            Answer::Http(response) => response.push(received).err().map(|Malformed| Ending::Malformed),
        })
    }

    fn start_answer(&mut self, is_head: bool) {
        let bytes_max = self.check.response_bytes_max;
        self.answer = match self.check.kind {
            Kind::Http => Answer::Http(Box::new(HttpResponse::new(is_head, bytes_max))),
            Kind::Connect | Kind::Tcp | Kind::SslHello => Answer::Bytes(Vec::new()),
        };
        self.must_read = true;
    }

    /// A failure that is not about the content of an answer. Sequences of tcp-check say where they were.
    fn failure(&self, step: &Step, status: CheckStatus, text: String) -> Failure {
        let mut detail = text.into_bytes();
        if self.check.kind == Kind::Tcp {
            detail.extend_from_slice(&place(step));
        }
        Failure { status, detail }
    }

    /// Preparation puts a connection first, so this is not reached; an outcome is still better than a panic.
    fn unconnected(&self, step: &Step) -> Failure {
        self.failure(step, CheckStatus::SocketError, "not connected".to_owned())
    }
}

/// ` at step 3 of tcp-check (connect port 80) comment: 'x'`.
fn place(step: &Step) -> Vec<u8> {
    let Some(number) = step.number else { return b" at initial connection step of tcp-check".to_vec() };
    let mut text = format!(" at step {number} of tcp-check").into_bytes();
    match &step.action {
        Action::Connect(Connect { port: Some(port), .. }) => {
            text.extend_from_slice(format!(" (connect port {port})").as_bytes());
        }
        Action::Connect(_) => text.extend_from_slice(b" (connect)"),
        Action::Send(_) => text.extend_from_slice(b" (send)"),
        Action::Expect(expect) => text.extend_from_slice(&describe(expect)),
    }
    if let Some(comment) = &step.comment {
        text.extend_from_slice(format!(" comment: '{comment}'").as_bytes());
    }
    text
}

/// What is said of a response whose head never came whole.
fn cut_short(ending: &Ending, response: &HttpResponse) -> String {
    match ending {
        Ending::Error(error) if response.is_empty() => reported(error),
        Ending::Error(error) => error_text(error),
        Ending::Closed | Ending::Malformed | Ending::Full => String::new(),
    }
}

/// `ECONNRESET returned by OS (Connection reset by peer)`; nothing about errors that are not of the system's making.
fn reported(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else { return String::new() };
    let name = match error.kind() {
        io::ErrorKind::ConnectionReset => "ECONNRESET".to_owned(),
        io::ErrorKind::BrokenPipe => "EPIPE".to_owned(),
        io::ErrorKind::TimedOut => "ETIMEDOUT".to_owned(),
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH".to_owned(),
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH".to_owned(),
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED".to_owned(),
        _ => format!("errno {number}"),
    };
    format!("{name} returned by OS ({})", error_text(error))
}
