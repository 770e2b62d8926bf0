//! Rules in the path of a request: the sets of its frontend and backend, and what their actions do here.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sockeye_conn::{Buffer, clock};
use sockeye_http::BodyLength;
use sockeye_http::h1::{ChunkDecoder, Decoded, EncodeOptions};
use sockeye_http::{Version, h1};
use sockeye_rules::{Action, Content, ReplyRule, Rule, RuleSets};
use sockeye_sample::{Body, Stage as RuleStage};

use super::super::abort::{Cause, Ending, Stage};
use super::super::rules::scene::View;
use super::super::rules::{Messages, Run, Step, apply, chosen_backend, chosen_server, holds, reply};
use super::forward::Answered;
use super::reply::send_raw;
use super::{Refusal, Transaction};
use crate::backend::Backend;
use crate::services::replies::{ErrorReplies, Reply};

/// Which rules of a section run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    TcpContent,
    Request,
    Redirect,
    TcpResponse,
    Response,
    AfterResponse,
}

impl Set {
    fn of(self, rules: &'static RuleSets) -> &'static [Arc<Rule>] {
        match self {
            Self::TcpContent => &rules.tcp_content,
            Self::Request => &rules.http_request,
            Self::Redirect => &rules.redirect,
            Self::TcpResponse => &rules.tcp_response,
            Self::Response => &rules.http_response,
            Self::AfterResponse => &rules.http_after_response,
        }
    }

    fn is_response(self) -> bool {
        matches!(self, Self::TcpResponse | Self::Response | Self::AfterResponse)
    }

    fn stage(self, frontend: bool) -> RuleStage {
        match (self, frontend) {
            (Self::TcpContent, true) => RuleStage::FrontendRequestContent,
            (Self::TcpContent, false) => RuleStage::BackendRequestContent,
            (Self::Request | Self::Redirect, true) => RuleStage::FrontendRequestHeader,
            (Self::Request | Self::Redirect, false) => RuleStage::BackendRequestHeader,
            (Self::TcpResponse, true) => RuleStage::FrontendResponseContent,
            (Self::TcpResponse, false) => RuleStage::BackendResponseContent,
            (Self::Response | Self::AfterResponse, true) => RuleStage::FrontendResponseHeader,
            (Self::Response | Self::AfterResponse, false) => RuleStage::BackendResponseHeader,
        }
    }
}

impl Transaction<'_> {
    /// Before any rule of a request runs. Whether there are `tcp-request content` rules: waiting for none would cost
    /// a future.
    pub(super) fn begin_rules(&mut self) -> bool {
        self.heads.ruled = true;
        self.decode_body_at_hand();
        !self.session.frontend.cfg.rules.tcp_content.is_empty()
    }

    /// `tcp-request content` of the frontend: over the request's head, which is there already.
    pub(super) async fn tcp_content_of_frontend(&mut self) -> Result<(), Refusal> {
        self.run_rules(&self.session.frontend.cfg.rules, Set::TcpContent, true).await
    }

    /// `http-request` and `redirect` of the frontend.
    pub(super) async fn request_rules_of_frontend(&mut self) -> Result<(), Refusal> {
        let rules = &self.session.frontend.cfg.rules;
        self.run_rules(rules, Set::Request, true).await?;
        self.run_rules(rules, Set::Redirect, true).await
    }

    /// The rules of a backend that is not the frontend's own section.
    pub(super) async fn request_rules_of_backend(
        &mut self,
        backend: &'static Backend,
    ) -> Result<(), Refusal> {
        if self.is_own(backend) {
            return Ok(());
        }
        self.heads.ruled = true;
        let rules = &backend.cfg.rules;
        self.run_rules(rules, Set::TcpContent, false).await?;
        self.run_rules(rules, Set::Request, false).await?;
        self.run_rules(rules, Set::Redirect, false).await
    }

    /// Before any rule of a response runs. Whether there are such rules.
    pub(super) fn begin_response_rules(&mut self, backend: &'static Backend) -> bool {
        self.heads.ruled = true;
        let status = self.heads.response.status();
        self.heads.decided.server_status = Some(status);
        self.heads.decided.begin_response();
        self.facts.status = Some(status);
        let (front, back) = (&self.session.frontend.cfg.rules, &backend.cfg.rules);
        !(back.tcp_response.is_empty() && back.http_response.is_empty() && front.http_response.is_empty())
            || self.has_after_rules()
    }

