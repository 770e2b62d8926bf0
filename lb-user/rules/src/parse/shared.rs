//! Actions that several kinds of sets have.

use sockeye_sample::{Purpose, Stages, Type, VarId};
use sockeye_syntax::words::Words;

use super::actions::NICE_HAS_NO_EFFECT;
use super::{Context, Set, argument, call, number, number_or};
use crate::action::{Action, LogLevel, SilentDrop, VarConditions};

/// Names of syslog severities, most severe first.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// `None`: not one of these.
pub(super) fn action(
    name: &str,
    words: &mut Words<'_>,
    set: Set,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Option<Action>, String> {
    let request = matches!(set, Set::TcpConnection | Set::TcpSession | Set::TcpContent | Set::HttpRequest);
    let after = set == Set::HttpAfterResponse;
    // Sets that know the stream's backend and server.
    let content = !matches!(set, Set::TcpConnection | Set::TcpSession);
    Ok(Some(match name {
        "do-log" => Action::DoLog,
        "silent-drop" if !after => Action::SilentDrop(silent_drop(words)?),
        "set-src" if request => {
            Action::SetSource(context.expression(words, "'set-src'", stages, Type::Addr)?)
        }
        "set-dst" if request => {
            Action::SetDestination(context.expression(words, "'set-dst'", stages, Type::Addr)?)
        }
        "set-src-port" if request => {
            Action::SetSourcePort(context.expression(words, "'set-src-port'", stages, Type::Int)?)
        }
        "set-dst-port" if request => {
            Action::SetDestinationPort(context.expression(words, "'set-dst-port'", stages, Type::Int)?)
        }
        "set-fc-mark" | "set-mark" if !after => {
            Action::SetFrontMark(number_or(words, context, stages, number)?)
        }
        "set-fc-tos" | "set-tos" if !after => Action::SetFrontTos(number_or(words, context, stages, tos)?),
        "set-bc-mark" if matches!(set, Set::TcpContent | Set::HttpRequest) => {
            Action::SetBackMark(number_or(words, context, stages, number)?)
        }
        "set-bc-tos" if matches!(set, Set::TcpContent | Set::HttpRequest) => {
            Action::SetBackTos(number_or(words, context, stages, tos)?)
        }
        "set-nice" if content => {
            let text = argument(words, "a number")?;
            let nice = text.parse().ok().filter(|nice| (-1024..=1024).contains(nice));
            let _: i32 = nice.ok_or_else(|| format!("expects a number from -1024 to 1024, not '{text}'"))?;
            words.notice(format!("'set-nice' has no effect: {NICE_HAS_NO_EFFECT}."));
            Action::Nothing
        }
        "set-log-level" if content => Action::SetLogLevel(log_level(argument(words, "a log level")?)?),
        "set-priority-class" if content && request => {
            Action::SetPriorityClass(context.expression(words, "'set-priority-class'", stages, Type::Int)?)
        }
        "set-priority-offset" if content && request => Action::SetPriorityOffset(context.expression(
            words,
            "'set-priority-offset'",
            stages,
            Type::Int,
        )?),
        "set-retries" if content && request => {
            Action::SetRetries(number_or(words, context, stages, |text| text.parse().ok())?)
        }
        "capture" if content && set != Set::TcpResponse => capture(words, set, context, stages)?,
        _ => return variable(name, words, context, stages),
    }))
}

/// `set-var(NAME[,CONDITIONS])`, `set-var-fmt`, `unset-var`.
fn variable(
    name: &str,
    words: &mut Words<'_>,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Option<Action>, String> {
    let (word, rest) = name.split_once('(').unwrap_or((name, ""));
    if !matches!(word, "set-var" | "set-var-fmt" | "unset-var") {
        return Ok(None);
    }
    let _ = rest;
    let Some((_, inside)) = call(name) else {
        return Err(format!("invalid or incomplete action '{word}'. Expects '{word}(<var-name>)'"));
    };
    let mut parts = inside.split(',').map(str::trim);
    let var = parts.next().unwrap_or_default();
    let var: VarId = context.compile(words, |compiler| compiler.variables.intern(var))?;
    if word == "unset-var" {
        return Ok(Some(Action::UnsetVar(var)));
    }
    let conditions = conditions(parts)?;
    if word == "set-var-fmt" {
        let text = argument(words, "a format")?;
        let value = context.format(words, text, Purpose::Text, stages)?;
        return Ok(Some(Action::SetVarFormat { var, conditions, value }));
    }
    let value = context.expression(words, "'set-var'", stages, Type::Any)?;
    Ok(Some(Action::SetVar { var, conditions, value }))
}

fn conditions<'a>(names: impl Iterator<Item = &'a str>) -> Result<VarConditions, String> {
    let mut conditions = VarConditions::default();
    for name in names {
        match name {
            "ifexists" => conditions.if_exists = true,
            "ifnotexists" => conditions.if_not_exists = true,
            "ifempty" => conditions.if_empty = true,
            "ifnotempty" => conditions.if_not_empty = true,
            "ifset" => conditions.if_set = true,
            "ifnotset" => conditions.if_not_set = true,
            "ifgt" => conditions.if_greater = true,
            "iflt" => conditions.if_less = true,
            other => return Err(format!("unknown condition '{other}'")),
        }
    }
    Ok(conditions)
}

