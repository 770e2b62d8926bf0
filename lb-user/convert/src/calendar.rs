//! Days and seconds of the Gregorian calendar, and strftime(3) in the C locale.

/// A second, taken apart as of some offset from UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment<'a> {
    seconds: i64,
    nanoseconds: u32,
    /// Seconds east of UTC.
    offset: i32,
    zone: &'a str,
    year: i64,
    /// From 1.
    month: u32,
    day: u32,
    /// Since 1 January.
    day_of_year: i64,
    /// Since Sunday.
    day_of_week: i64,
}

pub(crate) const DAY_SECONDS: i64 = 86400;
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEK: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Days from 1970-01-01 to a date; a day or month that does not exist counts on into the next.
pub(crate) fn days_of(year: i64, month: u32, day: i64) -> i64 {
    // Years begin in March, so that the leap day is their last (Howard Hinnant's "chrono-compatible date algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * i64::from((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the day so many after 1970-01-01.
fn date_of(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let small = |number: i64| u32::try_from(number).unwrap_or(1);
    (era * 400 + year_of_era + i64::from(month <= 2), small(month), small(day))
}

impl<'a> Moment<'a> {
    pub(crate) fn new(seconds: i64, nanoseconds: u32, offset: i32, zone: &'a str) -> Self {
        let days = seconds.saturating_add(i64::from(offset)).div_euclid(DAY_SECONDS);
        let (year, month, day) = date_of(days);
        Self {
            seconds,
            nanoseconds,
            offset,
            zone,
            year,
            month,
            day,
            day_of_year: days - days_of(year, 1, 1),
            day_of_week: (days + 4).rem_euclid(7),
        }
    }

    fn second_of_day(&self) -> i64 {
        self.seconds.saturating_add(i64::from(self.offset)).rem_euclid(DAY_SECONDS)
    }

    fn hour(&self) -> i64 {
        self.second_of_day() / 3600
    }

    /// Year and number of the week as ISO 8601 counts: weeks belong to the year of their Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let since_monday = (self.day_of_week + 6) % 7;
        let thursday = days_of(self.year, 1, 1) + self.day_of_year - since_monday + 3;
        let (year, ..) = date_of(thursday);
        (year, (thursday - days_of(year, 1, 1)) / 7 + 1)
    }

    fn month_name(&self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"?")
    }

    fn day_name(&self) -> &'static str {
        usize::try_from(self.day_of_week).ok().and_then(|day| WEEK.get(day)).unwrap_or(&"?")
    }

    /// `Sun, 06 Nov 1994 08:49:37`, with `fraction` digits of the second.
    pub(crate) fn push_http(&self, out: &mut Vec<u8>, fraction: usize) {
        self.push(out, b"%a, %d %b %Y %H:%M:%S", false);
        if fraction > 0 {
            out.push(b'.');
            self.push_fraction(out, fraction);
        }
        out.extend_from_slice(b" GMT");
    }

    fn push_fraction(&self, out: &mut Vec<u8>, digits: usize) {
        out.extend_from_slice(&format!("{:09}", self.nanoseconds).as_bytes()[..digits.min(9)]);
    }

    /// Writes `format` as glibc's strftime does; what is no conversion stays as it is. `%N` is the fraction of the second,
    /// if wanted.
    pub(crate) fn push(&self, out: &mut Vec<u8>, format: &[u8], fractions: bool) {
        let mut rest = format;
        while let Some(at) = memchr::memchr(b'%', rest) {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let Some((spec, behind)) = Spec::read(rest) else { break };
            if fractions && spec.conversion == b'N' {
                self.push_fraction(out, spec.width.unwrap_or(9));
            } else if !self.push_conversion(out, &spec) {
                out.extend_from_slice(&rest[..rest.len() - behind.len()]);
            }
            rest = behind;
        }
        out.extend_from_slice(rest);
    }

    /// Whether there is such a conversion.
    fn push_conversion(&self, out: &mut Vec<u8>, spec: &Spec) -> bool {
        let hour12 = (self.hour() + 11) % 12 + 1;
        let minute = self.second_of_day() / 60 % 60;
        let second = self.second_of_day() % 60;
        match spec.conversion {
            b'a' => spec.text(out, &self.day_name()[..3]),
            b'A' => spec.text(out, self.day_name()),
            b'b' | b'h' => spec.text(out, &self.month_name()[..3]),
            b'B' => spec.text(out, self.month_name()),
            b'c' => self.push_composite(out, spec, b"%a %b %e %H:%M:%S %Y"),
            b'C' => spec.number(out, self.year.div_euclid(100), 2, b'0'),
            b'd' => spec.number(out, i64::from(self.day), 2, b'0'),
            b'D' | b'x' => self.push_composite(out, spec, b"%m/%d/%y"),
            b'e' => spec.number(out, i64::from(self.day), 2, b' '),
            b'F' => self.push_composite(out, spec, b"%Y-%m-%d"),
            b'g' => spec.number(out, self.iso_week().0.rem_euclid(100), 2, b'0'),
            b'G' => spec.number(out, self.iso_week().0, 1, b'0'),
            b'H' => spec.number(out, self.hour(), 2, b'0'),
            b'I' => spec.number(out, hour12, 2, b'0'),
            b'j' => spec.number(out, self.day_of_year + 1, 3, b'0'),
            b'k' => spec.number(out, self.hour(), 2, b' '),
            b'l' => spec.number(out, hour12, 2, b' '),
            b'm' => spec.number(out, i64::from(self.month), 2, b'0'),
            b'M' => spec.number(out, minute, 2, b'0'),
            b'n' => out.push(b'\n'),
            b'p' if spec.swaps => out.extend_from_slice(if self.hour() < 12 { b"am" } else { b"pm" }),
            b'p' => spec.text(out, if self.hour() < 12 { "AM" } else { "PM" }),
            b'P' => spec.text(out, if self.hour() < 12 { "am" } else { "pm" }),
            b'r' => self.push_composite(out, spec, b"%I:%M:%S %p"),
            b'R' => self.push_composite(out, spec, b"%H:%M"),
            b's' => spec.number(out, self.seconds, 1, b'0'),
            b'S' => spec.number(out, second, 2, b'0'),
            b't' => out.push(b'\t'),
            b'T' | b'X' => self.push_composite(out, spec, b"%H:%M:%S"),
            b'u' => spec.number(out, (self.day_of_week + 6) % 7 + 1, 1, b'0'),
            b'U' => spec.number(out, (self.day_of_year + 7 - self.day_of_week) / 7, 2, b'0'),
            b'V' => spec.number(out, self.iso_week().1, 2, b'0'),
            b'w' => spec.number(out, self.day_of_week, 1, b'0'),
            b'W' => spec.number(out, (self.day_of_year + 7 - (self.day_of_week + 6) % 7) / 7, 2, b'0'),
            b'y' => spec.number(out, self.year.rem_euclid(100), 2, b'0'),
            b'Y' => spec.number(out, self.year, 1, b'0'),
            b'z' => {
                let minutes = self.offset.abs() / 60;
                out.push(if self.offset < 0 { b'-' } else { b'+' });
                out.extend_from_slice(format!("{:02}{:02}", minutes / 60, minutes % 60).as_bytes());
            }
            b'Z' if spec.swaps => spec.padded(out, self.zone.to_ascii_lowercase().as_bytes(), 0, b' '),
            b'Z' => spec.text(out, self.zone),
            b'%' => out.push(b'%'),
            _ => return false,
        }
        true
    }

    fn push_composite(&self, out: &mut Vec<u8>, spec: &Spec, format: &[u8]) {
        let mut text = Vec::new();
        self.push(&mut text, format, false);
        if spec.upper {
            text.make_ascii_uppercase();
        }
        spec.padded(out, &text, 0, b' ');
    }
}

