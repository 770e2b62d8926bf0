//! ACLs and the conditions made of them (manual 7.1, 7.2).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use sockeye_pattern::{Flags, Key, Matcher, Method, Wants};

use crate::arguments::Arg;
use crate::compile::Compiler;
use crate::expression::{Expr, ExprError};
use crate::language::Fetch;
use crate::scene::Scene;
use crate::stage::{Stage, Stages};
use crate::value::{Type, Value};

/// Names in one condition; a line holds no more words.
const TERMS_MAX: usize = 256;

/// What a condition says about a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    /// It depends on bytes that have not come yet.
    Unknown,
}

impl Verdict {
    fn not(self) -> Self {
        match self {
            Self::Pass => Self::Fail,
            Self::Fail => Self::Pass,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// A named test. Lines of one name are alternatives.
#[derive(Debug)]
pub struct Acl {
    name: Box<str>,
    /// Set when the section was read to its end: a later line adds to rules above it too.
    tests: OnceLock<Box<[Test]>>,
}

/// One line of an ACL: an expression and what it is compared with.
#[derive(Debug)]
pub(crate) struct Test {
    expr: Expr,
    method: Method,
    matcher: Option<Matcher>,
}

/// `if …` or `unless …`.
#[derive(Debug)]
pub struct Condition {
    unless: bool,
    /// Any of these, of which all must hold.
    alternatives: Box<[Box<[Literal]>]>,
}

#[derive(Debug)]
struct Literal {
    negated: bool,
    acl: Arc<Acl>,
}

/// The ACLs of a section while it is read. Copies are the same scope.
#[derive(Debug, Default, Clone)]
pub struct AclScope {
    acls: Rc<RefCell<HashMap<Box<str>, Lines>>>,
}

/// An ACL and its lines so far.
#[derive(Debug)]
struct Lines {
    acl: Arc<Acl>,
    tests: Vec<Test>,
}

impl AclScope {
    /// `acl NAME EXPRESSION [flags] [patterns]`, without the first word.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn define(words: &[&str], compiler: &mut Compiler<'_>) -> Result<(), String> {
        let Some((name, words)) = words.split_first() else {
            return Err("missing ACL name".to_owned());
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
        if let Some(bad) = name.bytes().find(|byte| !allowed(*byte)) {
            return Err(format!(
                "character '{}' is not permitted in acl name '{name}'",
                char::from(bad).escape_default()
            ));
        }
        if name.eq_ignore_ascii_case("or") {
            return Err(format!(
                "'{name}' cannot be the name of an ACL: it means a disjunction in conditions"
            ));
        }
        let test = Test::parse(words, compiler)?;
        compiler.acls.add(name, test);
        Ok(())
    }

    fn add(&self, name: &str, test: Test) -> Arc<Acl> {
        let mut acls = self.acls.borrow_mut();
        let lines = acls.entry(name.into()).or_insert_with(|| Lines {
            acl: Arc::new(Acl { name: name.into(), tests: OnceLock::new() }),
            tests: Vec::new(),
        });
        lines.tests.push(test);
        Arc::clone(&lines.acl)
    }

    /// The ACL of that name, if a line of it came already.
    pub fn find(&self, name: &str) -> Option<Arc<Acl>> {
        self.acls.borrow().get(name).map(|lines| Arc::clone(&lines.acl))
    }

    /// The ACL of that name: of the section, or one that always exists.
    ///
    /// # Errors
    /// A message that says that there is none.
    pub fn named(name: &str, compiler: &mut Compiler<'_>) -> Result<Arc<Acl>, String> {
        if let Some(acl) = compiler.acls.find(name) {
            return Ok(acl);
        }
        let Some(words) = compiler.language.predefined_acl(name) else {
            return Err(format!("no such ACL : '{name}'"));
        };
        let test = Test::parse(words, compiler)?;
        Ok(compiler.acls.add(name, test))
    }

    /// The section ends: its ACLs are what they are now.
    pub fn finish(&self) {
        for (_, lines) in self.acls.borrow_mut().drain() {
            let _ = lines.acl.tests.set(lines.tests.into());
        }
    }
}

impl Acl {
    fn anonymous(test: Test) -> Arc<Self> {
        let tests = OnceLock::new();
        let _ = tests.set(vec![test].into());
        Arc::new(Self { name: "".into(), tests })
    }

    fn tests(&self) -> &[Test] {
        self.tests.get().map_or(&[], |tests| tests)
    }

    /// Whether any of its lines matches.
    pub fn eval(&self, scene: &Scene<'_>) -> Verdict {
        let mut verdict = Verdict::Fail;
        for test in self.tests() {
            match test.eval(scene) {
                Verdict::Pass => return Verdict::Pass,
                Verdict::Unknown => verdict = Verdict::Unknown,
                Verdict::Fail => {}
            }
        }
        verdict
    }
}

impl Test {
    /// The words after the name, or between braces.
    fn parse(words: &[&str], compiler: &mut Compiler<'_>) -> Result<Self, String> {
        let Some((text, words)) = words.split_first() else {
            return Err("missing fetch method in ACL expression".to_owned());
        };
        let message = |error: ExprError| error.message;
        // A word of ACLs stands for a fetch and a method: `path_beg` for `path -m beg`.
        let end = text.find(['(', ',']).unwrap_or(text.len());
        let (expr, implied) = match compiler.language.acl_word(&text[..end]) {
            Some((fetch, method)) => {
                let text = format!("{fetch}{}", &text[end..]);
                (Expr::parse(&text, compiler).map_err(message)?, Method::of_name(method))
            }
            None => (Expr::parse(text, compiler).map_err(message)?, None),
        };
        let implied = if expr.has_converters() { None } else { implied };
        let mut flags = Flags::default();
        let mut method = None;
        let mut files = Vec::new();
        let mut as_map = false;
        let mut id = None;
        let mut words = words.iter();
        let mut patterns: Vec<&str> = Vec::new();
        while let Some(word) = words.next() {
            let mut argument =
                |what: &str| words.next().copied().ok_or_else(|| format!("'{word}' expects {what}"));
            match *word {
                "-i" => flags.ignore_case = true,
                "-n" => flags.no_names = true,
                "-M" => as_map = true,
                "-f" => files.push(argument("a file name")?),
                "-u" => {
                    let text = argument("a number")?;
                    id = Some(
                        text.parse::<u32>().map_err(|_| format!("'-u' expects a number, not '{text}'"))?,
                    );
                }
                "-m" => {
                    let name = argument("a match method")?;
                    method = Some(
                        Method::of_name(name).ok_or_else(|| format!("unknown matching method '{name}'"))?,
                    );
                }
                "--" => {
                    patterns.extend(words.copied());
                    break;
                }
                flag if flag.starts_with('-') && flag.len() > 1 && !flag.as_bytes()[1].is_ascii_digit() => {
                    return Err(format!("unknown flag '{flag}' in ACL expression '{text}'"));
                }
                pattern => {
                    patterns.push(pattern);
                    patterns.extend(words.copied());
                    break;
                }
            }
        }
        let method = match method.or(implied) {
            Some(method) => method,
            None => default_method(expr.output())
                .ok_or_else(|| format!("sample fetch '{text}' has no default matching method, use '-m'"))?,
        };
        if !is_compatible(expr.output(), method) {
            return Err(format!(
                "matching method '{}' cannot be used with the type '{}' of '{text}'",
                method.name(),
                expr.output().name()
            ));
        }
        let matcher = match method {
            Method::Found => None,
            Method::Bool if patterns.is_empty() && files.is_empty() => None,
            _ => Some(Matcher::build(compiler.patterns, method, flags, &patterns, &files, as_map, id)?),
        };
        Ok(Self { expr, method, matcher })
    }

    fn eval(&self, scene: &Scene<'_>) -> Verdict {
        scene.unfinished.set(false);
        match self.expr.any(scene, |value| self.matches(value)) {
            true => Verdict::Pass,
            false if scene.unfinished.get() => Verdict::Unknown,
            false => Verdict::Fail,
        }
    }

    fn matches(&self, value: &Value<'_>) -> bool {
        let Some(matcher) = &self.matcher else {
            return self.method == Method::Found || value.is_true();
        };
        match self.method.wants() {
            Wants::Anything => true,
            Wants::Bool => matcher.matches(Key::Bool(value.is_true())),
            Wants::Int => value.to_int().is_some_and(|value| matcher.matches(Key::Int(value))),
            Wants::Ip => value.to_ip().is_some_and(|value| matcher.matches(Key::Ip(value))),
            Wants::Text => match value.bytes() {
                Some(bytes) => matcher.matches(Key::Bytes(bytes)),
                None => value.clone().into_text().is_some_and(|text| matcher.matches(Key::Bytes(&text))),
            },
        }
    }
}

/// How values of a type are compared when `-m` does not say.
fn default_method(output: Type) -> Option<Method> {
    Some(match output {
        Type::Bool => Method::Bool,
        Type::Int => Method::Int,
        Type::Addr | Type::Ipv4 | Type::Ipv6 => Method::Ip,
        Type::Str | Type::Method => Method::Str,
        Type::Bin => Method::Bin,
        Type::Any => return None,
    })
}

fn is_compatible(output: Type, method: Method) -> bool {
    match method.wants() {
        Wants::Anything => true,
        Wants::Bool => output.casts_to(Type::Bool) || output == Type::Addr,
        Wants::Int => output.casts_to(Type::Int) || output == Type::Bin,
        Wants::Ip => output.casts_to(Type::Addr),
        Wants::Text => true,
    }
}

impl Condition {
    /// What follows `if` or `unless`.
    ///
    /// # Errors
    /// A message that says what is wrong.
    pub fn parse(unless: bool, words: &[&str], compiler: &mut Compiler<'_>) -> Result<Self, String> {
        let mut alternatives = Vec::new();
        let mut current = Vec::new();
        let mut negated = false;
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let mut word = *word;
            if matches!(word, "or" | "||") {
                if current.is_empty() || negated {
                    return Err(format!("missing ACL name before '{word}'"));
                }
                alternatives.push(std::mem::take(&mut current).into_boxed_slice());
                continue;
            }
            while let Some(rest) = word.strip_prefix('!') {
                negated = !negated;
                word = rest;
            }
            if word.is_empty() {
                // A lone "!" belongs to what follows.
                continue;
            }
            let acl = if word == "{" {
                let length = words[at..]
                    .iter()
                    .position(|word| *word == "}")
                    .ok_or("missing closing '}' in condition")?;
                let test = Test::parse(&words[at..at + length], compiler)?;
                at += length + 1;
                Acl::anonymous(test)
            } else {
                AclScope::named(word, compiler)?
            };
            current.push(Literal { negated, acl });
            negated = false;
            if current.len() + alternatives.len() > TERMS_MAX {
                return Err(format!("more than {TERMS_MAX} ACLs in one condition"));
            }
        }
        // HAProxy takes a condition of no words, which never holds.
        if words.is_empty() {
            return Ok(Self { unless, alternatives: Box::default() });
        }
        if negated || current.is_empty() {
            return Err("missing ACL name at the end of the condition".to_owned());
        }
        alternatives.push(current.into());
        Ok(Self { unless, alternatives: alternatives.into() })
    }

    /// Whether what depends on the condition is due.
    pub fn eval(&self, scene: &Scene<'_>) -> Verdict {
        let verdict = self.eval_any(scene);
        if self.unless { verdict.not() } else { verdict }
    }

    fn eval_any(&self, scene: &Scene<'_>) -> Verdict {
        let mut any = Verdict::Fail;
        for literals in &self.alternatives {
            let mut all = Verdict::Pass;
            for literal in literals {
                let verdict = literal.acl.eval(scene);
                match if literal.negated { verdict.not() } else { verdict } {
                    Verdict::Pass => {}
                    Verdict::Unknown => all = Verdict::Unknown,
                    Verdict::Fail => {
                        all = Verdict::Fail;
                        break;
                    }
                }
            }
            match all {
                Verdict::Pass => return Verdict::Pass,
                Verdict::Unknown => any = Verdict::Unknown,
                Verdict::Fail => {}
            }
        }
        any
    }

    /// The first fetch that gives nothing in any of `stages`: the name of its ACL, if it has one, and its own.
    /// To be asked when the section was read to its end.
    pub fn misplaced(&self, stages: Stages) -> Option<(&str, &'static str)> {
        let literals = self.alternatives.iter().flatten();
        literals
            .flat_map(|literal| literal.acl.tests().iter().map(|test| (&*literal.acl.name, test)))
            .find(|(_, test)| !test.expr.stages().intersects(stages))
            .map(|(name, test)| (name, test.expr.fetch_name()))
    }

    /// Every stage in which it is evaluated is one of these; for messages.
    pub fn stage_name(stages: Stages) -> &'static str {
        stages.iter().next().map_or("rule", Stage::name)
    }
}

/// `acl([!]NAME,…)`: whether all of these hold.
pub static FETCHES: &[Fetch] = &[Fetch::new("acl", run).prepare(prepare)];

fn run<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    let literals = args.first()?.prepared::<Vec<Literal>>()?;
    let holds = literals.iter().all(|literal| (literal.acl.eval(scene) == Verdict::Pass) != literal.negated);
    Some(Value::Bool(holds))
}

fn prepare(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    let mut literals = Vec::new();
    for arg in &*args {
        let Some(text) = arg.str() else { continue };
        let text = String::from_utf8_lossy(text);
        let (negated, name) = match text.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, &*text),
        };
        let acl = AclScope::named(name, compiler)?;
        literals.push(Literal { negated, acl });
    }
    args[0] = Arg::Prepared(Arc::new(literals));
    Ok(())
}
