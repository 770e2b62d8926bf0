//! What the file decides: rule sets run over a stream.
//!
//! A set is gone through without waiting; what needs the network or a clock stops it with a [`Step`], and the caller
//! goes on behind that rule. [`decided`] keeps what rules changed about a stream, [`scene`] is what expressions see.

pub mod decided;
pub mod reply;
pub mod scene;
pub mod tcp;
pub mod world;

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};

use sockeye_conn::Peer;
use sockeye_http::{RequestHead, ResponseHead};
use sockeye_rules::edit::{self, Part, RewriteFailed};
use sockeye_rules::{
    Action, BackendName, LogLevel, NumberOr, ServerName, TimeoutKind, VarConditions, normalize,
};
use sockeye_sample::{Expr, Format, Scene, Stage, Target, Type, Value, VarId, Verdict};

use crate::backend::{Backend, Server};
use crate::frontend::session::Session;
use decided::Decided;

use scene::View;

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
    /// A rewrite failed in strict mode.
    Failed,
    /// The request is not one that the action can read (`normalize-uri … strict`).
    Invalid,
}

/// The messages that rules may look at and change.
#[derive(Debug)]
pub struct Messages<'a> {
    pub request: Option<&'a mut RequestHead>,
    pub response: Option<&'a mut ResponseHead>,
    pub request_body: sockeye_sample::Body<'a>,
    pub response_body: sockeye_sample::Body<'a>,
    pub buffer: Option<sockeye_sample::Bytes<'a>>,
    /// The request that a TCP stream begins with, parsed when an expression asks for it.
    pub sniffed: Option<&'a OnceCell<RequestHead>>,
    /// The time that rules may wait is not over.
    pub waiting: bool,
    /// Whether header actions are about the response.
    pub about_response: bool,
}

impl Messages<'_> {
    fn scene<'s>(&'s self, view: &'s View<'s>, stage: Stage) -> Scene<'s> {
        let mut scene = view.scene(stage);
        scene.request = self.request.as_deref();
        scene.response = self.response.as_deref();
        scene.request_body = self.request_body;
        scene.response_body = self.response_body;
        scene.buffer = self.buffer;
        scene.sniffed = self.sniffed;
        scene.waiting = self.waiting;
        scene
    }

    fn headers_mut(&mut self) -> Option<&mut sockeye_http::Headers> {
        if self.about_response {
            self.response.as_mut().map(|response| response.headers_mut())
        } else {
            self.request.as_mut().map(|request| request.headers_mut())
        }
    }
}

/// Why an action changed nothing.
enum Undone {
    Rewrite,
    Malformed,
}

impl From<RewriteFailed> for Undone {
    fn from(_: RewriteFailed) -> Self {
        Self::Rewrite
    }
}

/// One pass over a rule set.
pub struct Run<'a> {
    pub rules: &'static [std::sync::Arc<sockeye_rules::Rule>],
    pub stage: Stage,
    /// `strict-mode`, on at the beginning of each set.
    pub strict: bool,
    /// Whether a rule may be undecided. Otherwise what has not come does not match.
    pub may_wait: bool,
    pub view: View<'a>,
}

