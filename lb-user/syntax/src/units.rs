//! Time and size formats (manual §2.5 and §2.6): integers with an optional unit, nothing decimal.

use std::time::Duration;

/// The longest timer: HAProxy counts milliseconds in 31 bits, about 24.8 days.
pub const TIMER_MS_MAX: u64 = 2_147_483_647;

/// The units a time may be written in, as in HAProxy's own messages.
pub const TIME_UNITS: &str = "us=microseconds,ms=milliseconds,s=seconds,m=minutes,h=hours,d=days";

/// The unit of a bare number; most timers use milliseconds, a few seconds or minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl TimeUnit {
    fn microseconds(self) -> u64 {
        match self {
            Self::Microseconds => 1,
            Self::Milliseconds => 1_000,
            Self::Seconds => 1_000_000,
            Self::Minutes => 60_000_000,
            Self::Hours => 3_600_000_000,
            Self::Days => 86_400_000_000,
        }
    }
}

/// Why a time is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeError {
    /// Not a digit where the number should be, or an unknown unit.
    Unexpected(char),
    /// Longer than [`TIMER_MS_MAX`].
    Overflow,
}

/// A time as read. HAProxy 3.2 takes `5mss` as `5ms` with a warning; `trailing` is that first extra character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    pub value: Duration,
    pub trailing: Option<char>,
}

/// Reads a time whose bare number counts `default` units. Zero is a time; an empty text is not.
///
/// The result is in whole `default` units or milliseconds, rounded up like HAProxy does, so that a time that is
/// not zero never becomes zero.
pub fn parse_time(text: &str, default: TimeUnit) -> Result<Time, TimeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let first = suffix.chars().next();
    if digits == 0 {
        return Err(TimeError::Unexpected(first.unwrap_or('\0')));
    }
    let units = [
        ("us", TimeUnit::Microseconds),
        ("ms", TimeUnit::Milliseconds),
        ("s", TimeUnit::Seconds),
        ("m", TimeUnit::Minutes),
        ("h", TimeUnit::Hours),
        ("d", TimeUnit::Days),
    ];
    let (unit, rest) = match first {
        None => (default, ""),
        Some(first) => units
            .iter()
            .find_map(|(name, unit)| suffix.strip_prefix(name).map(|rest| (*unit, rest)))
            .ok_or(TimeError::Unexpected(first))?,
    };
    let number: u64 = number.parse().map_err(|_| TimeError::Overflow)?;
    let microseconds = number.checked_mul(unit.microseconds()).ok_or(TimeError::Overflow)?;
    let grain = default.microseconds();
    let grains = microseconds.div_ceil(grain);
    if grains > TIMER_MS_MAX {
        return Err(TimeError::Overflow);
    }
    Ok(Time { value: Duration::from_micros(grains * grain), trailing: rest.chars().next() })
}

/// Why a size is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeError {
    Unexpected(char),
    /// Does not fit 64 bits.
    Overflow,
}

/// Reads a size in bytes: a number, optionally followed by `k`, `m` or `g` (powers of 1024, case ignored).
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let mut rest = suffix.chars();
    let unit = rest.next();
    if digits == 0 {
        return Err(SizeError::Unexpected(unit.unwrap_or('\0')));
    }
    let shift = match unit.map(|unit| unit.to_ascii_lowercase()) {
        None => 0,
        Some('k') => 10,
        Some('m') => 20,
        Some('g') => 30,
        Some(_) => return Err(SizeError::Unexpected(unit.unwrap_or('\0'))),
    };
    if let Some(extra) = rest.next() {
        return Err(SizeError::Unexpected(extra));
    }
    let number: u64 = number.parse().map_err(|_| SizeError::Overflow)?;
    number.checked_mul(1 << shift).ok_or(SizeError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_time(text: &str, default: TimeUnit, expected: Result<u64, TimeError>) {
        let microseconds = parse_time(text, default).map(|time| time.value.as_micros());
        assert_eq!(microseconds, expected.map(u128::from), "{text}");
    }

    #[test]
    fn times() {
        use TimeUnit::{Hours, Milliseconds, Minutes, Seconds};
        for (text, default, expected) in [
            ("0", Milliseconds, Ok(0)),
            ("5", Milliseconds, Ok(5_000)),
            ("5", Seconds, Ok(5_000_000)),
            ("5ms", Milliseconds, Ok(5_000)),
            ("2s", Milliseconds, Ok(2_000_000)),
            ("3m", Milliseconds, Ok(180_000_000)),
            ("1h", Seconds, Ok(3_600_000_000)),
            ("24d", Milliseconds, Ok(24 * 86_400_000_000)),
            ("2", Hours, Ok(7_200_000_000)),
            ("90s", Minutes, Ok(120_000_000)),
            // Not zero stays not zero.
            ("1us", Milliseconds, Ok(1_000)),
            ("1001us", Milliseconds, Ok(2_000)),
            ("0us", Milliseconds, Ok(0)),
            ("2147483647", Milliseconds, Ok(2_147_483_647_000)),
            ("2147483648", Milliseconds, Err(TimeError::Overflow)),
            ("25d", Milliseconds, Err(TimeError::Overflow)),
            ("99999999999999999999", Milliseconds, Err(TimeError::Overflow)),
            ("213503982334602d", Milliseconds, Err(TimeError::Overflow)),
            ("", Milliseconds, Err(TimeError::Unexpected('\0'))),
            ("s", Milliseconds, Err(TimeError::Unexpected('s'))),
            ("5x", Milliseconds, Err(TimeError::Unexpected('x'))),
            ("5S", Milliseconds, Err(TimeError::Unexpected('S'))),
            ("5u", Milliseconds, Err(TimeError::Unexpected('u'))),
            ("1.5s", Milliseconds, Err(TimeError::Unexpected('.'))),
            ("-5", Milliseconds, Err(TimeError::Unexpected('-'))),
            ("5é", Milliseconds, Err(TimeError::Unexpected('é'))),
        ] {
            check_time(text, default, expected);
        }
        let lenient = parse_time("5sx", Milliseconds);
        assert_eq!(lenient, Ok(Time { value: Duration::from_secs(5), trailing: Some('x') }));
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("1500", Ok(1500)),
            ("16k", Ok(16384)),
            ("16K", Ok(16384)),
            ("2m", Ok(2 << 20)),
            ("3G", Ok(3 << 30)),
            ("", Err(SizeError::Unexpected('\0'))),
            ("k", Err(SizeError::Unexpected('k'))),
            ("1t", Err(SizeError::Unexpected('t'))),
            ("1kb", Err(SizeError::Unexpected('b'))),
            ("1.5k", Err(SizeError::Unexpected('.'))),
            ("17179869184g", Err(SizeError::Overflow)),
            ("99999999999999999999", Err(SizeError::Overflow)),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
