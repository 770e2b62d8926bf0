//! `log` lines (manual 4.2 "log"): target, framing, sampling, facility and levels.

use sockeye_syntax::address::{Host, ParseOptions, Port, SocketType};
use sockeye_syntax::words::Words;

use std::net::{Ipv4Addr, SocketAddr};

use super::values;
use crate::draft::DraftLog;
use crate::keyword::not_yet_message;
use crate::model::{Facility, Level, LogAddress, LogSample, LogTarget, LogWire};
use crate::scope::{GlobalScope, Negation, ProxyScope, Resolver};

/// Where syslog servers listen.
const SYSLOG_PORT: u16 = 514;

/// Bytes of the shortest and longest line that `len` may ask for, and those of a line without it.
const LENGTH: std::ops::RangeInclusive<usize> = 80..=65_535;
const LENGTH_DEFAULT: usize = 1024;

const WIRES: &[(&str, LogWire)] = &[
    ("local", LogWire::Local),
    ("rfc3164", LogWire::Rfc3164),
    ("rfc5424", LogWire::Rfc5424),
    ("priority", LogWire::Priority),
    ("short", LogWire::Short),
    ("timed", LogWire::Timed),
    ("iso", LogWire::Iso),
    ("raw", LogWire::Raw),
];

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp",
    "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

const LEVELS: &[(&str, Level)] = &[
    ("emerg", Level::Emerg),
    ("alert", Level::Alert),
    ("crit", Level::Crit),
    ("err", Level::Err),
    ("warning", Level::Warning),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

/// `log` in `global`.
pub(crate) fn global(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if scope.negation != Negation::None {
        clear(words, || scope.global.log.clear());
    } else if words.peek() == Some("global") {
        words.alert("log : 'global' is not supported for a global syslog server");
        words.skip_rest();
    } else if let Some(target) = target(words, scope.around.resolver) {
        scope.global.log.push(target);
    }
}

/// `log` in a proxy or in `defaults`.
pub(crate) fn proxy(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let log = &mut scope.proxy.settings.log;
    if scope.negation != Negation::None {
        clear(words, || log.clear());
    } else if words.take("global") {
        match words.peek() {
            None => log.push(DraftLog::Global),
            Some(extra) => words.alert(format!("log : cannot handle unexpected argument '{extra}'")),
        }
    } else if let Some(target) = target(words, scope.around.resolver) {
        log.push(DraftLog::Target(target));
    }
}

/// `no log`.
fn clear(words: &mut Words<'_>, clear: impl FnOnce()) {
    if words.is_end() {
        clear();
    } else {
        words.alert("log : 'no log' does not expect arguments");
        words.skip_rest();
    }
}

fn target(words: &mut Words<'_>, resolver: &dyn Resolver) -> Option<LogTarget> {
    match read(words, resolver) {
        Ok(target) => Some(target),
        Err(message) => {
            words.alert(format!("log : {message}"));
            words.skip_rest();
            None
        }
    }
}

fn read(words: &mut Words<'_>, resolver: &dyn Resolver) -> Result<LogTarget, String> {
    const USAGE: &str = "expects <address> and <facility>  as arguments";
    let text = words.next().ok_or(USAGE)?;
    let address = address(text, resolver)?;
    let mut length = LENGTH_DEFAULT;
    let mut format = LogWire::default();
    let mut sample = None;
    loop {
        if words.take("len") {
            let value = words.next().unwrap_or_default();
            length = value
                .parse()
                .ok()
                .filter(|length| LENGTH.contains(length))
                .ok_or_else(|| format!("invalid log length '{value}', must be between 80 and 65535"))?;
        } else if words.take("format") {
            let name = words.next().unwrap_or_default();
            format = *WIRES
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, wire)| wire)
                .ok_or_else(|| format!("unknown log format '{name}'"))?;
        } else if words.take("sample") {
            sample = Some(read_sample(words.next().unwrap_or_default())?);
        } else if words.peek() == Some("profile") {
            return Err(not_yet_message("profile"));
        } else {
            break;
        }
    }
    let name = words.next().ok_or(USAGE)?;
    let facility = FACILITIES
        .iter()
        .position(|known| *known == name)
        .and_then(|number| u8::try_from(number).ok())
        .ok_or_else(|| format!("unknown log facility '{name}'"))?;
    let level = level(words, "unknown optional log level")?.unwrap_or(Level::Debug);
    let minlevel = self::level(words, "unknown optional minimum log level")?;
    if let Some(extra) = words.peek() {
        return Err(format!("cannot handle unexpected argument '{extra}'"));
    }
    Ok(LogTarget { address, length, format, sample, facility: Facility(facility), level, minlevel })
}