/// What a rule changes that is not in a message: applied by the caller, who owns it.
#[derive(Debug)]
pub enum Change {
    LogLevel(LogLevel),
    Timeout(TimeoutKind, std::time::Duration),
    Source(IpAddr),
    SourcePort(u16),
    Destination(IpAddr),
    DestinationPort(u16),
    PriorityClass(i64),
    PriorityOffset(i64),
    Retries(u32),
    FrontMark(u32),
    FrontTos(u32),
    BackMark(u32),
    BackTos(u32),
    DisableRetry,
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
                Due::None => return Step::End,
            };
            next = index + 1;
            if let Some(format) = field_value(&rule.action) {
                let text = format.constant().unwrap_or(&text);
                let edited =
                    self.room(messages, field_name_bytes(&rule.action) + text.len()).and_then(|()| {
                        messages
                            .headers_mut()
                            .map_or(Ok(()), |headers| edit_field(headers, &rule.action, text))
                    });
                if edited.is_err() && self.strict {
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
        for (index, rule) in self.rules.iter().enumerate().skip(from) {
            match rule.applies(&scene) {
                Verdict::Pass => {}
                Verdict::Unknown if self.may_wait => return Due::Wait(index),
                Verdict::Fail | Verdict::Unknown => continue,
            }
            if let Some(format) = computed_value(&rule.action) {
                text.clear();
                text.reserve(TEXT_BYTES_TYPICAL);
                self.view.write(format, &scene, messages.request.as_deref(), text);
            }
            return Due::Rule(index, rule);
        }
        Due::None
    }

    fn apply(
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

    /// What an action changes about the stream itself.
    fn change(&self, action: &'static Action, messages: &Messages<'_>) -> Option<Change> {
        let scene = messages.scene(&self.view, self.stage);
        let int = |expr: &'static Expr| match expr.eval_as(Type::Int, &scene) {
            Some(Value::Int(value)) => Some(value),
            _ => None,
        };
        let ip = |expr: &'static Expr| expr.eval_as(Type::Addr, &scene)?.to_ip();
        let port = |expr: &'static Expr| u16::try_from(int(expr)?).ok();
        let number = |value: &'static NumberOr<u32>| match value {
            NumberOr::Fixed(value) => Some(*value),
            NumberOr::Expr(expr) => u32::try_from(int(expr)?).ok(),
        };
        Some(match action {
            Action::SetLogLevel(level) => Change::LogLevel(*level),
            Action::SetTimeout { which, value } => Change::Timeout(*which, duration(value, &scene)?),
            Action::SetSource(expr) => Change::Source(ip(expr)?),
            Action::SetSourcePort(expr) => Change::SourcePort(port(expr)?),
            Action::SetDestination(expr) => Change::Destination(ip(expr)?),
            Action::SetDestinationPort(expr) => Change::DestinationPort(port(expr)?),
            Action::SetPriorityClass(expr) => Change::PriorityClass(int(expr)?),
            Action::SetPriorityOffset(expr) => Change::PriorityOffset(int(expr)?),
            Action::SetRetries(value) => Change::Retries(number(value)?),
            Action::SetFrontMark(value) => Change::FrontMark(number(value)?),
            Action::SetFrontTos(value) => Change::FrontTos(number(value)?),
            Action::SetBackMark(value) => Change::BackMark(number(value)?),
            Action::SetBackTos(value) => Change::BackTos(number(value)?),
            Action::DisableRetry => Change::DisableRetry,
            _ => return None,
        })
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
    fn room(&self, messages: &Messages<'_>, more: usize) -> Result<(), RewriteFailed> {
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

    fn write(&self, format: &Format, messages: &Messages<'_>, out: &mut Vec<u8>) {
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

    /// How long `pause` lasts; `None` when its expression gives nothing.
    pub fn pause(
        &self,
        value: &'static NumberOr<std::time::Duration>,
        messages: &Messages<'_>,
    ) -> Option<std::time::Duration> {
        duration(value, &messages.scene(&self.view, self.stage))
    }
}

/// What comes next in a set.
enum Due {
    Rule(usize, &'static sockeye_rules::Rule),
    /// It depends on bytes that have not come.
    Wait(usize),
    None,
}

/// A value that is usually no longer than this is written without growing the text.
const TEXT_BYTES_TYPICAL: usize = 256;

/// What an edit of header fields writes; `None` for other actions.
fn field_value(action: &Action) -> Option<&Format> {
    match action {
        Action::SetHeader { value, .. } | Action::AddHeader { value, .. } => Some(value),
        Action::ReplaceHeader { with, .. } | Action::ReplaceValue { with, .. } => Some(with),
        _ => None,
    }
}

/// What a field that the action adds takes besides its value.
fn field_name_bytes(action: &Action) -> usize {
    match action {
        Action::SetHeader { name, .. } | Action::AddHeader { name, .. } => name.as_bytes().len(),
        _ => 0,
    }
}

/// A [`field_value`] that has to be made anew each time.
fn computed_value(action: &Action) -> Option<&Format> {
    field_value(action).filter(|format| format.constant().is_none())
}

/// Does what an action with a [`field_value`] does.
fn edit_field(
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

/// Whether rules behind the action can see what it changed about the stream.
fn is_seen_later(action: &Action) -> bool {
    matches!(
        action,
        Action::SetSource(_)
            | Action::SetSourcePort(_)
            | Action::SetDestination(_)
            | Action::SetDestinationPort(_)
            | Action::SetTimeout { .. }
            | Action::SetPriorityClass(_)
            | Action::SetPriorityOffset(_)
            | Action::SetRetries(_)
    )
}

fn duration(value: &'static NumberOr<std::time::Duration>, scene: &Scene<'_>) -> Option<std::time::Duration> {
    match value {
        NumberOr::Fixed(time) => Some(*time),
        NumberOr::Expr(expr) => match expr.eval(scene)?.cast(Type::Int)? {
            Value::Int(milliseconds) => {
                u64::try_from(milliseconds).ok().map(std::time::Duration::from_millis)
            }
            _ => None,
        },
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

/// Whether `condition` holds now.
pub fn holds(
    condition: Option<&sockeye_sample::Condition>,
    view: &View<'_>,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
    stage: Stage,
) -> bool {
    let Some(condition) = condition else { return true };
    let sniffed = OnceCell::new();
    let mut scene = view.scene(stage);
    scene.request = request;
    scene.buffer = buffer;
    scene.sniffed = buffer.is_some().then_some(&sniffed);
    condition.eval(&scene) == Verdict::Pass
}

/// The backend of the first `use_backend` rule that holds, or the default one.
pub fn chosen_backend(
    view: &View<'_>,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
) -> Option<&'static Backend> {
    let frontend = view.session.frontend;
    for rule in &frontend.cfg.rules.use_backend {
        if !holds(rule.condition.as_ref(), view, request, buffer, Stage::FrontendUseBackend) {
            continue;
        }
        match &rule.target {
            BackendName::Static(name) => {
                if let Some(Target::Backend(index)) = name.target() {
                    return world::world().backend(index);
                }
            }
            BackendName::Dynamic(format) => {
                let name = written(format, view, request, buffer, Stage::FrontendUseBackend);
                // A name that no backend has ends the search, as HAProxy's does.
                return world::world().find_backend(&name).or(frontend.backend);
            }
        }
    }
    frontend.backend
}

/// The server of the first `use-server` rule that holds and whose server may be used; servers that are down may be
/// where `force-persist` holds.
pub fn chosen_server(
    view: &View<'_>,
    backend: &'static Backend,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
) -> Option<usize> {
    let rules = &backend.cfg.rules;
    for rule in &rules.use_server {
        if !holds(rule.condition.as_ref(), view, request, buffer, Stage::BackendServerChoice) {
            continue;
        }
        let index = match &rule.target {
            ServerName::Static(name) => match name.target() {
                Some(Target::Server { server, .. }) => Some(server),
                _ => None,
            },
            ServerName::Dynamic(format) => {
                let name = written(format, view, request, buffer, Stage::BackendServerChoice);
                let named = |server: &Server| server.name().as_bytes() == name;
                // A name that no server has ends the search, as HAProxy's does.
                Some(backend.servers.iter().position(named)?)
            }
        };
        if let Some(index) = index
            && (backend.servers[index].is_up() || forced(view, backend, request, buffer))
        {
            return Some(index);
        }
    }
    None
}

/// Whether the first persistence rule that holds is a `force-persist`.
fn forced(
    view: &View<'_>,
    backend: &'static Backend,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
) -> bool {
    let mut rules = backend.cfg.rules.persist.iter();
    let rule =
        rules.find(|rule| holds(Some(&rule.condition), view, request, buffer, Stage::BackendServerChoice));
    rule.is_some_and(|rule| rule.force)
}

fn written(
    format: &Format,
    view: &View<'_>,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
    stage: Stage,
) -> Vec<u8> {
    let mut scene = view.scene(stage);
    scene.request = request;
    scene.buffer = buffer;
    let mut out = Vec::new();
    view.write(format, &scene, request, &mut out);
    out
}

/// The range of `set-priority-class` and, in milliseconds, of `set-priority-offset` (manual 4.4); beyond it the nearest
/// value counts.
const CLASS_MAX: i64 = 2047;
const OFFSET_MAX_MS: i64 = 524_287;

/// What a field costs in HAProxy's buffers besides its text.
const FIELD_BYTES: usize = 8;

/// Stands for an address that nothing is known of.
const UNKNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Applies what a rule changes about the stream itself.
pub fn apply(change: Change, session: &mut Session, decided: &mut Decided) {
    match change {
        Change::LogLevel(level) => decided.log_level = Some(level),
        Change::Timeout(kind, time) => {
            let timeouts = &mut decided.timeouts;
            let slot = match kind {
                TimeoutKind::Client => &mut timeouts.client,
                TimeoutKind::Connect => &mut timeouts.connect,
                TimeoutKind::Queue => &mut timeouts.queue,
                TimeoutKind::Server => &mut timeouts.server,
                TimeoutKind::Tarpit => &mut timeouts.tarpit,
                TimeoutKind::Tunnel => &mut timeouts.tunnel,
            };
            *slot = Some(time);
        }
        Change::Source(ip) => session.peer = Peer::from(SocketAddr::new(ip, session.peer.port())),
        Change::SourcePort(port) => {
            session.peer = Peer::from(SocketAddr::new(session.peer.ip().unwrap_or(UNKNOWN), port));
        }
        Change::Destination(ip) => {
            let port = session.destination().map_or(0, |addr| addr.port());
            session.wanted = Some(SocketAddr::new(ip, port));
        }
        Change::DestinationPort(port) => {
            let ip = session.destination().map_or(UNKNOWN, |addr| addr.ip());
            session.wanted = Some(SocketAddr::new(ip, port));
        }
        Change::PriorityClass(class) => decided.priority_class = class.clamp(-CLASS_MAX, CLASS_MAX),
        Change::PriorityOffset(offset) => {
            decided.priority_offset = offset.clamp(-OFFSET_MAX_MS, OFFSET_MAX_MS);
        }
        Change::Retries(retries) => decided.retries = Some(retries),
        Change::FrontMark(mark) => session.client.set_mark(mark),
        Change::FrontTos(tos) => session.client.set_tos(tos),
        Change::BackMark(mark) => decided.back_mark = Some(mark),
        Change::BackTos(tos) => decided.back_tos = Some(tos),
        Change::DisableRetry => decided.no_retry = true,
    }
}
