//! Opens the connections of checks: the only place that knows sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use sockeye_config::model::{Proto, Source, UseSource};
use sockeye_conn::Socket;
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::channel::write_all;
use crate::tls::CheckTls;

/// Whom to check: the server as it is now, `addr` and `port` of its line applied.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: TargetAddress,
    /// `source`: where connections come from. There is no client whose address a check could carry.
    pub source: Source,
    pub proxy: CheckProxy,
    /// There if any connection of the check goes through TLS.
    pub tls: Option<CheckTls>,
    /// `check-proto`, or the server's `proto`: what HTTP is spoken in over connections that are made as the server's line
    /// says. `None`: what ALPN says, HTTP/1 without it.
    pub proto: Option<Proto>,
}

/// The PROXY header of checks (manual 5.2 `check-send-proxy`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckProxy {
    /// Connections that are made as the server's line says begin with it; others only where their rule says so.
    pub by_default: bool,
    /// The header of version 2. `None`: a line of version 1 that names the ends of the check's own connection.
    pub block: Option<Arc<[u8]>>,
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
    /// A target with nothing but an address.
    pub fn new(address: TargetAddress) -> Self {
        Self { address, source: Source::default(), proxy: CheckProxy::default(), tls: None, proto: None }
    }

    /// The address that connections to `addr`, if a rule has one, go to. Unspecified for unix sockets.
    pub(crate) fn ip(&self, addr: Option<IpAddr>) -> IpAddr {
        match &self.address {
            TargetAddress::Inet(own) => addr.unwrap_or_else(|| own.ip()),
            TargetAddress::Unix(_) | TargetAddress::Abstract(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
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
    /// Begin with a PROXY header.
    pub(crate) proxy: bool,
}

/// Connects to `target`. Dropping the future gives up.
pub(crate) async fn connect(target: &Target, options: ConnectOptions) -> Result<Socket, ConnectError> {
    let mut socket = open(target, options).await?;
    if options.proxy {
        let header = header(&target.proxy, &socket);
        write_all(&mut socket, &header).await.map_err(ConnectError::Refused)?;
    }
    Ok(socket)
}

/// The header of a connection that is nobody's but ours.
fn header(proxy: &CheckProxy, socket: &Socket) -> Vec<u8> {
    if let Some(block) = &proxy.block {
        return block.to_vec();
    }
    let ends = match socket {
        Socket::Tcp(stream) => stream.local_addr().ok().zip(stream.peer_addr().ok()),
        _ => None,
    };
    let mut line = Vec::new();
    sockeye_proxyproto::write_v1(ends, &mut line);
    line
}

async fn open(target: &Target, options: ConnectOptions) -> Result<Socket, ConnectError> {
    match &target.address {
        TargetAddress::Inet(addr) => {
            let addr = SocketAddr::new(
                options.addr.unwrap_or_else(|| addr.ip()),
                options.port.unwrap_or_else(|| addr.port()),
            );
            tcp(addr, target, options).await.map(Socket::Tcp)
        }
        TargetAddress::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix).map_err(unix_error),
        TargetAddress::Abstract(name) => {
            use std::os::unix::ffi::OsStringExt;
            let path = [&[0], &name[..]].concat();
            let path = PathBuf::from(std::ffi::OsString::from_vec(path));
            UnixStream::connect(path).await.map(Socket::Unix).map_err(unix_error)
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
    bind_source(&socket, &target.source, addr).map_err(ConnectError::Source)?;
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

/// Gives `socket` the local address that `source` wants for connections to `addr`.
fn bind_source(socket: &TcpSocket, source: &Source, addr: SocketAddr) -> io::Result<()> {
    let raw = SockRef::from(socket);
    if let Some(interface) = &source.interface {
        raw.bind_device(Some(interface.as_bytes()))?;
    }
    let (address, foreign) = match source.usesrc {
        UseSource::Address(address) => (Some(address), true),
        UseSource::Own | UseSource::Client | UseSource::ClientIp => (source.address, false),
    };
    let Some(address) = address.filter(|address| address.is_ipv4() == addr.is_ipv4()) else { return Ok(()) };
    match (foreign, address) {
        (true, SocketAddr::V4(_)) => raw.set_ip_transparent_v4(true)?,
        (true, SocketAddr::V6(_)) => raw.set_ip_transparent_v6(true)?,
        (false, _) => {}
    }
    // A port of our choice may still be in TIME_WAIT from an earlier check.
    socket.set_reuseaddr(true)?;
    let Some((first, last)) = source.ports.filter(|_| !foreign) else { return socket.bind(address) };
    let mut tries = 0;
    loop {
        tries += 1;
        let port = fastrand::u16(first..=last.max(first));
        match socket.bind(SocketAddr::new(address.ip(), port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < SOURCE_PORTS_TRIED_MAX => {}
            bound => return bound,
        }
    }
}

/// Ports of a range tried for one connection: a check must not spend its time on searching a range in heavy use.
const SOURCE_PORTS_TRIED_MAX: u32 = 16;

/// The words of the operating system for `error`, without the number that Rust appends.
pub(crate) fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(at)) => text[..at].to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_the_words_of_the_system() {
        const LINUX_ECONNREFUSED: i32 = 111;
        let check = |error: io::Error, expected: &str| assert_eq!(error_text(&error), expected);
        check(io::Error::from_raw_os_error(LINUX_ECONNREFUSED), "Connection refused");
        check(io::Error::other("it said (os error 3)"), "it said (os error 3)");
    }
}
