//! Address formats (manual §2.9): what follows `bind`, `server`, `log`, `source`, `addr`.
//!
//! Host names stay names: resolving them at start is the daemon's. The port is behind the last colon, also in
//! `::1:80`, unless the address ends with a bracket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// An address as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: Host,
    pub port: Port,
    pub socket: SocketType,
}

/// The address without port and socket type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `*` or nothing before the port: all of IPv4, or on a server the address of the connection.
    AnyIpv4,
    Ip(IpAddr),
    /// To be resolved at start, within the family if one was forced.
    Name {
        name: String,
        family: Option<Family>,
    },
    /// `unix@`, `uxst@`, `uxdg@` or a leading slash.
    Unix(String),
    /// `abns@`: abstract, the name padded with zeroes to the full length.
    Abstract(String),
    /// `abnsz@`: abstract, as long as its name.
    AbstractTerminated(String),
    /// `fd@N`: inherited.
    Descriptor(i32),
    /// `sockpair@N`: a connected socket that hands over others.
    Sockpair(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// Stream or datagram: the caller's default, or what a prefix forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    Stream,
    Datagram,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// None was written, or the family has none.
    None,
    Fixed(u16),
    /// `80-90`, both ends included; only where ranges are allowed.
    Range(RangeInclusive<u16>),
    /// `+N` or `-N`: relative to the port of the client's connection; only where offsets are allowed.
    Offset(i32),
}

/// What a statement accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseOptions {
    pub port: PortPolicy,
    pub ranges: bool,
    pub offsets: bool,
    /// Whether a host name may stand for the address.
    pub names: bool,
    /// `fd@` and `sockpair@`.
    pub descriptors: bool,
    /// What it is without a prefix.
    pub default_socket: SocketType,
    pub stream: bool,
    pub datagram: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortPolicy {
    Required,
    Optional,
    Forbidden,
}

impl ParseOptions {
    /// Addresses of `bind`: a port or range is needed.
    pub const BIND: Self = Self {
        port: PortPolicy::Required,
        ranges: true,
        offsets: false,
        names: true,
        descriptors: true,
        default_socket: SocketType::Stream,
        stream: true,
        datagram: false,
    };
    /// The address of `server`.
    pub const SERVER: Self = Self {
        port: PortPolicy::Optional,
        ranges: false,
        offsets: true,
        names: true,
        descriptors: false,
        default_socket: SocketType::Stream,
        stream: true,
        datagram: false,
    };
    /// The target of `log`: datagram unless a prefix says otherwise.
    pub const LOG: Self = Self {
        port: PortPolicy::Optional,
        ranges: false,
        offsets: false,
        names: true,
        descriptors: true,
        default_socket: SocketType::Datagram,
        stream: true,
        datagram: true,
    };
    /// `source` of a backend.
    pub const SOURCE: Self = Self {
        port: PortPolicy::Optional,
        ranges: false,
        offsets: false,
        names: true,
        descriptors: false,
        default_socket: SocketType::Stream,
        stream: true,
        datagram: false,
    };
    /// `source` of a server: a range of ports is a pool of them.
    pub const SERVER_SOURCE: Self = Self { ranges: true, ..Self::SOURCE };
    /// `addr` of a server or check.
    pub const CHECK: Self = Self::SOURCE;
}

/// Reads one address. The error is HAProxy's text, which callers put behind the name of their keyword.
pub fn parse_address(text: &str, options: ParseOptions) -> Result<Address, AddressError> {
    let _ = (text, options, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    Err(AddressError::Invalid { host: String::new(), text: text.to_owned() })
}

/// Reads the comma-separated addresses of `bind`.
pub fn parse_addresses(text: &str, options: ParseOptions) -> Result<Vec<Address>, AddressError> {
    text.split(',').map(|one| parse_address(one, options)).collect()
}

/// Why an address is none; the text is HAProxy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("invalid address: '{host}' in '{text}'")]
    Invalid { host: String, text: String },
}
