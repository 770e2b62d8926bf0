//! Opening the connection to a server, within `timeout connect`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use socket2::{Domain, Protocol, SockAddr, Type};
use sockeye_config::model::{ServerPort, Source, TcpKeepalive};
use sockeye_conn::{Peer, Socket};
use sockeye_sys::{process, sockopt};
use tokio::time::{Instant, timeout_at};

use super::server::{Destination, Server};
use super::{Backend, proxy_header, source, tls};

/// What the connection is made for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    pub client: Peer,
    /// The address the client connected to, for servers that are wherever the client wanted to go.
    pub wanted: Option<SocketAddr>,
    pub marking: Marking,
    /// The PROXY header that goes out first.
    pub header: Option<&'a [u8]>,
    /// The name that a server behind TLS is asked for.
    pub server_name: Option<&'a str>,
    /// It is for a WebSocket, which may be spoken in something else than other requests (`ws`).
    pub websocket: bool,
}

/// How the packets to a server are marked (`set-bc-mark`, `set-bc-tos`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Marking {
    pub mark: Option<u32>,
    pub tos: Option<u32>,
}

impl Marking {
    /// Whether nothing is marked.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Descriptors, source ports or memory: ours to mend, not the server's fault.
    #[error("no resources for a connection: {0}")]
    Resource(io::Error),
    #[error("connection failed: {0}")]
    Failed(io::Error),
    #[error("connection timed out")]
    TimedOut,
    #[error("the server has no address")]
    NoAddress,
}

/// Connects to `server`; `deadline` is the end of `timeout connect`.
pub async fn connect(
    backend: &Backend,
    server: &Server,
    purpose: Purpose<'_>,
    deadline: Option<Instant>,
) -> Result<Socket, ConnectError> {
    let socket = match server.destination().ok_or(ConnectError::NoAddress)? {
        Destination::Inet(addr) => open_inet(backend, server, addr, &purpose)?,
        Destination::Mapped(ip, port) => {
            let wanted = purpose.wanted.ok_or(ConnectError::NoAddress)?;
            open_inet(backend, server, SocketAddr::new(ip, original(wanted, port)?.port()), &purpose)?
        }
        Destination::Original(port) => {
            let wanted = purpose.wanted.ok_or(ConnectError::NoAddress)?;
            open_inet(backend, server, original(wanted, port)?, &purpose)?
        }
        Destination::Unix(path) => open_unix(&unix_address(&path)?)?,
        Destination::Abstract { name, padded } => {
            open_unix(&sockopt::abstract_address(&name, padded).map_err(ConnectError::Failed)?)?
        }
    };
    let (pending, mut socket) = (socket.pending, socket.socket);
    if pending {
        establish(&socket, deadline).await?;
    }
    if let Some(header) = purpose.header {
        let sent = proxy_header::send(&mut socket, header);
        match deadline {
            Some(deadline) => timeout_at(deadline, sent).await.map_err(|_| ConnectError::TimedOut)?,
            None => sent.await,
        }
        .map_err(ConnectError::Failed)?;
    }
    if !server.cfg.ssl {
        return Ok(socket);
    }
    let shaken = Box::pin(tls::shake(socket, server, purpose.server_name, purpose.websocket));
    match deadline {
        Some(deadline) => timeout_at(deadline, shaken).await.map_err(|_| ConnectError::TimedOut)?,
        None => shaken.await,
    }
    .map_err(ConnectError::Failed)
}

/// Waits for the end of the handshake.
async fn establish(socket: &Socket, deadline: Option<Instant>) -> Result<(), ConnectError> {
    let established = std::future::poll_fn(|cx| socket.poll_write_ready(cx));
    match deadline {
        Some(deadline) => timeout_at(deadline, established).await.map_err(|_| ConnectError::TimedOut)?,
        None => established.await,
    }
    .map_err(ConnectError::Failed)?;
    match socket.take_error() {
        Ok(None) => Ok(()),
        Ok(Some(error)) if error.kind() == io::ErrorKind::TimedOut => Err(ConnectError::TimedOut),
        Ok(Some(error)) | Err(error) => Err(ConnectError::Failed(error)),
    }
}

/// A socket whose connection is made, or still `pending`.
struct Opening {
    socket: Socket,
    pending: bool,
}

