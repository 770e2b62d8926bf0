//! Addresses of a connection's two ends.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Inet(SocketAddr),
    /// A unix socket; logs show it as `unix:ID`, the listener's number.
    Unix,
}

/// A TCP port in host order.
pub type Port = u16;

impl Peer {
    /// The IP address, mapped IPv4 (`::ffff:a.b.c.d`) shown as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(addr) => Some(addr.ip().to_canonical()),
            Self::Unix => None,
        }
    }

    /// Address and port; `None` for a unix socket.
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(addr) => Some(*addr),
            Self::Unix => None,
        }
    }

    /// The port, 0 for a unix socket.
    pub fn port(&self) -> Port {
        match self {
            Self::Inet(addr) => addr.port(),
            Self::Unix => 0,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self::Inet(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => write!(f, "{}:{}", addr.ip().to_canonical(), addr.port()),
            Self::Unix => f.write_str("unix:1"),
        }
    }
}
