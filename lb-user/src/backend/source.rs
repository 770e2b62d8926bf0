//! The address a connection to a server comes from (`source`, `usesrc`, manual 5.2).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::Socket;
use sockeye_config::model::{Source, UseSource};
use sockeye_conn::Peer;
use sockeye_sys::sockopt;

/// The next offset into a configured source port range, shared by all servers: it only spreads the attempts.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
/// Ports of a range tried before the connection fails.
const PORT_TRIES_MAX: u16 = 1_024;

/// Binds `socket` as `source` asks, for a connection on behalf of `client` to `server`.
///
/// # Errors
/// What the kernel says: an address that is not ours without the right to use it, no free port.
pub fn bind(socket: &Socket, source: &Source, client: &Peer, server: SocketAddr) -> io::Result<()> {
    if let Some(interface) = &source.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let foreign = match (source.usesrc, client) {
        (UseSource::Own, _) | (_, Peer::Unix) => None,
        (UseSource::Client, Peer::Inet(addr)) => Some(*addr),
        (UseSource::ClientIp, Peer::Inet(addr)) => Some(SocketAddr::new(addr.ip(), 0)),
        (UseSource::Address(addr), _) => Some(addr),
    };
    if let Some(addr) = foreign.filter(|addr| addr.is_ipv4() == server.is_ipv4()) {
        sockopt::set_transparent(socket, addr.is_ipv6())?;
        socket.set_reuse_address(true)?;
        return bind_to(socket, addr);
    }
    let Some(addr) = source.address else { return Ok(()) };
    if addr.is_ipv4() != server.is_ipv4() || is_any(addr.ip()) && addr.port() == 0 && source.ports.is_none() {
        return Ok(());
    }
    let Some((first, last)) = source.ports.filter(|(first, last)| first < last) else {
        if addr.port() != 0 {
            socket.set_reuse_address(true)?;
        }
        return bind_to(socket, addr);
    };
    socket.set_reuse_address(true)?;
    let span = last - first + 1;
    let mut result = Err(io::Error::from(io::ErrorKind::AddrInUse));
    for _ in 0..span.min(PORT_TRIES_MAX) {
        let port = first + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % span;
        result = socket.bind(&SocketAddr::new(addr.ip(), port).into());
        if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
    }
    result
}

fn bind_to(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if addr.port() == 0 {
        // Refused only by kernels before 4.2; then the port is chosen now, which only costs ports.
        let _ = sockopt::set_bind_address_no_port(socket);
    }
    socket.bind(&addr.into())
}

fn is_any(addr: IpAddr) -> bool {
    addr.is_unspecified()
}
