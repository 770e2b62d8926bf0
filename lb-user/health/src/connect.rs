//! Opens the connections of checks: the only place that knows sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// Whom to check: the server as it is now, `addr` and `port` of its line applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub address: TargetAddress,
    /// `source`: the address connections come from; port 0 leaves the choice to the kernel.
    pub source: Option<SocketAddr>,
    /// `source … interface`.
    pub interface: Option<String>,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetAddress {
    Inet(SocketAddr),
    Unix(PathBuf),
    /// An abstract socket: its name without the leading NUL, padding included.
    Abstract(Vec<u8>),
}

impl Target {
    /// A target without `source`.
    pub fn new(address: TargetAddress) -> Self {
        Self { address, source: None, interface: None }
    }
}

/// What went wrong before there was a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The network or the server said no.
    #[error("{0}")]
    Refused(io::Error),
    #[error("cannot bind to source address: {0}")]
    Source(io::Error),
    /// The connection could not even be tried.
    #[error("{0}")]
    Local(io::Error),
}

/// How to open and close a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectOptions {
    /// `addr` and `port` of a connect rule.
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// Close with FIN instead of RST.
    pub(crate) linger: bool,
    /// We speak first or say nothing: no need to acknowledge the SYN-ACK on its own. When the connection is closed
    /// at once, the server's application never sees it.
    pub(crate) delay_ack: bool,
}

/// A connection to a server under check. Dropping it closes it.
#[derive(Debug)]
pub(crate) enum Channel {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Channel {
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        }
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
    }
}

/// Connects to `target`. Dropping the future gives up.
pub(crate) async fn connect(target: &Target, options: ConnectOptions) -> Result<Channel, ConnectError> {
    match &target.address {
        TargetAddress::Inet(addr) => {
            let addr = SocketAddr::new(
                options.addr.unwrap_or_else(|| addr.ip()),
                options.port.unwrap_or_else(|| addr.port()),
            );
            tcp(addr, target, options).await.map(Channel::Tcp)
        }
        TargetAddress::Unix(path) => UnixStream::connect(path).await.map(Channel::Unix).map_err(unix_error),
        TargetAddress::Abstract(name) => {
            use std::os::unix::ffi::OsStringExt;
            let path = [&[0], &name[..]].concat();
            let path = PathBuf::from(std::ffi::OsString::from_vec(path));
            UnixStream::connect(path).await.map(Channel::Unix).map_err(unix_error)
        }
    }
}

/// A socket that nobody listens on is the server's fault; a missing one or a missing permission is ours.
fn unix_error(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused(error),
        _ => ConnectError::Local(error),
    }
}

async fn tcp(addr: SocketAddr, target: &Target, options: ConnectOptions) -> Result<TcpStream, ConnectError> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
        .map_err(ConnectError::Local)?;
    if let Some(interface) = &target.interface {
        SockRef::from(&socket).bind_device(Some(interface.as_bytes())).map_err(ConnectError::Source)?;
    }
    if let Some(source) = target.source.filter(|source| source.is_ipv4() == addr.is_ipv4()) {
        // A fixed source port may still be in TIME_WAIT from the last check.
        socket.set_reuseaddr(true).and_then(|()| socket.bind(source)).map_err(ConnectError::Source)?;
    }
    let raw = SockRef::from(&socket);
    raw.set_tcp_nodelay(true).map_err(ConnectError::Local)?;
    if !options.linger {
        raw.set_linger(Some(Duration::ZERO)).map_err(ConnectError::Local)?;
    }
    if options.delay_ack {
        // An optimization: where it is refused the check works all the same.
        let _ = raw.set_tcp_quickack(false);
    }
    socket.connect(addr).await.map_err(ConnectError::Refused)
}

/// The words of the operating system for `error`, without the number that Rust appends.
pub(crate) fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(at)) => text[..at].to_owned(),
        _ => text,
    }
}
