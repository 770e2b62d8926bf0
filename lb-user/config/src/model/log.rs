//! `log` lines (manual 4.2 "log").

use std::net::SocketAddr;
use std::path::PathBuf;

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

/// Syslog facility number, 0..=23 (`kern` … `local7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facility(pub u8);

/// The line that a frontend logs per stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Neither option: `Connect from …`.
    #[default]
    Default,
    /// `option tcplog`.
    Tcp,
    /// `option httplog`.
    Http,
    /// `option httplog clf`.
    Clf,
}
