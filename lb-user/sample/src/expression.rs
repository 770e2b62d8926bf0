//! `fetch(args),converter(args),…` (manual 7.3): read, type-checked, evaluated.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::arguments::{Arg, Named};
use crate::compile::Compiler;
use crate::language::{self, ArgKind, Converter, Fetch, Signature};
use crate::scene::Scene;
use crate::stage::Stages;
use crate::value::{Type, Value};

/// Converters of one expression; no file has more, and evaluation is a loop over them.
const CONVERTERS_MAX: usize = 64;
/// Arguments of one word.
const ARGUMENTS_MAX: usize = 12;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expr {
    fetch: &'static Fetch,
    args: Box<[Arg]>,
    steps: Box<[Step]>,
    stages: Stages,
    fetched: Type,
    output: Type,
    /// As it was written.
    text: Box<str>,
}

/// A converter and what has to be done before.
#[derive(Debug, Clone)]
struct Step {
    input: Type,
    converter: &'static Converter,
    args: Box<[Arg]>,
}

/// Why an expression was refused. The message is the whole explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    pub message: String,
}

impl ExprError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl Expr {
    /// Compiles the whole of `text`.
    ///
    /// # Errors
    /// See [`parse_prefix`](Self::parse_prefix); also when something follows the expression.
    pub fn parse(text: &str, compiler: &mut Compiler<'_>) -> Result<Self, ExprError> {
        let (expr, used) = Self::parse_prefix(text, compiler)?;
        if used < text.len() {
            return Err(ExprError::new(format!(
                "unexpected '{}' after expression '{}'",
                &text[used..],
                expr.text
            )));
        }
        Ok(expr)
    }

    /// Compiles the expression that `text` begins with; also says how many bytes it has.
    ///
    /// # Errors
    /// An unknown or unavailable word, wrong arguments, a converter that cannot be applied.
    pub fn parse_prefix(text: &str, compiler: &mut Compiler<'_>) -> Result<(Self, usize), ExprError> {
        let mut parser = Parser { text, at: 0 };
        let name = parser.name();
        if name.is_empty() {
            return Err(ExprError::new("missing fetch method"));
        }
        let Some(signature) = language::fetches().get(name) else {
            return Err(ExprError::new(format!("unknown fetch method '{name}'")));
        };
        let Some(fetch) = compiler.language.fetch(name) else {
            return Err(ExprError::new(format!(
                "fetch method '{name}' is known to HAProxy but not implemented in Sockeye yet"
            )));
        };
        let args = parser.arguments()?;
        let args = arguments(signature, args, fetch.prepare, compiler).map_err(|problem| {
            ExprError::new(format!("invalid args in fetch method '{name}' : {problem}"))
        })?;
        let mut output = signature.output;
        let mut steps = Vec::new();
        while parser.take(',') {
            let name = parser.name();
            if name.is_empty() {
                return Err(ExprError::new(format!(
                    "missing converter after comma in expression '{}'",
                    &text[..parser.at]
                )));
            }
            let Some(signature) = language::converters().get(name) else {
                return Err(ExprError::new(format!("unknown converter '{name}'")));
            };
            let Some(converter) = compiler.language.converter(name) else {
                return Err(ExprError::new(format!(
                    "converter '{name}' is known to HAProxy but not implemented in Sockeye yet"
                )));
            };
            if !output.casts_to(signature.input) {
                return Err(ExprError::new(format!(
                    "converter '{name}' cannot be applied: it takes {}, not {}",
                    signature.input.name(),
                    output.name()
                )));
            }
            let args = parser.arguments()?;
            let args = arguments(signature, args, converter.prepare, compiler).map_err(|problem| {
                ExprError::new(format!("invalid args in converter '{name}' : {problem}"))
            })?;
            if steps.len() == CONVERTERS_MAX {
                return Err(ExprError::new(format!(
                    "more than {CONVERTERS_MAX} converters in one expression"
                )));
            }
            steps.push(Step { input: signature.input, converter, args });
            if !signature.same {
                output = signature.output;
            }
        }
        let expr = Self {
            fetch,
            args,
            steps: steps.into(),
            stages: signature.stages,
            fetched: signature.output,
            output,
            text: text[..parser.at].into(),
        };
        Ok((expr, parser.at))
    }

