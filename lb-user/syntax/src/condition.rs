//! Conditional blocks (manual §2.4): the expressions of `.if`, `.elif` and `-cc`.
//!
//! `!` binds tighter than `&&`, which binds tighter than `||`. The whole text is checked even where its value is
//! already known, so that a mistake does not wait for the day it matters.

use crate::lexer::{self, EXCERPT_WIDTH};
use crate::source::Environment;

/// How deep parentheses and negations may nest; nobody writes ten.
const DEPTH_MAX: usize = 64;

/// What conditions may ask about the running program.
pub trait Facts {
    /// The version compared by `version_atleast()`, e.g. `3.4.0`.
    fn version(&self) -> &str;
    /// `feature(NAME)`.
    fn feature(&self, name: &str) -> bool;
    /// `enabled(NAME)`.
    fn enabled(&self, name: &str) -> bool;
    /// The TLS library's name and the OpenSSL version it stands for, e.g. `("OpenSSL 3.0.0", "3.0.0")`.
    fn tls_library(&self) -> Option<(&str, &str)>;
    /// AWS-LC's API number, when that is the library.
    fn awslc_api(&self) -> Option<u32>;
}

/// Evaluates one condition. An empty one is false.
pub fn evaluate_condition(text: &str, facts: &dyn Facts, env: &Environment) -> Result<bool, ConditionError> {
    if text.trim_ascii().is_empty() {
        return Ok(false);
    }
    let mut parser = Parser { text, at: 0, facts, env, depth: 0 };
    let value = parser.any()?;
    match parser.peek() {
        None => Ok(value),
        Some(character) => {
            Err(parser.error(ErrorKind::TrailingCharacter { character, text: text.to_owned() }))
        }
    }
}

/// Why a condition cannot be evaluated, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    pub kind: ErrorKind,
    /// Bytes from one.
    pub position: usize,
}

impl ConditionError {
    /// The message with the expression and a caret; `directive` is `.if`, `.elif` or `-cc`.
    pub fn render(&self, directive: &str, text: &str) -> String {
        let width = EXCERPT_WIDTH - directive.len() - 1;
        let (shown, caret) = lexer::window(text.as_bytes(), self.position - 1, width);
        let indent = 3 + directive.len() + caret;
        format!(
            "{} in '{directive}' at position {}:\n  {directive} {shown}\n{:indent$}^",
            self.kind, self.position, ""
        )
    }
}

