//! Where lines go. A send never waits: what a full socket or pipe does not take is dropped and counted.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;
use sockeye_config::model::{Level, LogAddress, LogTarget};

/// One `log` statement, open. Shared by all proxies that use it and all threads.
#[derive(Debug)]
pub struct Sink {
    target: LogTarget,
    channel: Arc<Channel>,
    /// Lines that `sample` has seen.
    seen: AtomicU32,
    dropped: AtomicU64,
}

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot create a socket to log to {address}: {source}")]
    Socket { address: Place, source: io::Error },
    #[error("cannot log to {address}: {source}")]
    Descriptor { address: Place, source: io::Error },
}

impl Sink {
    /// Opens a target of its own. Use [`Sinks`] where several statements may name the same.
    ///
    /// # Errors
    /// When no socket can be made, or the descriptor is not open. A receiver that is not there is no error:
    /// it may come later.
    pub fn open(target: &LogTarget) -> Result<Self, SinkError> {
        Ok(Self::over(target, Arc::new(Channel::open(&target.address)?)))
    }

    fn over(target: &LogTarget, channel: Arc<Channel>) -> Self {
        Self { target: target.clone(), channel, seen: AtomicU32::new(0), dropped: AtomicU64::new(0) }
    }

    pub fn target(&self) -> &LogTarget {
        &self.target
    }

    /// Whether lines of this level go here.
    pub fn wants(&self, level: Level) -> bool {
        level <= self.target.level
    }

    /// The level to send the next line of `level` with; `None` if it is too verbose or not in the sample.
    pub fn admit(&self, level: Level) -> Option<Level> {
        if !self.wants(level) {
            return None;
        }
        if let Some(sample) = &self.target.sample {
            let size = sample.size.max(1);
            let seen = self.seen.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some((n + 1) % size));
            let position = seen.unwrap_or(0) + 1;
            if !sample.ranges.iter().any(|(low, high)| (*low..=*high).contains(&position)) {
                return None;
            }
        }
        Some(self.target.minlevel.map_or(level, |least_severe| level.max(least_severe)))
    }

    /// Sends a whole line, header and line feed included, or counts it as dropped.
    pub fn send(&self, line: &[u8]) {
        if self.channel.send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that the target did not take since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Opens targets, each once: equal statements (`log global` in many sections) share their sample, and statements
/// with the same address share their socket.
#[derive(Debug, Default)]
pub struct Sinks {
    sinks: Vec<Arc<Sink>>,
}

impl Sinks {
    /// The sink of a statement.
    ///
    /// # Errors
    /// As [`Sink::open`].
    pub fn open(&mut self, target: &LogTarget) -> Result<Arc<Sink>, SinkError> {
        if let Some(sink) = self.sinks.iter().find(|sink| sink.target == *target) {
            return Ok(Arc::clone(sink));
        }
        let shared = self.sinks.iter().find(|sink| sink.target.address == target.address);
        let sink = match shared {
            Some(other) => Sink::over(target, Arc::clone(&other.channel)),
            None => Sink::open(target)?,
        };
        let sink = Arc::new(sink);
        self.sinks.push(Arc::clone(&sink));
        Ok(sink)
    }

    /// Every sink opened so far.
    pub fn all(&self) -> &[Arc<Sink>] {
        &self.sinks
    }

    /// Lines dropped by all sinks together.
    pub fn dropped(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.dropped()).sum()
    }
}

/// The open half of an address.
#[derive(Debug)]
enum Channel {
    Udp(UdpSocket, SocketAddr),
    /// The path is looked up per line: the receiver may be replaced while we run.
    Unix(UnixDatagram, PathBuf),
    /// A pipe, terminal or file, written without waiting.
    File(OwnedFd),
    /// A stream or connected datagram socket that was passed to us.
    Socket(OwnedFd),
}

impl Channel {
    fn open(address: &LogAddress) -> Result<Self, SinkError> {
        let socket = |source| SinkError::Socket { address: Place(address.clone()), source };
        let descriptor = |source| SinkError::Descriptor { address: Place(address.clone()), source };
        match address {
            LogAddress::Udp(to) => Self::udp(*to).map_err(socket),
            LogAddress::Unix(path) => Self::unix(path).map_err(socket),
            LogAddress::Stdout => Self::descriptor(1).map_err(descriptor),
            LogAddress::Stderr => Self::descriptor(2).map_err(descriptor),
            LogAddress::Fd(fd) => Self::descriptor(*fd).map_err(descriptor),
        }
    }

    fn udp(to: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        // Not connected: a receiver that is away must not make the next send fail.
        Ok(Self::Udp(socket, to))
    }

    fn unix(path: &std::path::Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(socket, path.to_path_buf()))
    }

    /// Takes a descriptor over. Other processes may share its open file, so "do not wait" is set on an open file of
    /// our own if the kernel gives us one.
    fn descriptor(fd: i32) -> io::Result<Self> {
        let inherited = sockeye_sys::process::inherited(fd)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&inherited)?.st_mode);
        match kind {
            FileType::Socket => return Ok(Self::Socket(inherited)),
            // A regular file knows no waiting.
            FileType::RegularFile => return Ok(Self::File(inherited)),
            _ => {}
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND | OFlags::CLOEXEC;
        let own = rustix::fs::open(format!("/proc/self/fd/{fd}"), flags, Mode::empty());
        Ok(Self::File(match own {
            Ok(own) => own,
            Err(_) => {
                let flags = rustix::fs::fcntl_getfl(&inherited)?;
                rustix::fs::fcntl_setfl(&inherited, flags | OFlags::NONBLOCK)?;
                inherited
            }
        }))
    }

    fn send(&self, line: &[u8]) -> io::Result<()> {
        let sent = match self {
            Self::Udp(socket, to) => socket.send_to(line, to)?,
            Self::Unix(socket, path) => socket.send_to(line, path)?,
            Self::File(file) => rustix::io::write(file, line)?,
            Self::Socket(socket) => {
                rustix::net::send(socket, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?
            }
        };
        // Part of a line, in a pipe nearly full, is a line lost.
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// An address as the configuration writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub LogAddress);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            LogAddress::Udp(address) => address.fmt(f),
            LogAddress::Unix(path) => path.display().fmt(f),
            LogAddress::Stdout => f.write_str("stdout"),
            LogAddress::Stderr => f.write_str("stderr"),
            LogAddress::Fd(fd) => write!(f, "fd@{fd}"),
        }
    }
}
