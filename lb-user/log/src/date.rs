//! Dates of log lines. A second is broken down once per thread, not once per line.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use sockeye_sample::format::number;

/// Seconds kept: a line has several dates (accept, request, now), often of different seconds.
const SECONDS_KEPT: usize = 8;

/// Writes dates in one time zone. Each thread has its own.
#[derive(Debug)]
pub struct Dates {
    zone: TimeZone,
    seconds: [Second; SECONDS_KEPT],
}

/// The texts of one second.
#[derive(Debug, Clone)]
struct Second {
    since_epoch: i64,
    /// `21/Nov/2026:07:10:07`
    clf: Text<20>,
    clf_utc: Text<20>,
    /// `+0100`
    offset: Text<5>,
    /// `Nov 21 07:10:07`
    syslog: Text<15>,
    /// `2026-11-21T07:10:07`
    iso: Text<19>,
    /// `+01:00`
    iso_offset: Text<6>,
}

type Text<const N: usize> = [u8; N];

impl Dates {
    pub fn new(zone: TimeZone) -> Self {
        let first = Second::of(0, &zone);
        Self { zone, seconds: std::array::from_fn(|_| first.clone()) }
    }

    /// `21/Nov/2026:07:10:07.123`, local.
    pub(crate) fn push_clf_ms(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let (second, micros) = self.second(at);
        out.extend_from_slice(&second.clf);
        out.push(b'.');
        number::push_padded(out, u64::from(micros / 1000), 3);
    }

    /// `21/Nov/2026:07:10:07 +0100`, local.
    pub(crate) fn push_clf_local(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let (second, _) = self.second(at);
        out.extend_from_slice(&second.clf);
        out.push(b' ');
        out.extend_from_slice(&second.offset);
    }

    /// `21/Nov/2026:06:10:07 +0000`.
    pub(crate) fn push_clf_utc(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let (second, _) = self.second(at);
        out.extend_from_slice(&second.clf_utc);
        out.extend_from_slice(b" +0000");
    }

    /// `Nov 21 07:10:07`, local (RFC 3164, 4.1.2).
    pub(crate) fn push_syslog(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        out.extend_from_slice(&self.second(at).0.syslog);
    }

    /// `2026-11-21T07:10:07.123456+01:00`, local (RFC 5424, 6.2.3).
    pub(crate) fn push_iso(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let (second, micros) = self.second(at);
        out.extend_from_slice(&second.iso);
        out.push(b'.');
        number::push_padded(out, u64::from(micros), 6);
        out.extend_from_slice(&second.iso_offset);
    }

    /// The texts of the second of `at`, and the microseconds within it.
    fn second(&mut self, at: SystemTime) -> (&Second, u32) {
        let (since_epoch, micros) = split(at);
        let slot = usize::try_from(since_epoch.rem_euclid(SECONDS_KEPT as i64)).unwrap_or(0);
        if self.seconds[slot].since_epoch != since_epoch {
            self.seconds[slot] = Second::of(since_epoch, &self.zone);
        }
        (&self.seconds[slot], micros)
    }
}

/// Seconds since 1970 and microseconds. Earlier dates cannot come from a running clock and count as 1970.
pub(crate) fn split(at: SystemTime) -> (i64, u32) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(0), since.subsec_micros())
}

impl Second {
    fn of(since_epoch: i64, zone: &TimeZone) -> Self {
        let at = Timestamp::from_second(since_epoch).unwrap_or_default();
        let local = at.to_zoned(zone.clone());
        let utc = at.to_zoned(TimeZone::UTC);
        let seconds = local.offset().seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
        Self {
            since_epoch,
            clf: clf(&local),
            clf_utc: clf(&utc),
            offset: text(&format!("{sign}{hours:02}{minutes:02}")),
            syslog: text(&format!(
                "{} {:2} {:02}:{:02}:{:02}",
                month(&local),
                local.day(),
                local.hour(),
                local.minute(),
                local.second()
            )),
            iso: text(&format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
                local.year(),
                local.month(),
                local.day(),
                local.hour(),
                local.minute(),
                local.second()
            )),
            iso_offset: text(&format!("{sign}{hours:02}:{minutes:02}")),
        }
    }
}

fn clf(at: &Zoned) -> Text<20> {
    text(&format!(
        "{:02}/{}/{:04}:{:02}:{:02}:{:02}",
        at.day(),
        month(at),
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    ))
}

/// English whatever the locale, as log readers expect.
fn month(at: &Zoned) -> &'static str {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    usize::try_from(at.month() - 1).ok().and_then(|index| MONTHS.get(index)).unwrap_or(&"???")
}

fn text<const N: usize>(formatted: &str) -> Text<N> {
    let mut text = [b' '; N];
    let length = formatted.len().min(N);
    debug_assert_eq!(formatted.len(), N, "{formatted}");
    text[..length].copy_from_slice(&formatted.as_bytes()[..length]);
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `2009-02-06 12:12:51.443123` UTC, seen in a zone of `hours`.
    fn check(hours: i8, write: impl Fn(&mut Dates, &mut Vec<u8>, SystemTime), expected: &str) {
        let mut dates = Dates::new(TimeZone::fixed(jiff::tz::offset(hours)));
        let at = UNIX_EPOCH + Duration::from_micros(1_233_922_371_443_123);
        let mut out = Vec::new();
        // Another second of the same slot must not be taken for this one.
        write(&mut dates, &mut out, at + Duration::from_secs(SECONDS_KEPT as u64));
        out.clear();
        write(&mut dates, &mut out, at);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn every_shape() {
        check(0, Dates::push_clf_ms, "06/Feb/2009:12:12:51.443");
        check(-5, Dates::push_clf_ms, "06/Feb/2009:07:12:51.443");
        check(2, Dates::push_clf_local, "06/Feb/2009:14:12:51 +0200");
        check(2, Dates::push_clf_utc, "06/Feb/2009:12:12:51 +0000");
        check(0, Dates::push_syslog, "Feb  6 12:12:51");
        check(-9, Dates::push_iso, "2009-02-06T03:12:51.443123-09:00");
    }
}
