//! `acl`, `tcp-request`, `http-request` and the other rules of proxies (manual 4.2, 4.4).

use std::cell::RefCell;
use std::sync::Arc;

use sockeye_rules::parse::reply::{ReplyOf, reply};
use sockeye_rules::parse::{self, Context, Set, Side, Slots};
use sockeye_rules::{BackendName, PersistRule, Rules, ServerName, UseBackend, UseServer};
use sockeye_sample::{AclScope, Condition, Format, NameRef, Named, Purpose, Stage, Stages};
use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use crate::draft::Kind;
use crate::expressions::compile;
use crate::model::CaptureSlot;
use crate::scope::{ProxyScope, Turn};

/// `acl NAME EXPRESSION [flags] [patterns]`.
pub(super) fn acl(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if unnamed_defaults(words, scope, "acl") {
        return;
    }
    let rest: Vec<&str> = words.rest().iter().map(|word| word.text.as_str()).collect();
    words.skip_rest();
    if let Err(message) = compile(words, scope, |compiler| AclScope::define(&rest, compiler)) {
        let name = rest.first().copied().unwrap_or_default();
        words.alert(format!("error detected while parsing ACL '{name}' : {message}."));
    }
}

/// `tcp-request connection|session|content ACTION`, `tcp-request inspect-delay TIME`.
pub(super) fn tcp_request(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if unnamed_defaults(words, scope, "tcp-request") {
        return;
    }
    match words.extend_keyword() {
        Some("inspect-delay") => {
            if let Some(time) = words.duration(TimeUnit::Milliseconds)
                && words.end()
            {
                scope.proxy.settings.rules.inspect_delay = Some(time);
            }
        }
        Some("connection") if frontend_only(words, scope) => {
            add(words, scope, Set::TcpConnection, |sets| &mut sets.tcp_connection);
        }
        Some("session") if frontend_only(words, scope) => {
            add(words, scope, Set::TcpSession, |sets| &mut sets.tcp_session);
        }
        Some("connection" | "session") => words.skip_rest(),
        Some("content") => add(words, scope, Set::TcpContent, |sets| &mut sets.tcp_content),
        other => {
            let other = other.unwrap_or_default().to_owned();
            words.alert(format!(
                "'tcp-request' expects 'inspect-delay', 'connection', 'session' or 'content' (got '{other}')."
            ));
            words.skip_rest();
        }
    }
}

/// `tcp-response content ACTION`, `tcp-response inspect-delay TIME`.
pub(super) fn tcp_response(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if unnamed_defaults(words, scope, "tcp-response") {
        return;
    }
    match words.extend_keyword() {
        Some("inspect-delay") => {
            if let Some(time) = words.duration(TimeUnit::Milliseconds)
                && words.end()
            {
                scope.proxy.settings.rules.response_inspect_delay = Some(time);
            }
        }
        Some("content") => add(words, scope, Set::TcpResponse, |sets| &mut sets.tcp_response),
        other => {
            let other = other.unwrap_or_default().to_owned();
            words.alert(format!("'tcp-response' expects 'inspect-delay' or 'content' (got '{other}')."));
            words.skip_rest();
        }
    }
}

pub(super) fn http_request(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if !unnamed_defaults(words, scope, "http-request") {
        add(words, scope, Set::HttpRequest, |sets| &mut sets.http_request);
    }
}

pub(super) fn http_response(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if !unnamed_defaults(words, scope, "http-response") {
        add(words, scope, Set::HttpResponse, |sets| &mut sets.http_response);
    }
}

pub(super) fn http_after_response(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if !unnamed_defaults(words, scope, "http-after-response") {
        add(words, scope, Set::HttpAfterResponse, |sets| &mut sets.http_after_response);
    }
}

/// `redirect …`: after the `http-request` rules.
pub(super) fn redirect(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    add(words, scope, Set::Redirect, |sets| &mut sets.redirect);
}

