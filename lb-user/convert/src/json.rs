//! `json` and `json_query`: text made safe for JSON, and one value taken out of a JSON text.
//!
//! `json_query` reads as HAProxy does: it stops at the value it looks for, takes the first of keys that are there
//! twice, gives numbers the six digits of `%g` unless asked for an integer, and knows of `\u` only what fits a byte.

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("json", json).prepare(prepare_json),
    Converter::new("json_query", json_query).prepare(|args, _| prepare_query(args)),
];

/// How deep arrays and objects may be nested; HAProxy stops there too.
const DEPTH_MAX: usize = 20;
/// Integers up to here are the same number to every JSON implementation.
const INT_MAX: i64 = (1 << 53) - 1;

/// What `json` takes its input for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputCode {
    /// One byte, one character.
    Ascii,
    Utf8 {
        /// Overlong sequences mean what they say.
        permissive: bool,
        /// What is wrong is left out; otherwise there is no output at all.
        silent: bool,
    },
}

fn prepare_json(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let code = match args.first().and_then(Arg::str) {
        None | Some(b"ascii") => InputCode::Ascii,
        Some(b"utf8") => InputCode::Utf8 { permissive: false, silent: false },
        Some(b"utf8s") => InputCode::Utf8 { permissive: false, silent: true },
        Some(b"utf8p") => InputCode::Utf8 { permissive: true, silent: false },
        Some(b"utf8ps") => InputCode::Utf8 { permissive: true, silent: true },
        Some(_) => {
            return Err(
                "Unexpected input code type. Allowed value are 'ascii', 'utf8', 'utf8s', 'utf8p' and \
                        'utf8ps'."
                    .to_owned(),
            );
        }
    };
    if let Some(arg) = args.first_mut() {
        *arg = Arg::Prepared(Arc::new(code));
    }
    Ok(())
}

fn json<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let code = args.first().and_then(Arg::prepared::<InputCode>).copied().unwrap_or(InputCode::Ascii);
    let mut text = value.bytes()?;
    let mut out = Vec::with_capacity(text.len() + 16);
    while let Some(&byte) = text.first() {
        let (decoded, used) = match code {
            InputCode::Ascii => (Some(u32::from(byte)), 1),
            InputCode::Utf8 { permissive, .. } => decode_utf8(text, permissive),
        };
        text = &text[used..];
        match decoded.and_then(|code| u16::try_from(code).ok()) {
            Some(code) => escape(code, &mut out),
            None if matches!(code, InputCode::Utf8 { silent: true, .. }) => {}
            None => return None,
        }
    }
    Some(Value::string(out))
}

fn escape(code: u16, out: &mut Vec<u8>) {
    match u8::try_from(code) {
        Ok(byte @ (b'"' | b'\\' | b'/')) => out.extend([b'\\', byte]),
        Ok(8) => out.extend(b"\\b"),
        Ok(b'\t') => out.extend(b"\\t"),
        Ok(b'\n') => out.extend(b"\\n"),
        Ok(12) => out.extend(b"\\f"),
        Ok(b'\r') => out.extend(b"\\r"),
        Ok(byte @ b' '..=b'~') => out.push(byte),
        // Writing to a vector does not fail.
        _ => drop(write!(out, "\\u{code:04x}")),
    }
}

/// The code that `text`, which is not empty, begins with, and how many bytes it takes. `None` for what is not one:
/// a broken sequence, one that is longer than it has to be, a surrogate, U+FFFE, U+FFFF.
fn decode_utf8(text: &[u8], permissive: bool) -> (Option<u32>, usize) {
    let lead = text[0];
    let (length, low_bits, least) = match lead {
        0..=0x7f => return (Some(u32::from(lead)), 1),
        0xc0..=0xdf => (2, 0x1f, 0x80),
        0xe0..=0xef => (3, 0x0f, 0x800),
        0xf0..=0xf7 => (4, 0x07, 0x1_0000),
        // Longer forms were abolished by RFC 3629; they are eaten whole.
        0xf8..=0xfb => (5, 0x03, u32::MAX),
        0xfc..=0xfd => (6, 0x01, u32::MAX),
        _ => return (None, 1),
    };
    let mut code = u32::from(lead & low_bits);
    for at in 1..length {
        match text.get(at) {
            Some(byte @ 0x80..=0xbf) => code = code << 6 | u32::from(byte & 0x3f),
            _ => return (None, at),
        }
    }
    let overlong = code < least && !(permissive && length <= 4);
    let prohibited = matches!(code, 0xd800..=0xdfff | 0xfffe | 0xffff | 0x11_0000..);
    ((!overlong && !prohibited).then_some(code), length)
}

