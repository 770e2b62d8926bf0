//! Opens the connections of checks: the only place that knows sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use socket2::SockRef;
use sockeye_config::model::{Server, ServerAddress, Source, UseSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// Whom to check: the server as it is now, `addr` and `port` of its line applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub address: TargetAddress,
    /// `source`: where connections come from. There is no client whose address a check could carry.
    pub source: Source,
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
        Self { address, source: Source::default() }
    }

    /// The target of the checks of `server`, whose backend has `source`. `resolved` is the address that the server has now;
    /// `None` when it is a name without an address, or for a server that goes where the client wanted to go: without
    /// an `addr` of its own there is nothing to check then.
    pub fn of_server(server: &Server, source: &Source, resolved: Option<SocketAddr>) -> Option<Self> {
        let source = server.source.as_ref().unwrap_or(source).clone();
        let address = match &server.address {
            _ if server.check.addr.is_some() => TargetAddress::Inet(SocketAddr::new(
                server.check.addr?,
                server.check.port.unwrap_or_else(|| resolved.map_or(0, |addr| addr.port())),
            )),
            ServerAddress::Inet { .. } => {
                let resolved = resolved?;
                TargetAddress::Inet(SocketAddr::new(
                    resolved.ip(),
                    server.check.port.unwrap_or_else(|| resolved.port()),
                ))
            }
            ServerAddress::Unix(path) => TargetAddress::Unix(path.clone()),
            ServerAddress::Abstract { name, padded } => {
                let mut name = name.clone().into_bytes();
                if *padded {
                    name.resize(name.len().max(ABSTRACT_NAME_BYTES), 0);
                }
                TargetAddress::Abstract(name)
            }
        };
        Some(Self { address, source })
    }
}

/// What `sockaddr_un` holds after the NUL that makes a name abstract; `abns@` names are padded to it.
const ABSTRACT_NAME_BYTES: usize = 107;

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
    use std::sync::Arc;

    use sockeye_config::model::{Host, InitState, OnError, Place, ServerCheck, ServerPort};

    use super::*;

    fn server(address: ServerAddress, check_addr: Option<&str>, check_port: Option<u16>) -> Server {
        let check = ServerCheck {
            enabled: true,
            inter: Duration::from_secs(2),
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            port: check_port,
            addr: check_addr.map(|addr| addr.parse().unwrap()),
            observe: None,
            error_limit: 10,
            on_error: OnError::FailCheck,
            on_marked_down: false,
            on_marked_up: false,
            track: None,
            init_state: InitState::Up,
        };
        Server {
            place: Place::default(),
            name: Arc::from("s1"),
            numeric_id: 1,
            address,
            init_addr: Vec::new(),
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: None,
            minconn: None,
            maxqueue: None,
            slowstart: None,
            pool_max_conn: None,
            pool_low_conn: None,
            pool_purge_delay: Duration::from_secs(5),
            max_reuse: None,
            source: None,
            tfo: false,
            tcp_user_timeout: None,
            congestion: None,
            namespace: None,
            check,
        }
    }

    #[test]
    fn targets() {
        let check = |server: Server, resolved: Option<&str>, expected: &str| {
            let resolved = resolved.map(|addr| addr.parse().unwrap());
            let shown =
                match Target::of_server(&server, &Source::default(), resolved).map(|target| target.address) {
                    None => "none".to_owned(),
                    Some(TargetAddress::Inet(addr)) => addr.to_string(),
                    Some(TargetAddress::Unix(path)) => path.display().to_string(),
                    Some(TargetAddress::Abstract(name)) => {
                        format!("@{} {}", String::from_utf8_lossy(&name[..1]), name.len())
                    }
                };
            assert_eq!(shown, expected);
        };
        let inet = || ServerAddress::Inet {
            host: Host::Name("srv.example".to_owned()),
            port: ServerPort::Fixed(80),
        };
        check(server(inet(), None, None), Some("10.0.0.1:80"), "10.0.0.1:80");
        check(server(inet(), None, Some(81)), Some("10.0.0.1:80"), "10.0.0.1:81");
        check(server(inet(), Some("::1"), None), Some("10.0.0.1:80"), "[::1]:80");
        check(server(inet(), Some("10.0.0.9"), Some(81)), None, "10.0.0.9:81");
        check(server(inet(), None, Some(81)), None, "none");
        check(server(ServerAddress::Unix("/run/a".into()), None, None), None, "/run/a");
        check(server(ServerAddress::Unix("/run/a".into()), Some("10.0.0.9"), Some(81)), None, "10.0.0.9:81");
        let name = || "a".to_owned();
        check(server(ServerAddress::Abstract { name: name(), padded: true }, None, None), None, "@a 107");
        check(server(ServerAddress::Abstract { name: name(), padded: false }, None, None), None, "@a 1");
    }

    #[test]
    fn errors_in_the_words_of_the_system() {
        const LINUX_ECONNREFUSED: i32 = 111;
        let check = |error: io::Error, expected: &str| assert_eq!(error_text(&error), expected);
        check(io::Error::from_raw_os_error(LINUX_ECONNREFUSED), "Connection refused");
        check(io::Error::other("it said (os error 3)"), "it said (os error 3)");
    }
}
