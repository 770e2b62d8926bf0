//! `tcp-request` and `tcp-response` rules where there is no HTTP: connections, sessions, and the first bytes.

use std::cell::OnceCell;
use std::task::Poll;

use sockeye_conn::{Buffer, Socket, Timer, clock};
use sockeye_log::Origin;
use sockeye_rules::{Action, Rules};
use sockeye_sample::{Body, Bytes, Stage};

use super::decided::Decided;
use super::scene::View;
use super::{Messages, Run, Step, apply};
use crate::frontend::session::Session;
use crate::frontend::worker::Control;
use crate::stream::abort::{Cause, Ending, Stage as Phase};
use crate::stream::duplex::{Came, Upload};
use crate::stream::log::{self, Facts};
use crate::stream::retry::Attempts;

/// `tcp-request connection`: whether the connection may go on. Nothing is logged of one that may not.
pub fn admit_connection(session: &mut Session) -> bool {
    let rules = &session.frontend.cfg.rules;
    let admitted = pass(session, &rules.tcp_connection, Stage::FrontendConnection);
    session.arrived = (session.peer, session.wanted);
    admitted
}

/// `tcp-request session`, once handshakes are done.
pub fn admit_session(session: &mut Session) -> bool {
    let rules = &session.frontend.cfg.rules;
    let admitted = pass(session, &rules.tcp_session, Stage::FrontendSession);
    session.arrived = (session.peer, session.wanted);
    admitted
}

fn pass(session: &mut Session, rules: &'static Rules, stage: Stage) -> bool {
    let mut decided = Decided::default();
    let mut from = 0;
    loop {
        let mut changes = Vec::new();
        let step = {
            let facts = Facts::new(session);
            let attempts = Attempts::default();
            let view = View { session, facts: &facts, attempts: &attempts, decided: &decided };
            let mut run = Run { rules, stage, strict: true, may_wait: false, defers: false, view };
            run.go(from, &mut nothing(), &mut changes)
        };
        for change in changes {
            apply(change, session, &mut decided);
        }
        match step {
            Step::Act(_, Action::Reject) => {
                if stage == Stage::FrontendConnection {
                    // In an attack one packet is less than a polite end.
                    session.client.reset_on_close();
                }
                return false;
            }
            Step::Act(_, Action::SilentDrop(how)) => {
                session.silent_drop(*how);
                return false;
            }
            Step::Act(index, action) => {
                match action {
                    Action::Expect(what) => session.proxy.expect(*what),
                    Action::DoLog => log_connection(session, &decided, stage),
                    _ => {}
                }
                from = index + 1;
            }
            Step::End | Step::Stop | Step::Wait(_) | Step::Failed | Step::Invalid => return true,
            // Not without `defers`.
            Step::Password(..) => return false,
        }
    }
}

/// `do-log` before there is a stream: the line shows what it would if the connection ended here.
fn log_connection(session: &Session, decided: &Decided, stage: Stage) {
    let mut facts = Facts::new(session);
    facts.ending = Ending::new(Cause::Proxy, Phase::Request);
    facts.status = Some(0);
    let origin = match stage {
        Stage::FrontendConnection => Origin::TcpConnectionRule,
        _ => Origin::TcpSessionRule,
    };
    log::now(session, &facts, &Attempts::default(), (None, None), decided, origin);
}

fn nothing<'a>() -> Messages<'a> {
    Messages {
        request: None,
        response: None,
        request_body: Body::default(),
        response_body: Body::default(),
        buffer: None,
        sniffed: None,
        waiting: false,
        about_response: false,
    }
}

/// What the rules about the first bytes decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The stream goes on.
    Accepted,
    Rejected,
    /// Without a word, already prepared.
    Dropped,
    /// `switch-mode http`
    Http,
    /// The client left or was too slow while its bytes were waited for.
    ClientGone,
    Killed,
    /// `tcp-response content close`: what was read goes to the client, and nothing after it.
    Closed,
    /// The stream ended while the server's bytes were waited for.
    Over(Ending),
}

/// The server's side of a stream whose response is looked at.
pub struct ServerSide<'a> {
    pub socket: &'a mut Socket,
    pub upload: &'a mut Upload,
}

/// A TCP stream whose first bytes are looked at.
pub struct Inspected<'a> {
    pub session: &'a mut Session,
    pub facts: &'a mut Facts,
    pub attempts: &'a Attempts,
    pub decided: &'a mut Decided,
    /// What the client has sent so far; the server, in `tcp-response` rules.
    pub input: &'a mut Buffer,
    pub control: &'a Control,
    /// In `tcp-response` rules; requests flow meanwhile.
    pub server: Option<ServerSide<'a>>,
}