/// `json_query` and what takes the same arguments: the path at 0, the type at 1.
#[derive(Debug)]
pub(crate) struct Query {
    /// `None`: a path that leads nowhere, as HAProxy takes every one that it does not understand.
    path: Option<Vec<Step>>,
    int: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// As it stands between the quotes of the JSON text.
    Key(Box<[u8]>),
    Index(usize),
}

fn prepare_query(args: &mut [Arg]) -> Result<(), String> {
    let Some(path) = args.first().and_then(Arg::str) else {
        return Err("json_path must not be empty.".to_owned());
    };
    let int = match args.get(1).and_then(Arg::str) {
        None => false,
        Some(b"int") => true,
        Some(_) => return Err("output_type only supports \"int\" as argument.".to_owned()),
    };
    args[0] = Arg::Prepared(Arc::new(Query { path: parse_path(path), int }));
    Ok(())
}

/// The same for a converter whose path is optional.
pub(crate) fn prepare_optional_query(args: &mut [Arg]) -> Result<(), String> {
    if args.iter().all(Arg::is_absent) { Ok(()) } else { prepare_query(args) }
}

/// `$`, then `.key` and `[index]`; a backslash takes the meaning from what follows it.
fn parse_path(path: &[u8]) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix(b"$")?;
    let mut steps = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'.' => {
                let mut key = Vec::new();
                loop {
                    match rest {
                        [b'\\', escaped, after @ ..] => {
                            key.push(*escaped);
                            rest = after;
                        }
                        [] | [b'.' | b'[', ..] => break,
                        [byte, after @ ..] => {
                            key.push(*byte);
                            rest = after;
                        }
                    }
                }
                steps.push(Step::Key(key.into()));
            }
            b'[' => {
                let close = memchr::memchr(b']', rest)?;
                let digits = rest[..close].iter().take_while(|byte| byte.is_ascii_digit()).count();
                if rest[..close].first() == Some(&b'-') {
                    return None;
                }
                // What is no number counts as 0, `*` too.
                let index =
                    if digits == 0 { 0 } else { str::from_utf8(&rest[..digits]).ok()?.parse().ok()? };
                steps.push(Step::Index(index));
                rest = &rest[close + 1..];
            }
            _ => return None,
        }
    }
    Some(steps)
}

fn json_query<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let query = args.first()?.prepared::<Query>()?;
    match value {
        Value::Str(Cow::Borrowed(text)) | Value::Bin(Cow::Borrowed(text)) => query.find(text),
        value => query.find(value.bytes()?).map(Value::into_owned),
    }
}

impl Query {
    /// What the path leads to in `text`. Objects and `null` are not values.
    pub(crate) fn find<'a>(&self, text: &'a [u8]) -> Option<Value<'a>> {
        let mut scanner = Scanner { text, at: 0 };
        let mut depth = 0;
        for step in self.path.as_ref()? {
            depth += 1;
            if depth > DEPTH_MAX {
                return None;
            }
            match step {
                Step::Key(key) => scanner.enter_object(key, depth)?,
                Step::Index(index) => scanner.enter_array(*index, depth)?,
            }
        }
        match scanner.token(depth)? {
            Token::String(content) => unescape(&text[content]).map(Value::Str),
            Token::Number(digits) if self.int => leading_int(&text[digits]).map(Value::Int),
            Token::Number(digits) => {
                let number: f64 = str::from_utf8(&text[digits]).ok()?.parse().ok()?;
                Some(Value::string(general_format(number)))
            }
            Token::Bool(value) => Some(Value::Bool(value)),
            Token::Array(range) => Some(Value::str(&text[range])),
            Token::Null | Token::Object => None,
        }
    }
}

