//! Rules from words: which set, which action, which condition.

pub mod actions;
mod http;
pub mod reply;
mod shared;
mod tcp;

use std::sync::Arc;
use std::time::Duration;

use sockeye_sample::{
    AclScope, Compiler, Condition, Expr, Expressions, Format, Purpose, Stage, Stages, Type,
};
use sockeye_syntax::source::Loader;
use sockeye_syntax::units::{TimeUnit, parse_time};
use sockeye_syntax::words::Words;

use crate::action::{Action, NumberOr};
use crate::rule::Rule;

/// Which set a rule belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    TcpConnection,
    TcpSession,
    TcpContent,
    TcpResponse,
    HttpRequest,
    HttpResponse,
    HttpAfterResponse,
    /// The `redirect` statement.
    Redirect,
}

impl Set {
    /// The words that begin its rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpConnection => "tcp-request connection",
            Self::TcpSession => "tcp-request session",
            Self::TcpContent => "tcp-request content",
            Self::TcpResponse => "tcp-response content",
            Self::HttpRequest => "http-request",
            Self::HttpResponse => "http-response",
            Self::HttpAfterResponse => "http-after-response",
            Self::Redirect => "redirect",
        }
    }

    /// Where its rules are evaluated.
    pub fn stages(self, side: Side) -> Stages {
        let (front, back): (&[Stage], &[Stage]) = match self {
            Self::TcpConnection => (&[Stage::FrontendConnection], &[]),
            Self::TcpSession => (&[Stage::FrontendSession], &[]),
            Self::TcpContent => (&[Stage::FrontendRequestContent], &[Stage::BackendRequestContent]),
            Self::TcpResponse => (&[], &[Stage::BackendResponseContent]),
            Self::HttpRequest | Self::Redirect => (
                &[Stage::FrontendRequestHeader, Stage::FrontendRequestBody],
                &[Stage::BackendRequestHeader, Stage::BackendRequestBody],
            ),
            Self::HttpResponse | Self::HttpAfterResponse => (
                &[Stage::FrontendResponseHeader, Stage::FrontendResponseBody],
                &[Stage::BackendResponseHeader, Stage::BackendResponseBody],
            ),
        };
        let front = front.iter().filter(|_| side.frontend);
        let back = back.iter().filter(|_| side.backend);
        front.chain(back).fold(Stages::NONE, |stages, stage| stages | Stages::of(*stage))
    }

    fn is_response(self) -> bool {
        matches!(self, Self::TcpResponse | Self::HttpResponse | Self::HttpAfterResponse)
    }

    fn is_http(self) -> bool {
        matches!(self, Self::HttpRequest | Self::HttpResponse | Self::HttpAfterResponse)
    }
}

/// Which halves the section has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    pub frontend: bool,
    pub backend: bool,
}

/// Captures of a frontend: how many bytes each slot takes. Rules may add slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    pub request: Vec<usize>,
    pub response: Vec<usize>,
}

/// Finds a reply of an `http-errors` section: `None` without such a section, `Some(None)` without such a reply.
pub type HttpErrors<'a> = dyn Fn(&str, u16) -> Option<Option<Arc<[u8]>>> + 'a;

/// What a rule may touch while it is read.
pub struct Context<'a> {
    pub expressions: &'a mut Expressions,
    pub acls: AclScope,
    /// The section as messages call it: `frontend 'fe'`.
    pub title: &'a str,
    pub proxy: &'a str,
    pub side: Side,
    pub captures: &'a mut Slots,
    pub loader: &'a dyn Loader,
    /// Replies of `http-errors` sections: section and status.
    pub http_errors: &'a HttpErrors<'a>,
    pub bufsize: usize,
}

impl Context<'_> {
    /// Runs `compile` with a compiler for the statement, and reports its warnings.
    pub fn compile<T>(
        &mut self,
        words: &mut Words<'_>,
        compile: impl FnOnce(&mut Compiler<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut warnings = Vec::new();
        let location = words.location().clone();
        let mut compiler =
            self.expressions.compiler(&location.file, location.line, self.proxy, &mut warnings);
        compiler.acls = self.acls.clone();
        let result = compile(&mut compiler);
        for warning in warnings {
            words.warning(warning);
        }
        result
    }

    /// One format string.
    fn format(
        &mut self,
        words: &mut Words<'_>,
        text: &str,
        purpose: Purpose,
        stages: Stages,
    ) -> Result<Format, String> {
        self.compile(words, |compiler| {
            Format::parse(text, purpose, stages, compiler).map_err(|error| error.to_string())
        })
    }

    /// One expression, valid in `stages`, whose value can be wanted as `wanted`.
    fn expression(
        &mut self,
        words: &mut Words<'_>,
        what: &str,
        stages: Stages,
        wanted: Type,
    ) -> Result<Expr, String> {
        let text = words.next().ok_or_else(|| format!("{what} expects a sample expression"))?;
        self.expression_of(words, text, stages, wanted)
    }

    fn expression_of(
        &mut self,
        words: &mut Words<'_>,
        text: &str,
        stages: Stages,
        wanted: Type,
    ) -> Result<Expr, String> {
        let expr =
            self.compile(words, |compiler| Expr::parse(text, compiler).map_err(|error| error.message))?;
        if !expr.stages().intersects(stages) {
            return Err(format!(
                "fetch method '{}' extracts information from '{}', none of which is available here",
                expr.fetch_name(),
                expr.text()
            ));
        }
        if !expr.output().casts_to(wanted) {
            return Err(format!(
                "'{}' gives {}, and {} is needed here",
                expr.text(),
                expr.output().name(),
                wanted.name()
            ));
        }
        Ok(expr)
    }

    /// `if …` or `unless …`, or nothing; `None` after a message.
    pub fn condition(&mut self, words: &mut Words<'_>, stages: Stages) -> Result<Option<Condition>, String> {
        let unless = match words.peek() {
            Some("if") => false,
            Some("unless") => true,
            Some(word) => {
                return Err(format!("expects 'if', 'unless' or end of line, but found '{word}'"));
            }
            None => return Ok(None),
        };
        words.next();
        let rest: Vec<&str> = words.rest().iter().map(|word| word.text.as_str()).collect();
        let condition = self.compile(words, |compiler| Condition::parse(unless, &rest, compiler))?;
        words.skip_rest();
        if let Some((acl, fetch)) = condition.misplaced(stages) {
            let acl = if acl.is_empty() { "anonymous acl".to_owned() } else { format!("acl '{acl}'") };
            words.warning(format!(
                "{acl} will never match because it uses keyword '{fetch}' which is incompatible with '{}'",
                Condition::stage_name(stages)
            ));
        }
        Ok(Some(condition))
    }
}

