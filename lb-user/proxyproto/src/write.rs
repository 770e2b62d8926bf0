//! Writers of both versions.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::crc32c;
use crate::tlv::{self, SslFacts};
use crate::v2::{LOCAL, PREFIX, PROXY, SIGNATURE};

/// What version 2 says beside the addresses, in the order in which HAProxy writes it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras<'a> {
    /// TLVs of any type.
    pub custom: &'a [(u8, &'a [u8])],
    /// Whether the header carries its checksum.
    pub crc32c: bool,
    /// The protocol that was negotiated with the client.
    pub alpn: Option<&'a [u8]>,
    /// The host that the client named.
    pub authority: Option<&'a [u8]>,
    /// At most [`tlv::UNIQUE_ID_MAX`] bytes.
    pub unique_id: Option<&'a [u8]>,
    pub ssl: Option<SslFacts<'a>>,
    pub netns: Option<&'a [u8]>,
    /// Zero bytes of a `NOOP`, for alignment.
    pub padding: Option<u16>,
}

/// A header that does not fit into its own length field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("PROXY protocol header of more than 65551 bytes")]
pub struct TooLong;

/// Appends a header of version 1 for a connection from `source` to `destination`; without both it is `UNKNOWN`. Ends of
/// two families are both written as IPv6.
pub fn write_v1(ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let text = match ends.map(of_one_family) {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { 4 } else { 6 };
            let (ips, ports) = ((source.ip(), destination.ip()), (source.port(), destination.port()));
            format!("PROXY TCP{family} {} {} {} {}\r\n", ips.0, ips.1, ports.0, ports.1)
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends a header of version 2; without both ends it is `LOCAL`. Ends of two families are both written as IPv6.
///
/// # Errors
/// When TLVs are too long; `out` is then as it was.
pub fn write_v2(
    ends: Option<(SocketAddr, SocketAddr)>,
    extras: &Extras<'_>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let start = out.len();
    let written = append_v2(ends, extras, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn append_v2(
    ends: Option<(SocketAddr, SocketAddr)>,
    extras: &Extras<'_>,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    match ends.map(of_one_family) {
        None => out.extend_from_slice(&[LOCAL, 0, 0, 0]),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { 0x11 } else { 0x21 };
            out.extend_from_slice(&[PROXY, family, 0, 0]);
            for ip in [source.ip(), destination.ip()] {
                match ip {
                    IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
                }
            }
            out.extend_from_slice(&source.port().to_be_bytes());
            out.extend_from_slice(&destination.port().to_be_bytes());
        }
    }
    for (kind, value) in extras.custom {
        append(*kind, value, out)?;
    }
    let checksum = if extras.crc32c {
        append(tlv::CRC32C, &[0; 4], out)?;
        Some(out.len() - 4)
    } else {
        None
    };
    let values =
        [(tlv::ALPN, extras.alpn), (tlv::AUTHORITY, extras.authority), (tlv::UNIQUE_ID, extras.unique_id)];
    for (kind, value) in values {
        append_some(kind, value, out)?;
    }
    if let Some(ssl) = &extras.ssl {
        append_ssl(ssl, out)?;
    }
    append_some(tlv::NETNS, extras.netns, out)?;
    if let Some(length) = extras.padding {
        append(tlv::NOOP, &vec![0; length.into()], out)?;
    }
    let length = u16::try_from(out.len() - start - PREFIX).map_err(|_| TooLong)?;
    out[start + PREFIX - 2..start + PREFIX].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = checksum {
        let sum = crc32c::checksum(&[&out[start..]]);
        out[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(())
}

fn append_ssl(ssl: &SslFacts<'_>, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let mut value = vec![ssl.client];
    value.extend_from_slice(&ssl.verify.to_be_bytes());
    append_some(tlv::SSL_VERSION, ssl.version, &mut value)?;
    append_some(tlv::SSL_CN, ssl.common_name, &mut value)?;
    append_some(tlv::SSL_KEY_ALG, ssl.key, &mut value)?;
    append_some(tlv::SSL_SIG_ALG, ssl.signature, &mut value)?;
    append_some(tlv::SSL_CIPHER, ssl.cipher, &mut value)?;
    append(tlv::SSL, &value, out)
}

fn append_some(kind: u8, value: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), TooLong> {
    value.map_or(Ok(()), |value| append(kind, value, out))
}

fn append(kind: u8, value: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = u16::try_from(value.len()).map_err(|_| TooLong)?;
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

/// IPv4 becomes IPv6 (`::ffff:a.b.c.d`) beside an IPv6 address.
fn of_one_family((source, destination): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    (mapped(source), mapped(destination))
}

fn mapped(addr: SocketAddr) -> SocketAddr {
    let ip: Ipv6Addr = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), addr.port())
}
