//! The stages of `mode http`, in the order they run, for each request of a client connection.

mod action;
mod forward;
mod reply;
mod request;
mod respond;
mod rules;
mod wait;

use std::task::Poll;

use sockeye_config::model::Tune;
use sockeye_conn::{Buffer, Timer, clock};
use sockeye_http::h1::{self, Limits, Strictness};

use super::abort::{Cause, Ending, Stage};
use super::heads::Heads;
use super::log;
use super::log::Facts;
use super::retry::Attempts;
use super::rules::decided::Decided;
use crate::backend::Backend;
use crate::frontend::Frontend;
use crate::frontend::session::Session;
use crate::frontend::worker;
use crate::frontend::worker::Control;
use crate::mux::Rules;
use crate::services::replies;
use crate::services::replies::Reply;
use crate::stats::PROCESS;
use forward::Answered;
use reply::send_raw;
use request::Head;
use respond::Responded;

/// What becomes of the client connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    KeepAlive,
    Close,
    /// Close without losing the reply to bytes that the client still sends.
    Linger,
    /// What came is no request but the preface of HTTP/2.
    Http2,
}

/// Serves the requests of one client connection, one after the other; of a stream, its only one. Returns what the client
/// has sent when it turns out to speak HTTP/2.
pub async fn serve(session: &mut Session, control: &Control, mut input: Buffer) -> Option<Buffer> {
    let mut timer = Timer::new();
    if !session.frontend.ruled {
        // Nobody has admitted it; rules of a backend may change addresses all the same.
        session.arrived = (session.peer, session.wanted);
    }
    loop {
        match wait(session, control, &mut timer, &input).await {
            Waited::Bytes => {}
            Waited::Over => return None,
            Waited::Late if session.requests == 0 => {
                Box::pin(silent_timeout(session)).await;
                return None;
            }
            Waited::Late => return None,
        }
        session.requests += 1;
        // A request's state is a few KiB: it is allocated while there is a request, so that an idle connection
        // does not own it.
        // Written where it stays: `Box::pin` would make it elsewhere and copy all of it.
        let room = Box::new_uninit();
        let running = Box::write(room, Transaction::run(session, control, &mut timer, &mut input));
        let next = Box::into_pin(running).await;
        // What the rules of the frontend or a backend said of addresses was for that request alone.
        (session.peer, session.wanted) = session.arrived;
        match next {
            Next::Http2 => return Some(input),
            _ if session.is_stream() => return None,
            // An idle connection owns no buffer.
            Next::KeepAlive if input.is_empty() => input = Buffer::none(),
            Next::KeepAlive => {}
            Next::Close => return None,
            Next::Linger => {
                Box::pin(session.linger()).await;
                return None;
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
        if !first
            && !cfg.options.idle_close_on_response
            && let Some(until) = worker::idle_until()
        {
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
        let reply = session.frontend.replies.raw(408);
        send_raw(session, &reply).await;
    }
    if !(cfg.options.dontlognull || cfg.options.http_ignore_probes) {
        log::stream(session, &facts, &Attempts::default(), None, &Decided::default());
    }
}

/// One request: its state while it passes through the stages.
pub(super) struct Transaction<'a> {
    session: &'a mut Session,
    control: &'a Control,
    timer: &'a mut Timer,
    input: &'a mut Buffer,
    heads: Heads,
    facts: Facts,
    attempts: Attempts,
    /// Nothing of the request is left to be read from the client.
    request_read: bool,
    /// The request has been encoded for a server.
    encoded: bool,
}

/// Why a stage answers instead of going on.
pub(super) struct Refusal {
    ending: Ending,
    status: u16,
    /// Whether the message was not understood, so that nothing after it can be.
    invalid: bool,
    /// Close without a word: nobody is there to answer, or silence says more.
    silent: bool,
    /// The reply that a rule made, instead of the section's own for the status.
    reply: Option<Box<Reply>>,
}

impl Refusal {
    fn new(cause: Cause, stage: Stage, status: u16) -> Self {
        Self { ending: Ending::new(cause, stage), status, invalid: false, silent: false, reply: None }
    }

    fn invalid(cause: Cause, status: u16) -> Self {
        Self { ending: Ending::new(cause, Stage::Request), status, invalid: true, silent: false, reply: None }
    }

    /// What a rule decided.
    fn with_reply(cause: Cause, stage: Stage, reply: Reply) -> Self {
        let reply = Some(Box::new(reply));
        let status = reply.as_ref().map_or(500, |reply| reply.status);
        Self { reply, ..Self::new(cause, stage, status) }
    }
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
        let attempts = Attempts::default();
        let mut transaction = Self {
            session,
            control,
            timer,
            input,
            heads,
            facts,
            attempts,
            request_read: false,
            encoded: false,
        };
        match transaction.read_head().await {
            Ok(Head::Complete) => {}
            Ok(Head::Http2) => return Next::Http2,
            Ok(Head::Nothing) => return Box::pin(transaction.nothing()).await,
            Err(refusal) => return Box::pin(transaction.refuse(refusal)).await,
        }
        transaction.facts.number = PROCESS.streams.next();
        transaction.session.frontend.request_rate.count(clock::now().into_std());
        log::connect(transaction.session);
        transaction.facts.understood = true;
        transaction.facts.received_at = Some(clock::now());
        transaction.facts.capture_request(transaction.session, &transaction.heads.request);
        let ruled = transaction.session.frontend.ruled;
        if ruled
            && transaction.begin_rules()
            && !transaction.session.upgraded
            && let Err(refusal) = Box::pin(transaction.tcp_content_of_frontend()).await
        {
            return Box::pin(transaction.refuse(refusal)).await;
        }
        if let Some(reply) = transaction.monitor() {
            let whole = transaction.heads.request.body.is_empty();
            // The monitor asks every second or so; HAProxy does not log it either.
            transaction.facts.logged = true;
            return Box::pin(transaction.answer(&reply, whole)).await;
        }
        if ruled && let Err(refusal) = Box::pin(transaction.request_rules_of_frontend()).await {
            return Box::pin(transaction.refuse(refusal)).await;
        }
        let mut answered = match transaction.forward().await {
            Ok(answered) => answered,
            Err(refusal) => return Box::pin(transaction.refuse(refusal)).await,
        };
        let responded = transaction.respond(&mut answered).await;
        let Answered { backend, reached, server_input, request, .. } = answered;
        transaction.heads.give_request_bytes(request.release(transaction.input));
        match responded {
            Responded::Whole(whole) => transaction.finish(backend, reached, &whole),
            Responded::Tunnel => Box::pin(transaction.tunnel(backend, reached, server_input)).await,
            Responded::Broke(failure) => transaction.response_broke(failure, reached),
            Responded::Refused(refusal) => {
                // A client that takes its time with a reply of ours keeps no server.
                drop(reached);
                Box::pin(transaction.refuse(refusal)).await
            }
        }
    }

    /// `monitor-uri`: answered here, for load balancers in front of us.
    fn monitor(&self) -> Option<Reply> {
        let uri = self.session.frontend.cfg.monitor_uri.as_ref()?;
        if h1::sent_target(&self.heads.request) != uri.as_bytes() {
            return None;
        }
        if self.session.frontend.ruled && self.monitor_fails() {
            return Some((*self.own_replies(503).error(503)).clone());
        }
        Some(replies::monitor())
    }

    pub(super) fn log(&mut self) {
        let request = self.facts.understood.then_some(&self.heads.request);
        let response = self.facts.response_at.map(|_| &self.heads.response);
        let messages = (request, response);
        log::messages(self.session, &self.facts, &self.attempts, messages, &self.heads.decided);
        self.facts.logged = true;
    }

    pub(super) fn log_unless_logged(&mut self) {
        self.facts.leave_backend();
        if !self.facts.logged {
            self.log();
        }
    }
}

/// How the client's messages are read.
pub(super) fn request_rules(frontend: &Frontend) -> Rules {
    rules(frontend.tune, frontend.cfg.options.accept_unsafe_violations_in_http_request)
}

/// How a server's messages are read.
pub(super) fn response_rules(backend: &Backend) -> Rules {
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
