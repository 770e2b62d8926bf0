//! What actions do to a message, its variables and the lists they name.

use sockeye_http::RequestHead;
use sockeye_rules::edit::{self, Part, RewriteFailed};
use sockeye_rules::{Action, VarConditions, normalize};
use sockeye_sample::{Format, Scene, Type, Value, VarId};

use super::change::Change;
use super::messages::Messages;
use super::run::Run;

/// Why an action changed nothing.
pub(super) enum Undone {
    Rewrite,
    Malformed,
}

impl From<RewriteFailed> for Undone {
    fn from(_: RewriteFailed) -> Self {
        Self::Rewrite
    }
}

impl Run<'_> {
    pub(super) fn apply(
        &self,
        action: &'static Action,
        messages: &mut Messages<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Undone> {
        if let Action::NormalizeUri(normalizer) = action {
            let Some(request) = messages.request.as_mut() else { return Ok(()) };
            return match normalize::normalize(*normalizer, request.target()) {
                Ok(Some(target)) => Ok(edit::set_target(request, &target)?),
                Ok(None) => Ok(()),
                Err(normalize::Malformed) => Err(Undone::Malformed),
            };
        }
        Ok(self.rewrite(action, messages, changes)?)
    }

    fn rewrite(
        &self,
        action: &'static Action,
        messages: &mut Messages<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), RewriteFailed> {
        let mut text = Vec::new();
        match action {
            Action::DelHeader(names) => {
                if let Some(headers) = messages.headers_mut() {
                    edit::del_header(headers, names);
                }
                Ok(())
            }
            Action::SetMethod(format) => {
                self.write(format, messages, &mut text);
                self.on_request(messages, |request| edit::set_method(request, &text))
            }
            Action::SetPath(format) => self.set_part(format, Part::Path, messages),
            Action::SetPathAndQuery(format) => self.set_part(format, Part::PathAndQuery, messages),
            Action::SetQuery(format) => self.set_part(format, Part::Query, messages),
            Action::SetUri(format) => self.set_part(format, Part::Uri, messages),
            Action::ReplacePath { regex, with } => self.replace_part(regex, with, Part::Path, messages),
            Action::ReplacePathAndQuery { regex, with } => {
                self.replace_part(regex, with, Part::PathAndQuery, messages)
            }
            Action::ReplaceUri { regex, with } => self.replace_part(regex, with, Part::Uri, messages),
            Action::SetStatus { status, reason } => {
                if let Some(response) = messages.response.as_mut() {
                    let reason = match reason {
                        Some(reason) => &**reason,
                        None => sockeye_http::reason_phrase(*status).as_bytes(),
                    };
                    response.set_status(*status, reason);
                }
                Ok(())
            }
            Action::SetVar { var, conditions, value } => {
                let scene = messages.scene(&self.view, self.stage);
                if let Some(value) = value.eval(&scene) {
                    set_var(&scene, *var, *conditions, value);
                }
                Ok(())
            }
            Action::SetVarFormat { var, conditions, value } => {
                self.write(value, messages, &mut text);
                let scene = messages.scene(&self.view, self.stage);
                set_var(&scene, *var, *conditions, Value::string(text));
                Ok(())
            }
            Action::UnsetVar(var) => {
                messages.scene(&self.view, self.stage).variables.unset(*var);
                Ok(())
            }
            Action::Capture { value, slot, length } => {
                let scene = messages.scene(&self.view, self.stage);
                if let Some(Value::Str(text)) = value.eval_as(Type::Str, &scene) {
                    let text = text[..text.len().min(*length)].to_vec();
                    self.view.decided.captured.borrow_mut().push((!messages.about_response, *slot, text));
                }
                Ok(())
            }
            Action::SetMap { map, key, value } => {
                let mut entry = Vec::new();
                self.write(key, messages, &mut text);
                self.write(value, messages, &mut entry);
                let _ = map.upsert(&text, &entry);
                Ok(())
            }
            Action::DelMap { map: list, key } | Action::DelAcl { list, key } => {
                self.write(key, messages, &mut text);
                let _ = list.del(&text);
                Ok(())
            }
            Action::AddAcl { list, key } => {
                self.write(key, messages, &mut text);
                let _ = list.insert_new(&text);
                Ok(())
            }
            stream => {
                if let Some(change) = self.change(stream, messages) {
                    changes.push(change);
                }
                Ok(())
            }
        }
    }

    fn set_part(
        &self,
        format: &'static Format,
        part: Part,
        messages: &mut Messages<'_>,
    ) -> Result<(), RewriteFailed> {
        let mut text = Vec::new();
        self.write(format, messages, &mut text);
        self.room(messages, text.len())?;
        self.on_request(messages, |request| edit::set_part(request, part, &text))
    }

    fn replace_part(
        &self,
        regex: &'static sockeye_pattern::Regex,
        with: &'static Format,
        part: Part,
        messages: &mut Messages<'_>,
    ) -> Result<(), RewriteFailed> {
        let mut template = Vec::new();
        self.write(with, messages, &mut template);
        self.on_request(messages, |request| {
            match edit::replace(regex, part.of(request.target()), &template)? {
                Some(value) => edit::set_part(request, part, &value),
                None => Ok(()),
            }
        })
    }

    /// Whether a head may grow by so many bytes: it must fit into a buffer, as HAProxy's does.
    pub(super) fn room(&self, messages: &Messages<'_>, more: usize) -> Result<(), RewriteFailed> {
        let bufsize = self.view.session.frontend.tune.bufsize;
        let (headers, line) = match (messages.about_response, &messages.request, &messages.response) {
            (true, _, Some(response)) => (response.headers(), response.reason().len()),
            (false, Some(request), _) => (request.headers(), request.target().len()),
            _ => return Ok(()),
        };
        if headers.text_bytes() + FIELD_BYTES * (headers.len() + 2) + more <= bufsize {
            return Ok(());
        }
        let fields = headers.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        let used = FIELD_BYTES + line + fields.sum::<usize>();
        if used + FIELD_BYTES + more <= bufsize { Ok(()) } else { Err(RewriteFailed) }
    }

    fn on_request(
        &self,
        messages: &mut Messages<'_>,
        change: impl FnOnce(&mut RequestHead) -> Result<(), RewriteFailed>,
    ) -> Result<(), RewriteFailed> {
        messages.request.as_mut().map_or(Ok(()), |request| change(request))
    }
}

