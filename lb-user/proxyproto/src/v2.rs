//! Version 2: a binary block (specification 2.2).

use std::net::{IpAddr, SocketAddr};

use crate::crc32c;
use crate::read::{Endpoints, Header, HeaderError, Parsed, Transport, UnixPath, Version, agrees};
use crate::tlv::{self, Tlvs};

/// The longest block that is read, signature included. The format allows 65,551 bytes; HAProxy reads what fits into
/// its buffer of 16,384, and a sender is asked to stay below 536, the smallest segment.
pub const BLOCK_MAX: usize = 16_384;

/// Signature, version and command, family and protocol, length.
pub(crate) const PREFIX: usize = 16;

pub(crate) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, and the command that is its lower half.
pub(crate) const LOCAL: u8 = 0x20;
pub(crate) const PROXY: u8 = 0x21;

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    if !agrees(bytes, SIGNATURE) {
        return Err(HeaderError::NotHeader);
    }
    let command = bytes.get(12);
    match command {
        None | Some(&(LOCAL | PROXY)) => {}
        Some(byte) if byte >> 4 == 2 => return Err(HeaderError::Invalid),
        // Only version 2 is covered by this signature.
        Some(_) => return Err(HeaderError::NotHeader),
    }
    let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(Parsed::NeedMore(PREFIX - bytes.len()));
    };
    let is_proxy = prefix[12] == PROXY;
    let (family, protocol) = (prefix[13] >> 4, prefix[13] & 0xf);
    if is_proxy && (family > 3 || protocol > 2) {
        return Err(HeaderError::Invalid);
    }
    let length = PREFIX + usize::from(u16::from_be_bytes([prefix[14], prefix[15]]));
    if length > BLOCK_MAX {
        return Err(HeaderError::Invalid);
    }
    let Some(block) = bytes.get(..length) else { return Ok(Parsed::NeedMore(length - bytes.len())) };
    let payload = &block[PREFIX..];
    // The family of a LOCAL header is ignored, so that all of it are TLVs. Some senders fill in addresses although
    // they should not: then nothing of it can be read.
    let (endpoints, rest) = match (is_proxy, family, protocol) {
        (false, 0, _) => (None, payload),
        (false, ..) => (None, &[][..]),
        (true, ..) => addresses(family, protocol, payload)?,
    };
    let tlvs = match Tlvs::new(rest) {
        Some(tlvs) => tlvs,
        // "discard the protocol block": nothing in a LOCAL header has to be understood.
        None if !is_proxy => Tlvs::default(),
        None => return Err(HeaderError::Invalid),
    };
    check(block, tlvs)?;
    Ok(Parsed::Header(Header { length, version: Version::V2, endpoints, tlvs }))
}

/// The addresses, and what follows them.
fn addresses(
    family: u8,
    protocol: u8,
    payload: &[u8],
) -> Result<(Option<Endpoints<'_>>, &[u8]), HeaderError> {
    let transport = match protocol {
        1 => Some(Transport::Stream),
        2 => Some(Transport::Datagram),
        _ => None,
    };
    let (endpoints, rest) = match family {
        1 => {
            let (block, rest) = payload.split_first_chunk::<12>().ok_or(HeaderError::Invalid)?;
            let ip = |at: usize| IpAddr::from([block[at], block[at + 1], block[at + 2], block[at + 3]]);
            (inet(transport, (ip(0), ip(4)), &block[8..]), rest)
        }
        2 => {
            let (block, rest) = payload.split_first_chunk::<36>().ok_or(HeaderError::Invalid)?;
            let mut ips = block.as_chunks::<16>().0.iter().map(|ip| IpAddr::from(*ip));
            let ips = ips.next().zip(ips.next()).ok_or(HeaderError::Invalid)?;
            (inet(transport, ips, &block[32..]), rest)
        }
        3 => {
            let (source, rest) = payload.split_first_chunk().ok_or(HeaderError::Invalid)?;
            let (destination, rest) = rest.split_first_chunk().ok_or(HeaderError::Invalid)?;
            let (source, destination) = (UnixPath(source), UnixPath(destination));
            (transport.map(|transport| Endpoints::Unix { transport, source, destination }), rest)
        }
        // "The receiver should ignore address information"; there is none of a known length.
        _ => (None, payload),
    };
    Ok((endpoints, rest))
}

