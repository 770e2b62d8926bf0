//! Reading arguments: expressions hand over as many as the signature has, absent ones included.

use sockeye_sample::{Arg, Compiler};

/// The text at `index`; empty when it was not given.
pub(crate) fn text(args: &[Arg], index: usize) -> &[u8] {
    args.get(index).and_then(Arg::str).unwrap_or_default()
}

/// The number at `index`.
pub(crate) fn int(args: &[Arg], index: usize) -> Option<i64> {
    args.get(index).and_then(Arg::int)
}

/// The text at `index` as UTF-8, for `prepare`.
pub(crate) fn word(args: &[Arg], index: usize) -> Result<Option<&str>, String> {
    match args.get(index).and_then(Arg::str) {
        None => Ok(None),
        Some(text) => std::str::from_utf8(text)
            .map(Some)
            .map_err(|_| format!("argument {} is not valid text", index + 1)),
    }
}

/// Accepts seconds, milliseconds or microseconds at `index`, and keeps how many there are in a second.
pub(crate) fn unit(args: &mut [Arg], index: usize) -> Result<(), String> {
    let per_second = match word(args, index)? {
        None | Some("s") => 1,
        Some("ms") => 1000,
        Some("us") => 1_000_000,
        Some(other) => return Err(format!("expects 's', 'ms' or 'us', got '{other}'")),
    };
    if let Some(arg) = args.get_mut(index) {
        *arg = Arg::Int(per_second);
    }
    Ok(())
}

/// [`unit`] for the only argument.
pub(crate) fn only_unit(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    unit(args, 0)
}

/// The decimal number that a text begins with, 0 without one. A sign is a minus; too large becomes the largest.
///
/// HAProxy wraps at 32 bits here, so that a `content-length` of 4294967296 counts as 0 and passes every limit.
pub(crate) fn leading_int(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let value = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_i64, |value, digit| value.saturating_mul(10).saturating_add((digit - b'0').into()));
    if negative { -value } else { value }
}
