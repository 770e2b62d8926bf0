//! What actions do to a message, its variables and the lists they name.

use sockeye_http::{FieldName, RequestHead};
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

/// What makes room for what an action writes.
#[derive(Clone, Copy)]
enum Leaves<'a> {
    Nothing,
    /// Bytes of the start line.
    Line(usize),
    /// All fields of that name.
    Field(&'a FieldName),
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
        self.put_part(part, &text, messages)
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
        let Some(request) = messages.request.as_deref() else { return Ok(()) };
        match edit::replace(regex, part.of(request.target()), &template)? {
            Some(value) => self.put_part(part, &value, messages),
            None => Ok(()),
        }
    }

    fn put_part(&self, part: Part, value: &[u8], messages: &mut Messages<'_>) -> Result<(), RewriteFailed> {
        let Some(request) = messages.request.as_deref() else { return Ok(()) };
        self.room(messages, value.len(), Leaves::Line(part.of(request.target()).len()))?;
        self.on_request(messages, |request| edit::set_part(request, part, value))
    }

    /// Does what an action with a [`field_value`] does; `text` is that value.
    pub(super) fn edit_field(
        &self,
        messages: &mut Messages<'_>,
        action: &Action,
        text: &[u8],
    ) -> Result<(), RewriteFailed> {
        match action {
            Action::SetHeader { name, .. } => {
                self.room(messages, name.as_bytes().len() + text.len(), Leaves::Field(name))?;
            }
            Action::AddHeader { name, .. } => {
                self.room(messages, name.as_bytes().len() + text.len(), Leaves::Nothing)?;
            }
            _ => {}
        }
        let free = match action {
            Action::ReplaceHeader { .. } | Action::ReplaceValue { .. } => {
                self.free(messages, Leaves::Nothing)
            }
            _ => 0,
        };
        let Some(headers) = messages.headers_mut() else { return Ok(()) };
        let name = match action {
            Action::SetHeader { name, .. } => {
                edit::set_header(headers, name, text)?;
                name
            }
            Action::AddHeader { name, .. } => {
                edit::add_header(headers, name, text)?;
                name
            }
            Action::ReplaceHeader { name, regex, .. } => {
                edit::replace_header(headers, name, regex, text, free)?;
                name
            }
            Action::ReplaceValue { name, regex, .. } => {
                edit::replace_value(headers, name, regex, text, free)?;
                name
            }
            _ => return Ok(()),
        };
        if !messages.about_response && name.as_bytes() == b"host" {
            self.on_request(messages, edit::follow_host)?;
        }
        Ok(())
    }

    /// Whether a head may grow by so many bytes after something has left it.
    fn room(&self, messages: &Messages<'_>, more: usize, leaves: Leaves<'_>) -> Result<(), RewriteFailed> {
        let Some((headers, _)) = messages.edited() else { return Ok(()) };
        let bufsize = self.view.session.frontend.tune.bufsize;
        // All text that is held is more than what is in use, and nearly always little enough.
        let fits = headers.text_bytes() + FIELD_BYTES * (headers.len() + 2) + more <= bufsize;
        if fits || more <= self.free(messages, leaves) { Ok(()) } else { Err(RewriteFailed) }
    }

    /// Bytes by which a head may grow after something has left it: it must fit into a buffer, as HAProxy's does.
    fn free(&self, messages: &Messages<'_>, leaves: Leaves<'_>) -> usize {
        let Some((headers, line)) = messages.edited() else { return 0 };
        let fields = headers.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        let leaving = match leaves {
            Leaves::Nothing => 0,
            Leaves::Line(bytes) => bytes,
            Leaves::Field(name) => {
                let name = name.as_bytes();
                headers.get_all(name).map(|value| name.len() + value.len() + FIELD_BYTES).sum()
            }
        };
        let used = 2 * FIELD_BYTES + line + fields.sum::<usize>();
        self.view.session.frontend.tune.bufsize.saturating_sub(used.saturating_sub(leaving))
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

/// A [`field_value`] that has to be made anew each time.
pub(super) fn computed_value(action: &Action) -> Option<&Format> {
    field_value(action).filter(|format| format.constant().is_none())
}

/// `set-var` with its conditions (manual 4.4 "set-var").
fn set_var(scene: &Scene<'_>, var: VarId, conditions: VarConditions, value: Value<'_>) {
    if conditions != VarConditions::default() && !conditions.hold(scene.variables.get(var).as_ref(), &value) {
        return;
    }
    scene.variables.set(var, value);
}

/// What a field costs in HAProxy's buffers besides its text.
const FIELD_BYTES: usize = 8;
