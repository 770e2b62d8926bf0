//! Texts: their parts, their letters, and what is put behind them.

use std::borrow::Cow;
use std::ops::Range;

use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::operand::{self, bytes, cut, made};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("add_item", add_item).prepare(prepare_add_item),
    Converter::new("bytes", bytes_of).prepare(prepare_bytes),
    Converter::new("concat", concat).prepare(|args, compiler| operand::prepare_variable(args, 1, compiler)),
    Converter::new("cut_crlf", |value, _, _| {
        let text = bytes(value)?;
        let end = memchr::memchr2(b'\r', b'\n', &text).unwrap_or(text.len());
        Some(Value::Str(cut(text, 0..end)))
    }),
    Converter::new("field", |value, args, _| part(value, args, fields)).prepare(prepare_part),
    Converter::new("word", |value, args, _| part(value, args, words)).prepare(prepare_part),
    Converter::new("has_ctl", |value, args, _| {
        let mask = operand::int(args, 0).unwrap_or(CONTROLS_BUT_TAB);
        let is_control = |byte: &u8| match byte {
            0..=0x1f => mask >> byte & 1 == 1,
            0x7f => mask >> 32 & 1 == 1,
            _ => false,
        };
        Some(Value::Bool(bytes(value)?.iter().any(is_control)))
    })
    .prepare(prepare_has_ctl),
    Converter::new("length", |value, _, _| i64::try_from(bytes(value)?.len()).ok().map(Value::Int)),
    Converter::new("lower", |value, _, _| {
        with_letters(value, u8::is_ascii_uppercase, <[u8]>::make_ascii_lowercase)
    }),
    Converter::new("upper", |value, _, _| {
        with_letters(value, u8::is_ascii_lowercase, <[u8]>::make_ascii_uppercase)
    }),
    Converter::new("ltrim", |value, args, _| {
        let (text, chars) = (bytes(value)?, operand::text(args, 0));
        let start = text.iter().position(|byte| !chars.contains(byte)).unwrap_or(text.len());
        let end = text.len();
        Some(Value::Str(cut(text, start..end)))
    }),
    Converter::new("rtrim", |value, args, _| {
        let (text, chars) = (bytes(value)?, operand::text(args, 0));
        let end = text.iter().rposition(|byte| !chars.contains(byte)).map_or(0, |last| last + 1);
        Some(Value::Str(cut(text, 0..end)))
    }),
    Converter::new("param", param).prepare(|args, _| match operand::text(args, 1).len() {
        0 | 1 => Ok(()),
        _ => Err("Delimiter must be exactly 1 character.".to_owned()),
    }),
    Converter::new("reverse", |value, _, _| {
        let mut text = bytes(value)?.into_owned();
        text.reverse();
        made(text)
    }),
    Converter::new("reverse_dom", |value, _, _| {
        let text = bytes(value)?;
        let labels: Vec<&[u8]> = text.rsplit(|byte| *byte == b'.').collect();
        made(labels.join(&b'.'))
    }),
    Converter::new("strcmp", |value, args, scene| {
        let right = operand::variable_text(args, 0, scene)?;
        Some(Value::Int(compare(&bytes(value)?, &right)))
    })
    .prepare(|args, compiler| operand::prepare_variable(args, 0, compiler)),
];

/// Bits 0 to 31 are control characters, bit 32 is DEL; without TAB, which fields of HTTP may have.
const CONTROLS_BUT_TAB: i64 = 0x1_ffff_fdff;

fn prepare_has_ctl(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let Some(arg) = args.first_mut() else { return Ok(()) };
    let Some(text) = arg.str() else { return Ok(()) };
    let text = str::from_utf8(text).unwrap_or_default();
    let mask = match text {
        "any" => Some(0x1_ffff_ffff),
        "http" => Some(0x2401),
        number => match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
            Some(digits) => i64::from_str_radix(digits, 16).ok(),
            None => number.parse().ok(),
        },
    };
    *arg = Arg::Int(mask.ok_or_else(|| {
        format!("cannot parse value '{text}'; expecting an integer value (decimal or hex with '0x' prefix)")
    })?);
    Ok(())
}

/// The same text with other letters, without a copy if there are none to change.
fn with_letters<'a>(
    value: Value<'a>,
    wanted: impl Fn(&u8) -> bool,
    change: fn(&mut [u8]),
) -> Option<Value<'a>> {
    let mut text = bytes(value)?;
    // All are looked at, which several at a time are sooner than one after the other until the first.
    if text.iter().fold(false, |found, byte| found | wanted(byte)) {
        change(text.to_mut());
    }
    Some(Value::Str(text))
}

fn prepare_bytes(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    operand::prepare_number(args, 0, compiler)?;
    operand::prepare_number(args, 1, compiler)?;
    match (operand::int(args, 0), operand::int(args, 1)) {
        (Some(..0), _) => Err("expects a non-negative integer".to_owned()),
        (_, Some(..=0)) => Err("expects a positive integer".to_owned()),
        _ => Ok(()),
    }
}

/// Bytes from an offset on: none behind the end, no value if a variable is negative.
fn bytes_of<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let start = usize::try_from(operand::number(args, 0, 0, scene)?).ok()?;
    let length = usize::try_from(operand::number(args, 1, i64::MAX, scene)?).ok()?;
    Some(Value::Bin(cut(bytes(value)?, start..start.saturating_add(length))))
}

fn concat<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let mut text = bytes(value)?.into_owned();
    text.extend_from_slice(operand::text(args, 0));
    text.extend_from_slice(&operand::variable_text(args, 1, scene).unwrap_or_default());
    text.extend_from_slice(operand::text(args, 2));
    made(text)
}

