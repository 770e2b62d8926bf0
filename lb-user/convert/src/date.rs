//! Dates: numbers since 1970 as text, and the dates of HTTP as numbers.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sockeye_sample::{Arg, Compiler, Converter, Scene, Value};

use crate::calendar::{DAY_SECONDS, MONTHS, Moment, WEEK, days_of};
use crate::operand::{self, bytes, made};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("date", |value, _, _| parse_http(&bytes(value)?).map(Value::Int)),
    Converter::new("http_date", http_date).prepare(prepare_http_date),
    Converter::new("ltime", |value, args, _| format(value, args, Unit::Seconds, true)),
    Converter::new("ms_ltime", |value, args, _| format(value, args, Unit::Milliseconds, true)),
    Converter::new("us_ltime", |value, args, _| format(value, args, Unit::Microseconds, true)),
    Converter::new("utime", |value, args, _| format(value, args, Unit::Seconds, false)),
    Converter::new("ms_utime", |value, args, _| format(value, args, Unit::Milliseconds, false)),
    Converter::new("us_utime", |value, args, _| format(value, args, Unit::Microseconds, false)),
];

/// What a date is a number of.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl Unit {
    /// Digits of the fraction of a second.
    fn digits(self) -> u32 {
        match self {
            Self::Seconds => 0,
            Self::Milliseconds => 3,
            Self::Microseconds => 6,
        }
    }

    /// Seconds and nanoseconds.
    fn split(self, number: i64) -> (i64, u32) {
        let per_second = 10_i64.pow(self.digits());
        let rest = u32::try_from(number.rem_euclid(per_second)).unwrap_or(0);
        (number.div_euclid(per_second), rest * 10_u32.pow(9 - self.digits()))
    }
}

fn format<'a>(value: Value<'a>, args: &'a [Arg], unit: Unit, local: bool) -> Option<Value<'a>> {
    let number = value.to_int()?.saturating_add(operand::int(args, 1).unwrap_or_default());
    let (seconds, nanoseconds) = unit.split(number);
    let (format, fractions) = (operand::text(args, 0), !matches!(unit, Unit::Seconds));
    let mut out = Vec::new();
    if local {
        // Beyond the years that zones are known for, UTC.
        let at = Timestamp::from_second(seconds).unwrap_or_default();
        let offset = zone().to_offset_info(at);
        let moment = Moment::new(seconds, nanoseconds, offset.offset().seconds(), offset.abbreviation());
        moment.push(&mut out, format, fractions);
    } else {
        Moment::new(seconds, nanoseconds, 0, "GMT").push(&mut out, format, fractions);
    }
    made(out)
}

/// The zone of this machine, read once: what a zone says about a date does not depend on when it is asked.
fn zone() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(TimeZone::system)
}

fn prepare_http_date(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match operand::text(args, 1) {
        b"" | b"s" | b"ms" | b"us" => Ok(()),
        unit => Err(format!("expects 's', 'ms' or 'us', got '{}'", String::from_utf8_lossy(unit))),
    }
}

fn http_date<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let unit = match operand::text(args, 1) {
        b"ms" => Unit::Milliseconds,
        b"us" => Unit::Microseconds,
        _ => Unit::Seconds,
    };
    let number = value.to_int()?.saturating_add(operand::int(args, 0).unwrap_or_default());
    let (seconds, nanoseconds) = unit.split(number);
    let mut out = Vec::with_capacity("Sun, 06 Nov 1994 08:49:37.123456 GMT".len());
    let digits = usize::try_from(unit.digits()).unwrap_or_default();
    Moment::new(seconds, nanoseconds, 0, "GMT").push_http(&mut out, digits);
    made(out)
}

/// Years of two digits below are of this century, as in POSIX.
const CENTURY: i64 = 69;

/// The three formats of RFC 9110, 5.6.7; as HAProxy does, without a look at the weekday and at what follows.
fn parse_http(text: &[u8]) -> Option<i64> {
    let mut text = Reader { rest: text };
    let day_name = text.letters();
    let short = WEEK.iter().any(|name| name.as_bytes()[..3] == *day_name);
    let long = WEEK.iter().any(|name| name.as_bytes() == day_name);
    let (year, month, day, seconds);
    if short && text.take(b", ") {
        day = text.digits(2)?;
        month = text.month(b" ")?;
        year = text.digits(4)?;
        text.expect(b" ")?;
        seconds = text.time()?;
        text.expect(b" GMT")?;
    } else if long && text.take(b", ") {
        day = text.digits(2)?;
        month = text.month(b"-")?;
        let digits = text.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        year = match (digits, text.digits(digits)?) {
            (2, year) if year < CENTURY => year + 2000,
            (2, year) => year + 1900,
            (4, year) => year,
            _ => return None,
        };
        text.expect(b" ")?;
        seconds = text.time()?;
        text.expect(b" GMT")?;
    } else if short {
        month = text.month(b" ")?;
        day = if text.take(b" ") { text.digits(1)? } else { text.digits(2)? };
        text.expect(b" ")?;
        seconds = text.time()?;
        text.expect(b" ")?;
        year = text.digits(4)?;
    } else {
        return None;
    }
    Some(days_of(year, month, day) * DAY_SECONDS + seconds)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, expected: &[u8]) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, expected: &[u8]) -> Option<()> {
        self.take(expected).then_some(())
    }

    fn letters(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let (letters, rest) = self.rest.split_at(end);
        self.rest = rest;
        letters
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        digits.iter().try_fold(0_i64, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
    }

    /// The name of a month between two separators; its number.
    fn month(&mut self, separator: &[u8]) -> Option<u32> {
        self.expect(separator)?;
        let name = self.letters();
        let index = MONTHS.iter().position(|month| month.as_bytes()[..3] == *name)?;
        self.expect(separator)?;
        u32::try_from(index + 1).ok()
    }

    /// `08:49:37`: seconds since midnight.
    fn time(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.expect(b":")?;
        let minute = self.digits(2)?;
        self.expect(b":")?;
        let second = self.digits(2)?;
        Some(hour * 3600 + minute * 60 + second)
    }
}
