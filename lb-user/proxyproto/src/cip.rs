//! NetScaler's Client IP insertion: the client's own IP and TCP headers in front of its first bytes.

use std::net::{IpAddr, SocketAddr};

use crate::read::{Endpoints, Header, Parsed, Transport, Version};
use crate::tlv::Tlvs;

/// The longest IP and TCP headers, options included: 60 bytes each.
const HEADERS_MAX: usize = 120;
/// The shortest: IPv4 and TCP without options.
const HEADERS_MIN: usize = 40;

const TCP: u8 = 6;
const TCP_MIN: usize = 20;
const IPV6_LENGTH: usize = 40;

/// Why bytes are not such a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipError {
    #[error("invalid NetScaler Client IP magic number")]
    BadMagic,
    /// Neither form of the header, or no TCP inside.
    #[error("unhandled protocol in the NetScaler Client IP header")]
    BadProtocol,
}

/// Reads a header at the start of `bytes`; both sides agree on `magic`.
///
/// # Errors
/// As soon as no continuation of `bytes` can be a header.
pub fn parse(bytes: &[u8], magic: u32) -> Result<Parsed<'_>, CipError> {
    let magic = magic.to_be_bytes();
    let common = bytes.len().min(magic.len());
    if bytes[..common] != magic[..common] {
        return Err(CipError::BadMagic);
    }
    // NetScaler before 10.5: magic, length, headers. Since then: magic, length of all, type 1, length, headers.
    // The byte behind the first length tells them apart: an IP version, or the type's first half.
    let prefix = match bytes.get(8).map(|byte| byte >> 4) {
        None => return Ok(Parsed::NeedMore(8 + HEADERS_MIN - bytes.len())),
        Some(4 | 6) => 8,
        Some(0) => 12,
        Some(_) => return Err(CipError::BadProtocol),
    };
    let Some((start, _)) = bytes.split_at_checked(prefix) else {
        return Ok(Parsed::NeedMore(prefix + HEADERS_MIN - bytes.len()));
    };
    let length = match start {
        [_, _, _, _, length @ ..] if prefix == 8 => {
            length.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))
        }
        [.., 0, 1, high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => return Err(CipError::BadProtocol),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(HEADERS_MIN..=HEADERS_MAX).contains(&length) {
        return Err(CipError::BadProtocol);
    }
    let length = prefix + length;
    let Some(headers) = bytes.get(prefix..length) else { return Ok(Parsed::NeedMore(length - bytes.len())) };
    let endpoints = endpoints(headers).ok_or(CipError::BadProtocol)?;
    let header = Header { length, version: Version::Cip, endpoints: Some(endpoints), tlvs: Tlvs::default() };
    Ok(Parsed::Header(header))
}

fn endpoints(headers: &[u8]) -> Option<Endpoints<'static>> {
    let (source, destination, tcp) = match headers.first()? >> 4 {
        4 => {
            let length = usize::from(headers[0] & 0xf) * 4;
            if length < 20 || headers[9] != TCP {
                return None;
            }
            let ip =
                |at: usize| IpAddr::from([headers[at], headers[at + 1], headers[at + 2], headers[at + 3]]);
            (ip(12), ip(16), headers.get(length..)?)
        }
        6 => {
            let (ip, tcp) = headers.split_first_chunk::<IPV6_LENGTH>()?;
            let address = |at: usize| <[u8; 16]>::try_from(&ip[at..at + 16]).ok().map(IpAddr::from);
            if ip[6] != TCP {
                return None;
            }
            (address(8)?, address(24)?, tcp)
        }
        _ => return None,
    };
    let (tcp, _) = tcp.split_first_chunk::<TCP_MIN>()?;
    let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    Some(Endpoints::Inet {
        transport: Transport::Stream,
        source: SocketAddr::new(source, port(0)),
        destination: SocketAddr::new(destination, port(2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: u32 = 0x0102_0304;

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        ip.extend_from_slice(&[4, 87, 8, 174, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        ip
    }

    fn ipv6() -> Vec<u8> {
        let mut ip = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        for last in [1, 2] {
            ip.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        ip.extend_from_slice(&ipv4(6)[20..]);
        ip
    }

    fn legacy(headers: &[u8]) -> Vec<u8> {
        let length = u32::try_from(headers.len()).unwrap().to_be_bytes();
        [&MAGIC.to_be_bytes(), &length, headers].concat()
    }

    fn standard(headers: &[u8]) -> Vec<u8> {
        let length = u16::try_from(headers.len()).unwrap();
        let prefix = [MAGIC.to_be_bytes(), (u32::from(length) + 12).to_be_bytes()].concat();
        [&prefix[..], &[0, 1], &length.to_be_bytes(), headers].concat()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let shown = match parse(bytes, MAGIC) {
            Ok(Parsed::NeedMore(n)) => format!("+{n}"),
            Ok(Parsed::Header(Header { length, endpoints: Some(endpoints), .. })) => match endpoints {
                Endpoints::Inet { source, destination, .. } => format!("{length} {source} {destination}"),
                Endpoints::Unix { .. } => "unix".to_owned(),
            },
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(shown, expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn headers() {
        let (v4, v6) = ("192.0.2.1:1111 192.0.2.2:2222", "[2001:db8::1]:1111 [2001:db8::2]:2222");
        check(&legacy(&ipv4(6)), &format!("48 {v4}"));
        check(&standard(&ipv4(6)), &format!("52 {v4}"));
        check(&legacy(&ipv6()), &format!("68 {v6}"));
        check(&standard(&ipv6()), &format!("72 {v6}"));
        check(&[standard(&ipv6()), b"GET".to_vec()].concat(), &format!("72 {v6}"));
        let mut options = ipv4(6);
        options[0] = 0x46;
        options.splice(20..20, [1, 1, 1, 1]);
        check(&standard(&options), &format!("56 {v4}"));
    }

    #[test]
    fn what_is_wrong() {
        check(b"GET / HTTP/1.1\r\n", "BadMagic");
        check(b"\x01\x02\x03\x05", "BadMagic");
        check(&standard(&ipv4(17)), "BadProtocol");
        let mut bad = ipv4(6);
        for first in [0x44, 0x55, 0x0f, 0x4f] {
            bad[0] = first;
            check(&standard(&bad), "BadProtocol");
        }
        check(&standard(&ipv6()[..59]), "BadProtocol");
        check(&standard(b""), "BadProtocol");
        check(&standard(&[0x45; 121]), "BadProtocol");
        let mut kind = standard(&ipv4(6));
        kind[9] = 2;
        check(&kind, "BadProtocol");
        check(b"\x01\x02\x03\x04\xff\xff\xff\xff\x45\0", "BadProtocol");
    }

    #[test]
    fn pieces() {
        check(b"", "+48");
        check(b"\x01\x02", "+46");
        check(&standard(&ipv4(6))[..9], "+43");
        check(&standard(&ipv6())[..12], "+60");
        check(&legacy(&ipv4(6))[..47], "+1");
    }
}