/// The texts are HAProxy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    #[error("unparsable conditional expression '{0}'")]
    Unparsable(String),
    #[error("unexpected character '{character}' at the end of conditional expression '{text}'")]
    TrailingCharacter { character: char, text: String },
    #[error("expected ')' after conditional expression '{0}'")]
    Unclosed(String),
    #[error(
        "expected ')'{} in argument 1 of predicate '{predicate}' used in conditional expression",
        before(found)
    )]
    UnclosedArguments { predicate: &'static str, found: String },
    #[error(
        "missing arguments (got {got}/{needed}), type 'string' expected in argument 1 of predicate '{predicate}' used in conditional expression"
    )]
    MissingArguments { predicate: &'static str, got: usize, needed: usize },
    #[error("unmatched quote in argument of predicate '{0}' used in conditional expression")]
    UnmatchedQuote(&'static str),
    #[error("invalid argument to conditional expression predicate '{predicate}': '{argument}'")]
    InvalidArgument { predicate: &'static str, argument: String },
    #[error("conditional expression nested too deep (max {DEPTH_MAX})")]
    TooDeep,
}

fn before(found: &str) -> String {
    if found.is_empty() { String::new() } else { format!(" before '{found}'") }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Predicate {
    AwslcApiAtleast,
    AwslcApiBefore,
    Defined,
    Enabled,
    Feature,
    OpensslVersionAtleast,
    OpensslVersionBefore,
    SsllibNameStartswith,
    Streq,
    Strneq,
    Strstr,
    VersionAtleast,
    VersionBefore,
}

/// Name and number of arguments.
const PREDICATES: &[(&str, Predicate, usize)] = &[
    ("awslc_api_atleast", Predicate::AwslcApiAtleast, 1),
    ("awslc_api_before", Predicate::AwslcApiBefore, 1),
    ("defined", Predicate::Defined, 1),
    ("enabled", Predicate::Enabled, 1),
    ("feature", Predicate::Feature, 1),
    ("openssl_version_atleast", Predicate::OpensslVersionAtleast, 1),
    ("openssl_version_before", Predicate::OpensslVersionBefore, 1),
    ("ssllib_name_startswith", Predicate::SsllibNameStartswith, 1),
    ("streq", Predicate::Streq, 2),
    ("strneq", Predicate::Strneq, 2),
    ("strstr", Predicate::Strstr, 2),
    ("version_atleast", Predicate::VersionAtleast, 1),
    ("version_before", Predicate::VersionBefore, 1),
];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    facts: &'a dyn Facts,
    env: &'a Environment,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// `all || all || ...`
    fn any(&mut self) -> Result<bool, ConditionError> {
        let start = self.at;
        let mut value = self.all()?;
        while let Some(operator) = self.operator("||") {
            value |= self.operand(operator, Self::all).map_err(|error| match error {
                // With nothing behind it the text is quoted from the beginning, the place is the operator's.
                ConditionError { kind: ErrorKind::Unparsable(_), position } if position == operator + 1 => {
                    ConditionError { kind: ErrorKind::Unparsable(self.text[start..].to_owned()), position }
                }
                error => error,
            })?;
        }
        Ok(value)
    }

    /// `term && term && ...`
    fn all(&mut self) -> Result<bool, ConditionError> {
        let mut value = self.term()?;
        while let Some(operator) = self.operator("&&") {
            value &= self.operand(operator, Self::term)?;
        }
        Ok(value)
    }

    /// What is right of an operator; if nothing is, the operator itself is what cannot be parsed.
    fn operand(
        &mut self,
        operator: usize,
        parse: fn(&mut Self) -> Result<bool, ConditionError>,
    ) -> Result<bool, ConditionError> {
        if self.peek().is_none() {
            return Err(self.unparsable(operator));
        }
        parse(self)
    }

    fn term(&mut self) -> Result<bool, ConditionError> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some('!') => {
                self.at += 1;
                self.peek();
                let operand = self.at;
                let value = self.nested(start, |parser| parser.operand(start, Self::term));
                value.map(|value| !value).map_err(|error| self.negated(error, operand, start))
            }
            Some('(') => {
                self.at += 1;
                self.nested(start, |parser| {
                    let value = parser.operand(start, Self::any)?;
                    if parser.peek() == Some(')') {
                        parser.at += 1;
                        return Ok(value);
                    }
                    let kind = ErrorKind::Unclosed(parser.text[start..].to_owned());
                    Err(ConditionError { kind, position: start + 1 })
                })
            }
            Some('0'..='9' | '-' | '+') => self.integer(),
            _ => self.predicate(),
        }
    }

    /// What is wrong as a whole and not somewhere inside is quoted with its negation.
    fn negated(&self, error: ConditionError, operand: usize, start: usize) -> ConditionError {
        let text = self.text[start..].to_owned();
        let kind = match error.kind {
            ErrorKind::Unparsable(_) if error.position == operand + 1 => ErrorKind::Unparsable(text),
            ErrorKind::Unclosed(_) if error.position == operand + 1 => ErrorKind::Unclosed(text),
            _ => return error,
        };
        ConditionError { kind, position: start + 1 }
    }

    fn nested(
        &mut self,
        start: usize,
        parse: impl FnOnce(&mut Self) -> Result<bool, ConditionError>,
    ) -> Result<bool, ConditionError> {
        if self.depth == DEPTH_MAX {
            return Err(ConditionError { kind: ErrorKind::TooDeep, position: start + 1 });
        }
        self.depth += 1;
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn integer(&mut self) -> Result<bool, ConditionError> {
        let start = self.at;
        let rest = self.text[start..].trim_start_matches(['-', '+']);
        let sign = self.text.len() - start - rest.len();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || sign > 1 {
            return Err(self.unparsable(start));
        }
        self.at += sign + digits;
        Ok(rest[..digits].bytes().any(|digit| digit != b'0'))
    }

    fn predicate(&mut self) -> Result<bool, ConditionError> {
        let start = self.at;
        let length = self.text[start..]
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        let word = &self.text[start..start + length];
        let Some((name, predicate, needed)) = PREDICATES.iter().find(|(name, ..)| *name == word) else {
            return Err(self.unparsable(start));
        };
        self.at += length;
        let arguments = self.arguments(name, *needed)?;
        let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
        let (first, second) = (argument(0), argument(1));
        let openssl = || {
            let wanted = openssl_number(first).ok_or_else(|| {
                self.error(ErrorKind::InvalidArgument { predicate: name, argument: first.to_owned() })
            })?;
            Ok(self
                .facts
                .tls_library()
                .and_then(|(_, version)| openssl_number(version))
                .map(|ours| ours.cmp(&wanted)))
        };
        let awslc = || {
            let wanted = first.parse::<u32>().map_err(|_| {
                self.error(ErrorKind::InvalidArgument { predicate: name, argument: first.to_owned() })
            })?;
            Ok(self.facts.awslc_api().map(|ours| ours.cmp(&wanted)))
        };
        let version = || Version::parse(self.facts.version()).cmp(&Version::parse(first));
        Ok(match predicate {
            Predicate::AwslcApiAtleast => awslc()?.is_some_and(std::cmp::Ordering::is_ge),
            Predicate::AwslcApiBefore => awslc()?.is_some_and(std::cmp::Ordering::is_lt),
            Predicate::Defined => self.env.lookup(first).is_some(),
            Predicate::Enabled => self.facts.enabled(first),
            Predicate::Feature => self.facts.feature(first),
            Predicate::OpensslVersionAtleast => openssl()?.is_some_and(std::cmp::Ordering::is_ge),
            Predicate::OpensslVersionBefore => openssl()?.is_some_and(std::cmp::Ordering::is_lt),
            Predicate::SsllibNameStartswith => {
                self.facts.tls_library().is_some_and(|(name, _)| name.starts_with(first))
            }
            Predicate::Streq => first == second,
            Predicate::Strneq => first != second,
            Predicate::Strstr => first.contains(second),
            Predicate::VersionAtleast => version().is_ge(),
            Predicate::VersionBefore => version().is_lt(),
        })
    }

    /// `(a,b)`, or nothing, which is one empty argument. Blanks belong to the arguments.
    fn arguments(&mut self, predicate: &'static str, needed: usize) -> Result<Vec<String>, ConditionError> {
        let mut arguments = vec![String::new()];
        if self.text[self.at..].starts_with('(') {
            self.at += 1;
            loop {
                let argument = self.argument(predicate)?;
                if let Some(last) = arguments.last_mut() {
                    *last = argument;
                }
                if arguments.len() < needed && self.text[self.at..].starts_with(',') {
                    self.at += 1;
                    arguments.push(String::new());
                    continue;
                }
                break;
            }
            let rest = &self.text[self.at..];
            if arguments.len() < needed && (rest.is_empty() || rest.starts_with(')')) {
                let got = arguments.len();
                return Err(self.error(ErrorKind::MissingArguments { predicate, got, needed }));
            }
            if !rest.starts_with(')') {
                return Err(self.error(ErrorKind::UnclosedArguments { predicate, found: rest.to_owned() }));
            }
            self.at += 1;
        } else if needed > 1 {
            return Err(self.error(ErrorKind::MissingArguments { predicate, got: 0, needed }));
        }
        Ok(arguments)
    }

    /// One argument: quotes as in a line, a backslash before a quote, a blank or itself, `\n \r \t`.
    fn argument(&mut self, predicate: &'static str) -> Result<String, ConditionError> {
        let mut out = String::new();
        let mut quote: Option<char> = None;
        while let Some(character) = self.text[self.at..].chars().next() {
            let mut taken = character;
            match (quote, character) {
                (None, ',' | ')') => break,
                (None, '"' | '\'') => {
                    quote = Some(character);
                    self.at += 1;
                    continue;
                }
                (Some(open), _) if open == character => {
                    quote = None;
                    self.at += 1;
                    continue;
                }
                (None | Some('"'), '\\') => {
                    let escaped = match self.text[self.at + 1..].chars().next() {
                        Some('n') => Some('\n'),
                        Some('r') => Some('\r'),
                        Some('t') => Some('\t'),
                        Some(byte @ ('\\' | ' ' | '\'' | '"')) => Some(byte),
                        _ => None,
                    };
                    if let Some(escaped) = escaped {
                        self.at += 1;
                        taken = escaped;
                        self.at += 1;
                        out.push(taken);
                        continue;
                    }
                }
                _ => {}
            }
            out.push(taken);
            self.at += character.len_utf8();
        }
        if quote.is_some() {
            return Err(self.error(ErrorKind::UnmatchedQuote(predicate)));
        }
        Ok(out)
    }

    /// The next character that is not blank; the cursor stops at it.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
        self.text[self.at..].chars().next()
    }

    /// Takes an operator, returning where it was.
    fn operator(&mut self, operator: &str) -> Option<usize> {
        self.peek();
        let start = self.at;
        self.text[start..].starts_with(operator).then(|| {
            self.at += operator.len();
            start
        })
    }

    fn error(&self, kind: ErrorKind) -> ConditionError {
        ConditionError { kind, position: self.at + 1 }
    }

    fn unparsable(&self, start: usize) -> ConditionError {
        ConditionError { kind: ErrorKind::Unparsable(self.text[start..].to_owned()), position: start + 1 }
    }
}

