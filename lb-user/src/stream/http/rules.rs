//! Rules in the path of a request: the sets of its frontend and backend.

use std::sync::Arc;
use std::time::Duration;

use sockeye_http::BodyLength;
use sockeye_rules::{Action, Rule, RuleSets};
use sockeye_sample::{Body, Stage as RuleStage};

use super::super::abort::{Cause, Stage};
use super::super::rules::scene::View;
use super::super::rules::world;
use super::super::rules::{Messages, Run, Step, apply, chosen_backend, chosen_server, holds};
use super::forward::Answered;
use super::{Refusal, Transaction};
use crate::backend::Backend;
use crate::backend::assign::Named;

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

    pub(super) fn is_response(self) -> bool {
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
        self.look_at_response(answered, false);
        self.run_rules(back, Set::TcpResponse, false).await?;
        self.run_with(back, Set::Response, own, Some(&mut *answered)).await?;
        if !own {
            self.run_with(front, Set::Response, true, Some(answered)).await?;
        }
        self.after_response_rules().await
    }

    /// Whether there are rules for all responses.
    pub(super) fn has_after_rules(&self) -> bool {
        let of_backend = self.facts.backend.is_some_and(|be| !be.cfg.rules.http_after_response.is_empty());
        of_backend || !self.session.frontend.cfg.rules.http_after_response.is_empty()
    }

    /// `http-after-response` of the backend, then of the frontend. After a failure the response is not one to send: what
    /// the rules behind would have taken out of it is still there.
    pub(super) async fn after_response_rules(&mut self) -> Result<(), Refusal> {
        self.heads.ruled = true;
        self.heads.decided.begin_response();
        let frontend = self.session.frontend;
        let backend = self.facts.backend;
        let own = backend.is_some_and(|backend| self.is_own(backend));
        if let Some(backend) = backend {
            self.run_rules(&backend.cfg.rules, Set::AfterResponse, own).await?;
        }
        if !own {
            self.run_rules(&frontend.cfg.rules, Set::AfterResponse, true).await?;
        }
        Ok(())
    }

    /// Whether the backend is the other half of the frontend's `listen` section.
    fn is_own(&self, backend: &'static Backend) -> bool {
        self.session.frontend.is_own(backend)
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
                    if let Some(refusal) = self.wait_or_refuse(delay, Stage::Request).await {
                        return Err(refusal);
                    }
                    from = 0;
                    continue;
                }
                Step::Password(index, check) => {
                    if let Some(wrong) = Box::pin(check.run()).await {
                        self.heads.decided.wrong_password = Some(wrong);
                    }
                    from = index;
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
    pub(super) fn pass(
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
        let run = Run {
            rules,
            stage: set.stage(frontend),
            strict,
            may_wait: false,
            defers: world::has_users(),
            view,
        };
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
    pub(super) fn choose_server(&self, backend: &'static Backend) -> Option<Named> {
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
}