    /// The rules for a server's response: the backend's, then the frontend's; then those for all responses.
    pub(super) async fn response_rules(&mut self, answered: &mut Answered) -> Result<(), Refusal> {
        let backend = answered.backend;
        let (front, back) = (&self.session.frontend.cfg.rules, &backend.cfg.rules);
        let own = self.is_own(backend);
        self.run_rules(back, Set::TcpResponse, false).await?;
        self.run_with(back, Set::Response, own, Some(&mut *answered)).await?;
        if !own {
            self.run_with(front, Set::Response, true, Some(answered)).await?;
        }
        self.after_response_rules().await;
        Ok(())
    }

    /// Whether there are rules for all responses.
    pub(super) fn has_after_rules(&self) -> bool {
        let of_backend = self.facts.backend.is_some_and(|be| !be.cfg.rules.http_after_response.is_empty());
        of_backend || !self.session.frontend.cfg.rules.http_after_response.is_empty()
    }

    /// `http-after-response` of the backend, then of the frontend. A failure leaves the response as it is.
    pub(super) async fn after_response_rules(&mut self) {
        self.heads.ruled = true;
        self.heads.decided.begin_response();
        let frontend = self.session.frontend;
        let backend = self.facts.backend;
        let own = backend.is_some_and(|backend| self.is_own(backend));
        if let Some(backend) = backend {
            let _ = self.run_rules(&backend.cfg.rules, Set::AfterResponse, own).await;
        }
        if !own {
            let _ = self.run_rules(&frontend.cfg.rules, Set::AfterResponse, true).await;
        }
    }

    /// Whether the backend is the other half of the frontend's `listen` section.
    fn is_own(&self, backend: &'static Backend) -> bool {
        self.session.frontend.is_own(backend)
    }

