//! To a server: the request goes out, and what is tried again until a response begins.

use std::time::SystemTime;

use sockeye_config::model::{ConnectionMode, Mode};
use sockeye_conn::{Buffer, clock};
use sockeye_health::Observed;
use sockeye_http::h1::{ConnectionHeader, EncodeOptions, ParseError};
use sockeye_http::{Method, Version, h1};

use super::super::abort::{Cause, Stage};
use super::super::proxy_header::Told;
use super::super::retry::{AtOnce, Reached, Want};
use super::super::{balance_key, forwarding, log, retry};
use super::{Refusal, Transaction, request_rules, response_rules};
use crate::backend::assign::Wish;
use crate::backend::{Backend, Server, pool};
use crate::mux::exchange::{Exchange, Failure};
use crate::mux::outgoing::{MoveError, Outgoing};
use crate::stats::Invalid;

/// Interim (1xx) responses that may precede a response; more are an attack or a fault.
const INTERIM_MAX: u32 = 64;

impl Transaction<'_> {
    /// Sends the request to a server and its response back.
    pub(super) async fn forward(&mut self) -> Result<Answered, Refusal> {
        let chosen =
            if self.session.frontend.ruled { self.choose_backend() } else { self.session.frontend.backend };
        let Some(backend) = chosen else {
            // HAProxy counts the time of a request from when it has a backend.
            self.facts.received_at = None;
            return Err(Refusal::new(Cause::Server, Stage::Connect, 503));
        };
        if self.session.frontend.cfg.options.http_buffer_request {
            Box::pin(self.buffer_body()).await?;
        }
        self.facts.enter_backend(backend);
        if backend.cfg.mode != Mode::Http {
            // Only a name made by a format string leads here. HAProxy ends such a stream without a word.
            self.facts.received_at = None;
            self.facts.status = Some(500);
            return Err(Refusal { silent: true, ..Refusal::new(Cause::Internal, Stage::Request, 500) });
        }
        if backend.cfg.options.http_buffer_request {
            Box::pin(self.buffer_body()).await?;
        }
        if backend.ruled {
            Box::pin(self.request_rules_of_backend(backend)).await?;
        }
        let heads = &mut *self.heads;
        let request = Some(&heads.request);
        let unique_id = log::unique_id(self.session, &self.facts, &self.attempts, request, &heads.decided);
        forwarding::add_unique_id(self.session, unique_id, &mut heads.request);
        forwarding::add_headers(self.session, backend, &mut self.heads.request);
        self.attempts.obey(&self.heads.decided);
        let timeouts = self.timeouts(backend);
        let mut mode = self.session.frontend.cfg.options.connection.max(backend.cfg.options.connection);
        if self.heads.request.headers().asks_close() {
            mode = mode.max(ConnectionMode::ServerClose);
        }
        let mut request = self.encode_request(backend, mode)?;
        let retained = request.retain();
        let mut server_input = Buffer::none();
        loop {
            let mut reached = match self.reach(backend).await {
                Ok(reached) => reached,
                Err(refusal) => {
                    self.take_back(request, retained);
                    return Err(refusal);
                }
            };
            reached.uses += 1;
            self.control.server.set(Some(reached.slot.server().id));
            self.facts.use_server(reached.slot.server());
            self.facts.keep_server_ends(self.session, &reached.socket);
            let mut exchange = Exchange::new(
                (&mut self.session.client, self.input),
                (&mut reached.socket, &mut server_input),
                self.timer,
                self.control,
                timeouts,
                &mut request,
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
            let verdict = !self.heads.decided.no_retry
                && match &head {
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
                self.take_back(request, retained || request_done);
                return Err(self.no_response(failure, received, &reached));
            }
            self.facts.response_at = Some(clock::now());
            self.facts.capture_response(self.session, &self.heads.response);
            return Ok(Answered { backend, reached, server_input, request, request_done, mode });
        }
    }

    /// The request went nowhere; `whole` says that it has been read to its end, so that the next one may follow.
    fn take_back(&mut self, request: Outgoing, whole: bool) {
        self.request_read = whole;
        self.heads.give_request_bytes(request.release(self.input));
    }

    /// Whether a failure before the response is one that may be repeated.
    pub(super) fn may_retry(
        &self,
        backend: &Backend,
        failure: &Failure,
        received: u64,
        reached: &Reached,
    ) -> bool {
        let on = &backend.cfg.retry_on;
        match failure {
            Failure::Server(error) if error.is_refused() => on.conn_failure,
            Failure::Server(error) if received == 0 && error.is_of_stream() => on.empty_response,
            Failure::Server(_) if received == 0 => {
                // A pooled connection may have been closed by the server while the request was on its way.
                // A server that dies accepts new connections until its listener is gone, too.
                let raced = reached.uses > 1 || reached.slot.server().dropped_lately();
                let raced = raced && self.heads.request.method().is_idempotent();
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
    pub(super) fn may_try_again(
        &mut self,
        backend: &Backend,
        head: &Result<(), Failure>,
        received: u64,
        reached: &Reached,
    ) -> bool {
        if let Err(Failure::Server(error)) = head
            && !error.is_refused()
            && !error.is_of_stream()
            && received == 0
            && reached.uses > 1
        {
            pool::clear(Some(reached.slot.server().id));
            reached.slot.server().observe_dropped();
            return true;
        }
        if !self.attempts.left(backend) {
            return false;
        }
        self.attempts.failed(backend, reached.slot.index());
        true
    }

    pub(super) async fn reach(&mut self, backend: &'static Backend) -> Result<Reached, Refusal> {
        let chosen = if backend.ruled { self.choose_server(backend) } else { None };
        let key = balance_key::http(&backend.cfg.balance, &self.session.peer, &self.heads.request);
        let last = if backend.cfg.options.prefer_last_server {
            self.session.last_server.filter(|id| id.backend == backend.id).map(|id| id.index)
        } else {
            None
        };
        let private =
            self.session.private.as_ref().filter(|(id, idle)| idle.private && id.backend == backend.id);
        let last = private.map(|(id, _)| id.index).or(last);
        let priority = self.heads.decided.priority();
        let wish = Wish { key: key.as_deref(), chosen, last, avoid: None, priority };
        let reuse = self.heads.request.upgrade || self.heads.request.method() == Method::Connect;
        let reuse = (!reuse).then_some(self.session.requests == 1);
        let told =
            Told { facts: &self.facts, decided: &self.heads.decided, request: Some(&self.heads.request) };
        let want = Want { wish, reuse, told };
        let begun = match retry::reach_at_once(self.session, backend, want, &mut self.attempts) {
            AtOnce::Reached(reached) => return Ok(reached),
            AtOnce::Begun(begun) => begun,
        };
        // Boxed, like every stage that most requests do not have, to keep the state of the others small.
        let reached = Box::pin(retry::reach(self.session, backend, want, &mut self.attempts, begun)).await;
        reached.map_err(|unreached| {
            self.facts.server = unreached.server;
            let silent = unreached.ending.cause == Cause::Client;
            Refusal {
                ending: unreached.ending,
                status: unreached.status,
                invalid: false,
                silent,
                reply: None,
            }
        })
    }

    pub(super) fn encode_request(
        &mut self,
        backend: &Backend,
        mode: ConnectionMode,
    ) -> Result<Outgoing, Refusal> {
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
        self.encoded = true;
        let mut out = self.heads.take_request_bytes();
        h1::encode_request(&self.heads.request, &mut out, EncodeOptions { connection });
        let policy = self.session.frontend.relay_policies(backend).request;
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

    /// No response came, or none that can be used.
    pub(super) fn no_response(&self, failure: Failure, received: u64, reached: &Reached) -> Refusal {
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
        let silent = matches!(&failure, Failure::Server(error) if !error.is_of_stream())
            && received == 0
            && reached.uses > 1
            && self.session.requests > 1;
        Refusal { silent, ..Refusal::new(cause, stage, status) }
    }

    pub(super) fn keep_invalid_response(
        &self,
        backend: &Backend,
        server: &Server,
        error: &ParseError,
        bytes: &[u8],
    ) {
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
}

/// What a failed exchange shows of the server's health.
pub(super) fn observed(failure: &Failure) -> Observed {
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

/// A server has begun to answer: what it takes to send its response on.
pub(super) struct Answered {
    pub(super) backend: &'static Backend,
    pub(super) reached: Reached,
    pub(super) server_input: Buffer,
    /// The request, which may still be on its way.
    pub(super) request: Outgoing,
    pub(super) request_done: bool,
    pub(super) mode: ConnectionMode,
}
