//! The stages of `mode http`, in the order they run, for each request of a client connection.

use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use sockeye_config::model::{ConnectionMode, HttpReuse, Tune};
use sockeye_conn::{Buffer, Timer, clock};
use sockeye_health::Observed;
use sockeye_http::h1::{self, ConnectionHeader, EncodeOptions, Limits, ParseError, Strictness};
use sockeye_http::{BodyLength, Method, Version};
use tokio::time::Instant;

use super::abort::{Cause, Ending, Stage};
use super::duplex::{self, DuplexTimeouts};
use super::heads::Heads;
use super::log::{self, Facts};
use super::retry::{self, AtOnce, Attempts, Reached, Want};
use super::{balance_key, forwarding};
use crate::backend::assign::Wish;
use crate::backend::pool::{self, Idle};
use crate::backend::{Backend, Server};
use crate::frontend::Frontend;
use crate::frontend::session::Session;
use crate::frontend::worker::{self, Control};
use crate::mux::Rules;
use crate::mux::exchange::{Exchange, Failure};
use crate::mux::outgoing::{MoveError, Outgoing, is_whole};
use crate::services::replies::{self, Reply};
use crate::stats::{Invalid, PROCESS};

/// What becomes of the client connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    KeepAlive,
    Close,
    /// Close without losing the reply to bytes that the client still sends.
    Linger,
}

/// Serves the requests of one client connection, one after the other.
pub async fn serve(session: &mut Session, control: &Control) {
    let mut input = Buffer::none();
    let mut timer = Timer::new();
    loop {
        match wait(session, control, &mut timer, &input).await {
            Waited::Bytes => {}
            Waited::Over => return,
            Waited::Late if session.requests == 0 => {
                Box::pin(silent_timeout(session)).await;
                return;
            }
            Waited::Late => return,
        }
        session.requests += 1;
        // A request's state is a few KiB: it is allocated while there is a request, so that an idle connection
        // does not own it.
        let next = Box::pin(Transaction::run(session, control, &mut timer, &mut input)).await;
        match next {
            // An idle connection owns no buffer.
            Next::KeepAlive if input.is_empty() => input = Buffer::none(),
            Next::KeepAlive => {}
            Next::Close => return,
            Next::Linger => {
                Box::pin(linger(session)).await;
                return;
            }
        }
    }
}

/// How waiting for a request ended.
enum Waited {
    Bytes,
    /// The client left, or the proxy stops.
    Over,
    Late,
}

/// Waits for the first byte of a request, owning no buffer.
async fn wait(session: &Session, control: &Control, timer: &mut Timer, input: &Buffer) -> Waited {
    if !input.is_empty() {
        return Waited::Bytes;
    }
    let cfg = session.frontend.cfg;
    let first = session.requests == 0;
    let limit = if first {
        cfg.timeout_http_request.or(cfg.timeout_client)
    } else {
        cfg.timeout_http_keep_alive.or(cfg.timeout_http_request).or(cfg.timeout_client)
    };
    timer.set(limit.and_then(|limit| clock::now().checked_add(limit)));
    std::future::poll_fn(|cx| {
        if control.is_killed() {
            return Poll::Ready(Waited::Over);
        }
        if session.client.poll_read_ready(cx).is_ready() {
            return Poll::Ready(Waited::Bytes);
        }
        if !first && let Some(until) = worker::idle_until() {
            if until <= clock::now() {
                return Poll::Ready(Waited::Over);
            }
            if timer.deadline().is_none_or(|deadline| until < deadline) {
                timer.set(Some(until));
            }
        }
        timer.poll_expired(cx).map(|()| Waited::Late)
    })
    .await
}

/// A client that connected and sent nothing in time.
async fn silent_timeout(session: &mut Session) {
    let cfg = session.frontend.cfg;
    let mut facts = Facts::new(session);
    facts.ending = Ending::new(Cause::ClientTimeout, Stage::Request);
    if !cfg.options.http_ignore_probes {
        facts.status = Some(408);
        let reply = replies::raw(408, &cfg.errorfiles);
        send_raw(session, &reply).await;
    }
    if !(cfg.options.dontlognull || cfg.options.http_ignore_probes) {
        log::stream(session, &facts, &Attempts::default(), None);
    }
}

