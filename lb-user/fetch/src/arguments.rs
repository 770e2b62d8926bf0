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
        Some(other) => return Err(format!("invalid time unit '{other}': expects 's', 'ms' or 'us'")),
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
