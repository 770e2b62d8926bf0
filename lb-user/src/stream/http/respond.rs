//! Back to the client: the response, what becomes of both connections, and what follows a switch of protocols.

use std::task::{Context, Waker};
use std::time::Duration;

use sockeye_config::model::{ConnectionMode, HttpReuse};
use sockeye_conn::{Buffer, clock};
use sockeye_health::Observed;
use sockeye_http::h1::{ConnectionHeader, EncodeOptions};
use sockeye_http::{BodyLength, Method, Version, h1};
use tokio::time::Instant;

use super::super::abort::{Cause, Ending, Stage};
use super::super::duplex;
use super::super::duplex::DuplexTimeouts;
use super::super::retry::Reached;
use super::forward::{Answered, observed};
use super::{Next, Refusal, Transaction, response_rules};
use crate::backend::pool::Idle;
use crate::backend::{Backend, Server, pool};
use crate::frontend::worker;
use crate::mux::exchange::{Exchange, Failure};
use crate::mux::outgoing::{MoveError, Outgoing};

/// How sending a response ended.
pub(super) enum Responded {
    /// It has been sent whole.
    Whole(Whole),
    /// Its head has been sent, and what follows is another protocol.
    Tunnel,
    /// It began and could not be completed.
    Broke(Failure),
    /// Nothing of it has been sent, and the client is to be told why.
    Refused(Refusal),
}

/// What a whole response leaves to be decided.
pub(super) struct Whole {
    request_done: bool,
    server_keeps: bool,
    client_keeps: bool,
}