fn silent_drop(words: &mut Words<'_>) -> Result<SilentDrop, String> {
    if !words.take("rst-ttl") {
        return Ok(SilentDrop::default());
    }
    let text = argument(words, "a TTL after 'rst-ttl'")?;
    let ttl = text.parse().ok().filter(|ttl| (1..=255).contains(ttl));
    let ttl: u8 = ttl.ok_or_else(|| format!("'rst-ttl' expects a number from 1 to 255, not '{text}'"))?;
    Ok(SilentDrop { rst_ttl: Some(ttl) })
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    if text == "silent" {
        return Ok(LogLevel::Silent);
    }
    let severity = LEVELS.iter().position(|level| *level == text).and_then(|level| u8::try_from(level).ok());
    severity
        .map(LogLevel::Severity)
        .ok_or_else(|| format!("'{text}' is no log level: expects one of {} or 'silent'", LEVELS.join(", ")))
}

fn tos(text: &str) -> Option<u32> {
    number(text).filter(|tos| *tos <= 255)
}

/// `capture EXPRESSION len N`, which takes a new slot, or `id N`, which fills a declared one.
fn capture(
    words: &mut Words<'_>,
    set: Set,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Action, String> {
    let response = set.is_response();
    let value = context.expression(words, "'capture'", stages, Type::Str)?;
    let how = argument(words, "'len' or 'id'")?;
    let text = argument(words, "a number")?;
    let number: usize = text.parse().map_err(|_| format!("cannot parse '{text}' as a number"))?;
    match how {
        "len" if response => Err("'len' is only for requests: a response is captured into a slot of 'declare capture response', by 'id'".to_owned()),
        "len" if !context.side.frontend => {
            Err("captures need a frontend: use 'id' with a slot of 'declare capture request' there".to_owned())
        }
        "len" if number == 0 => Err("a length of 0 captures nothing".to_owned()),
        "len" => {
            let slots = &mut context.captures.request;
            slots.push(number);
            Ok(Action::Capture { value, slot: slots.len() - 1, length: number })
        }
        "id" => {
            let slots = if response { &context.captures.response } else { &context.captures.request };
            // It may be declared further down, or in whatever frontend the request came through.
            let length = slots.get(number).copied();
            Ok(Action::Capture { value, slot: number, length: length.unwrap_or(usize::MAX) })
        }
        other => Err(format!("expects 'len' or 'id', not '{other}'")),
    }
}