/// What an edit of header fields writes; `None` for other actions.
pub(super) fn field_value(action: &Action) -> Option<&Format> {
    match action {
        Action::SetHeader { value, .. } | Action::AddHeader { value, .. } => Some(value),
        Action::ReplaceHeader { with, .. } | Action::ReplaceValue { with, .. } => Some(with),
        _ => None,
    }
}

/// What a field that the action adds takes besides its value.
pub(super) fn field_name_bytes(action: &Action) -> usize {
    match action {
        Action::SetHeader { name, .. } | Action::AddHeader { name, .. } => name.as_bytes().len(),
        _ => 0,
    }
}

/// A [`field_value`] that has to be made anew each time.
pub(super) fn computed_value(action: &Action) -> Option<&Format> {
    field_value(action).filter(|format| format.constant().is_none())
}

/// Does what an action with a [`field_value`] does.
pub(super) fn edit_field(
    headers: &mut sockeye_http::Headers,
    action: &Action,
    text: &[u8],
) -> Result<(), RewriteFailed> {
    match action {
        Action::SetHeader { name, .. } => edit::set_header(headers, name, text),
        Action::AddHeader { name, .. } => edit::add_header(headers, name, text),
        Action::ReplaceHeader { name, regex, .. } => edit::replace_header(headers, name, regex, text),
        Action::ReplaceValue { name, regex, .. } => edit::replace_value(headers, name, regex, text),
        _ => Ok(()),
    }
}

/// `set-var` with its conditions (manual 4.4 "set-var").
fn set_var(scene: &Scene<'_>, var: VarId, conditions: VarConditions, value: Value<'_>) {
    if conditions != VarConditions::default() {
        let known = scene.variables.get(var);
        let is_empty = |value: &Value<'_>| value.bytes().is_some_and(<[u8]>::is_empty);
        let refused = conditions.if_exists && known.is_none()
            || conditions.if_not_exists && known.is_some()
            || conditions.if_empty && !known.as_ref().is_some_and(is_empty)
            || conditions.if_not_empty && is_empty(&value)
            || conditions.if_set && known.is_none()
            || conditions.if_not_set && known.is_some()
            || conditions.if_greater && !compares(known.as_ref(), &value, std::cmp::Ordering::Greater)
            || conditions.if_less && !compares(known.as_ref(), &value, std::cmp::Ordering::Less);
        if refused {
            return;
        }
    }
    scene.variables.set(var, value);
}

/// Whether the value that is there compares so with the new one; a variable that is not set does.
fn compares(known: Option<&Value<'_>>, new: &Value<'_>, expected: std::cmp::Ordering) -> bool {
    let Some(known) = known else { return true };
    match (known.to_int(), new.to_int()) {
        (Some(known), Some(new)) => known.cmp(&new) == expected,
        _ => true,
    }
}

/// What a field costs in HAProxy's buffers besides its text.
const FIELD_BYTES: usize = 8;