    /// The value, if there is one.
    #[inline]
    pub fn eval<'a>(&'a self, scene: &Scene<'a>) -> Option<Value<'a>> {
        let value = (self.fetch.run)(scene, &self.args)?;
        if self.steps.is_empty() { Some(value) } else { self.convert(value, scene) }
    }

    /// The value as `to`.
    #[inline]
    pub fn eval_as<'a>(&'a self, to: Type, scene: &Scene<'a>) -> Option<Value<'a>> {
        self.eval(scene)?.cast(to)
    }

    /// Shows every value, for conditions, until `visit` says `true`.
    pub fn each<'a>(&'a self, scene: &Scene<'a>, visit: &mut dyn FnMut(Value<'a>) -> bool) {
        match self.fetch.each {
            Some(each) => each(scene, &self.args, &mut |value| match self.convert(value, scene) {
                Some(value) => visit(value),
                None => false,
            }),
            None => {
                if let Some(value) = self.eval(scene) {
                    visit(value);
                }
            }
        }
    }

    /// Whether any value passes a test.
    #[inline]
    pub fn any<'a>(&'a self, scene: &Scene<'a>, test: impl Fn(&Value<'a>) -> bool) -> bool {
        let passes = |value: Value<'a>| {
            if self.steps.is_empty() {
                test(&value)
            } else {
                self.convert(value, scene).as_ref().is_some_and(&test)
            }
        };
        match self.fetch.each {
            Some(each) => {
                let mut found = false;
                each(scene, &self.args, &mut |value| {
                    found = passes(value);
                    found
                });
                found
            }
            None if self.steps.is_empty() => {
                let value = (self.fetch.run)(scene, &self.args);
                value.as_ref().is_some_and(test)
            }
            None => (self.fetch.run)(scene, &self.args).is_some_and(passes),
        }
    }

    fn convert<'a>(&'a self, mut value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        for step in &self.steps {
            value = (step.converter.run)(value.cast(step.input)?, &step.args, scene)?;
        }
        Some(value)
    }

    /// What the value is, if that is known.
    pub fn output(&self) -> Type {
        self.output
    }

    /// What the fetch alone gives.
    pub fn fetched(&self) -> Type {
        self.fetched
    }

    /// Where the fetch is valid.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// The name of the fetch.
    pub fn fetch_name(&self) -> &'static str {
        self.fetch.name
    }

    /// Arguments of the fetch.
    pub fn args(&self) -> &[Arg] {
        &self.args
    }

    pub fn has_converters(&self) -> bool {
        !self.steps.is_empty()
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Expr {
    /// The same text compiles to the same expression.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.rest().starts_with(expected);
        self.at += if found { expected.len_utf8() } else { 0 };
        found
    }

    /// Up to what cannot be part of a name.
    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(['(', ')', ',', ']', '[', ' ', '\t']).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// What is in parentheses, if there are any: separated by commas, with quotes and backslashes of their own.
    fn arguments(&mut self) -> Result<Vec<String>, ExprError> {
        let mut args = Vec::new();
        if !self.take('(') {
            return Ok(args);
        }
        let opened_at = self.at;
        let mut arg = String::new();
        let mut quote = None;
        let mut chars = self.rest().char_indices().peekable();
        while let Some((offset, char)) = chars.next() {
            match (char, quote) {
                ('"' | '\'', None) => quote = Some(char),
                (char, Some(open)) if char == open => quote = None,
                ('\\', None | Some('"')) => match chars.peek() {
                    Some((_, control @ ('n' | 'r' | 't'))) => {
                        arg.push(match control {
                            'n' => '\n',
                            'r' => '\r',
                            _ => '\t',
                        });
                        chars.next();
                    }
                    Some((_, next))
                        if matches!(next, '\\' | '"')
                            || quote.is_none() && matches!(next, ',' | ' ' | '\'' | '(' | ')') =>
                    {
                        arg.push(*next);
                        chars.next();
                    }
                    _ => arg.push('\\'),
                },
                (',', None) => args.push(std::mem::take(&mut arg)),
                (')', None) => {
                    self.at += offset + 1;
                    if !args.is_empty() || !arg.is_empty() {
                        args.push(arg);
                    }
                    return Ok(args);
                }
                (char, _) => arg.push(char),
            }
        }
        Err(ExprError::new(format!(
            "expected ')' before end of expression after arguments '({}'",
            &self.text[opened_at..]
        )))
    }
}