/// A value in a JSON text. Ranges are into that text; of a string without its quotes.
enum Token {
    String(Range<usize>),
    Number(Range<usize>),
    Bool(bool),
    Null,
    Array(Range<usize>),
    Object,
}

/// A position in a JSON text. `None` from its methods: the text is broken, or ends too early.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Takes `expected` behind spaces.
    fn take(&mut self, expected: u8) -> bool {
        self.skip_spaces();
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    /// Goes to the value of the first `key`.
    fn enter_object(&mut self, key: &[u8], depth: usize) -> Option<()> {
        if !self.take(b'{') {
            return None;
        }
        loop {
            self.skip_spaces();
            let found = self.string()?;
            if !self.take(b':') {
                return None;
            }
            if &self.text[found] == key {
                return Some(());
            }
            self.token(depth)?;
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// Goes to the element.
    fn enter_array(&mut self, index: usize, depth: usize) -> Option<()> {
        if !self.take(b'[') {
            return None;
        }
        for _ in 0..index {
            self.token(depth)?;
            if !self.take(b',') {
                return None;
            }
        }
        self.skip_spaces();
        (self.peek()? != b']').then_some(())
    }

    /// Takes a whole value, which is `depth` deep.
    fn token(&mut self, depth: usize) -> Option<Token> {
        self.skip_spaces();
        let start = self.at;
        match self.peek()? {
            b'"' => self.string().map(Token::String),
            b'-' | b'0'..=b'9' => self.number().map(Token::Number),
            b't' => self.literal(b"true").map(|()| Token::Bool(true)),
            b'f' => self.literal(b"false").map(|()| Token::Bool(false)),
            b'n' => self.literal(b"null").map(|()| Token::Null),
            b'[' => self.members(depth, b']', |_| Some(())).map(|()| Token::Array(start..self.at)),
            b'{' => {
                let key = |scanner: &mut Self| {
                    scanner.skip_spaces();
                    scanner.string()?;
                    scanner.take(b':').then_some(())
                };
                self.members(depth, b'}', key).map(|()| Token::Object)
            }
            _ => None,
        }
    }

    /// Takes what is between brackets; `before` takes what stands before each value.
    fn members(&mut self, depth: usize, close: u8, before: impl Fn(&mut Self) -> Option<()>) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.at += 1;
        if self.take(close) {
            return Some(());
        }
        loop {
            before(self)?;
            self.token(depth + 1)?;
            if self.take(close) {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
            // A comma before the bracket is forgiven.
            if self.take(close) {
                return Some(());
            }
        }
    }

    fn literal(&mut self, text: &[u8]) -> Option<()> {
        let found = self.text[self.at..].starts_with(text);
        self.at += text.len();
        found.then_some(())
    }

    fn string(&mut self) -> Option<Range<usize>> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(start..self.at - 1)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// Takes as much as makes a number.
    fn number(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.digits() == 0 {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits();
        }
        let mut end = self.at;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() > 0 {
                end = self.at;
            }
        }
        Some(start..end)
    }
}

/// The integer that a number begins with, if every JSON implementation can tell it from its neighbours.
fn leading_int(number: &[u8]) -> Option<i64> {
    let sign = usize::from(number.first() == Some(&b'-'));
    let digits = number[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value: i64 = str::from_utf8(&number[..sign + digits]).ok()?.parse().ok()?;
    (-INT_MAX..=INT_MAX).contains(&value).then_some(value)
}

/// The content of a string. `None`: an escape that HAProxy does not take, or a NUL.
fn unescape(content: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr(b'\\', content).is_none() {
        return Some(Cow::Borrowed(content));
    }
    let mut out = Vec::with_capacity(content.len());
    let mut bytes = content.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next()? {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'"' | b'\\') => *byte,
            b'u' => {
                let digits =
                    bytes.as_slice().get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
                bytes = bytes.as_slice()[4..].iter();
                let code = u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
                u8::try_from(code).ok().filter(|byte| *byte != 0)?
            }
            _ => return None,
        });
    }
    Some(Cow::Owned(out))
}

/// C's `%g`: six significant digits, without zeros at their end.
fn general_format(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_sign_negative() { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{number:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    match usize::try_from(5 - exponent) {
        Ok(decimals) if exponent >= -4 => trim(&format!("{number:.decimals$}")),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
        }
    }
}