    /// The replies of the backend, if it has one for the status, or of the frontend.
    pub(super) fn own_replies(&self, status: u16) -> &'static ErrorReplies {
        match self.facts.backend {
            Some(backend) if backend.replies.has(status) => &backend.replies,
            _ => &self.session.frontend.replies,
        }
    }

    /// What `deny`, `tarpit` and `return` answer.
    fn reply_of_rule(
        &mut self,
        rule: &'static ReplyRule,
        list: &'static [Arc<Rule>],
        set: Set,
        frontend: bool,
    ) -> Reply {
        if matches!(rule.content, Content::Default) {
            return (*self.own_reply(rule.status)).clone();
        }
        let own = self.own_replies(rule.status);
        let (run, messages) = self.pass(list, set, frontend, true);
        reply::of_rule(rule, &run, &messages, own)
    }

    /// The section's reply for a status: made by `http-error`, from a file, or built in.
    pub(super) fn own_reply(&mut self, status: u16) -> Arc<Reply> {
        let backend = self.facts.backend.map(|backend| &backend.cfg.rules.http_errors);
        let frontend = &self.session.frontend.cfg.rules.http_errors;
        let find = |rules: &'static [Arc<ReplyRule>]| rules.iter().find(|rule| rule.status == status);
        let rule = backend.and_then(|rules| find(rules)).or_else(|| find(frontend));
        let own = self.own_replies(status);
        match rule {
            Some(rule) if !matches!(rule.content, Content::Default) => {
                self.heads.ruled = true;
                let (run, messages) = self.pass(&[], Set::Request, true, true);
                Arc::new(reply::of_rule(rule, &run, &messages, own))
            }
            _ => own.error(status),
        }
    }

    /// Runs one set of a section; an error ends the request.
    pub(super) async fn run_rules(
        &mut self,
        rules: &'static RuleSets,
        set: Set,
        frontend: bool,
    ) -> Result<(), Refusal> {
        self.run_with(rules, set, frontend, None).await
    }

    /// The same while a server answers.
    async fn run_with(
        &mut self,
        rules: &'static RuleSets,
        set: Set,
        frontend: bool,
        mut answered: Option<&mut Answered>,
    ) -> Result<(), Refusal> {
        let list = set.of(rules);
        if list.is_empty() {
            return Ok(());
        }
        // The request is there already; what rules may wait for is the end of their time.
        let mut waiting = rules.inspect_delay.filter(|_| set == Set::TcpContent);
        let mut strict = true;
        let mut from = 0;
        let mut hints = Vec::new();
        loop {
            let mut changes = Vec::new();
            let step = {
                let (mut run, mut messages) = self.pass(list, set, frontend, strict);
                run.may_wait = waiting.is_some();
                messages.waiting = waiting.is_some();
                let step = run.go(from, &mut messages, &mut changes);
                strict = run.strict;
                step
            };
            for change in changes {
                apply(change, self.session, &mut self.heads.decided);
            }
            self.keep_captured();
            let (index, action) = match step {
                Step::Act(index, action) => (index, action),
                Step::Wait(_) if waiting.is_some() => {
                    let delay = waiting.take().unwrap_or_default();
                    if !self.wait(delay).await {
                        return Err(Refusal {
                            silent: true,
                            ..Refusal::new(Cause::Client, Stage::Request, 400)
                        });
                    }
                    from = 0;
                    continue;
                }
                Step::End | Step::Stop | Step::Wait(_) => {
                    self.send_hints(&mut hints).await;
                    return Ok(());
                }
                Step::Failed => return Err(self.failed_rewrite(set)),
                Step::Invalid => {
                    // HAProxy shows no time for a request that was not read to the end of its rules.
                    self.facts.received_at = None;
                    return Err(Refusal::new(Cause::Proxy, Stage::Request, 400));
                }
            };
            if let Action::EarlyHint { name, value } = action {
                let (run, messages) = self.pass(list, set, frontend, strict);
                hints.push((name.clone(), run.format(value, &messages)));
                // Hints without conditions that follow one another are one response.
                let goes_on = list.get(index + 1).is_some_and(|next| {
                    next.condition.is_none() && matches!(next.action, Action::EarlyHint { .. })
                });
                if !goes_on {
                    self.send_hints(&mut hints).await;
                }
            } else {
                self.send_hints(&mut hints).await;
                let answered = answered.as_deref_mut();
                if let Some(refusal) = Box::pin(self.act(list, set, frontend, action, answered)).await {
                    return Err(refusal);
                }
            }
            from = index + 1;
        }
    }

    /// What a pass over rules needs, borrowed apart.
    fn pass(
        &mut self,
        rules: &'static [Arc<Rule>],
        set: Set,
        frontend: bool,
        strict: bool,
    ) -> (Run<'_>, Messages<'_>) {
        let heads = &mut *self.heads;
        let view = View {
            session: self.session,
            facts: &self.facts,
            attempts: &self.attempts,
            decided: &heads.decided,
        };
        let run = Run { rules, stage: set.stage(frontend), strict, may_wait: false, view };
        let request_body = match heads.request.body {
            BodyLength::Chunked => Body { bytes: &heads.body, whole: heads.body_whole, length: None },
            BodyLength::Length(length) => {
                let at_hand = usize::try_from(length).unwrap_or(usize::MAX).min(self.input.len());
                Body {
                    bytes: &self.input.filled()[..at_hand],
                    whole: at_hand as u64 == length,
                    length: Some(length),
                }
            }
            _ => Body { bytes: &[], whole: true, length: Some(0) },
        };
        let response_body = Body {
            bytes: &heads.response_body,
            whole: heads.response_whole || heads.response.body == BodyLength::Length(0),
            // The length is known even of what was not waited for.
            length: match heads.response.body {
                BodyLength::Length(length) if set.is_response() => Some(length),
                _ => None,
            },
        };
        let messages = Messages {
            request: Some(&mut heads.request),
            response: set.is_response().then_some(&mut heads.response),
            request_body,
            response_body,
            buffer: None,
            sniffed: None,
            waiting: false,
            about_response: set.is_response(),
        };
        (run, messages)
    }

    fn failed_rewrite(&mut self, set: Set) -> Refusal {
        if !set.is_response() {
            self.facts.received_at = None;
        }
        let stage = if set.is_response() { Stage::Headers } else { Stage::Request };
        Refusal::new(Cause::Proxy, stage, 500)
    }

    /// Does what an action asks for that is more than a change of the message.
    async fn act(
        &mut self,
        list: &'static [Arc<Rule>],
        set: Set,
        frontend: bool,
        action: &'static Action,
        answered: Option<&mut Answered>,
    ) -> Option<Refusal> {
        let response = set.is_response();
        let stage = if response { Stage::Headers } else { Stage::Request };
        match action {
            Action::Deny(rule) | Action::Return(rule) => {
                let reply = self.reply_of_rule(rule, list, set, frontend);
                let denied = matches!(action, Action::Deny(_));
                let cause = if denied { Cause::Proxy } else { Cause::Local };
                Some(Refusal::with_reply(cause, stage, reply))
            }
            Action::Tarpit(rule) => {
                let reply = self.reply_of_rule(rule, list, set, frontend);
                Some(self.tarpit(reply).await)
            }
            Action::Redirect(rule) => {
                let (run, messages) = self.pass(list, set, frontend, true);
                let reply = reply::of_redirect(rule, &run, &messages)?;
                Some(Refusal::with_reply(Cause::Local, stage, reply))
            }
            Action::Auth { realm } => {
                let request = &self.heads.request;
                let to_proxy = self.session.frontend.cfg.options.http_use_proxy_header
                    && !request.target().starts_with(b"/")
                    && request.target() != b"*";
                let own = self.own_replies(if to_proxy { 407 } else { 401 });
                let name = match self.facts.backend {
                    Some(backend) => backend.name(),
                    None => self.session.frontend.name(),
                };
                let realm = realm.as_deref().unwrap_or(name);
                Some(Refusal::with_reply(Cause::Local, stage, reply::of_auth(realm, to_proxy, own)))
            }
            Action::Reject | Action::Close => {
                let refusal = Refusal::new(Cause::Proxy, stage, 400);
                Some(if response {
                    Refusal::new(Cause::Proxy, stage, 502)
                } else {
                    self.facts.received_at = None;
                    if set == Set::TcpContent {
                        // HTTP has not begun for it: the log shows no request.
                        self.facts.understood = false;
                    }
                    Refusal { silent: true, ..refusal }
                })
            }
            Action::DoLog => {
                self.log_now();
                None
            }
            Action::SilentDrop(how) => {
                self.session.silent_drop(*how);
                if !response {
                    self.facts.received_at = None;
                }
                // Whatever it was, HAProxy's line says that it ended with the request.
                Some(Refusal { silent: true, ..Refusal::new(Cause::Proxy, Stage::Request, 400) })
            }
            Action::Pause(value) => {
                let time = {
                    let (run, messages) = self.pass(list, set, frontend, true);
                    run.pause(value, &messages)
                };
                if let Some(time) = time
                    && !self.wait(time).await
                {
                    return Some(Refusal { silent: true, ..Refusal::new(Cause::Client, stage, 400) });
                }
                None
            }
            Action::WaitForBody { time, at_least } => match answered {
                Some(answered) => self.wait_for_response(answered, *time, *at_least).await.err(),
                None if response => None,
                None => self.wait_for_body(*time, *at_least).await.err(),
            },
            _ => None,
        }
    }

    /// `tarpit`: the reply comes only after a while.
    async fn tarpit(&mut self, reply: Reply) -> Refusal {
        let fe = self.session.frontend.cfg;
        let be = self.facts.backend.map(|backend| backend.cfg);
        let limit = self
            .heads
            .decided
            .timeouts
            .tarpit
            .or_else(|| be.and_then(|be| be.timeout_tarpit))
            .or(fe.timeout_tarpit)
            .or_else(|| be.and_then(|be| be.timeout_connect))
            .or_else(|| self.session.frontend.backend.and_then(|backend| backend.cfg.timeout_connect));
        self.facts.received_at = None;
        self.facts.tarpitted_at = Some(clock::now());
        let stayed = self.wait(limit.unwrap_or_default()).await;
        self.facts.released_at = Some(clock::now());
        let mut refusal = Refusal::with_reply(Cause::Proxy, Stage::Tarpit, reply);
        if !stayed {
            refusal.ending = Ending::new(Cause::Client, Stage::Tarpit);
            refusal.silent = true;
        }
        refusal
    }

    /// Waits; whether the client is still there.
    async fn wait(&mut self, time: Duration) -> bool {
        self.timer.set(clock::now().checked_add(time));
        let (session, control, timer) = (&*self.session, self.control, &mut *self.timer);
        std::future::poll_fn(|cx| {
            if control.is_killed() || session.client.is_closed_by_peer(cx) {
                return Poll::Ready(false);
            }
            timer.poll_expired(cx).map(|()| true)
        })
        .await
    }

    /// One 103 with the hints collected so far.
    async fn send_hints(&mut self, hints: &mut Vec<(Box<[u8]>, Vec<u8>)>) {
        if hints.is_empty() || self.heads.request.version() < Version::Http11 {
            hints.clear();
            return;
        }
        let mut head = sockeye_http::ResponseHead::new();
        head.set_status(103, b"Early Hints");
        head.set_version(Version::Http11);
        for (name, value) in hints.drain(..) {
            head.headers_mut().append(&name, &value);
        }
        let mut out = Vec::new();
        h1::encode_response(&head, &mut out, EncodeOptions::default());
        send_raw(self.session, &out).await;
    }

    /// Decides the backend: `use_backend` rules in order, then the default one.
    pub(super) fn choose_backend(&self) -> Option<&'static Backend> {
        let heads = &*self.heads;
        let view = View {
            session: self.session,
            facts: &self.facts,
            attempts: &self.attempts,
            decided: &heads.decided,
        };
        chosen_backend(&view, Some(&heads.request), None)
    }

    /// `use-server`: the server that a rule names.
    pub(super) fn choose_server(&self, backend: &'static Backend) -> Option<usize> {
        let heads = &*self.heads;
        let view = View {
            session: self.session,
            facts: &self.facts,
            attempts: &self.attempts,
            decided: &heads.decided,
        };
        chosen_server(&view, backend, Some(&heads.request), None)
    }

    /// How long the client and the server may be silent.
    pub(super) fn timeouts(&self, backend: &Backend) -> (Option<Duration>, Option<Duration>) {
        let rules = &self.heads.decided.timeouts;
        let client = rules.client.or(self.session.frontend.cfg.timeout_client);
        (client, rules.server.or(backend.cfg.timeout_server))
    }

    /// Whether `monitor fail` holds.
    pub(super) fn monitor_fails(&self) -> bool {
        let heads = &*self.heads;
        let view = View {
            session: self.session,
            facts: &self.facts,
            attempts: &self.attempts,
            decided: &heads.decided,
        };
        let rules = &self.session.frontend.cfg.rules.monitor_fail;
        rules.iter().any(|condition| {
            holds(Some(condition), &view, Some(&heads.request), None, RuleStage::FrontendRequestHeader)
        })
    }

    /// Moves what rules captured to where the log finds it.
    fn keep_captured(&mut self) {
        for (request, slot, text) in self.heads.decided.captured.get_mut().drain(..) {
            if let Some(captured) = &mut self.facts.captured {
                captured.set(&self.session.frontend.cfg.captures, request, slot, &text);
            }
        }
    }

    /// Waits for the body, or as much of it as a rule needs or a buffer holds.
    async fn wait_for_body(&mut self, time: Duration, at_least: u64) -> Result<(), Refusal> {
        let enough = (at_least > 0).then_some(at_least);
        let before = self.timer.deadline();
        let deadline = clock::now().checked_add(time);
        let waited = self.read_body(deadline, enough).await;
        self.timer.set(before);
        self.decode_body_at_hand();
        // The head was understood: the reply is one of the exchange.
        waited.map_err(|refusal| Refusal {
            invalid: false,
            silent: refusal.ending.cause == Cause::Client,
            ..refusal
        })
    }

    /// Waits for the content of the response, or as much of it as a rule needs or a buffer holds. What is left of the
    /// request goes on only after that.
    async fn wait_for_response(
        &mut self,
        answered: &mut Answered,
        time: Duration,
        at_least: u64,
    ) -> Result<(), Refusal> {
        let before = self.timer.deadline();
        self.timer.set(clock::now().checked_add(time));
        let body = self.heads.response.body;
        let rules = super::response_rules(answered.backend);
        let mut ended = false;
        loop {
            let heads = &mut *self.heads;
            let bytes = answered.server_input.filled();
            heads.response_body.clear();
            heads.response_whole = match body {
                BodyLength::None | BodyLength::Tunnel => return Ok(()),
                BodyLength::Length(length) => {
                    let here = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
                    heads.response_body.extend_from_slice(&bytes[..here]);
                    here as u64 == length
                }
                BodyLength::UntilClose => {
                    heads.response_body.extend_from_slice(bytes);
                    ended
                }
                BodyLength::Chunked => {
                    let (whole, merged) = decode_chunks(bytes, rules, &mut heads.response_body);
                    if let Some(merged) = merged {
                        answered.server_input.clear();
                        answered.server_input.append(&merged);
                    }
                    whole
                }
            };
            let enough = at_least > 0 && heads.response_body.len() as u64 >= at_least;
            if heads.response_whole || enough || answered.server_input.is_full() {
                break;
            }
            if ended {
                return Err(Refusal::new(Cause::Server, Stage::Headers, 502));
            }
            if answered.server_input.capacity() == 0 {
                answered.server_input = Buffer::take();
            }
            let (control, timer) = (self.control, &mut *self.timer);
            let (socket, input) = (&mut answered.reached.socket, &mut answered.server_input);
            let read = std::future::poll_fn(|cx| {
                if control.is_killed() {
                    return Poll::Ready(None);
                }
                match socket.poll_read(cx, input.space()) {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending => timer.poll_expired(cx).map(|()| None),
                }
            })
            .await;
            match read {
                Some(Ok(0)) => ended = true,
                Some(Ok(n)) => answered.server_input.advance(n),
                Some(Err(_)) => return Err(Refusal::new(Cause::Server, Stage::Headers, 502)),
                None if self.control.is_killed() => {
                    return Err(Refusal::new(self.control.cause(), Stage::Headers, 503));
                }
                None => return Err(Refusal::new(Cause::ServerTimeout, Stage::Headers, 504)),
            }
        }
        self.timer.set(before);
        Ok(())
    }

    /// Decodes the chunks that are at hand, so that expressions can look at the body.
    pub(super) fn decode_body_at_hand(&mut self) {
        if self.heads.request.body != BodyLength::Chunked {
            return;
        }
        let heads = &mut *self.heads;
        heads.body.clear();
        let mut decoder = ChunkDecoder::new();
        let limits = super::request_rules(self.session.frontend);
        let mut rest = self.input.filled();
        heads.body_whole = loop {
            match decoder.decode(rest, &limits.limits, limits.strictness) {
                Ok((used, Decoded::Data(data))) => {
                    heads.body.extend_from_slice(&rest[data]);
                    rest = &rest[used..];
                }
                Ok((_, Decoded::Done)) => break true,
                Ok((_, Decoded::NeedMore)) | Err(_) => break false,
            }
        };
    }
}

