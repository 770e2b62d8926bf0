//! One pass over a rule set, from one rule that is due to the next.

use sockeye_rules::{Action, NumberOr};
use sockeye_sample::{Format, Stage, Verdict};

use super::change::{Change, duration, is_seen_later};
use super::messages::Messages;
use super::password::{Check, MayWait};
use super::rewrite::{Undone, computed_value, field_value};
use super::scene::View;

/// Rules whose actions may change the stream before something else must happen.
#[derive(Debug)]
pub enum Step {
    /// All rules were gone through.
    End,
    /// `allow`, `accept`: the rest of the set does not count.
    Stop,
    /// The action at this index is the caller's to do; rules behind it follow if it is not final.
    Act(usize, &'static Action),
    /// It depends on bytes that have not come.
    Wait(usize),
    /// It depends on a password whose hash has to be computed first; then it goes on with the rule of this index.
    Password(usize, Check),
    /// A rewrite failed in strict mode.
    Failed,
    /// The request is not one that the action can read (`normalize-uri … strict`).
    Invalid,
}

/// One pass over a rule set.
pub struct Run<'a> {
    pub rules: &'static [std::sync::Arc<sockeye_rules::Rule>],
    pub stage: Stage,
    /// `strict-mode`, on at the beginning of each set.
    pub strict: bool,
    /// Whether a rule may be undecided. Otherwise what has not come does not match.
    pub may_wait: bool,
    /// Whether the caller lets hashes of passwords be computed beside the worker.
    pub defers: bool,
    pub view: View<'a>,
}

impl Run<'_> {
    /// Goes through the rules from index `from`. `changes` gets what the caller has to apply to the stream itself,
    /// before it goes on.
    pub fn go(&mut self, from: usize, messages: &mut Messages<'_>, changes: &mut Vec<Change>) -> Step {
        // What a rule writes, in one place for all of them.
        let mut text = Vec::new();
        let mut next = from;
        loop {
            let (index, rule) = match self.due(next, messages, &mut text) {
                Due::Rule(index, rule) => (index, rule),
                Due::Wait(index) => return Step::Wait(index),
                Due::Password(index, check) => return Step::Password(index, check),
                Due::None => return Step::End,
            };
            next = index + 1;
            if let Some(format) = field_value(&rule.action) {
                let text = format.constant().unwrap_or(&text);
                if self.edit_field(messages, &rule.action, text).is_err() && self.strict {
                    return Step::Failed;
                }
                if !self.view.decided.captured.borrow().is_empty() {
                    return Step::Act(index, &rule.action);
                }
                continue;
            }
            match &rule.action {
                Action::Allow => return Step::Stop,
                Action::StrictMode(strict) => self.strict = *strict,
                Action::Deny(_)
                | Action::Tarpit(_)
                | Action::Return(_)
                | Action::Redirect(_)
                | Action::Auth { .. }
                | Action::Reject
                | Action::Close
                | Action::SilentDrop(_)
                | Action::SwitchHttp
                | Action::Expect(_)
                | Action::EarlyHint { .. }
                | Action::DoLog
                | Action::Pause(_)
                | Action::WaitForBody { .. } => return Step::Act(index, &rule.action),
                action => {
                    match self.apply(action, messages, changes) {
                        Err(Undone::Rewrite) if self.strict => return Step::Failed,
                        Err(Undone::Malformed) => return Step::Invalid,
                        _ => {}
                    }
                    let captured = !self.view.decided.captured.borrow().is_empty();
                    if captured || is_seen_later(action) && !changes.is_empty() {
                        // Rules behind it look at what it changed, so the caller applies it first.
                        return Step::Act(index, &rule.action);
                    }
                }
            }
        }
    }

    /// The next rule whose condition holds; `text` is then what it writes into a header field. Rules that are not due
    /// change nothing, so all that are looked at share one scene.
    #[inline]
    fn due(&self, from: usize, messages: &Messages<'_>, text: &mut Vec<u8>) -> Due {
        let Some(first) = self.rules.get(from) else { return Due::None };
        if first.condition.is_none() && computed_value(&first.action).is_none() {
            return Due::Rule(from, first);
        }
        let scene = messages.scene(&self.view, self.stage);
        let may_wait = self.defers.then(|| MayWait::new(self.view.decided.wrong_password));
        let asked = || may_wait.as_ref().and_then(MayWait::asked);
        for (index, rule) in self.rules.iter().enumerate().skip(from) {
            let verdict = rule.applies(&scene);
            if let Some(check) = asked() {
                return Due::Password(index, check);
            }
            match verdict {
                Verdict::Pass => {}
                Verdict::Unknown if self.may_wait => return Due::Wait(index),
                Verdict::Fail | Verdict::Unknown => continue,
            }
            if let Some(format) = computed_value(&rule.action) {
                text.clear();
                text.reserve(TEXT_BYTES_TYPICAL);
                self.view.write(format, &scene, messages.request.as_deref(), text);
                if let Some(check) = asked() {
                    return Due::Password(index, check);
                }
            }
            return Due::Rule(index, rule);
        }
        Due::None
    }

    pub(super) fn write(&self, format: &Format, messages: &Messages<'_>, out: &mut Vec<u8>) {
        match format.constant() {
            Some(text) => out.extend_from_slice(text),
            None => {
                let scene = messages.scene(&self.view, self.stage);
                self.view.write(format, &scene, messages.request.as_deref(), out);
            }
        }
    }

    /// Writes a format that the caller needs.
    pub fn format(&self, format: &Format, messages: &Messages<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(format, messages, &mut out);
        out
    }

    /// Bytes that the headers and the payload of a reply may take: it must fit into a buffer, as HAProxy's does.
    pub fn reply_bytes_max(&self) -> usize {
        self.view.session.frontend.tune.bufsize.saturating_sub(REPLY_LINE_BYTES)
    }

    /// How long `pause` lasts; `None` when its expression gives nothing.
    pub fn pause(
        &self,
        value: &'static NumberOr<std::time::Duration>,
        messages: &Messages<'_>,
    ) -> Option<std::time::Duration> {
        duration(value, &messages.scene(&self.view, self.stage))
    }
}

/// Room for the status line and the fields that every reply has.
const REPLY_LINE_BYTES: usize = 128;

/// What comes next in a set.
enum Due {
    Rule(usize, &'static sockeye_rules::Rule),
    /// It depends on bytes that have not come.
    Wait(usize),
    Password(usize, Check),
    None,
}

/// A value that is usually no longer than this is written without growing the text.
const TEXT_BYTES_TYPICAL: usize = 256;