/// `http-error status CODE …`: a reply instead of the built-in one.
pub(super) fn http_error(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let stages = Set::HttpAfterResponse.stages(Side { frontend: true, backend: true })
        | Set::HttpRequest.stages(Side { frontend: true, backend: true });
    let title = title(scope);
    let made = with_context(words, scope, &title, |words, context| {
        reply(words, ReplyOf::HttpError, context, stages)
    });
    match made {
        Ok(reply) if words.end() => {
            let replies = &mut scope.proxy.settings.rules.http_errors;
            replies.retain(|known| known.status != reply.status);
            replies.push(Arc::new(reply));
        }
        Ok(_) => {}
        Err(message) => {
            words.alert(format!("error detected in {title} while parsing 'http-error' rule : {message}."));
            words.skip_rest();
        }
    }
}

/// `use_backend NAME [if …]`.
pub(super) fn use_backend(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(name) = words.expect("a backend's name") else { return words.skip_rest() };
    let stages = Stages::of(Stage::FrontendUseBackend);
    let target = if name.contains('%') {
        let parsed = compile(words, scope, |compiler| {
            Format::parse(name, Purpose::Text, stages, compiler).map_err(|error| error.to_string())
        });
        match parsed {
            Ok(format) => BackendName::Dynamic(format),
            Err(message) => {
                words.alert(format!("'use_backend' rule : {message}."));
                return words.skip_rest();
            }
        }
    } else {
        BackendName::Static(Arc::new(NameRef::new(Named::Backend, name)))
    };
    let Some(condition) = condition(words, scope, stages, "use_backend") else { return };
    let location = words.location();
    scope.order.add(Turn::UseBackend);
    let rule = UseBackend { condition, target, file: location.file.clone(), line: location.line };
    scope.proxy.settings.rules.use_backend.push(Arc::new(rule));
}

/// `use-server NAME [if …]`.
pub(super) fn use_server(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(name) = words.expect("a server's name") else { return words.skip_rest() };
    let stages = Stages::of(Stage::BackendServerChoice);
    let target = if name.contains('%') {
        let parsed = compile(words, scope, |compiler| {
            Format::parse(name, Purpose::Text, stages, compiler).map_err(|error| error.to_string())
        });
        match parsed {
            Ok(format) => ServerName::Dynamic(format),
            Err(message) => {
                words.alert(format!("'use-server' rule : {message}."));
                return words.skip_rest();
            }
        }
    } else {
        ServerName::Static(Arc::new(NameRef::new(Named::Server, name)))
    };
    let Some(condition) = condition(words, scope, stages, "use-server") else { return };
    let location = words.location();
    scope.order.add(Turn::UseServer);
    let rule = UseServer { condition, target, file: location.file.clone(), line: location.line };
    scope.proxy.settings.rules.use_server.push(Arc::new(rule));
}

pub(super) fn force_persist(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    persist(words, scope, true);
}

pub(super) fn ignore_persist(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    persist(words, scope, false);
}

fn persist(words: &mut Words<'_>, scope: &mut ProxyScope<'_>, force: bool) {
    let name = words.keyword().to_owned();
    let stages = Stages::of(Stage::BackendServerChoice) | Stages::of(Stage::BackendRequestHeader);
    match condition(words, scope, stages, &name) {
        Some(Some(condition)) => {
            scope.proxy.settings.rules.persist.push(Arc::new(PersistRule { condition, force }));
        }
        Some(None) => {
            words.alert(format!("'{name}' requires either 'if' or 'unless' followed by a condition."))
        }
        None => {}
    }
}

/// `monitor fail if …`.
pub(super) fn monitor(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    match words.extend_keyword() {
        Some("fail") => {}
        _ => {
            words.alert("'monitor' only supports 'fail'.");
            return words.skip_rest();
        }
    }
    let stages = Stages::of(Stage::FrontendRequestHeader);
    match condition(words, scope, stages, "monitor fail") {
        Some(Some(condition)) => {
            misplaced(words, scope, Turn::MonitorFail);
            scope.proxy.settings.rules.monitor_fail.push(Arc::new(condition));
        }
        Some(None) => {
            words.alert("'monitor fail' requires either 'if' or 'unless' followed by a condition.");
        }
        None => {}
    }
}

/// One rule of `set` to the end of the list that `list` chooses.
fn add(
    words: &mut Words<'_>,
    scope: &mut ProxyScope<'_>,
    set: Set,
    list: impl FnOnce(&mut sockeye_rules::RuleSets) -> &mut Rules,
) {
    let title = title(scope);
    if let Some(turn) = turn(set) {
        misplaced(words, scope, turn);
    }
    if let Some(rule) = with_context(words, scope, &title, |words, context| parse::rule(words, set, context))
    {
        list(&mut scope.proxy.settings.rules).push(Arc::new(rule));
    }
}