/// One rule of `set`, the words that name the set already taken. `None` after a message.
pub fn rule(words: &mut Words<'_>, set: Set, context: &mut Context<'_>) -> Option<Rule> {
    let stages = set.stages(context.side);
    let mut action_name = String::new();
    let result = (|| {
        let action = match set {
            Set::Redirect => http::redirect(words, context, stages, false)?,
            _ => {
                let name = words.next().ok_or("expects an action")?;
                action_name = format!(" {name}");
                action(name, words, set, context, stages)?
            }
        };
        let condition = context.condition(words, stages)?;
        Ok::<_, String>((action, condition))
    })();
    match result {
        Ok((action, condition)) => {
            let location = words.location();
            Some(Rule { condition, action, file: location.file.clone(), line: location.line })
        }
        Err(message) => {
            words.alert(format!(
                "error detected in {} while parsing '{}{action_name}' rule : {}.",
                context.title,
                set.name(),
                message.trim_end_matches('.')
            ));
            words.skip_rest();
            None
        }
    }
}

fn action(
    name: &str,
    words: &mut Words<'_>,
    set: Set,
    context: &mut Context<'_>,
    stages: Stages,
) -> Result<Action, String> {
    if !actions::is_action(name, set) {
        let (bare, _) = call(name).unwrap_or((name, ""));
        return Err(match KNOWN.iter().find(|known| bare.starts_with(**known)) {
            Some(_) => format!("'{name}' is known to HAProxy but not implemented in Sockeye yet"),
            None => format!("'{}' does not know the action '{name}'", set.name()),
        });
    }
    let found = match shared::action(name, words, set, context, stages)? {
        Some(action) => Some(action),
        None if set.is_http() => http::action(name, words, set, context, stages)?,
        None => tcp::action(name, words, set, context.side)?,
    };
    found.ok_or_else(|| format!("'{}' has no parser for the action '{name}'", set.name()))
}

/// Actions of HAProxy that need what does not exist yet.
const KNOWN: [&str; 17] = [
    "sc-",
    "track-sc",
    "send-spoe-group",
    "set-bandwidth-limit",
    "cache-use",
    "cache-store",
    "do-resolve",
    "use-service",
    "attach-srv",
    "set-headers-bin",
    "add-headers-bin",
    "del-headers-bin",
    "lua.",
    "set-fc-",
    "set-bc-",
    "set-mark",
    "set-tos",
];

/// `name(argument)` taken apart.
fn call(word: &str) -> Option<(&str, &str)> {
    let (name, rest) = word.split_once('(')?;
    Some((name, rest.strip_suffix(')')?))
}

/// The next word, which must be there and must not be the condition.
fn argument<'w>(words: &mut Words<'w>, what: &str) -> Result<&'w str, String> {
    match words.peek() {
        None | Some("if" | "unless") => Err(format!("expects {what}")),
        Some(word) => {
            words.next();
            Ok(word)
        }
    }
}

/// A time with a unit, in milliseconds without one.
fn time(text: &str) -> Option<Duration> {
    parse_time(text, TimeUnit::Milliseconds)
        .ok()
        .filter(|time| time.trailing.is_none())
        .map(|time| time.value)
}

/// A number in decimal or, after `0x`, hexadecimal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The next word as a fixed value, or as an expression that gives a number.
fn number_or<T>(
    words: &mut Words<'_>,
    context: &mut Context<'_>,
    stages: Stages,
    fixed: impl Fn(&str) -> Option<T>,
) -> Result<NumberOr<T>, String> {
    let text = argument(words, "a value or an expression")?;
    if let Some(value) = fixed(text) {
        return Ok(NumberOr::Fixed(value));
    }
    context.expression_of(words, text, stages, Type::Int).map(NumberOr::Expr)
}
