//! `log` lines (manual 4.2 "log").

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sockeye_sample::Format;

/// One `log` statement, `log global` already replaced by copies of the global ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    pub address: LogAddress,
    /// `len`: longest line in bytes, 80 to 65535; 1024 by default.
    pub length: usize,
    pub format: LogWire,
    /// `sample RANGES:SIZE`.
    pub sample: Option<LogSample>,
    pub facility: Facility,
    /// The most verbose level that is sent.
    pub level: Level,
    /// Messages more severe than this are sent with this level.
    pub minlevel: Option<Level>,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogAddress {
    Udp(SocketAddr),
    /// A datagram unix socket, such as /dev/log.
    Unix(PathBuf),
    Stdout,
    Stderr,
    /// `fd@N`.
    Fd(i32),
}

/// `format`: how a line is framed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogWire {
    /// rfc3164 without the host name: what a local syslog socket expects, and what HAProxy sends without `format`
    /// unless `log-send-hostname` asks for the name.
    #[default]
    Local,
    Rfc3164,
    Rfc5424,
    /// Only level, between angle brackets, then the text.
    Priority,
    Short,
    Timed,
    Iso,
    Raw,
}

/// `sample 1,3-5:8`: of every `size` lines those at `indexes` (1-based) are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    pub ranges: Vec<(u32, u32)>,
    pub size: u32,
}

/// Syslog severities, most severe first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Level {
    /// By its number: 0 to 7; larger ones are `debug`.
    pub fn of_severity(severity: u8) -> Self {
        const LEVELS: [Level; 7] =
            [Level::Emerg, Level::Alert, Level::Crit, Level::Err, Level::Warning, Level::Notice, Level::Info];
        LEVELS.get(usize::from(severity)).copied().unwrap_or(Self::Debug)
    }
}

/// Syslog facility number, 0..=23 (`kern` … `local7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facility(pub u8);

/// What a frontend logs and what identifies a stream in its lines; formats are compiled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogFormats {
    /// `log-format`, or the format of an option. `None`: `Connect from …`.
    pub line: Option<Arc<Format>>,
    /// `log-format-sd`: the structured data of an RFC 5424 line.
    pub structured_data: Option<Arc<Format>>,
    /// `error-log-format`: instead of `line` for connections that failed before there was a stream.
    pub error: Option<Arc<Format>>,
    /// `unique-id-format`.
    pub unique_id: Option<Arc<Format>>,
}

/// What a frontend keeps of messages for its log lines and for `capture.req.hdr` and its kin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    /// `capture cookie`.
    pub cookie: Option<CookieCapture>,
    /// One slot per `capture request header` and `declare capture request`, in file order.
    pub request: Vec<CaptureSlot>,
    /// The same of responses.
    pub response: Vec<CaptureSlot>,
}

/// `capture cookie NAME len N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieCapture {
    /// The beginning of `NAME=value`. With the `=` in it, the whole name.
    pub prefix: Box<str>,
    /// Bytes that are kept of name and value.
    pub length: usize,
}

/// Where one captured value is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSlot {
    /// The header whose last value is kept; `None` for a slot that rules fill.
    pub header: Option<Box<str>>,
    /// Bytes that are kept.
    pub length: usize,
}