/// Warns about a rule that stands below rules which come after it when they run.
fn misplaced(words: &mut Words<'_>, scope: &mut ProxyScope<'_>, turn: Turn) {
    if let Some(later) = scope.order.later_than(turn) {
        let article = if later == Turn::HttpRequest { "an" } else { "a" };
        words.warning(format!(
            "a '{}' rule placed after {article} '{}' rule will still be processed before.",
            turn.name(),
            later.name()
        ));
    }
    scope.order.add(turn);
}

/// The turn of a set in the order in which rules run; responses are not part of it.
fn turn(set: Set) -> Option<Turn> {
    Some(match set {
        Set::TcpConnection => Turn::TcpConnection,
        Set::TcpSession => Turn::TcpSession,
        Set::TcpContent => Turn::TcpContent,
        Set::HttpRequest => Turn::HttpRequest,
        Set::Redirect => Turn::Redirect,
        Set::TcpResponse | Set::HttpResponse | Set::HttpAfterResponse => return None,
    })
}

/// `None` after a message.
fn condition(
    words: &mut Words<'_>,
    scope: &mut ProxyScope<'_>,
    stages: Stages,
    what: &str,
) -> Option<Option<Condition>> {
    let title = title(scope);
    match with_context(words, scope, &title, |words, context| context.condition(words, stages)) {
        Ok(condition) => Some(condition),
        Err(message) => {
            words.alert(format!("error detected while parsing '{what}' rule : {message}."));
            words.skip_rest();
            None
        }
    }
}

fn with_context<T>(
    words: &mut Words<'_>,
    scope: &mut ProxyScope<'_>,
    title: &str,
    run: impl FnOnce(&mut Words<'_>, &mut Context<'_>) -> T,
) -> T {
    let kind = scope.proxy.kind;
    let errors = scope.errors;
    let unknown = RefCell::<Vec<String>>::default();
    let lengths = |slots: &[CaptureSlot]| slots.iter().map(|slot| slot.length).collect::<Vec<_>>();
    let captures = &scope.proxy.captures;
    let mut slots = Slots { request: lengths(&captures.request), response: lengths(&captures.response) };
    let mut context = Context {
        expressions: scope.expressions,
        acls: scope.acls.clone(),
        title,
        proxy: &scope.proxy.name,
        side: Side { frontend: kind != Kind::Backend, backend: kind != Kind::Frontend },
        captures: &mut slots,
        loader: scope.around.loader,
        http_errors: &|name, status| match errors.get(name) {
            Some(replies) => Some(replies.reply(status).cloned()),
            None => {
                unknown.borrow_mut().push(name.into());
                Some(None)
            }
        },
        bufsize: scope.global.tune.bufsize,
    };
    let made = run(words, &mut context);
    scope.proxy.unknown_errors.append(&mut unknown.borrow_mut());
    let captures = &mut scope.proxy.captures.request;
    for length in slots.request.drain(captures.len()..) {
        captures.push(CaptureSlot { header: None, length });
    }
    made
}

/// As messages call the section.
fn title(scope: &ProxyScope<'_>) -> String {
    format!("{} '{}'", scope.proxy.kind.name(), scope.proxy.name)
}

/// Rules of an unnamed `defaults` would be nobody's: nothing says which proxies they are meant for.
fn unnamed_defaults(words: &mut Words<'_>, scope: &ProxyScope<'_>, word: &str) -> bool {
    let unnamed = scope.proxy.kind == Kind::Defaults && scope.proxy.name.is_empty();
    if unnamed {
        words.alert(format!("'{word}' not allowed in anonymous 'defaults' section."));
        words.skip_rest();
    }
    unnamed
}

fn frontend_only(words: &mut Words<'_>, scope: &ProxyScope<'_>) -> bool {
    let backend = scope.proxy.kind == Kind::Backend;
    if backend {
        let word = words.keyword().to_owned();
        words.alert(format!("{word} is not allowed because {} is not a frontend.", title(scope)));
        words.skip_rest();
    }
    !backend
}