/// One request: its state while it passes through the stages.
struct Transaction<'a> {
    session: &'a mut Session,
    control: &'a Control,
    timer: &'a mut Timer,
    input: &'a mut Buffer,
    heads: Heads,
    facts: Facts,
    attempts: Attempts,
}

/// Why a stage answers instead of going on.
struct Refusal {
    ending: Ending,
    status: u16,
    /// Whether the message was not understood, so that nothing after it can be.
    invalid: bool,
    /// Close without a word: nobody is there to answer, or silence says more.
    silent: bool,
}

impl Refusal {
    fn new(cause: Cause, stage: Stage, status: u16) -> Self {
        Self { ending: Ending::new(cause, stage), status, invalid: false, silent: false }
    }

    fn invalid(cause: Cause, status: u16) -> Self {
        Self { ending: Ending::new(cause, Stage::Request), status, invalid: true, silent: false }
    }
}

/// How the head of the request came in.
enum Head {
    Complete,
    /// The client closed before its first byte.
    Nothing,
}

impl<'a> Transaction<'a> {
    async fn run(
        session: &'a mut Session,
        control: &'a Control,
        timer: &'a mut Timer,
        input: &'a mut Buffer,
    ) -> Next {
        let mut facts = Facts::new(session);
        facts.started_at = clock::now();
        let heads = Heads::take();
        let mut transaction =
            Self { session, control, timer, input, heads, facts, attempts: Attempts::default() };
        match transaction.read_head().await {
            Ok(Head::Complete) => {}
            Ok(Head::Nothing) => return Box::pin(transaction.nothing()).await,
            Err(refusal) => return Box::pin(transaction.refuse(refusal)).await,
        }
        PROCESS.streams.count();
        log::connect(transaction.session);
        transaction.facts.understood = true;
        transaction.facts.received_at = Some(clock::now());
        if let Some(reply) = transaction.monitor() {
            let whole = transaction.heads.request.body.is_empty();
            // The monitor asks every second or so; HAProxy does not log it either.
            transaction.facts.logged = true;
            return Box::pin(transaction.answer(reply, whole)).await;
        }
        match transaction.forward().await {
            Ok(next) => next,
            Err(refusal) => Box::pin(transaction.refuse(refusal)).await,
        }
    }

    /// Reads until the request's head is complete and valid.
    async fn read_head(&mut self) -> Result<Head, Refusal> {
        let cfg = self.session.frontend.cfg;
        let rules = request_rules(self.session.frontend);
        let limit = cfg.timeout_http_request.or(cfg.timeout_client);
        // `timeout http-request` counts from the first byte of a request, or from accept for the first one.
        let from = if self.session.requests == 1 { self.session.accepted_at } else { self.facts.started_at };
        self.timer.set(limit.and_then(|limit| from.checked_add(limit)));
        loop {
            if !self.input.is_empty() {
                match h1::parse_request(
                    self.input.filled(),
                    &mut self.heads.request,
                    &rules.limits,
                    rules.strictness,
                ) {
                    Ok(Some(used)) => {
                        self.input.consume(used);
                        return Ok(Head::Complete);
                    }
                    Ok(None) if self.input.is_full() => return Err(Refusal::invalid(Cause::Proxy, 400)),
                    Ok(None) => {}
                    Err(error) => {
                        self.keep_invalid_request(&error);
                        return Err(Refusal::invalid(Cause::Proxy, error.status()));
                    }
                }
            }
            match self.read_more().await {
                Read::Some => {}
                Read::End if self.input.is_empty() => return Ok(Head::Nothing),
                Read::End | Read::Failed => return Err(Refusal::invalid(Cause::Client, 400)),
                Read::Late => return Err(Refusal::invalid(Cause::ClientTimeout, 408)),
                Read::Killed => return Err(Refusal::invalid(self.control.cause(), 500)),
            }
        }
    }