/// A version as `haproxy -v` shows it: `3.2`, `3.2.26-1`, `3.3-dev5`, `3.3-rc1`; what is missing is zero.
///
/// The order of the fields is the order of releases: development, candidates, releases, commits after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
    stage: Stage,
    /// The number of the development version, candidate or maintenance release.
    patch: u32,
    commits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Development,
    Candidate,
    Release,
}

impl Version {
    fn parse(text: &str) -> Self {
        let mut rest = text;
        let mut number = |prefix: &str| {
            let tail = rest.strip_prefix(prefix)?;
            let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
            rest = &tail[digits..];
            tail[..digits].parse::<u32>().ok()
        };
        let major = number("").unwrap_or(0);
        let minor = number(".").unwrap_or(0);
        let (stage, patch) = if let Some(patch) = number("-dev") {
            (Stage::Development, patch)
        } else if let Some(patch) = number("-rc") {
            (Stage::Candidate, patch)
        } else {
            (Stage::Release, number(".").unwrap_or(0))
        };
        let commits = number("-").unwrap_or(0);
        Self { major, minor, stage, patch, commits }
    }
}

/// `1.1.1k` or `3.0.0-beta2` as a comparable number; all three parts are needed.
fn openssl_number(text: &str) -> Option<(u32, u32, u32, u8, u32)> {
    let (numbers, stage) = text.split_once('-').unwrap_or((text, ""));
    let (numbers, letter) = match numbers.as_bytes().last() {
        Some(letter) if letter.is_ascii_lowercase() => (&numbers[..numbers.len() - 1], *letter),
        _ => (numbers, 0),
    };
    let mut parts = numbers.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor, fix) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    // A release is newer than all its alphas and betas.
    let stage = match (stage.strip_prefix("alpha"), stage.strip_prefix("beta")) {
        (Some(number), _) => number.parse::<u32>().ok()?,
        (_, Some(number)) => 0x100 + number.parse::<u32>().ok()?,
        _ => u32::MAX,
    };
    Some((major, minor, fix, letter, stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Test;

    impl Facts for Test {
        fn version(&self) -> &str {
            "3.2.26-1"
        }
        fn feature(&self, name: &str) -> bool {
            name == "OPENSSL"
        }
        fn enabled(&self, name: &str) -> bool {
            name == "SPLICE"
        }
        fn tls_library(&self) -> Option<(&str, &str)> {
            Some(("OpenSSL 3.0.15 3 Sep 2024", "3.0.15"))
        }
        fn awslc_api(&self) -> Option<u32> {
            Some(29)
        }
    }

    fn evaluate(text: &str) -> Result<bool, ConditionError> {
        evaluate_condition(text, &Test, &Environment::from_iter([("A", "1")]))
    }

    fn check(expected: bool, texts: &[&str]) {
        for text in texts {
            assert_eq!(evaluate(text), Ok(expected), "{text}");
        }
    }

    fn check_error(text: &str, message: &str, position: usize) {
        let error = evaluate(text).expect_err(text);
        assert_eq!((error.kind.to_string().as_str(), error.position), (message, position), "{text}");
    }

    #[test]
    fn operators() {
        check(false, &["", "  ", "0", "00", "!1", "1 && 0", "0 || 0", "1&&0", "! defined(A)", "!(1)"]);
        check(true, &["1", "2", "-1", "!!1", "(1)", "( 1 )", "1 && 0 || 1", "1 || 0 && 0", "(1 || 0) && !0"]);
        check(true, &["((((((((((((((((((1))))))))))))))))))", "defined(A)&&1", "defined(A)||0"]);
    }

    #[test]
    fn predicates() {
        check(true, &["defined(A)", "defined('A')", "feature(OPENSSL)", "enabled(SPLICE)"]);
        check(
            false,
            &["defined(Q)", "defined()", "defined", "defined( A )", "feature(openssl)", "enabled(splice)"],
        );
        check(true, &["streq(a,a)", "streq(,)", r#"streq("b,c","b,c")"#, r"streq(\n,\n)", "strneq(a,b)"]);
        check(false, &["streq(a,b)", "streq(a, a)", "strneq(a,a)", "strstr(abc,d)"]);
        check(true, &["strstr(abc,b)", "strstr(abc,)", "ssllib_name_startswith(OpenSSL)"]);
        check(true, &["openssl_version_atleast(1.1.1)", "openssl_version_atleast(1.1.1k)"]);
        check(true, &["openssl_version_atleast(3.0.15-beta1)", "openssl_version_before(3.5.0)"]);
        check(false, &["openssl_version_atleast(3.0.16)", "openssl_version_before(3.0.15)"]);
        check(true, &["awslc_api_atleast(29)", "awslc_api_before(30)"]);
        check(false, &["ssllib_name_startswith(AWS)", "awslc_api_atleast(30)", "awslc_api_before(29)"]);
    }

    #[test]
    fn versions() {
        check(
            true,
            &[
                "version_atleast(3)",
                "version_atleast(3.2)",
                "version_atleast(3.2.26)",
                "version_atleast(3.2.26-1)",
                "version_atleast(3.2-dev5)",
                "version_atleast(2.4-dev19)",
                "version_atleast(abc)",
                "version_atleast(3.x)",
                "version_before(3.3)",
                "version_before(3.3-dev1)",
            ],
        );
        check(
            false,
            &[
                "version_atleast(3.2.27)",
                "version_atleast(3.2.26-2)",
                "version_atleast(3.3)",
                "version_atleast(3.3-dev1)",
                "version_before(3.2.26)",
                "version_before(3.2-rc1)",
            ],
        );
        assert!(Version::parse("3.4.0-sockeye-0.1.0") == Version::parse("3.4"));
    }

    #[test]
    fn mistakes() {
        check_error("a", "unparsable conditional expression 'a'", 1);
        check_error("Defined(A)", "unparsable conditional expression 'Defined(A)'", 1);
        check_error("!", "unparsable conditional expression '!'", 1);
        check_error("1 && !bogus", "unparsable conditional expression '!bogus'", 6);
        check_error("()", "unparsable conditional expression ')'", 2);
        check_error("1 &&", "unparsable conditional expression '&&'", 3);
        check_error("1 ||", "unparsable conditional expression '1 ||'", 3);
        check_error("&& 1", "unparsable conditional expression '&& 1'", 1);
        check_error("1 || bogus", "unparsable conditional expression 'bogus'", 6);
        check_error("0 && bogus", "unparsable conditional expression 'bogus'", 6);
        check_error("bogus || 1", "unparsable conditional expression 'bogus || 1'", 1);
        check_error("1x", "unexpected character 'x' at the end of conditional expression '1x'", 2);
        check_error("1 & 1", "unexpected character '&' at the end of conditional expression '1 & 1'", 3);
        check_error("(1) (1)", "unexpected character '(' at the end of conditional expression '(1) (1)'", 5);
        check_error(
            "defined (A)",
            "unexpected character '(' at the end of conditional expression 'defined (A)'",
            9,
        );
        check_error("!(1", "expected ')' after conditional expression '!(1'", 1);
        check_error("1&&!()", "unparsable conditional expression ')'", 6);
        check_error("(1", "expected ')' after conditional expression '(1'", 1);
        let tail = "used in conditional expression";
        check_error("defined(A", &format!("expected ')' in argument 1 of predicate 'defined' {tail}"), 10);
        check_error(
            "defined(A,B)",
            &format!("expected ')' before ',B)' in argument 1 of predicate 'defined' {tail}"),
            10,
        );
        check_error(
            r"streq(a\,b,a)",
            &format!("expected ')' before ',a)' in argument 1 of predicate 'streq' {tail}"),
            11,
        );
        check_error(
            "streq(a)",
            &format!(
                "missing arguments (got 1/2), type 'string' expected in argument 1 of predicate 'streq' {tail}"
            ),
            8,
        );
        check_error(
            "openssl_version_atleast(4)",
            "invalid argument to conditional expression predicate 'openssl_version_atleast': '4'",
            27,
        );
        check_error(&"(".repeat(100_000), "conditional expression nested too deep (max 64)", 65);
        check_error(&"!".repeat(100_000), "conditional expression nested too deep (max 64)", 65);
    }

    #[test]
    fn the_caret_stands_below_the_mistake() {
        let error = evaluate("1 && bogus").expect_err("bogus");
        assert_eq!(
            error.render(".elif", "1 && bogus"),
            "unparsable conditional expression 'bogus' in '.elif' at position 6:\n  .elif 1 && bogus\n             ^"
        );
        let long = format!("streq({},b) x{}", "a".repeat(100), "y".repeat(100));
        let shown = format!("...{},b) x{}...", "a".repeat(31), "y".repeat(34));
        let rendered = evaluate(&long).expect_err("x").render(".if", &long);
        assert!(rendered.ends_with(&format!("\n  .if {shown}\n{}^", " ".repeat(44))), "{rendered}");
    }

    #[test]
    fn any_text_is_a_condition_or_an_error() {
        proptest::proptest!(|(text in r#"(defined|streq|feature|[01!&|( )"',\\éa]){0,24}"#)| {
            if let Err(error) = evaluate(&text) {
                error.render(".if", &text);
            }
        });
    }
}
