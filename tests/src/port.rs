//! Ports that belong to one test.
//!
//! The reservation is a socket bound with SO_REUSEPORT that never listens: the daemon and the origins can bind the same
//! port beside it, connections to it are refused until one of them listens, and the kernel gives it to nobody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// An address that nobody listens on and nobody else can take while this value lives.
#[derive(Debug)]
pub struct Reserved {
    addr: SocketAddr,
    _holder: Socket,
}

impl Reserved {
    /// A free port of 127.0.0.1.
    pub fn v4() -> Self {
        Self::on(Ipv4Addr::LOCALHOST.into(), 0).expect("a free port")
    }

    /// A free port of ::1.
    pub fn v6() -> Self {
        Self::on(Ipv6Addr::LOCALHOST.into(), 0).expect("a free port")
    }

    /// A free port of any local address.
    pub fn of(ip: IpAddr) -> Self {
        Self::on(ip, 0).expect("a free port")
    }

    /// This port of another local address.
    pub fn on_port(ip: IpAddr, port: u16) -> Self {
        Self::on(ip, port).expect("a free port")
    }

    /// `count` consecutive free ports of 127.0.0.1, below those that the system gives to connections: among them there
    /// are too many that a test has just used.
    pub fn range(count: u16) -> Vec<Self> {
        const BELOW: u16 = 32_768;
        for _ in 0..200 {
            let first = fastrand::u16(10_000..BELOW - count);
            let ports: Result<Vec<_>, _> =
                (first..first + count).map(|port| Self::on(Ipv4Addr::LOCALHOST.into(), port)).collect();
            if let Ok(ports) = ports {
                return ports;
            }
        }
        panic!("no {count} consecutive free ports");
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// A listening socket on this address.
    pub fn listen(&self) -> tokio::net::TcpListener {
        self.listen_with_backlog(1024)
    }

    /// A listening socket whose accept queue holds `backlog` connections.
    pub fn listen_with_backlog(&self, backlog: i32) -> tokio::net::TcpListener {
        let socket = open(self.addr).expect("a socket");
        socket.bind(&self.addr.into()).expect("the reserved port");
        socket.listen(backlog).expect("listen");
        tokio::net::TcpListener::from_std(socket.into()).expect("a listener")
    }

    fn on(ip: IpAddr, port: u16) -> std::io::Result<Self> {
        let wanted = SocketAddr::new(ip, port);
        if port != 0 {
            // Binding with SO_REUSEPORT would share the port with another test's reservation.
            let probe = Socket::new(Domain::for_address(wanted), Type::STREAM, Some(Protocol::TCP))?;
            probe.bind(&wanted.into())?;
        }
        let socket = open(wanted)?;
        socket.bind(&wanted.into())?;
        let addr = socket.local_addr()?.as_socket().expect("an IP socket");
        Ok(Self { addr, _holder: socket })
    }
}

fn open(addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // An origin that restarts finds connections of its past life in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
