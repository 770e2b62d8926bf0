//! What actions do that is more than a change of the message, and the replies they give.

use std::sync::Arc;

use sockeye_conn::clock;
use sockeye_http::h1::EncodeOptions;
use sockeye_http::{Version, h1};
use sockeye_log::Origin;
use sockeye_rules::{Action, Content, ReplyRule, Rule};

use super::super::abort::{Cause, Stage};
use super::super::log;
use super::super::rules::reply;
use super::forward::Answered;
use super::reply::send_raw;
use super::rules::Set;
use super::{Refusal, Transaction};
use crate::services::replies::{ErrorReplies, Reply};

impl Transaction<'_> {
    /// Does what an action asks for that is more than a change of the message.
    pub(super) async fn act(
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
                    // As if no response had come.
                    self.facts.response_at = None;
                    self.facts.status = None;
                    match action {
                        Action::Close => Refusal::new(Cause::Server, stage, 502),
                        _ => Refusal { silent: true, ..Refusal::new(Cause::Proxy, Stage::Data, 502) },
                    }
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
                self.log_now(set, frontend);
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
                let refusal = self.wait_or_refuse(time?, stage).await;
                if !response {
                    // It counts as a part of the request's time.
                    self.facts.received_at = self.facts.received_at.map(|_| clock::now());
                }
                refusal
            }
            Action::WaitForBody { time, at_least } => match answered {
                Some(answered) => self.wait_for_response(answered, *time, *at_least).await.err(),
                None if response => None,
                None => self.wait_for_body(*time, *at_least).await.err(),
            },
            _ => None,
        }
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

    /// A line in the middle of the exchange (`do-log`).
    fn log_now(&mut self, set: Set, frontend: bool) {
        // Rules of TCP are older than what HTTP knows of the message.
        let known = (self.facts.received_at, self.facts.response_at, self.facts.status);
        match set {
            Set::TcpContent => self.facts.received_at = None,
            Set::TcpResponse => (self.facts.response_at, self.facts.status) = (None, None),
            _ => {}
        }
        let request = (set != Set::TcpContent || !frontend).then_some(&self.heads.request);
        let response = set.is_response().then_some(&self.heads.response);
        let origin = match set {
            Set::TcpContent => Origin::TcpRequestRule,
            Set::TcpResponse => Origin::TcpResponseRule,
            Set::Request | Set::Redirect => Origin::HttpRequestRule,
            Set::Response => Origin::HttpResponseRule,
            Set::AfterResponse => Origin::HttpAfterResponseRule,
        };
        let (session, decided) = (&*self.session, &self.heads.decided);
        log::now(session, &self.facts, &self.attempts, (request, response), decided, origin);
        (self.facts.received_at, self.facts.response_at, self.facts.status) = known;
    }

    /// One 103 with the hints collected so far.
    pub(super) async fn send_hints(&mut self, hints: &mut Vec<(Box<[u8]>, Vec<u8>)>) {
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
}
