//! A header as it was received, and the reader that tells the two versions apart.

use std::fmt;
use std::net::SocketAddr;

use crate::tlv::Tlvs;
use crate::{v1, v2};

/// What the bytes received so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// The start of a header. At least so many bytes more belong to it: reading no more than these takes nothing
    /// that comes after the header. Never 0.
    NeedMore(usize),
    /// A whole header; what follows its [length](Header::length) is the connection's first data.
    Header(Header<'a>),
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Bytes that the header takes.
    pub length: usize,
    pub version: Version,
    /// For whom the connection was made. `None`: the sender made it itself (`LOCAL`) or does not know for whom
    /// (`UNKNOWN`, `UNSPEC`), so that the connection's own addresses count.
    pub endpoints: Option<Endpoints<'a>>,
    /// Empty in version 1.
    pub tlvs: Tlvs<'a>,
}

/// How a header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
    /// NetScaler's Client IP insertion.
    Cip,
}

/// The ends of the connection that the sender speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints<'a> {
    /// Both ends are of one address family.
    Inet {
        transport: Transport,
        source: SocketAddr,
        destination: SocketAddr,
    },
    Unix {
        transport: Transport,
        source: UnixPath<'a>,
        destination: UnixPath<'a>,
    },
}

/// Streams or datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Stream,
    Datagram,
}

/// The address of a unix socket, padded with zero bytes; an abstract one begins with one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnixPath<'a>(pub &'a [u8; UnixPath::LENGTH]);

impl UnixPath<'_> {
    /// Bytes of an address (specification 2.2).
    pub const LENGTH: usize = 108;
}

impl fmt::Debug for UnixPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.trim_ascii_end().escape_ascii())
    }
}

/// Why bytes are not a header. The connection must be dropped: what comes next cannot be told from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Another protocol.
    #[error("not a PROXY protocol header")]
    NotHeader,
    /// The right protocol, with an error in it.
    #[error("invalid PROXY protocol header")]
    Invalid,
    /// A protocol of the client that the specification does not know.
    #[error("unhandled protocol in the PROXY protocol header")]
    Unhandled,
}

/// Reads a header of version 1 or 2 at the start of `bytes`.
///
/// # Errors
/// As soon as no continuation of `bytes` can be a header.
pub fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    match bytes.first() {
        None => Ok(Parsed::NeedMore(v1::SHORTEST)),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// Whether `bytes` begins with `start`, or is the beginning of it.
pub(crate) fn agrees(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}
