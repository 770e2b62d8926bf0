//! Arguments that are a literal or the name of a variable, and the cutting of texts: shared by the families.

use std::borrow::Cow;
use std::ops::Range;

use sockeye_sample::{Arg, Compiler, Scene, Value};

/// No converter makes more than this: the room that HAProxy's buffers give by default.
pub(crate) const OUTPUT_MAX: usize = 16384;

/// Replaces argument `index`, which has to be a number or the name of a variable. One that is absent is kept.
pub(crate) fn prepare_number(
    args: &mut [Arg],
    index: usize,
    compiler: &mut Compiler<'_>,
) -> Result<(), String> {
    let Some(arg) = args.get_mut(index) else { return Ok(()) };
    let Some(text) = arg.str() else { return Ok(()) };
    let text = str::from_utf8(text).unwrap_or_default();
    *arg = match text.parse() {
        Ok(number) => Arg::Int(number),
        Err(_) => match compiler.variables.intern(text) {
            Ok(variable) => Arg::Var(variable),
            Err(_) => return Err("expects an integer or a variable name".to_owned()),
        },
    };
    Ok(())
}

/// The number that [`prepare_number`] prepared: `None` while its variable is not set; `absent` if it was not given.
pub(crate) fn number(args: &[Arg], index: usize, absent: i64, scene: &Scene<'_>) -> Option<i64> {
    match args.get(index) {
        Some(Arg::Int(number)) => Some(*number),
        Some(Arg::Var(variable)) => scene.variables.get(*variable)?.to_int(),
        _ => Some(absent),
    }
}

/// Replaces argument `index`, which has to be the name of a variable. One that is absent is kept.
pub(crate) fn prepare_variable(
    args: &mut [Arg],
    index: usize,
    compiler: &mut Compiler<'_>,
) -> Result<(), String> {
    let Some(arg) = args.get_mut(index) else { return Ok(()) };
    let Some(text) = arg.str() else { return Ok(()) };
    let text = str::from_utf8(text).unwrap_or_default();
    *arg = match compiler.variables.intern(text) {
        Ok(variable) => Arg::Var(variable),
        Err(problem) => return Err(format!("failed to register variable name '{text}': {problem}")),
    };
    Ok(())
}

/// The variable of argument `index` as text; `None` if it is not set or the argument is absent.
pub(crate) fn variable_text(args: &[Arg], index: usize, scene: &Scene<'_>) -> Option<Cow<'static, [u8]>> {
    let Some(Arg::Var(variable)) = args.get(index) else { return None };
    scene.variables.get(*variable)?.into_text()
}

/// Argument `index` as text, empty if it is absent.
pub(crate) fn text(args: &[Arg], index: usize) -> &[u8] {
    args.get(index).and_then(Arg::str).unwrap_or_default()
}

/// Argument `index` as a number, if there is one.
pub(crate) fn int(args: &[Arg], index: usize) -> Option<i64> {
    args.get(index).and_then(Arg::int)
}

/// Text or bytes as they are; `None` for other types, which the cast before a converter has excluded.
pub(crate) fn bytes(value: Value<'_>) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::Str(bytes) | Value::Bin(bytes) | Value::Method(bytes) => Some(bytes),
        _ => None,
    }
}

/// A part of `bytes` without a copy where they are borrowed. What is beyond the end is left out.
pub(crate) fn cut(bytes: Cow<'_, [u8]>, range: Range<usize>) -> Cow<'_, [u8]> {
    let range = range.start.min(bytes.len())..range.end.min(bytes.len());
    match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(range).unwrap_or_default()),
        Cow::Owned(mut bytes) => {
            bytes.truncate(range.end);
            bytes.drain(..range.start.min(range.end));
            Cow::Owned(bytes)
        }
    }
}

/// Text that a converter made; `None` beyond [`OUTPUT_MAX`].
pub(crate) fn made<'a>(text: Vec<u8>) -> Option<Value<'a>> {
    (text.len() <= OUTPUT_MAX).then(|| Value::string(text))
}
