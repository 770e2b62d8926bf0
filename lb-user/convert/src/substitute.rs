//! Substitution by regular expressions: `regsub`, and what `map_regm` writes.

use std::sync::Arc;

use sockeye_pattern::{Captures, Regex};
use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::operand::{self, OUTPUT_MAX, bytes, made};

pub(crate) static TABLE: &[Converter] = &[Converter::new("regsub", run).prepare(prepare)];

/// Arguments of `regsub`.
#[derive(Debug)]
struct Substitution {
    regex: Regex,
    template: Box<[u8]>,
    /// Every match, not only the first.
    global: bool,
}

fn prepare(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let (mut global, mut ignore_case) = (false, false);
    for flag in operand::text(args, 2) {
        match flag {
            b'g' => global = true,
            b'i' => ignore_case = true,
            other => {
                let other = char::from(*other);
                return Err(format!("invalid regex flag '{other}', only 'i' and 'g' are supported"));
            }
        }
    }
    let text = str::from_utf8(operand::text(args, 0)).unwrap_or_default();
    if text.is_empty() {
        return Err("missing regex".to_owned());
    }
    let regex =
        Regex::new(text, ignore_case).map_err(|error| format!("regex '{text}' is invalid: {error}"))?;
    let template = operand::text(args, 1).into();
    args[0] = Arg::Prepared(Arc::new(Substitution { regex, template, global }));
    Ok(())
}

/// Goes on behind each match, and by one byte more behind one that is empty. What is before the place where it goes on
/// still counts, for `\b` and look-behind too.
fn run<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let substitution: &Substitution = args.first()?.prepared()?;
    let text = bytes(value)?;
    let Some(mut captures) = substitution.regex.captures(&text) else { return Some(Value::Str(text)) };
    let mut out = Vec::with_capacity(text.len());
    let mut start = 0;
    loop {
        let was_at_end = start == text.len();
        let (from, to) = captures.range();
        out.extend_from_slice(&text[start..from]);
        let before = out.len();
        if expand(&substitution.template, &captures, &mut out).is_none() {
            out.truncate(before);
            break;
        }
        if out.len() > OUTPUT_MAX {
            break;
        }
        start = to;
        if was_at_end || !substitution.global {
            out.extend_from_slice(&text[start..]);
            break;
        }
        if from == to
            && let Some(byte) = text.get(start)
        {
            out.push(*byte);
            start += 1;
        }
        captures = match substitution.regex.captures_at(&text, start) {
            Some(captures) => captures,
            None => {
                out.extend_from_slice(&text[start..]);
                break;
            }
        };
    }
    made(out)
}

/// Writes `template` with `\0` to `\9` replaced by what the groups matched and `\xNN` by that byte; a backslash before
/// anything else is left out. Ends early beyond [`OUTPUT_MAX`]. `None` if the template ends in the middle of such a
/// sequence.
pub(crate) fn expand(template: &[u8], captures: &Captures<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = template;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (escaped, behind) = rest[at + 1..].split_first()?;
        rest = behind;
        match escaped {
            b'0'..=b'9' => {
                out.extend_from_slice(captures.get(usize::from(escaped - b'0')).unwrap_or_default());
            }
            b'x' => {
                let ([high, low], behind) = rest.split_first_chunk()?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                match digit(*high).zip(digit(*low)).and_then(|(high, low)| u8::try_from(high << 4 | low).ok())
                {
                    Some(byte) => {
                        out.push(byte);
                        rest = behind;
                    }
                    None => out.push(b'x'),
                }
            }
            other => out.push(*other),
        }
        if out.len() > OUTPUT_MAX {
            return Some(());
        }
    }
    out.extend_from_slice(rest);
    Some(())
}