/// A conversion with what glibc allows between `%` and the letter.
#[derive(Debug, Default)]
struct Spec {
    /// `_`, `0` or `-`
    padding: Option<u8>,
    upper: bool,
    swaps: bool,
    width: Option<usize>,
    conversion: u8,
}

/// No date is written wider.
const WIDTH_MAX: usize = 1024;

impl Spec {
    /// From the `%` on, and what follows; `None` if the format ends before.
    fn read(format: &[u8]) -> Option<(Self, &[u8])> {
        let mut spec = Self::default();
        let mut rest = &format[1..];
        loop {
            let (byte, behind) = rest.split_first()?;
            match byte {
                b'_' | b'0' | b'-' if spec.width.is_none() => spec.padding = Some(*byte),
                b'^' => spec.upper = true,
                b'#' => spec.swaps = true,
                b'0'..=b'9' => {
                    let width = spec.width.unwrap_or(0) * 10 + usize::from(byte - b'0');
                    spec.width = Some(width.min(WIDTH_MAX));
                }
                // Other calendars and digits, of which the C locale has none.
                b'E' | b'O' => {}
                _ => {
                    spec.conversion = *byte;
                    return Some((spec, behind));
                }
            }
            rest = behind;
        }
    }

    fn text(&self, out: &mut Vec<u8>, text: &str) {
        if self.upper || self.swaps {
            self.padded(out, text.to_ascii_uppercase().as_bytes(), 0, b' ');
        } else {
            self.padded(out, text.as_bytes(), 0, b' ');
        }
    }

    fn number(&self, out: &mut Vec<u8>, number: i64, digits: usize, pad: u8) {
        let digits = if self.padding == Some(b'-') { 1 } else { digits };
        self.padded(out, number.to_string().as_bytes(), digits, pad);
    }

    fn padded(&self, out: &mut Vec<u8>, text: &[u8], width: usize, pad: u8) {
        let width = self.width.unwrap_or(0).max(width);
        let pad = match self.padding {
            Some(b'_') => b' ',
            Some(b'0') => b'0',
            _ => pad,
        };
        out.resize(out.len() + width.saturating_sub(text.len()), pad);
        out.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2014-07-10 13:46:40 UTC, in zones.
    #[test]
    fn zones() {
        #[track_caller]
        fn check(offset: i32, zone: &str, expected: &str) {
            let mut out = Vec::new();
            Moment::new(1_405_000_000, 0, offset, zone).push(&mut out, b"%F %T %z %Z %s", false);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        check(0, "UTC", "2014-07-10 13:46:40 +0000 UTC 1405000000");
        check(19_800, "IST", "2014-07-10 19:16:40 +0530 IST 1405000000");
        check(-50_000, "-13", "2014-07-09 23:53:20 -1353 -13 1405000000");
    }

    #[test]
    fn every_day_of_some_centuries() {
        let mut before = (-401, 12, 31);
        for days in days_of(-400, 1, 1)..days_of(2401, 1, 1) {
            let date = date_of(days);
            let (year, month, day) = date;
            assert_eq!(days_of(year, month, i64::from(day)), days);
            assert!(date > before, "{date:?} follows {before:?}");
            before = date;
        }
    }
}
