//! The header that each wire format puts before a line (manual 4.2 "log": format).

use std::time::SystemTime;

use sockeye_config::model::{Facility, Level, LogWire};
use sockeye_sample::format::number;

use crate::date::Dates;

/// What the header of a line says, besides the date.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    pub facility: Facility,
    pub level: Level,
    /// `log-tag`: the program's name by default.
    pub tag: &'a str,
    pub pid: u32,
    /// `log-send-hostname`. Without it, RFC 3164 says `localhost` and RFC 5424 `-`.
    pub hostname: Option<&'a str>,
    /// RFC 5424, 6.3; empty for none.
    pub structured_data: &'a [u8],
}

impl Header<'_> {
    /// Appends the header of a line that is sent at `now`.
    pub fn push(&self, wire: LogWire, dates: &mut Dates, now: SystemTime, out: &mut Vec<u8>) {
        match wire {
            LogWire::Local | LogWire::Rfc3164 => {
                self.push_priority(out);
                dates.push_syslog(out, now);
                out.push(b' ');
                if wire == LogWire::Rfc3164 {
                    out.extend_from_slice(self.hostname.unwrap_or("localhost").as_bytes());
                    out.push(b' ');
                }
                out.extend_from_slice(self.tag.as_bytes());
                out.push(b'[');
                number::push(out, u64::from(self.pid));
                out.extend_from_slice(b"]: ");
            }
            LogWire::Rfc5424 => {
                self.push_priority(out);
                // Version 1 of the format. At the end: no message id.
                out.extend_from_slice(b"1 ");
                dates.push_iso(out, now);
                for word in [self.hostname.unwrap_or("-"), self.tag] {
                    out.push(b' ');
                    out.extend_from_slice(word.as_bytes());
                }
                out.push(b' ');
                number::push(out, u64::from(self.pid));
                out.extend_from_slice(b" - ");
                out.extend_from_slice(if self.structured_data.is_empty() {
                    b"-"
                } else {
                    self.structured_data
                });
                out.push(b' ');
            }
            LogWire::Priority => self.push_priority(out),
            LogWire::Short => self.push_level(out),
            LogWire::Timed => {
                self.push_level(out);
                dates.push_iso(out, now);
                out.push(b' ');
            }
            LogWire::Iso => {
                dates.push_iso(out, now);
                out.push(b' ');
            }
            LogWire::Raw => {}
        }
    }

    /// `<158>`: facility and level (RFC 3164, 4.1.1).
    fn push_priority(&self, out: &mut Vec<u8>) {
        push_angled(out, u64::from(self.facility.0) * 8 + self.level as u64);
    }

    /// `<6>`: the level alone.
    fn push_level(&self, out: &mut Vec<u8>) {
        push_angled(out, self.level as u64);
    }
}

fn push_angled(out: &mut Vec<u8>, value: u64) {
    out.push(b'<');
    number::push(out, value);
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use jiff::tz::TimeZone;

    use super::*;

    /// Recorded from HAProxy 3.2, `log … local3`.
    fn check(wire: LogWire, hostname: Option<&str>, expected: &str) {
        let header = Header {
            facility: Facility(19),
            level: Level::Info,
            tag: "haproxy",
            pid: 3258,
            hostname,
            structured_data: b"",
        };
        let mut out = Vec::new();
        let now = UNIX_EPOCH + Duration::from_micros(1_795_245_030_418_830);
        header.push(wire, &mut Dates::new(TimeZone::UTC), now, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn headers_are_haproxys() {
        check(LogWire::Local, None, "<158>Nov 21 07:10:30 haproxy[3258]: ");
        check(LogWire::Local, Some("vm"), "<158>Nov 21 07:10:30 haproxy[3258]: ");
        check(LogWire::Rfc3164, None, "<158>Nov 21 07:10:30 localhost haproxy[3258]: ");
        check(LogWire::Rfc3164, Some("my.host"), "<158>Nov 21 07:10:30 my.host haproxy[3258]: ");
        check(LogWire::Rfc5424, None, "<158>1 2026-11-21T07:10:30.418830+00:00 - haproxy 3258 - - ");
        check(LogWire::Rfc5424, Some("vm"), "<158>1 2026-11-21T07:10:30.418830+00:00 vm haproxy 3258 - - ");
        check(LogWire::Priority, None, "<158>");
        check(LogWire::Short, None, "<6>");
        check(LogWire::Raw, None, "");
        check(LogWire::Timed, None, "<6>2026-11-21T07:10:30.418830+00:00 ");
        check(LogWire::Iso, None, "2026-11-21T07:10:30.418830+00:00 ");
    }
}