/// Typed arguments from words.
fn arguments(
    signature: &Signature,
    words: Vec<String>,
    prepare: Option<language::Prepare>,
    compiler: &mut Compiler<'_>,
) -> Result<Box<[Arg]>, String> {
    if words.len() > signature.args.len().min(ARGUMENTS_MAX) {
        return Err(format!(
            "end of arguments expected at position {}, but got '{}'",
            signature.args.len() + 1,
            words[signature.args.len()]
        ));
    }
    let given = words.len();
    // A proxy that is not named is the one in which the expression stands.
    let is_optional = |kind: &ArgKind| matches!(kind, ArgKind::Frontend | ArgKind::Backend | ArgKind::Table);
    // `str()`: a text may be empty, and is when nothing is given at all.
    let may_miss = |kind: &ArgKind| is_optional(kind) || given == 0 && *kind == ArgKind::Str;
    let missing = signature.args.iter().take(signature.required).skip(given).find(|kind| !may_miss(kind));
    if let Some(kind) = missing {
        return Err(format!(
            "missing arguments (got {given}/{}), type '{}' expected",
            signature.required,
            kind.name()
        ));
    }
    let mut args = Vec::with_capacity(signature.args.len());
    for (index, kind) in signature.args.iter().enumerate() {
        args.push(match words.get(index) {
            Some(word) => argument(*kind, word, index, compiler)?,
            None if is_optional(kind) => argument(*kind, "", index, compiler)?,
            None => Arg::Absent,
        });
    }
    if let Some(prepare) = prepare {
        prepare(&mut args, compiler)?;
    }
    Ok(args.into())
}

fn argument(kind: ArgKind, word: &str, index: usize, compiler: &mut Compiler<'_>) -> Result<Arg, String> {
    let unreadable =
        || format!("failed to parse '{word}' as type '{}' at position {}", kind.name(), index + 1);
    Ok(match kind {
        ArgKind::Str if word.is_empty() => Arg::Absent,
        ArgKind::Str => Arg::Str(word.as_bytes().into()),
        ArgKind::Int if word.is_empty() => Arg::Absent,
        ArgKind::Int => Arg::Int(word.trim().parse().map_err(|_| unreadable())?),
        ArgKind::Ipv4 => Arg::Ipv4(word.parse().map_err(|_| unreadable())?),
        ArgKind::Ipv6 => Arg::Ipv6(word.parse().map_err(|_| unreadable())?),
        ArgKind::Mask4 => Arg::Mask4(mask4(word).ok_or_else(unreadable)?),
        ArgKind::Mask6 => Arg::Mask6(mask6(word).ok_or_else(unreadable)?),
        ArgKind::Frontend => Arg::Name(compiler.name(Named::Frontend, word)),
        ArgKind::Backend => Arg::Name(compiler.name(Named::Backend, word)),
        ArgKind::Server => Arg::Name(compiler.name(Named::Server, word)),
        ArgKind::Table => Arg::Name(compiler.name(Named::Table, word)),
        ArgKind::UserList => Arg::Name(compiler.name(Named::UserList, word)),
    })
}

/// A mask as an address, or as a number of leading bits.
fn mask4(word: &str) -> Option<Ipv4Addr> {
    match word.parse::<u32>() {
        Ok(bits @ 0..=32) => Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0))),
        Ok(_) => None,
        Err(_) => word.parse().ok(),
    }
}

/// The same for IPv6.
fn mask6(word: &str) -> Option<Ipv6Addr> {
    match word.parse::<u32>() {
        Ok(bits @ 0..=128) => Some(Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0))),
        Ok(_) => None,
        Err(_) => word.parse().ok(),
    }
}