fn level(words: &mut Words<'_>, unknown: &str) -> Result<Option<Level>, String> {
    let Some(name) = words.next() else { return Ok(None) };
    match LEVELS.iter().find(|(known, _)| *known == name) {
        Some((_, level)) => Ok(Some(*level)),
        None => Err(format!("{unknown} '{name}'")),
    }
}

fn address(text: &str, resolver: &dyn Resolver) -> Result<LogAddress, String> {
    match text {
        "stdout" => return Ok(LogAddress::Stdout),
        "stderr" => return Ok(LogAddress::Stderr),
        _ => {}
    }
    if ["ring@", "backend@"].iter().any(|prefix| text.starts_with(prefix)) {
        return Err(not_yet_message(text));
    }
    let address = values::resolved(text, ParseOptions::LOG, resolver)?;
    let port = match address.port {
        Port::Fixed(port) => port,
        _ => SYSLOG_PORT,
    };
    match address.host {
        Host::Descriptor(fd) => Ok(LogAddress::Fd(fd)),
        _ if address.socket == SocketType::Stream => Err(not_yet_message(text)),
        Host::Ip(ip) => Ok(LogAddress::Udp(SocketAddr::new(ip, port))),
        Host::AnyIpv4 => Ok(LogAddress::Udp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))),
        Host::Unix(path) => Ok(LogAddress::Unix(path.into())),
        Host::Name { .. } | Host::Abstract(_) | Host::AbstractTerminated(_) | Host::Sockpair(_) => {
            Err(not_yet_message(text))
        }
    }
}

/// `1,3-5:8`: of every eight lines the first, third, fourth and fifth.
fn read_sample(text: &str) -> Result<LogSample, String> {
    let (list, size_text) = text.split_once(':').ok_or("Missing sample size")?;
    let mut ranges = Vec::new();
    for part in list.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let bound = |text: &str| text.parse::<u32>().ok().filter(|bound| *bound > 0);
        match (bound(low), bound(high)) {
            (Some(low), Some(high)) if low <= high => ranges.push((low, high)),
            _ => return Err(format!("bad range '{part}' in sample ranges")),
        }
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
        return Err("ranges are overlapping".to_owned());
    }
    let size: u32 = size_text
        .parse()
        .ok()
        .filter(|size| *size > 0)
        .ok_or_else(|| format!("wrong sample size '{size_text}' for sample range '{list}'"))?;
    let highest = ranges.iter().map(|(_, high)| *high).max().unwrap_or(0);
    if size < highest {
        return Err(format!(
            "sample size {size} should be greater or equal to {highest} the maximum of the high ranges limits"
        ));
    }
    Ok(LogSample { ranges, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let check = |text: &str, ranges: &[(u32, u32)], size: u32| {
            assert_eq!(read_sample(text), Ok(LogSample { ranges: ranges.to_vec(), size }), "{text}");
        };
        check("1:10", &[(1, 1)], 10);
        check("2-3,8-11:11", &[(2, 3), (8, 11)], 11);
        check("8,1-2:9", &[(1, 2), (8, 8)], 9);
    }

    #[test]
    fn bad_samples() {
        for (text, expected) in [
            ("1", "Missing sample size"),
            ("1:0", "wrong sample size '0' for sample range '1'"),
            ("1:x", "wrong sample size 'x' for sample range '1'"),
            ("1-3,2:5", "ranges are overlapping"),
            ("0:5", "bad range '0' in sample ranges"),
            ("3-1:5", "bad range '3-1' in sample ranges"),
            ("5:3", "sample size 3 should be greater or equal to 5 the maximum of the high ranges limits"),
        ] {
            assert_eq!(read_sample(text), Err(expected.to_owned()), "{text}");
        }
    }
}