fn prepare_add_item(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    if operand::text(args, 1).is_empty() && operand::text(args, 2).is_empty() {
        return Err("one of the variable and the suffix has to be given".to_owned());
    }
    operand::prepare_variable(args, 1, compiler)
}

fn add_item<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let mut text = bytes(value)?.into_owned();
    let variable = operand::variable_text(args, 1, scene).unwrap_or_default();
    let suffix = operand::text(args, 2);
    let adds = !variable.is_empty() || !suffix.is_empty();
    if adds && !text.is_empty() {
        text.extend_from_slice(operand::text(args, 0));
    }
    text.extend_from_slice(&variable);
    text.extend_from_slice(suffix);
    made(text)
}

/// Which part: text, index, whether a byte is a delimiter, how many.
type Find = fn(&[u8], i64, &dyn Fn(u8) -> bool, Option<usize>) -> Option<Range<usize>>;

fn prepare_part(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match operand::int(args, 0) {
        None | Some(0) => Err("Unexpected value 0 for index".to_owned()),
        Some(_) if operand::text(args, 1).is_empty() => Err("Empty separators list".to_owned()),
        Some(_) => Ok(()),
    }
}

fn part<'a>(value: Value<'a>, args: &'a [Arg], find: Find) -> Option<Value<'a>> {
    let text = bytes(value)?;
    let delimiters = operand::text(args, 1);
    let count = operand::int(args, 2).unwrap_or(1);
    // 0: all that remain.
    let count = usize::try_from(count).ok().filter(|count| *count > 0);
    let range = find(&text, operand::int(args, 0)?, &|byte| delimiters.contains(&byte), count)?;
    Some(Value::Str(cut(text, range)))
}

/// `count` fields from the one of number `index`, with what is between them: backwards from it if it is negative, and
/// all without `count`. `None` if there is no such field.
fn fields(
    text: &[u8],
    index: i64,
    is_delimiter: &dyn Fn(u8) -> bool,
    count: Option<usize>,
) -> Option<Range<usize>> {
    let skip = usize::try_from(index.unsigned_abs().checked_sub(1)?).ok()?;
    let mut delimiters = text.iter().enumerate().filter(|(_, byte)| is_delimiter(**byte)).map(|(at, _)| at);
    if index > 0 {
        let start = match skip {
            0 => 0,
            skip => delimiters.nth(skip - 1)? + 1,
        };
        let end = count.and_then(|count| delimiters.nth(count.checked_sub(1)?));
        Some(start..end.unwrap_or(text.len()))
    } else {
        let mut delimiters = delimiters.rev();
        let end = match skip {
            0 => text.len(),
            skip => delimiters.nth(skip - 1)?,
        };
        let start = count.and_then(|count| delimiters.nth(count.checked_sub(1)?));
        Some(start.map_or(0, |at| at + 1)..end)
    }
}

/// The same with words, which are never empty: delimiters that follow each other count as one.
fn words(
    text: &[u8],
    index: i64,
    is_delimiter: &dyn Fn(u8) -> bool,
    count: Option<usize>,
) -> Option<Range<usize>> {
    let skip = usize::try_from(index.unsigned_abs().checked_sub(1)?).ok()?;
    let mut found = WordsOf { text, at: 0, is_delimiter };
    if index > 0 {
        let first = found.nth(skip)?;
        let Some(count) = count else { return Some(first.start..text.len()) };
        let last = match count {
            0 | 1 => Some(first.end),
            count => found.nth(count - 2).map(|last| last.end),
        };
        Some(first.start..last.unwrap_or(text.len()))
    } else {
        let all: Vec<Range<usize>> = found.collect();
        let last = all.len().checked_sub(skip.checked_add(1)?)?;
        let first = count.and_then(|count| last.checked_sub(count.checked_sub(1)?));
        Some(first.map_or(0, |first| all[first].start)..all[last].end)
    }
}

/// The words of a text, from its beginning.
struct WordsOf<'a> {
    text: &'a [u8],
    at: usize,
    is_delimiter: &'a dyn Fn(u8) -> bool,
}

impl Iterator for WordsOf<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = &self.text[self.at..];
        let start = self.at + rest.iter().position(|byte| !(self.is_delimiter)(*byte))?;
        let rest = &self.text[start..];
        self.at = start + rest.iter().position(|byte| (self.is_delimiter)(*byte)).unwrap_or(rest.len());
        Some(start..self.at)
    }
}

/// The value of the first parameter of that name.
fn param<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let text = bytes(value)?;
    let name = operand::text(args, 0);
    let delimiter = operand::text(args, 1).first().copied().unwrap_or(b'&');
    let mut start = 0;
    for segment in text.split(|byte| *byte == delimiter) {
        match segment.strip_prefix(name) {
            Some([]) => return Some(Value::Str(Cow::Borrowed(b""))),
            Some([b'=', ..]) => {
                let range = start + name.len() + 1..start + segment.len();
                return Some(Value::Str(cut(text, range)));
            }
            _ => start += segment.len() + 1,
        }
    }
    None
}

/// As `strcmp(3)` in HAProxy: the difference of the first bytes that differ, else of the lengths by their sign.
fn compare(left: &[u8], right: &[u8]) -> i64 {
    match left.iter().zip(right).find(|(left, right)| left != right) {
        Some((left, right)) => i64::from(*left) - i64::from(*right),
        None => left.len().cmp(&right.len()) as i64,
    }
}