impl Inspected<'_> {
    /// Runs `tcp-request content` or `tcp-response content` rules, reading and waiting within the inspection delay as they need it.
    pub async fn run(
        &mut self,
        rules: &'static Rules,
        stage: Stage,
        delay: Option<std::time::Duration>,
    ) -> Content {
        if rules.is_empty() {
            return Content::Accepted;
        }
        let mut timer = Timer::new();
        timer.set(Some(clock::now() + delay.unwrap_or_default()));
        let (mut closed, mut waited) = (false, delay.is_none());
        let mut from = 0;
        loop {
            let mut changes = Vec::new();
            let step = {
                let sniffed = OnceCell::new();
                let view = View {
                    session: self.session,
                    facts: self.facts,
                    attempts: self.attempts,
                    decided: self.decided,
                };
                let full = self.input.capacity() > 0 && self.input.is_full();
                let buffer = Bytes { bytes: self.input.filled(), closed: closed || waited || full, waited };
                let may_wait = !(closed || waited || full);
                let mut run = Run { rules, stage, strict: true, may_wait, defers: false, view };
                let mut messages = nothing();
                messages.buffer = Some(buffer);
                messages.sniffed = self.server.is_none().then_some(&sniffed);
                messages.about_response = self.server.is_some();
                run.go(from, &mut messages, &mut changes)
            };
            for change in changes {
                apply(change, self.session, self.decided);
            }
            self.keep_captured();
            match step {
                Step::End | Step::Stop | Step::Failed | Step::Invalid => return Content::Accepted,
                // Not without `defers`.
                Step::Password(..) => return Content::Rejected,
                Step::Act(_, Action::Reject) => return Content::Rejected,
                Step::Act(_, Action::SilentDrop(how)) => {
                    self.session.silent_drop(*how);
                    return Content::Dropped;
                }
                Step::Act(_, Action::Close) => return Content::Closed,
                Step::Act(_, Action::SwitchHttp) => return Content::Http,
                Step::Act(index, action) => {
                    if matches!(action, Action::DoLog) {
                        self.log_now();
                    }
                    from = index + 1;
                }
                Step::Wait(_) => {
                    // Rules are evaluated anew with each piece (manual 4.2, "tcp-request inspect-delay"), so that
                    // those before the undecided one see more as well.
                    from = 0;
                    match self.more(&mut timer).await {
                        More::Bytes => {}
                        More::End => closed = true,
                        More::Late => waited = true,
                        More::Failed => return Content::ClientGone,
                        More::Killed => return Content::Killed,
                        More::Over(ending) => return Content::Over(ending),
                    }
                }
            }
        }
    }

    fn keep_captured(&mut self) {
        for (request, slot, text) in self.decided.captured.get_mut().drain(..) {
            if let Some(captured) = &mut self.facts.captured {
                captured.set(&self.session.frontend.cfg.captures, request, slot, &text);
            }
        }
    }

    fn log_now(&self) {
        let origin = if self.server.is_some() { Origin::TcpResponseRule } else { Origin::TcpRequestRule };
        log::now(self.session, self.facts, self.attempts, (None, None), self.decided, origin);
    }

    async fn more(&mut self, timer: &mut Timer) -> More {
        if self.input.capacity() == 0 {
            *self.input = Buffer::take();
        }
        if let Some(server) = &mut self.server {
            let client = &mut self.session.client;
            let came =
                server.upload.until_response(client, server.socket, self.input, timer, self.control).await;
            return match came {
                Came::Bytes => More::Bytes,
                Came::End => More::End,
                Came::Late => More::Late,
                Came::Over(ending) => More::Over(ending),
            };
        }
        // The client may be silent for no longer than at any other time.
        let end = timer.deadline();
        let limit = self.decided.timeouts.client.or(self.session.frontend.cfg.timeout_client);
        let silent = limit.and_then(|limit| clock::now().checked_add(limit));
        let idle = silent.filter(|silent| end.is_none_or(|end| *silent < end));
        timer.set(idle.or(end));
        let (session, input, control) = (&mut *self.session, &mut *self.input, self.control);
        let more = std::future::poll_fn(|cx| {
            if control.is_killed() {
                return Poll::Ready(More::Killed);
            }
            match session.client.poll_read(cx, input.space()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(More::End),
                Poll::Ready(Ok(n)) => {
                    input.advance(n);
                    return Poll::Ready(More::Bytes);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(More::Failed),
                Poll::Pending => {}
            }
            timer.poll_expired(cx).map(|()| match idle {
                Some(_) => More::Over(Ending::new(Cause::ClientTimeout, Phase::Request)),
                None => More::Late,
            })
        })
        .await;
        timer.set(end);
        more
    }
}

/// How waiting for bytes ended.
enum More {
    Bytes,
    End,
    Late,
    Failed,
    Killed,
    Over(Ending),
}