/// Decodes the chunks in `bytes` into `out`: whether the last one is there, and then all of them as one chunk, which is
/// how HAProxy sends on what it held.
fn decode_chunks(bytes: &[u8], rules: crate::mux::Rules, out: &mut Vec<u8>) -> (bool, Option<Vec<u8>>) {
    let mut decoder = ChunkDecoder::new();
    let mut rest = bytes;
    loop {
        match decoder.decode(rest, &rules.limits, rules.strictness) {
            Ok((used, Decoded::Data(data))) => {
                out.extend_from_slice(&rest[data]);
                rest = &rest[used..];
            }
            Ok((used, Decoded::Done)) => {
                // Trailers and what is behind the message stay where they are.
                let merges = used == rest.len() && decoder.trailers().is_empty() && !out.is_empty();
                let merged = merges.then(|| {
                    let mut merged = format!("{:x}\r\n", out.len()).into_bytes();
                    merged.extend_from_slice(out);
                    merged.extend_from_slice(b"\r\n0\r\n\r\n");
                    merged
                });
                return (true, merged.filter(|merged| merged.len() <= bytes.len()));
            }
            Ok((_, Decoded::NeedMore)) | Err(_) => return (false, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_http::h1::{Limits, Strictness};

    use super::*;

    #[test]
    fn chunks_that_were_waited_for_are_one() {
        let check = |bytes: &str, content: &str, whole: bool, merged: Option<&str>| {
            let rules = crate::mux::Rules { limits: Limits::default(), strictness: Strictness::Strict };
            let mut out = Vec::new();
            let decoded = decode_chunks(bytes.as_bytes(), rules, &mut out);
            assert_eq!(out, content.as_bytes(), "{bytes:?}");
            assert_eq!(decoded, (whole, merged.map(|merged| merged.as_bytes().to_vec())), "{bytes:?}");
        };
        check("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", true, Some("3\r\nabc\r\n0\r\n\r\n"));
        check("0\r\n\r\n", "", true, None);
        check("1\r\na\r\n2\r\nb", "ab", false, None);
        check("1\r\na\r\n0\r\nx: y\r\n\r\n", "a", true, None);
        check("1\r\na\r\n0\r\n\r\nmore", "a", true, None);
        check("zz\r\n", "", false, None);
    }
}