fn open_inet(
    backend: &Backend,
    server: &Server,
    addr: SocketAddr,
    purpose: &Purpose<'_>,
) -> Result<Opening, ConnectError> {
    let socket = new_socket(server, addr).map_err(ConnectError::Resource)?;
    prepare(&socket, backend, server).map_err(ConnectError::Resource)?;
    let source: &Source = server.cfg.source.as_ref().unwrap_or(&backend.cfg.source);
    source::bind(&socket, source, &purpose.client, addr).map_err(ConnectError::Resource)?;
    mark(&socket, purpose.marking);
    let pending = begin(&socket, &addr.into())?;
    let socket = Socket::from_tcp(OwnedFd::from(socket)).map_err(ConnectError::Resource)?;
    Ok(Opening { socket, pending })
}

/// Before the handshake, so that routes may depend on it. Without the privilege there is no mark, as the manual says.
fn mark(socket: &socket2::Socket, marking: Marking) {
    if let Some(mark) = marking.mark {
        let _ = socket.set_mark(mark);
    }
    if let Some(tos) = marking.tos {
        // One of the two does not apply.
        let _ = socket.set_tos_v4(tos);
        let _ = socket.set_tclass_v6(tos);
    }
}

fn new_socket(server: &Server, addr: SocketAddr) -> io::Result<socket2::Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let Some(namespace) = &server.cfg.namespace else {
        return socket2::Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP));
    };
    let home = process::enter_network_namespace(namespace)?;
    let socket = socket2::Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP));
    process::return_to_network_namespace(home)?;
    socket
}

/// Options that must be there before the handshake.
fn prepare(socket: &socket2::Socket, backend: &Backend, server: &Server) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    keepalive(socket, &backend.cfg.srvtcpka)?;
    if server.cfg.tfo {
        sockopt::set_fastopen_connect(socket)?;
    }
    if let Some(time) = server.cfg.tcp_user_timeout {
        sockopt::set_user_timeout(socket, i32::try_from(time.as_millis()).unwrap_or(i32::MAX))?;
    }
    if let Some(algorithm) = &server.cfg.congestion {
        socket.set_tcp_congestion(algorithm.as_bytes())?;
    }
    if let Some(bytes) = backend.tune.rcvbuf_server {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = backend.tune.sndbuf_server {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    Ok(())
}

/// `option clitcpka`, `srvtcpka` and their numbers.
pub fn keepalive(socket: &socket2::Socket, cfg: &TcpKeepalive) -> io::Result<()> {
    if !cfg.enabled {
        return Ok(());
    }
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(idle) = cfg.idle {
        keepalive = keepalive.with_time(idle);
    }
    if let Some(interval) = cfg.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(count) = cfg.count {
        keepalive = keepalive.with_retries(count);
    }
    socket.set_keepalive(true)?;
    socket.set_tcp_keepalive(&keepalive)
}

fn open_unix(addr: &SockAddr) -> Result<Opening, ConnectError> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(ConnectError::Resource)?;
    let pending = begin(&socket, addr)?;
    let socket = Socket::from_unix(OwnedFd::from(socket)).map_err(ConnectError::Resource)?;
    Ok(Opening { socket, pending })
}

fn unix_address(path: &Path) -> Result<SockAddr, ConnectError> {
    SockAddr::unix(path).map_err(ConnectError::Failed)
}

/// Starts the handshake; true while it is still under way.
fn begin(socket: &socket2::Socket, addr: &SockAddr) -> Result<bool, ConnectError> {
    match socket.connect(addr) {
        Ok(()) => Ok(false),
        Err(error) => match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::INPROGRESS) => Ok(true),
            // No free source port, or a full backlog of a unix socket: trying again later may help.
            Some(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::AGAIN) => {
                Err(ConnectError::Resource(error))
            }
            _ => Err(ConnectError::Failed(error)),
        },
    }
}

fn original(wanted: SocketAddr, port: ServerPort) -> Result<SocketAddr, ConnectError> {
    let port = match port {
        ServerPort::Fixed(port) => port,
        ServerPort::Offset(offset) => {
            u16::try_from(i32::from(wanted.port()) + offset).map_err(|_| ConnectError::NoAddress)?
        }
    };
    Ok(SocketAddr::new(wanted.ip(), port))
}