    fn keep_invalid_request(&self, error: &ParseError) {
        self.session.frontend.last_invalid.keep(Invalid {
            when: SystemTime::now(),
            client: self.session.peer,
            other: None,
            server: None,
            bytes: self.input.filled().to_vec(),
            position: error.position,
            reason: error.to_string(),
        });
    }

    fn keep_invalid_response(&self, backend: &Backend, server: &Server, error: &ParseError, bytes: &[u8]) {
        backend.last_invalid.keep(Invalid {
            when: SystemTime::now(),
            client: self.session.peer,
            other: Some(self.session.frontend.name()),
            server: Some(server.name()),
            bytes: bytes.to_vec(),
            position: error.position,
            reason: error.to_string(),
        });
    }

    /// Reads once into the input buffer, within the timer.
    async fn read_more(&mut self) -> Read {
        if self.input.capacity() == 0 {
            *self.input = Buffer::take();
        }
        std::future::poll_fn(|cx| {
            if self.control.is_killed() {
                return Poll::Ready(Read::Killed);
            }
            match self.session.client.poll_read(cx, self.input.space()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Read::End),
                Poll::Ready(Ok(n)) => {
                    self.input.advance(n);
                    return Poll::Ready(Read::Some);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Read::Failed),
                Poll::Pending => {}
            }
            self.timer.poll_expired(cx).map(|()| Read::Late)
        })
        .await
    }

    /// The client closed where a request could have begun.
    async fn nothing(mut self) -> Next {
        let options = &self.session.frontend.cfg.options;
        if self.session.requests == 1 && !options.dontlognull && !options.http_ignore_probes {
            self.facts.ending = Ending::new(Cause::Client, Stage::Request);
            self.facts.status = Some(400);
            self.log();
        }
        Next::Close
    }

    /// `monitor-uri`: answered here, for load balancers in front of us.
    fn monitor(&self) -> Option<Reply> {
        let uri = self.session.frontend.cfg.monitor_uri.as_ref()?;
        (self.heads.request.target() == uri.as_bytes()).then(replies::monitor)
    }

    /// Sends the request to a server and its response back.
    async fn forward(&mut self) -> Result<Next, Refusal> {
        let Some(backend) = self.session.frontend.backend else {
            // HAProxy counts the time of a request from when it has a backend.
            self.facts.received_at = None;
            return Err(Refusal::new(Cause::Server, Stage::Connect, 503));
        };
        if self.session.frontend.cfg.options.http_buffer_request {
            Box::pin(self.buffer_body()).await?;
        }
        self.facts.enter_backend(backend);
        if backend.cfg.options.http_buffer_request {
            Box::pin(self.buffer_body()).await?;
        }
        forwarding::add_headers(self.session, backend, &mut self.heads.request);
        let mode = self.session.frontend.cfg.options.connection.max(backend.cfg.options.connection);
        let mut request = self.encode_request(backend, mode)?;
        let retained = request.retain();
        let mut server_input = Buffer::none();
        loop {
            let mut reached = self.reach(backend).await?;
            reached.uses += 1;
            self.control.server.set(Some(reached.slot.server().id));
            self.facts.use_server(reached.slot.server());
            let mut exchange = Exchange::new(
                (&mut self.session.client, self.input),
                (&mut reached.socket, &mut server_input),
                self.timer,
                self.control,
                (self.session.frontend.cfg.timeout_client, backend.cfg.timeout_server),
                request,
            );
            let rules = response_rules(backend);
            let facts = self.heads.request.facts();
            let mut interim = 0;
            let head = loop {
                let head = exchange.response_head(&mut self.heads.response, facts, rules).await;
                if head.is_err() || !self.heads.response.interim {
                    break head;
                }
                interim += 1;
                if interim > INTERIM_MAX {
                    break Err(Failure::TooManyInterim);
                }
                if facts.version < Version::Http11 {
                    continue;
                }
                let mut out = Vec::new();
                h1::encode_response(&self.heads.response, &mut out, EncodeOptions::default());
                exchange.response = Some(Outgoing::of_bytes(out));
                if let Err(failure) = exchange.finish_response().await {
                    break Err(failure);
                }
                exchange.response = None;
            };
            let request_done = exchange.request_done;
            let received = exchange.received;
            request = exchange.request;
            let verdict = match &head {
                Ok(()) => backend.cfg.retry_on.statuses.contains(&self.heads.response.status()),
                Err(failure) => self.may_retry(backend, failure, received, &reached),
            };
            if verdict && retained && self.may_try_again(backend, &head, received, &reached) {
                request.rewind();
                server_input.clear();
                drop(reached);
                continue;
            }
            self.facts.uploaded = request.moved();
            if let Err(failure) = head {
                if let Failure::InvalidResponse(error) = &failure {
                    let server = reached.slot.server();
                    self.keep_invalid_response(backend, server, error, server_input.filled());
                }
                return self.no_response(failure, received, &reached);
            }
            self.facts.response_at = Some(clock::now());
            let request = Sent { request, done: request_done };
            return Ok(self.respond(backend, reached, server_input, request, mode).await);
        }
    }

    /// Whether a failure before the response is one that may be repeated.
    fn may_retry(&self, backend: &Backend, failure: &Failure, received: u64, reached: &Reached) -> bool {
        let on = &backend.cfg.retry_on;
        match failure {
            Failure::Server(_) if received == 0 => {
                // A pooled connection may have been closed by the server while the request was on its way.
                let raced = reached.uses > 1 && self.heads.request.method().is_idempotent();
                raced || on.empty_response
            }
            Failure::Server(_)
            | Failure::InvalidResponse(_)
            | Failure::ResponseTooLarge
            | Failure::TooManyInterim => on.junk_response,
            Failure::ServerTimeout => on.response_timeout,
            Failure::Client(_) | Failure::ClientTimeout | Failure::Killed => false,
        }
    }

    /// Spends an attempt. A pooled connection that died under the request costs none.
    fn may_try_again(
        &mut self,
        backend: &Backend,
        head: &Result<(), Failure>,
        received: u64,
        reached: &Reached,
    ) -> bool {
        if matches!(head, Err(Failure::Server(_))) && received == 0 && reached.uses > 1 {
            pool::clear(Some(reached.slot.server().id));
            return true;
        }
        if !self.attempts.left(backend) {
            return false;
        }
        self.attempts.failed(backend, reached.slot.index());
        true
    }

    async fn reach(&mut self, backend: &'static Backend) -> Result<Reached, Refusal> {
        let key = balance_key::http(&backend.cfg.balance, &self.session.peer, &self.heads.request);
        let last = if backend.cfg.options.prefer_last_server {
            self.session.last_server.filter(|id| id.backend == backend.id).map(|id| id.index)
        } else {
            None
        };
        let private =
            self.session.private.as_ref().filter(|(id, idle)| idle.private && id.backend == backend.id);
        let last = private.map(|(id, _)| id.index).or(last);
        let wish = Wish { key: key.as_deref(), last, avoid: None };
        let reuse = self.heads.request.upgrade || self.heads.request.method() == Method::Connect;
        let reuse = (!reuse).then_some(self.session.requests == 1);
        let want = Want { wish, reuse };
        let slot = match retry::reach_at_once(self.session, backend, want, &mut self.attempts) {
            AtOnce::Reached(reached) => return Ok(reached),
            AtOnce::Placed(slot) => Some(slot),
            AtOnce::Nothing => None,
        };
        // Boxed, like every stage that most requests do not have, to keep the state of the others small.
        let reached = Box::pin(retry::reach(self.session, backend, want, &mut self.attempts, slot)).await;
        reached.map_err(|unreached| {
            self.facts.server = unreached.server;
            let silent = unreached.ending.cause == Cause::Client;
            Refusal { ending: unreached.ending, status: unreached.status, invalid: false, silent }
        })
    }

    fn encode_request(&mut self, backend: &Backend, mode: ConnectionMode) -> Result<Outgoing, Refusal> {
        let closes = mode != ConnectionMode::KeepAlive && !backend.cfg.options.http_pretend_keepalive;
        let connection = if self.heads.request.upgrade {
            ConnectionHeader::Upgrade
        } else if closes {
            ConnectionHeader::Close
        } else if self.heads.request.version() < Version::Http11 {
            // An old client's request goes on as such, and then keeping the connection must be asked for.
            ConnectionHeader::KeepAlive
        } else {
            ConnectionHeader::None
        };
        let mut out = self.heads.take_request_bytes();
        h1::encode_request(&self.heads.request, &mut out, EncodeOptions { connection });
        let policy = &self.session.frontend.relay.request;
        Outgoing::new(
            out,
            self.heads.request.body,
            true,
            self.input,
            policy,
            request_rules(self.session.frontend),
        )
        .map_err(|_| Refusal::invalid(Cause::Proxy, 400))
    }

    /// `option http-buffer-request`: waits for the whole body, or as much of it as a buffer holds.
    async fn buffer_body(&mut self) -> Result<(), Refusal> {
        if self.heads.request.body.is_empty() {
            return Ok(());
        }
        if self.heads.request.expect_continue {
            send_raw(self.session, b"HTTP/1.1 100 Continue\r\n\r\n").await;
            self.heads.request.headers_mut().remove(b"expect");
            self.heads.request.expect_continue = false;
        }
        let rules = request_rules(self.session.frontend);
        let received_at = self.facts.received_at.take();
        while !self.input.is_full() && !is_whole(self.heads.request.body, self.input.filled(), rules) {
            match self.read_more().await {
                Read::Some => {}
                Read::End | Read::Failed => return Err(Refusal::invalid(Cause::Client, 400)),
                Read::Late => return Err(Refusal::invalid(Cause::ClientTimeout, 408)),
                Read::Killed => return Err(Refusal::invalid(self.control.cause(), 500)),
            }
        }
        self.facts.received_at = received_at.map(|_| clock::now());
        Ok(())
    }

    /// No response came, or none that can be used.
    fn no_response(&self, failure: Failure, received: u64, reached: &Reached) -> Result<Next, Refusal> {
        let (cause, stage, status) = match &failure {
            Failure::Client(MoveError::Invalid(_)) => (Cause::Proxy, Stage::Data, 400),
            Failure::Client(_) => (Cause::Client, Stage::Headers, 400),
            Failure::ClientTimeout => (Cause::ClientTimeout, Stage::Headers, 408),
            Failure::ServerTimeout => (Cause::ServerTimeout, Stage::Headers, 504),
            Failure::Server(_) => (Cause::Server, Stage::Headers, 502),
            Failure::InvalidResponse(_) | Failure::ResponseTooLarge | Failure::TooManyInterim => {
                (Cause::Proxy, Stage::Headers, 502)
            }
            Failure::Killed => (self.control.cause(), Stage::Headers, 503),
        };
        if matches!(cause, Cause::Server | Cause::ServerTimeout) || status == 502 {
            reached.slot.server().observe_bad_response(observed(&failure));
        }
        // A client expects that a kept connection may have been closed: silence tells it to try again, and it
        // knows better than we whether that is safe. What we could repeat has been repeated.
        let silent = matches!(failure, Failure::Server(_))
            && received == 0
            && reached.uses > 1
            && self.session.requests > 1;
        Err(Refusal { silent, ..Refusal::new(cause, stage, status) })
    }

    /// Sends the response, returns the server connection to the pool and decides about the client's.
    async fn respond(
        &mut self,
        backend: &'static Backend,
        mut reached: Reached,
        mut server_input: Buffer,
        request: Sent,
        mode: ConnectionMode,
    ) -> Next {
        let server = reached.slot.server();
        let response = &self.heads.response;
        let body = response.body;
        self.facts.status = Some(response.status());
        server.observe_response(response.status());
        let server_keeps = response.keep_alive && mode == ConnectionMode::KeepAlive;
        let client_is_11 = self.heads.request.version() >= Version::Http11;
        let framed = client_is_11 || body != BodyLength::Chunked;
        let client_keeps = self.heads.request.keep_alive
            && request.done
            && framed
            && body != BodyLength::UntilClose
            && mode != ConnectionMode::Close
            && !worker::is_stopping();
        let response_is_10 = response.version() < Version::Http11;
        let switches = response.status() == 101;
        let mut out = self.heads.take_response_bytes();
        let connection = match body {
            BodyLength::Tunnel if switches => ConnectionHeader::Upgrade,
            BodyLength::Tunnel => ConnectionHeader::None,
            _ if client_keeps && client_is_11 => ConnectionHeader::None,
            _ if client_keeps => ConnectionHeader::KeepAlive,
            // What an HTTP/1.0 response says by itself.
            _ if response_is_10 => ConnectionHeader::None,
            _ => ConnectionHeader::Close,
        };
        if !framed {
            // An HTTP/1.0 client gets the content as it is, ended by the close.
            self.heads.response.body = BodyLength::UntilClose;
        }
        h1::encode_response(&self.heads.response, &mut out, EncodeOptions { connection });
        let policy = &self.session.frontend.relay.response;
        let rules = response_rules(backend);
        let Ok(outgoing) = Outgoing::new(out, body, framed, &mut server_input, policy, rules) else {
            // Nothing of it has been sent, so that the client can be told.
            server.observe_bad_response(Observed::HttpResponse);
            return Box::pin(self.refuse(Refusal::new(Cause::Proxy, Stage::Headers, 502))).await;
        };
        if self.session.frontend.cfg.options.logasap {
            self.log();
        }
        let mut exchange = Exchange::new(
            (&mut self.session.client, self.input),
            (&mut reached.socket, &mut server_input),
            self.timer,
            self.control,
            (self.session.frontend.cfg.timeout_client, backend.cfg.timeout_server),
            request.request,
        );
        exchange.request_done = request.done;
        exchange.response = Some(outgoing);
        let finished = exchange.finish_response().await;
        let request_done = exchange.request_done;
        let response = exchange.response.take();
        self.facts.uploaded = exchange.request.moved();
        let request = exchange.request;
        self.heads.give_request_bytes(request.release(self.input));
        if let Some(response) = response {
            self.facts.downloaded = response.moved();
            self.heads.give_response_bytes(response.release(&mut server_input));
        }
        if let Err(failure) = finished {
            return self.response_broke(failure, &reached).await;
        }
        if body == BodyLength::Tunnel {
            return Box::pin(self.tunnel(backend, reached, server_input)).await;
        }
        let now = clock::now();
        self.facts.ended_at = Some(now);
        self.session.idle_since = now;
        self.session.last_server = Some(server.id);
        self.control.server.set(None);
        if server_keeps && request_done && body != BodyLength::UntilClose && server_input.is_empty() {
            let private = reached.private || self.is_authenticated();
            let idle = Idle { socket: reached.socket, uses: reached.uses, private };
            self.keep_server(backend, idle, server, now);
        } else {
            drop(reached.socket);
        }
        let vacancy = reached.slot.vacate();
        self.log_unless_logged();
        drop(vacancy);
        if !request_done {
            return Next::Linger;
        }
        if client_keeps { Next::KeepAlive } else { self.close_or_linger() }
    }

    /// Whether the response asks the client to authenticate its connection instead of its requests: what follows on
    /// it belongs to whoever did.
    fn is_authenticated(&self) -> bool {
        let response = &self.heads.response;
        if !matches!(response.status(), 401 | 407) {
            return false;
        }
        let schemes = [&b"www-authenticate"[..], b"proxy-authenticate"];
        schemes.iter().flat_map(|name| response.headers().get_all(name)).any(|value| {
            [&b"NTLM"[..], b"Negotiate"].iter().any(|scheme| {
                value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
        })
    }

    /// Once all of the request was read, closing loses nothing, unless the client has sent more meanwhile.
    fn close_or_linger(&self) -> Next {
        let mut cx = Context::from_waker(Waker::noop());
        if self.session.client.poll_read_ready(&mut cx).is_ready() { Next::Linger } else { Next::Close }
    }

    fn keep_server(&mut self, backend: &Backend, idle: Idle, server: &'static Server, now: Instant) {
        if idle.private || !server.shareable || backend.cfg.http_reuse == HttpReuse::Never {
            self.session.private = Some((server.id, idle));
        } else {
            pool::keep(server, idle, now);
        }
    }

    /// The response began and could not be completed: all that is left is to cut the connection.
    async fn response_broke(&mut self, failure: Failure, reached: &Reached) -> Next {
        let observed = observed(&failure);
        let cause = match failure {
            Failure::Client(_) => Cause::Client,
            Failure::ClientTimeout => Cause::ClientTimeout,
            Failure::Server(MoveError::Invalid(_)) => Cause::Proxy,
            Failure::Server(_) => Cause::Server,
            Failure::ServerTimeout => Cause::ServerTimeout,
            Failure::InvalidResponse(_) | Failure::ResponseTooLarge | Failure::TooManyInterim => Cause::Proxy,
            Failure::Killed => self.control.cause(),
        };
        if matches!(cause, Cause::Server | Cause::ServerTimeout | Cause::Proxy) {
            reached.slot.server().observe_bad_response(observed);
        }
        if matches!(self.heads.response.body, BodyLength::UntilClose) {
            // A clean end would pass the broken response off as whole.
            self.session.client.reset_on_close();
        }
        self.broke(Ending::new(cause, Stage::Data)).await
    }

    async fn broke(&mut self, ending: Ending) -> Next {
        self.facts.ending = ending;
        self.facts.ended_at = Some(clock::now());
        self.control.server.set(None);
        self.log_unless_logged();
        Next::Close
    }

    /// After a switch of protocols: bytes both ways until both sides have ended.
    async fn tunnel(
        &mut self,
        backend: &'static Backend,
        mut reached: Reached,
        server_input: Buffer,
    ) -> Next {
        let fe = self.session.frontend.cfg;
        let be = backend.cfg;
        let timeouts = DuplexTimeouts {
            client: be.timeout_tunnel.or(fe.timeout_client),
            server: be.timeout_tunnel.or(be.timeout_server),
            client_fin: fe.timeout_client_fin,
            server_fin: be.timeout_server_fin,
        };
        let first = (std::mem::replace(self.input, Buffer::none()), server_input);
        let outcome = duplex::run(
            &mut self.session.client,
            &mut reached.socket,
            first,
            &self.session.frontend.relay,
            timeouts,
            self.control,
        )
        .await;
        self.facts.ending = outcome.ending;
        self.facts.uploaded += outcome.uploaded;
        self.facts.downloaded += outcome.downloaded;
        self.facts.ended_at = Some(clock::now());
        self.control.server.set(None);
        self.log_unless_logged();
        Next::Close
    }

    /// Answers with an error and decides about the connection.
    async fn refuse(&mut self, refusal: Refusal) -> Next {
        self.facts.ending = refusal.ending;
        self.facts.ended_at = Some(clock::now());
        self.control.server.set(None);
        if matches!(refusal.ending.cause, Cause::Killed | Cause::Down) {
            self.log_unless_logged();
            return Next::Close;
        }
        let cfg = self.session.frontend.cfg;
        let files = match self.facts.backend {
            Some(backend) if backend.cfg.errorfiles.reply(refusal.status).is_some() => {
                &backend.cfg.errorfiles
            }
            _ => &cfg.errorfiles,
        };
        if refusal.invalid {
            let silent = refusal.status == 408 && cfg.options.http_ignore_probes;
            if !silent {
                self.facts.status = Some(refusal.status);
                let reply = replies::raw(refusal.status, files);
                // Not counted as downloaded: the reply belongs to no exchange.
                send_raw(self.session, &reply).await;
            }
            self.log_unless_logged();
            return Next::Linger;
        }
        if refusal.silent {
            self.log_unless_logged();
            return Next::Close;
        }
        let consumed = self.heads.request.body.is_empty();
        self.answer(replies::error(refusal.status, files), consumed).await
    }

    /// Sends a reply of our own. `whole` is whether the request has been read to its end.
    async fn answer(&mut self, reply: Reply, whole: bool) -> Next {
        let mode = self.session.frontend.cfg.options.connection;
        let keeps =
            whole && self.heads.request.keep_alive && mode != ConnectionMode::Close && !worker::is_stopping();
        let head_only = self.heads.request.method() == Method::Head;
        let mut out = self.heads.take_response_bytes();
        let is_11 = self.heads.request.version() >= Version::Http11;
        reply.encode(keeps, is_11, head_only, &mut out);
        self.facts.status = Some(reply.status);
        self.facts.downloaded = send_raw(self.session, &out).await;
        self.heads.give_response_bytes(out);
        let now = clock::now();
        self.facts.ended_at = Some(now);
        self.session.idle_since = now;
        self.log_unless_logged();
        match (keeps, whole) {
            (true, _) => Next::KeepAlive,
            (false, true) => self.close_or_linger(),
            (false, false) => Next::Linger,
        }
    }

    fn log(&mut self) {
        let request = self.facts.understood.then_some(&self.heads.request);
        log::stream(self.session, &self.facts, &self.attempts, request);
        self.facts.logged = true;
    }

    fn log_unless_logged(&mut self) {
        self.facts.leave_backend();
        if !self.facts.logged {
            self.log();
        }
    }
}

/// What a failed exchange shows of the server's health.
fn observed(failure: &Failure) -> Observed {
    match failure {
        Failure::ServerTimeout => Observed::HttpReadTimeout,
        Failure::Server(MoveError::Truncated) => Observed::HttpClosed,
        Failure::Server(MoveError::Invalid(_)) => Observed::HttpResponse,
        Failure::InvalidResponse(_) | Failure::ResponseTooLarge | Failure::TooManyInterim => {
            Observed::HttpHeaders
        }
        _ => Observed::HttpReadError,
    }
}

/// A request that has been sent, or is still being sent while its response comes in.
struct Sent {
    request: Outgoing,
    done: bool,
}

/// How a read ended.
enum Read {
    Some,
    End,
    Failed,
    Late,
    Killed,
}

/// How the client's messages are read.
fn request_rules(frontend: &Frontend) -> Rules {
    rules(frontend.tune, frontend.cfg.options.accept_unsafe_violations_in_http_request)
}

/// How a server's messages are read.
fn response_rules(backend: &Backend) -> Rules {
    rules(backend.tune, backend.cfg.options.accept_unsafe_violations_in_http_response)
}

fn rules(tune: &Tune, relaxed: bool) -> Rules {
    let limits = Limits {
        fields_max: tune.http_maxhdr,
        head_bytes_max: tune.bufsize.saturating_sub(tune.maxrewrite),
        ..Limits::default()
    };
    Rules { limits, strictness: if relaxed { Strictness::Relaxed } else { Strictness::Strict } }
}

/// Interim (1xx) responses that may precede a response; more are an attack or a fault.
const INTERIM_MAX: u32 = 64;
/// How long a reply of ours may take to be accepted by the client's socket.
const REPLY_LIMIT: Duration = Duration::from_secs(10);
/// How long, and for how many bytes, a closing connection is read so that its reply is not lost to a reset.
const LINGER_LIMIT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Sends bytes of our own; returns how many were accepted.
async fn send_raw(session: &mut Session, bytes: &[u8]) -> u64 {
    let mut sent = 0;
    let sending = async {
        while sent < bytes.len() {
            match std::future::poll_fn(|cx| session.client.poll_write(cx, &bytes[sent..])).await {
                Ok(n) if n > 0 => sent += n,
                _ => break,
            }
        }
    };
    // A client that does not take a reply of a few hundred bytes is gone or hostile.
    let _ = tokio::time::timeout(REPLY_LIMIT, sending).await;
    sent as u64
}

/// Sends our end and waits, within limits, for the client's: closing with unread bytes would reset the
/// connection and could destroy the reply on its way (RFC 9112 §9.6).
async fn linger(session: &mut Session) {
    if session.frontend.cfg.options.nolinger || session.client.shutdown_write().is_err() {
        return;
    }
    let draining = async {
        let mut buffer = Buffer::take();
        let mut drained = 0;
        while drained < LINGER_BYTES_MAX {
            buffer.clear();
            match std::future::poll_fn(|cx| session.client.poll_read(cx, buffer.space())).await {
                Ok(n) if n > 0 => drained += n,
                _ => break,
            }
        }
    };
    // Past the limit the connection is closed as it is.
    let _ = tokio::time::timeout(LINGER_LIMIT, draining).await;
}