impl Transaction<'_> {
    /// Sends the response. `answered` is borrowed because a future keeps what it is given twice: as it came and as it
    /// is used.
    pub(super) async fn respond(&mut self, answered: &mut Answered) -> Responded {
        let (backend, mode) = (answered.backend, answered.mode);
        let server = answered.reached.slot.server();
        if (backend.ruled || self.session.frontend.ruled)
            && self.begin_response_rules(backend)
            && let Err(refusal) = Box::pin(self.response_rules(answered)).await
        {
            // The server's response is not wanted; its connection goes with it.
            self.facts.uploaded = answered.request.moved();
            self.request_read = answered.request_done;
            return Responded::Refused(refusal);
        }
        let request_done = answered.request_done;
        let cut = self.fit_body();
        let response = &self.heads.response;
        let body = if cut { BodyLength::None } else { response.body };
        self.facts.status = Some(response.status());
        server.observe_response(response.status());
        let server_keeps = response.keep_alive && mode == ConnectionMode::KeepAlive && !cut;
        let client_is_11 = self.heads.request.version() >= Version::Http11;
        let framed = client_is_11 || response.body != BodyLength::Chunked;
        let client_keeps = self.heads.request.keep_alive
            && request_done
            && framed
            && body != BodyLength::UntilClose
            // A rule's word.
            && !response.headers().asks_close()
            // Clients take a rule's 1xx for one that another response follows.
            && (response.status() >= 200 || body == BodyLength::Tunnel)
            // It takes what follows for its tunnel.
            && (self.heads.request.received_method() != Method::Connect || response.status() >= 300)
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
        let policy = self.session.frontend.relay_policies(backend).response;
        let rules = response_rules(backend);
        let Ok(outgoing) = Outgoing::new(out, body, framed, &mut answered.server_input, policy, rules) else {
            // Nothing of it has been sent, so that the client can be told.
            server.observe_bad_response(Observed::HttpResponse);
            let refusal = Refusal::new(Cause::Proxy, Stage::Headers, 502);
            return Responded::Refused(refusal);
        };
        if self.session.frontend.cfg.options.logasap {
            self.log();
        }
        let timeouts = self.timeouts(backend);
        let mut exchange = Exchange::new(
            (&mut self.session.client, self.input),
            (&mut answered.reached.socket, &mut answered.server_input),
            self.timer,
            self.control,
            timeouts,
            &mut answered.request,
        );
        exchange.request_done = request_done;
        exchange.response = Some(outgoing);
        let finished = exchange.finish_response().await;
        let request_done = exchange.request_done;
        let response = exchange.response.take();
        if let Some(response) = response {
            self.facts.downloaded = response.moved();
            self.heads.give_response_bytes(response.release(&mut answered.server_input));
        }
        self.facts.uploaded = answered.request.moved();
        if let Err(failure) = finished {
            return Responded::Broke(failure);
        }
        if body == BodyLength::Tunnel {
            return Responded::Tunnel;
        }
        let server_keeps = server_keeps
            && request_done
            && body != BodyLength::UntilClose
            && answered.server_input.is_empty();
        Responded::Whole(Whole { request_done, server_keeps, client_keeps })
    }

    /// Makes the response's body what the client expects by the method that it sent and the status that it gets, both of
    /// which rules may have changed: otherwise it would take one response for a part of another. Returns whether the
    /// server's body must be left out.
    fn fit_body(&mut self) -> bool {
        let status = self.heads.response.status();
        let bodyless = self.expects_no_body(status);
        match self.heads.response.body {
            // A client that has not asked for a tunnel, or is not told of one, goes on with HTTP.
            BodyLength::Tunnel => {
                let begins = status == 101 || self.heads.request.received_method() == Method::Connect;
                if !begins {
                    self.heads.response.body = BodyLength::Length(0);
                }
                !begins
            }
            BodyLength::None => {
                if !bodyless {
                    self.heads.response.body = BodyLength::Length(0);
                }
                false
            }
            _ => bodyless,
        }
    }

    /// Whether the client reads a response of that status as one without body (RFC 9112 §6.3).
    pub(super) fn expects_no_body(&self, status: u16) -> bool {
        self.heads.request.received_method() == Method::Head || status < 200 || matches!(status, 204 | 304)
    }

    /// Returns the server connection to the pool and decides about the client's.
    pub(super) fn finish(&mut self, backend: &Backend, reached: Reached, whole: &Whole) -> Next {
        let Whole { request_done, server_keeps, client_keeps } = *whole;
        let server = reached.slot.server();
        let now = clock::now();
        self.facts.ended_at = Some(now);
        self.session.idle_since = now;
        self.session.handshake = Duration::ZERO;
        self.session.last_server = Some(server.id);
        self.control.server.set(None);
        // A marked connection is for requests that are marked so.
        if server_keeps && self.attempts.marking.is_none() {
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
    pub(super) fn is_authenticated(&self) -> bool {
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
    pub(super) fn close_or_linger(&self) -> Next {
        let mut cx = Context::from_waker(Waker::noop());
        if self.session.client.poll_read_ready(&mut cx).is_ready() { Next::Linger } else { Next::Close }
    }

    pub(super) fn keep_server(
        &mut self,
        backend: &Backend,
        idle: Idle,
        server: &'static Server,
        now: Instant,
    ) {
        if idle.private || !server.shareable || backend.cfg.http_reuse == HttpReuse::Never {
            self.session.private = Some((server.id, idle));
        } else {
            pool::keep(server, idle, now);
        }
    }

    /// The response began and could not be completed: all that is left is to cut the connection.
    pub(super) fn response_broke(&mut self, failure: Failure, reached: Reached) -> Next {
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
        self.broke(Ending::new(cause, Stage::Data), reached)
    }

    /// The end of an exchange whose server connection cannot be used again.
    fn broke(&mut self, ending: Ending, reached: Reached) -> Next {
        self.facts.ending = ending;
        self.facts.ended_at = Some(clock::now());
        self.control.server.set(None);
        drop(reached.socket);
        let vacancy = reached.slot.vacate();
        self.log_unless_logged();
        drop(vacancy);
        Next::Close
    }

    /// After a switch of protocols: bytes both ways until both sides have ended.
    pub(super) async fn tunnel(
        &mut self,
        backend: &'static Backend,
        mut reached: Reached,
        server_input: Buffer,
    ) -> Next {
        let fe = self.session.frontend.cfg;
        let be = backend.cfg;
        let rules = self.heads.decided.timeouts;
        let tunnel = rules.tunnel.or(be.timeout_tunnel);
        let timeouts = DuplexTimeouts {
            client: tunnel.or(rules.client).or(fe.timeout_client),
            server: tunnel.or(rules.server).or(be.timeout_server),
            client_fin: fe.timeout_client_fin,
            server_fin: be.timeout_server_fin,
        };
        let first = (std::mem::replace(self.input, Buffer::none()), server_input);
        let outcome = duplex::run(
            &mut self.session.client,
            &mut reached.socket,
            first,
            self.session.frontend.relay_policies(backend),
            timeouts,
            self.control,
        )
        .await;
        self.facts.uploaded += outcome.uploaded;
        self.facts.downloaded += outcome.downloaded;
        self.broke(outcome.ending, reached)
    }
}
