//! What a proxy logs through: one line, stamped for each of its sinks.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use sockeye_config::model::Level;
use sockeye_sample::format::number;
use sockeye_sample::{Format, Scene};

use crate::date::Dates;
use crate::line::write_alias;
use crate::record::Record;
use crate::rfc::Header;
use crate::sink::Sink;

/// Who logs: the same for every line of the process. Made before chroot, which hides the time zone, and after the
/// last fork, which changes the pid.
#[derive(Debug, Clone)]
pub struct Process {
    /// The name of this machine.
    pub hostname: String,
    pub pid: u32,
    /// `log-send-hostname`: what headers say.
    pub header_hostname: Option<String>,
    pub zone: TimeZone,
}

impl Process {
    /// This process. `log_send_hostname` is the keyword: absent, without a name, or with one.
    pub fn current(log_send_hostname: Option<Option<&str>>) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let header_hostname =
            log_send_hostname.map(|name| name.map_or_else(|| hostname.clone(), str::to_owned));
        Self { header_hostname, hostname, pid: std::process::id(), zone: TimeZone::system() }
    }
}

/// The log of one proxy, or of the process. Cheap to clone, shared by all threads.
#[derive(Clone)]
pub struct Logger {
    inner: Arc<Inner>,
}

struct Inner {
    sinks: Box<[Arc<Sink>]>,
    tag: Box<str>,
    process: Arc<Process>,
}

impl Logger {
    /// `tag`: `log-tag`, or the program's name.
    pub fn new(sinks: Vec<Arc<Sink>>, tag: &str, process: Arc<Process>) -> Self {
        Self { inner: Arc::new(Inner { sinks: sinks.into(), tag: tag.into(), process }) }
    }

    /// Whether a line of this level would go anywhere: what makes it can be left out otherwise.
    pub fn wants(&self, level: Level) -> bool {
        self.inner.sinks.iter().any(|sink| sink.wants(level))
    }

    pub fn process(&self) -> &Process {
        &self.inner.process
    }

    pub fn sinks(&self) -> &[Arc<Sink>] {
        &self.inner.sinks
    }

    /// Logs a stream. Expressions look at `scene`; without one they have no value. `structured_data` is for targets
    /// with `format rfc5424`.
    pub fn stream(
        &self,
        level: Level,
        structured_data: Option<&Format>,
        format: &Format,
        record: &Record<'_>,
        scene: Option<&Scene<'_>>,
    ) {
        self.emit_with(level, |line| {
            if let Some(structured_data) = structured_data {
                self.write(structured_data, record, scene, line.dates, line.structured_data);
            }
            self.write(format, record, scene, line.dates, line.text);
        });
    }

    /// What a format gives for a stream.
    pub fn text(&self, format: &Format, record: &Record<'_>, scene: Option<&Scene<'_>>, out: &mut Vec<u8>) {
        self.with_room(|room| self.write(format, record, scene, &mut room.dates, out));
    }

    fn write(
        &self,
        format: &Format,
        record: &Record<'_>,
        scene: Option<&Scene<'_>>,
        dates: &mut Dates,
        out: &mut Vec<u8>,
    ) {
        let aliases = &mut |alias, flags, out: &mut Vec<u8>| {
            write_alias(alias, flags, record, self.process(), dates, out);
        };
        match scene {
            Some(scene) => format.write(out, scene, aliases),
            None => format.write_aliases(out, aliases),
        }
    }

    /// Logs an event of the proxy, such as `Server be/s1 is DOWN, …`. Control characters are written as `#XX`:
    /// the text may quote what a server said.
    pub fn event(&self, level: Level, text: &str) {
        self.emit(level, |out, _| {
            for byte in text.bytes() {
                if byte.is_ascii_control() {
                    out.push(b'#');
                    number::push_hex(out, u64::from(byte), 2);
                } else {
                    out.push(byte);
                }
            }
        });
    }

    /// Logs the line that `write` appends, without a line feed. `write` is not called if nobody wants the level.
    pub fn emit(&self, level: Level, write: impl FnOnce(&mut Vec<u8>, &mut Dates)) {
        self.emit_with(level, |line| write(line.text, line.dates));
    }

    fn emit_with(&self, level: Level, write: impl FnOnce(Line<'_>)) {
        if !self.wants(level) {
            return;
        }
        self.with_room(|room| {
            room.line.clear();
            room.structured_data.clear();
            write(Line {
                text: &mut room.line,
                structured_data: &mut room.structured_data,
                dates: &mut room.dates,
            });
            let now = SystemTime::now();
            for sink in &self.inner.sinks {
                if let Some(level) = sink.admit(level) {
                    self.stamp(sink, level, now, room);
                    sink.send(&room.stamped);
                }
            }
        });
    }

    /// Lends the thread's buffers.
    fn with_room(&self, borrow: impl FnOnce(&mut Room)) {
        let mut kept = KEPT.take();
        let room = match &mut kept {
            Some(room) if Arc::ptr_eq(&room.process, &self.inner.process) => room,
            other => other.insert(Room::new(Arc::clone(&self.inner.process))),
        };
        borrow(room);
        KEPT.set(kept);
    }

    /// Header, line and line feed in at most as many bytes as the target's `len`.
    fn stamp(&self, sink: &Sink, level: Level, now: SystemTime, room: &mut Room) {
        let target = sink.target();
        let header = Header {
            facility: target.facility,
            level,
            tag: &self.inner.tag,
            pid: self.inner.process.pid,
            hostname: self.inner.process.header_hostname.as_deref(),
            structured_data: &room.structured_data,
        };
        room.stamped.clear();
        header.push(target.format, &mut room.dates, now, &mut room.stamped);
        room.stamped.extend_from_slice(&room.line);
        room.stamped.truncate(target.length.saturating_sub(1));
        room.stamped.push(b'\n');
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets: Vec<_> = self.inner.sinks.iter().map(|sink| &sink.target().address).collect();
        f.debug_struct("Logger").field("tag", &self.inner.tag).field("targets", &targets).finish()
    }
}

/// Where a line is written to.
struct Line<'a> {
    text: &'a mut Vec<u8>,
    structured_data: &'a mut Vec<u8>,
    dates: &'a mut Dates,
}

/// A thread's buffers, used again for every line.
struct Room {
    process: Arc<Process>,
    dates: Dates,
    line: Vec<u8>,
    structured_data: Vec<u8>,
    stamped: Vec<u8>,
}

impl Room {
    fn new(process: Arc<Process>) -> Self {
        let dates = Dates::new(process.zone.clone());
        // The default `len`; longer lines make it grow once.
        let (line, stamped) = (Vec::with_capacity(1024), Vec::with_capacity(1024));
        Self { process, dates, line, structured_data: Vec::new(), stamped }
    }
}

thread_local! {
    /// Taken while a line is made, so that a line made while making one finds buffers of its own.
    static KEPT: Cell<Option<Room>> = const { Cell::new(None) };
}