fn inet(
    transport: Option<Transport>,
    (source, destination): (IpAddr, IpAddr),
    ports: &[u8],
) -> Option<Endpoints<'static>> {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let source = SocketAddr::new(source, port(0));
    let destination = SocketAddr::new(destination, port(2));
    transport.map(|transport| Endpoints::Inet { transport, source, destination })
}

/// The checksum, where there is one, and the limits of single TLVs.
fn check(block: &[u8], tlvs: Tlvs<'_>) -> Result<(), HeaderError> {
    let mut checked = false;
    for tlv in tlvs {
        match tlv.kind {
            tlv::CRC32C => {
                let expected: [u8; 4] = tlv.value.try_into().map_err(|_| HeaderError::Invalid)?;
                // A second checksum would have to cover a first one that was zero when that was computed.
                if std::mem::replace(&mut checked, true) {
                    return Err(HeaderError::Invalid);
                }
                let end = block.len() - tlv.behind;
                let (before, after) = (&block[..end - 4], &block[end..]);
                if crc32c::checksum(&[before, &[0; 4], after]) != u32::from_be_bytes(expected) {
                    return Err(HeaderError::Invalid);
                }
            }
            tlv::UNIQUE_ID if tlv.value.len() > tlv::UNIQUE_ID_MAX => return Err(HeaderError::Invalid),
            tlv::AUTHORITY if tlv.value.len() > tlv::AUTHORITY_MAX => return Err(HeaderError::Invalid),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, payload].concat()
    }

    fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind], u16::try_from(value.len()).unwrap().to_be_bytes().as_slice(), value].concat()
    }

    fn show(bytes: &[u8]) -> String {
        let header = match crate::parse(bytes) {
            Ok(Parsed::NeedMore(n)) => return format!("+{n}"),
            Ok(Parsed::Header(header)) => header,
            Err(error) => return format!("{error:?}"),
        };
        assert_eq!(header.version, Version::V2);
        let mut text = header.length.to_string();
        match header.endpoints {
            None => text += " unknown",
            Some(Endpoints::Inet { transport, source, destination }) => {
                text += &format!(" {transport:?} {source} {destination}");
            }
            Some(Endpoints::Unix { transport, source, destination }) => {
                let path = |path: UnixPath<'_>| {
                    String::from_utf8(path.0.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
                };
                text += &format!(" {transport:?} {} {}", path(source), path(destination));
            }
        }
        for tlv in header.tlvs {
            text += &format!(" {:#x}={}", tlv.kind, tlv.value.escape_ascii());
        }
        text
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(show(bytes), expected, "{}", bytes.escape_ascii());
    }

    const INET: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 4, 87, 8, 174];

    fn with(extra: &[u8]) -> Vec<u8> {
        block(PROXY, 0x11, &[INET, extra].concat())
    }

    #[test]
    fn families() {
        check(&with(b""), "28 Stream 192.0.2.1:1111 192.0.2.2:2222");
        check(&block(PROXY, 0x12, INET), "28 Datagram 192.0.2.1:1111 192.0.2.2:2222");
        check(&block(PROXY, 0x10, INET), "28 unknown");
        let inet6 = [[0; 15].as_slice(), &[1], &[0; 15], &[2], &[0, 1, 0, 2]].concat();
        check(&block(PROXY, 0x21, &inet6), "52 Stream [::1]:1 [::2]:2");
        check(&block(PROXY, 0x22, &inet6), "52 Datagram [::1]:1 [::2]:2");
        let mut unix = vec![0; 216];
        unix[..2].copy_from_slice(b"/a");
        unix[108..110].copy_from_slice(b"/b");
        check(&block(PROXY, 0x31, &unix), "232 Stream /a /b");
        check(&block(PROXY, 0x32, &unix), "232 Datagram /a /b");
        check(&block(PROXY, 0, b""), "16 unknown");
        check(&block(PROXY, 0, &tlv(0xe0, b"x")), "20 unknown 0xe0=x");
        check(&block(LOCAL, 0, b""), "16 unknown");
        check(&block(LOCAL, 0, &tlv(0xe0, b"x")), "20 unknown 0xe0=x");
        // The family is ignored, and so is what it stands for.
        check(&block(LOCAL, 0x11, INET), "28 unknown");
        check(&block(LOCAL, 0xff, INET), "28 unknown");
        check(&block(LOCAL, 0, b"\x01"), "17 unknown");
    }

    #[test]
    fn tlvs() {
        let many = [tlv(1, b"h2"), tlv(0xe0, b""), tlv(0xe0, b"b"), tlv(4, b"\0")].concat();
        check(&with(&many), r"44 Stream 192.0.2.1:1111 192.0.2.2:2222 0x1=h2 0xe0= 0xe0=b 0x4=\x00");
        for extra in [&b"\xe0"[..], b"\xe0\0", b"\xe0\0\x01", b"\xe0\0\x02x", b"\xe0\0\0\xe0"] {
            check(&with(extra), "Invalid");
        }
        check(&with(&tlv(5, &[b'u'; 129])), "Invalid");
        check(&with(&tlv(2, &[b'a'; 256])), "Invalid");
    }

    #[test]
    fn checksum() {
        // As HAProxy 3.2 wrote it, for 127.0.0.1:42464 to 127.0.0.1:35811.
        let theirs =
            b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x13\x7f\0\0\x01\x7f\0\0\x01\xa5\xe0\x8b\xe3\x03\0\x04\x8bL\x15?";
        check(theirs, r"35 Stream 127.0.0.1:42464 127.0.0.1:35811 0x3=\x8bL\x15?");
        // All but the type of the checksum itself.
        for at in (13..theirs.len()).filter(|at| *at != 28) {
            let mut damaged = theirs.to_vec();
            damaged[at] ^= 1;
            assert!(!matches!(crate::parse(&damaged), Ok(Parsed::Header(_))), "byte {at}");
        }
        check(&with(&tlv(3, b"\0\0\0\0")), "Invalid");
        check(&with(&tlv(3, b"\0\0\0")), "Invalid");
    }

    #[test]
    fn what_is_wrong() {
        check(b"GET / HTTP/1.1\r\n", "NotHeader");
        check(b"\r\n\r\nGET", "NotHeader");
        check(b"\x16\x03\x01", "NotHeader");
        check(&block(0x31, 0x11, INET), "NotHeader");
        check(&block(0x22, 0x11, INET), "Invalid");
        check(&block(PROXY, 0x41, INET), "Invalid");
        check(&block(PROXY, 0x13, INET), "Invalid");
        check(&block(PROXY, 0x11, &INET[..11]), "Invalid");
        check(&block(PROXY, 0x21, INET), "Invalid");
        check(&block(PROXY, 0x31, INET), "Invalid");
    }

    #[test]
    fn pieces_and_length() {
        check(&SIGNATURE[..5], "+11");
        check(SIGNATURE, "+4");
        check(&with(b"")[..16], "+12");
        check(&with(b"")[..27], "+1");
        check(&[&with(b"")[..], b"GET"].concat(), "28 Stream 192.0.2.1:1111 192.0.2.2:2222");
        let fill = |length: usize| with(&tlv(4, &vec![0; length - PREFIX - INET.len() - 3]));
        assert!(matches!(crate::parse(&fill(BLOCK_MAX)), Ok(Parsed::Header(_))));
        check(&fill(BLOCK_MAX + 1)[..16], "Invalid");
    }
}
